//! What draws are computed in.

use crate::Mt19937;
use crate::box_muller;

/// `float` or `double`.
pub trait Opmath: Copy + Send + Sync {
    /// Words of one uniform value.
    const WORDS: u64;

    fn from_f64(value: f64) -> Self;

    /// `uniform_real_distribution(from, to)`, with `range = to - from`.
    fn uniform(generator: &mut Mt19937, from: Self, range: Self) -> Self;

    fn minus(self, other: Self) -> Self;
    fn is_finite(self) -> bool;
    fn is_normal(self) -> bool;
    fn is_zero(self) -> bool;
    /// Divided by `2^bits`.
    fn scaled(self, bits: u32) -> Self;

    /// A pair of uniform values becomes a pair of normal ones.
    fn box_muller(u1: Self, u2: Self, mean: Self, std: Self) -> (Self, Self);
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

    fn is_normal(self) -> bool {
        self.is_normal()
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }

    fn scaled(self, bits: u32) -> f32 {
        self / (1u64 << bits) as f32
    }

    fn minus(self, other: f32) -> f32 {
        self - other
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn box_muller(u1: f32, u2: f32, mean: f32, std: f32) -> (f32, f32) {
        box_muller::f32(u1, u2, mean, std)
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

    fn is_normal(self) -> bool {
        self.is_normal()
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }

    fn scaled(self, bits: u32) -> f64 {
        self / (1u64 << bits) as f64
    }

    fn minus(self, other: f64) -> f64 {
        self - other
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn box_muller(u1: f64, u2: f64, mean: f64, std: f64) -> (f64, f64) {
        box_muller::f64(u1, u2, mean, std)
    }
}
