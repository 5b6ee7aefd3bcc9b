//! A layer of a decoder.

use super::layer_config::TransformerLayerConfig;
use super::masks::DecoderMasks;
use crate::error::{Context, InitError};
use crate::nn::attention::{self, AttentionOptions, MultiheadAttention};
use crate::nn::builder::build;
use crate::nn::kind::LayerKind;
use crate::nn::linear;
use crate::nn::named_tensors::NamedTensors;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{LayerNorm, Linear, Path};

const KIND: LayerKind = LayerKind::TransformerDecoderLayer;
const NAME: &str = "TransformerDecoderLayer";

/// `torch.nn.TransformerDecoderLayer`, which tch lacks: self-attention, attention to the memory,
/// then two linear layers.
#[derive(Debug)]
pub struct TransformerDecoderLayer {
    /// The attention of the target to itself.
    pub self_attn: MultiheadAttention,
    /// The attention of the target to the memory.
    pub multihead_attn: MultiheadAttention,
    /// From `d_model` to `dim_feedforward` features.
    pub linear1: Linear,
    /// From `dim_feedforward` back to `d_model` features.
    pub linear2: Linear,
    /// The normalization at the self-attention.
    pub norm1: LayerNorm,
    /// The normalization at the attention to the memory.
    pub norm2: LayerNorm,
    /// The normalization at the linear layers.
    pub norm3: LayerNorm,
    /// The options it was made with.
    pub config: TransformerLayerConfig,
}

/// `torch.nn.TransformerDecoderLayer(d_model, nhead)`: `self_attn`, `multihead_attn`, `linear1`,
/// `linear2`, `norm1`, `norm2` and `norm3`, which are initialized as they are on their own.
///
/// Draws in that order; the normalizations draw nothing.
///
/// # Errors
///
/// As [`transformer_encoder_layer`](crate::nn::transformer_encoder_layer).
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{TransformerLayerConfig, transformer_decoder_layer};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = TransformerLayerConfig::default().dim_feedforward(16);
/// let layer = transformer_decoder_layer(vs.root() / "layer", 8, 2, config)?;
/// let [tgt, memory] = [4, 5].map(|n| Tensor::ones([n, 3, 8], (Kind::Float, Device::Cpu)));
/// let output = layer.forward(&tgt, &memory, Default::default(), false)?;
/// assert_eq!(output.size(), [4, 3, 8]);
/// # Ok(())
/// # }
/// ```
pub fn transformer_decoder_layer<'a, T: Borrow<Path<'a>>>(
    vs: T,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerDecoderLayer, InitError> {
    let spec = config.layer(d_model, nhead).spec(KIND)?;
    let tensors = build(vs.borrow(), &spec, &[])?;
    layer(&tensors, d_model, nhead, config)
}

impl TransformerDecoderLayer {
    /// The layer's output, of the shape of `tgt`: `[T, N, d_model]`, `[N, T, d_model]` with
    /// `batch_first`, or `[T, d_model]`. `memory` is what an encoder made of the source.
    ///
    /// With `train` it draws its dropouts from the default stream.
    ///
    /// # Errors
    ///
    /// [`InitError`] as [`MultiheadAttention::forward`].
    pub fn forward(
        &self,
        tgt: &Tensor,
        memory: &Tensor,
        masks: DecoderMasks<'_>,
        train: bool,
    ) -> Result<Tensor, InitError> {
        // `TransformerDecoderLayer.forward`, `torch/nn/modules/transformer.py`, PyTorch 2.13.
        let config = &self.config;
        let attend_self = |x: &Tensor| {
            let options = AttentionOptions::default()
                .key_padding_mask(masks.tgt_key_padding_mask)
                .attn_mask(masks.tgt_mask)
                .need_weights(false)
                .is_causal(masks.tgt_is_causal == Some(true));
            let (x, _) = self.self_attn.forward(x, x, x, options, train)?;
            x.f_dropout(config.dropout, train).context(NAME, &x)
        };
        let attend_memory = |x: &Tensor| {
            let options = AttentionOptions::default()
                .key_padding_mask(masks.memory_key_padding_mask)
                .attn_mask(masks.memory_mask)
                .need_weights(false)
                .is_causal(masks.memory_is_causal);
            let attention = &self.multihead_attn;
            let (x, _) = attention.forward(x, memory, memory, options, train)?;
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
}

/// The layer with these tensors.
pub(super) fn layer(
    tensors: &NamedTensors,
    d_model: i64,
    nhead: i64,
    config: TransformerLayerConfig,
) -> Result<TransformerDecoderLayer, InitError> {
    let attention =
        |name: &str| attention::layer(&tensors.child(name), d_model, nhead, config.attention());
    let linear = |name: &str| linear::layer(&tensors.child(name));
    let norm = |name: &str| config.norm().layer(&tensors.child(name), d_model);
    Ok(TransformerDecoderLayer {
        self_attn: attention("self_attn")?,
        multihead_attn: attention("multihead_attn")?,
        linear1: linear("linear1")?,
        linear2: linear("linear2")?,
        norm1: norm("norm1"),
        norm2: norm("norm2"),
        norm3: norm("norm3"),
        config,
    })
}
