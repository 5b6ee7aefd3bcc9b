//! Live parity: the same case run here and by PyTorch on this machine, compared bit for bit.
//!
//! Needs the Python reference (`./setup --reference`); `make test` runs these with the rest.

#![cfg(feature = "cli")]

mod basic;
#[path = "../common/case.rs"]
mod case;
#[path = "../common/mod.rs"]
mod common;
mod family;
mod init;
mod layers;
mod models;
mod program;
mod recurrent;
mod recurrent_options;
mod reference;
mod state;
