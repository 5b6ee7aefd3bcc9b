//! AVX2 with FMA, F16C and PCLMULQDQ: 8 lanes.

use super::unrolled2::Unrolled2;
use super::{Isa, Kernel};
use std::arch::asm;
use std::arch::x86_64::*;

/// Proof that this CPU has AVX2, FMA, F16C and PCLMULQDQ.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    pub(crate) fn new() -> Option<Avx2> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("pclmulqdq");
        has.then_some(Avx2(()))
    }
}

/// Methods that are one instruction each.
macro_rules! instructions {
    ($($name:ident($($argument:ident: $type:ident),*) -> $result:ident = $instruction:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: Self::$type),*) -> Self::$result {
            // SAFETY: `self` proves that the CPU has the instruction.
            unsafe { $instruction }
        }
    )*};
}

impl Isa for Avx2 {
    type U = __m256i;
    type Wide = Unrolled2<Unrolled2<Avx2>>;
    type F = __m256;
    type D = __m256d;

    const LANES: usize = 8;
    const KEEPS_STAGES: bool = false;

    #[inline(always)]
    fn wide(self) -> Unrolled2<Unrolled2<Avx2>> {
        Unrolled2(Unrolled2(self))
    }

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,pclmulqdq")]
        fn compiled<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        // SAFETY: `self` proves that the CPU has these features.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, word: u32) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_set1_epi32(word as i32) }
    }

    #[inline(always)]
    fn splat_f32(self, value: f32) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> __m256d {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_set1_pd(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> __m256i {
        // SAFETY: as above; the caller promises that the words are there.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    // Loads that are not aligned are cheaper than shifts across the halves of a register.

    #[inline(always)]
    unsafe fn load_next(self, _low: __m256i, _high: __m256i, from: *const u32) -> __m256i {
        // SAFETY: the caller promises that the words are there.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    unsafe fn load_far(self, _low: __m256i, _high: __m256i, from: *const u32) -> __m256i {
        // SAFETY: the caller promises that the words are there.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: __m256i) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe { _mm256_storeu_si256(to.cast(), words) }
    }

    instructions! {
        and(a: U, b: U) -> U = _mm256_and_si256(a, b);
        select_bits(mask: U, ones: U, zeros: U) -> U =
            _mm256_or_si256(_mm256_and_si256(mask, ones), _mm256_andnot_si256(mask, zeros));
        xor(a: U, b: U) -> U = _mm256_xor_si256(a, b);
        add(a: U, b: U) -> U = _mm256_add_epi32(a, b);
        sub(a: U, b: U) -> U = _mm256_sub_epi32(a, b);
        to_f32(a: U) -> F = _mm256_cvtepi32_ps(a);
        bits(a: F) -> U = _mm256_castps_si256(a);
        with_bits(a: U) -> F = _mm256_castsi256_ps(a);
        add_f32(a: F, b: F) -> F = _mm256_add_ps(a, b);
        sub_f32(a: F, b: F) -> F = _mm256_sub_ps(a, b);
        mul_f32(a: F, b: F) -> F = _mm256_mul_ps(a, b);
        fmadd(a: F, b: F, c: F) -> F = _mm256_fmadd_ps(a, b, c);
        fmsub(a: F, b: F, c: F) -> F = _mm256_fmsub_ps(a, b, c);
        sqrt(a: F) -> F = _mm256_sqrt_ps(a);
        select(mask: U, ones: F, zeros: F) -> F =
            _mm256_blendv_ps(zeros, ones, _mm256_castsi256_ps(mask));
        replace(a: F, what: F, with: F) -> F =
            _mm256_blendv_ps(a, with, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, what));
        round_f16(a: F) -> F =
            _mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a));
        fmadd_f64(a: D, b: D, c: D) -> D = _mm256_fmadd_pd(a, b, c);
        replace_f64(a: D, what: D, with: D) -> D =
            _mm256_blendv_pd(a, with, _mm256_cmp_pd::<_CMP_EQ_OQ>(a, what));
    }

    #[inline(always)]
    fn opaque(self, a: __m256) -> __m256 {
        /// Assembly is not looked into, even if it has no instruction, and keeps its order.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn through_assembly(mut a: __m256) -> __m256 {
            // SAFETY: it does nothing.
            unsafe {
                asm!("/* {} */", inout(ymm_reg) a, options(nomem, nostack, preserves_flags));
            }
            a
        }
        // SAFETY: `self` proves that the CPU has the registers.
        unsafe { through_assembly(a) }
    }

    #[inline(always)]
    fn outside(self, a: __m256, low: __m256, high: __m256) -> u64 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let below = _mm256_cmp_ps::<_CMP_LT_OQ>(a, low);
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(a, high);
            _mm256_movemask_ps(_mm256_or_ps(below, above)) as u64
        }
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(BITS as i32)) }
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(BITS as i32)) }
    }

    #[inline(always)]
    fn exponent(self, bits: __m256i) -> __m256 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(bits)) }
    }

    #[inline(always)]
    fn quadrant<const BIT: u32>(
        self,
        angle: __m256i,
        near_one: __m256,
        near_zero: __m256,
    ) -> (__m256, __m256) {
        let above = self.shr::<BIT>(angle);
        // The highest bit says whether the quarter is an odd one. A compiler that knew where it
        // comes from would compare instead.
        let odd = self.bits(self.opaque(self.with_bits(self.shl::<31>(above))));
        let sin = self.select(odd, near_one, near_zero);
        let cos = self.select(odd, near_zero, near_one);
        // The sine is negative in the second half turn, the cosine in its middle quarters.
        let sin_sign = self.and(self.shl::<30>(above), self.splat(0x8000_0000));
        let cos_sign = self.xor(odd, sin_sign);
        (
            self.with_bits(self.xor(self.bits(sin), sin_sign)),
            self.with_bits(self.xor(self.bits(cos), cos_sign)),
        )
    }

    #[inline(always)]
    fn shl_u64(self, a: __m256i, bits: u32) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_sll_epi64(a, _mm_cvtsi32_si128(bits as i32)) }
    }

    #[inline(always)]
    fn shr_u64(self, a: __m256i, bits: u32) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm256_srl_epi64(a, _mm_cvtsi32_si128(bits as i32)) }
    }

    #[inline(always)]
    fn square(self, bits: u64) -> u128 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let bits = _mm_set_epi64x(0, bits as i64);
            let square = _mm_clmulepi64_si128::<0>(bits, bits);
            let high = _mm_unpackhi_epi64(square, square);
            (_mm_cvtsi128_si64(square) as u64 as u128)
                | (_mm_cvtsi128_si64(high) as u64 as u128) << 64
        }
    }

    #[inline(always)]
    fn xor_if_odd(self, value: __m256i, odd: __m256i, other: __m256i) -> __m256i {
        let odd = self.and(odd, self.splat(1));
        // `other` as it is by a positive number, nothing by 0.
        // SAFETY: `self` proves that the CPU has the instruction.
        let other = unsafe { _mm256_sign_epi32(other, odd) };
        self.xor(value, other)
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, a: __m256) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe { _mm256_storeu_ps(to, a) }
    }

    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, a: __m256) {
        // SAFETY: as above; the caller promises that the place is there and aligned.
        unsafe { _mm256_stream_ps(to, a) }
    }

    #[inline(always)]
    fn fence(self) {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, a: __m256, b: __m256) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe {
            let low = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a);
            let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(b);
            _mm256_storeu_si256(to.cast(), _mm256_set_m128i(high, low));
        }
    }

    #[inline(always)]
    unsafe fn store_u16(self, to: *mut u16, a: __m256i, b: __m256i) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe {
            // Packs the halves of both registers apart from each other.
            let packed = _mm256_packus_epi32(a, b);
            let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            _mm256_storeu_si256(to.cast(), in_order);
        }
    }

    #[inline(always)]
    unsafe fn load_blocks(self, from: *const u32) -> (__m256i, __m256i) {
        // SAFETY: the caller promises that the words are there. A register is half a block.
        unsafe { (self.load(from), self.load(from.add(Self::LANES))) }
    }

    #[inline(always)]
    fn blocks(self, first: __m256, second: __m256) -> (__m256, __m256) {
        (first, second)
    }

    #[inline(always)]
    fn low_53(self, words: __m256i) -> __m256d {
        // AVX2 converts no 64-bit integers. A mantissa under the exponent of 2^52 counts ones, one
        // under that of 2^84 counts 2^32; less what the exponent stands for, each is exact.
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

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, a: __m256d) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe { _mm256_storeu_pd(to, a) }
    }
}
