//! PyTorch's draws on the CPU, without libtorch: words of the stream become values.
//!
//! Every function fills a slice with the bits that libtorch 2.13 would put into a contiguous
//! tensor, and leaves the [`Mt19937`](crate::Mt19937) where libtorch would leave its
//! generator. The bits are those of libtorch's AVX2 and AVX-512 kernels, which are equal; with
//! `ATEN_CPU_CAPABILITY=default`, or on another architecture, libtorch rounds differently.
//!
//! How a draw is computed changes no bit of it: the functions take the fastest [`Backend`] of this
//! CPU and as many threads as it runs at once, an [`Engine`] what it is told.
//!
//! [`normal_`] has two paths with different values and different words, as libtorch has: from 16
//! elements on a contiguous tensor it takes [`normal_block_`], otherwise [`normal_serial_`].
//!
//! The logarithm, sine and cosine of f64 normals and of the serial path are the C library's, here
//! as in libtorch, so those bits are libtorch's where both use one C library.

pub(crate) mod kernel;
pub(crate) mod normal;
mod randperm;
pub(crate) mod truncated;
pub(crate) mod uniform;

pub use crate::element::Element;
pub use crate::engine::Engine;
pub use crate::parallel::{Cost, Part};
pub use crate::prefault::HUGE_PAGES_VARIABLE;
pub use normal::{normal_, normal_block_, normal_serial_};
pub(crate) use randperm::LARGE as LARGE_RANDPERM;
pub(crate) use randperm::begin_randperm;
pub use randperm::randperm;
pub use truncated::{erf, normal_share, redraws, trunc_normal_};
pub use uniform::uniform_;

use crate::Backend;
use crate::Dtype;

/// Arguments that libtorch refuses too.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// Bounds that are no interval of the dtype, or whose difference the dtype cannot hold.
    #[error(
        "uniform_: from = {from} and to = {to} must be finite {dtype} values with from <= to and \
         to - from finite too"
    )]
    Bounds {
        /// The dtype of the elements.
        dtype: Dtype,
        /// The lower bound.
        from: f64,
        /// The upper bound.
        to: f64,
    },
    /// A standard deviation below zero or NaN.
    #[error("normal_: std = {0} must be at least 0")]
    Std(f64),
    /// Bounds with too little of the distribution between them to draw again what lies outside.
    #[error(
        "trunc_normal_: between a = {a} and b = {b} lie less than 0.3 of the normal distribution \
         with mean = {mean} and std = {std}, for which PyTorch has another method"
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
    /// Fewer elements than the block path fills.
    #[error("normal_block_: {0} elements, a block has 16")]
    Block(usize),
    /// A draw that ends in a computation of libtorch's.
    #[error("{0}: only libtorch computes this")]
    NeedsLibtorch(&'static str),
    /// A draw of which no range can be filled alone.
    #[error("{0}: no range of these elements can be drawn without the others")]
    Range(&'static str),
    /// A tensor of another number of dimensions than two.
    #[error("{0}: a tensor of 2 dimensions is expected, this has {1}")]
    Dimensions(&'static str, usize),
    /// A fraction of zeros that is not finite.
    #[error("sparse_: sparsity = {0} must be finite")]
    Sparsity(f64),
    /// A backend that this CPU has not the instructions for.
    #[error("this CPU has not what the backend {0} needs")]
    Backend(Backend),
}
