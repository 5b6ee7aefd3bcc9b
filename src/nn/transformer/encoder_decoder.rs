//! Encoders and decoders: stacks of layers.

use super::decoder::{self, TransformerDecoderLayer};
use super::encoder::{self, TransformerEncoderLayer};
use super::layer_config::TransformerLayerConfig;
use super::masks::{DecoderMasks, EncoderMasks};
use super::norm::TransformerNormConfig;
use super::spec::stack;
use crate::error::{Context, InitError};
use crate::nn::attention::mask;
use crate::nn::builder::build;
use crate::nn::kind::LayerKind;
use crate::nn::named_tensors::NamedTensors;
use crate::nn::spec::{LayerSpec, refused};
use crate::nn::tch_layers::or_panic;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{LayerNorm, ModuleT, Path};

/// `torch.nn.TransformerEncoder`: a stack of layers, which tch lacks.
#[derive(Debug)]
pub struct TransformerEncoder {
    /// The layers, from the source up.
    pub layers: Vec<TransformerEncoderLayer>,
    /// The normalization after the last of them.
    pub norm: Option<LayerNorm>,
    /// The options of that normalization.
    pub norm_config: Option<TransformerNormConfig>,
}

/// `torch.nn.TransformerDecoder`: a stack of layers, which tch lacks.
#[derive(Debug)]
pub struct TransformerDecoder {
    /// The layers, from the target up.
    pub layers: Vec<TransformerDecoderLayer>,
    /// The normalization after the last of them.
    pub norm: Option<LayerNorm>,
    /// The options of that normalization.
    pub norm_config: Option<TransformerNormConfig>,
}

/// `torch.nn.TransformerEncoder(TransformerEncoderLayer(d_model, nhead), num_layers, norm)`:
/// `layers.0`, `layers.1` and so on, then `norm`.
///
/// Draws one layer, as [`transformer_encoder_layer`](crate::nn::transformer_encoder_layer),
/// whatever their number: all are copies of it.
///
/// # Errors
///
/// As `transformer_encoder_layer`.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerLayerConfig, transformer_encoder};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerLayerConfig::default().dim_feedforward(16);
/// let encoder = transformer_encoder(vs.root() / "encoder", 8, 2, 3, config, None)?;
/// assert_eq!(encoder.layers[0].linear1.ws, encoder.layers[2].linear1.ws);
/// let x = Tensor::ones([5, 3, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(encoder.forward(&x, Default::default(), false)?.size(), [5, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn transformer_encoder<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    num_layers: i64,
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> Result<TransformerEncoder, InitError> {
    let stack = Stack {
        d_model,
        nhead,
        num_layers,
        config,
        norm,
    };
    stack.encoder(&build(vs.borrow(), &stack.encoder_spec()?, &[])?)
}

/// `torch.nn.TransformerDecoder(TransformerDecoderLayer(d_model, nhead), num_layers, norm)`:
/// `layers.0`, `layers.1` and so on, then `norm`.
///
/// Draws one layer, as [`transformer_decoder_layer`](crate::nn::transformer_decoder_layer),
/// whatever their number: all are copies of it.
///
/// # Errors
///
/// As `transformer_decoder_layer`.
///
/// ```
/// use tch_init::nn::{TransformerLayerConfig, transformer_decoder};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let config = TransformerLayerConfig::default().dim_feedforward(16);
/// let norm = Some(Default::default());
/// let decoder = transformer_decoder(vs.root() / "decoder", 8, 2, 3, config, norm)?;
/// assert_eq!(decoder.layers[0].linear1.ws, decoder.layers[2].linear1.ws);
/// # Ok(())
/// # }
/// ```
pub fn transformer_decoder<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    num_layers: i64,
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> Result<TransformerDecoder, InitError> {
    let stack = Stack {
        d_model,
        nhead,
        num_layers,
        config,
        norm,
    };
    stack.decoder(&build(vs.borrow(), &stack.decoder_spec()?, &[])?)
}

impl TransformerEncoder {
    /// The encoded source, of the shape of `src`.
    ///
    /// With `train` it draws its dropouts from the default stream. Without, it computes what
    /// PyTorch's computes with `enable_nested_tensor=False`. PyTorch's default differs from that
    /// where nothing asks for gradients and padding is masked: at padded positions, and in rounding
    /// elsewhere. tch has no nested tensors.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] without layers, else as [`TransformerEncoderLayer::forward`].
    pub fn forward(
        &self,
        src: &Tensor,
        masks: EncoderMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `TransformerEncoder.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let kind = LayerKind::TransformerEncoder;
        let name = kind.name();
        let first = self.layers.first().ok_or_else(|| no_layers(kind))?;
        let target = src.f_kind().context(name, src)?;
        let padding = masks.src_key_padding_mask;
        let padding = mask::additive(name, "src_key_padding_mask", padding, target)?;
        let src_mask = mask::additive(name, "mask", masks.src_mask, target)?;
        let is_causal = mask::detect_causal(
            name,
            "mask",
            src_mask.as_ref(),
            masks.is_causal,
            src,
            first.config.batch_first,
        )?;
        let masks = EncoderMasks {
            src_mask: src_mask.as_ref(),
            src_key_padding_mask: padding.as_ref(),
            is_causal: Some(is_causal),
        };
        let output = self
            .layers
            .iter()
            .try_fold(src.shallow_clone(), |x, layer| {
                layer.forward(&x, masks, train)
            })?;
        normalized(name, output, self.norm.as_ref(), self.norm_config)
    }
}

impl ModuleT for TransformerEncoder {
    fn forward_t(&self, src: &Tensor, train: bool) -> Tensor {
        or_panic(self.forward(src, EncoderMasks::default(), train))
    }
}

impl TransformerDecoder {
    /// The decoded target, of the shape of `tgt`; `memory` is what an encoder made of the source.
    ///
    /// With `train` it draws its dropouts from the default stream.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] without layers, else as [`TransformerDecoderLayer::forward`].
    pub fn forward(
        &self,
        tgt: &Tensor,
        memory: &Tensor,
        masks: DecoderMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `TransformerDecoder.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let kind = LayerKind::TransformerDecoder;
        let name = kind.name();
        let first = self.layers.first().ok_or_else(|| no_layers(kind))?;
        let is_causal = mask::detect_causal(
            name,
            "tgt_mask",
            masks.tgt_mask,
            masks.tgt_is_causal,
            tgt,
            first.config.batch_first,
        )?;
        let masks = DecoderMasks {
            tgt_is_causal: Some(is_causal),
            ..masks
        };
        let output = self
            .layers
            .iter()
            .try_fold(tgt.shallow_clone(), |x, layer| {
                layer.forward(&x, memory, masks, train)
            })?;
        normalized(name, output, self.norm.as_ref(), self.norm_config)
    }
}

fn normalized(
    name: &'static str,
    output: Tensor,
    norm: Option<&LayerNorm>,
    config: Option<TransformerNormConfig>,
) -> Result<Tensor, InitError> {
    match norm {
        Some(norm) => config
            .unwrap_or_default()
            .forward(norm, &output)
            .context(name, &output),
        None => Ok(output),
    }
}

fn no_layers(kind: LayerKind) -> InitError {
    refused(
        kind,
        "num_layers",
        "num_layers = 0 leaves nothing to compute with",
    )
}

/// The arguments of a stack.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    pub(super) d_model: i64,
    pub(super) nhead: i64,
    pub(super) num_layers: i64,
    pub(super) config: TransformerLayerConfig,
    pub(super) norm: Option<TransformerNormConfig>,
}

impl Stack {
    pub(super) fn encoder_spec(&self) -> Result<LayerSpec, InitError> {
        let layer = LayerKind::TransformerEncoderLayer;
        self.spec(LayerKind::TransformerEncoder, layer)
    }

    pub(super) fn decoder_spec(&self) -> Result<LayerSpec, InitError> {
        let layer = LayerKind::TransformerDecoderLayer;
        self.spec(LayerKind::TransformerDecoder, layer)
    }

    fn spec(&self, kind: LayerKind, layer: LayerKind) -> Result<LayerSpec, InitError> {
        let layer = self.config.layer(self.d_model, self.nhead).spec(layer)?;
        let norm = self.norm.map(|norm| norm.spec(self.d_model));
        Ok(stack(kind, layer, self.num_layers, norm))
    }

    /// The encoder with these tensors.
    pub(super) fn encoder(&self, tensors: &NamedTensors) -> Result<TransformerEncoder, InitError> {
        Ok(TransformerEncoder {
            layers: self.layers(tensors, encoder::layer)?,
            norm: self.norm(tensors),
            norm_config: self.norm,
        })
    }

    /// The decoder with these tensors.
    pub(super) fn decoder(&self, tensors: &NamedTensors) -> Result<TransformerDecoder, InitError> {
        Ok(TransformerDecoder {
            layers: self.layers(tensors, decoder::layer)?,
            norm: self.norm(tensors),
            norm_config: self.norm,
        })
    }

    fn layers<L>(
        &self,
        tensors: &NamedTensors,
        layer: impl Fn(&NamedTensors, i64, i64, TransformerLayerConfig) -> Result<L, InitError>,
    ) -> Result<Vec<L>, InitError> {
        let layer = |i| {
            let tensors = tensors.child(&format!("layers.{i}"));
            layer(&tensors, self.d_model, self.nhead, self.config)
        };
        (0..self.num_layers).map(layer).collect()
    }

    fn norm(&self, tensors: &NamedTensors) -> Option<LayerNorm> {
        let norm = self.norm?;
        Some(norm.layer(&tensors.child("norm"), self.d_model))
    }
}
