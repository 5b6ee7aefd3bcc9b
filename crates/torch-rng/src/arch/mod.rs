//! Vectors of the CPU, one file per instruction set.
//!
//! A value of a token type ([`Avx2`], [`Avx512`]) proves that this CPU has the instructions: only
//! the type's `new` makes one, after it has asked the CPU. So the operations of [`Isa`], which are
//! methods of the token, are safe to call, but for those that take a pointer. Code that is generic
//! over [`Isa`] is a [`Kernel`], and runs compiled for the instruction set by [`Isa::run`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod galois;
mod portable;
mod unrolled2;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) use galois::Galois;
pub(crate) use portable::Portable;
#[cfg(test)]
pub(crate) use unrolled2::Unrolled2;

/// Code that one function compiled for an instruction set runs.
pub(crate) trait Kernel {
    type Output;

    /// Must be `#[inline(always)]`, and so everything it calls that takes an `Isa`: only what ends
    /// up inside [`Isa::run`] is compiled for the instruction set.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

/// An instruction set, as far as draws need one. The lanes of a vector are numbered as memory is.
pub(crate) trait Isa: Copy {
    /// `LANES` words of 32 bits.
    type U: Copy;
    /// `LANES` values of f32.
    type F: Copy;
    /// `LANES / 2` values of f64.
    type D: Copy;

    /// Vectors of which several parts are in work at a time, if the CPU needs that and stages are not
    /// kept.
    type Wide: Isa;

    const LANES: usize;
    /// Whether it has registers for several vectors, each at another stage of a long calculation.
    const KEEPS_STAGES: bool;
    /// What is added to the bits of floats for [`exponent`](Self::exponent).
    const EXPONENT_BIAS: u32 = 0;

    fn wide(self) -> Self::Wide;

    /// The instructions by which jumps add bit planes, if the CPU has them.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn galois(self) -> Option<Galois> {
        None
    }

    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat(self, word: u32) -> Self::U;
    fn splat_f32(self, value: f32) -> Self::F;
    fn splat_f64(self, value: f64) -> Self::D;

    /// # Safety
    ///
    /// `LANES` words can be read at `from`.
    unsafe fn load(self, from: *const u32) -> Self::U;

    /// What begins one lane behind the begin of `low`, of which `high` is the neighbour in memory.
    ///
    /// # Safety
    ///
    /// `LANES` words can be read at `from`, and they are those.
    unsafe fn load_next(self, low: Self::U, high: Self::U, from: *const u32) -> Self::U;

    /// The same, `M % LANES` lanes behind.
    ///
    /// # Safety
    ///
    /// As [`load_next`](Self::load_next).
    unsafe fn load_far(self, low: Self::U, high: Self::U, from: *const u32) -> Self::U;

    /// # Safety
    ///
    /// `LANES` words can be written at `to`.
    unsafe fn store(self, to: *mut u32, words: Self::U);

    fn and(self, a: Self::U, b: Self::U) -> Self::U;
    /// The bits of `ones` where `mask` has a 1, elsewhere those of `zeros`.
    fn select_bits(self, mask: Self::U, ones: Self::U, zeros: Self::U) -> Self::U;
    fn xor(self, a: Self::U, b: Self::U) -> Self::U;
    fn add(self, a: Self::U, b: Self::U) -> Self::U;
    fn sub(self, a: Self::U, b: Self::U) -> Self::U;
    fn shl<const BITS: u32>(self, a: Self::U) -> Self::U;
    fn shr<const BITS: u32>(self, a: Self::U) -> Self::U;
    /// Shifts pairs of words, the low half first, by less than 64.
    fn shl_u64(self, a: Self::U, bits: u32) -> Self::U;
    /// Shifts pairs of words, the low half first, by less than 64.
    fn shr_u64(self, a: Self::U, bits: u32) -> Self::U;
    /// The square of a polynomial over GF(2): a zero between each two bits.
    fn square(self, bits: u64) -> u128;
    /// `value` with `other` added bit by bit where `odd` has its lowest bit set.
    fn xor_if_odd(self, value: Self::U, odd: Self::U, other: Self::U) -> Self::U;

    /// From signed numbers, rounded to nearest even.
    fn to_f32(self, a: Self::U) -> Self::F;
    /// `(bits - EXPONENT_BIAS) >> 23` of signed numbers, between -126 and 127.
    fn exponent(self, bits: Self::U) -> Self::F;
    fn bits(self, a: Self::F) -> Self::U;
    fn with_bits(self, a: Self::U) -> Self::F;
    fn add_f32(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub_f32(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul_f32(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fmadd(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a * b - c`, rounded once.
    fn fmsub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `a`, of which the compiler then knows nothing: what it was made from is done in all lanes
    /// before anything is done with it in any. It is free to be just `a`.
    fn opaque(self, a: Self::F) -> Self::F {
        a
    }
    /// `ones` where `mask` has its highest bit set, elsewhere `zeros`.
    fn select(self, mask: Self::U, ones: Self::F, zeros: Self::F) -> Self::F;
    /// The sine and the cosine of an angle whose nearest quarter of a turn is the number in `BIT` and
    /// the next bit of `angle`; `near_one` and `near_zero` are cosine and sine of the rest.
    fn quadrant<const BIT: u32>(
        self,
        angle: Self::U,
        near_one: Self::F,
        near_zero: Self::F,
    ) -> (Self::F, Self::F);
    /// `with` where `a` equals `what`, elsewhere `a`.
    fn replace(self, a: Self::F, what: Self::F, with: Self::F) -> Self::F;
    /// A bit for every lane, the first lane's lowest: whether it is below `low` or above `high`. NaN is neither.
    fn outside(self, a: Self::F, low: Self::F, high: Self::F) -> u64;
    /// Rounded to f16.
    fn round_f16(self, a: Self::F) -> Self::F;

    /// # Safety
    ///
    /// `LANES` values can be written at `to`.
    unsafe fn store_f32(self, to: *mut f32, a: Self::F);
    /// Past the caches; [`fence`](Self::fence) must follow before other threads may read.
    ///
    /// # Safety
    ///
    /// `LANES` values can be written at `to`, which is aligned to as many bytes as they have.
    unsafe fn stream_f32(self, to: *mut f32, a: Self::F);
    /// Orders streamed stores before all later ones.
    fn fence(self);
    /// Two vectors, one behind the other, rounded to f16.
    ///
    /// # Safety
    ///
    /// `2 LANES` values of 16 bits can be written at `to`.
    unsafe fn store_f16(self, to: *mut u16, a: Self::F, b: Self::F);
    /// The low 16 bits of two vectors of words that have no others.
    ///
    /// # Safety
    ///
    /// `2 LANES` values of 16 bits can be written at `to`.
    unsafe fn store_u16(self, to: *mut u16, a: Self::U, b: Self::U);

    /// The first halves of blocks of 16 words, and the second halves.
    ///
    /// # Safety
    ///
    /// `2 LANES` words can be read at `from`.
    unsafe fn load_blocks(self, from: *const u32) -> (Self::U, Self::U);
    /// From the first and second halves of blocks of 16, the blocks.
    fn blocks(self, first: Self::F, second: Self::F) -> (Self::F, Self::F);

    /// The low 53 bits of pairs of words, the first of a pair being the high half.
    fn low_53(self, words: Self::U) -> Self::D;
    /// `a * b + c`, rounded once.
    fn fmadd_f64(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
    /// `with` where `a` equals `what`, elsewhere `a`.
    fn replace_f64(self, a: Self::D, what: Self::D, with: Self::D) -> Self::D;
    /// # Safety
    ///
    /// `LANES / 2` values can be written at `to`.
    unsafe fn store_f64(self, to: *mut f64, a: Self::D);
}
