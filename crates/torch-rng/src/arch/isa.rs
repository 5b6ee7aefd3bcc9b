//! The vector operations that several algorithms share.

/// An instruction set: vectors of 32-bit lanes, numbered in memory order.
///
/// Every method, and every function that takes an `Isa`, must be `#[inline(always)]`, and must not be called
/// in a closure that a function of std calls: only code that is inlined into `Simd::run` is compiled for
/// the instruction set. Other code is correct and forty times slower.
pub trait Isa: Copy {
    /// `LANES` words of 32 bits.
    type U: Copy;
    /// `LANES` values of f32.
    type F: Copy;

    /// The number of 32-bit lanes of a vector, 8 or more.
    const LANES: usize;

    /// Copies a word into every lane.
    fn splat(self, word: u32) -> Self::U;

    /// Copies a value into every lane.
    #[inline(always)]
    fn splat_f32(self, value: f32) -> Self::F {
        self.from_bits(self.splat(value.to_bits()))
    }

    /// Loads a vector from any address.
    ///
    /// # Safety
    ///
    /// `LANES` words can be read at `from`.
    unsafe fn load(self, from: *const u32) -> Self::U;

    /// Stores a vector to any address.
    ///
    /// # Safety
    ///
    /// `LANES` words can be written at `to`.
    unsafe fn store(self, to: *mut u32, words: Self::U);

    /// Stores a vector to any address.
    ///
    /// # Safety
    ///
    /// `LANES` values can be written at `to`.
    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, values: Self::F) {
        // SAFETY: the caller's promise; an f32 has the size of a word.
        unsafe { self.store(to.cast(), self.bits(values)) }
    }

    /// Bitwise and.
    fn and(self, a: Self::U, b: Self::U) -> Self::U;
    /// Bitwise exclusive or.
    fn xor(self, a: Self::U, b: Self::U) -> Self::U;
    /// Wrapping addition.
    fn add(self, a: Self::U, b: Self::U) -> Self::U;
    /// Shifts each word toward its highest bit.
    fn shl<const BITS: u32>(self, a: Self::U) -> Self::U;
    /// Shifts each word toward its lowest bit.
    fn shr<const BITS: u32>(self, a: Self::U) -> Self::U;

    /// Converts signed integers, rounding to nearest even.
    fn to_f32(self, a: Self::U) -> Self::F;
    /// The bit patterns of the values.
    fn bits(self, a: Self::F) -> Self::U;
    /// The values of the bit patterns.
    #[allow(clippy::wrong_self_convention)]
    fn from_bits(self, a: Self::U) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fmadd(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
}

/// Defines safe methods of a token, each an expression of intrinsics.
#[cfg(target_arch = "x86_64")]
macro_rules! instructions {
    ($($name:ident($($argument:ident: $type:ident),*) -> $result:ident = $instruction:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: Self::$type),*) -> Self::$result {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { $instruction }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
pub(crate) use instructions;
