//! libtorch's functions of numbers.
//!
//! tch's fallible calls panic when libtorch rejects a scalar: its `Scalar` is dropped, and finds the
//! error, before the call returns it. Here the number outlives the reading of the error.

use super::Scalar;
use crate::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use tch::{Kind, TchError, Tensor};
use torch_sys::{C_scalar, C_tensor};

/// A number that libtorch has made.
struct Number(*mut C_scalar);

impl Number {
    /// A bool is the int that it is; where that matters, a tensor stands for it.
    fn new(scalar: Scalar) -> Number {
        // SAFETY: these take numbers, and return an object that `drop` frees.
        Number(unsafe {
            match scalar {
                Scalar::Int(value) => torch_sys::ats_int(value),
                Scalar::Float(value) => torch_sys::ats_float(value),
                Scalar::Bool(value) => torch_sys::ats_int(value.into()),
            }
        })
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: made by `new` and not used again.
        unsafe { torch_sys::ats_free(self.0) }
    }
}

/// The sums of `cpp/libtorch.cpp`, by their numbers there.
#[derive(Clone, Copy)]
pub(super) enum Sum {
    /// `a + alpha * b`
    Plus,
    /// `a - alpha * b`
    Minus,
    /// `b - alpha * a`
    MinusFirst,
}

pub(super) fn add(
    operation: Sum,
    a: &Tensor,
    b: &Tensor,
    alpha: Scalar,
) -> Result<Tensor, TchError> {
    added(operation, a, pointer(b), std::ptr::null(), alpha)
}

pub(super) fn add_scalar(
    operation: Sum,
    a: &Tensor,
    b: Scalar,
    alpha: Scalar,
) -> Result<Tensor, TchError> {
    let b = Number::new(b);
    added(operation, a, std::ptr::null(), b.0, alpha)
}

/// Of a tensor or a number that is live, the other one null.
fn added(
    operation: Sum,
    a: &Tensor,
    b: *const C_tensor,
    number: *const C_scalar,
    alpha: Scalar,
) -> Result<Tensor, TchError> {
    let alpha = Number::new(alpha);
    let mut out = std::ptr::null_mut();
    // SAFETY: all live for the call, and `out` is a valid place for a new tensor.
    let failure =
        unsafe { ffi::tch_init_add(a.as_ptr(), b, number, alpha.0, operation as c_int, &mut out) };
    // SAFETY: made by the call above and read once.
    unsafe { ffi::check(failure) }.map_err(TchError::Torch)?;
    // SAFETY: the call succeeded, so `out` is a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// A function of a tensor and a number, as torch-sys declares it.
pub(super) type OfScalar = unsafe extern "C" fn(*mut *mut C_tensor, *mut C_tensor, *mut C_scalar);
/// A function of two tensors.
pub(super) type OfTensor = unsafe extern "C" fn(*mut *mut C_tensor, *mut C_tensor, *mut C_tensor);

/// # Safety
///
/// `function` is one of torch-sys that computes a new tensor, or the first one again in place, and
/// does nothing else.
pub(super) unsafe fn of_scalar(
    function: OfScalar,
    a: &Tensor,
    b: Scalar,
) -> Result<Tensor, TchError> {
    let b = Number::new(b);
    // SAFETY: both live until the result is read; by the caller's promise.
    unsafe { result(|out| function(out, pointer(a), b.0)) }
}

/// # Safety
///
/// As [`of_scalar`].
pub(super) unsafe fn of_tensor(
    function: OfTensor,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor, TchError> {
    // SAFETY: both live until the result is read; by the caller's promise.
    unsafe { result(|out| function(out, pointer(a), pointer(b))) }
}

pub(super) fn clamp(a: &Tensor, min: Scalar, max: Scalar) -> Result<Tensor, TchError> {
    let (min, max) = (Number::new(min), Number::new(max));
    // SAFETY: all live until the result is read.
    unsafe { result(|out| torch_sys::c_generated::atg_clamp(out, pointer(a), min.0, max.0)) }
}

pub(super) fn power_of(base: Scalar, exponent: &Tensor) -> Result<Tensor, TchError> {
    let base = Number::new(base);
    // SAFETY: both live until the result is read.
    unsafe { result(|out| torch_sys::c_generated::atg_pow_scalar(out, base.0, pointer(exponent))) }
}

pub(super) fn div(a: &Tensor, b: Scalar, mode: &str) -> Result<Tensor, TchError> {
    let b = Number::new(b);
    // SAFETY: all live until the result is read; the mode is as long as is said.
    unsafe {
        result(|out| {
            torch_sys::c_generated::atg_div_scalar_mode(
                out,
                pointer(a),
                b.0,
                mode.as_ptr(),
                mode.len() as c_int,
            );
        })
    }
}

pub(super) fn masked_fill(a: &Tensor, mask: &Tensor, value: Scalar) -> Result<Tensor, TchError> {
    let value = Number::new(value);
    // SAFETY: all live until the result is read.
    unsafe {
        result(|out| {
            torch_sys::c_generated::atg_masked_fill(out, pointer(a), pointer(mask), value.0);
        })
    }
}

pub(super) fn where_scalars(condition: &Tensor, a: Scalar, b: Scalar) -> Result<Tensor, TchError> {
    let (a, b) = (Number::new(a), Number::new(b));
    // SAFETY: all live until the result is read.
    unsafe {
        result(|out| {
            torch_sys::c_generated::atg_where_scalar(out, pointer(condition), a.0, b.0);
        })
    }
}

pub(super) fn where_scalar_first(
    condition: &Tensor,
    a: Scalar,
    b: &Tensor,
) -> Result<Tensor, TchError> {
    let a = Number::new(a);
    // SAFETY: all live until the result is read.
    unsafe {
        result(|out| {
            torch_sys::c_generated::atg_where_scalarself(out, pointer(condition), a.0, pointer(b));
        })
    }
}

pub(super) fn where_scalar_second(
    condition: &Tensor,
    a: &Tensor,
    b: Scalar,
) -> Result<Tensor, TchError> {
    let b = Number::new(b);
    // SAFETY: all live until the result is read.
    unsafe {
        result(|out| {
            torch_sys::c_generated::atg_where_scalarother(out, pointer(condition), pointer(a), b.0);
        })
    }
}

/// `norm.ScalarOpt_dim`, which is `linalg_vector_norm`; no dimensions are all of them.
pub(super) fn norm(
    a: &Tensor,
    order: Scalar,
    dims: &[i64],
    keepdim: bool,
) -> Result<Tensor, TchError> {
    let order = Number::new(order);
    // SAFETY: all live until the result is read; `dims` is as long as is said.
    unsafe {
        result(|out| {
            torch_sys::c_generated::atg_norm_scalaropt_dim(
                out,
                pointer(a),
                order.0,
                dims.as_ptr(),
                dims.len() as c_int,
                keepdim.into(),
            );
        })
    }
}

/// `torch.arange(start, end, step, dtype=kind)`.
pub(super) fn arange(bounds: [Scalar; 3], kind: Kind) -> Result<Tensor, TchError> {
    /// What torch-sys calls the CPU.
    const CPU: c_int = -1;
    let [start, end, step] = bounds.map(Number::new);
    // SAFETY: all live until the result is read.
    unsafe {
        result(|out| {
            torch_sys::c_generated::atg_arange_start_step(
                out,
                start.0,
                end.0,
                step.0,
                ffi::scalar_type(kind),
                CPU,
            );
        })
    }
}

fn pointer(tensor: &Tensor) -> *mut C_tensor {
    tensor.as_ptr().cast_mut()
}

/// The tensor that `call` makes, or libtorch's error.
///
/// # Safety
///
/// `call` calls one function of torch-sys that writes a tensor to the place it is given or fails,
/// and what it passes to it outlives this.
unsafe fn result(call: impl FnOnce(*mut *mut C_tensor)) -> Result<Tensor, TchError> {
    unsafe extern "C" {
        fn free(pointer: *mut c_void);
    }
    let mut out: *mut C_tensor = std::ptr::null_mut();
    call(&mut out);
    // SAFETY: takes nothing; returns null or a string that is ours to free.
    let message: *mut c_char = unsafe { torch_sys::get_and_reset_last_err() };
    if message.is_null() {
        // SAFETY: there was no error, so `out` is a new handle that nobody else owns.
        return Ok(unsafe { Tensor::from_ptr(out) });
    }
    // SAFETY: not null, so a NUL-terminated string.
    let text = unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: made by `strdup`, and `text` is a copy.
    unsafe { free(message.cast()) };
    Err(TchError::Torch(text))
}
