//! A layer of an encoder.

use super::TransformerLayerConfig;
use super::masks::EncoderMasks;
use crate::error::{Context, InitError};
use crate::nn::attention::{self, AttentionOptions, MultiheadAttention, mask};
use crate::nn::build::{Build, make, python_module};
use crate::nn::named::Named;
use crate::nn::start::Start;
use crate::nn::{LayerKind, TransformerActivation, linear, or_panic};
use std::borrow::Borrow;
use tch::nn::{LayerNorm, Linear, ModuleT, Path};
use tch::{Device, TchError, Tensor};

const NAME: &str = "TransformerEncoderLayer";

/// A layer of an encoder: self-attention, then two linear layers; tch has none.
#[derive(Debug)]
pub struct TransformerEncoderLayer {
    /// The attention of the source to itself.
    pub self_attn: MultiheadAttention,
    /// From `d_model` to `dim_feedforward` features.
    pub linear1: Linear,
    /// And back.
    pub linear2: Linear,
    /// The normalisation at the attention.
    pub norm1: LayerNorm,
    /// The normalisation at the linear layers.
    pub norm2: LayerNorm,
    /// The options it was made with.
    pub config: TransformerLayerConfig,
}

/// `torch.nn.TransformerEncoderLayer(d_model, nhead)`: `self_attn`, `linear1`, `linear2`, `norm1` and
/// `norm2`, which start as they do alone.
///
/// Draws in that order; the normalisations draw nothing.
///
/// # Errors
///
/// [`InitError::Layer`] as [`f_multihead_attention`](crate::nn::f_multihead_attention), and for a
/// dropout outside of 0 to 1; [`InitError::Libtorch`] for a negative `dim_feedforward` or a
/// `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerLayerConfig, f_transformer_encoder_layer};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerLayerConfig { dim_feedforward: 16, ..Default::default() };
/// let layer = f_transformer_encoder_layer(vs.root() / "layer", 8, 2, config)?;
/// let x = Tensor::ones([5, 3, 8], (Kind::Float, Device::Cpu));
/// assert_eq!(layer.f_forward(&x, Default::default(), false)?.size(), [5, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn f_transformer_encoder_layer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerEncoderLayer, InitError> {
    make(vs.borrow(), &[], |build| {
        declare(build, d_model, nhead, config)
    })
}

/// [`f_transformer_encoder_layer`] that panics.
///
/// # Panics
///
/// Where [`f_transformer_encoder_layer`] returns an error.
pub fn transformer_encoder_layer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> TransformerEncoderLayer {
    or_panic(f_transformer_encoder_layer(vs, d_model, nhead, config))
}

impl TransformerEncoderLayer {
    /// The layer's output, of the shape of `src`: `[S, N, d_model]`, `[N, S, d_model]` with
    /// `batch_first`, or `[S, d_model]`.
    ///
    /// With `train` it draws its dropouts from the default stream. Without, where nothing asks for
    /// gradients, PyTorch's fused kernel runs under the conditions that PyTorch sets; of these
    /// autocasting alone is not asked for.
    ///
    /// # Errors
    ///
    /// [`InitError`] as [`MultiheadAttention::f_forward`].
    pub fn f_forward(
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
        let options = AttentionOptions {
            key_padding_mask: padding,
            attn_mask: src_mask,
            need_weights: false,
            is_causal: masks.is_causal == Some(true),
            ..Default::default()
        };
        let attend = |x: &Tensor| {
            let (x, _) = self.self_attn.f_forward(x, x, x, options, train)?;
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

    /// [`f_forward`](TransformerEncoderLayer::f_forward) that panics.
    ///
    /// # Panics
    ///
    /// Where `f_forward` returns an error.
    pub fn forward(&self, src: &Tensor, masks: EncoderMasks<'_>, train: bool) -> Tensor {
        or_panic(self.f_forward(src, masks, train))
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
        self.forward(src, EncoderMasks::default(), train)
    }
}

pub(super) fn declare(
    build: &mut Build<'_>,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerEncoderLayer, InitError> {
    let kind = LayerKind::TransformerEncoderLayer;
    build.layer(kind, Start::other(start), |build| {
        let mut children = Vec::new();
        let dropout = config.dropout_repr();
        let linear = |build: &mut Build<'_>, inputs, outputs| {
            linear::declare(build, "Linear", inputs, outputs, config.bias)
        };
        let norm = |build: &mut Build<'_>| config.norm().declare(build, d_model);

        let self_attn = build.child("self_attn", |build| {
            attention::declare(build, d_model, nhead, config.attention())
        })?;
        children.push(("self_attn", build.last_repr().to_owned()));
        config.check(NAME)?;
        let hidden = config.dim_feedforward;
        let linear1 = build.child("linear1", |build| linear(build, d_model, hidden))?;
        children.push(("linear1", build.last_repr().to_owned()));
        children.push(("dropout", dropout.clone()));
        let linear2 = build.child("linear2", |build| linear(build, hidden, d_model))?;
        children.push(("linear2", build.last_repr().to_owned()));
        let norm1 = build.child("norm1", norm)?;
        children.push(("norm1", build.last_repr().to_owned()));
        let norm2 = build.child("norm2", norm)?;
        children.push(("norm2", build.last_repr().to_owned()));
        children.push(("dropout1", dropout.clone()));
        children.push(("dropout2", dropout));

        let children: Vec<(&str, &str)> = children.iter().map(|(n, r)| (*n, r.as_str())).collect();
        let layer = TransformerEncoderLayer {
            self_attn,
            linear1,
            linear2,
            norm1,
            norm2,
            config,
        };
        Ok((layer, python_module(NAME, &children)))
    })
}

/// The order of `TransformerEncoderLayer.__init__`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
pub(super) fn start(tensors: &Named) -> Result<(), InitError> {
    attention::start(&tensors.child("self_attn"))?;
    Start::Linear.run(&tensors.child("linear1"))?;
    Start::Linear.run(&tensors.child("linear2"))?;
    Start::Norm.run(&tensors.child("norm1"))?;
    Start::Norm.run(&tensors.child("norm2"))
}
