//! Encoder and decoder together.

use super::encoder_decoder::{Stack, TransformerDecoder, TransformerEncoder};
use super::layer_config::TransformerLayerConfig;
use super::masks::TransformerMasks;
use super::spec::encoder_and_decoder;
use crate::error::{Context, InitError};
use crate::nn::attention::mask;
use crate::nn::builder::build;
use crate::nn::config::config;
use crate::nn::kind::LayerKind;
use crate::nn::spec::refused;
use std::borrow::Borrow;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

const KIND: LayerKind = LayerKind::Transformer;
const NAME: &str = "Transformer";

config! {
    /// Options of a transformer, with PyTorch's defaults.
    #[derive(Debug, Clone, Copy)]
    pub struct TransformerConfig {
        /// The features of source and target. PyTorch's default: 512.
        d_model: i64 = 512,
        /// The number of heads. PyTorch's default: 8.
        nhead: i64 = 8,
        /// The number of layers of the encoder. PyTorch's default: 6.
        num_encoder_layers: i64 = 6,
        /// The number of layers of the decoder. PyTorch's default: 6.
        num_decoder_layers: i64 = 6,
        /// The options of the layers; bias and eps are those of the last normalizations too.
        layer: TransformerLayerConfig = TransformerLayerConfig::default(),
    }
}

/// `torch.nn.Transformer`, which tch lacks: an encoder and a decoder.
#[derive(Debug)]
pub struct Transformer {
    /// The encoder of the source.
    pub encoder: TransformerEncoder,
    /// The decoder of the target.
    pub decoder: TransformerDecoder,
    /// The options it was made with.
    pub config: TransformerConfig,
}

/// `torch.nn.Transformer()`: `encoder` and `decoder`, each with a last normalization. All parameters
/// of two dimensions are uniform by Xavier, and so the layers differ; the others are as
/// [`transformer_encoder`](crate::nn::transformer_encoder) and
/// [`transformer_decoder`](crate::nn::transformer_decoder) initialize them.
///
/// Draws the encoder's layer, the decoder's, then all parameters of two dimensions.
///
/// # Errors
///
/// As `transformer_encoder`.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerConfig, TransformerLayerConfig, transformer};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerConfig::default()
///     .d_model(8)
///     .nhead(2)
///     .layer(TransformerLayerConfig::default().dim_feedforward(16));
/// let transformer = transformer(vs.root() / "transformer", config)?;
/// let [src, tgt] = [5, 4].map(|n| Tensor::ones([n, 3, 8], (Kind::Float, Device::Cpu)));
/// let output = transformer.forward(&src, &tgt, Default::default(), false)?;
/// assert_eq!(output.size(), [4, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn transformer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    config: TransformerConfig,
) -> Result<Transformer, InitError> {
    let stack = |num_layers| Stack {
        d_model: config.d_model,
        nhead: config.nhead,
        num_layers,
        config: config.layer,
        norm: Some(config.layer.norm()),
    };
    let encoder = stack(config.num_encoder_layers);
    let decoder = stack(config.num_decoder_layers);
    let spec = encoder_and_decoder(encoder.encoder_spec()?, decoder.decoder_spec()?);
    let tensors = build(vs.borrow(), &spec, &[])?;
    Ok(Transformer {
        encoder: encoder.encoder(&tensors.child("encoder"))?,
        decoder: decoder.decoder(&tensors.child("decoder"))?,
        config,
    })
}

impl Transformer {
    /// The decoded target, of the shape of `tgt`: `[T, N, d_model]`, `[N, T, d_model]` with
    /// `batch_first`, or `[T, d_model]`. `src` has the same layout and any length.
    ///
    /// With `train` it draws its dropouts from the default stream. The note on nested tensors at
    /// [`TransformerEncoder::forward`] applies.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for sources and targets that do not fit each other or `d_model`, else
    /// as [`TransformerEncoder::forward`] and [`TransformerDecoder::forward`].
    pub fn forward(
        &self,
        src: &Tensor,
        tgt: &Tensor,
        masks: TransformerMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `Transformer.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let (source, target) = (src.size(), tgt.size());
        let batch = usize::from(!self.config.layer.batch_first);
        if source.len() == 3 && source.get(batch) != target.get(batch) {
            return Err(refused(
                KIND,
                "src",
                format!(
                    "src and tgt must have one batch size, got shapes {source:?} and {target:?}"
                ),
            ));
        }
        let d_model = self.config.d_model;
        if source.last() != Some(&d_model) || target.last() != Some(&d_model) {
            return Err(refused(
                KIND,
                "src",
                format!(
                    "src and tgt must have d_model = {d_model} features, got shapes {source:?} and \
                 {target:?}"
                ),
            ));
        }
        let memory = self.encoder.forward(src, masks.encoder(), train)?;
        self.decoder.forward(tgt, &memory, masks.decoder(), train)
    }

    /// The causal mask for a sequence of `sz`: 0 where a position sees another, minus infinity
    /// where it does not, after it. `torch.nn.Transformer.generate_square_subsequent_mask`.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for a negative size, and for a kind without infinity, except booleans,
    /// where `true` hides; [`InitError::Libtorch`] where libtorch rejects.
    ///
    /// ```
    /// use tch_init::nn::Transformer;
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let (kind, device) = (tch::Kind::Float, tch::Device::Cpu);
    /// let mask = Transformer::generate_square_subsequent_mask(3, kind, device)?;
    /// assert_eq!(mask.double_value(&[1, 0]), 0.0);
    /// assert_eq!(mask.double_value(&[0, 1]), f64::NEG_INFINITY);
    /// # Ok(())
    /// # }
    /// ```
    pub fn generate_square_subsequent_mask(
        sz: i64,
        kind: Kind,
        device: Device,
    ) -> Result<Tensor, InitError> {
        if sz < 0 {
            return Err(refused(
                KIND,
                "sz",
                format!("sz = {sz} must not be negative"),
            ));
        }
        let none =
            Tensor::f_zeros([0], (kind, device)).map_err(|error| InitError::tch(NAME, error))?;
        mask::check_kind(NAME, "square subsequent mask", &none)?;
        mask::causal(sz, kind, device).context(NAME, &none)
    }
}
