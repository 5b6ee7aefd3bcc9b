//! MT19937's recurrence and tempering, a vector at a time.

use crate::arch::{Isa, Portable, Unrolled2, both};
use crate::mt19937::{HIGHEST, M, MATRIX, N};
use std::array::from_fn;

/// What the recurrence needs of an instruction set.
pub trait TwistIsa: Isa {
    /// The vector that starts one lane after `low`, whose neighbor in memory is `high`.
    ///
    /// # Safety
    ///
    /// `LANES` words can be read at `from`, and they are those.
    unsafe fn load_next(self, low: Self::U, high: Self::U, from: *const u32) -> Self::U;

    /// The vector that starts `M % LANES` lanes after `low`, whose neighbor in memory is `high`.
    ///
    /// # Safety
    ///
    /// `LANES` words can be read at `from`, and they are those.
    unsafe fn load_far(self, low: Self::U, high: Self::U, from: *const u32) -> Self::U;

    /// The bits of `ones` where `mask` is 1, and those of `zeros` where it is 0.
    fn select_bits(self, mask: Self::U, ones: Self::U, zeros: Self::U) -> Self::U;

    /// `value ^ other` in the lanes where `odd` has its lowest bit set, elsewhere `value`.
    fn xor_if_odd(self, value: Self::U, odd: Self::U, other: Self::U) -> Self::U;
}

/// Appends `count` words to the `N` words at `words`.
///
/// # Safety
///
/// The first `N` of `words` are initialized, and `count` more can be written, a multiple of [`N`].
#[inline(always)]
pub(crate) unsafe fn regenerate<I: TwistIsa>(isa: I, words: *mut u32, count: usize) {
    const { assert!(N.is_multiple_of(I::LANES)) };
    let far = M / I::LANES * I::LANES;
    let upper = isa.splat(HIGHEST);
    let matrix = isa.splat(MATRIX);
    // SAFETY: a vector is computed from words below index `i + N`, which are initialized.
    unsafe {
        let mut this = isa.load(words);
        let mut far_low = isa.load(words.add(far));
        for i in (0..count).step_by(I::LANES) {
            let words = words.add(i);
            let following = isa.load(words.add(I::LANES));
            let far_high = isa.load(words.add(far + I::LANES));
            let next = isa.load_next(this, following, words.add(1));
            let mixed = isa.select_bits(upper, this, next);
            let twisted = isa.xor(
                isa.load_far(far_low, far_high, words.add(M)),
                isa.shr::<1>(mixed),
            );
            isa.store(words.add(N), isa.xor_if_odd(twisted, next, matrix));
            (this, far_low) = (following, far_high);
        }
    }
}

/// Tempers raw words, which gives the words that are drawn.
#[inline(always)]
pub(crate) fn temper<I: Isa>(isa: I, word: I::U) -> I::U {
    let word = isa.xor(word, isa.shr::<11>(word));
    let word = isa.xor(word, isa.and(isa.shl::<7>(word), isa.splat(0x9d2c_5680)));
    let word = isa.xor(word, isa.and(isa.shl::<15>(word), isa.splat(0xefc6_0000)));
    isa.xor(word, isa.shr::<18>(word))
}

/// The low 24 bits of tempered words: the bits that an f32 is made from.
#[inline(always)]
pub(crate) fn temper_low_24<I: Isa>(isa: I, raw: I::U) -> I::U {
    isa.and(temper(isa, raw), isa.splat(0xff_ffff))
}

impl<const L: usize> TwistIsa for Portable<L> {
    #[inline(always)]
    unsafe fn load_next(self, _low: [u32; L], _high: [u32; L], from: *const u32) -> [u32; L] {
        // SAFETY: the caller's promise.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    unsafe fn load_far(self, _low: [u32; L], _high: [u32; L], from: *const u32) -> [u32; L] {
        // SAFETY: the caller's promise.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    fn select_bits(self, mask: [u32; L], ones: [u32; L], zeros: [u32; L]) -> [u32; L] {
        from_fn(|i| ones[i] & mask[i] | zeros[i] & !mask[i])
    }

    #[inline(always)]
    fn xor_if_odd(self, value: [u32; L], odd: [u32; L], other: [u32; L]) -> [u32; L] {
        from_fn(|i| value[i] ^ if odd[i] & 1 == 0 { 0 } else { other[i] })
    }
}

impl<I: TwistIsa> TwistIsa for Unrolled2<I> {
    both! {
        select_bits(mask: U, ones: U, zeros: U) -> U;
        xor_if_odd(value: U, odd: U, other: U) -> U;
    }

    #[inline(always)]
    unsafe fn load_next(self, low: Self::U, high: Self::U, from: *const u32) -> Self::U {
        // SAFETY: the caller's promise, for both.
        unsafe {
            (
                self.0.load_next(low.0, low.1, from),
                self.0.load_next(low.1, high.0, from.add(I::LANES)),
            )
        }
    }

    /// Loads, since the words may begin in either vector of a pair.
    #[inline(always)]
    unsafe fn load_far(self, _low: Self::U, _high: Self::U, from: *const u32) -> Self::U {
        // SAFETY: the caller's promise.
        unsafe { self.load(from) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::TwistIsa;
    use crate::arch::{Avx2, Avx512, Isa, instructions};
    use crate::mt19937::M;
    use std::arch::x86_64::*;

    impl TwistIsa for Avx2 {
        // Unaligned loads are cheaper than shifts across the halves of a register.

        #[inline(always)]
        unsafe fn load_next(self, _low: __m256i, _high: __m256i, from: *const u32) -> __m256i {
            // SAFETY: the caller's promise.
            unsafe { self.load(from) }
        }

        #[inline(always)]
        unsafe fn load_far(self, _low: __m256i, _high: __m256i, from: *const u32) -> __m256i {
            // SAFETY: the caller's promise.
            unsafe { self.load(from) }
        }

        instructions! {
            select_bits(mask: U, ones: U, zeros: U) -> U =
                _mm256_or_si256(_mm256_and_si256(mask, ones), _mm256_andnot_si256(mask, zeros));
        }

        #[inline(always)]
        fn xor_if_odd(self, value: __m256i, odd: __m256i, other: __m256i) -> __m256i {
            let odd = self.and(odd, self.splat(1));
            // `sign` keeps `other` where `odd` is positive and gives 0 where it is 0.
            // SAFETY: `self` proves that the CPU has the instruction.
            let other = unsafe { _mm256_sign_epi32(other, odd) };
            self.xor(value, other)
        }
    }

    impl TwistIsa for Avx512 {
        // Each unaligned load would touch two cache lines.

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

        instructions! {
            select_bits(mask: U, ones: U, zeros: U) -> U =
                _mm512_ternarylogic_epi32::<0b11_00_10_10>(mask, ones, zeros);
            xor_if_odd(value: U, odd: U, other: U) -> U =
                _mm512_mask_xor_epi32(value, _mm512_test_epi32_mask(odd, _mm512_set1_epi32(1)), value, other);
        }
    }
}
