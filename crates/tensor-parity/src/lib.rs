//! Tensors as they lie in files and in memory, their files, and their comparison.
#![deny(missing_docs)]

pub mod compare;
mod dtype;
#[cfg(feature = "files")]
pub mod file;
pub mod python_repr;
#[cfg(feature = "tch")]
mod tch_kind;
mod view;

pub use dtype::Dtype;
pub use view::{TensorView, ViewError};
