//! Tensors as they lie in files and in memory, without libtorch.

mod dtype;
mod view;

pub use dtype::Dtype;
pub use view::{TensorView, ViewError};
