//! Floating point formats: values, rounding, order, and distances in ULPs.
//!
//! Most functions are free of branches, so that the loops that call them vectorize.

use crate::Dtype;
use std::ops::{Add, Div, Mul, Sub};

/// The distance of two numbers in units in the last place.
///
/// This is the number of steps from one representable number to the next; it is 0 between `0.0` and
/// `-0.0`, and between two NaN. `None` if exactly one is NaN.
///
/// ```
/// use tensor_parity::compare::ulp_distance;
///
/// assert_eq!(ulp_distance(1.0, 1.0 + f32::EPSILON), Some(1));
/// assert_eq!(ulp_distance(-f32::MIN_POSITIVE, f32::MIN_POSITIVE), Some(0x0100_0000));
/// assert_eq!(ulp_distance(f32::NAN, 0.0), None);
/// ```
pub fn ulp_distance(a: f32, b: f32) -> Option<u32> {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Some(0),
        (false, false) => Some(ordinal32(a.to_bits()).abs_diff(ordinal32(b.to_bits()))),
        _ => None,
    }
}

/// The ordinal of a number among all numbers of its format: 0 for zero, 1 for the smallest positive
/// number, -1 for the largest negative one.
#[inline(always)]
fn ordinal32(bits: u32) -> i32 {
    // Less than 2^31, so it is not negative.
    let magnitude = (bits & 0x7fff_ffff) as i32;
    let sign = bits as i32 >> 31;
    (magnitude ^ sign) - sign
}

/// As [`ordinal32`].
#[inline(always)]
fn ordinal64(bits: u64) -> i64 {
    let magnitude = (bits & 0x7fff_ffff_ffff_ffff) as i64;
    let sign = bits as i64 >> 63;
    (magnitude ^ sign) - sign
}

/// As [`ordinal32`], for a `float8` that is not NaN.
#[inline(always)]
pub(super) fn ordinal8(dtype: Dtype, byte: u8) -> i32 {
    match dtype {
        Dtype::Float8E8m0fnu => i32::from(byte),
        _ if byte >> 7 == 1 => -i32::from(byte & 0x7f),
        _ => i32::from(byte),
    }
}

/// A type in which differences are computed: `f32` or `f64`.
pub(super) trait Compute:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    type Key: Key;
    const ZERO: Self;
    fn from_f64(x: f64) -> Self;
    fn abs(self) -> Self;
    fn is_nan(self) -> bool;
    fn is_finite(self) -> bool;
    /// `sqrt(x^2 + y^2)`, infinite if either is infinite, as C's `hypot`.
    fn modulus(x: Self, y: Self) -> Self;
    /// The magnitude as an unsigned integer with the same order; every NaN has the same key, above
    /// that of infinity.
    fn key(self) -> Self::Key;
}

/// An unsigned integer that orders differences.
pub(super) trait Key: Copy + Ord + Default + Into<u64> {
    /// The greatest key.
    const MAX: Self;
    fn from_bool(x: bool) -> Self;
    /// `self` where `mask` is 1, 0 where it is 0.
    fn masked(self, mask: Self) -> Self;
}

macro_rules! key {
    ($type:ty) => {
        impl Key for $type {
            const MAX: $type = <$type>::MAX;
            #[inline(always)]
            fn from_bool(x: bool) -> $type {
                <$type>::from(x)
            }
            #[inline(always)]
            fn masked(self, mask: $type) -> $type {
                self & mask.wrapping_neg()
            }
        }
    };
}
key!(u32);
key!(u64);

macro_rules! compute {
    ($float:ty, $key:ty, $modulus:expr) => {
        impl Compute for $float {
            type Key = $key;
            const ZERO: $float = 0.0;
            #[inline(always)]
            fn from_f64(x: f64) -> $float {
                x as $float
            }
            #[inline(always)]
            fn abs(self) -> $float {
                <$float>::abs(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$float>::is_nan(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$float>::is_finite(self)
            }
            #[inline(always)]
            fn modulus(x: $float, y: $float) -> $float {
                $modulus(x, y)
            }
            #[inline(always)]
            fn key(self) -> $key {
                self.abs().to_bits().min(<$float>::NAN.to_bits())
            }
        }
    };
}
compute!(f32, u32, modulus32);
compute!(f64, u64, modulus64);

/// The squares are exact in `f64`, so the result is correctly rounded except near ties, about 2^-29
/// of all inputs. Both kernels of PyTorch gave the same bits in 2 million samples.
fn modulus32(x: f32, y: f32) -> f32 {
    if x.is_infinite() || y.is_infinite() {
        return f32::INFINITY;
    }
    let (x, y) = (f64::from(x), f64::from(y));
    (x * x + y * y).sqrt() as f32
}

/// Follows the steps of `Sleef_hypotd_u05`, which PyTorch's kernels use for full vectors. PyTorch
/// uses libm for the elements after the last full vector, which may differ in the last place.
fn modulus64(x: f64, y: f64) -> f64 {
    if x.is_infinite() || y.is_infinite() {
        return f64::INFINITY;
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    let (x, y) = (x.abs(), y.abs());
    let (least, greatest) = (x.min(y), x.max(y));
    if least == 0.0 {
        return greatest;
    }
    // Keeps the steps of the division out of the subnormal range.
    let scale = if greatest < f64::MIN_POSITIVE {
        (1u64 << 54) as f64
    } else {
        1.0
    };
    let quotient = Double::divide(least * scale, greatest * scale);
    let root = quotient.square().plus_one().sqrt();
    let result = root.times(greatest);
    let sum = result.high + result.low;
    if sum.is_nan() { f64::INFINITY } else { sum }
}

/// A number as the unevaluated sum of two `f64`.
#[derive(Clone, Copy)]
struct Double {
    high: f64,
    low: f64,
}

impl Double {
    fn divide(n: f64, d: f64) -> Double {
        let reciprocal = 1.0 / d;
        let high = n * reciprocal;
        let product_error = reciprocal.mul_add(n, -high);
        let reciprocal_error = (-d).mul_add(reciprocal, 1.0);
        Double {
            high,
            low: high.mul_add(reciprocal_error, product_error),
        }
    }

    fn square(self) -> Double {
        let high = self.high * self.high;
        let error = self.high.mul_add(self.high, -high);
        Double {
            high,
            low: (self.high + self.high).mul_add(self.low, error),
        }
    }

    fn plus_one(self) -> Double {
        let high = self.high + 1.0;
        let v = high - self.high;
        let error = (self.high - (high - v)) + (1.0 - v);
        Double {
            high,
            low: error + self.low,
        }
    }

    fn sqrt(self) -> Double {
        let root = (self.high + self.low).sqrt();
        // (self + root^2) / root / 2
        let square = root * root;
        let square_error = root.mul_add(root, -square);
        let high = self.high + square;
        let v = high - self.high;
        let error = (self.high - (high - v)) + (square - v);
        let low = error + (self.low + square_error);
        let reciprocal = 1.0 / root;
        let reciprocal_low = reciprocal * (-root).mul_add(reciprocal, 1.0);
        let product = high * reciprocal;
        let product_low = high.mul_add(
            reciprocal_low,
            low.mul_add(reciprocal, high.mul_add(reciprocal, -product)),
        );
        Double {
            high: product * 0.5,
            low: product_low * 0.5,
        }
    }

    fn times(self, x: f64) -> Double {
        let high = self.high * x;
        Double {
            high,
            low: self.low.mul_add(x, self.high.mul_add(x, -high)),
        }
    }
}

/// The value of a `float16`, which is exact in `f32`.
#[inline(always)]
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // Multiplication adjusts the exponent bias, also of subnormal numbers.
    let finite = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    let special = magnitude | 0x7f80_0000;
    let bits = if magnitude >= 0x7c00 << 13 {
        special
    } else {
        finite
    };
    f32::from_bits(sign | bits)
}

/// The nearest `float16`, ties to even.
#[inline(always)]
pub(super) fn round_f16(x: f32) -> f32 {
    let bits = x.to_bits();
    let sign = bits & 0x8000_0000;
    let magnitude = bits & 0x7fff_ffff;
    let normal = (magnitude.wrapping_add(0xfff + (magnitude >> 13 & 1))) & !0x1fff;
    // The ULP of 0.75 in f32 is the step of subnormal halves.
    let subnormal = ((f32::from_bits(magnitude) + 0.75) - 0.75).to_bits();
    let rounded = if magnitude < 0x3880_0000 {
        subnormal
    } else {
        normal
    };
    // 65520 and greater numbers round to infinity.
    let rounded = if rounded > 0x477f_e000 {
        0x7f80_0000
    } else {
        rounded
    };
    let rounded = if magnitude > 0x7f80_0000 {
        magnitude
    } else {
        rounded
    };
    f32::from_bits(sign | rounded)
}

/// The nearest `bfloat16`, ties to even.
#[inline(always)]
pub(super) fn round_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    f32::from_bits(if x.is_nan() { bits } else { rounded })
}

/// An element of a floating point dtype.
pub(super) trait Format: Copy {
    type Compute: Compute;
    const SIZE: usize;
    fn load(bytes: &[u8]) -> Self;
    fn same_bits(self, other: Self) -> bool;
    fn value(self) -> Self::Compute;
    /// Rounds the result of an operation to this dtype, as PyTorch does.
    fn round(x: Self::Compute) -> Self::Compute;
    fn is_negative(self) -> bool;
    /// The distance of two numbers in ULPs; meaningless for a NaN.
    fn steps(self, other: Self) -> <Self::Compute as Compute>::Key;
}

macro_rules! format {
    ($type:ty, $bits:ty, $compute:ty, $value:expr, $round:expr, $ordinal:expr) => {
        impl Format for $type {
            type Compute = $compute;
            const SIZE: usize = size_of::<$bits>();
            #[inline(always)]
            fn load(bytes: &[u8]) -> $type {
                let mut word = [0; size_of::<$bits>()];
                word.copy_from_slice(bytes);
                Self(<$bits>::from_le_bytes(word))
            }
            #[inline(always)]
            fn same_bits(self, other: $type) -> bool {
                self.0 == other.0
            }
            #[inline(always)]
            fn value(self) -> $compute {
                $value(self.0)
            }
            #[inline(always)]
            fn round(x: $compute) -> $compute {
                $round(x)
            }
            #[inline(always)]
            fn is_negative(self) -> bool {
                self.0 >> (<$bits>::BITS - 1) == 1
            }
            #[inline(always)]
            fn steps(self, other: $type) -> <$compute as Compute>::Key {
                $ordinal(self.0).abs_diff($ordinal(other.0)).into()
            }
        }
    };
}

/// The bits of a `float32`.
#[derive(Clone, Copy)]
pub(super) struct F32(u32);
/// The bits of a `float64`.
#[derive(Clone, Copy)]
pub(super) struct F64(u64);
/// The bits of a `float16`.
#[derive(Clone, Copy)]
pub(super) struct F16(u16);
/// The bits of a `bfloat16`.
#[derive(Clone, Copy)]
pub(super) struct Bf16(u16);

#[inline(always)]
fn exact<T>(x: T) -> T {
    x
}

#[inline(always)]
fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// As [`ordinal32`].
#[inline(always)]
fn ordinal16(bits: u16) -> i32 {
    let magnitude = i32::from(bits & 0x7fff);
    let sign = -i32::from(bits >> 15);
    (magnitude ^ sign) - sign
}

format!(F32, u32, f32, f32::from_bits, exact, ordinal32);
format!(F64, u64, f64, f64::from_bits, exact, ordinal64);
format!(F16, u16, f32, f16_to_f32, round_f16, ordinal16);
format!(Bf16, u16, f32, bf16_to_f32, round_bf16, ordinal16);

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn values_of_halves_equal_those_of_the_half_crate() {
        for bits in 0..=u16::MAX {
            let (value, expected) = (f16_to_f32(bits), f16::from_bits(bits).to_f32());
            assert!(
                value == expected || value.is_nan() && expected.is_nan(),
                "{bits:#x}"
            );
            assert_eq!(value.is_sign_negative(), expected.is_sign_negative());
        }
    }

    #[test]
    fn rounding_equals_that_of_the_half_crate() {
        let assert_same = |value: f32, expected: f32, x: f32| {
            let same = value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan();
            assert!(same, "{x:e}: {value:e}, expected {expected:e}");
        };
        // Every exponent, with the low bits that decide about ties and carries.
        for high in 0..=u16::MAX {
            for low in [
                0, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff,
            ] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                assert_same(round_f16(x), f16::from_f32(x).to_f32(), x);
                assert_same(round_bf16(x), bf16::from_f32(x).to_f32(), x);
            }
        }
    }

    #[test]
    fn keys_order_magnitudes_and_put_nan_last() {
        let ascending = [0.0, 1e-45, 1.0, f32::MAX, f32::INFINITY, f32::NAN];
        assert!(ascending.windows(2).all(|x| x[0].key() < x[1].key()));
        assert_eq!((-2f64).key(), 2f64.key());
        assert_eq!(f32::from_bits(0xffff_ffff).key(), f32::NAN.key());
    }

    #[test]
    fn moduli_of_zeros_infinities_nan_and_extreme_numbers() {
        assert_eq!(f64::modulus(3.0, -4.0), 5.0);
        assert_eq!(f64::modulus(f64::NAN, f64::NEG_INFINITY), f64::INFINITY);
        assert_eq!(f32::modulus(f32::INFINITY, f32::NAN), f32::INFINITY);
        assert!(f64::modulus(f64::NAN, 0.0).is_nan());
        assert_eq!(f64::modulus(5e-324, 0.0), 5e-324);
        assert_eq!(f64::modulus(f64::MAX, f64::MAX), f64::INFINITY);
        assert_eq!(f64::modulus(3e-320, 4e-320), 5e-320);
        assert_eq!(f64::modulus(3e300, 4e300), 5e300);
    }
    #[test]
    fn ulp_distances_of_zeros_nan_infinities_and_subnormals() {
        assert_eq!(ulp_distance(0.0, -0.0), Some(0));
        assert_eq!(ulp_distance(f32::NAN, f32::NAN), Some(0));
        assert_eq!(ulp_distance(f32::MAX, f32::INFINITY), Some(1));
        assert_eq!(ulp_distance(f32::from_bits(1), -f32::from_bits(1)), Some(2));
        assert_eq!(
            ulp_distance(f32::INFINITY, f32::NEG_INFINITY),
            Some(2 * 0x7f80_0000)
        );
    }
}
