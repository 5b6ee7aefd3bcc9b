//! The in-place calls that the functions of this module end in.

use super::cpu_fast_path::{self, Draw};
use super::rejection::Density;
use super::sparse::zero_rows;
use crate::error::{Context, InitError};
use crate::ffi::{self, CGenerator};
use crate::generator::Generator;
use crate::init::recording::{Fill, deferred};
use std::ffi::c_char;
use tch::{TchError, Tensor};

pub(crate) fn uniform(
    function: &'static str,
    tensor: &mut Tensor,
    from: f64,
    to: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let noted = || Fill::Uniform { from, to };
    if deferred(function, tensor, generator.as_deref(), noted)? {
        return Ok(());
    }
    draw(function, tensor, Draw::Uniform { from, to }, generator)
}

pub(crate) fn normal(
    function: &'static str,
    tensor: &mut Tensor,
    mean: f64,
    std: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let noted = || Fill::Normal { mean, std };
    if deferred(function, tensor, generator.as_deref(), noted)? {
        return Ok(());
    }
    draw(function, tensor, Draw::Normal { mean, std }, generator)
}

/// Normal values, drawn again as long as they lie below `a` or above `b`, both of the tensor's
/// dtype.
pub(super) fn trunc_normal(
    function: &'static str,
    tensor: &mut Tensor,
    [mean, std, a, b]: [f64; 4],
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let truncated = Draw::TruncNormal { mean, std, a, b };
    draw(function, tensor, truncated, generator)
}

/// Uniform values, accepted by the density of a normal distribution.
pub(super) fn density(
    function: &'static str,
    tensor: &mut Tensor,
    density: Density,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    draw(function, tensor, Draw::Density(density), generator)
}

/// So many zeros in each column of a matrix, by permutations.
pub(super) fn sparse_zeros(
    function: &'static str,
    tensor: &mut Tensor,
    zeros: i64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let rows = usize::try_from(tensor.size()[0]).unwrap_or(0);
    let zeros = usize::try_from(zeros).unwrap_or(0);
    let zeros = Draw::SparseZeros { rows, zeros };
    draw(function, tensor, zeros, generator)
}

/// By the engine where that can, otherwise by libtorch.
fn draw(
    function: &'static str,
    tensor: &mut Tensor,
    draw: Draw,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    if cpu_fast_path::fill(draw, tensor, generator.as_deref()) {
        return Ok(());
    }
    libtorch(function, draw, tensor, generator.as_deref())
}

/// A draw by libtorch's own calls.
pub(super) fn libtorch(
    function: &'static str,
    draw: Draw,
    tensor: &mut Tensor,
    generator: Option<&Generator>,
) -> Result<(), InitError> {
    let _no_grad = tch::no_grad_guard();
    let raw_generator = raw(generator);
    let raw_tensor = tensor.as_ptr().cast_mut();
    // SAFETY: the tensor is live for the call and not otherwise borrowed, as is the generator.
    let failure = unsafe {
        match draw {
            Draw::Uniform { from, to } => {
                ffi::tch_init_uniform_(raw_tensor, from, to, raw_generator)
            }
            Draw::Normal { mean, std } => {
                ffi::tch_init_normal_(raw_tensor, mean, std, raw_generator)
            }
            Draw::TruncNormal { mean, std, a, b } => {
                return redraw(function, tensor, [mean, std, a, b], generator);
            }
            Draw::Density(density) => return accept(function, tensor, &density, generator),
            Draw::SparseZeros { zeros, .. } => {
                let permutation = |rows| randperm(rows, generator);
                return zero_rows(tensor, zeros as i64, permutation).context(function, tensor);
            }
        }
    };
    // SAFETY: made by the call above and read once.
    unsafe { check(function, tensor, failure) }
}

/// Whole draws of libtorch's, until each element has been inside once.
fn redraw(
    function: &'static str,
    tensor: &mut Tensor,
    [mean, std, a, b]: [f64; 4],
    generator: Option<&Generator>,
) -> Result<(), InitError> {
    let normal = Draw::Normal { mean, std };
    libtorch(function, normal, tensor, generator)?;
    let mut result = tensor.shallow_clone();
    let mut redrawn = false;
    loop {
        let rejected = outside(function, &result, a, b)?;
        if !any(&rejected).context(function, tensor)? {
            break;
        }
        let mut fresh = result.f_empty_like().context(function, tensor)?;
        libtorch(function, normal, &mut fresh, generator)?;
        result = fresh
            .f_where_self(&rejected, &result)
            .context(function, tensor)?;
        redrawn = true;
    }
    if redrawn {
        tensor.f_copy_(&result).context(function, tensor)?;
    }
    Ok(())
}

/// Whole draws of candidates and of the values that accept them, until each element has a candidate
/// that was accepted.
fn accept(
    function: &'static str,
    tensor: &mut Tensor,
    density: &Density,
    generator: Option<&Generator>,
) -> Result<(), InitError> {
    let candidate = Draw::Uniform {
        from: density.a,
        to: density.b,
    };
    let unit = Draw::Uniform { from: 0.0, to: 1.0 };
    let mut candidates = tensor.f_empty_like().context(function, tensor)?;
    let mut accepting = tensor.f_empty_like().context(function, tensor)?;
    let mut rejected = |candidates: &mut Tensor| {
        libtorch(function, unit, &mut accepting, generator)?;
        let rejected = density.rejects(candidates, &mut accepting);
        rejected.context(function, candidates)
    };

    libtorch(function, candidate, tensor, generator)?;
    candidates.f_copy_(tensor).context(function, tensor)?;
    let mut pending = rejected(&mut candidates)?;
    if !any(&pending).context(function, tensor)? {
        return Ok(());
    }
    let mut result = tensor.shallow_clone();
    loop {
        libtorch(function, candidate, &mut candidates, generator)?;
        result = candidates
            .f_where_self(&pending, &result)
            .context(function, tensor)?;
        pending = rejected(&mut candidates)?
            .f_where_self(&pending, &pending)
            .context(function, tensor)?;
        if !any(&pending).context(function, tensor)? {
            break;
        }
    }
    tensor.f_copy_(&result).context(function, tensor).map(drop)
}

fn randperm(n: i64, generator: Option<&Generator>) -> Result<Tensor, TchError> {
    let mut permutation = std::ptr::null_mut();
    // SAFETY: the generator is live for the call, and `permutation` a valid place for a new tensor.
    let failure = unsafe { ffi::tch_init_randperm(n, raw(generator), &mut permutation) };
    // SAFETY: made by the call above and read once.
    unsafe { ffi::check(failure) }.map_err(TchError::Torch)?;
    // SAFETY: the call succeeded, so this is a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(permutation) })
}

fn any(mask: &Tensor) -> Result<bool, tch::TchError> {
    Ok(mask.f_any()?.f_int64_value(&[])? != 0)
}

pub(crate) fn fill(
    function: &'static str,
    tensor: &mut Tensor,
    value: f64,
) -> Result<(), InitError> {
    if deferred(function, tensor, None, || Fill::Constant(value))? {
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    // SAFETY: the tensor is live for the call and not otherwise borrowed.
    let failure = unsafe { ffi::tch_init_fill_(tensor.as_ptr().cast_mut(), value) };
    // SAFETY: made by the call above and read once.
    unsafe { check(function, tensor, failure) }
}

/// Which elements lie below `low` or above `high`, as a mask of the tensor's shape.
fn outside(
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
