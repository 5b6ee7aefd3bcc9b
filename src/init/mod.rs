//! `torch.nn.init`: one function each, with PyTorch's names and PyTorch's bits.
//!
//! Every function fills a tensor in place without recording gradients, for every dtype, layout and
//! device that PyTorch's function takes, and leaves the generator in the state in which PyTorch leaves
//! it. Those that draw take an optional [`Generator`](crate::Generator); `None` means the default one of
//! the tensor's device. Arguments come in PyTorch's order; the documentation of each function names
//! Python's default values, since Rust has none.
//!
//! They follow `torch/nn/init.py`, PyTorch 2.13.
//!
//! | function | 32-bit words of the CPU stream | `tch::nn::Init` with the same bits |
//! |---|---|---|
//! | [`uniform_`] | `numel`, f64 `2 numel` | `Uniform` on a contiguous tensor |
//! | [`normal_`] | see there | `Randn`: f32 with mean 0 and std 1, or from 16 elements with either; f64 with mean 0 |
//! | [`trunc_normal_`] | depends on the values | none |
//! | [`constant_`], [`ones_`], [`zeros_`] | 0 | `Const`, except for -0 and, in f64, 1 + EPSILON |
//! | [`eye_`], [`dirac_`] | 0 | none |
//! | [`xavier_uniform_`] | as `uniform_` | none |
//! | [`xavier_normal_`] | as `normal_` | none |
//! | [`kaiming_uniform_`] | as `uniform_` | `Kaiming { dist: Uniform, .. }` of the same gain, from two dimensions |
//! | [`kaiming_normal_`] | as `normal_` | `Kaiming { dist: Normal, .. }`: f32 from 16 elements, f64 |
//! | [`orthogonal_`] | as `normal_` on the flattened tensor | `Orthogonal`: f32, and f64 for a new tensor |
//! | [`sparse_`] | as `normal_`, then `rows - 1` per column | none |
//!
//! tch's own `Init` creates a new tensor or panics on a tensor that it cannot fill, takes no generator,
//! and has other bits where the last column says so. The tests use it as a second opinion.
//!
//! # Backends
//!
//! Contiguous CPU tensors of f32, f64, bf16 and f16 are filled by this crate's own kernels, with the
//! fastest [`Backend`](crate::rng::Backend) that the CPU supports and the environment variable
//! [`TCH_INIT_BACKEND`](crate::rng::BACKEND_VARIABLE) allows. libtorch draws all other tensors, and all
//! tensors if its CPU capability is not AVX2 or AVX512 or a self-check finds that it draws differently.
//! Results do not depend on the backend.
//!
//! # Older versions of PyTorch
//!
//! `set_semantics` chooses the bits of PyTorch 2.0, of 2.1 to 2.11, or of 2.12, for the whole process;
//! [`Semantics`](crate::rng::Semantics) says what differs. This crate's kernels then draw all tensors on
//! the CPU whose bits differ, and reject tensors on other devices.

#[cfg(feature = "tch")]
mod constant;
#[cfg(feature = "tch")]
pub(crate) mod cpu_engine;
#[cfg(feature = "tch")]
pub(crate) mod cpu_fast_path;
#[cfg(feature = "tch")]
pub(crate) mod dispatch;
#[cfg(feature = "tch")]
mod emulation;
mod fan;
mod gain;
#[cfg(feature = "tch")]
pub(crate) mod inverse_normal;
#[cfg(feature = "tch")]
mod libtorch;
#[cfg(feature = "tch")]
mod normal;
#[cfg(feature = "tch")]
pub(crate) mod orthogonal;
#[cfg(feature = "tch")]
pub(crate) mod recording;
#[cfg(feature = "tch")]
mod rejection;
#[cfg(feature = "tch")]
mod self_check;
#[cfg(feature = "tch")]
mod semantics;
#[cfg(feature = "tch")]
pub(crate) mod sparse;
#[cfg(feature = "tch")]
pub(crate) mod trunc_normal;
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
pub use semantics::{semantics, set_semantics};
#[cfg(feature = "tch")]
pub use sparse::sparse_;
#[cfg(feature = "tch")]
pub use trunc_normal::trunc_normal_;
#[cfg(feature = "tch")]
pub use uniform::{kaiming_uniform_, uniform_, xavier_uniform_};

/// Returns `x ** 2` as CPython computes it: by libm's `pow`, whose last bit differs from that of `x * x`
/// for about one `x` in a thousand. `None` where Python raises `OverflowError`.
pub(crate) fn python_square(x: f64) -> Option<f64> {
    // The optimizer must not see the exponent: it would turn `powf(2.0)` into `x * x`.
    let square = x.powf(std::hint::black_box(2.0));
    (square.is_finite() || !x.is_finite()).then_some(square)
}

/// Whether a tensor of this shape is empty, which Kaiming initialization skips with a warning.
#[cfg(feature = "tch")]
fn warn_if_empty(function: &str, shape: &[i64]) -> bool {
    let empty = shape.contains(&0);
    if empty {
        log::warn!("{function}: initializing zero-element tensors is a no-op (shape {shape:?})");
    }
    empty
}
