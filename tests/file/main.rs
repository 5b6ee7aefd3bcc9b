//! Reading tensor files that Python and tch write.
#![cfg(feature = "tch")]

#[path = "../common/mod.rs"]
mod common;
mod live;
mod tch_files;
