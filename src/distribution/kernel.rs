//! Uniform and normal values, a vector at a time.
//!
//! The arithmetic is that of [`uniform`](super::uniform) and [`box_muller`](super::box_muller) with
//! factors that are powers of two moved to where they cost nothing: that shifts exponents, and
//! rounds nothing differently as long as nothing underflows. What could is left to the scalar code.

use super::cephes::{COS, LN_2, LOG, MINUS_QUARTER_PI, SIN};
use crate::rng::arch::Isa;
use crate::rng::stream::{Recipe, Step, temper};
use half::{bf16, f16};
use std::f64::consts::PI;

/// The low bits of a word that make an f32.
const BITS: u32 = 0xff_ffff;

/// Where values of f32 go.
pub(super) trait Sink: Copy {
    type Item: Copy;
    const STREAMS: bool;

    /// Stores two vectors, one behind the other.
    ///
    /// # Safety
    ///
    /// `2 LANES` items can be written at `to`, which is aligned to a vector if this streams.
    unsafe fn store<I: Isa>(isa: I, to: *mut Self::Item, values: I::F, more: I::F);

    /// Rounded to the type of the items.
    fn round<I: Isa>(isa: I, values: I::F) -> I::F;
}

/// f32, through the caches.
#[derive(Clone, Copy)]
pub(super) struct Stored;

/// f32, past the caches.
#[derive(Clone, Copy)]
pub(super) struct Streamed;

impl Sink for Stored {
    type Item = f32;
    const STREAMS: bool = false;

    #[inline(always)]
    unsafe fn store<I: Isa>(isa: I, to: *mut f32, values: I::F, more: I::F) {
        // SAFETY: the caller's promise.
        unsafe {
            isa.store_f32(to, values);
            isa.store_f32(to.add(I::LANES), more);
        }
    }

    #[inline(always)]
    fn round<I: Isa>(_isa: I, values: I::F) -> I::F {
        values
    }
}

impl Sink for Streamed {
    type Item = f32;
    const STREAMS: bool = true;

    #[inline(always)]
    unsafe fn store<I: Isa>(isa: I, to: *mut f32, values: I::F, more: I::F) {
        // SAFETY: the caller's promise.
        unsafe {
            isa.stream_f32(to, values);
            isa.stream_f32(to.add(I::LANES), more);
        }
    }

    #[inline(always)]
    fn round<I: Isa>(_isa: I, values: I::F) -> I::F {
        values
    }
}

impl Sink for bf16 {
    type Item = bf16;
    const STREAMS: bool = false;

    #[inline(always)]
    unsafe fn store<I: Isa>(isa: I, to: *mut bf16, values: I::F, more: I::F) {
        let values = isa.shr::<16>(rounding_up(isa, values));
        let more = isa.shr::<16>(rounding_up(isa, more));
        // SAFETY: the caller's promise; a `bf16` is a `u16`.
        unsafe { isa.store_u16(to.cast(), values, more) }
    }

    #[inline(always)]
    fn round<I: Isa>(isa: I, values: I::F) -> I::F {
        isa.with_bits(isa.and(rounding_up(isa, values), isa.splat(0xffff_0000)))
    }
}

impl Sink for f16 {
    type Item = f16;
    const STREAMS: bool = false;

    #[inline(always)]
    unsafe fn store<I: Isa>(isa: I, to: *mut f16, values: I::F, more: I::F) {
        // SAFETY: the caller's promise; an `f16` is a `u16`.
        unsafe { isa.store_f16(to.cast(), values, more) }
    }

    #[inline(always)]
    fn round<I: Isa>(isa: I, values: I::F) -> I::F {
        isa.round_f16(values)
    }
}

/// Values that are no NaN, so that cutting off the low half rounds to nearest even.
#[inline(always)]
fn rounding_up<I: Isa>(isa: I, values: I::F) -> I::U {
    let bits = isa.bits(values);
    let odd = isa.and(isa.shr::<16>(bits), isa.splat(1));
    isa.add(isa.add(bits, isa.splat(0x7fff)), odd)
}

/// Uniform values by way of f32. With `CLAMP`, one that rounds to `to` becomes `from_stored`.
#[derive(Clone, Copy)]
pub(super) struct Uniform<S, const CLAMP: bool> {
    pub(super) from: f32,
    /// `(to - from) / 2^24`, which must be exact.
    pub(super) scale: f32,
    /// As stored.
    pub(super) to: f32,
    pub(super) from_stored: f32,
    pub(super) sink: S,
}

#[derive(Clone, Copy)]
pub(super) struct UniformStep<I: Isa, S, const CLAMP: bool> {
    from: I::F,
    scale: I::F,
    to: I::F,
    from_stored: I::F,
    _sink: S,
}

impl<S: Sink, const CLAMP: bool> Recipe for Uniform<S, CLAMP> {
    type Item = S::Item;
    type Step<I: Isa> = UniformStep<I, S, CLAMP>;

    #[inline(always)]
    fn step<I: Isa>(&self, isa: I) -> UniformStep<I, S, CLAMP> {
        UniformStep {
            from: isa.splat_f32(self.from),
            scale: isa.splat_f32(self.scale),
            to: isa.splat_f32(self.to),
            from_stored: isa.splat_f32(self.from_stored),
            _sink: self.sink,
        }
    }
}

impl<I: Isa, S: Sink, const CLAMP: bool> Step<I> for UniformStep<I, S, CLAMP> {
    type Item = S::Item;
    const WORDS: usize = 2 * I::LANES;
    const ITEMS: usize = 2 * I::LANES;
    const STREAMS: bool = S::STREAMS;

    #[inline(always)]
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut S::Item) {
        // SAFETY: the caller promises that twice `LANES` words and items are there.
        unsafe {
            let values = self.values(isa, isa.load(raw));
            let more = self.values(isa, isa.load(raw.add(I::LANES)));
            S::store(isa, out, values, more);
        }
    }
}

impl<I: Isa, S: Sink, const CLAMP: bool> UniformStep<I, S, CLAMP> {
    #[inline(always)]
    fn values(self, isa: I, raw: I::U) -> I::F {
        let unit = isa.to_f32(isa.and(temper(isa, raw), isa.splat(BITS)));
        let value = isa.fmadd(unit, self.scale, self.from);
        if CLAMP {
            isa.replace(S::round(isa, value), self.to, self.from_stored)
        } else {
            value
        }
    }
}

/// Uniform values of f64. One equal to `to` becomes `from`.
#[derive(Clone, Copy)]
pub(super) struct UniformF64 {
    pub(super) from: f64,
    /// `(to - from) / 2^53`, which must be exact.
    pub(super) scale: f64,
    pub(super) to: f64,
}

#[derive(Clone, Copy)]
pub(super) struct UniformF64Step<I: Isa> {
    from: I::D,
    scale: I::D,
    to: I::D,
}

impl Recipe for UniformF64 {
    type Item = f64;
    type Step<I: Isa> = UniformF64Step<I>;

    #[inline(always)]
    fn step<I: Isa>(&self, isa: I) -> UniformF64Step<I> {
        UniformF64Step {
            from: isa.splat_f64(self.from),
            scale: isa.splat_f64(self.scale),
            to: isa.splat_f64(self.to),
        }
    }
}

impl<I: Isa> Step<I> for UniformF64Step<I> {
    type Item = f64;
    const WORDS: usize = I::LANES;
    const ITEMS: usize = I::LANES / 2;
    const STREAMS: bool = false;

    #[inline(always)]
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut f64) {
        // SAFETY: the caller promises that `LANES` words and half as many items are there.
        unsafe {
            let unit = isa.low_53(temper(isa, isa.load(raw)));
            let value = isa.fmadd_f64(unit, self.scale, self.from);
            isa.store_f64(out, isa.replace_f64(value, self.to, self.from));
        }
    }
}

/// Normal values by way of f32, in blocks of 16. Finite arguments, and a mean that is not -0.
#[derive(Clone, Copy)]
pub(super) struct Normal<S> {
    pub(super) mean: f32,
    pub(super) std: f32,
    pub(super) sink: S,
}

#[derive(Clone, Copy)]
pub(super) struct NormalStep<I: Isa, S> {
    mean: I::F,
    std: I::F,
    _sink: S,
}

/// The chain from word to value is long, so it is taken with wide vectors: of short ones a CPU does
/// not see enough ahead that need not wait for each other.
#[derive(Clone, Copy)]
pub(super) struct WideNormalStep<I: Isa, S>(NormalStep<I::Wide, S>);

impl<S: Sink> Recipe for Normal<S> {
    type Item = S::Item;
    type Step<I: Isa> = WideNormalStep<I, S>;

    #[inline(always)]
    fn step<I: Isa>(&self, isa: I) -> WideNormalStep<I, S> {
        WideNormalStep(self.with(isa.wide()))
    }
}

impl<S: Sink> Normal<S> {
    #[inline(always)]
    pub(super) fn with<I: Isa>(&self, isa: I) -> NormalStep<I, S> {
        NormalStep {
            mean: isa.splat_f32(self.mean),
            std: isa.splat_f32(self.std),
            _sink: self.sink,
        }
    }
}

impl<I: Isa, S: Sink> Step<I> for WideNormalStep<I, S> {
    type Item = S::Item;
    const WORDS: usize = 2 * I::Wide::LANES;
    const ITEMS: usize = 2 * I::Wide::LANES;
    const STREAMS: bool = S::STREAMS;

    #[inline(always)]
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut S::Item) {
        let isa = isa.wide();
        // SAFETY: the caller promises that twice `LANES` words and items are there.
        unsafe {
            let (values, more) = self.0.values(isa, raw);
            S::store(isa, out, values, more);
        }
    }
}

impl<I: Isa, S: Sink> NormalStep<I, S> {
    /// The values of the next `2 LANES` words.
    ///
    /// # Safety
    ///
    /// The words can be read at `raw`.
    #[inline(always)]
    pub(super) unsafe fn values(self, isa: I, raw: *const u32) -> (I::F, I::F) {
        // SAFETY: the caller's promise.
        let (words, more) = unsafe { (isa.load(raw), isa.load(raw.add(I::LANES))) };
        let (first, second) = isa.halves(temper(isa, words), temper(isa, more));
        let radius = radius(isa, first);
        let (sin, cos) = sincos(isa, second);
        let (cos, sin) = (isa.mul_f32(radius, cos), isa.mul_f32(radius, sin));
        isa.blocks(self.scaled(isa, cos), self.scaled(isa, sin))
    }

    /// One value of each pair of words: that of the second word where `which` has its highest bit
    /// set, elsewhere that of the first.
    #[inline(always)]
    pub(super) fn either(self, isa: I, (first, second): (I::U, I::U), which: I::U) -> I::F {
        let radius = radius(isa, temper(isa, first));
        let (sin, cos) = sincos(isa, temper(isa, second));
        let either = isa.select(which, sin, cos);
        self.scaled(isa, isa.mul_f32(radius, either))
    }

    #[inline(always)]
    fn scaled(self, isa: I, standard: I::F) -> I::F {
        isa.fmadd(standard, self.std, self.mean)
    }
}

/// `sqrt(-2 log(1 - u))` of the uniform value that a word makes. Everything is -2 times what
/// [`box_muller`](super::box_muller) has, which also makes a zero positive.
#[inline(always)]
fn radius<I: Isa>(isa: I, word: I::U) -> I::F {
    let splat = |value| isa.splat_f32(value);
    // The bits of sqrt(1/2), and that as an integer of 24 bits more.
    let half = isa.splat(0x3f35_04f3);
    let half_scaled = isa.splat(0x3f35_04f3 + (24 << 23));
    let rest = isa.sub(isa.splat(1 << 24), isa.and(word, isa.splat(BITS)));
    let above = isa.sub(isa.bits(isa.to_f32(rest)), half_scaled);
    let exponent = isa.to_f32(isa.sar::<23>(above));
    let mantissa = isa.add(isa.and(above, isa.splat(0x007f_ffff)), half);
    // All lanes of a wide vector in step from here on: left to itself, the compiler takes one part
    // after the other, and each waits for itself.
    let x = isa.opaque(isa.sub_f32(isa.with_bits(mantissa), splat(1.0)));
    let z = isa.mul_f32(x, x);
    let mut y = splat(-2.0 * LOG[0]);
    let mut power = 1;
    while power < LOG.len() {
        y = isa.opaque(isa.fmadd(y, x, splat(-2.0 * LOG[power])));
        power += 1;
    }
    y = isa.mul_f32(y, x);
    y = isa.fmadd(y, z, isa.mul_f32(exponent, splat(-2.0 * LN_2[0])));
    y = isa.add_f32(y, z);
    let log = isa.fmadd(x, splat(-2.0), y);
    isa.sqrt(isa.fmadd(exponent, splat(-2.0 * LN_2[1]), log))
}

/// Sine and cosine of `2 pi u` of the uniform value that a word makes.
#[inline(always)]
fn sincos<I: Isa>(isa: I, word: I::U) -> (I::F, I::F) {
    let splat = |value| isa.splat_f32(value);
    const ANGLE: f32 = (2.0 * PI) as f32 / 16_777_216.0;
    let word = isa.and(word, isa.splat(BITS));
    // Quarters of a turn, rounded.
    let quarters = isa.shr::<22>(isa.add(word, isa.splat(1 << 21)));
    let count = isa.to_f32(quarters);
    let mut x = isa.mul_f32(isa.to_f32(word), splat(ANGLE));
    x = isa.fmadd(count, splat(2.0 * MINUS_QUARTER_PI[0]), x);
    x = isa.fmadd(count, splat(2.0 * MINUS_QUARTER_PI[1]), x);
    x = isa.fmadd(count, splat(2.0 * MINUS_QUARTER_PI[2]), x);
    let z = isa.mul_f32(x, x);

    let mut near_one = isa.fmadd(splat(2.0 * COS[0]), z, splat(2.0 * COS[1]));
    near_one = isa.mul_f32(isa.fmadd(near_one, z, splat(2.0 * COS[2])), z);
    near_one = isa.fmsub(near_one, z, z);
    near_one = isa.fmadd(near_one, splat(0.5), splat(1.0));
    let mut near_zero = isa.fmadd(splat(SIN[0]), z, splat(SIN[1]));
    near_zero = isa.mul_f32(isa.fmadd(near_zero, z, splat(SIN[2])), z);
    near_zero = isa.fmadd(near_zero, x, x);

    // The highest bit says whether the quarter is an odd one. A compiler that knew where it comes
    // from would compare instead.
    let odd = isa.bits(isa.opaque(isa.with_bits(isa.shl::<31>(quarters))));
    let sin = isa.select(odd, near_one, near_zero);
    let cos = isa.select(odd, near_zero, near_one);
    // The sine is negative in the second half turn, the cosine in its middle quarters.
    let sin_sign = isa.and(isa.shl::<30>(quarters), isa.splat(0x8000_0000));
    let cos_sign = isa.xor(odd, sin_sign);
    (
        isa.with_bits(isa.xor(isa.bits(sin), sin_sign)),
        isa.with_bits(isa.xor(isa.bits(cos), cos_sign)),
    )
}

#[cfg(test)]
mod tests;
