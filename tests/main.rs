//! The integration tests, as one crate: one program that links libtorch instead of a dozen.
//!
//! All tests of this crate run in one process. A test that draws from the default generator, or that needs it to stay as
//! it is, therefore holds [`common::default_stream`]. Tests that change or measure the whole process (its number of
//! threads, its allocator, its memory) are in `tests/process`.

#![cfg(feature = "tch")]

#[cfg(feature = "cli")]
mod cli;
mod common;
#[cfg(feature = "cli")]
mod diff;
mod drop_in;
mod golden;
mod live;
#[cfg(feature = "cli")]
mod plan;
mod recipe;
#[cfg(feature = "cli")]
mod record;
mod repr;
mod tch_files;
mod torch_init;
mod var_stores;
mod walk;
