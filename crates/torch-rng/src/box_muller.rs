//! The Box-Muller transform of a pair of uniform values: the scalar reference.
//!
//! Follows `NormalFill16` (`ATen/native/cpu/DistributionTemplates.h`) and, for f32, `log256_ps` and
//! `sincos256_ps` (`ATen/native/cpu/avx_mathfun.h`), PyTorch 2.13. libtorch is compiled so that most
//! products and the sums they enter are rounded once; the fused operations here are those of its
//! machine code. The polynomials are those of Cephes' `logf` and `sinf`.

// More digits than an f32 holds, so that the constants can be compared with their source.
#![allow(clippy::excessive_precision)]

use std::f64::consts::PI;

/// Coefficients of the logarithm, highest power first.
pub(crate) const LOG: [f32; 9] = [
    7.0376836292E-2,
    -1.1514610310E-1,
    1.1676998740E-1,
    -1.2420140846E-1,
    1.4249322787E-1,
    -1.6668057665E-1,
    2.0000714765E-1,
    -2.4999993993E-1,
    3.3333331174E-1,
];

/// ln 2 in two parts, the small one first.
pub(crate) const LN_2: [f32; 2] = [-2.12194440e-4, 0.693359375];

/// Coefficients of the sine, highest power first.
pub(crate) const SIN: [f32; 3] = [-1.9515295891E-4, 8.3321608736E-3, -1.6666654611E-1];

/// Coefficients of the cosine, highest power first.
pub(crate) const COS: [f32; 3] = [
    2.443315711809948E-005,
    -1.388731625493765E-003,
    4.166664568298827E-002,
];

/// -pi / 4 in three parts.
pub(crate) const MINUS_QUARTER_PI: [f32; 3] = [
    -0.78515625,
    -2.4187564849853515625e-4,
    -3.77489497744594108e-8,
];

/// 4 / pi.
const FOUR_OVER_PI: f32 = 1.27323954473516;

/// `2.0f * c10::pi<double>`.
const TWO_PI: f64 = 2.0 * PI;

/// The largest normal value in single precision, `sqrt(-2 ln 2^-24)`: the logarithm is that of the smallest
/// `1 - u1`.
pub(crate) const LARGEST_F32: f32 = 5.768_107_4;

/// More than the largest normal value in double precision, `sqrt(-2 ln 2^-53)` = 8.5717, whatever the C library's
/// logarithm rounds to.
pub(crate) const LARGEST_F64: f64 = 8.572;

/// The normal values of the uniform values `u1` and `u2`, which lie eight apart in a block.
pub(crate) fn f64(u1: f64, u2: f64, mean: f64, std: f64) -> (f64, f64) {
    let radius = (-2.0 * (1.0 - u1).ln()).sqrt();
    let (sin, cos) = (TWO_PI * u2).sin_cos();
    (
        (radius * cos).mul_add(std, mean),
        (radius * sin).mul_add(std, mean),
    )
}

/// [`f64`](self::f64) in single precision.
pub(crate) fn f32(u1: f32, u2: f32, mean: f32, std: f32) -> (f32, f32) {
    let (radius, (sin, cos)) = (radius(u1), direction(u2));
    (
        (radius * cos).mul_add(std, mean),
        (radius * sin).mul_add(std, mean),
    )
}

/// The distance from the mean, in standard deviations, of the normal values of the uniform value `u1`.
pub(crate) fn radius(u1: f32) -> f32 {
    (-2.0 * log(1.0 - u1)).sqrt()
}

/// The sine and the cosine of the uniform value `u2`, as a part of a turn.
pub(crate) fn direction(u2: f32) -> (f32, f32) {
    sincos(TWO_PI as f32 * u2)
}

/// The natural logarithm of a positive normal number.
fn log(u: f32) -> f32 {
    // Split into a mantissa in [0.5, 1) and an exponent, then shift the mantissa toward 1.
    let bits = u.to_bits();
    let mut exponent = ((bits >> 23) as i32 - 126) as f32;
    let mut x = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    if x < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1.0;
        x = x - 1.0 + x;
    } else {
        x -= 1.0;
    }
    let z = x * x;
    let mut y = LOG[0];
    for coefficient in &LOG[1..] {
        y = y.mul_add(x, *coefficient);
    }
    y *= x;
    y = y.mul_add(z, exponent * LN_2[0]);
    y = z.mul_add(-0.5, y);
    exponent.mul_add(LN_2[1], x + y)
}

/// The sine and cosine of a nonnegative angle.
fn sincos(angle: f32) -> (f32, f32) {
    // The octant, rounded up to an even one.
    let octant = ((angle * FOUR_OVER_PI) as i32 + 1) & !1;
    let mut x = angle;
    for part in MINUS_QUARTER_PI {
        x = (octant as f32).mul_add(part, x);
    }
    let z = x * x;
    let near_one = COS[0].mul_add(z, COS[1]).mul_add(z, COS[2]) * z;
    let near_one = near_one.mul_add(z, z * -0.5) + 1.0;
    let near_zero = SIN[0].mul_add(z, SIN[1]).mul_add(z, SIN[2]) * z;
    let near_zero = near_zero.mul_add(x, x);

    let (sin, cos) = if octant & 2 == 0 {
        (near_zero, near_one)
    } else {
        (near_one, near_zero)
    };
    (
        if octant & 4 == 0 { sin } else { -sin },
        if (octant - 2) & 4 == 0 { -cos } else { cos },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All words that a radius is made of, and all that an angle is made of.
    #[test]
    fn no_single_normal_is_larger() {
        let units = || (0..1 << 24).map(|k| k as f32 / 16_777_216.0);
        let radius = |u1: f32| f32(u1, 0.0, 0.0, 1.0).0;
        let largest = units().map(radius).fold(0.0, f32::max);
        assert_eq!(largest.to_bits(), LARGEST_F32.to_bits(), "{largest:?}");
        let factors = units().map(|u2| sincos(TWO_PI as f32 * u2));
        let (sin, cos) = factors.fold((0f32, 0f32), |(sin, cos), (s, c)| {
            (sin.max(s.abs()), cos.max(c.abs()))
        });
        assert_eq!((sin, cos), (1.0, 1.0));
    }

    #[test]
    fn the_extreme_double_normal_is_below_the_bound() {
        let unit = 1.0 / 9_007_199_254_740_992.0;
        let (cos, _) = f64(1.0 - unit, 0.0, 0.0, 1.0);
        assert!((8.571..LARGEST_F64).contains(&cos), "{cos}");
        let serial = (-2.0 * (-(1.0 - unit)).ln_1p()).sqrt();
        assert!((8.571..LARGEST_F64).contains(&serial), "{serial}");
    }
}
