//! AVX2 with FMA, F16C and PCLMULQDQ: 8 lanes.

use super::isa::{Isa, instructions};
use std::arch::x86_64::*;

/// Proof that this CPU has AVX2, FMA, F16C and PCLMULQDQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    pub(crate) fn new() -> Option<Avx2> {
        let is_supported = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("pclmulqdq");
        is_supported.then_some(Avx2(()))
    }
}

impl Isa for Avx2 {
    type U = __m256i;
    type F = __m256;

    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, word: u32) -> __m256i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm256_set1_epi32(word as i32) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> __m256i {
        // SAFETY: as above; the caller promises that the words can be read.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: __m256i) {
        // SAFETY: as above; the caller promises that the words can be written.
        unsafe { _mm256_storeu_si256(to.cast(), words) }
    }

    instructions! {
        and(a: U, b: U) -> U = _mm256_and_si256(a, b);
        xor(a: U, b: U) -> U = _mm256_xor_si256(a, b);
        add(a: U, b: U) -> U = _mm256_add_epi32(a, b);
        to_f32(a: U) -> F = _mm256_cvtepi32_ps(a);
        bits(a: F) -> U = _mm256_castps_si256(a);
        from_bits(a: U) -> F = _mm256_castsi256_ps(a);
        fmadd(a: F, b: F, c: F) -> F = _mm256_fmadd_ps(a, b, c);
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
}
