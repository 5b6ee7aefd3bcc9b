//! Transformers: encoders, decoders, their layers, and both together.

mod clones;
mod decoder;
mod encoder;
mod masks;
mod norm;
mod stack;
#[allow(clippy::module_inception)] // PyTorch's name.
mod transformer;

pub use decoder::{
    TransformerDecoderLayer, f_transformer_decoder_layer, transformer_decoder_layer,
};
pub use encoder::{
    TransformerEncoderLayer, f_transformer_encoder_layer, transformer_encoder_layer,
};
pub use masks::{DecoderMasks, EncoderMasks, TransformerMasks};
pub use norm::TransformerNormConfig;
pub use stack::{
    TransformerDecoder, TransformerEncoder, f_transformer_decoder, f_transformer_encoder,
    transformer_decoder, transformer_encoder,
};
pub use transformer::{Transformer, TransformerConfig, f_transformer, transformer};

use super::attention::MultiheadAttentionConfig;
use crate::error::InitError;
use crate::repr::python_float;
use tch::nn::Linear;
use tch::{TchError, Tensor};

/// What lies between the two linear layers of a transformer's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// Options of the layers of an encoder or a decoder, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct TransformerLayerConfig {
    /// The features between the two linear layers. PyTorch's default: 2048.
    pub dim_feedforward: i64,
    /// The share that training drops, between 0 and 1. PyTorch's default: 0.1.
    pub dropout: f64,
    /// What lies between the two linear layers. PyTorch's default: relu.
    pub activation: TransformerActivation,
    /// Added to the variance in the layer normalisations. PyTorch's default: 1e-5.
    pub layer_norm_eps: f64,
    /// Whether the batch comes before the sequence. PyTorch's default: no.
    pub batch_first: bool,
    /// Whether the normalisations come before what they are added to. PyTorch's default: no, after.
    pub norm_first: bool,
    /// Whether linear layers, projections and normalisations have biases. PyTorch's default: yes.
    pub bias: bool,
}

impl Default for TransformerLayerConfig {
    fn default() -> TransformerLayerConfig {
        TransformerLayerConfig {
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: TransformerActivation::Relu,
            layer_norm_eps: 1e-5,
            batch_first: false,
            norm_first: false,
            bias: true,
        }
    }
}

impl TransformerLayerConfig {
    /// What `torch.nn.Dropout` refuses.
    fn check(&self, kind: &'static str) -> Result<(), InitError> {
        let dropout = self.dropout;
        // As PyTorch, this lets NaN pass.
        if !dropout.is_nan() && !(0.0..=1.0).contains(&dropout) {
            return Err(InitError::Layer {
                kind,
                message: format!("dropout = {dropout:?} must be between 0 and 1"),
            });
        }
        Ok(())
    }

    fn attention(&self) -> MultiheadAttentionConfig {
        MultiheadAttentionConfig {
            dropout: self.dropout,
            bias: self.bias,
            batch_first: self.batch_first,
            ..Default::default()
        }
    }

    fn norm(&self) -> TransformerNormConfig {
        TransformerNormConfig {
            eps: self.layer_norm_eps,
            elementwise_affine: true,
            bias: self.bias,
        }
    }

    /// What Python prints of its dropouts.
    fn dropout_repr(&self) -> String {
        format!("Dropout(p={}, inplace=False)", python_float(self.dropout))
    }

    /// Linear, activation, dropout, linear, dropout: `_ff_block` of both layers.
    fn feed_forward(
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
