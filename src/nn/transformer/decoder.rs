//! A layer of a decoder.

use super::TransformerLayerConfig;
use super::masks::DecoderMasks;
use crate::error::{Context, InitError};
use crate::nn::attention::{self, AttentionOptions, MultiheadAttention};
use crate::nn::build::{Build, make, python_module};
use crate::nn::named::Named;
use crate::nn::start::Start;
use crate::nn::{LayerKind, linear, or_panic};
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{LayerNorm, Linear, Path};

const NAME: &str = "TransformerDecoderLayer";

/// A layer of a decoder: self-attention, attention to the memory, then two linear layers; tch has
/// none.
#[derive(Debug)]
pub struct TransformerDecoderLayer {
    /// The attention of the target to itself.
    pub self_attn: MultiheadAttention,
    /// The attention of the target to the memory.
    pub multihead_attn: MultiheadAttention,
    /// From `d_model` to `dim_feedforward` features.
    pub linear1: Linear,
    /// And back.
    pub linear2: Linear,
    /// The normalisation at the self-attention.
    pub norm1: LayerNorm,
    /// The normalisation at the attention to the memory.
    pub norm2: LayerNorm,
    /// The normalisation at the linear layers.
    pub norm3: LayerNorm,
    /// The options it was made with.
    pub config: TransformerLayerConfig,
}

/// `torch.nn.TransformerDecoderLayer(d_model, nhead)`: `self_attn`, `multihead_attn`, `linear1`,
/// `linear2`, `norm1`, `norm2` and `norm3`, which start as they do alone.
///
/// Draws in that order; the normalisations draw nothing.
///
/// # Errors
///
/// As [`f_transformer_encoder_layer`](crate::nn::f_transformer_encoder_layer).
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerLayerConfig, f_transformer_decoder_layer};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerLayerConfig { dim_feedforward: 16, ..Default::default() };
/// let layer = f_transformer_decoder_layer(vs.root() / "layer", 8, 2, config)?;
/// let [tgt, memory] = [4, 5].map(|n| Tensor::ones([n, 3, 8], (Kind::Float, Device::Cpu)));
/// let output = layer.f_forward(&tgt, &memory, Default::default(), false)?;
/// assert_eq!(output.size(), [4, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn f_transformer_decoder_layer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerDecoderLayer, InitError> {
    make(vs.borrow(), &[], |build| {
        declare(build, d_model, nhead, config)
    })
}

/// [`f_transformer_decoder_layer`] that panics.
///
/// # Panics
///
/// Where [`f_transformer_decoder_layer`] returns an error.
pub fn transformer_decoder_layer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> TransformerDecoderLayer {
    or_panic(f_transformer_decoder_layer(vs, d_model, nhead, config))
}

impl TransformerDecoderLayer {
    /// The layer's output, of the shape of `tgt`: `[T, N, d_model]`, `[N, T, d_model]` with
    /// `batch_first`, or `[T, d_model]`. `memory` is what an encoder made of the source.
    ///
    /// With `train` it draws its dropouts from the default stream.
    ///
    /// # Errors
    ///
    /// [`InitError`] as [`MultiheadAttention::f_forward`].
    pub fn f_forward(
        &self,
        tgt: &Tensor,
        memory: &Tensor,
        masks: DecoderMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `TransformerDecoderLayer.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let config = &self.config;
        let attend_self = |x: &Tensor| {
            let options = AttentionOptions {
                key_padding_mask: masks.tgt_key_padding_mask,
                attn_mask: masks.tgt_mask,
                need_weights: false,
                is_causal: masks.tgt_is_causal == Some(true),
                ..Default::default()
            };
            let (x, _) = self.self_attn.f_forward(x, x, x, options, train)?;
            x.f_dropout(config.dropout, train).context(NAME, &x)
        };
        let attend_memory = |x: &Tensor| {
            let options = AttentionOptions {
                key_padding_mask: masks.memory_key_padding_mask,
                attn_mask: masks.memory_mask,
                need_weights: false,
                is_causal: masks.memory_is_causal,
                ..Default::default()
            };
            let attention = &self.multihead_attn;
            let (x, _) = attention.f_forward(x, memory, memory, options, train)?;
            x.f_dropout(config.dropout, train).context(NAME, &x)
        };
        let feed_forward = |x: &Tensor| {
            config
                .feed_forward(&self.linear1, &self.linear2, x, train)
                .context(NAME, x)
        };
        let norm = |layer: &LayerNorm, x: &Tensor| config.norm().forward(layer, x).context(NAME, x);
        let add = |x: &Tensor, y: Tensor| x.f_add(&y).context(NAME, x);
        if config.norm_first {
            let x = add(tgt, attend_self(&norm(&self.norm1, tgt)?)?)?;
            let x = add(&x, attend_memory(&norm(&self.norm2, &x)?)?)?;
            add(&x, feed_forward(&norm(&self.norm3, &x)?)?)
        } else {
            let x = norm(&self.norm1, &add(tgt, attend_self(tgt)?)?)?;
            let x = norm(&self.norm2, &add(&x, attend_memory(&x)?)?)?;
            norm(&self.norm3, &add(&x, feed_forward(&x)?)?)
        }
    }

    /// [`f_forward`](TransformerDecoderLayer::f_forward) that panics.
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

pub(super) fn declare(
    build: &mut Build<'_>,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerDecoderLayer, InitError> {
    let kind = LayerKind::TransformerDecoderLayer;
    build.layer(kind, Start::other(start), |build| {
        let mut children = Vec::new();
        let dropout = config.dropout_repr();
        let attention =
            |build: &mut Build<'_>| attention::declare(build, d_model, nhead, config.attention());
        let linear = |build: &mut Build<'_>, inputs, outputs| {
            linear::declare(build, "Linear", inputs, outputs, config.bias)
        };
        let norm = |build: &mut Build<'_>| config.norm().declare(build, d_model);

        let self_attn = build.child("self_attn", attention)?;
        children.push(("self_attn", build.last_repr().to_owned()));
        let multihead_attn = build.child("multihead_attn", attention)?;
        children.push(("multihead_attn", build.last_repr().to_owned()));
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
        let norm3 = build.child("norm3", norm)?;
        children.push(("norm3", build.last_repr().to_owned()));
        for name in ["dropout1", "dropout2", "dropout3"] {
            children.push((name, dropout.clone()));
        }

        let children: Vec<(&str, &str)> = children.iter().map(|(n, r)| (*n, r.as_str())).collect();
        let layer = TransformerDecoderLayer {
            self_attn,
            multihead_attn,
            linear1,
            linear2,
            norm1,
            norm2,
            norm3,
            config,
        };
        Ok((layer, python_module(NAME, &children)))
    })
}

/// The order of `TransformerDecoderLayer.__init__`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
pub(super) fn start(tensors: &Named) -> Result<(), InitError> {
    attention::start(&tensors.child("self_attn"))?;
    attention::start(&tensors.child("multihead_attn"))?;
    Start::Linear.run(&tensors.child("linear1"))?;
    Start::Linear.run(&tensors.child("linear2"))?;
    Start::Norm.run(&tensors.child("norm1"))?;
    Start::Norm.run(&tensors.child("norm2"))?;
    Start::Norm.run(&tensors.child("norm3"))
}
