//! A layer of an encoder.

use super::layer_config::TransformerActivation;
use super::layer_config::TransformerLayerConfig;
use super::masks::EncoderMasks;
use crate::error::{Context, InitError};
use crate::nn::attention::{self, AttentionOptions, MultiheadAttention, mask};
use crate::nn::builder::build;
use crate::nn::kind::LayerKind;
use crate::nn::linear;
use crate::nn::named_tensors::NamedTensors;
use crate::nn::tch_layers::or_panic;
use std::borrow::Borrow;
use tch::nn::{LayerNorm, Linear, ModuleT, Path};
use tch::{Device, TchError, Tensor};

const KIND: LayerKind = LayerKind::TransformerEncoderLayer;
const NAME: &str = "TransformerEncoderLayer";

/// `torch.nn.TransformerEncoderLayer`, which tch lacks: self-attention, then two linear layers.
#[derive(Debug)]
pub struct TransformerEncoderLayer {
    /// The attention of the source to itself.
    pub self_attn: MultiheadAttention,
    /// From `d_model` to `dim_feedforward` features.
    pub linear1: Linear,
    /// From `dim_feedforward` back to `d_model` features.
    pub linear2: Linear,
    /// The normalization at the attention.
    pub norm1: LayerNorm,
    /// The normalization at the linear layers.
    pub norm2: LayerNorm,
    /// The options it was made with.
    pub config: TransformerLayerConfig,
}

/// `torch.nn.TransformerEncoderLayer(d_model, nhead)`: `self_attn`, `linear1`, `linear2`, `norm1` and
/// `norm2`, which are initialized as they are on their own.
///
/// Draws in that order; the normalizations draw nothing.
///
/// # Errors
///
/// [`InitError::Layer`] as [`multihead_attention`](crate::nn::multihead_attention), and for a
/// dropout outside of 0 to 1; [`InitError::Libtorch`] for a negative `dim_feedforward` or a
/// `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerLayerConfig, transformer_encoder_layer};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerLayerConfig::default().dim_feedforward(16);
/// let layer = transformer_encoder_layer(vs.root() / "layer", 8, 2, config)?;
/// let x = Tensor::ones([5, 3, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(layer.forward(&x, Default::default(), false)?.size(), [5, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn transformer_encoder_layer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerEncoderLayer, InitError> {
    let spec = config.layer(d_model, nhead).spec(KIND)?;
    let tensors = build(vs.borrow(), &spec, &[])?;
    layer(&tensors, d_model, nhead, config)
}

impl TransformerEncoderLayer {
    /// The layer's output, of the shape of `src`: `[S, N, d_model]`, `[N, S, d_model]` with
    /// `batch_first`, or `[S, d_model]`.
    ///
    /// With `train` it draws its dropouts from the default stream. Without, where nothing asks for
    /// gradients, PyTorch's fused kernel runs under PyTorch's conditions, except that autocasting
    /// is not checked.
    ///
    /// # Errors
    ///
    /// [`InitError`] as [`MultiheadAttention::forward`].
    pub fn forward(
        &self,
        src: &Tensor,
        masks: EncoderMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `TransformerEncoderLayer.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let target = src.f_kind().context(NAME, src)?;
        let padding = masks.src_key_padding_mask;
        let padding = mask::additive(NAME, "src_key_padding_mask", padding, target)?;
        let src_mask = mask::additive(NAME, "src_mask", masks.src_mask, target)?;
        let (padding, src_mask) = (padding.as_ref(), src_mask.as_ref());
        if !train && let Some(fused) = self.fused(src, src_mask, padding).context(NAME, src)? {
            return Ok(fused);
        }
        let options = AttentionOptions::default()
            .key_padding_mask(padding)
            .attn_mask(src_mask)
            .need_weights(false)
            .is_causal(masks.is_causal == Some(true));
        let attend = |x: &Tensor| {
            let (x, _) = self.self_attn.forward(x, x, x, options, train)?;
            x.f_dropout(self.config.dropout, train).context(NAME, &x)
        };
        let config = &self.config;
        let feed_forward = |x: &Tensor| config.feed_forward(&self.linear1, &self.linear2, x, train);
        let norm1 = |x: &Tensor| config.norm().forward(&self.norm1, x);
        let norm2 = |x: &Tensor| config.norm().forward(&self.norm2, x);
        if config.norm_first {
            let attended = attend(&norm1(src).context(NAME, src)?)?;
            let rest = || {
                let x = src.f_add(&attended)?;
                x.f_add(&feed_forward(&norm2(&x)?)?)
            };
            return rest().context(NAME, src);
        }
        let attended = attend(src)?;
        let rest = || {
            let x = norm1(&src.f_add(&attended)?)?;
            norm2(&x.f_add(&feed_forward(&x)?)?)
        };
        rest().context(NAME, src)
    }

    /// libtorch's fused kernel, where PyTorch uses it.
    fn fused(
        &self,
        src: &Tensor,
        src_mask: Option<&Tensor>,
        padding: Option<&Tensor>,
    ) -> Result<Option<Tensor>, TchError> {
        let attention = &self.self_attn;
        let weights = [
            attention.in_proj_weight.as_ref(),
            attention.in_proj_bias.as_ref(),
            Some(&attention.out_proj.ws),
            attention.out_proj.bs.as_ref(),
            self.norm1.ws.as_ref(),
            self.norm1.bs.as_ref(),
            self.norm2.ws.as_ref(),
            self.norm2.bs.as_ref(),
            Some(&self.linear1.ws),
            self.linear1.bs.as_ref(),
            Some(&self.linear2.ws),
            self.linear2.bs.as_ref(),
        ];
        let [
            Some(in_weight),
            Some(in_bias),
            Some(out_weight),
            Some(out_bias),
            Some(weight1),
            Some(bias1),
            Some(weight2),
            Some(bias2),
            Some(linear_weight1),
            Some(linear_bias1),
            Some(linear_weight2),
            Some(linear_bias2),
        ] = weights
        else {
            return Ok(None);
        };
        let tensors: Vec<&Tensor> = weights.into_iter().flatten().chain([src]).collect();
        let possible = src.dim() == 3
            && attention.config.batch_first
            && attention.num_heads % 2 == 0
            && tensors
                .iter()
                .all(|tensor| matches!(tensor.device(), Device::Cpu | Device::Cuda(_)));
        if !possible || mask::asks_for_gradients(&tensors)? {
            return Ok(None);
        }
        let (merged, mask_type) = mask::merge(src_mask, padding, src, attention.num_heads)?;
        Tensor::f_internal_transformer_encoder_layer_fwd(
            src,
            attention.embed_dim,
            attention.num_heads,
            in_weight,
            in_bias,
            out_weight,
            out_bias,
            self.config.activation == TransformerActivation::Gelu,
            self.config.norm_first,
            self.config.layer_norm_eps,
            weight1,
            bias1,
            weight2,
            bias2,
            linear_weight1,
            linear_bias1,
            linear_weight2,
            linear_bias2,
            merged,
            mask_type,
        )
        .map(Some)
    }
}

impl ModuleT for TransformerEncoderLayer {
    fn forward_t(&self, src: &Tensor, train: bool) -> Tensor {
        or_panic(self.forward(src, EncoderMasks::default(), train))
    }
}

/// The layer with these tensors.
pub(super) fn layer(
    tensors: &NamedTensors,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerEncoderLayer, InitError> {
    let attention =
        |name: &str| attention::layer(&tensors.child(name), d_model, nhead, config.attention());
    let linear = |name: &str| linear::layer(&tensors.child(name));
    let norm = |name: &str| config.norm().layer(&tensors.child(name), d_model);
    Ok(TransformerEncoderLayer {
        self_attn: attention("self_attn")?,
        linear1: linear("linear1")?,
        linear2: linear("linear2")?,
        norm1: norm("norm1"),
        norm2: norm("norm2"),
        config,
    })
}
