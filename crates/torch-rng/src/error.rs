//! Why a draw is rejected.

use crate::backend::Backend;
use crate::dtype::Dtype;

/// A draw was rejected. Nothing was drawn, and the generator did not move.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// The bounds are not an interval of the dtype, or the dtype cannot hold their difference.
    #[error(
        "uniform_: from = {from} and to = {to} must be finite {dtype} values with from <= to and \
         a finite difference"
    )]
    Bounds {
        /// The dtype of the elements.
        dtype: Dtype,
        /// The lower bound.
        from: f64,
        /// The upper bound.
        to: f64,
    },
    /// The standard deviation is negative or NaN.
    #[error("normal_: std = {0} must be at least 0")]
    Std(f64),
    /// At most 0.3 of the distribution lies between the bounds. PyTorch then uses rejection sampling,
    /// which needs libtorch's logarithm.
    #[error(
        "trunc_normal_: at most 0.3 of the normal distribution with mean = {mean} and std = {std} \
         lies between a = {a} and b = {b}, which needs libtorch"
    )]
    Truncation {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
        /// The lower bound.
        a: f64,
        /// The upper bound.
        b: f64,
    },
    /// The block path needs at least 16 elements.
    #[error("normal_block_: at least 16 elements are needed, not {0}")]
    Block(usize),
    /// The draw ends in a computation that only libtorch has.
    #[error("{0}: this draw needs libtorch")]
    NeedsLibtorch(&'static str),
    /// The elements cannot be drawn separately.
    #[error("{0}: these elements can only be drawn together")]
    Range(&'static str),
    /// The tensor does not have 2 dimensions.
    #[error("{0}: expected a tensor of 2 dimensions, found {1}")]
    Dimensions(&'static str, usize),
    /// The fraction of zeros is not finite.
    #[error("sparse_: sparsity = {0} must be finite")]
    Sparsity(f64),
    /// The slice does not have the length or the dtype of the target.
    #[error("expected {expected} {expected_dtype} elements, found {found} {found_dtype} elements")]
    Elements {
        /// The number of elements to draw.
        expected: u64,
        /// The dtype of the target.
        expected_dtype: Dtype,
        /// The length of the slice.
        found: usize,
        /// The dtype of the slice.
        found_dtype: Dtype,
    },
    /// This CPU lacks the instructions of the backend.
    #[error("this CPU does not support backend {0}")]
    Backend(Backend),
}
