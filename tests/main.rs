//! The integration tests, as one crate: one program that links libtorch instead of a dozen.
//!
//! All tests of this crate run in one process. A test that draws from the default generator, or that needs it to stay as
//! it is, therefore holds [`common::default_stream`]. Tests that change or measure the whole process (its number of
//! threads, its allocator, its memory) are in `tests/process`.

#[cfg(all(feature = "cli", feature = "tch"))]
mod cli;
#[cfg(feature = "tch")]
mod common;
#[cfg(feature = "cli")]
mod diff;
#[cfg(feature = "tch")]
mod drop_in;
#[cfg(feature = "tch")]
mod explain_versions;
#[cfg(feature = "cli")]
mod failures;
#[cfg(feature = "tch")]
mod golden;
#[cfg(feature = "tch")]
mod live;
#[cfg(feature = "tch")]
mod load;
#[cfg(feature = "tch")]
mod locate;
#[cfg(feature = "tch")]
mod locate_cases;
#[cfg(feature = "cli")]
mod odd_members;
#[cfg(all(feature = "cli", feature = "tch"))]
mod plan;
#[cfg(feature = "tch")]
mod recipe;
#[cfg(feature = "cli")]
mod record;
#[cfg(feature = "tch")]
mod repr;
#[cfg(feature = "cli")]
mod scale;
#[cfg(all(feature = "cli", not(feature = "tch")))]
mod standalone;
#[cfg(feature = "tch")]
mod tch_comparison;
#[cfg(feature = "tch")]
mod tch_files;
#[cfg(feature = "tch")]
mod torch_init;
#[cfg(feature = "cli")]
mod trace;
#[cfg(feature = "tch")]
mod trace_record;
#[cfg(feature = "tch")]
mod unclaimed;
#[cfg(feature = "cli")]
mod versions;
#[cfg(feature = "tch")]
mod walk;
