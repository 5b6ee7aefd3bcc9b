//! The types that draws are computed in, one value or one vector at a time.

use crate::arch::{Halved, Isa, Portable, Unrolled2, both};
use crate::box_muller;
use crate::mt19937::Mt19937;
use crate::twist::{temper, temper_low_24};
use std::array::from_fn;
use std::ops::Sub;

/// What uniform values need of an instruction set.
pub trait OpmathIsa: Isa {
    /// `LANES / 2` values of f64.
    type D: Copy;

    /// Copies a value into every lane.
    fn splat_f64(self, value: f64) -> Self::D;
    /// The low 53 bits of pairs of words, the first word of a pair being the high half.
    fn low_53(self, words: Self::U) -> Self::D;
    /// `a * b + c`, rounded once.
    fn fmadd_f64(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
    /// `with` where `a` equals `what`, elsewhere `a`.
    fn replace(self, a: Self::F, what: Self::F, with: Self::F) -> Self::F;
    /// `with` where `a` equals `what`, elsewhere `a`.
    fn replace_f64(self, a: Self::D, what: Self::D, with: Self::D) -> Self::D;
}

/// `at::opmath_type`: f32 or f64.
pub trait Opmath: Copy + PartialOrd + Send + Sync + Sub<Output = Self> {
    /// The words that one uniform value consumes.
    const WORDS: u64;
    /// The bits of those words that make the value: as many as a mantissa has.
    const UNIT_BITS: u32;

    /// A vector of `LANES / WORDS` values.
    type Vector<I: OpmathIsa>: Copy;

    fn from_f64(value: f64) -> Self;
    fn is_finite(self) -> bool;
    fn is_normal(self) -> bool;
    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `self / 2^UNIT_BITS`.
    fn unit(self) -> Self;

    /// `uniform_real_distribution(from, to)`, with `range = to - from`.
    fn uniform(generator: &mut Mt19937, from: Self, range: Self) -> Self;
    /// Turns a pair of uniform values into a pair of normal ones.
    fn box_muller(u1: Self, u2: Self, mean: Self, std: Self) -> (Self, Self);
    /// At least the absolute value of every normal value with mean 0 and standard deviation 1.
    fn largest_normal() -> Self;

    fn splat<I: OpmathIsa>(isa: I, value: Self) -> Self::Vector<I>;
    /// The low `UNIT_BITS` bits of the words, after tempering.
    fn units<I: OpmathIsa>(isa: I, raw: I::U) -> Self::Vector<I>;
    /// `a * b + c`, rounded once.
    fn fmadd<I: OpmathIsa>(
        isa: I,
        a: Self::Vector<I>,
        b: Self::Vector<I>,
        c: Self::Vector<I>,
    ) -> Self::Vector<I>;
    /// `with` where `a` equals `what`, elsewhere `a`.
    fn replace<I: OpmathIsa>(
        isa: I,
        a: Self::Vector<I>,
        what: Self::Vector<I>,
        with: Self::Vector<I>,
    ) -> Self::Vector<I>;
}

impl Opmath for f32 {
    const WORDS: u64 = 1;
    const UNIT_BITS: u32 = f32::MANTISSA_DIGITS;

    type Vector<I: OpmathIsa> = I::F;

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn is_normal(self) -> bool {
        self.is_normal()
    }

    fn mul_add(self, a: f32, b: f32) -> f32 {
        self.mul_add(a, b)
    }

    fn unit(self) -> f32 {
        self * (1.0 / 16_777_216.0)
    }

    fn uniform(generator: &mut Mt19937, from: f32, range: f32) -> f32 {
        ((generator.next_u32() & 0xff_ffff) as f32)
            .unit()
            .mul_add(range, from)
    }

    fn box_muller(u1: f32, u2: f32, mean: f32, std: f32) -> (f32, f32) {
        box_muller::f32(u1, u2, mean, std)
    }

    fn largest_normal() -> f32 {
        box_muller::LARGEST_F32
    }

    #[inline(always)]
    fn splat<I: OpmathIsa>(isa: I, value: f32) -> I::F {
        isa.splat_f32(value)
    }

    #[inline(always)]
    fn units<I: OpmathIsa>(isa: I, raw: I::U) -> I::F {
        isa.to_f32(temper_low_24(isa, raw))
    }

    #[inline(always)]
    fn fmadd<I: OpmathIsa>(isa: I, a: I::F, b: I::F, c: I::F) -> I::F {
        isa.fmadd(a, b, c)
    }

    #[inline(always)]
    fn replace<I: OpmathIsa>(isa: I, a: I::F, what: I::F, with: I::F) -> I::F {
        isa.replace(a, what, with)
    }
}

impl Opmath for f64 {
    const WORDS: u64 = 2;
    const UNIT_BITS: u32 = f64::MANTISSA_DIGITS;

    type Vector<I: OpmathIsa> = I::D;

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }

    fn is_normal(self) -> bool {
        self.is_normal()
    }

    fn mul_add(self, a: f64, b: f64) -> f64 {
        self.mul_add(a, b)
    }

    fn unit(self) -> f64 {
        self * (1.0 / 9_007_199_254_740_992.0)
    }

    fn uniform(generator: &mut Mt19937, from: f64, range: f64) -> f64 {
        ((generator.random64() & ((1 << 53) - 1)) as f64)
            .unit()
            .mul_add(range, from)
    }

    fn box_muller(u1: f64, u2: f64, mean: f64, std: f64) -> (f64, f64) {
        box_muller::f64(u1, u2, mean, std)
    }

    fn largest_normal() -> f64 {
        box_muller::LARGEST_F64
    }

    #[inline(always)]
    fn splat<I: OpmathIsa>(isa: I, value: f64) -> I::D {
        isa.splat_f64(value)
    }

    #[inline(always)]
    fn units<I: OpmathIsa>(isa: I, raw: I::U) -> I::D {
        isa.low_53(temper(isa, raw))
    }

    #[inline(always)]
    fn fmadd<I: OpmathIsa>(isa: I, a: I::D, b: I::D, c: I::D) -> I::D {
        isa.fmadd_f64(a, b, c)
    }

    #[inline(always)]
    fn replace<I: OpmathIsa>(isa: I, a: I::D, what: I::D, with: I::D) -> I::D {
        isa.replace_f64(a, what, with)
    }
}

impl<const L: usize> OpmathIsa for Portable<L> {
    type D = Halved<L>;

    #[inline(always)]
    fn splat_f64(self, value: f64) -> Halved<L> {
        [value; L]
    }

    #[inline(always)]
    fn low_53(self, words: [u32; L]) -> Halved<L> {
        from_fn(|i| {
            let high = 2 * i % L;
            let pair = u64::from(words[high]) << 32 | u64::from(words[high + 1]);
            (pair & ((1 << 53) - 1)) as f64
        })
    }

    #[inline(always)]
    fn fmadd_f64(self, a: Halved<L>, b: Halved<L>, c: Halved<L>) -> Halved<L> {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn replace(self, a: [f32; L], what: [f32; L], with: [f32; L]) -> [f32; L] {
        from_fn(|i| if a[i] == what[i] { with[i] } else { a[i] })
    }

    #[inline(always)]
    fn replace_f64(self, a: Halved<L>, what: Halved<L>, with: Halved<L>) -> Halved<L> {
        from_fn(|i| if a[i] == what[i] { with[i] } else { a[i] })
    }
}

impl<I: OpmathIsa> OpmathIsa for Unrolled2<I> {
    type D = (I::D, I::D);

    both! {
        low_53(words: U) -> D;
        fmadd_f64(a: D, b: D, c: D) -> D;
        replace(a: F, what: F, with: F) -> F;
        replace_f64(a: D, what: D, with: D) -> D;
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> Self::D {
        let both = self.0.splat_f64(value);
        (both, both)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::OpmathIsa;
    use crate::arch::{Avx2, Avx512, instructions};
    use std::arch::x86_64::*;

    impl OpmathIsa for Avx2 {
        type D = __m256d;

        instructions! {
            fmadd_f64(a: D, b: D, c: D) -> D = _mm256_fmadd_pd(a, b, c);
            replace(a: F, what: F, with: F) -> F =
                _mm256_blendv_ps(a, with, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, what));
            replace_f64(a: D, what: D, with: D) -> D =
                _mm256_blendv_pd(a, with, _mm256_cmp_pd::<_CMP_EQ_OQ>(a, what));
        }

        #[inline(always)]
        fn splat_f64(self, value: f64) -> __m256d {
            // SAFETY: `self` proves that the CPU has the instruction.
            unsafe { _mm256_set1_pd(value) }
        }

        #[inline(always)]
        fn low_53(self, words: __m256i) -> __m256d {
            // AVX2 does not convert 64-bit integers. A mantissa with the exponent of 2^52 counts
            // ones, one with that of 2^84 counts multiples of 2^32; subtracting the power leaves
            // each exactly.
            const ONES: f64 = (1u64 << 52) as f64;
            const HIGHS: f64 = (1u128 << 84) as f64;
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe {
                let high = _mm256_and_si256(words, _mm256_set1_epi64x((1 << 21) - 1));
                let low = _mm256_srli_epi64::<32>(words);
                let (ones, highs) = (_mm256_set1_pd(ONES), _mm256_set1_pd(HIGHS));
                let high = _mm256_or_pd(_mm256_castsi256_pd(high), highs);
                let low = _mm256_or_pd(_mm256_castsi256_pd(low), ones);
                _mm256_add_pd(_mm256_sub_pd(high, highs), _mm256_sub_pd(low, ones))
            }
        }
    }

    impl OpmathIsa for Avx512 {
        type D = __m512d;

        instructions! {
            fmadd_f64(a: D, b: D, c: D) -> D = _mm512_fmadd_pd(a, b, c);
            replace(a: F, what: F, with: F) -> F =
                _mm512_mask_mov_ps(a, _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, what), with);
            replace_f64(a: D, what: D, with: D) -> D =
                _mm512_mask_mov_pd(a, _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a, what), with);
        }

        #[inline(always)]
        fn splat_f64(self, value: f64) -> __m512d {
            // SAFETY: `self` proves that the CPU has the instruction.
            unsafe { _mm512_set1_pd(value) }
        }

        #[inline(always)]
        fn low_53(self, words: __m512i) -> __m512d {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe {
                let pair = _mm512_rol_epi64::<32>(words);
                let low = _mm512_and_si512(pair, _mm512_set1_epi64((1 << 53) - 1));
                _mm512_cvtepi64_pd(low)
            }
        }
    }
}
