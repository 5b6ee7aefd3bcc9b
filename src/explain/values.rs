//! The values of a tensor, and how dtypes round them.

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

/// Rounds a value to a dtype, to nearest, ties to even. `None` for dtypes that weights are not
/// rounded to.
pub(super) fn round_to(dtype: Dtype, value: f64) -> Option<f64> {
    match dtype {
        // PyTorch converts f64 to 16 bits through f32; `half` would round only once.
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

/// The largest magnitude; 0 for an empty slice.
pub(super) fn max_abs(values: &[f64]) -> f64 {
    values
        .iter()
        .fold(0.0, |magnitude: f64, v| magnitude.max(v.abs()))
}

/// Whether at least two values differ. A constant tensor matches too much to be evidence.
pub(super) fn varies(values: &[f64]) -> bool {
    values.windows(2).any(|pair| pair[0] != pair[1])
}
