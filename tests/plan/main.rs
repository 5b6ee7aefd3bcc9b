//! Plans: what is read, what is refused, and that what is made has PyTorch's bits.

#![cfg(feature = "cli")]

#[path = "../../crates/tensor-parity/tests/file/allocation.rs"]
mod alloc;
mod build;
#[path = "../common/mod.rs"]
mod common;
mod draws;
mod explain;
mod interrupted;
mod into;
mod lies;
mod live;
mod program;
mod properties;
mod record;
mod show;
mod together;
mod values;
mod written;
