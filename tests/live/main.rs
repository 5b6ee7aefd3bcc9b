//! Live parity: the same case run here and by PyTorch on this machine, compared bit for bit.
//!
//! Needs the Python reference (`./setup --reference`); `make test` runs these with the rest.

#![cfg(feature = "cli")]

mod assert_close;
mod attention;
mod basic;
#[path = "../common/case.rs"]
mod case;
#[path = "../common/mod.rs"]
mod common;
mod embeddings;
mod explain;
mod family;
mod init;
mod isclose;
mod layers;
mod lazy;
mod losses;
mod models;
mod norms;
mod program;
mod recipes;
mod recurrent;
mod recurrent_options;
mod reference;
mod running_norms;
mod small_layers;
mod state;
mod transformer;
