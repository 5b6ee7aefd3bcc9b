//! The layer normalisations of a transformer.

use crate::error::InitError;
use crate::nn::build::Build;
use crate::nn::init::{NO_BIAS, PYTORCH_DEFAULT};
use crate::nn::layer_norm::{self, LayerNormConfig};
use tch::nn::LayerNorm;
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
        let config = LayerNormConfig {
            eps: self.eps,
            elementwise_affine: self.elementwise_affine,
            bs_init: if self.bias { PYTORCH_DEFAULT } else { NO_BIAS },
            ..Default::default()
        };
        layer_norm::declare(build, vec![features], config)
    }

    /// tch's forward pass, of which this is the one that does not panic, keeps its eps to itself.
    pub(super) fn forward(self, layer: &LayerNorm, x: &Tensor) -> Result<Tensor, TchError> {
        let shape = layer.normalized_shape.as_slice();
        x.f_layer_norm(shape, layer.ws.as_ref(), layer.bs.as_ref(), self.eps, true)
    }
}
