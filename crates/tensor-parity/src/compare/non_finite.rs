//! Counts NaN and infinities.

use crate::Dtype;

/// The numbers of NaN and of infinite elements.
///
/// A complex element is NaN or infinite if one of its parts is, as for `torch.isnan` and
/// `torch.isinf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NonFinite {
    /// The number of NaN elements.
    pub nan: usize,
    /// The number of infinite elements.
    pub inf: usize,
}

impl NonFinite {
    pub(super) fn add(&mut self, other: NonFinite) {
        self.nan += other.nan;
        self.inf += other.inf;
    }
}

/// The number of elements that are counted in one sum of 16 bits.
const RUN: usize = 4096;

macro_rules! count {
    ($name:ident, $bits:ty, $exponent:expr) => {
        fn $name(bytes: &[u8]) -> NonFinite {
            const SIZE: usize = size_of::<$bits>();
            const EXPONENT: $bits = $exponent;
            const LEAST: $bits = EXPONENT & EXPONENT.wrapping_neg();
            let words = |bytes: &'_ [u8]| {
                let mut word = [0; SIZE];
                word.copy_from_slice(bytes);
                <$bits>::from_le_bytes(word)
            };
            let mut counts = NonFinite::default();
            for run in bytes.chunks(RUN * SIZE) {
                // An exponent of all ones carries into the sign bit. Without branches, this
                // vectorizes.
                let special: $bits = run
                    .chunks_exact(SIZE)
                    .map(|element| ((words(element) & EXPONENT) + LEAST) >> (<$bits>::BITS - 1))
                    .sum();
                if special > 0 {
                    let infinite = run
                        .chunks_exact(SIZE)
                        .filter(|element| words(element) << 1 == EXPONENT << 1)
                        .count();
                    counts.inf += infinite;
                    // At most `RUN`.
                    counts.nan += special as usize - infinite;
                }
            }
            counts
        }
    };
}
count!(half, u16, 0x7c00);
count!(bfloat, u16, 0x7f80);
count!(single, u32, 0x7f80_0000);
count!(double, u64, 0x7ff0_0000_0000_0000);

/// Counts over the elements in `bytes`.
pub(super) fn count(dtype: Dtype, bytes: &[u8]) -> NonFinite {
    match dtype {
        Dtype::Float16 => half(bytes),
        Dtype::Bfloat16 => bfloat(bytes),
        Dtype::Float32 => single(bytes),
        Dtype::Float64 => double(bytes),
        Dtype::Complex32 => complex(half, dtype, bytes),
        Dtype::Complex64 => complex(single, dtype, bytes),
        Dtype::Complex128 => complex(double, dtype, bytes),
        _ if dtype.is_float8() => one_by_one(dtype, dtype, bytes),
        _ => NonFinite::default(),
    }
}

/// Looks at each element only if some part is NaN or infinite.
fn complex(of_parts: fn(&[u8]) -> NonFinite, dtype: Dtype, bytes: &[u8]) -> NonFinite {
    match of_parts(bytes) {
        NonFinite { nan: 0, inf: 0 } => NonFinite::default(),
        _ => one_by_one(dtype, dtype.part().unwrap_or(dtype), bytes),
    }
}

fn one_by_one(dtype: Dtype, part: Dtype, bytes: &[u8]) -> NonFinite {
    let mut counts = NonFinite::default();
    for element in bytes.chunks_exact(dtype.size()) {
        let any = |is: fn(f64) -> bool| {
            element
                .chunks_exact(part.size())
                .filter_map(|part_bytes| part.to_f64(part_bytes))
                .any(is)
        };
        counts.nan += usize::from(any(f64::is_nan));
        counts.inf += usize::from(any(f64::is_infinite));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_halves_agree_with_their_values() {
        for dtype in [Dtype::Float16, Dtype::Bfloat16] {
            let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            assert_eq!(count(dtype, &bytes), one_by_one(dtype, dtype, &bytes));
        }
    }

    #[test]
    fn counts_of_singles_doubles_and_complex_numbers() {
        let values = [
            1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            f64::MAX,
        ];
        let doubles: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let singles: Vec<u8> = values
            .iter()
            .flat_map(|x| (*x as f32).to_le_bytes())
            .collect();
        let expected = |nan, inf| NonFinite { nan, inf };
        assert_eq!(count(Dtype::Float64, &doubles), expected(1, 2));
        // f64::MAX becomes infinite in f32.
        assert_eq!(count(Dtype::Float32, &singles), expected(1, 3));
        assert_eq!(count(Dtype::Complex128, &doubles), expected(1, 1));
        assert_eq!(count(Dtype::Complex64, &singles), expected(1, 2));
        assert_eq!(count(Dtype::Int64, &doubles), expected(0, 0));
        // All are NaN, in more than one run.
        let many = vec![0xff; 4 * 3 * RUN];
        assert_eq!(count(Dtype::Float32, &many), expected(3 * RUN, 0));
        assert_eq!(count(Dtype::Float16, &many), expected(6 * RUN, 0));
    }
}
