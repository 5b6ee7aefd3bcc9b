//! Reading files of tensors.

mod alloc;
mod build;
#[cfg(feature = "tch")]
#[path = "../common/mod.rs"]
mod common;
mod damage;
#[cfg(feature = "tch")]
mod live;
mod pickles;
mod properties;
mod stored;
#[cfg(feature = "tch")]
mod tch_files;
