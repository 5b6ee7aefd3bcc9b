//! AVX-512 (F, DQ, BW, VL) with PCLMULQDQ: 16 lanes.

use super::isa::{Isa, instructions};
use std::arch::x86_64::*;

/// Proof that this CPU has AVX-512 F, DQ, BW and VL, and PCLMULQDQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512 {
    gfni: Option<Gfni>,
}

/// Proof that this CPU has AVX-512 F, BW and VBMI, GFNI, PCLMULQDQ and VPCLMULQDQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gfni(());

impl Avx512 {
    pub(crate) fn new() -> Option<Avx512> {
        let is_supported = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("pclmulqdq");
        is_supported.then(|| Avx512 { gfni: Gfni::new() })
    }

    /// The instructions over GF(2), if the CPU has them.
    pub(crate) fn gfni(self) -> Option<Gfni> {
        self.gfni
    }
}

impl Gfni {
    pub(crate) fn new() -> Option<Gfni> {
        let is_supported = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("gfni")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vpclmulqdq");
        is_supported.then_some(Gfni(()))
    }
}

impl Isa for Avx512 {
    type U = __m512i;
    type F = __m512;

    const LANES: usize = 16;

    #[inline(always)]
    fn splat(self, word: u32) -> __m512i {
        // SAFETY: `self` proves that the CPU has the instruction.
        unsafe { _mm512_set1_epi32(word as i32) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> __m512i {
        // SAFETY: as above; the caller promises that the words can be read.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: __m512i) {
        // SAFETY: as above; the caller promises that the words can be written.
        unsafe { _mm512_storeu_si512(to.cast(), words) }
    }

    instructions! {
        and(a: U, b: U) -> U = _mm512_and_si512(a, b);
        xor(a: U, b: U) -> U = _mm512_xor_si512(a, b);
        add(a: U, b: U) -> U = _mm512_add_epi32(a, b);
        to_f32(a: U) -> F = _mm512_cvtepi32_ps(a);
        bits(a: F) -> U = _mm512_castps_si512(a);
        from_bits(a: U) -> F = _mm512_castsi512_ps(a);
        fmadd(a: F, b: F, c: F) -> F = _mm512_fmadd_ps(a, b, c);
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
}
