//! Why a tensor cannot be printed.

use tch::TchError;

/// Why a tensor could not be printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReprError {
    /// The tensor is the undefined one, as [`Tensor::new`](tch::Tensor::new) makes it.
    #[error("cannot print an undefined tensor")]
    Undefined,
    /// Such a tensor cannot be printed; the text says which.
    #[error("cannot print {0}")]
    Unsupported(String),
    /// [`PrintOptions::precision`](super::PrintOptions::precision) is above 65534.
    #[error("precision {0} exceeds 65534, the maximum number of digits")]
    Precision(usize),
    /// libtorch refused to hand over the elements.
    #[error(transparent)]
    Torch(#[from] TchError),
}
