//! Live parity: the same case run here and by PyTorch on this machine, compared bit for bit.
//!
//! Needs the Python reference (`./setup --reference`); `make test` runs these with the rest.

#[path = "../common/mod.rs"]
mod common;
mod init;
mod reference;
mod state;
