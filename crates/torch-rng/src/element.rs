//! The element types of tensors, and how vectors of values are stored as them.

use crate::arch::{Isa, Portable, Unrolled2, both};
use crate::dtype::Dtype;
use crate::opmath::{Opmath, OpmathIsa};
use half::{bf16, f16};

/// A floating-point type that PyTorch draws on the CPU: `f32`, `f64`, [`bf16`] or [`struct@f16`].
///
/// The trait is sealed.
pub trait Element: sealed::Storage {
    /// The dtype of such elements.
    const DTYPE: Dtype;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::Float32;
}
impl Element for f64 {
    const DTYPE: Dtype = Dtype::Float64;
}
impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bfloat16;
}
impl Element for f16 {
    const DTYPE: Dtype = Dtype::Float16;
}

/// What rounding, storing and comparing elements need of an instruction set.
pub trait ElementIsa: OpmathIsa {
    /// Rounds to f16.
    fn round_f16(self, a: Self::F) -> Self::F;
    /// One bit per lane, that of the first lane lowest: whether the value is below `low` or above
    /// `high`. NaN is neither.
    fn outside(self, a: Self::F, low: Self::F, high: Self::F) -> u64;

    /// Rounds two vectors to f16 and stores them.
    ///
    /// # Safety
    ///
    /// `2 LANES` values of 16 bits can be written at `to`.
    unsafe fn store_f16(self, to: *mut u16, a: Self::F, b: Self::F);
    /// Stores two vectors of words below 2^16 as 16-bit values.
    ///
    /// # Safety
    ///
    /// `2 LANES` values of 16 bits can be written at `to`.
    unsafe fn store_u16(self, to: *mut u16, a: Self::U, b: Self::U);
    /// Stores a vector of f64.
    ///
    /// # Safety
    ///
    /// `LANES / 2` values can be written at `to`.
    unsafe fn store_f64(self, to: *mut f64, a: Self::D);
    /// Stores a vector of f32 without caching it; [`fence`](Self::fence) must follow before other
    /// threads read it.
    ///
    /// # Safety
    ///
    /// `LANES` values can be written at `to`, which is aligned to the size of a vector.
    unsafe fn store_non_temporal(self, to: *mut f32, a: Self::F);
    /// Orders non-temporal stores before all later stores.
    fn fence(self);
}

/// A vector of the type that elements `T` are computed in.
pub type Vector<T, I> = <<T as sealed::Storage>::Opmath as Opmath>::Vector<I>;

/// A computation that exists only for elements computed in f32.
pub trait InSingle<T: Element> {
    type Output;
    fn run(self) -> Self::Output
    where
        T: Element<Opmath = f32>;
}

pub(crate) mod sealed {
    use super::*;

    /// How an element type is computed and stored.
    pub trait Storage: Copy + PartialOrd + Send + Sync + 'static {
        /// `at::opmath_type`: the type of the arithmetic.
        type Opmath: Opmath;

        /// `std::numeric_limits<scalar_t>::max()`.
        const MAX: f64;
        /// `std::numeric_limits<scalar_t>::digits`.
        const DIGITS: u32;
        /// Whether non-temporal stores exist.
        const HAS_NON_TEMPORAL: bool = false;

        fn from_f64(value: f64) -> Self;
        fn from_opmath(value: Self::Opmath) -> Self;
        fn to_opmath(self) -> Self::Opmath;

        /// Rounds to the values of this type. The values are not NaN.
        fn round<I: ElementIsa>(isa: I, values: Vector<Self, I>) -> Vector<Self, I>;

        /// Rounds two vectors and stores them one after the other. The values are not NaN.
        ///
        /// # Safety
        ///
        /// The items of both can be written at `to`, which is aligned to a vector if the store is
        /// non-temporal.
        unsafe fn store<I: ElementIsa, const NON_TEMPORAL: bool>(
            isa: I,
            to: *mut Self,
            first: Vector<Self, I>,
            second: Vector<Self, I>,
        );

        /// Runs the computation; `None`, with nothing done, for elements computed in f64.
        fn in_single<C: InSingle<Self>>(computation: C) -> Option<C::Output>
        where
            Self: Element;
    }
}

impl sealed::Storage for f32 {
    type Opmath = f32;
    const MAX: f64 = f32::MAX as f64;
    const DIGITS: u32 = f32::MANTISSA_DIGITS;
    const HAS_NON_TEMPORAL: bool = true;

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn from_opmath(value: f32) -> f32 {
        value
    }

    fn to_opmath(self) -> f32 {
        self
    }

    #[inline(always)]
    fn round<I: ElementIsa>(_isa: I, values: I::F) -> I::F {
        values
    }

    #[inline(always)]
    unsafe fn store<I: ElementIsa, const NON_TEMPORAL: bool>(
        isa: I,
        to: *mut f32,
        first: I::F,
        second: I::F,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if NON_TEMPORAL {
                isa.store_non_temporal(to, first);
                isa.store_non_temporal(to.add(I::LANES), second);
            } else {
                isa.store_f32(to, first);
                isa.store_f32(to.add(I::LANES), second);
            }
        }
    }

    fn in_single<C: InSingle<f32>>(computation: C) -> Option<C::Output> {
        Some(computation.run())
    }
}

impl sealed::Storage for f64 {
    type Opmath = f64;
    const MAX: f64 = f64::MAX;
    const DIGITS: u32 = f64::MANTISSA_DIGITS;

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn from_opmath(value: f64) -> f64 {
        value
    }

    fn to_opmath(self) -> f64 {
        self
    }

    #[inline(always)]
    fn round<I: ElementIsa>(_isa: I, values: I::D) -> I::D {
        values
    }

    #[inline(always)]
    unsafe fn store<I: ElementIsa, const NON_TEMPORAL: bool>(
        isa: I,
        to: *mut f64,
        first: I::D,
        second: I::D,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            isa.store_f64(to, first);
            isa.store_f64(to.add(I::LANES / 2), second);
        }
    }

    fn in_single<C: InSingle<f64>>(_computation: C) -> Option<C::Output> {
        None
    }
}

impl sealed::Storage for bf16 {
    type Opmath = f32;
    // 0x7f7f
    const MAX: f64 = 3.389_531_389_251_535_5e38;
    const DIGITS: u32 = bf16::MANTISSA_DIGITS;

    fn from_f64(value: f64) -> bf16 {
        // Rounded to f32 first, as a C++ cast to c10::BFloat16 is.
        Self::from_opmath(value as f32)
    }

    fn from_opmath(value: f32) -> bf16 {
        if value.is_nan() {
            // c10 has a single NaN, `half` keeps sign and payload.
            return bf16::from_bits(0x7fc0);
        }
        bf16::from_f32(value)
    }

    fn to_opmath(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn round<I: ElementIsa>(isa: I, values: I::F) -> I::F {
        isa.from_bits(isa.and(rounded_up(isa, values), isa.splat(0xffff_0000)))
    }

    #[inline(always)]
    unsafe fn store<I: ElementIsa, const NON_TEMPORAL: bool>(
        isa: I,
        to: *mut bf16,
        first: I::F,
        second: I::F,
    ) {
        let first = isa.shr::<16>(rounded_up(isa, first));
        let second = isa.shr::<16>(rounded_up(isa, second));
        // SAFETY: the caller's promise; a `bf16` is a `u16`.
        unsafe { isa.store_u16(to.cast(), first, second) }
    }

    fn in_single<C: InSingle<bf16>>(computation: C) -> Option<C::Output> {
        Some(computation.run())
    }
}

impl sealed::Storage for f16 {
    type Opmath = f32;
    const MAX: f64 = 65504.0;
    const DIGITS: u32 = f16::MANTISSA_DIGITS;

    fn from_f64(value: f64) -> f16 {
        // Rounded to f32 first, as a C++ cast to c10::Half is.
        f16::from_f32(value as f32)
    }

    fn from_opmath(value: f32) -> f16 {
        f16::from_f32(value)
    }

    fn to_opmath(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn round<I: ElementIsa>(isa: I, values: I::F) -> I::F {
        isa.round_f16(values)
    }

    #[inline(always)]
    unsafe fn store<I: ElementIsa, const NON_TEMPORAL: bool>(
        isa: I,
        to: *mut f16,
        first: I::F,
        second: I::F,
    ) {
        // SAFETY: the caller's promise; an `f16` is a `u16`.
        unsafe { isa.store_f16(to.cast(), first, second) }
    }

    fn in_single<C: InSingle<f16>>(computation: C) -> Option<C::Output> {
        Some(computation.run())
    }
}

/// The bits of values that are not NaN, rounded to nearest even at bit 16; the low half is left over.
#[inline(always)]
fn rounded_up<I: Isa>(isa: I, values: I::F) -> I::U {
    let bits = isa.bits(values);
    let odd = isa.and(isa.shr::<16>(bits), isa.splat(1));
    isa.add(isa.add(bits, isa.splat(0x7fff)), odd)
}

impl<const L: usize> ElementIsa for Portable<L> {
    #[inline(always)]
    fn round_f16(self, a: [f32; L]) -> [f32; L] {
        a.map(|a| f16::from_f32(a).to_f32())
    }

    #[inline(always)]
    fn outside(self, a: [f32; L], low: [f32; L], high: [f32; L]) -> u64 {
        (0..L).fold(0, |bits, i| {
            bits | u64::from(a[i] < low[i] || a[i] > high[i]) << i
        })
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, a: [f32; L], b: [f32; L]) {
        let halves = |a: [f32; L]| a.map(|a| f16::from_f32(a).to_bits());
        // SAFETY: the caller's promise.
        unsafe {
            to.cast::<[[u16; L]; 2]>()
                .write_unaligned([halves(a), halves(b)]);
        }
    }

    #[inline(always)]
    unsafe fn store_u16(self, to: *mut u16, a: [u32; L], b: [u32; L]) {
        // SAFETY: the caller's promise.
        unsafe {
            to.cast::<[[u16; L]; 2]>()
                .write_unaligned([a.map(|a| a as u16), b.map(|b| b as u16)]);
        }
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, a: Self::D) {
        // SAFETY: the caller promises that the first half can be written.
        unsafe { to.copy_from_nonoverlapping(a.as_ptr(), L / 2) }
    }

    #[inline(always)]
    unsafe fn store_non_temporal(self, to: *mut f32, a: [f32; L]) {
        // SAFETY: the caller's promise.
        unsafe { self.store_f32(to, a) }
    }

    #[inline(always)]
    fn fence(self) {}
}

impl<I: ElementIsa> ElementIsa for Unrolled2<I> {
    both! {
        round_f16(a: F) -> F;
    }

    #[inline(always)]
    fn outside(self, a: Self::F, low: Self::F, high: Self::F) -> u64 {
        self.0.outside(a.0, low.0, high.0) | self.0.outside(a.1, low.1, high.1) << I::LANES
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, a: Self::F, b: Self::F) {
        // SAFETY: the caller promises that all can be written.
        unsafe {
            self.0.store_f16(to, a.0, a.1);
            self.0.store_f16(to.add(2 * I::LANES), b.0, b.1);
        }
    }

    #[inline(always)]
    unsafe fn store_u16(self, to: *mut u16, a: Self::U, b: Self::U) {
        // SAFETY: the caller promises that all can be written.
        unsafe {
            self.0.store_u16(to, a.0, a.1);
            self.0.store_u16(to.add(2 * I::LANES), b.0, b.1);
        }
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, a: Self::D) {
        // SAFETY: the caller promises that both can be written.
        unsafe {
            self.0.store_f64(to, a.0);
            self.0.store_f64(to.add(I::LANES / 2), a.1);
        }
    }

    #[inline(always)]
    unsafe fn store_non_temporal(self, to: *mut f32, a: Self::F) {
        // SAFETY: as above; an address aligned to both vectors is aligned to each.
        unsafe {
            self.0.store_non_temporal(to, a.0);
            self.0.store_non_temporal(to.add(I::LANES), a.1);
        }
    }

    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::ElementIsa;
    use crate::arch::{Avx2, Avx512, instructions};
    use std::arch::x86_64::*;

    impl ElementIsa for Avx2 {
        instructions! {
            round_f16(a: F) -> F =
                _mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a));
        }

        #[inline(always)]
        fn outside(self, a: __m256, low: __m256, high: __m256) -> u64 {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe {
                let below = _mm256_cmp_ps::<_CMP_LT_OQ>(a, low);
                let above = _mm256_cmp_ps::<_CMP_GT_OQ>(a, high);
                _mm256_movemask_ps(_mm256_or_ps(below, above)) as u64
            }
        }

        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16, a: __m256, b: __m256) {
            // SAFETY: as above; the caller promises that the values can be written.
            unsafe {
                let low = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a);
                let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(b);
                _mm256_storeu_si256(to.cast(), _mm256_set_m128i(high, low));
            }
        }

        #[inline(always)]
        unsafe fn store_u16(self, to: *mut u16, a: __m256i, b: __m256i) {
            // SAFETY: as above; the caller promises that the values can be written.
            unsafe {
                // `packus` packs the halves of the registers separately.
                let packed = _mm256_packus_epi32(a, b);
                let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                _mm256_storeu_si256(to.cast(), in_order);
            }
        }

        #[inline(always)]
        unsafe fn store_f64(self, to: *mut f64, a: __m256d) {
            // SAFETY: as above; the caller promises that the values can be written.
            unsafe { _mm256_storeu_pd(to, a) }
        }

        #[inline(always)]
        unsafe fn store_non_temporal(self, to: *mut f32, a: __m256) {
            // SAFETY: as above; the caller promises room and alignment.
            unsafe { _mm256_stream_ps(to, a) }
        }

        #[inline(always)]
        fn fence(self) {
            // SAFETY: `self` proves that the CPU has the instruction.
            unsafe { _mm_sfence() }
        }
    }

    /// Rounding to nearest even, as an operand.
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    impl ElementIsa for Avx512 {
        instructions! {
            round_f16(a: F) -> F = _mm512_cvtph_ps(_mm512_cvtps_ph::<NEAREST>(a));
        }

        #[inline(always)]
        fn outside(self, a: __m512, low: __m512, high: __m512) -> u64 {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe {
                let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, low);
                let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, high);
                u64::from(below | above)
            }
        }

        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16, a: __m512, b: __m512) {
            // SAFETY: as above; the caller promises that the values can be written.
            unsafe {
                let (low, high) = (_mm512_cvtps_ph::<NEAREST>(a), _mm512_cvtps_ph::<NEAREST>(b));
                _mm256_storeu_si256(to.cast(), low);
                _mm256_storeu_si256(to.add(16).cast(), high);
            }
        }

        #[inline(always)]
        unsafe fn store_u16(self, to: *mut u16, a: __m512i, b: __m512i) {
            // SAFETY: as above; the caller promises that the values can be written.
            unsafe {
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(a));
                _mm256_storeu_si256(to.add(16).cast(), _mm512_cvtepi32_epi16(b));
            }
        }

        #[inline(always)]
        unsafe fn store_f64(self, to: *mut f64, a: __m512d) {
            // SAFETY: as above; the caller promises that the values can be written.
            unsafe { _mm512_storeu_pd(to, a) }
        }

        #[inline(always)]
        unsafe fn store_non_temporal(self, to: *mut f32, a: __m512) {
            // SAFETY: as above; the caller promises room and alignment.
            unsafe { _mm512_stream_ps(to, a) }
        }

        #[inline(always)]
        fn fence(self) {
            // SAFETY: `self` proves that the CPU has the instruction.
            unsafe { _mm_sfence() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sealed::Storage;
    use super::*;

    #[test]
    fn max_is_the_largest_value() {
        assert_eq!(bf16::MAX.to_f64(), <bf16 as Storage>::MAX);
        assert_eq!(f16::MAX.to_f64(), <f16 as Storage>::MAX);
    }

    #[test]
    fn ties_round_to_even() {
        let rounded = |bits| <bf16 as Storage>::from_opmath(f32::from_bits(bits)).to_bits();
        assert_eq!(rounded(0x3f80_8000), 0x3f80);
        assert_eq!(rounded(0x3f81_8000), 0x3f82);
        assert_eq!(rounded((-f32::NAN).to_bits()), 0x7fc0);
    }
}
