//! Encoders and decoders: layers one upon the other.

use super::masks::{DecoderMasks, EncoderMasks};
use super::{
    TransformerDecoderLayer, TransformerEncoderLayer, TransformerLayerConfig,
    TransformerNormConfig, clones, decoder, encoder,
};
use crate::error::{Context, InitError};
use crate::nn::attention::mask;
use crate::nn::build::{Build, make};
use crate::nn::named::Named;
use crate::nn::start::Start;
use crate::nn::{LayerKind, or_panic};
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{LayerNorm, ModuleT, Path};

/// An encoder: layers one upon the other; tch has none.
#[derive(Debug)]
pub struct TransformerEncoder {
    /// The layers, from the source up.
    pub layers: Vec<TransformerEncoderLayer>,
    /// The normalisation after the last of them.
    pub norm: Option<LayerNorm>,
    /// The options of that normalisation.
    pub norm_config: Option<TransformerNormConfig>,
}

/// A decoder: layers one upon the other; tch has none.
#[derive(Debug)]
pub struct TransformerDecoder {
    /// The layers, from the target up.
    pub layers: Vec<TransformerDecoderLayer>,
    /// The normalisation after the last of them.
    pub norm: Option<LayerNorm>,
    /// The options of that normalisation.
    pub norm_config: Option<TransformerNormConfig>,
}

/// `torch.nn.TransformerEncoder(TransformerEncoderLayer(d_model, nhead), num_layers, norm)`:
/// `layers.0`, `layers.1` and so on, then `norm`.
///
/// Draws one layer, as [`f_transformer_encoder_layer`](crate::nn::f_transformer_encoder_layer),
/// however many there are: all start as copies of it.
///
/// # Errors
///
/// As `f_transformer_encoder_layer`.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerLayerConfig, f_transformer_encoder};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerLayerConfig { dim_feedforward: 16, ..Default::default() };
/// let encoder = f_transformer_encoder(vs.root() / "encoder", 8, 2, 3, config, None)?;
/// assert_eq!(encoder.layers[0].linear1.ws, encoder.layers[2].linear1.ws);
/// let x = Tensor::ones([5, 3, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(encoder.f_forward(&x, Default::default(), false)?.size(), [5, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn f_transformer_encoder<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    num_layers: i64,
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> Result<TransformerEncoder, InitError> {
    make(vs.borrow(), &[], |build| {
        declare_encoder(build, [d_model, nhead, num_layers], config, norm)
    })
}

/// [`f_transformer_encoder`] that panics.
///
/// # Panics
///
/// Where [`f_transformer_encoder`] returns an error.
pub fn transformer_encoder<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    num_layers: i64,
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> TransformerEncoder {
    or_panic(f_transformer_encoder(
        vs, d_model, nhead, num_layers, config, norm,
    ))
}

/// `torch.nn.TransformerDecoder(TransformerDecoderLayer(d_model, nhead), num_layers, norm)`:
/// `layers.0`, `layers.1` and so on, then `norm`.
///
/// Draws one layer, as [`f_transformer_decoder_layer`](crate::nn::f_transformer_decoder_layer),
/// however many there are: all start as copies of it.
///
/// # Errors
///
/// As `f_transformer_decoder_layer`.
///
/// ```
/// use tch_init::nn::{TransformerLayerConfig, f_transformer_decoder};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let config = TransformerLayerConfig { dim_feedforward: 16, ..Default::default() };
/// let norm = Some(Default::default());
/// let decoder = f_transformer_decoder(vs.root() / "decoder", 8, 2, 3, config, norm)?;
/// assert_eq!(decoder.layers[0].linear1.ws, decoder.layers[2].linear1.ws);
/// # Ok(())
/// # }
/// ```
pub fn f_transformer_decoder<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    num_layers: i64,
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> Result<TransformerDecoder, InitError> {
    make(vs.borrow(), &[], |build| {
        declare_decoder(build, [d_model, nhead, num_layers], config, norm)
    })
}

/// [`f_transformer_decoder`] that panics.
///
/// # Panics
///
/// Where [`f_transformer_decoder`] returns an error.
pub fn transformer_decoder<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    num_layers: i64,
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> TransformerDecoder {
    or_panic(f_transformer_decoder(
        vs, d_model, nhead, num_layers, config, norm,
    ))
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
    /// [`InitError::Layer`] without layers, else as [`TransformerEncoderLayer::f_forward`].
    pub fn f_forward(
        &self,
        src: &Tensor,
        masks: EncoderMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `TransformerEncoder.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let name = "TransformerEncoder";
        let first = self.layers.first().ok_or_else(|| no_layers(name))?;
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
                layer.f_forward(&x, masks, train)
            })?;
        normalised(name, output, self.norm.as_ref(), self.norm_config)
    }

    /// [`f_forward`](TransformerEncoder::f_forward) that panics.
    ///
    /// # Panics
    ///
    /// Where `f_forward` returns an error.
    pub fn forward(&self, src: &Tensor, masks: EncoderMasks<'_>, train: bool) -> Tensor {
        or_panic(self.f_forward(src, masks, train))
    }
}

impl ModuleT for TransformerEncoder {
    fn forward_t(&self, src: &Tensor, train: bool) -> Tensor {
        self.forward(src, EncoderMasks::default(), train)
    }
}

impl TransformerDecoder {
    /// The decoded target, of the shape of `tgt`; `memory` is what an encoder made of the source.
    ///
    /// With `train` it draws its dropouts from the default stream.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] without layers, else as [`TransformerDecoderLayer::f_forward`].
    pub fn f_forward(
        &self,
        tgt: &Tensor,
        memory: &Tensor,
        masks: DecoderMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `TransformerDecoder.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let name = "TransformerDecoder";
        let first = self.layers.first().ok_or_else(|| no_layers(name))?;
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
                layer.f_forward(&x, memory, masks, train)
            })?;
        normalised(name, output, self.norm.as_ref(), self.norm_config)
    }

    /// [`f_forward`](TransformerDecoder::f_forward) that panics.
    ///
    /// # Panics
    ///
    /// Where `f_forward` returns an error.
    pub fn forward(
        &self,
        tgt: &Tensor,
        memory: &Tensor,
        masks: DecoderMasks<'_>,
        train: bool,
    ) -> Tensor {
        or_panic(self.f_forward(tgt, memory, masks, train))
    }
}

fn normalised(
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

fn no_layers(kind: &'static str) -> InitError {
    InitError::Layer {
        kind,
        message: "num_layers = 0 leaves nothing to compute with".to_owned(),
    }
}

/// How the encoder starts.
pub(super) fn encoder_start(
    build: &Build<'_>,
    [d_model, nhead, num_layers]: [i64; 3],
    config: TransformerLayerConfig,
) -> impl Fn(&Named) -> Result<(), InitError> + Send + Sync + 'static + use<> {
    clones::start(build, num_layers, encoder::start, move |path| {
        encoder::f_transformer_encoder_layer(path, d_model, nhead, config).map(drop)
    })
}

pub(super) fn declare_encoder(
    build: &mut Build<'_>,
    [d_model, nhead, num_layers]: [i64; 3],
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> Result<TransformerEncoder, InitError> {
    let start = Start::other(encoder_start(build, [d_model, nhead, num_layers], config));
    build.layer(LayerKind::TransformerEncoder, start, |build| {
        let layer = |build: &mut Build<'_>| encoder::declare(build, d_model, nhead, config);
        let (layers, list) = clones::declare(build, num_layers, layer)?;
        let (norm_layer, repr) =
            clones::with_norm(build, "TransformerEncoder", list, norm, d_model)?;
        let encoder = TransformerEncoder {
            layers,
            norm: norm_layer,
            norm_config: norm,
        };
        Ok((encoder, repr))
    })
}

/// How the decoder starts.
pub(super) fn decoder_start(
    build: &Build<'_>,
    [d_model, nhead, num_layers]: [i64; 3],
    config: TransformerLayerConfig,
) -> impl Fn(&Named) -> Result<(), InitError> + Send + Sync + 'static + use<> {
    clones::start(build, num_layers, decoder::start, move |path| {
        decoder::f_transformer_decoder_layer(path, d_model, nhead, config).map(drop)
    })
}

pub(super) fn declare_decoder(
    build: &mut Build<'_>,
    [d_model, nhead, num_layers]: [i64; 3],
    config: TransformerLayerConfig,
    norm: Option<TransformerNormConfig>,
) -> Result<TransformerDecoder, InitError> {
    let start = Start::other(decoder_start(build, [d_model, nhead, num_layers], config));
    build.layer(LayerKind::TransformerDecoder, start, |build| {
        let layer = |build: &mut Build<'_>| decoder::declare(build, d_model, nhead, config);
        let (layers, list) = clones::declare(build, num_layers, layer)?;
        let (norm_layer, repr) =
            clones::with_norm(build, "TransformerDecoder", list, norm, d_model)?;
        let decoder = TransformerDecoder {
            layers,
            norm: norm_layer,
            norm_config: norm,
        };
        Ok((decoder, repr))
    })
}
