#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod error;
pub mod init;
pub mod rng;

#[cfg(feature = "tch")]
pub mod cuda;
#[cfg(feature = "tch")]
mod ffi;
#[cfg(feature = "tch")]
mod generator;

pub use error::InitError;
#[cfg(feature = "tch")]
pub use generator::{Generator, get_rng_state, initial_seed, manual_seed, set_rng_state};
