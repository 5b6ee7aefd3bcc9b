//! Are two sets of tensors the same, and how far apart are they?
//!
//! [`TensorComparison`] compares two tensors, [`Comparison`] two sources of them: files, maps, a
//! `VarStore`. [`Criterion`] says what is the same: equal bits, ULPs, or what
//! `torch.testing.assert_close` takes for close. [`assert_bits_eq!`](crate::assert_bits_eq) and
//! [`assert_ulp_le!`](crate::assert_ulp_le) are for tests.

mod assertion;
mod comparison;
mod criterion;
mod element;
mod float;
mod judge;
mod message;
mod non_finite;
mod parallel;
mod promote;
mod source;
mod tally;
mod tensor_comparison;
mod ulp;

pub use assertion::assert_same;
pub use comparison::{Compare, CompareError, Comparison, NamedComparison, Progress};
pub use criterion::{Criterion, default_tolerances};
pub use element::Element;
pub use non_finite::Specials;
pub use promote::promote_types;
pub use source::{AsTensor, Entry, SourceError, TensorData, TensorSource};
pub use tensor_comparison::{Difference, Extreme, Failure, Sides, Site, TensorComparison};
pub use ulp::ulp_distance;
