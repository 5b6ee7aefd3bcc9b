//! Comparison of tensors: are they the same, and how far apart are they?
//!
//! [`TensorComparison`] compares two tensors. [`Comparison`] compares two sources of named tensors:
//! files, maps, or `VarStore`s. A [`Criterion`] defines which tensors are the same: those with
//! equal bits, those within a number of ULPs, or those that are close by
//! `torch.testing.assert_close`. The macros [`assert_bits_eq!`](crate::assert_bits_eq) and
//! [`assert_ulp_le!`](crate::assert_ulp_le) are for tests.

mod assertion;
mod comparison;
mod criterion;
mod element;
mod float;
mod judge;
mod message;
mod non_finite;
mod not_compared;
mod parallel;
mod promote;
mod source;
mod tally;
#[cfg(feature = "tch")]
mod tch_source;
mod tensor_comparison;

pub use assertion::assert_same;
pub use comparison::{Compare, CompareError, Comparison, NamedComparison, Progress};
pub use criterion::{AssertClose, Criterion, default_tolerances};
pub use element::Element;
pub use float::ulp_distance;
pub use non_finite::NonFinite;
pub use not_compared::{NotCompared, Presence};
pub use promote::promote_types;
pub use source::{AsTensor, SourceEntry, SourceError, TensorData, TensorSource};
pub use tensor_comparison::{Difference, Extreme, Failure, Side, Sides, Site, TensorComparison};
