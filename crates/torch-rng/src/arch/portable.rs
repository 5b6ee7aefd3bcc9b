//! Vectors in plain Rust, for any CPU and for Miri: `LANES` is 8 or 16.

use super::unrolled2::Unrolled2;
use super::{Isa, Kernel};
use half::f16;
use std::array::from_fn;

/// Needs nothing, so there is nothing to prove.
#[derive(Debug, Clone, Copy)]
pub struct Portable<const LANES: usize>;

/// As many values as lanes, so that the type can be named; only the first half is used.
type Halved<const LANES: usize> = [f64; LANES];

impl<const L: usize> Isa for Portable<L> {
    type U = [u32; L];
    type F = [f32; L];
    type D = Halved<L>;
    type Wide = Unrolled2<Portable<L>>;

    const LANES: usize = L;
    /// Both ways are tested.
    const KEEPS_STAGES: bool = L == 16;

    #[inline(always)]
    fn wide(self) -> Unrolled2<Portable<L>> {
        Unrolled2(self)
    }

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        const { assert!(L == 8 || L == 16) };
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, word: u32) -> [u32; L] {
        [word; L]
    }

    #[inline(always)]
    fn splat_f32(self, value: f32) -> [f32; L] {
        [value; L]
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> Halved<L> {
        [value; L]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> [u32; L] {
        // SAFETY: the caller promises that the words are there.
        unsafe { from.cast::<[u32; L]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_next(self, _low: [u32; L], _high: [u32; L], from: *const u32) -> [u32; L] {
        // SAFETY: the caller promises that the words are there.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    unsafe fn load_far(self, _low: [u32; L], _high: [u32; L], from: *const u32) -> [u32; L] {
        // SAFETY: the caller promises that the words are there.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: [u32; L]) {
        // SAFETY: the caller promises that the place is there.
        unsafe { to.cast::<[u32; L]>().write_unaligned(words) }
    }

    #[inline(always)]
    fn and(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn select_bits(self, mask: [u32; L], ones: [u32; L], zeros: [u32; L]) -> [u32; L] {
        from_fn(|i| ones[i] & mask[i] | zeros[i] & !mask[i])
    }

    #[inline(always)]
    fn xor(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        from_fn(|i| a[i] ^ b[i])
    }

    #[inline(always)]
    fn add(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn sub(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self, a: [u32; L]) -> [u32; L] {
        a.map(|a| a << BITS)
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self, a: [u32; L]) -> [u32; L] {
        a.map(|a| a >> BITS)
    }

    #[inline(always)]
    fn shl_u64(self, a: [u32; L], bits: u32) -> [u32; L] {
        pairs(a, |pair| pair << bits)
    }

    #[inline(always)]
    fn shr_u64(self, a: [u32; L], bits: u32) -> [u32; L] {
        pairs(a, |pair| pair >> bits)
    }

    #[inline(always)]
    fn square(self, bits: u64) -> u128 {
        let mut square = 0;
        for i in 0..64 {
            square |= u128::from(bits >> i & 1) << (2 * i);
        }
        square
    }

    #[inline(always)]
    fn xor_if_odd(self, value: [u32; L], odd: [u32; L], other: [u32; L]) -> [u32; L] {
        from_fn(|i| value[i] ^ if odd[i] & 1 == 0 { 0 } else { other[i] })
    }

    #[inline(always)]
    fn to_f32(self, a: [u32; L]) -> [f32; L] {
        a.map(|a| a as i32 as f32)
    }

    #[inline(always)]
    fn bits(self, a: [f32; L]) -> [u32; L] {
        a.map(f32::to_bits)
    }

    #[inline(always)]
    fn with_bits(self, a: [u32; L]) -> [f32; L] {
        a.map(f32::from_bits)
    }

    #[inline(always)]
    fn add_f32(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub_f32(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul_f32(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn fmadd(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
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
    fn replace(self, a: [f32; L], what: [f32; L], with: [f32; L]) -> [f32; L] {
        from_fn(|i| if a[i] == what[i] { with[i] } else { a[i] })
    }

    #[inline(always)]
    fn outside(self, a: [f32; L], low: [f32; L], high: [f32; L]) -> u64 {
        (0..L).fold(0, |bits, i| {
            bits | u64::from(a[i] < low[i] || a[i] > high[i]) << i
        })
    }

    #[inline(always)]
    fn round_f16(self, a: [f32; L]) -> [f32; L] {
        a.map(|a| f16::from_f32(a).to_f32())
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, a: [f32; L]) {
        // SAFETY: the caller promises that the place is there.
        unsafe { to.cast::<[f32; L]>().write_unaligned(a) }
    }

    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, a: [f32; L]) {
        // SAFETY: the caller promises that the place is there and aligned.
        unsafe { self.store_f32(to, a) }
    }

    #[inline(always)]
    fn fence(self) {}

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, a: [f32; L], b: [f32; L]) {
        let halves = |a: [f32; L]| a.map(|a| f16::from_f32(a).to_bits());
        // SAFETY: the caller promises that the place is there.
        unsafe {
            to.cast::<[[u16; L]; 2]>()
                .write_unaligned([halves(a), halves(b)]);
        }
    }

    #[inline(always)]
    unsafe fn store_u16(self, to: *mut u16, a: [u32; L], b: [u32; L]) {
        // SAFETY: the caller promises that the place is there.
        unsafe {
            to.cast::<[[u16; L]; 2]>()
                .write_unaligned([a.map(|a| a as u16), b.map(|b| b as u16)]);
        }
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
        // SAFETY: the caller promises that the words are there.
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

    #[inline(always)]
    fn low_53(self, words: [u32; L]) -> Halved<L> {
        from_fn(|i| {
            let at = 2 * i % L;
            let whole = u64::from(words[at]) << 32 | u64::from(words[at + 1]);
            (whole & ((1 << 53) - 1)) as f64
        })
    }

    #[inline(always)]
    fn fmadd_f64(self, a: Halved<L>, b: Halved<L>, c: Halved<L>) -> Halved<L> {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn replace_f64(self, a: Halved<L>, what: Halved<L>, with: Halved<L>) -> Halved<L> {
        from_fn(|i| if a[i] == what[i] { with[i] } else { a[i] })
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, a: Halved<L>) {
        // SAFETY: the caller promises that there is place for the first half.
        unsafe { to.copy_from_nonoverlapping(a.as_ptr(), L / 2) }
    }
}

/// Words as numbers of 64 bits, the low half first.
#[inline(always)]
fn pairs<const L: usize>(a: [u32; L], f: impl Fn(u64) -> u64) -> [u32; L] {
    from_fn(|i| {
        let pair = u64::from(a[i & !1]) | u64::from(a[i | 1]) << 32;
        (f(pair) >> (32 * (i & 1))) as u32
    })
}
