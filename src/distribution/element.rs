//! The dtypes that are drawn, and the dtypes they are computed in.

use super::box_muller;
use crate::rng::Mt19937;
use crate::tensor::Dtype;
use half::{bf16, f16};

/// A type that PyTorch draws on the CPU: `f32`, `f64`, [`bf16`], [`f16`].
pub trait Element: sealed::Element {
    /// Its dtype.
    const DTYPE: Dtype;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::Float32;
}
impl Element for f64 {
    const DTYPE: Dtype = Dtype::Float64;
}
impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bfloat16;
}
impl Element for f16 {
    const DTYPE: Dtype = Dtype::Float16;
}

pub(super) mod sealed {
    use super::Opmath;

    /// How an element is computed and stored.
    pub trait Element: Copy + PartialEq + Send + Sync + 'static {
        /// `at::opmath_type`: what arithmetic is done in.
        type Opmath: Opmath;

        /// The largest value: `std::numeric_limits<scalar_t>::max()`.
        const MAX: f64;

        fn from_f64(value: f64) -> Self;
        fn from_opmath(value: Self::Opmath) -> Self;
    }
}

/// `float` or `double`.
pub trait Opmath: Copy {
    /// Words of one uniform value.
    const WORDS: u64;

    fn from_f64(value: f64) -> Self;

    /// `uniform_real_distribution(from, to)`, with `range = to - from`.
    fn uniform(generator: &mut Mt19937, from: Self, range: Self) -> Self;

    fn zero() -> Self;
    fn one() -> Self;
    fn minus(self, other: Self) -> Self;
    fn is_finite(self) -> bool;

    /// Sixteen uniform values become normal ones: `NormalFill16`.
    fn box_muller(values: &mut [Self; 16], mean: Self, std: Self);
}

impl Opmath for f32 {
    const WORDS: u64 = 1;

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn uniform(generator: &mut Mt19937, from: f32, range: f32) -> f32 {
        let unit = (generator.next_u32() & 0xff_ffff) as f32 * (1.0 / 16_777_216.0);
        unit.mul_add(range, from)
    }

    fn zero() -> f32 {
        0.0
    }

    fn one() -> f32 {
        1.0
    }

    fn minus(self, other: f32) -> f32 {
        self - other
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn box_muller(values: &mut [f32; 16], mean: f32, std: f32) {
        box_muller::f32(values, mean, std);
    }
}

impl Opmath for f64 {
    const WORDS: u64 = 2;

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn uniform(generator: &mut Mt19937, from: f64, range: f64) -> f64 {
        let unit =
            (generator.random64() & ((1 << 53) - 1)) as f64 * (1.0 / 9_007_199_254_740_992.0);
        unit.mul_add(range, from)
    }

    fn zero() -> f64 {
        0.0
    }

    fn one() -> f64 {
        1.0
    }

    fn minus(self, other: f64) -> f64 {
        self - other
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn box_muller(values: &mut [f64; 16], mean: f64, std: f64) {
        box_muller::f64(values, mean, std);
    }
}

impl sealed::Element for f32 {
    type Opmath = f32;
    const MAX: f64 = f32::MAX as f64;

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn from_opmath(value: f32) -> f32 {
        value
    }
}

impl sealed::Element for f64 {
    type Opmath = f64;
    const MAX: f64 = f64::MAX;

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn from_opmath(value: f64) -> f64 {
        value
    }
}

impl sealed::Element for bf16 {
    type Opmath = f32;
    // 0x7f7f
    const MAX: f64 = 3.389_531_389_251_535_5e38;

    fn from_f64(value: f64) -> bf16 {
        // By way of f32 and so rounded twice, as a C++ cast to c10::BFloat16 is.
        Self::from_opmath(value as f32)
    }

    fn from_opmath(value: f32) -> bf16 {
        if value.is_nan() {
            // c10 knows one NaN only, `half` keeps sign and payload.
            return bf16::from_bits(0x7fc0);
        }
        bf16::from_f32(value)
    }
}

impl sealed::Element for f16 {
    type Opmath = f32;
    const MAX: f64 = 65504.0;

    fn from_f64(value: f64) -> f16 {
        // Twice, as above.
        f16::from_f32(value as f32)
    }

    fn from_opmath(value: f32) -> f16 {
        f16::from_f32(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::element::sealed::Element as _;

    #[test]
    fn the_largest_values() {
        assert_eq!(bf16::MAX.to_f64(), <bf16 as sealed::Element>::MAX);
        assert_eq!(f16::MAX.to_f64(), <f16 as sealed::Element>::MAX);
    }

    #[test]
    fn every_half_of_ties_goes_to_even() {
        assert_eq!(
            <bf16 as sealed::Element>::from_opmath(f32::from_bits(0x3f80_8000)).to_bits(),
            0x3f80
        );
        assert_eq!(
            <bf16 as sealed::Element>::from_opmath(f32::from_bits(0x3f81_8000)).to_bits(),
            0x3f82
        );
        assert_eq!(bf16::from_opmath(-f32::NAN).to_bits(), 0x7fc0);
    }
}
