//! Polynomials over GF(2) modulo MT19937's characteristic polynomial.

#[cfg(target_arch = "x86_64")]
use crate::arch::Gfni;
use crate::arch::{Isa, Portable, Unrolled2};
use crate::mt19937::{M, MATRIX, N};
use std::array::from_fn;
use std::sync::OnceLock;

/// What polynomials over GF(2) need of an instruction set.
pub trait Gf2Isa: Isa {
    /// Shifts pairs of words, the low half first, toward their highest bit, by less than 64.
    fn shl_u64(self, a: Self::U, bits: u32) -> Self::U;
    /// Shifts pairs of words, the low half first, toward their lowest bit, by less than 64.
    fn shr_u64(self, a: Self::U, bits: u32) -> Self::U;
    /// The square of a polynomial: a zero between each two bits.
    fn square(self, bits: u64) -> u128;
    /// The instructions that jumps by bit planes use, if the CPU has them.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn gfni(self) -> Option<Gfni> {
        None
    }
}

/// The degree of the characteristic polynomial.
pub(crate) const DEGREE: usize = 19937;

/// The 64-bit limbs of a polynomial of lower degree, and that number rounded up to whole vectors.
pub(crate) const LIMBS: usize = DEGREE.div_ceil(64);
const VECTOR_LIMBS: usize = LIMBS.next_multiple_of(8);
/// The limbs of a square, and those that vectors reach after it.
const SQUARE_LIMBS: usize = 2 * VECTOR_LIMBS + 8;

/// A polynomial of a degree below [`DEGREE`]; the lowest power is the lowest bit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Polynomial {
    limbs: [u64; VECTOR_LIMBS],
}

impl Polynomial {
    /// `x^n` modulo the characteristic polynomial.
    #[inline(always)]
    pub(crate) fn power_of_x<I: Gf2Isa>(isa: I, n: i128) -> Polynomial {
        let (is_inverse, n) = (n < 0, n.unsigned_abs());
        let mut power = Polynomial {
            limbs: [0; VECTOR_LIMBS],
        };
        let mut bits_left = 128 - n.leading_zeros();
        if is_inverse {
            power.limbs[0] = 1;
        } else {
            // The highest bits of `n`, as long as their power needs no reduction.
            bits_left = bits_left.saturating_sub(DEGREE.ilog2());
            let start = (n >> bits_left) as usize;
            power.limbs[start / 64] = 1 << (start % 64);
        }
        while bits_left > 0 {
            bits_left -= 1;
            let is_odd = n >> bits_left & 1 == 1;
            power = reduce(isa, &square(isa, &power, is_odd && !is_inverse));
            if is_odd && is_inverse {
                power.divide_by_x();
            }
        }
        power
    }

    /// The quotient by `x`, which has an inverse: the characteristic polynomial has the term 1.
    fn divide_by_x(&mut self) {
        let is_odd = self.limbs[0] & 1 == 1;
        for limb in 0..LIMBS {
            self.limbs[limb] = self.bits(64 * limb + 1);
        }
        if is_odd {
            let lower = distances().down.iter();
            let exponents = lower.map(|(limbs, bits)| (64 * limbs - bits) as usize);
            for exponent in exponents.chain([DEGREE]).filter(|exponent| *exponent > 0) {
                let power = exponent - 1;
                self.limbs[power / 64] ^= 1 << (power % 64);
            }
        }
    }

    /// The limbs with their bits reversed.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn reversed_limbs(&self) -> [u64; LIMBS] {
        std::array::from_fn(|limb| self.limbs[limb].reverse_bits())
    }

    /// The 64 coefficients from `at` on; zeros beyond the last.
    #[inline(always)]
    pub(crate) fn bits(&self, at: usize) -> u64 {
        let (limb, shift) = (at / 64, at % 64);
        let above = self.limbs.get(limb + 1).copied().unwrap_or(0);
        self.limbs[limb] >> shift | above << 1 << (63 - shift)
    }

    /// The lowest power from `at` on whose coefficient is 1.
    #[inline(always)]
    pub(crate) fn next_one(&self, at: usize) -> Option<usize> {
        let mut limb = at / 64;
        let mut bits = self.limbs.get(limb)? >> (at % 64) << (at % 64);
        while bits == 0 {
            limb += 1;
            bits = *self.limbs.get(limb)?;
        }
        Some(64 * limb + bits.trailing_zeros() as usize)
    }
}

/// The square, times `x` if `shifted`.
#[inline(always)]
fn square<I: Gf2Isa>(isa: I, polynomial: &Polynomial, shifted: bool) -> [u64; SQUARE_LIMBS] {
    let mut square = [0; SQUARE_LIMBS];
    for (i, limb) in polynomial.limbs.iter().enumerate() {
        // The highest bit of a square is never 1, so nothing is shifted out.
        let product = isa.square(*limb) << u32::from(shifted);
        square[2 * i] = product as u64;
        square[2 * i + 1] = (product >> 64) as u64;
    }
    square
}

/// The remainder of a polynomial of a degree below `2 DEGREE`.
///
/// If `p = q P + r`, then bit `i` of `q` is bit `DEGREE + i` of `p`, plus bit `i + DEGREE - e` of
/// `q` for every lower exponent `e` of `P`. The highest is 623 below `DEGREE`, so a vector of `q` is
/// made from vectors that lie above it.
#[inline(always)]
fn reduce<I: Gf2Isa>(isa: I, product: &[u64; SQUARE_LIMBS]) -> Polynomial {
    let step = I::LANES / 2;
    let distances = distances();
    // The zeros below and above are what shifts move in.
    const PAD: usize = 16;
    let mut quotient = [0; PAD + VECTOR_LIMBS + PAD];
    for at in (0..VECTOR_LIMBS).step_by(step).rev() {
        let mut vector = shifted(isa, product, at + DEGREE / 64, (DEGREE % 64) as u32);
        for (limbs, bits) in &distances.up {
            let from = at + *limbs as usize;
            if from >= VECTOR_LIMBS {
                break;
            }
            vector = isa.xor(vector, shifted(isa, &quotient, PAD + from, *bits));
        }
        store(isa, &mut quotient[PAD + at..][..step], vector);
    }
    let mut limbs = [0; VECTOR_LIMBS];
    for at in (0..VECTOR_LIMBS).step_by(step) {
        let mut vector = shifted(isa, product, at, 0);
        for (limbs, bits) in &distances.down {
            let from = (PAD + at).wrapping_sub(*limbs as usize);
            if from > PAD + at || from + step < PAD {
                break;
            }
            vector = isa.xor(vector, shifted(isa, &quotient, from, *bits));
        }
        store(isa, &mut limbs[at..][..step], vector);
    }
    limbs[LIMBS - 1] &= (1 << (DEGREE % 64)) - 1;
    limbs[LIMBS..].fill(0);
    Polynomial { limbs }
}

/// The vector of limbs from `at` on, shifted down by less than 64 bits.
#[inline(always)]
fn shifted<I: Gf2Isa>(isa: I, limbs: &[u64], at: usize, bits: u32) -> I::U {
    let limbs = &limbs[at..at + I::LANES / 2 + 1];
    // SAFETY: a vector is `LANES / 2` limbs, and `limbs` has one more than that.
    let (low, high) = unsafe {
        (
            isa.load(limbs.as_ptr().cast()),
            isa.load(limbs[1..].as_ptr().cast()),
        )
    };
    // In two steps: with `bits` 0 the shift would be by 64.
    let high = isa.shl_u64(isa.shl_u64(high, 1), 63 - bits);
    isa.xor(isa.shr_u64(low, bits), high)
}

#[inline(always)]
fn store<I: Gf2Isa>(isa: I, limbs: &mut [u64], vector: I::U) {
    assert!(limbs.len() == I::LANES / 2);
    // SAFETY: a vector is `LANES / 2` limbs.
    unsafe { isa.store(limbs.as_mut_ptr().cast(), vector) }
}

/// Distances in limbs and bits, nearest first.
struct Distances {
    /// From `DEGREE` down to each lower exponent: offsets up the quotient.
    up: Vec<(u32, u32)>,
    /// To each lower exponent: offsets down the quotient, rounded up to limbs, and the bits up from there.
    down: Vec<(u32, u32)>,
}

fn distances() -> &'static Distances {
    static DISTANCES: OnceLock<Distances> = OnceLock::new();
    DISTANCES.get_or_init(|| {
        let lower = lower_exponents();
        let up = lower.iter().rev().map(|exponent| DEGREE - exponent);
        Distances {
            up: up.map(|d| (d as u32 / 64, d as u32 % 64)).collect(),
            down: lower
                .iter()
                .map(|exponent| {
                    let limbs = exponent.div_ceil(64);
                    (limbs as u32, (64 * limbs - exponent) as u32)
                })
                .collect(),
        }
    })
}

/// The exponents of the characteristic polynomial except [`DEGREE`], in ascending order.
///
/// From Matsumoto and Nishimura (1998), "Mersenne Twister", appendix A: with `s = t^n + t^m`,
/// `v = t^(n-1) + t^(m-1)`, `w = 32` bits of which `r = 31` are taken from the next word, and the
/// bits `a` of the matrix, it is `s^(w-r) v^r`, plus `a_i s^(w-r) v^(r-1-i)` for `i < r`, plus
/// `a_i s^(w-1-i)` for the others.
pub(crate) fn lower_exponents() -> Vec<usize> {
    const W: usize = 32;
    const R: usize = 31;
    let mut coefficients = [false; DEGREE + 1];
    let mut add = |s: usize, v: usize| {
        // (t^a + t^b)^k has the terms whose binomial coefficient is odd: those whose bits k has too.
        for i in (0..=s).filter(|i| i & s == *i) {
            for j in (0..=v).filter(|j| j & v == *j) {
                let exponent = i * N + (s - i) * M + j * (N - 1) + (v - j) * (M - 1);
                coefficients[exponent] ^= true;
            }
        }
    };
    add(W - R, R);
    for i in (0..W).filter(|i| MATRIX >> i & 1 == 1) {
        if i < R {
            add(W - R, R - 1 - i);
        } else {
            add(W - 1 - i, 0);
        }
    }
    (0..DEGREE).filter(|e| coefficients[*e]).collect()
}

impl<const L: usize> Gf2Isa for Portable<L> {
    #[inline(always)]
    fn shl_u64(self, a: [u32; L], bits: u32) -> [u32; L] {
        map_pairs(a, |pair| pair << bits)
    }

    #[inline(always)]
    fn shr_u64(self, a: [u32; L], bits: u32) -> [u32; L] {
        map_pairs(a, |pair| pair >> bits)
    }

    #[inline(always)]
    fn square(self, bits: u64) -> u128 {
        let mut square = 0;
        for i in 0..64 {
            square |= u128::from(bits >> i & 1) << (2 * i);
        }
        square
    }
}

/// Applies `f` to pairs of words as 64-bit numbers, the low half first.
#[inline(always)]
fn map_pairs<const L: usize>(a: [u32; L], f: impl Fn(u64) -> u64) -> [u32; L] {
    from_fn(|i| {
        let pair = u64::from(a[i & !1]) | u64::from(a[i | 1]) << 32;
        (f(pair) >> (32 * (i & 1))) as u32
    })
}

impl<I: Gf2Isa> Gf2Isa for Unrolled2<I> {
    #[inline(always)]
    fn shl_u64(self, a: Self::U, bits: u32) -> Self::U {
        (self.0.shl_u64(a.0, bits), self.0.shl_u64(a.1, bits))
    }

    #[inline(always)]
    fn shr_u64(self, a: Self::U, bits: u32) -> Self::U {
        (self.0.shr_u64(a.0, bits), self.0.shr_u64(a.1, bits))
    }

    #[inline(always)]
    fn square(self, bits: u64) -> u128 {
        self.0.square(bits)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::Gf2Isa;
    use crate::arch::{Avx2, Avx512, Gfni};
    use std::arch::x86_64::*;

    impl Gf2Isa for Avx2 {
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
            // SAFETY: `self` proves that the CPU has PCLMULQDQ.
            unsafe { carryless_square(bits) }
        }
    }

    impl Gf2Isa for Avx512 {
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
            // SAFETY: `self` proves that the CPU has PCLMULQDQ.
            unsafe { carryless_square(bits) }
        }

        #[inline(always)]
        fn gfni(self) -> Option<Gfni> {
            Avx512::gfni(self)
        }
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn carryless_square(bits: u64) -> u128 {
        let bits = _mm_set_epi64x(0, bits as i64);
        let square = _mm_clmulepi64_si128::<0>(bits, bits);
        let high = _mm_unpackhi_epi64(square, square);
        (_mm_cvtsi128_si64(square) as u64 as u128) | (_mm_cvtsi128_si64(high) as u64 as u128) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Portable;

    #[test]
    fn the_characteristic_polynomial_has_135_terms() {
        let exponents = lower_exponents();
        // Matsumoto and Nishimura (1998), table II; the 135th is x^DEGREE.
        assert_eq!(exponents.len(), 134);
        assert_eq!(exponents[0], 0);
        assert!(
            DEGREE - exponents[133] >= 512,
            "a whole vector is computed at once"
        );
    }

    #[test]
    fn squared_powers_are_powers() {
        let isa = Portable::<8>;
        let power = |n| Polynomial::power_of_x(isa, n);
        for n in [0, 63, 9968, 9969, 19937, 123_456_789] {
            // x^n, squared bit by bit and reduced term by term.
            let mut product = vec![0u8; 2 * DEGREE];
            let half = power(n);
            for i in (0..DEGREE).filter(|i| half.bits(*i) & 1 == 1) {
                product[2 * i] ^= 1;
            }
            for top in (DEGREE..2 * DEGREE).rev() {
                if product[top] == 1 {
                    product[top] = 0;
                    for exponent in lower_exponents() {
                        product[top - DEGREE + exponent] ^= 1;
                    }
                }
            }
            let expected = power(2 * n);
            for (i, bit) in product[..DEGREE].iter().enumerate() {
                assert_eq!(u64::from(*bit), expected.bits(i) & 1, "x^{} at {i}", 2 * n);
            }
        }
    }
}
