//! Transformers: encoders, decoders, their layers, and both together.

#[cfg(feature = "tch")]
mod decoder;
#[cfg(feature = "tch")]
mod encoder;
#[cfg(feature = "tch")]
mod encoder_decoder;
#[cfg(feature = "tch")]
mod layer_config;
#[cfg(feature = "tch")]
mod masks;
#[cfg(feature = "tch")]
mod norm;
mod spec;
#[cfg(feature = "tch")]
#[allow(clippy::module_inception)] // PyTorch's name.
mod transformer;

#[cfg(feature = "tch")]
pub use decoder::{TransformerDecoderLayer, transformer_decoder_layer};
#[cfg(feature = "tch")]
pub use encoder::{TransformerEncoderLayer, transformer_encoder_layer};
#[cfg(feature = "tch")]
pub use encoder_decoder::{
    TransformerDecoder, TransformerEncoder, transformer_decoder, transformer_encoder,
};
#[cfg(feature = "tch")]
pub use layer_config::{TransformerActivation, TransformerLayerConfig};
#[cfg(feature = "tch")]
pub use masks::{DecoderMasks, EncoderMasks, TransformerMasks};
#[cfg(feature = "tch")]
pub use norm::TransformerNormConfig;
pub(super) use spec::{LayerOfStackRule, StackRule, TransformerRule};
#[cfg(feature = "tch")]
pub use transformer::{Transformer, TransformerConfig, transformer};
