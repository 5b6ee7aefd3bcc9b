//! Encoder and decoder together.

use super::masks::TransformerMasks;
use super::stack::{declare_decoder, declare_encoder, decoder_start, encoder_start};
use super::{TransformerDecoder, TransformerEncoder, TransformerLayerConfig};
use crate::error::{Context, InitError};
use crate::init::xavier_uniform_;
use crate::nn::attention::mask;
use crate::nn::build::{make, python_module};
use crate::nn::named::Named;
use crate::nn::start::Start;
use crate::nn::{LayerKind, or_panic};
use std::borrow::Borrow;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

const NAME: &str = "Transformer";

/// Options of a transformer, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct TransformerConfig {
    /// The features of source and target. PyTorch's default: 512.
    pub d_model: i64,
    /// The number of heads. PyTorch's default: 8.
    pub nhead: i64,
    /// The number of layers of the encoder. PyTorch's default: 6.
    pub num_encoder_layers: i64,
    /// The number of layers of the decoder. PyTorch's default: 6.
    pub num_decoder_layers: i64,
    /// The options of the layers; bias and eps are those of the last normalisations too.
    pub layer: TransformerLayerConfig,
}

impl Default for TransformerConfig {
    fn default() -> TransformerConfig {
        TransformerConfig {
            d_model: 512,
            nhead: 8,
            num_encoder_layers: 6,
            num_decoder_layers: 6,
            layer: TransformerLayerConfig::default(),
        }
    }
}

/// A transformer: an encoder and a decoder; tch has none.
#[derive(Debug)]
pub struct Transformer {
    /// What encodes the source.
    pub encoder: TransformerEncoder,
    /// What decodes the target.
    pub decoder: TransformerDecoder,
    /// The options it was made with.
    pub config: TransformerConfig,
}

/// `torch.nn.Transformer()`: `encoder` and `decoder`, each with a last normalisation. All parameters
/// of two dimensions are uniform by Xavier, and so the layers differ; the others are as
/// [`f_transformer_encoder`](crate::nn::f_transformer_encoder) and
/// [`f_transformer_decoder`](crate::nn::f_transformer_decoder) start them.
///
/// Draws the encoder's layer, the decoder's, then all parameters of two dimensions.
///
/// # Errors
///
/// As `f_transformer_encoder`.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerConfig, TransformerLayerConfig, f_transformer};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerConfig {
///     d_model: 8,
///     nhead: 2,
///     layer: TransformerLayerConfig { dim_feedforward: 16, ..Default::default() },
///     ..Default::default()
/// };
/// let transformer = f_transformer(vs.root() / "transformer", config)?;
/// let [src, tgt] = [5, 4].map(|n| Tensor::ones([n, 3, 8], (Kind::Float, Device::Cpu)));
/// let output = transformer.f_forward(&src, &tgt, Default::default(), false)?;
/// assert_eq!(output.size(), [4, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn f_transformer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    config: TransformerConfig,
) -> Result<Transformer, InitError> {
    make(vs.borrow(), &[], |build| {
        let norm = Some(config.layer.norm());
        let encoder_sizes = [config.d_model, config.nhead, config.num_encoder_layers];
        let decoder_sizes = [config.d_model, config.nhead, config.num_decoder_layers];
        let start_encoder = encoder_start(build, encoder_sizes, config.layer);
        let start_decoder = decoder_start(build, decoder_sizes, config.layer);
        let start = Start::other(move |tensors| {
            start_encoder(&tensors.child("encoder"))?;
            start_decoder(&tensors.child("decoder"))?;
            reset_parameters(tensors)
        });
        build.layer(LayerKind::Transformer, start, |build| {
            let encoder = build.child("encoder", |build| {
                declare_encoder(build, encoder_sizes, config.layer, norm)
            })?;
            let encoder_repr = build.last_repr().to_owned();
            let decoder = build.child("decoder", |build| {
                declare_decoder(build, decoder_sizes, config.layer, norm)
            })?;
            let children = [
                ("encoder", encoder_repr.as_str()),
                ("decoder", build.last_repr()),
            ];
            let repr = python_module(NAME, &children);
            let transformer = Transformer {
                encoder,
                decoder,
                config,
            };
            Ok((transformer, repr))
        })
    })
}

/// [`f_transformer`] that panics.
///
/// # Panics
///
/// Where [`f_transformer`] returns an error.
pub fn transformer<'a, T: Borrow<Path<'a>>>(vs: T, config: TransformerConfig) -> Transformer {
    or_panic(f_transformer(vs, config))
}

impl Transformer {
    /// The decoded target, of the shape of `tgt`: `[T, N, d_model]`, `[N, T, d_model]` with
    /// `batch_first`, or `[T, d_model]`. `src` is alike, of any length.
    ///
    /// With `train` it draws its dropouts from the default stream. What
    /// [`TransformerEncoder::f_forward`] says of nested tensors holds here.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for sources and targets that do not fit each other or `d_model`, else
    /// as [`TransformerEncoder::f_forward`] and [`TransformerDecoder::f_forward`].
    pub fn f_forward(
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
            return Err(refusal(format!(
                "src and tgt must have one batch size, got shapes {source:?} and {target:?}"
            )));
        }
        let d_model = self.config.d_model;
        if source.last() != Some(&d_model) || target.last() != Some(&d_model) {
            return Err(refusal(format!(
                "src and tgt must have d_model = {d_model} features, got shapes {source:?} and \
                 {target:?}"
            )));
        }
        let memory = self.encoder.f_forward(src, masks.encoder(), train)?;
        self.decoder.f_forward(tgt, &memory, masks.decoder(), train)
    }

    /// [`f_forward`](Transformer::f_forward) that panics.
    ///
    /// # Panics
    ///
    /// Where `f_forward` returns an error.
    pub fn forward(
        &self,
        src: &Tensor,
        tgt: &Tensor,
        masks: TransformerMasks<'_>,
        train: bool,
    ) -> Tensor {
        or_panic(self.f_forward(src, tgt, masks, train))
    }

    /// The causal mask for a sequence of `sz`: 0 where a position sees another, minus infinity
    /// where it does not, after it. `torch.nn.Transformer.generate_square_subsequent_mask`.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for a negative size, and for a kind without infinity, except booleans,
    /// where `true` hides; [`InitError::Libtorch`] where libtorch refuses.
    ///
    /// ```
    /// use tch_init::nn::Transformer;
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let (kind, device) = (tch::Kind::Float, tch::Device::Cpu);
    /// let mask = Transformer::f_generate_square_subsequent_mask(3, kind, device)?;
    /// assert_eq!(mask.double_value(&[1, 0]), 0.0);
    /// assert_eq!(mask.double_value(&[0, 1]), f64::NEG_INFINITY);
    /// # Ok(())
    /// # }
    /// ```
    pub fn f_generate_square_subsequent_mask(
        sz: i64,
        kind: Kind,
        device: Device,
    ) -> Result<Tensor, InitError> {
        if sz < 0 {
            return Err(refusal(format!("sz = {sz} must not be negative")));
        }
        let none =
            Tensor::f_zeros([0], (kind, device)).map_err(|error| InitError::tch(NAME, error))?;
        mask::check_kind(NAME, "square subsequent mask", &none)?;
        mask::causal(sz, kind, device).context(NAME, &none)
    }

    /// [`f_generate_square_subsequent_mask`](Transformer::f_generate_square_subsequent_mask) that
    /// panics.
    ///
    /// # Panics
    ///
    /// Where `f_generate_square_subsequent_mask` returns an error.
    pub fn generate_square_subsequent_mask(sz: i64, kind: Kind, device: Device) -> Tensor {
        or_panic(Self::f_generate_square_subsequent_mask(sz, kind, device))
    }
}

fn refusal(message: String) -> InitError {
    InitError::Layer {
        kind: NAME,
        message,
    }
}

/// `Transformer._reset_parameters`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
fn reset_parameters(tensors: &Named) -> Result<(), InitError> {
    tensors
        .iter()
        .filter(|(_, parameter)| parameter.dim() > 1)
        .try_for_each(|(_, parameter)| xavier_uniform_(&mut parameter.shallow_clone(), 1.0, None))
}
