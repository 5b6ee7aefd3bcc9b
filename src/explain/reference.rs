//! Tensors with names, and how PyTorch drew them.

use crate::tensor::TensorView;
use torch_rng::{Draw, Semantics};

/// A tensor with its name.
#[derive(Debug, Clone)]
pub struct NamedView<'a> {
    /// The name, as in `state_dict`.
    pub name: String,
    /// The tensor.
    pub view: TensorView<'a>,
}

/// A tensor of the reference.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The tensor as PyTorch has it.
    pub tensor: NamedView<'a>,
    /// How PyTorch drew it, if known. Otherwise [`explain`](super::explain()) searches for it.
    pub drawn: Option<Drawn>,
}

/// A draw and its position in a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// The draw.
    pub draw: Draw,
    /// The seed of the stream.
    pub seed: u64,
    /// The first word of the draw, in 32-bit words after `manual_seed`.
    pub word: u64,
    /// The versions of PyTorch whose bits it has.
    pub semantics: Semantics,
}
