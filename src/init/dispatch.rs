//! Dispatches every draw of [`init`](super): to the recording of this thread, to the CPU fast path, or
//! to libtorch.

use super::cpu_fast_path::{self, Work};
use super::inverse_normal;
use super::libtorch;
use super::recording::{Fill, intercept};
use super::semantics;
use crate::error::{Context, InitError};
use crate::ffi;
use crate::generator::Generator;
use crate::rng::{Draw, Semantics, Sparse};
use tch::{Kind, Tensor};

/// Fills a tensor with a draw, or notes it if this thread records.
pub(crate) fn draw(
    function: &'static str,
    tensor: &mut Tensor,
    draw: impl Into<Draw>,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    draw_as(function, tensor, draw, generator, semantics())
}

/// Fills a tensor with a draw of some semantics, or notes it if this thread records.
pub(crate) fn draw_as(
    function: &'static str,
    tensor: &mut Tensor,
    draw: impl Into<Draw>,
    generator: Option<&mut Generator>,
    semantics: Semantics,
) -> Result<(), InitError> {
    let (draw, generator) = (draw.into(), generator.as_deref());
    if intercept(function, tensor, generator, || Fill::Draw(draw))? {
        return Ok(());
    }
    draw_now(function, tensor, draw, generator, semantics)
}

/// Fills a tensor with a draw of some semantics.
pub(super) fn draw_now(
    function: &'static str,
    tensor: &mut Tensor,
    draw: impl Into<Draw>,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<(), InitError> {
    let draw = draw.into();
    if let Draw::TruncNormal(truncated) = draw
        && semantics <= Semantics::PyTorch2_11
    {
        if semantics == Semantics::PyTorch2_0 && tensor.f_kind().ok() == Some(Kind::Half) {
            return Err(InitError::Semantics {
                function,
                semantics,
                what: "a tensor of float16, since PyTorch 2.0 has no erfinv of it",
                shape: tensor.size(),
            });
        }
        let uniform = inverse_normal::uniform(truncated);
        draw_now(function, tensor, uniform, generator, semantics)?;
        return inverse_normal::transform(tensor, truncated, semantics).context(function, tensor);
    }
    if cpu_fast_path::fill(Work::Draw(draw), tensor, generator, semantics) {
        return Ok(());
    }
    libtorch::draw(function, tensor, draw, generator, semantics)
}

/// Sets the zeros of a sparse matrix, which follow its normal values, by the default generator.
pub(super) fn sparse_zeros(
    function: &'static str,
    tensor: &mut Tensor,
    sparse: Sparse,
) -> Result<(), InitError> {
    if cpu_fast_path::fill(Work::SparseZeros(sparse), tensor, None, Semantics::NEWEST) {
        return Ok(());
    }
    libtorch::sparse_zeros(function, tensor, sparse, None)
}

/// Fills a tensor with one number, or notes it if this thread records.
pub(crate) fn fill(
    function: &'static str,
    tensor: &mut Tensor,
    value: f64,
) -> Result<(), InitError> {
    if intercept(function, tensor, None, || Fill::Constant(value))? {
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    let filled = ffi::fill_(tensor, value);
    filled.map_err(|why| InitError::libtorch(function, &why).with_shape(&tensor.size()))
}
