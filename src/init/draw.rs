//! The in-place calls that the functions of this module end in.

use super::engine::{self, Draw};
use crate::error::InitError;
use crate::ffi::{self, CGenerator};
use crate::generator::Generator;
use crate::init::observe::{Source, note};
use std::ffi::c_char;
use tch::Tensor;

pub(crate) fn uniform(
    function: &'static str,
    tensor: &mut Tensor,
    from: f64,
    to: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let draw = Draw::Uniform { from, to };
    if !engine::fill(draw, tensor, generator.as_deref()) {
        let failure = libtorch(draw, tensor, generator.as_deref());
        // SAFETY: made by the call above and read once.
        unsafe { check(function, tensor, failure) }?;
    }
    note(tensor, Source::Uniform { from, to });
    Ok(())
}

pub(crate) fn normal(
    function: &'static str,
    tensor: &mut Tensor,
    mean: f64,
    std: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let draw = Draw::Normal { mean, std };
    if !engine::fill(draw, tensor, generator.as_deref()) {
        let failure = libtorch(draw, tensor, generator.as_deref());
        // SAFETY: made by the call above and read once.
        unsafe { check(function, tensor, failure) }?;
    }
    note(tensor, Source::Normal { mean, std });
    Ok(())
}

/// A draw of libtorch's own.
pub(super) fn libtorch(
    draw: Draw,
    tensor: &mut Tensor,
    generator: Option<&Generator>,
) -> *mut c_char {
    let _no_grad = tch::no_grad_guard();
    let generator = raw(generator);
    let tensor = tensor.as_ptr().cast_mut();
    // SAFETY: the tensor is live for the call and not otherwise borrowed, as is the generator.
    unsafe {
        match draw {
            Draw::Uniform { from, to } => ffi::tch_init_uniform_(tensor, from, to, generator),
            Draw::Normal { mean, std } => ffi::tch_init_normal_(tensor, mean, std, generator),
        }
    }
}

pub(crate) fn fill(
    function: &'static str,
    tensor: &mut Tensor,
    value: f64,
) -> Result<(), InitError> {
    let _no_grad = tch::no_grad_guard();
    // SAFETY: the tensor is live for the call and not otherwise borrowed.
    let failure = unsafe { ffi::tch_init_fill_(tensor.as_ptr().cast_mut(), value) };
    // SAFETY: made by the call above and read once.
    unsafe { check(function, tensor, failure) }?;
    note(tensor, Source::Constant);
    Ok(())
}

/// Which elements lie below `low` or above `high`, as a mask of the tensor's shape.
pub(crate) fn outside(
    function: &'static str,
    tensor: &Tensor,
    low: f64,
    high: f64,
) -> Result<Tensor, InitError> {
    let mut mask = std::ptr::null_mut();
    // SAFETY: the tensor is live for the call, and `mask` a valid place for a new one.
    let failure = unsafe { ffi::tch_init_outside(tensor.as_ptr(), low, high, &mut mask) };
    // SAFETY: made by the call above and read once.
    unsafe { check(function, tensor, failure) }?;
    // SAFETY: the call succeeded, so `mask` is a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(mask) })
}

pub(super) fn raw(generator: Option<&Generator>) -> *const CGenerator {
    generator.map_or(std::ptr::null(), |g| g.as_ptr())
}

/// # Safety
///
/// As [`ffi::check`].
unsafe fn check(
    function: &'static str,
    tensor: &Tensor,
    failure: *mut c_char,
) -> Result<(), InitError> {
    // SAFETY: by the caller's promise.
    unsafe { ffi::check(failure) }
        .map_err(|message| InitError::libtorch(function, &message).with_shape(&tensor.size()))
}
