//! The layer normalisations of a transformer.

use crate::error::InitError;
use crate::nn::build::{Build, python_bool};
use crate::nn::start::Start;
use crate::nn::{LayerKind, placeholder};
use crate::repr::python_float;
use tch::nn::{self, Init, LayerNorm};
use tch::{TchError, Tensor};

/// Options of the layer normalisation after an encoder or a decoder, with the defaults of
/// `torch.nn.LayerNorm`.
#[derive(Debug, Clone, Copy)]
pub struct TransformerNormConfig {
    /// Added to the variance. PyTorch's default: 1e-5.
    pub eps: f64,
    /// Whether there is a weight. PyTorch's default: yes.
    pub elementwise_affine: bool,
    /// Whether there is a bias beside the weight. PyTorch's default: yes.
    pub bias: bool,
}

impl Default for TransformerNormConfig {
    fn default() -> TransformerNormConfig {
        TransformerNormConfig {
            eps: 1e-5,
            elementwise_affine: true,
            bias: true,
        }
    }
}

impl TransformerNormConfig {
    pub(super) fn declare(
        self,
        build: &mut Build<'_>,
        features: i64,
    ) -> Result<LayerNorm, InitError> {
        build.layer(LayerKind::LayerNorm, Start::Norm, |build| {
            let config = nn::LayerNormConfig {
                cudnn_enabled: true,
                eps: self.eps,
                elementwise_affine: false,
                ws_init: Init::Const(1.0),
                bs_init: Init::Const(0.0),
            };
            let mut layer = placeholder(|scratch| nn::layer_norm(scratch, vec![features], config));
            let bias = self.elementwise_affine && self.bias;
            layer.ws = build.optional_parameter(self.elementwise_affine, "weight", &[features])?;
            layer.bs = build.optional_parameter(bias, "bias", &[features])?;
            let repr = format!(
                "LayerNorm(({features},), eps={}, elementwise_affine={}, bias={})",
                python_float(self.eps),
                python_bool(self.elementwise_affine),
                python_bool(bias)
            );
            Ok((layer, repr))
        })
    }

    /// tch's forward pass, of which this is the one that does not panic, keeps its eps to itself.
    pub(super) fn forward(self, layer: &LayerNorm, x: &Tensor) -> Result<Tensor, TchError> {
        let shape = layer.normalized_shape.as_slice();
        x.f_layer_norm(shape, layer.ws.as_ref(), layer.bs.as_ref(), self.eps, true)
    }
}
