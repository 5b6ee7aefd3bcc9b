//! The values of a tensor, and the precision of dtypes.

use crate::tensor::{Dtype, TensorView};

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

/// The elements that searches look at: of a large tensor not all.
pub(super) struct Sample {
    /// The number of elements of the tensor.
    pub numel: usize,
    /// The first elements.
    pub head: Vec<f64>,
    /// The last elements, at most 16: the last block of a `normal_`.
    pub tail: Vec<f64>,
}

impl Sample {
    /// The most elements of the head.
    const HEAD: usize = 1 << 16;

    /// All elements of a tensor of these.
    pub(super) fn all(values: Vec<f64>) -> Sample {
        Sample {
            numel: values.len(),
            tail: values[values.len().saturating_sub(16)..].to_vec(),
            head: values,
        }
    }

    /// Reads the elements; `None` for dtypes that are not floating-point.
    pub(super) fn of(view: &TensorView<'_>) -> Option<Sample> {
        if !view.dtype().is_floating_point() {
            return None;
        }
        let numel = view.numel();
        Some(Sample {
            numel,
            head: range(view, 0..numel.min(Sample::HEAD))?,
            tail: range(view, numel.saturating_sub(16)..numel)?,
        })
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

/// The bits of evidence of a value with the bits of a draw: the digits of the dtype, at most those of f32, and a sign.
pub(super) fn bits_of_value(dtype: Dtype) -> f64 {
    1.0 - epsilon(dtype).max(f64::from(f32::EPSILON)).log2()
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

/// The numbers of some elements.
pub(super) fn range(view: &TensorView<'_>, elements: std::ops::Range<usize>) -> Option<Vec<f64>> {
    let mut buffer = Vec::new();
    let bytes = view.read(elements, &mut buffer);
    let elements = bytes.chunks_exact(view.dtype().size());
    elements.map(|bytes| view.dtype().to_f64(bytes)).collect()
}

/// The dtype of torch-rng. Other dtypes hold permutations only, whose words do not depend on it.
pub(super) fn rng_dtype(dtype: Dtype) -> torch_rng::Dtype {
    torch_rng::Dtype::from_name(dtype.name()).unwrap_or(torch_rng::Dtype::Int64)
}
