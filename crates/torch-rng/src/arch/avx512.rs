//! AVX-512 (F, DQ, BW, VL) with PCLMULQDQ: 16 lanes.

use super::{Galois, Isa, Kernel};
use crate::mt19937::M;
use std::arch::x86_64::*;

/// Proof that this CPU has AVX-512 F, DQ, BW and VL, and PCLMULQDQ.
#[derive(Debug, Clone, Copy)]
pub struct Avx512 {
    galois: Option<Galois>,
}

impl Avx512 {
    pub(crate) fn new() -> Option<Avx512> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("pclmulqdq");
        has.then(|| Avx512 {
            galois: Galois::new(),
        })
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

/// Rounding to nearest even, as an operand.
const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

impl Isa for Avx512 {
    type U = __m512i;
    type Wide = Avx512;
    type F = __m512;
    type D = __m512d;

    const LANES: usize = 16;
    const KEEPS_STAGES: bool = true;
    /// That of f32.
    const EXPONENT_BIAS: u32 = 127 << 23;

    #[inline(always)]
    fn wide(self) -> Avx512 {
        self
    }

    #[inline(always)]
    fn galois(self) -> Option<Galois> {
        self.galois
    }

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,pclmulqdq")]
        fn compiled<K: Kernel>(isa: Avx512, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        // SAFETY: `self` proves that the CPU has these features.
        unsafe { compiled(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, word: u32) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_set1_epi32(word as i32) }
    }

    #[inline(always)]
    fn splat_f32(self, value: f32) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> __m512d {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_set1_pd(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> __m512i {
        // SAFETY: as above; the caller promises that the words are there.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    // Loads that are not aligned would touch two cache lines each.

    #[inline(always)]
    unsafe fn load_next(self, low: __m512i, high: __m512i, _from: *const u32) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_alignr_epi32::<1>(high, low) }
    }

    #[inline(always)]
    unsafe fn load_far(self, low: __m512i, high: __m512i, _from: *const u32) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_alignr_epi32::<{ (M % 16) as i32 }>(high, low) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: __m512i) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe { _mm512_storeu_si512(to.cast(), words) }
    }

    instructions! {
        and(a: U, b: U) -> U = _mm512_and_si512(a, b);
        select_bits(mask: U, ones: U, zeros: U) -> U =
            _mm512_ternarylogic_epi32::<0b11_00_10_10>(mask, ones, zeros);
        xor(a: U, b: U) -> U = _mm512_xor_si512(a, b);
        add(a: U, b: U) -> U = _mm512_add_epi32(a, b);
        sub(a: U, b: U) -> U = _mm512_sub_epi32(a, b);
        to_f32(a: U) -> F = _mm512_cvtepi32_ps(a);
        exponent(bits: U) -> F = _mm512_getexp_ps(_mm512_castsi512_ps(bits));
        bits(a: F) -> U = _mm512_castps_si512(a);
        with_bits(a: U) -> F = _mm512_castsi512_ps(a);
        add_f32(a: F, b: F) -> F = _mm512_add_ps(a, b);
        sub_f32(a: F, b: F) -> F = _mm512_sub_ps(a, b);
        mul_f32(a: F, b: F) -> F = _mm512_mul_ps(a, b);
        fmadd(a: F, b: F, c: F) -> F = _mm512_fmadd_ps(a, b, c);
        fmsub(a: F, b: F, c: F) -> F = _mm512_fmsub_ps(a, b, c);
        sqrt(a: F) -> F = _mm512_sqrt_ps(a);
        replace(a: F, what: F, with: F) -> F =
            _mm512_mask_mov_ps(a, _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, what), with);
        round_f16(a: F) -> F = _mm512_cvtph_ps(_mm512_cvtps_ph::<NEAREST>(a));
        fmadd_f64(a: D, b: D, c: D) -> D = _mm512_fmadd_pd(a, b, c);
        replace_f64(a: D, what: D, with: D) -> D =
            _mm512_mask_mov_pd(a, _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a, what), with);
    }

    #[inline(always)]
    fn outside(self, a: __m512, low: __m512, high: __m512) -> u64 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, low);
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, high);
            u64::from(below | above)
        }
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self, a: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_slli_epi32::<BITS>(a) }
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self, a: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_srli_epi32::<BITS>(a) }
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
    fn shl_u64(self, a: __m512i, bits: u32) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_sll_epi64(a, _mm_cvtsi32_si128(bits as i32)) }
    }

    #[inline(always)]
    fn shr_u64(self, a: __m512i, bits: u32) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_srl_epi64(a, _mm_cvtsi32_si128(bits as i32)) }
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
    fn xor_if_odd(self, value: __m512i, odd: __m512i, other: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let mask = _mm512_test_epi32_mask(odd, _mm512_set1_epi32(1));
            _mm512_mask_xor_epi32(value, mask, value, other)
        }
    }

    #[inline(always)]
    fn select(self, mask: __m512i, ones: __m512, zeros: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_mask_mov_ps(zeros, _mm512_movepi32_mask(mask), ones) }
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, a: __m512) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe { _mm512_storeu_ps(to, a) }
    }

    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, a: __m512) {
        // SAFETY: as above; the caller promises that the place is there and aligned.
        unsafe { _mm512_stream_ps(to, a) }
    }

    #[inline(always)]
    fn fence(self) {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, a: __m512, b: __m512) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe {
            let (low, high) = (_mm512_cvtps_ph::<NEAREST>(a), _mm512_cvtps_ph::<NEAREST>(b));
            _mm256_storeu_si256(to.cast(), low);
            _mm256_storeu_si256(to.add(16).cast(), high);
        }
    }

    #[inline(always)]
    unsafe fn store_u16(self, to: *mut u16, a: __m512i, b: __m512i) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe {
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(a));
            _mm256_storeu_si256(to.add(16).cast(), _mm512_cvtepi32_epi16(b));
        }
    }

    #[inline(always)]
    unsafe fn load_blocks(self, from: *const u32) -> (__m512i, __m512i) {
        // SAFETY: as above; the caller promises that the words are there. Inserting from memory is
        // a load, shuffling registers is not.
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
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe {
            (
                _mm512_shuffle_f32x4::<0b01_00_01_00>(first, second),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(first, second),
            )
        }
    }

    #[inline(always)]
    fn low_53(self, words: __m512i) -> __m512d {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            let whole = _mm512_rol_epi64::<32>(words);
            let low = _mm512_and_si512(whole, _mm512_set1_epi64((1 << 53) - 1));
            _mm512_cvtepi64_pd(low)
        }
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, a: __m512d) {
        // SAFETY: as above; the caller promises that the place is there.
        unsafe { _mm512_storeu_pd(to, a) }
    }
}
