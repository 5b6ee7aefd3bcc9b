//! `torch.nn.init`, one function each, with PyTorch's names and PyTorch's bits.
//!
//! Every function fills a tensor in place and under `no_grad`, on any dtype, layout and device
//! that PyTorch takes there, and leaves the stream where PyTorch leaves it. Those that draw take a
//! generator; `None` is the default stream of the tensor's device. Arguments come in PyTorch's
//! order; the defaults that Python has are named with each function, since Rust has none.
//!
//! Semantics: `torch/nn/init.py`, PyTorch 2.13.
//!
//! | function | draws, in words of the CPU stream | `tch::nn::Init` of the same bits |
//! |---|---|---|
//! | [`uniform_`] | `numel`, f64 `2 numel` | `Uniform` on a contiguous tensor |
//! | [`normal_`] | see there | `Randn`: f32 with mean 0 and std 1, and from 16 elements with either; f64 with mean 0 |
//! | [`trunc_normal_`] | whole tensors until all elements fit | none |
//! | [`constant_`], [`ones_`], [`zeros_`] | none | `Const`, but for -0 and, in f64, 1 + EPSILON |
//! | [`eye_`], [`dirac_`] | none | none |
//! | [`xavier_uniform_`] | as `uniform_` | none |
//! | [`xavier_normal_`] | as `normal_` | none |
//! | [`kaiming_uniform_`] | as `uniform_` | `Kaiming { dist: Uniform, .. }` of the same gain, two dimensions and more |
//! | [`kaiming_normal_`] | as `normal_` | `Kaiming { dist: Normal, .. }`: f32 from 16 elements, f64 |
//! | [`orthogonal_`] | as `normal_` on the flattened tensor | `Orthogonal`: f32, and f64 for a new tensor |
//! | [`sparse_`] | as `normal_`, then a permutation a column | none |
//!
//! tch's own `Init` makes a new tensor or panics on a tensor it cannot fill, knows no generator,
//! and has other bits where the last column says so. So the functions here make libtorch's
//! in-place draws, by kernels of this crate where those are faster ([`last_backend`]), and tch's
//! `Init` serves the tests as a second opinion.

#[cfg(feature = "tch")]
pub(crate) mod batch;
#[cfg(feature = "tch")]
mod constant;
#[cfg(feature = "tch")]
mod cpu_fast_path;
#[cfg(feature = "tch")]
mod dispatch;
mod fan;
mod gain;
#[cfg(feature = "tch")]
mod normal;
#[cfg(feature = "tch")]
mod orthogonal;
#[cfg(feature = "tch")]
pub(crate) mod recording;
#[cfg(feature = "tch")]
mod rejection;
#[cfg(feature = "tch")]
mod self_check;
#[cfg(feature = "tch")]
pub(crate) mod sparse;
#[cfg(feature = "tch")]
mod trunc_normal;
#[cfg(feature = "tch")]
mod uniform;

#[cfg(feature = "tch")]
pub use constant::{constant_, dirac_, eye_, ones_, zeros_};
#[cfg(feature = "tch")]
pub use cpu_fast_path::last_backend;
pub use fan::{FanMode, calculate_correct_fan, calculate_fan_in_and_fan_out};
pub use gain::{Nonlinearity, calculate_gain};
pub(crate) use gain::{kaiming_std, xavier_std};
#[cfg(feature = "tch")]
pub use normal::{kaiming_normal_, normal_, xavier_normal_};
#[cfg(feature = "tch")]
pub use orthogonal::orthogonal_;
#[cfg(feature = "tch")]
pub use sparse::sparse_;
#[cfg(feature = "tch")]
pub use trunc_normal::trunc_normal_;
#[cfg(feature = "tch")]
pub use uniform::{kaiming_uniform_, uniform_, xavier_uniform_};

/// `x ** 2` as CPython computes it: libm's `pow`, whose last bit differs from that of `x * x` for
/// about one `x` in a thousand. `None` where Python raises `OverflowError`.
pub(crate) fn python_square(x: f64) -> Option<f64> {
    // The exponent is hidden from the optimiser, which would turn `powf(2.0)` into `x * x`.
    let square = x.powf(std::hint::black_box(2.0));
    (square.is_finite() || !x.is_finite()).then_some(square)
}

/// Whether Kaiming initialisation has nothing to do; PyTorch warns and returns.
#[cfg(feature = "tch")]
fn warn_if_empty(function: &str, shape: &[i64]) -> bool {
    let empty = shape.contains(&0);
    if empty {
        log::warn!("{function}: initializing zero-element tensors is a no-op (shape {shape:?})");
    }
    empty
}
