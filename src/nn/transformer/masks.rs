//! What the parts of a transformer are shown.

use tch::Tensor;

/// What an encoder and its layers are shown; PyTorch's default is nothing, so everything is seen.
///
/// Masks are as in [`AttentionOptions`](crate::nn::AttentionOptions): `true` hides, floating-point
/// values are added.
#[derive(Debug, Clone, Copy, Default)]
pub struct EncoderMasks<'a> {
    /// Which positions see which: `[S, S]` or `[N * nhead, S, S]`.
    pub src_mask: Option<&'a Tensor>,
    /// Which positions are padding: `[N, S]`, or `[S]` without a batch.
    pub src_key_padding_mask: Option<&'a Tensor>,
    /// Whether `src_mask` is the causal one. Without a word, a single layer takes it that it is
    /// not, and an encoder looks.
    pub is_causal: Option<bool>,
}

/// What a decoder and its layers are shown; PyTorch's default is nothing, so everything is seen.
///
/// Masks are as in [`AttentionOptions`](crate::nn::AttentionOptions): `true` hides, floating-point
/// values are added.
#[derive(Debug, Clone, Copy, Default)]
pub struct DecoderMasks<'a> {
    /// Which positions of the target see which: `[T, T]` or `[N * nhead, T, T]`.
    pub tgt_mask: Option<&'a Tensor>,
    /// Which positions of the target see which of the memory: `[T, S]` or `[N * nhead, T, S]`.
    pub memory_mask: Option<&'a Tensor>,
    /// Which positions of the target are padding: `[N, T]`, or `[T]` without a batch.
    pub tgt_key_padding_mask: Option<&'a Tensor>,
    /// Which positions of the memory are padding: `[N, S]`, or `[S]` without a batch.
    pub memory_key_padding_mask: Option<&'a Tensor>,
    /// Whether `tgt_mask` is the causal one. Without a word, a single layer takes it that it is
    /// not, and a decoder looks.
    pub tgt_is_causal: Option<bool>,
    /// Whether `memory_mask` is the causal one.
    pub memory_is_causal: bool,
}

/// What a transformer is shown; PyTorch's default is nothing, so everything is seen.
///
/// Masks are as in [`AttentionOptions`](crate::nn::AttentionOptions): `true` hides, floating-point
/// values are added.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransformerMasks<'a> {
    /// Which positions of the source see which: `[S, S]` or `[N * nhead, S, S]`.
    pub src_mask: Option<&'a Tensor>,
    /// Which positions of the target see which: `[T, T]` or `[N * nhead, T, T]`.
    pub tgt_mask: Option<&'a Tensor>,
    /// Which positions of the target see which of the encoded source: `[T, S]` or
    /// `[N * nhead, T, S]`.
    pub memory_mask: Option<&'a Tensor>,
    /// Which positions of the source are padding: `[N, S]`, or `[S]` without a batch.
    pub src_key_padding_mask: Option<&'a Tensor>,
    /// Which positions of the target are padding: `[N, T]`, or `[T]` without a batch.
    pub tgt_key_padding_mask: Option<&'a Tensor>,
    /// Which positions of the encoded source are padding: `[N, S]`, or `[S]` without a batch.
    pub memory_key_padding_mask: Option<&'a Tensor>,
    /// Whether `src_mask` is the causal one. Without a word, the encoder looks.
    pub src_is_causal: Option<bool>,
    /// Whether `tgt_mask` is the causal one. Without a word, the decoder looks.
    pub tgt_is_causal: Option<bool>,
    /// Whether `memory_mask` is the causal one.
    pub memory_is_causal: bool,
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
