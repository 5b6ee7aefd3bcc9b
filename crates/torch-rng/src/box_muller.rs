//! Box and Muller's transform of a pair of uniform values.
//!
//! Follows `NormalFill16` (`ATen/native/cpu/DistributionTemplates.h`) and, for f32, `log256_ps` and
//! `sincos256_ps` (`ATen/native/cpu/avx_mathfun.h`), PyTorch 2.13. libtorch is compiled so that a
//! product and the sum it goes into are rounded once; where that leaves a choice, the choice here
//! is the one that its machine code makes. The polynomials are those of Cephes.

use crate::cephes::{COS, FOUR_OVER_PI, LN_2, LOG, MINUS_QUARTER_PI, SIN};
use std::f64::consts::PI;

/// In C++ `2.0f * c10::pi<double>`.
const TWO_PI: f64 = 2.0 * PI;

/// What the uniform values `u1` and `u2`, eight apart in a block, become.
pub(crate) fn f64(u1: f64, u2: f64, mean: f64, std: f64) -> (f64, f64) {
    let radius = (-2.0 * (1.0 - u1).ln()).sqrt();
    let (sin, cos) = (TWO_PI * u2).sin_cos();
    (
        (radius * cos).mul_add(std, mean),
        (radius * sin).mul_add(std, mean),
    )
}

/// The same in f32.
pub(crate) fn f32(u1: f32, u2: f32, mean: f32, std: f32) -> (f32, f32) {
    let radius = (-2.0 * log(1.0 - u1)).sqrt();
    let (sin, cos) = sincos(TWO_PI as f32 * u2);
    (
        (radius * cos).mul_add(std, mean),
        (radius * sin).mul_add(std, mean),
    )
}

/// The natural logarithm of a positive normal number.
fn log(u: f32) -> f32 {
    // Mantissa in [0.5, 1) and exponent, then both so that the mantissa is around 1.
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

/// Sine and cosine of an angle that is not negative.
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
