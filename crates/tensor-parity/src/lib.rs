//! Compares tensors and tensor files: bit for bit, within a number of ULPs, or as
//! `torch.testing.assert_close` of PyTorch 2.13 does. Needs neither Python nor libtorch.
//!
//! - [`file`](mod@file) reads safetensors files and their shards, `npz` and `npy`, and what `torch.save`,
//!   TorchScript and tch write.
//! - [`compare`] compares two tensors, or two sets of named tensors: files, maps, or `VarStore`s.
//! - [`assert_bits_eq!`] and [`assert_ulp_le!`] are assertions for tests.
//!
#![cfg_attr(feature = "files", doc = "```")]
#![cfg_attr(not(feature = "files"), doc = "```ignore")]
//! use tensor_parity::compare::{Comparison, Criterion};
//! use tensor_parity::file::TensorFile;
//!
//! # use std::io::Write as _;
//! # let folder = tempfile::tempdir()?;
//! # let write = |name: &str, values: [f32; 2]| -> std::io::Result<std::path::PathBuf> {
//! #     let path = folder.path().join(name);
//! #     let header = br#"{"fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
//! #     let mut file = std::fs::File::create(&path)?;
//! #     file.write_all(&(header.len() as u64).to_le_bytes())?;
//! #     file.write_all(header)?;
//! #     file.write_all(&values.map(f32::to_le_bytes).concat())?;
//! #     Ok(path)
//! # };
//! # let ours = write("ours.safetensors", [0.5, 1.0])?;
//! # let reference = write("reference.safetensors", [0.5, 1.0 + f32::EPSILON])?;
//! let ours = TensorFile::open(ours)?;
//! let reference = TensorFile::open(reference)?;
//! let comparison = Comparison::new(&ours, &reference, Criterion::Bits)?;
//! assert!(!comparison.is_same());
//!
//! let bias = &comparison.pairs[0];
//! assert_eq!(bias.name, "fc.bias");
//! let ulps = bias.comparison.ulps.as_ref().expect("bits of floats differ");
//! assert_eq!((ulps.difference, &ulps.site.index[..]), (Some(1), &[1][..]));
//! assert!(Comparison::new(&ours, &reference, Criterion::Ulp(1))?.is_same());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `files` (default): the module [`file`](mod@file).
//! - `serde`: [`Dtype`] can be serialized.
//! - `tch`: tensors and variable stores of [tch] can be compared. This links libtorch.
//!
//! [tch]: https://docs.rs/tch
#![deny(missing_docs)]

pub mod compare;
mod dtype;
mod escape;
#[cfg(feature = "files")]
pub mod file;
mod float8_scale;
mod left_out;
// Shared with tch-init; not part of the stable API.
#[doc(hidden)]
pub mod python_repr;
#[cfg(feature = "tch")]
mod tch_kind;
mod view;

pub use dtype::Dtype;
pub use float8_scale::{Float8Scale, ScaleMatch};
pub use left_out::{LeftOut, LeftOutKind};
pub use view::{TensorView, ViewError};

/// Runs the example of the README.
#[cfg(all(doctest, feature = "files"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
