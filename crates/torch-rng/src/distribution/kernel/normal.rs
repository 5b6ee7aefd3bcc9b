//! Normal values, a vector at a time.
//!
//! The way from words to values is long, and most of its instructions wait for the one before. So
//! it is cut into stages, and a loop takes several vectors along, each a stage behind the next.

use super::{BITS, Sink, low_bits};
use crate::arch::Isa;
use crate::cephes::{COS, LN_2, LOG, MINUS_QUARTER_PI, SIN};
use crate::stream::{Recipe, SLACK, Step, one_by_one};
use std::f64::consts::PI;

/// Normal values by way of f32, in blocks of 16. Finite arguments, and a mean that is not -0.
#[derive(Clone, Copy)]
pub(crate) struct Normal<S> {
    pub(crate) mean: f32,
    pub(crate) std: f32,
    pub(crate) sink: S,
}

#[derive(Clone, Copy)]
pub(crate) struct NormalStep<I: Isa, S> {
    mean: I::F,
    std: I::F,
    _sink: S,
}

/// With wide vectors where stages are not kept: while one part waits, another is calculated.
#[derive(Clone, Copy)]
pub(crate) struct WideNormalStep<I: Isa, S>(NormalStep<I::Wide, S>);

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
    pub(crate) fn with<I: Isa>(&self, isa: I) -> NormalStep<I, S> {
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

    #[inline(always)]
    unsafe fn steps(self, isa: I, raw: *const u32, out: *mut S::Item, count: usize) {
        if !I::KEEPS_STAGES {
            // SAFETY: the caller's promise.
            return unsafe { one_by_one(self, isa, raw, out, count) };
        }
        const { assert!(3 * Self::WORDS <= SLACK) };
        let isa = isa.wide();
        // SAFETY: the caller promises the words and items of so many steps, and `SLACK` words behind
        // them: the stages run three steps ahead, and what they read there comes to nothing.
        unsafe {
            let mut squared = begin(isa, raw).halfway(isa).squared(isa);
            let mut halfway = begin(isa, raw.add(Self::WORDS)).halfway(isa);
            let mut begun = begin(isa, raw.add(2 * Self::WORDS));
            for i in 0..count {
                self.0.store(isa, squared, out.add(i * Self::ITEMS));
                squared = halfway.squared(isa);
                halfway = begun.halfway(isa);
                begun = begin(isa, raw.add((i + 3) * Self::WORDS));
            }
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
    pub(crate) unsafe fn values(self, isa: I, raw: *const u32) -> (I::F, I::F) {
        // SAFETY: the caller's promise.
        let (first, second) = unsafe { isa.load_blocks(raw) };
        let (first, second) = (low_bits(isa, first), low_bits(isa, second));
        // All of the radius before the angle: in the order of the stages, more is kept at a time than
        // AVX2 has registers for, and values take a tenth longer.
        let radius = isa.sqrt(squared_radius(isa, first));
        let (sin, cos) = sincos(isa, second);
        self.blocks(isa, radius, (sin, cos))
    }

    /// # Safety
    ///
    /// `2 LANES` items can be written at `out`.
    #[inline(always)]
    unsafe fn store(self, isa: I, squared: Squared<I>, out: *mut S::Item) {
        let radius = isa.sqrt(squared.radius);
        let (values, more) = self.blocks(isa, radius, (squared.sin, squared.cos));
        // SAFETY: the caller's promise.
        unsafe { S::store(isa, out, values, more) }
    }

    #[inline(always)]
    fn blocks(self, isa: I, radius: I::F, (sin, cos): (I::F, I::F)) -> (I::F, I::F) {
        let (cos, sin) = (isa.mul_f32(radius, cos), isa.mul_f32(radius, sin));
        isa.blocks(self.scaled(isa, cos), self.scaled(isa, sin))
    }

    /// One value of each pair of words: that of the second word where `which` has its highest bit
    /// set, elsewhere that of the first.
    #[inline(always)]
    pub(crate) fn either(self, isa: I, (first, second): (I::U, I::U), which: I::U) -> I::F {
        let radius = isa.sqrt(squared_radius(isa, low_bits(isa, first)));
        let (sin, cos) = sincos(isa, low_bits(isa, second));
        self.scaled(isa, isa.mul_f32(radius, isa.select(which, sin, cos)))
    }

    #[inline(always)]
    fn scaled(self, isa: I, standard: I::F) -> I::F {
        isa.fmadd(standard, self.std, self.mean)
    }
}

/// What the words of blocks are at first: parts of the first halves' logarithms, and the second
/// halves' angles.
#[derive(Clone, Copy)]
struct Begun<I: Isa> {
    mantissa: I::F,
    exponent: I::F,
    angle: I::U,
}

/// With the longest chain of the logarithm behind it.
#[derive(Clone, Copy)]
struct Halfway<I: Isa> {
    mantissa: I::F,
    polynomial: I::F,
    exponent: I::F,
    sin: I::F,
    cos: I::F,
}

/// The square of the radius, and the direction.
#[derive(Clone, Copy)]
struct Squared<I: Isa> {
    radius: I::F,
    sin: I::F,
    cos: I::F,
}

/// # Safety
///
/// `2 LANES` words can be read at `raw`.
#[inline(always)]
unsafe fn begin<I: Isa>(isa: I, raw: *const u32) -> Begun<I> {
    // SAFETY: the caller's promise.
    let (first, second) = unsafe { isa.load_blocks(raw) };
    let (first, angle) = (low_bits(isa, first), low_bits(isa, second));
    let (mantissa, exponent) = begin_log(isa, first);
    Begun {
        mantissa,
        exponent,
        angle,
    }
}

impl<I: Isa> Begun<I> {
    #[inline(always)]
    fn halfway(self, isa: I) -> Halfway<I> {
        let polynomial = polynomial(isa, self.mantissa);
        let (sin, cos) = sincos(isa, self.angle);
        Halfway {
            mantissa: self.mantissa,
            polynomial,
            exponent: self.exponent,
            sin,
            cos,
        }
    }
}

impl<I: Isa> Halfway<I> {
    #[inline(always)]
    fn squared(self, isa: I) -> Squared<I> {
        Squared {
            radius: end_log(isa, self.mantissa, self.polynomial, self.exponent),
            sin: self.sin,
            cos: self.cos,
        }
    }
}

/// `-2 log(1 - u)` of the uniform value that a word makes. Everything is -2 times what
/// [`box_muller`](crate::box_muller) has, which also makes a zero positive.
#[inline(always)]
fn squared_radius<I: Isa>(isa: I, word: I::U) -> I::F {
    let (mantissa, exponent) = begin_log(isa, word);
    end_log(isa, mantissa, polynomial(isa, mantissa), exponent)
}

/// `1 - u` as a mantissa between `sqrt(1/2)` and `sqrt(2)`, less 1, and an exponent.
#[inline(always)]
fn begin_log<I: Isa>(isa: I, word: I::U) -> (I::F, I::F) {
    // The bits of sqrt(1/2), and that as an integer of 24 bits more.
    const HALF: u32 = 0x3f35_04f3;
    const HALF_SCALED: u32 = HALF + (24 << 23);
    let rest = isa.sub(isa.splat(1 << 24), word);
    let above = isa.bits(isa.to_f32(rest));
    let above = isa.sub(above, isa.splat(HALF_SCALED - I::EXPONENT_BIAS));
    let exponent = isa.exponent(above);
    let mantissa = isa.and(above, isa.splat(0x007f_ffff));
    let mantissa = isa.with_bits(isa.add(mantissa, isa.splat(HALF)));
    // All lanes of a wide vector in step from here on: left to itself, the compiler takes one part
    // after the other, and each waits for itself.
    let mantissa = isa.opaque(isa.sub_f32(mantissa, isa.splat_f32(1.0)));
    (mantissa, exponent)
}

#[inline(always)]
fn polynomial<I: Isa>(isa: I, x: I::F) -> I::F {
    let mut y = isa.splat_f32(-2.0 * LOG[0]);
    let mut power = 1;
    while power < LOG.len() {
        y = isa.opaque(isa.fmadd(y, x, isa.splat_f32(-2.0 * LOG[power])));
        power += 1;
    }
    y
}

#[inline(always)]
fn end_log<I: Isa>(isa: I, x: I::F, polynomial: I::F, exponent: I::F) -> I::F {
    let splat = |value| isa.splat_f32(value);
    let z = isa.mul_f32(x, x);
    let mut y = isa.mul_f32(polynomial, x);
    y = isa.fmadd(y, z, isa.mul_f32(exponent, splat(-2.0 * LN_2[0])));
    y = isa.add_f32(y, z);
    let log = isa.fmadd(x, splat(-2.0), y);
    isa.fmadd(exponent, splat(-2.0 * LN_2[1]), log)
}

/// Sine and cosine of `2 pi u` of the uniform value that a word makes.
#[inline(always)]
fn sincos<I: Isa>(isa: I, word: I::U) -> (I::F, I::F) {
    let splat = |value| isa.splat_f32(value);
    const ANGLE: f32 = (2.0 * PI) as f32 / (BITS + 1) as f32;
    // An eighth of a turn on, the highest two bits are the quarters of a turn, rounded.
    let eighth_on = isa.add(word, isa.splat(1 << 21));
    let quarters = isa.to_f32(isa.shr::<22>(eighth_on));
    let mut x = isa.mul_f32(isa.to_f32(word), splat(ANGLE));
    x = isa.fmadd(quarters, splat(2.0 * MINUS_QUARTER_PI[0]), x);
    x = isa.fmadd(quarters, splat(2.0 * MINUS_QUARTER_PI[1]), x);
    x = isa.fmadd(quarters, splat(2.0 * MINUS_QUARTER_PI[2]), x);
    let z = isa.mul_f32(x, x);

    let mut near_one = isa.fmadd(splat(2.0 * COS[0]), z, splat(2.0 * COS[1]));
    near_one = isa.mul_f32(isa.fmadd(near_one, z, splat(2.0 * COS[2])), z);
    near_one = isa.fmsub(near_one, z, z);
    near_one = isa.fmadd(near_one, splat(0.5), splat(1.0));
    let mut near_zero = isa.fmadd(splat(SIN[0]), z, splat(SIN[1]));
    near_zero = isa.mul_f32(isa.fmadd(near_zero, z, splat(SIN[2])), z);
    near_zero = isa.fmadd(near_zero, x, x);
    isa.quadrant::<22>(eighth_on, near_one, near_zero)
}
