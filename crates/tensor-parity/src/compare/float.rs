//! Floating point formats: their values, their rounding, their order.
//!
//! All of it without branches, so that loops over it vectorise.

use super::ulp::{place32, place64};
use std::ops::{Add, Div, Mul, Sub};

/// A type that values are computed in: `f32` or `f64`.
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
    /// `sqrt(x^2 + y^2)`, infinite if either is, as C's `hypot`.
    fn modulus(x: Self, y: Self) -> Self;
    /// A magnitude as an unsigned integer of the same order, all NaN one above infinity.
    fn key(self) -> Self::Key;
}

/// An unsigned integer that ranks differences.
pub(super) trait Key: Copy + Ord + Default + Into<u64> {
    /// A rank above all others.
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

/// The squares are exact in `f64`: rounded as if the modulus were exact, but for some doubtful
/// ties of some 2^-29 of all inputs. Both kernels of PyTorch had these bits in 2 million samples.
fn modulus32(x: f32, y: f32) -> f32 {
    if x.is_infinite() || y.is_infinite() {
        return f32::INFINITY;
    }
    let (x, y) = (f64::from(x), f64::from(y));
    (x * x + y * y).sqrt() as f32
}

/// Follows the steps of `Sleef_hypotd_u05`, which PyTorch's kernels use for whole vectors; what
/// remains beyond the last vector goes through libm there, and may differ in the last place.
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
    // Keeps the quotient's steps clear of subnormal numbers.
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

/// A number as the sum of two.
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

/// The value of a `float16`, which `f32` holds exactly.
#[inline(always)]
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // Scaling moves the exponent's bias, for subnormal numbers too.
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
    // 0.75 has the unit in the last place that subnormal halves have.
    let subnormal = ((f32::from_bits(magnitude) + 0.75) - 0.75).to_bits();
    let rounded = if magnitude < 0x3880_0000 {
        subnormal
    } else {
        normal
    };
    // 65520 and more rounds to infinity.
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
    /// The result of an operation, as PyTorch stores it in this dtype.
    fn round(x: Self::Compute) -> Self::Compute;
    fn is_negative(self) -> bool;
    /// Units in the last place between two numbers; meaningless for a NaN.
    fn steps(self, other: Self) -> <Self::Compute as Compute>::Key;
}

macro_rules! format {
    ($type:ty, $bits:ty, $compute:ty, $value:expr, $round:expr, $place:expr) => {
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
                $place(self.0).abs_diff($place(other.0)).into()
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

/// Sign and magnitude as one number.
#[inline(always)]
fn place16(bits: u16) -> i32 {
    let magnitude = i32::from(bits & 0x7fff);
    let sign = -i32::from(bits >> 15);
    (magnitude ^ sign) - sign
}

format!(F32, u32, f32, f32::from_bits, exact, place32);
format!(F64, u64, f64, f64::from_bits, exact, place64);
format!(F16, u16, f32, f16_to_f32, round_f16, place16);
format!(Bf16, u16, f32, bf16_to_f32, round_bf16, place16);

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn halves_are_those_of_the_half_crate() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits), f16::from_bits(bits).to_f32());
            assert!(
                ours == theirs || ours.is_nan() && theirs.is_nan(),
                "{bits:#x}"
            );
            assert_eq!(ours.is_sign_negative(), theirs.is_sign_negative());
        }
    }

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let same = |ours: f32, theirs: f32, x: f32| {
            let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            assert!(same, "{x:e}: {ours:e} against {theirs:e}");
        };
        // Every exponent and every ending that a tie or a carry depends on.
        for high in 0..=u16::MAX {
            for low in [
                0, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x3000, 0x7fff, 0x8000, 0x8001, 0xffff,
            ] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                same(round_f16(x), f16::from_f32(x).to_f32(), x);
                same(round_bf16(x), bf16::from_f32(x).to_f32(), x);
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
    fn moduli_of_special_values() {
        assert_eq!(f64::modulus(3.0, -4.0), 5.0);
        assert_eq!(f64::modulus(f64::NAN, f64::NEG_INFINITY), f64::INFINITY);
        assert_eq!(f32::modulus(f32::INFINITY, f32::NAN), f32::INFINITY);
        assert!(f64::modulus(f64::NAN, 0.0).is_nan());
        assert_eq!(f64::modulus(5e-324, 0.0), 5e-324);
        assert_eq!(f64::modulus(f64::MAX, f64::MAX), f64::INFINITY);
        assert_eq!(f64::modulus(3e-320, 4e-320), 5e-320);
        assert_eq!(f64::modulus(3e300, 4e300), 5e300);
    }
}
