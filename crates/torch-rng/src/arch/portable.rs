//! Vectors in plain Rust, for any CPU and for Miri: 8 or 16 lanes.

use super::isa::Isa;
use std::array::from_fn;

/// Needs no CPU features, so there is nothing to prove.
#[derive(Debug, Clone, Copy)]
pub struct Portable<const LANES: usize>;

/// As many values as lanes, so that the type can be named; only the first half is used.
pub type Halved<const LANES: usize> = [f64; LANES];

impl<const L: usize> Isa for Portable<L> {
    type U = [u32; L];
    type F = [f32; L];

    const LANES: usize = {
        assert!(L == 8 || L == 16);
        L
    };

    #[inline(always)]
    fn splat(self, word: u32) -> [u32; L] {
        [word; L]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> [u32; L] {
        // SAFETY: the caller promises that the words can be read.
        unsafe { from.cast::<[u32; L]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: [u32; L]) {
        // SAFETY: the caller promises that the words can be written.
        unsafe { to.cast::<[u32; L]>().write_unaligned(words) }
    }

    #[inline(always)]
    fn and(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        from_fn(|i| a[i] & b[i])
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
    fn shl<const BITS: u32>(self, a: [u32; L]) -> [u32; L] {
        a.map(|a| a << BITS)
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self, a: [u32; L]) -> [u32; L] {
        a.map(|a| a >> BITS)
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
    fn from_bits(self, a: [u32; L]) -> [f32; L] {
        a.map(f32::from_bits)
    }

    #[inline(always)]
    fn fmadd(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
}
