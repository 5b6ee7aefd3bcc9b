//! Traces of programs: every ATen operation that a program calls, to be compared with another program operation by operation.
//!
//! A tch program and its Python original call the same operations of the same library, so their results are equal to the last
//! bit until they compute something else. [`record`] writes a trace of a Rust program; `tch-init trace python` or
//! `python/trace.py` one of a Python program; `tch-init trace diff` compares two of them, in any combination.
//! [`replay`] runs recorded operations again, which proves what the cause of a difference is.
//! Format and rules: [docs/trace.md](https://docs.rs/crate/tch-init/latest/source/docs/trace.md).

mod elements;
mod hash;
mod heal;
mod prove;
mod record;
pub mod replay;

pub use heal::{Healing, heal};
pub use op_trace as file;
pub use prove::{Distance, Proof, Replaced, Verdict, tensor_distance};
pub use record::{RecordError, RecordOptions, RecordProblem, Recording, record};
