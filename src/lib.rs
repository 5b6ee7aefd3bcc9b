#![cfg_attr(feature = "tch", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "tch"),
    doc = "PyTorch's weight initialisation: what needs no libtorch. The feature `tch` has the rest."
)]
#![deny(missing_docs)]

pub mod distribution;
mod error;
#[cfg(feature = "files")]
pub mod file;
pub mod init;
pub mod parity;
#[cfg(feature = "files")]
pub mod plan;
mod python;
pub mod rng;
pub mod tensor;

#[cfg(feature = "tch")]
pub mod cuda;
#[cfg(feature = "tch")]
pub mod doctor;
#[cfg(feature = "tch")]
pub mod experiment;
#[cfg(feature = "tch")]
pub mod explain;
#[cfg(feature = "tch")]
mod ffi;
#[cfg(feature = "tch")]
mod generator;
#[cfg(feature = "tch")]
pub mod nn;
#[cfg(feature = "tch")]
pub mod recipe;
#[cfg(feature = "tch")]
pub mod repr;
#[cfg(feature = "tch")]
mod visit;

pub use error::InitError;
#[cfg(feature = "tch")]
pub use generator::{Generator, get_rng_state, initial_seed, manual_seed, set_rng_state};
#[cfg(feature = "tch")]
pub use visit::{Layer, VisitError, Walk, apply, reset_parameters};
