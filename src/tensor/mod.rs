//! Tensors as they lie in files and in memory, without libtorch.

mod dtype;
#[cfg(feature = "tch")]
mod kind;
#[cfg(feature = "files")]
mod spans;
mod view;

pub use dtype::Dtype;
pub use view::{TensorView, ViewError};

#[cfg(feature = "files")]
pub(crate) use spans::Spans;
