//! The layer normalizations of a transformer.

use crate::nn::config::config;
use crate::nn::layer_norm;
use crate::nn::named_tensors::NamedTensors;
use crate::nn::spec::LayerSpec;
use tch::nn::LayerNorm;
use tch::{TchError, Tensor};

config! {
    /// Options of the layer normalization after an encoder or a decoder, with the defaults of
    /// `torch.nn.LayerNorm`.
    #[derive(Debug, Clone, Copy)]
    pub struct TransformerNormConfig {
        /// Added to the variance. PyTorch's default: 1e-5.
        eps: f64 = 1e-5,
        /// Whether the layer has a weight. PyTorch's default: yes.
        elementwise_affine: bool = true,
        /// Whether a layer with a weight has a bias. PyTorch's default: yes.
        bias: bool = true,
    }
}

impl TransformerNormConfig {
    pub(super) fn spec(self, features: i64) -> LayerSpec {
        layer_norm::spec(&[features], self.eps, self.elementwise_affine, self.bias)
    }

    /// The layer with these tensors.
    pub(super) fn layer(self, tensors: &NamedTensors, features: i64) -> LayerNorm {
        layer_norm::layer(tensors, vec![features], self.eps, true)
    }

    /// tch's forward pass, of which this is the one that does not panic, keeps its eps to itself.
    pub(super) fn forward(self, layer: &LayerNorm, x: &Tensor) -> Result<Tensor, TchError> {
        let shape = layer.normalized_shape.as_slice();
        x.f_layer_norm(shape, layer.ws.as_ref(), layer.bs.as_ref(), self.eps, true)
    }
}
