//! The values of a stored tensor, and what other dtypes make of them.

use crate::tensor::{Dtype, TensorView};
use half::{bf16, f16};

/// The elements of a floating point tensor in logical order; `None` for other dtypes.
pub(super) fn values(view: &TensorView<'_>) -> Option<Vec<f64>> {
    if !view.dtype().is_floating_point() {
        return None;
    }
    let mut buffer = Vec::new();
    view.read(0..view.numel(), &mut buffer)
        .chunks_exact(view.dtype().size())
        .map(|bytes| view.dtype().to_f64(bytes))
        .collect()
}

/// A value as the dtype holds it, rounded to nearest, ties to even. `None` for dtypes that
/// nobody rounds weights to.
pub(super) fn round_to(dtype: Dtype, value: f64) -> Option<f64> {
    match dtype {
        // `half` rounds from double to 16 bits directly; PyTorch's tensors of double do so
        // through single precision.
        Dtype::Float16 => Some(f64::from(f16::from_f32(value as f32))),
        Dtype::Bfloat16 => Some(f64::from(bf16::from_f32(value as f32))),
        Dtype::Float32 => Some(f64::from(value as f32)),
        Dtype::Float64 => Some(value),
        _ => None,
    }
}

/// The distance from 1 to the next number of the dtype.
pub(super) fn epsilon(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Float16 => 2f64.powi(-10),
        Dtype::Bfloat16 => 2f64.powi(-7),
        Dtype::Float64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    }
}

/// The greatest magnitude; 0 for no values.
pub(super) fn greatest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |greatest, v| greatest.max(v.abs()))
}

/// Whether at least two values differ: a constant tensor matches too much to be evidence.
pub(super) fn varies(values: &[f64]) -> bool {
    values.windows(2).any(|pair| pair[0] != pair[1])
}
