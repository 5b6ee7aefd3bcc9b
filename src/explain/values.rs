//! The values of a tensor, and the precision of dtypes.

use crate::tensor::{Dtype, TensorView};
use half::{bf16, f16};
use rayon::prelude::*;
use std::ops::Range;

/// The elements that are converted at a time: few enough for a cache, and no whole tensor is ever there in f64.
pub(super) const CHUNK: usize = 1 << 14;

/// Reads the values of a tensor some at a time.
#[derive(Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    values: Vec<f64>,
}

impl Reader {
    /// The values of some elements of a floating-point tensor; NaN for other dtypes.
    pub(super) fn read(&mut self, view: &TensorView<'_>, elements: Range<usize>) -> &[f64] {
        let (dtype, values) = (view.dtype(), &mut self.values);
        let bytes = view.read(elements, &mut self.bytes);
        values.clear();
        match dtype {
            Dtype::Float32 => {
                let elements = bytes.as_chunks().0.iter();
                values.extend(elements.map(|bytes| f64::from(f32::from_le_bytes(*bytes))));
            }
            Dtype::Bfloat16 => {
                let elements = bytes.as_chunks().0.iter();
                values.extend(elements.map(|bytes| bf16::from_le_bytes(*bytes).to_f64()));
            }
            Dtype::Float16 => {
                let elements = bytes.as_chunks().0.iter();
                values.extend(elements.map(|bytes| f16::from_le_bytes(*bytes).to_f64()));
            }
            _ => {
                let elements = bytes.chunks_exact(dtype.size());
                values.extend(elements.map(|bytes| dtype.to_f64(bytes).unwrap_or(f64::NAN)));
            }
        }
        values
    }
}

/// The values of a floating-point tensor in logical order, read as far as they are asked for; `None` for other dtypes.
pub(super) fn values(view: &TensorView<'_>) -> Option<impl Iterator<Item = f64>> {
    view.dtype().is_floating_point().then(|| {
        let (mut reader, mut next, mut read) = (Reader::default(), 0, 0..0);
        std::iter::from_fn(move || {
            if next == read.end && next < view.numel() {
                read = next..(next + CHUNK).min(view.numel());
                reader.read(view, read.clone());
            }
            let value = reader.values.get(next - read.start).copied();
            next += usize::from(value.is_some());
            value
        })
    })
}

/// Reads two tensors of as many elements of one dtype, some at a time and by all threads. The sum of what `piece` tells of their bytes, or
/// `None` if it does of any.
pub(super) fn sum_of_pieces(
    a: &TensorView<'_>,
    b: &TensorView<'_>,
    piece: impl Fn(&[u8], &[u8]) -> Option<usize> + Sync,
) -> Option<usize> {
    const CHUNK: usize = 1 << 16;
    let pieces = (0..a.numel().div_ceil(CHUNK)).into_par_iter();
    pieces
        .map_init(Default::default, |(left, right), number| {
            let elements = number * CHUNK..(number + 1) * CHUNK;
            piece(a.read(elements.clone(), left), b.read(elements, right))
        })
        .try_reduce(|| 0, |a, b| Some(a + b))
}

/// Whether the values of a tensor vary; `None` for dtypes that are not floating-point.
pub(super) fn tensor_varies(view: &TensorView<'_>) -> Option<bool> {
    let mut values = values(view)?;
    let first = values.next();
    Some(first.is_some_and(|first| values.any(|value| value != first)))
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
pub(super) fn range(view: &TensorView<'_>, elements: Range<usize>) -> Option<Vec<f64>> {
    let mut buffer = Vec::new();
    let bytes = view.read(elements, &mut buffer);
    let elements = bytes.chunks_exact(view.dtype().size());
    elements.map(|bytes| view.dtype().to_f64(bytes)).collect()
}

/// The dtype of torch-rng. Other dtypes hold permutations only, whose words do not depend on it.
pub(super) fn rng_dtype(dtype: Dtype) -> torch_rng::Dtype {
    torch_rng::Dtype::from_name(dtype.name()).unwrap_or(torch_rng::Dtype::Int64)
}
