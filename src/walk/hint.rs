//! What a caller says about a layer.

use crate::nn::LayerKind;

/// The kind of one layer, set by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hint {
    /// The path of the layer, or the full name of one of its variables.
    pub(super) address: String,
    pub(super) kind: LayerKind,
}
