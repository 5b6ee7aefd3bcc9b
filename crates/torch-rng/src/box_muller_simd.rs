//! The Box-Muller transform in f32, a vector at a time.
//!
//! The arithmetic is that of [`box_muller`](crate::box_muller) with powers of two moved to where they
//! cost nothing. That shifts exponents and rounds nothing differently as long as nothing underflows.
//! A mean of -0 and arguments that are not finite could differ and are left to the scalar code.
//!
//! The chain from a word to a value is long, and most of its instructions depend on the previous one.
//! It is therefore cut into stages, so that a loop can advance several vectors, each at another stage.

use crate::arch::{Isa, Portable, Unrolled2, both};
use crate::box_muller::{COS, LN_2, LOG, MINUS_QUARTER_PI, SIN};
use crate::element::ElementIsa;
use crate::twist::temper_low_24;
use std::array::from_fn;
use std::f64::consts::PI;

/// What the transform needs of an instruction set.
pub trait BoxMullerIsa: ElementIsa {
    /// The vectors that a normal value is computed with: wide enough to hide latencies where
    /// [stages](Self::USES_STAGES) are not used.
    type Wide: BoxMullerIsa;

    /// Whether the CPU has registers for several vectors, each at another stage of the transform.
    const USES_STAGES: bool;
    /// Subtracted from the bits of a float before [`exponent`](Self::exponent) reads them.
    const EXPONENT_BIAS: u32 = 0;

    fn wide(self) -> Self::Wide;

    fn sub(self, a: Self::U, b: Self::U) -> Self::U;
    fn add_f32(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul_f32(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b - c`, rounded once.
    fn fmsub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `ones` where `mask` has its highest bit set, elsewhere `zeros`.
    fn select(self, mask: Self::U, ones: Self::F, zeros: Self::F) -> Self::F;
    /// `(bits - EXPONENT_BIAS) >> 23` of signed integers, between -126 and 127.
    fn exponent(self, bits: Self::U) -> Self::F;
    /// Returns `a` in a way that the compiler cannot see through, which keeps the lanes of wide
    /// vectors in step: what precedes is computed in all lanes before what follows in any. Plain `a`
    /// is correct too.
    #[inline(always)]
    fn opaque(self, a: Self::F) -> Self::F {
        a
    }
    /// The sine and cosine of an angle whose nearest quarter turn is the 2-bit number at `BIT` of
    /// `angle`; `near_one` and `near_zero` are the cosine and sine of the remainder.
    fn quadrant<const BIT: u32>(
        self,
        angle: Self::U,
        near_one: Self::F,
        near_zero: Self::F,
    ) -> (Self::F, Self::F);

    /// The first halves of blocks of 16 words, and the second halves.
    ///
    /// # Safety
    ///
    /// `2 LANES` words can be read at `from`.
    unsafe fn load_blocks(self, from: *const u32) -> (Self::U, Self::U);
    /// Assembles blocks of 16 from their first and second halves.
    fn blocks(self, first: Self::F, second: Self::F) -> (Self::F, Self::F);
}

/// The transform with its mean and standard deviation in vectors.
#[derive(Clone, Copy)]
pub(crate) struct BoxMuller<I: Isa> {
    mean: I::F,
    std: I::F,
}

impl<I: BoxMullerIsa> BoxMuller<I> {
    /// Both arguments are finite, and the mean is not -0.
    #[inline(always)]
    pub(crate) fn new(isa: I, mean: f32, std: f32) -> BoxMuller<I> {
        BoxMuller {
            mean: isa.splat_f32(mean),
            std: isa.splat_f32(std),
        }
    }

    /// The values of the next `2 LANES` raw words.
    ///
    /// # Safety
    ///
    /// The words can be read at `raw`.
    #[inline(always)]
    pub(crate) unsafe fn values(self, isa: I, raw: *const u32) -> (I::F, I::F) {
        // SAFETY: the caller's promise.
        let (first, second) = unsafe { isa.load_blocks(raw) };
        let (first, second) = (temper_low_24(isa, first), temper_low_24(isa, second));
        // The whole radius before the angle: in the order of the stages, more values are live than
        // AVX2 has registers for, and a value takes a tenth longer.
        let radius = isa.sqrt(squared_radius(isa, first));
        let (sin, cos) = sincos(isa, second);
        self.blocks(isa, radius, (sin, cos))
    }

    /// The values of a transform whose stages are done.
    #[inline(always)]
    pub(crate) fn finish(self, isa: I, polar: Polar<I>) -> (I::F, I::F) {
        let radius = isa.sqrt(polar.squared_radius);
        self.blocks(isa, radius, (polar.sin, polar.cos))
    }

    #[inline(always)]
    fn blocks(self, isa: I, radius: I::F, (sin, cos): (I::F, I::F)) -> (I::F, I::F) {
        let (cos, sin) = (isa.mul_f32(radius, cos), isa.mul_f32(radius, sin));
        isa.blocks(self.scaled(isa, cos), self.scaled(isa, sin))
    }

    /// One value of each pair of raw words: the second where `which` has its highest bit set,
    /// elsewhere the first.
    #[inline(always)]
    pub(crate) fn either(self, isa: I, (first, second): (I::U, I::U), which: I::U) -> I::F {
        let radius = isa.sqrt(squared_radius(isa, temper_low_24(isa, first)));
        let (sin, cos) = sincos(isa, temper_low_24(isa, second));
        self.scaled(isa, isa.mul_f32(radius, isa.select(which, sin, cos)))
    }

    #[inline(always)]
    fn scaled(self, isa: I, standard: I::F) -> I::F {
        isa.fmadd(standard, self.std, self.mean)
    }
}

/// Stage 1 of blocks: mantissa and exponent of the first halves' logarithms, and the second halves'
/// angles.
#[derive(Clone, Copy)]
pub(crate) struct Loaded<I: Isa> {
    mantissa: I::F,
    exponent: I::F,
    angle: I::U,
}

/// Stage 2: the longest chain of the logarithm is done, and the direction known.
#[derive(Clone, Copy)]
pub(crate) struct Halfway<I: Isa> {
    mantissa: I::F,
    polynomial: I::F,
    exponent: I::F,
    sin: I::F,
    cos: I::F,
}

/// Stage 3: the squared radius and the direction.
#[derive(Clone, Copy)]
pub(crate) struct Polar<I: Isa> {
    squared_radius: I::F,
    sin: I::F,
    cos: I::F,
}

/// Runs stage 1 on the next `2 LANES` raw words.
///
/// # Safety
///
/// The words can be read at `raw`.
#[inline(always)]
pub(crate) unsafe fn load<I: BoxMullerIsa>(isa: I, raw: *const u32) -> Loaded<I> {
    // SAFETY: the caller's promise.
    let (first, second) = unsafe { isa.load_blocks(raw) };
    let (first, angle) = (temper_low_24(isa, first), temper_low_24(isa, second));
    let (mantissa, exponent) = split(isa, first);
    Loaded {
        mantissa,
        exponent,
        angle,
    }
}

impl<I: BoxMullerIsa> Loaded<I> {
    /// Runs stage 2.
    #[inline(always)]
    pub(crate) fn halfway(self, isa: I) -> Halfway<I> {
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

impl<I: BoxMullerIsa> Halfway<I> {
    /// Runs stage 3.
    #[inline(always)]
    pub(crate) fn polar(self, isa: I) -> Polar<I> {
        Polar {
            squared_radius: combine(isa, self.mantissa, self.polynomial, self.exponent),
            sin: self.sin,
            cos: self.cos,
        }
    }
}

/// `-2 log(1 - u)` of the uniform value of a word. All terms are -2 times those of the scalar code,
/// which also turns a zero positive.
#[inline(always)]
fn squared_radius<I: BoxMullerIsa>(isa: I, word: I::U) -> I::F {
    let (mantissa, exponent) = split(isa, word);
    combine(isa, mantissa, polynomial(isa, mantissa), exponent)
}

/// Splits `1 - u` into a mantissa between `sqrt(1/2)` and `sqrt(2)`, minus 1, and an exponent.
#[inline(always)]
fn split<I: BoxMullerIsa>(isa: I, word: I::U) -> (I::F, I::F) {
    // The bits of sqrt(1/2), and of its product with 2^24.
    const HALF: u32 = 0x3f35_04f3;
    const HALF_SCALED: u32 = HALF + (24 << 23);
    let complement = isa.sub(isa.splat(1 << 24), word);
    let above = isa.bits(isa.to_f32(complement));
    let above = isa.sub(above, isa.splat(HALF_SCALED - I::EXPONENT_BIAS));
    let exponent = isa.exponent(above);
    let mantissa = isa.and(above, isa.splat(0x007f_ffff));
    let mantissa = isa.from_bits(isa.add(mantissa, isa.splat(HALF)));
    // Without `opaque` the compiler computes one part of a wide vector after the other, and each
    // waits for itself.
    let mantissa = isa.opaque(isa.add_f32(mantissa, isa.splat_f32(-1.0)));
    (mantissa, exponent)
}

#[inline(always)]
fn polynomial<I: BoxMullerIsa>(isa: I, x: I::F) -> I::F {
    let mut y = isa.splat_f32(-2.0 * LOG[0]);
    let mut power = 1;
    while power < LOG.len() {
        y = isa.opaque(isa.fmadd(y, x, isa.splat_f32(-2.0 * LOG[power])));
        power += 1;
    }
    y
}

/// The logarithm, times -2, from its parts.
#[inline(always)]
fn combine<I: BoxMullerIsa>(isa: I, x: I::F, polynomial: I::F, exponent: I::F) -> I::F {
    let splat = |value| isa.splat_f32(value);
    let z = isa.mul_f32(x, x);
    let mut y = isa.mul_f32(polynomial, x);
    y = isa.fmadd(y, z, isa.mul_f32(exponent, splat(-2.0 * LN_2[0])));
    y = isa.add_f32(y, z);
    let log = isa.fmadd(x, splat(-2.0), y);
    isa.fmadd(exponent, splat(-2.0 * LN_2[1]), log)
}

/// The sine and cosine of `2 pi u` of the uniform value of a word.
#[inline(always)]
fn sincos<I: BoxMullerIsa>(isa: I, word: I::U) -> (I::F, I::F) {
    let splat = |value| isa.splat_f32(value);
    const ANGLE: f32 = (2.0 * PI) as f32 / 16_777_216.0;
    // After adding an eighth of a turn, the highest two bits are the quarter turns, rounded.
    let shifted = isa.add(word, isa.splat(1 << 21));
    let quarters = isa.to_f32(isa.shr::<22>(shifted));
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
    isa.quadrant::<22>(shifted, near_one, near_zero)
}

impl<const L: usize> BoxMullerIsa for Portable<L> {
    type Wide = Unrolled2<Portable<L>>;

    /// Both ways are tested.
    const USES_STAGES: bool = L == 16;

    #[inline(always)]
    fn wide(self) -> Unrolled2<Portable<L>> {
        Unrolled2(self)
    }

    #[inline(always)]
    fn sub(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn add_f32(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn mul_f32(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn fmsub(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i].mul_add(b[i], -c[i]))
    }

    #[inline(always)]
    fn sqrt(self, a: [f32; L]) -> [f32; L] {
        a.map(f32::sqrt)
    }

    #[inline(always)]
    fn select(self, mask: [u32; L], ones: [f32; L], zeros: [f32; L]) -> [f32; L] {
        from_fn(|i| {
            if mask[i] >> 31 == 0 {
                zeros[i]
            } else {
                ones[i]
            }
        })
    }

    #[inline(always)]
    fn exponent(self, bits: [u32; L]) -> [f32; L] {
        bits.map(|bits| (bits as i32 >> 23) as f32)
    }

    #[inline(always)]
    fn quadrant<const BIT: u32>(
        self,
        angle: [u32; L],
        near_one: [f32; L],
        near_zero: [f32; L],
    ) -> ([f32; L], [f32; L]) {
        let odd = angle.map(|angle| angle >> BIT & 1);
        let half = angle.map(|angle| angle >> (BIT + 1) & 1);
        let either = |odd: u32, i: usize| if odd == 1 { near_one[i] } else { near_zero[i] };
        let signed = |value: f32, minus: u32| if minus == 1 { -value } else { value };
        (
            from_fn(|i| signed(either(odd[i], i), half[i])),
            from_fn(|i| signed(either(1 - odd[i], i), half[i] ^ odd[i])),
        )
    }

    #[inline(always)]
    unsafe fn load_blocks(self, from: *const u32) -> ([u32; L], [u32; L]) {
        // SAFETY: the caller's promise.
        let words = unsafe { from.cast::<[[u32; L]; 2]>().read_unaligned() };
        let words = words.as_flattened();
        (
            from_fn(|i| words[i / 8 * 16 + i % 8]),
            from_fn(|i| words[i / 8 * 16 + i % 8 + 8]),
        )
    }

    #[inline(always)]
    fn blocks(self, first: [f32; L], second: [f32; L]) -> ([f32; L], [f32; L]) {
        let value = |i: usize| {
            let half = if i % 16 < 8 { first } else { second };
            half[i / 16 * 8 + i % 8]
        };
        (from_fn(value), from_fn(|i| value(i + L)))
    }
}

impl<I: BoxMullerIsa> BoxMullerIsa for Unrolled2<I> {
    type Wide = Unrolled2<I>;

    const USES_STAGES: bool = I::USES_STAGES;
    const EXPONENT_BIAS: u32 = I::EXPONENT_BIAS;

    #[inline(always)]
    fn wide(self) -> Unrolled2<I> {
        self
    }

    both! {
        sub(a: U, b: U) -> U;
        add_f32(a: F, b: F) -> F;
        mul_f32(a: F, b: F) -> F;
        fmsub(a: F, b: F, c: F) -> F;
        sqrt(a: F) -> F;
        select(mask: U, ones: F, zeros: F) -> F;
        exponent(bits: U) -> F;
        opaque(a: F) -> F;
    }

    #[inline(always)]
    fn quadrant<const BIT: u32>(
        self,
        angle: Self::U,
        near_one: Self::F,
        near_zero: Self::F,
    ) -> (Self::F, Self::F) {
        let quadrant = |angle, one, zero| self.0.quadrant::<BIT>(angle, one, zero);
        let low = quadrant(angle.0, near_one.0, near_zero.0);
        let high = quadrant(angle.1, near_one.1, near_zero.1);
        ((low.0, high.0), (low.1, high.1))
    }

    #[inline(always)]
    unsafe fn load_blocks(self, from: *const u32) -> (Self::U, Self::U) {
        // SAFETY: the caller promises that the words of both can be read.
        let (low, high) = unsafe {
            (
                self.0.load_blocks(from),
                self.0.load_blocks(from.add(2 * I::LANES)),
            )
        };
        ((low.0, high.0), (low.1, high.1))
    }

    #[inline(always)]
    fn blocks(self, first: Self::F, second: Self::F) -> (Self::F, Self::F) {
        (
            self.0.blocks(first.0, second.0),
            self.0.blocks(first.1, second.1),
        )
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::BoxMullerIsa;
    use crate::arch::{Avx2, Avx512, Isa, Unrolled2, instructions};
    use std::arch::asm;
    use std::arch::x86_64::*;

    impl BoxMullerIsa for Avx2 {
        type Wide = Unrolled2<Unrolled2<Avx2>>;

        const USES_STAGES: bool = false;

        #[inline(always)]
        fn wide(self) -> Unrolled2<Unrolled2<Avx2>> {
            Unrolled2(Unrolled2(self))
        }

        instructions! {
            sub(a: U, b: U) -> U = _mm256_sub_epi32(a, b);
            add_f32(a: F, b: F) -> F = _mm256_add_ps(a, b);
            mul_f32(a: F, b: F) -> F = _mm256_mul_ps(a, b);
            fmsub(a: F, b: F, c: F) -> F = _mm256_fmsub_ps(a, b, c);
            sqrt(a: F) -> F = _mm256_sqrt_ps(a);
            select(mask: U, ones: F, zeros: F) -> F =
                _mm256_blendv_ps(zeros, ones, _mm256_castsi256_ps(mask));
            exponent(bits: U) -> F = _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(bits));
        }

        #[inline(always)]
        fn opaque(self, a: __m256) -> __m256 {
            /// The compiler does not look into assembly, even if it is empty, and keeps its order.
            #[inline]
            #[target_feature(enable = "avx2")]
            fn through_assembly(mut a: __m256) -> __m256 {
                // SAFETY: the assembly is a comment.
                unsafe {
                    asm!("/* {} */", inout(ymm_reg) a, options(nomem, nostack, preserves_flags));
                }
                a
            }
            // SAFETY: `self` proves that the CPU has the registers.
            unsafe { through_assembly(a) }
        }

        #[inline(always)]
        fn quadrant<const BIT: u32>(
            self,
            angle: __m256i,
            near_one: __m256,
            near_zero: __m256,
        ) -> (__m256, __m256) {
            let above = self.shr::<BIT>(angle);
            // The highest bit says whether the quarter is odd. A compiler that saw where it comes
            // from would compare instead.
            let odd = self.bits(self.opaque(self.from_bits(self.shl::<31>(above))));
            let sin = self.select(odd, near_one, near_zero);
            let cos = self.select(odd, near_zero, near_one);
            // The sine is negative in the second half turn, the cosine in its middle quarters.
            let sin_sign = self.and(self.shl::<30>(above), self.splat(0x8000_0000));
            let cos_sign = self.xor(odd, sin_sign);
            (
                self.from_bits(self.xor(self.bits(sin), sin_sign)),
                self.from_bits(self.xor(self.bits(cos), cos_sign)),
            )
        }

        #[inline(always)]
        unsafe fn load_blocks(self, from: *const u32) -> (__m256i, __m256i) {
            // SAFETY: the caller promises that the words can be read. A register is half a block.
            unsafe { (self.load(from), self.load(from.add(Self::LANES))) }
        }

        #[inline(always)]
        fn blocks(self, first: __m256, second: __m256) -> (__m256, __m256) {
            (first, second)
        }
    }

    impl BoxMullerIsa for Avx512 {
        type Wide = Avx512;

        const USES_STAGES: bool = true;
        /// That of f32.
        const EXPONENT_BIAS: u32 = 127 << 23;

        #[inline(always)]
        fn wide(self) -> Avx512 {
            self
        }

        instructions! {
            sub(a: U, b: U) -> U = _mm512_sub_epi32(a, b);
            add_f32(a: F, b: F) -> F = _mm512_add_ps(a, b);
            mul_f32(a: F, b: F) -> F = _mm512_mul_ps(a, b);
            fmsub(a: F, b: F, c: F) -> F = _mm512_fmsub_ps(a, b, c);
            sqrt(a: F) -> F = _mm512_sqrt_ps(a);
            select(mask: U, ones: F, zeros: F) -> F =
                _mm512_mask_mov_ps(zeros, _mm512_movepi32_mask(mask), ones);
            exponent(bits: U) -> F = _mm512_getexp_ps(_mm512_castsi512_ps(bits));
        }

        #[inline(always)]
        fn quadrant<const BIT: u32>(
            self,
            angle: __m512i,
            near_one: __m512,
            near_zero: __m512,
        ) -> (__m512, __m512) {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe {
                let odd = _mm512_test_epi32_mask(angle, _mm512_set1_epi32(1 << BIT));
                let second_half = _mm512_test_epi32_mask(angle, _mm512_set1_epi32(2 << BIT));
                let sin = _mm512_mask_mov_ps(near_zero, odd, near_one);
                let cos = _mm512_mask_mov_ps(near_one, odd, near_zero);
                // The sine is negative in the second half turn, the cosine in its middle quarters.
                let minus = _mm512_set1_ps(-0.0);
                (
                    _mm512_mask_xor_ps(sin, second_half, sin, minus),
                    _mm512_mask_xor_ps(cos, second_half ^ odd, cos, minus),
                )
            }
        }

        #[inline(always)]
        unsafe fn load_blocks(self, from: *const u32) -> (__m512i, __m512i) {
            // SAFETY: as above; the caller promises that the words can be read. Inserting from
            // memory is a load, whereas shuffling registers is not.
            unsafe {
                let half = |i: usize| _mm256_loadu_si256(from.add(8 * i).cast());
                let halves = |low: usize, high: usize| {
                    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(half(low)), half(high))
                };
                (halves(0, 2), halves(1, 3))
            }
        }

        #[inline(always)]
        fn blocks(self, first: __m512, second: __m512) -> (__m512, __m512) {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe {
                (
                    _mm512_shuffle_f32x4::<0b01_00_01_00>(first, second),
                    _mm512_shuffle_f32x4::<0b11_10_11_10>(first, second),
                )
            }
        }
    }
}
