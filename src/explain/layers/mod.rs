//! The layers of a printed model.

mod build;
mod text;

pub(super) use build::{Built, layer as build};
pub use text::ModelError;
pub(super) use text::Module;
