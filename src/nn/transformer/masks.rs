//! The masks of transformers.

use crate::nn::config::config;
use tch::Tensor;

config! {
    /// The masks of an encoder or one of its layers. PyTorch's default: none.
    ///
    /// Masks are as in [`AttentionOptions`](crate::nn::AttentionOptions): `true` hides,
    /// floating-point values are added.
    #[derive(Debug, Clone, Copy)]
    pub struct EncoderMasks<'a> {
        /// Which positions see which: `[S, S]` or `[N * nhead, S, S]`.
        src_mask: Option<&'a Tensor> = None,
        /// Which positions are padding: `[N, S]`, or `[S]` without a batch.
        src_key_padding_mask: Option<&'a Tensor> = None,
        /// Whether `src_mask` is the causal one. If unset, a single layer assumes that it is not,
        /// and an encoder compares it.
        is_causal: Option<bool> = None,
    }
}

config! {
    /// The masks of a decoder or one of its layers. PyTorch's default: none.
    ///
    /// Masks are as in [`AttentionOptions`](crate::nn::AttentionOptions): `true` hides,
    /// floating-point values are added.
    #[derive(Debug, Clone, Copy)]
    pub struct DecoderMasks<'a> {
        /// Which positions of the target see which: `[T, T]` or `[N * nhead, T, T]`.
        tgt_mask: Option<&'a Tensor> = None,
        /// Which positions of the target see which of the memory: `[T, S]` or `[N * nhead, T, S]`.
        memory_mask: Option<&'a Tensor> = None,
        /// Which positions of the target are padding: `[N, T]`, or `[T]` without a batch.
        tgt_key_padding_mask: Option<&'a Tensor> = None,
        /// Which positions of the memory are padding: `[N, S]`, or `[S]` without a batch.
        memory_key_padding_mask: Option<&'a Tensor> = None,
        /// Whether `tgt_mask` is the causal one. If unset, a single layer assumes that it is not,
        /// and a decoder compares it.
        tgt_is_causal: Option<bool> = None,
        /// Whether `memory_mask` is the causal one.
        memory_is_causal: bool = false,
    }
}

config! {
    /// The masks of a transformer. PyTorch's default: none.
    ///
    /// Masks are as in [`AttentionOptions`](crate::nn::AttentionOptions): `true` hides,
    /// floating-point values are added.
    #[derive(Debug, Clone, Copy)]
    pub struct TransformerMasks<'a> {
        /// Which positions of the source see which: `[S, S]` or `[N * nhead, S, S]`.
        src_mask: Option<&'a Tensor> = None,
        /// Which positions of the target see which: `[T, T]` or `[N * nhead, T, T]`.
        tgt_mask: Option<&'a Tensor> = None,
        /// Which positions of the target see which of the encoded source: `[T, S]` or
        /// `[N * nhead, T, S]`.
        memory_mask: Option<&'a Tensor> = None,
        /// Which positions of the source are padding: `[N, S]`, or `[S]` without a batch.
        src_key_padding_mask: Option<&'a Tensor> = None,
        /// Which positions of the target are padding: `[N, T]`, or `[T]` without a batch.
        tgt_key_padding_mask: Option<&'a Tensor> = None,
        /// Which positions of the encoded source are padding: `[N, S]`, or `[S]` without a batch.
        memory_key_padding_mask: Option<&'a Tensor> = None,
        /// Whether `src_mask` is the causal one. If unset, the encoder compares it.
        src_is_causal: Option<bool> = None,
        /// Whether `tgt_mask` is the causal one. If unset, the decoder compares it.
        tgt_is_causal: Option<bool> = None,
        /// Whether `memory_mask` is the causal one.
        memory_is_causal: bool = false,
    }
}

impl<'a> TransformerMasks<'a> {
    pub(super) fn encoder(&self) -> EncoderMasks<'a> {
        EncoderMasks {
            src_mask: self.src_mask,
            src_key_padding_mask: self.src_key_padding_mask,
            is_causal: self.src_is_causal,
        }
    }

    pub(super) fn decoder(&self) -> DecoderMasks<'a> {
        DecoderMasks {
            tgt_mask: self.tgt_mask,
            memory_mask: self.memory_mask,
            tgt_key_padding_mask: self.tgt_key_padding_mask,
            memory_key_padding_mask: self.memory_key_padding_mask,
            tgt_is_causal: self.tgt_is_causal,
            memory_is_causal: self.memory_is_causal,
        }
    }
}
