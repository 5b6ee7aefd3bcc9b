//! Uniform values, a vector at a time, and where they go.
//!
//! The arithmetic is that of [`uniform`](super::uniform) and [`box_muller`](crate::box_muller) with
//! factors that are powers of two moved to where they cost nothing: that shifts exponents, and
//! rounds nothing differently as long as nothing underflows. What could is left to the scalar code.

use crate::arch::Isa;
use crate::stream::{Recipe, Step, temper};
use half::{bf16, f16};

mod normal;

pub(crate) use normal::Normal;

/// The low bits of a word that make an f32.
const BITS: u32 = 0xff_ffff;

/// Where values of f32 go.
pub(crate) trait Sink: Copy {
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
pub(crate) struct Stored;

/// f32, past the caches.
#[derive(Clone, Copy)]
pub(crate) struct Streamed;

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

/// What a raw word is drawn as, as far as an f32 is made of it.
#[inline(always)]
fn low_bits<I: Isa>(isa: I, raw: I::U) -> I::U {
    isa.and(temper(isa, raw), isa.splat(BITS))
}

/// Uniform values by way of f32. With `CLAMP`, one that rounds to `to` becomes `from_stored`.
#[derive(Clone, Copy)]
pub(crate) struct Uniform<S, const CLAMP: bool> {
    pub(crate) from: f32,
    /// `(to - from) / 2^24`, which must be exact.
    pub(crate) scale: f32,
    /// As stored.
    pub(crate) to: f32,
    pub(crate) from_stored: f32,
    pub(crate) sink: S,
}

#[derive(Clone, Copy)]
pub(crate) struct UniformStep<I: Isa, S, const CLAMP: bool> {
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
        let unit = isa.to_f32(low_bits(isa, raw));
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
pub(crate) struct UniformF64 {
    pub(crate) from: f64,
    /// `(to - from) / 2^53`, which must be exact.
    pub(crate) scale: f64,
    pub(crate) to: f64,
}

#[derive(Clone, Copy)]
pub(crate) struct UniformF64Step<I: Isa> {
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

#[cfg(test)]
mod tests;
