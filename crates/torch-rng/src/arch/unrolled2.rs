//! Two vectors as one of twice the lanes: instructions of both lie side by side, which a CPU
//! whose instructions wait for each other makes something of.

use super::{Isa, Kernel};

/// An instruction set with its vectors in pairs.
#[derive(Debug, Clone, Copy)]
pub struct Unrolled2<I>(pub(crate) I);

/// Methods that are done to both vectors.
macro_rules! both {
    ($($name:ident($($argument:ident: $type:ident),*) -> $result:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: Self::$type),*) -> Self::$result {
            (
                self.0.$name($($argument.0),*),
                self.0.$name($($argument.1),*),
            )
        }
    )*};
}

impl<I: Isa> Isa for Unrolled2<I> {
    type U = (I::U, I::U);
    type F = (I::F, I::F);
    type D = (I::D, I::D);
    type Wide = Unrolled2<I>;

    const LANES: usize = 2 * I::LANES;
    const KEEPS_STAGES: bool = I::KEEPS_STAGES;
    const EXPONENT_BIAS: u32 = I::EXPONENT_BIAS;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        struct Wide<K>(K);

        impl<K: Kernel> Kernel for Wide<K> {
            type Output = K::Output;

            #[inline(always)]
            fn run<I: Isa>(self, isa: I) -> K::Output {
                self.0.run(Unrolled2(isa))
            }
        }

        self.0.run(Wide(kernel))
    }

    #[inline(always)]
    fn wide(self) -> Unrolled2<I> {
        self
    }

    both! {
        and(a: U, b: U) -> U;
        select_bits(mask: U, ones: U, zeros: U) -> U;
        xor(a: U, b: U) -> U;
        add(a: U, b: U) -> U;
        sub(a: U, b: U) -> U;
        xor_if_odd(value: U, odd: U, other: U) -> U;
        to_f32(a: U) -> F;
        exponent(bits: U) -> F;
        bits(a: F) -> U;
        with_bits(a: U) -> F;
        add_f32(a: F, b: F) -> F;
        sub_f32(a: F, b: F) -> F;
        mul_f32(a: F, b: F) -> F;
        fmadd(a: F, b: F, c: F) -> F;
        fmsub(a: F, b: F, c: F) -> F;
        sqrt(a: F) -> F;
        opaque(a: F) -> F;
        select(mask: U, ones: F, zeros: F) -> F;
        replace(a: F, what: F, with: F) -> F;
        round_f16(a: F) -> F;
        low_53(words: U) -> D;
        fmadd_f64(a: D, b: D, c: D) -> D;
        replace_f64(a: D, what: D, with: D) -> D;
    }

    #[inline(always)]
    fn splat(self, word: u32) -> Self::U {
        let both = self.0.splat(word);
        (both, both)
    }

    #[inline(always)]
    fn splat_f32(self, value: f32) -> Self::F {
        let both = self.0.splat_f32(value);
        (both, both)
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> Self::D {
        let both = self.0.splat_f64(value);
        (both, both)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> Self::U {
        // SAFETY: the caller promises that the words of both are there.
        unsafe { (self.0.load(from), self.0.load(from.add(I::LANES))) }
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

    /// The words `M % LANES` behind may begin in either of a pair, so they are loaded.
    #[inline(always)]
    unsafe fn load_far(self, _low: Self::U, _high: Self::U, from: *const u32) -> Self::U {
        // SAFETY: the caller's promise.
        unsafe { self.load(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32, words: Self::U) {
        // SAFETY: the caller promises that there is room for both.
        unsafe {
            self.0.store(to, words.0);
            self.0.store(to.add(I::LANES), words.1);
        }
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self, a: Self::U) -> Self::U {
        (self.0.shl::<BITS>(a.0), self.0.shl::<BITS>(a.1))
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self, a: Self::U) -> Self::U {
        (self.0.shr::<BITS>(a.0), self.0.shr::<BITS>(a.1))
    }

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

    #[inline(always)]
    fn outside(self, a: Self::F, low: Self::F, high: Self::F) -> u64 {
        self.0.outside(a.0, low.0, high.0) | self.0.outside(a.1, low.1, high.1) << I::LANES
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, a: Self::F) {
        // SAFETY: the caller promises that there is room for both.
        unsafe {
            self.0.store_f32(to, a.0);
            self.0.store_f32(to.add(I::LANES), a.1);
        }
    }

    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, a: Self::F) {
        // SAFETY: as above; what is aligned to both is aligned to each.
        unsafe {
            self.0.stream_f32(to, a.0);
            self.0.stream_f32(to.add(I::LANES), a.1);
        }
    }

    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, a: Self::F, b: Self::F) {
        // SAFETY: the caller promises that there is room for all.
        unsafe {
            self.0.store_f16(to, a.0, a.1);
            self.0.store_f16(to.add(2 * I::LANES), b.0, b.1);
        }
    }

    #[inline(always)]
    unsafe fn store_u16(self, to: *mut u16, a: Self::U, b: Self::U) {
        // SAFETY: the caller promises that there is room for all.
        unsafe {
            self.0.store_u16(to, a.0, a.1);
            self.0.store_u16(to.add(2 * I::LANES), b.0, b.1);
        }
    }

    #[inline(always)]
    fn quadrant<const BIT: u32>(
        self,
        angle: Self::U,
        near_one: Self::F,
        near_zero: Self::F,
    ) -> (Self::F, Self::F) {
        let quadrant = |angle, one, zero| self.0.quadrant::<BIT>(angle, one, zero);
        let low = quadrant(angle.0, near_one.0, near_zero.0);
        let high = quadrant(angle.1, near_one.1, near_zero.1);
        ((low.0, high.0), (low.1, high.1))
    }

    #[inline(always)]
    unsafe fn load_blocks(self, from: *const u32) -> (Self::U, Self::U) {
        // SAFETY: the caller promises that the words of both are there.
        let (low, high) = unsafe {
            (
                self.0.load_blocks(from),
                self.0.load_blocks(from.add(2 * I::LANES)),
            )
        };
        ((low.0, high.0), (low.1, high.1))
    }

    #[inline(always)]
    fn blocks(self, first: Self::F, second: Self::F) -> (Self::F, Self::F) {
        (
            self.0.blocks(first.0, second.0),
            self.0.blocks(first.1, second.1),
        )
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, a: Self::D) {
        // SAFETY: the caller promises that there is room for both.
        unsafe {
            self.0.store_f64(to, a.0);
            self.0.store_f64(to.add(I::LANES / 2), a.1);
        }
    }
}
