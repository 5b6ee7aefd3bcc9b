//! Scaled tensors of one-byte floats: weights that are to be multiplied by a scale beside them.

use crate::{Dtype, TensorView};
use half::{bf16, f16};

/// A tensor of one-byte floats and the scale by which it is to be multiplied, as quantized checkpoints
/// keep them: one scale for all elements, for each row or column, or for each block of 16, 32, 64 or
/// 128.
///
/// ```
/// use tensor_parity::{Dtype, Float8Scale, ScaleMatch, TensorView};
///
/// let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
/// let (scale, unscaled) = (floats(&[0.25]), floats(&[0.25, 0.375, -0.5]));
/// let weight = TensorView::contiguous(Dtype::Float8E4m3fn, &[3], &[0x38, 0x3c, 0xc0])?;
/// let scale = TensorView::contiguous(Dtype::Float32, &[1], &scale)?;
/// let unscaled = TensorView::contiguous(Dtype::Float32, &[3], &unscaled)?;
/// let scaled = Float8Scale::new(&weight, &scale).expect("one scale for all elements");
/// assert_eq!(scaled.matches(&unscaled), Some(ScaleMatch::Product));
/// assert!(Float8Scale::names("fc.weight").contains(&"fc.weight_scale".to_owned()));
/// # Ok::<(), tensor_parity::ViewError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Float8Scale<'a> {
    weight: TensorView<'a>,
    scales: Vec<f64>,
    blocks: Vec<usize>,
}

/// How a scaled tensor relates to an unscaled one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ScaleMatch {
    /// The product with the scale, rounded to the dtype of the unscaled tensor, is that tensor, bit for
    /// bit.
    Product,
    /// Each value of the unscaled tensor, divided by the scale, rounds to the scaled tensor, up to the
    /// rounding of the division.
    Quantized {
        /// The greatest absolute difference of the product and the unscaled value.
        greatest: f64,
    },
}

/// Sizes of blocks, in order of preference.
const BLOCKS: [usize; 4] = [128, 32, 64, 16];

/// The number of elements that are read at once: whole rows of this many or fewer.
const PIECE: usize = 1 << 16;

impl<'a> Float8Scale<'a> {
    /// The names that the scale of a tensor may have: `fc.weight_scale`, `fc.weight_scale_inv`,
    /// `fc.scale_weight`.
    pub fn names(tensor: &str) -> [String; 3] {
        let (path, name) = match tensor.rfind('.') {
            Some(dot) => tensor.split_at(dot + 1),
            None => ("", tensor),
        };
        [
            format!("{tensor}_scale"),
            format!("{tensor}_scale_inv"),
            format!("{path}scale_{name}"),
        ]
    }

    /// The first scale of [a usual name](Self::names) in `beside` that relates a tensor of this name to an
    /// unscaled one, with its name and how they [match](Self::matches).
    pub fn find<'s>(
        name: &str,
        weight: &TensorView<'a>,
        unscaled: &TensorView<'_>,
        beside: impl Fn(&str) -> Option<TensorView<'s>>,
    ) -> Option<(String, Float8Scale<'a>, ScaleMatch)> {
        if !weight.dtype().is_float8() {
            return None;
        }
        Float8Scale::names(name).into_iter().find_map(|scale| {
            let scaled = Float8Scale::new(weight, &beside(&scale)?)?;
            let matches = scaled.matches(unscaled)?;
            Some((scale, scaled, matches))
        })
    }

    /// `None` unless the weight has one-byte floats with a sign, the scale has floats, and its shape
    /// fits.
    pub fn new(weight: &TensorView<'a>, scale: &TensorView<'_>) -> Option<Float8Scale<'a>> {
        if !weight.dtype().is_float8() || weight.dtype() == Dtype::Float8E8m0fnu {
            return None;
        }
        let blocks = blocks(weight.shape(), scale.shape())?;
        let bytes = scale.to_bytes();
        let elements = bytes.chunks_exact(scale.dtype().size());
        let scales = elements
            .map(|e| scale.dtype().to_f64(e))
            .collect::<Option<Vec<f64>>>()?;
        Some(Float8Scale {
            weight: weight.clone(),
            scales,
            blocks,
        })
    }

    /// The sizes of the blocks that have one scale each, one for each dimension.
    pub fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// Which elements have one scale, such as `one scale per row`.
    pub fn layout(&self) -> String {
        let shape = self.weight.shape();
        let is_whole = |d: usize| self.blocks[d] == shape[d];
        let varying: Vec<usize> = (0..shape.len()).filter(|d| !is_whole(*d)).collect();
        match varying.as_slice() {
            [] => "one scale".to_owned(),
            [0] if self.blocks[0] == 1 => "one scale per row".to_owned(),
            [1] if self.blocks[1] == 1 && shape.len() == 2 => "one scale per column".to_owned(),
            _ => format!("one scale per block of {:?}", self.blocks),
        }
    }

    /// How the tensor relates to an unscaled one of the same shape; `None` if it does not, or if that
    /// one does not have floats of two bytes or more.
    pub fn matches(&self, unscaled: &TensorView<'_>) -> Option<ScaleMatch> {
        let dtype = unscaled.dtype();
        if unscaled.shape() != self.weight.shape()
            || !dtype.is_floating_point()
            || dtype.is_float8()
            || unscaled.numel() == 0
        {
            return None;
        }
        let format = Format::new(self.weight.dtype())?;
        // Products of the scale as it is, and of the scale in the dtype of the unscaled tensor.
        let mut is_product = [true; 2];
        let mut is_quantized = true;
        let mut greatest = 0f64;
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for start in (0..unscaled.numel()).step_by(PIECE) {
            let weights = self.weight.read(start..start + PIECE, &mut own);
            let values = unscaled.read(start..start + PIECE, &mut other);
            let mut scales = ScaleIndex::new(self, start);
            for (byte, value) in weights.iter().zip(values.chunks_exact(dtype.size())) {
                let scale = self.scales[scales.next_index()];
                let (weight, value) = (format.values[usize::from(*byte)], dtype.to_f64(value)?);
                if weight.is_nan() || value.is_nan() {
                    if !(weight.is_nan() && value.is_nan()) {
                        return None;
                    }
                    continue;
                }
                for (is_product, scale) in is_product.iter_mut().zip([scale, rounded(scale, dtype)])
                {
                    let product = rounded(product(weight, scale, dtype), dtype);
                    *is_product &= product.to_bits() == value.to_bits();
                }
                is_quantized &= format.rounds_to(value / scale, *byte, value == 0.0);
                greatest = greatest.max((weight * scale - value).abs());
                if !is_quantized && is_product == [false; 2] {
                    return None;
                }
            }
        }
        match is_product.contains(&true) {
            true => Some(ScaleMatch::Product),
            false => Some(ScaleMatch::Quantized { greatest }),
        }
    }
}

/// The blocks of a weight that has scales of a shape.
fn blocks(weight: &[usize], scale: &[usize]) -> Option<Vec<usize>> {
    if scale.iter().all(|size| *size == 1) {
        return Some(weight.to_vec());
    }
    // One scale for each row may lack the other dimensions.
    let padded: Vec<usize> = match (weight.len(), scale) {
        (2.., [rows]) => {
            let others = std::iter::repeat_n(1, weight.len() - 1);
            [*rows].into_iter().chain(others).collect()
        }
        _ => scale.to_vec(),
    };
    if padded.len() != weight.len() {
        return None;
    }
    let block = |(size, scales): (&usize, &usize)| match scales {
        1 => Some(*size),
        _ if scales == size => Some(1),
        _ => BLOCKS
            .into_iter()
            .find(|block| size.div_ceil(*block) == *scales),
    };
    weight.iter().zip(&padded).map(block).collect()
}

/// The index of the scale of each element, in logical order.
struct ScaleIndex<'a> {
    shape: &'a [usize],
    blocks: &'a [usize],
    index: Vec<usize>,
}

impl<'a> ScaleIndex<'a> {
    fn new(scaled: &'a Float8Scale<'_>, start: usize) -> ScaleIndex<'a> {
        ScaleIndex {
            shape: scaled.weight.shape(),
            blocks: &scaled.blocks,
            index: scaled.weight.index(start),
        }
    }

    fn next_index(&mut self) -> usize {
        let mut position = 0;
        for d in 0..self.shape.len() {
            position *= self.shape[d].div_ceil(self.blocks[d]);
            position += self.index[d] / self.blocks[d];
        }
        for d in (0..self.shape.len()).rev() {
            self.index[d] += 1;
            if self.index[d] < self.shape[d] {
                break;
            }
            self.index[d] = 0;
        }
        position
    }
}

/// The product as it is computed: in float32, unless the result has more digits.
fn product(weight: f64, scale: f64, dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Float64 => weight * scale,
        _ => f64::from(weight as f32 * scale as f32),
    }
}

/// A number in a dtype of two bytes or more.
fn rounded(value: f64, dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Bfloat16 => f64::from(bf16::from_f32(value as f32)),
        Dtype::Float16 => f64::from(f16::from_f32(value as f32)),
        Dtype::Float32 => f64::from(value as f32),
        _ => value,
    }
}

/// The values of a dtype of one byte, and what rounds to each.
struct Format {
    values: [f64; 256],
    /// The least and the greatest number that rounds to each.
    bounds: [(f64, f64); 256],
}

impl Format {
    fn new(dtype: Dtype) -> Option<Format> {
        let mut values = [0.0; 256];
        for (byte, value) in (0..=u8::MAX).zip(&mut values) {
            *value = dtype.to_f64(&[byte])?;
        }
        let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        finite.sort_by(f64::total_cmp);
        // Both zeros are one value.
        finite.dedup_by(|a, b| a == b);
        let bound = |value: f64| {
            let at = finite.partition_point(|v| *v < value);
            let below = at.checked_sub(1).map(|below| finite[below]);
            let above = finite.get(at + 1).copied();
            // The division may have been rounded to bfloat16, and values beyond the last are clamped.
            let slack = 1.0 + 1.0 / 16.0;
            (
                below.map_or(f64::NEG_INFINITY, |b| value - (value - b) / 2.0 * slack),
                above.map_or(f64::INFINITY, |a| value + (a - value) / 2.0 * slack),
            )
        };
        let bounds = values.map(|value| match value.is_finite() {
            true => bound(value),
            false => (value, value),
        });
        Some(Format { values, bounds })
    }

    /// Whether a quotient rounds to the value of a byte. The scale of zeros may be zero.
    fn rounds_to(&self, quotient: f64, byte: u8, is_zero: bool) -> bool {
        if is_zero {
            return self.values[usize::from(byte)] == 0.0;
        }
        let (least, greatest) = self.bounds[usize::from(byte)];
        least <= quotient && quotient <= greatest
    }
}

#[cfg(test)]
mod tests {
    use super::{Float8Scale, ScaleMatch, blocks};
    use crate::{Dtype, TensorView};
    use half::bf16;

    #[test]
    fn shapes_of_scales_give_blocks() {
        for (weight, scale, expected) in [
            (&[4, 6][..], &[][..], Some(vec![4, 6])),
            (&[4, 6], &[1], Some(vec![4, 6])),
            (&[4, 6], &[1, 1], Some(vec![4, 6])),
            (&[4, 6], &[4, 1], Some(vec![1, 6])),
            (&[4, 6], &[4], Some(vec![1, 6])),
            (&[4, 6], &[1, 6], Some(vec![4, 1])),
            (&[300, 200], &[3, 2], Some(vec![128, 128])),
            (&[300, 256], &[300, 8], Some(vec![1, 32])),
            (&[300, 256], &[300, 16], Some(vec![1, 16])),
            (&[8, 4, 3, 3], &[8], Some(vec![1, 4, 3, 3])),
            (&[4, 6], &[6], None),
            (&[4, 6], &[2, 3], None),
            (&[4, 6], &[4, 6, 1], None),
        ] {
            assert_eq!(blocks(weight, scale), expected, "{weight:?} {scale:?}");
        }
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// The nearest value of float8_e4m3fn, the even one of two.
    fn quantized(value: f32) -> u8 {
        let distance = |byte: &u8| {
            let v = Dtype::Float8E4m3fn.to_f64(&[*byte]).unwrap();
            (v - f64::from(value)).abs()
        };
        let bytes = (0..=0xffu8).filter(|byte| byte & 0x7f != 0x7f);
        bytes
            .min_by(|a, b| {
                distance(a)
                    .total_cmp(&distance(b))
                    .then((a & 1).cmp(&(b & 1)))
            })
            .unwrap()
    }

    #[test]
    fn scaled_tensors_are_recognized() {
        let original: Vec<f32> = (0..30_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e8 - 0.08)
            .collect();
        let shape = [300, 100];
        for (scale_shape, block) in [
            (&[][..], [300, 100]),
            (&[300, 1], [1, 100]),
            (&[300], [1, 100]),
            (&[3, 1], [128, 100]),
        ] {
            let count = scale_shape.iter().product::<usize>();
            let scales: Vec<f32> = (0..count).map(|i| 0.00037 + i as f32 * 1e-6).collect();
            let scale_of = |i: usize| scales[(i / 100) / block[0]];
            let weight: Vec<u8> = original
                .iter()
                .enumerate()
                .map(|(i, v)| quantized(v / scale_of(i)))
                .collect();
            let value = |i: usize| Dtype::Float8E4m3fn.to_f64(&[weight[i]]).unwrap() as f32;
            let product: Vec<f32> = (0..30_000).map(|i| value(i) * scale_of(i)).collect();
            let halves: Vec<u8> = product
                .iter()
                .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
                .collect();
            let view = |dtype, bytes| TensorView::contiguous(dtype, &shape, bytes).unwrap();
            let scale_bytes = floats(&scales);
            let scale = TensorView::contiguous(Dtype::Float32, scale_shape, &scale_bytes).unwrap();
            let scaled = Float8Scale::new(&view(Dtype::Float8E4m3fn, &weight), &scale).unwrap();
            assert_eq!(scaled.blocks(), block);
            let product = floats(&product);
            assert_eq!(
                scaled.matches(&view(Dtype::Float32, &product)),
                Some(ScaleMatch::Product)
            );
            assert_eq!(
                scaled.matches(&view(Dtype::Bfloat16, &halves)),
                Some(ScaleMatch::Product)
            );
            let original = floats(&original);
            let found = scaled.matches(&view(Dtype::Float32, &original));
            assert!(
                matches!(found, Some(ScaleMatch::Quantized { greatest }) if greatest > 0.0 && greatest < 0.02),
                "{found:?}"
            );
            // One other value.
            let mut other = original.clone();
            other[4000..4004].copy_from_slice(&0.5f32.to_le_bytes());
            assert_eq!(scaled.matches(&view(Dtype::Float32, &other)), None);
        }
    }
}
