//! A jump's sum by bit planes, on CPUs that multiply polynomials over GF(2) in AVX-512 vectors.
//!
//! Bit `t` of word `j` of the sum is the sum of bit `t` of words `i + j` over the terms `x^i` of the
//! jump's polynomial. If the bits `t` of all words form one polynomial, a plane, then the bits `t` of
//! the sum are coefficients of its product with the reversed polynomial. A product yields 64 of them at
//! a time, the sum of words one.

use crate::arch::Gfni;
use crate::mt19937::N;
use crate::polynomial::{LIMBS, Polynomial};
use std::arch::x86_64::*;

/// The words that one limb of each plane comes from.
const GROUP: usize = 64;
/// Limbs of a plane of the sum: those of a block, rounded up.
const SUMS: usize = N.div_ceil(GROUP);
/// Limbs of a plane that the products reach.
const GROUPS: usize = LIMBS + SUMS;
/// The words that the planes come from.
pub(crate) const WORDS: usize = GROUPS * GROUP;

/// The planes of one of the words' four bytes: the first limbs of all 8 planes, then the next limbs.
pub(crate) type BytePlanes = [[u64; 8]; GROUPS];

/// Sets `block` to the sum of the words that the polynomial selects. `words` are the [`WORDS`] words that
/// begin with the block. The memory of `planes` is reused.
pub(crate) fn apply(
    _proof: Gfni,
    polynomial: &Polynomial,
    words: &[u32],
    planes: &mut Vec<BytePlanes>,
    block: &mut [u32; N],
) {
    planes.resize(4, [[0; 8]; GROUPS]);
    let mut bytes = [[0; SUMS * GROUP]; 4];
    let reversed = polynomial.reversed_limbs();
    // SAFETY: `_proof` proves that the CPU has the features of both functions.
    unsafe {
        to_planes(&words[..WORDS], planes);
        for (planes, bytes) in planes.iter().zip(&mut bytes) {
            multiply(planes, &reversed, bytes);
        }
    }
    for (i, word) in block.iter_mut().enumerate() {
        *word = u32::from_le_bytes([bytes[0][i], bytes[1][i], bytes[2][i], bytes[3][i]]);
    }
}

/// The indices of one byte of each of 32 words in two vectors, then of the next byte of each.
const fn gather(byte: u8) -> [u8; 64] {
    let mut indices = [0; 64];
    let mut i = 0;
    while i < 32 {
        // Within a byte of a limb from the last word to the first, as `transpose_bits` expects.
        let word = i / 8 * 8 + (7 - i % 8);
        indices[i] = 4 * word as u8 + byte;
        indices[i + 32] = indices[i] + 1;
        i += 1;
    }
    indices
}

/// Exchanges byte `j` of number `i` and byte `i` of number `j`; if `reversed`, the bytes of each number
/// come from the last to the first.
const fn transpose_bytes(reversed: bool) -> [u8; 64] {
    let mut indices = [0; 64];
    let mut i = 0;
    while i < 64 {
        let (number, byte) = (i / 8, i % 8);
        let byte = if reversed { 7 - byte } else { byte };
        indices[i] = (8 * byte + number) as u8;
        i += 1;
    }
    indices
}

#[target_feature(enable = "avx512f")]
fn load(from: &[u8; 64]) -> __m512i {
    // SAFETY: a vector is 64 bytes.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// Sets bit `j` of byte `i` of each number to bit `i` of byte `7 - j`.
#[target_feature(enable = "avx512f,gfni")]
fn transpose_bits(numbers: __m512i) -> __m512i {
    let unit = _mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64);
    _mm512_gf2p8affine_epi64_epi8::<0>(unit, numbers)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
fn to_planes(words: &[u32], planes: &mut [BytePlanes]) {
    let (low, high) = (load(&const { gather(0) }), load(&const { gather(2) }));
    let across = load(&const { transpose_bytes(false) });
    for (group, words) in words.as_chunks::<GROUP>().0.iter().enumerate() {
        let vectors = words.as_chunks::<16>().0;
        // SAFETY: a vector is 16 words.
        let vector = |i: usize| unsafe { _mm512_loadu_si512(vectors[i].as_ptr().cast()) };
        let of_half = |bytes, i| _mm512_permutex2var_epi8(vector(i), bytes, vector(i + 1));
        for (b, bytes) in [low, high].into_iter().enumerate() {
            let (first, second) = (of_half(bytes, 0), of_half(bytes, 2));
            let pair = [
                _mm512_shuffle_i64x2::<0b01_00_01_00>(first, second),
                _mm512_shuffle_i64x2::<0b11_10_11_10>(first, second),
            ];
            for (i, bytes) in pair.into_iter().enumerate() {
                let limbs = _mm512_permutexvar_epi8(across, transpose_bits(bytes));
                store(&mut planes[2 * b + i][group], limbs);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
fn store(to: &mut [u64; 8], limbs: __m512i) {
    // SAFETY: a vector is 8 numbers.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), limbs) }
}

/// Computes the bytes of the sum's words from their planes.
#[target_feature(enable = "avx512f,avx512vbmi,gfni,vpclmulqdq")]
fn multiply(planes: &BytePlanes, reversed: &[u64; LIMBS], bytes: &mut [u8; SUMS * GROUP]) {
    // Products of the even and of the odd planes: 128 bits each, one for each limb of the sum that
    // they begin with. The low half of the last one holds the sum's highest bits.
    let mut even = [_mm512_setzero_si512(); SUMS + 1];
    let mut odd = even;
    for (i, limb) in reversed.iter().enumerate() {
        let limb = _mm512_set1_epi64(*limb as i64);
        let mut k = 0;
        while k <= SUMS {
            // SAFETY: a vector is the limbs of 8 planes; `i + k` is below `GROUPS`.
            let limbs = unsafe { _mm512_loadu_si512(planes[i + k].as_ptr().cast()) };
            even[k] = _mm512_xor_si512(even[k], _mm512_clmulepi64_epi128::<0>(limbs, limb));
            odd[k] = _mm512_xor_si512(odd[k], _mm512_clmulepi64_epi128::<1>(limbs, limb));
            k += 1;
        }
    }
    let across = load(&const { transpose_bytes(true) });
    for (k, bytes) in bytes.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let low = |k: usize| _mm512_unpacklo_epi64(even[k], odd[k]);
        let high = _mm512_unpackhi_epi64(even[k], odd[k]);
        // The product with a reversed limb has coefficient 0 at bit 63.
        let from_high = _mm512_xor_si512(high, low(k + 1));
        let limbs = _mm512_or_si512(
            _mm512_srli_epi64::<63>(low(k)),
            _mm512_slli_epi64::<1>(from_high),
        );
        let ordered = transpose_bits(_mm512_permutexvar_epi8(across, limbs));
        // SAFETY: a vector is 64 bytes.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), ordered) };
    }
}
