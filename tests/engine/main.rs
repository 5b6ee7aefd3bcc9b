//! The draws of torch-rng, against those of libtorch.
#![cfg(feature = "tch")]

mod case;
#[path = "../common/mod.rs"]
mod common;
mod exhaustive;
mod init;
mod libtorch;
