//! Traces of programs: what a recorded operation computes when it is run again here, and which difference of two programs that
//! proves to be a cause.

mod prove;
pub mod replay;

pub use prove::{Distance, Proof, Replaced, Verdict, tensor_distance};
