//! Options of the layers of encoders and decoders.

use super::norm::TransformerNormConfig;
use super::spec::Layer;
use crate::nn::attention::MultiheadAttentionConfig;
use crate::nn::config::config;
use tch::nn::Linear;
use tch::{TchError, Tensor};

/// The activation between the two linear layers of a transformer's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TransformerActivation {
    /// `torch.nn.functional.relu`, PyTorch's default.
    #[default]
    Relu,
    /// `torch.nn.functional.gelu`, the exact one.
    Gelu,
}

impl TransformerActivation {
    fn apply(self, x: &Tensor) -> Result<Tensor, TchError> {
        match self {
            TransformerActivation::Relu => x.f_relu(),
            TransformerActivation::Gelu => x.f_gelu("none"),
        }
    }
}

config! {
    /// Options of the layers of an encoder or a decoder, with PyTorch's defaults.
    #[derive(Debug, Clone, Copy)]
    pub struct TransformerLayerConfig {
        /// The features between the two linear layers. PyTorch's default: 2048.
        dim_feedforward: i64 = 2048,
        /// The share that training drops, between 0 and 1. PyTorch's default: 0.1.
        dropout: f64 = 0.1,
        /// The activation between the two linear layers. PyTorch's default: relu.
        activation: TransformerActivation = TransformerActivation::Relu,
        /// Added to the variance in the layer normalizations. PyTorch's default: 1e-5.
        layer_norm_eps: f64 = 1e-5,
        /// Whether the batch comes before the sequence. PyTorch's default: no.
        batch_first: bool = false,
        /// Whether the normalizations come before what they are added to. PyTorch's default:
        /// no, after.
        norm_first: bool = false,
        /// Whether linear layers, projections and normalizations have biases. PyTorch's
        /// default: yes.
        bias: bool = true,
    }
}

impl TransformerLayerConfig {
    pub(super) fn layer(&self, d_model: i64, nhead: i64) -> Layer {
        Layer {
            d_model,
            nhead,
            dim_feedforward: self.dim_feedforward,
            dropout: self.dropout,
            layer_norm_eps: self.layer_norm_eps,
            bias: self.bias,
            activation: None,
        }
    }

    pub(super) fn attention(&self) -> MultiheadAttentionConfig {
        MultiheadAttentionConfig::default()
            .dropout(self.dropout)
            .bias(self.bias)
            .batch_first(self.batch_first)
    }

    pub(super) fn norm(&self) -> TransformerNormConfig {
        TransformerNormConfig::default()
            .eps(self.layer_norm_eps)
            .bias(self.bias)
    }

    /// Linear, activation, dropout, linear, dropout: `_ff_block` of both layers.
    pub(super) fn feed_forward(
        &self,
        linear1: &Linear,
        linear2: &Linear,
        x: &Tensor,
        train: bool,
    ) -> Result<Tensor, TchError> {
        let hidden = x.f_linear(&linear1.ws, linear1.bs.as_ref())?;
        let hidden = self.activation.apply(&hidden)?;
        hidden
            .f_dropout(self.dropout, train)?
            .f_linear(&linear2.ws, linear2.bs.as_ref())?
            .f_dropout(self.dropout, train)
    }
}
