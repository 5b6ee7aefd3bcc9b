//! The floating-point types of fused updates.

use crate::ffi;
use std::ffi::{c_int, c_void};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `f32` or `f64`.
pub(in crate::optim) trait Real:
    Copy
    + Send
    + Sync
    + PartialOrd
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    const ZERO: Self;
    const IS_DOUBLE: bool;

    /// A number of Python as ATen's kernels take it.
    fn of(number: f64) -> Self;

    /// `self * a + b`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;

    fn is_nan(self) -> bool;

    /// The nearest number to the square root.
    fn nearest_sqrt(self) -> Self;

    /// `self * a + b`, rounded once if `FMA`.
    #[inline(always)]
    fn times_plus<const FMA: bool>(self, a: Self, b: Self) -> Self {
        if FMA { self.fused(a, b) } else { self * a + b }
    }
}

macro_rules! real {
    ($type:ty, $is_double:literal) => {
        impl Real for $type {
            const ZERO: $type = 0.0;
            const IS_DOUBLE: bool = $is_double;

            #[inline(always)]
            fn of(number: f64) -> $type {
                number as $type
            }

            #[inline(always)]
            fn fused(self, a: $type, b: $type) -> $type {
                self.mul_add(a, b)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }

            #[inline(always)]
            fn nearest_sqrt(self) -> $type {
                self.sqrt()
            }
        }
    };
}

real!(f32, false);
real!(f64, true);

/// `vmsSqrt` or `vmdSqrt` of MKL: the number of elements, where from, where to, the mode.
type Vml<T> = unsafe extern "C" fn(c_int, *const T, *mut T, i64);

/// The square root of ATen's kernels: `ATen/cpu/vml.h`, PyTorch 2.13.
#[derive(Clone, Copy)]
pub(super) struct SquareRoot<T>(Option<Vml<T>>);

impl<T: Real> SquareRoot<T> {
    /// MKL's if libtorch has MKL, otherwise the CPU's.
    pub(super) fn of_libtorch() -> SquareRoot<T> {
        let function = ffi::vml_sqrt(T::IS_DOUBLE);
        // SAFETY: MKL's function of this name has this signature, and `T` is the type in its name.
        SquareRoot(
            function.map(|f| unsafe { std::mem::transmute::<*mut c_void, Vml<T>>(f.as_ptr()) }),
        )
    }

    /// Writes the square roots of `from`, as many as fit, to the beginning of `to`.
    #[inline(always)]
    pub(super) fn apply(self, from: &[T], to: &mut [T]) {
        // VML_HA | VML_FTZDAZ_OFF | VML_ERRMODE_IGNORE
        const MODE: i64 = 0x2 | 0x14_0000 | 0x100;
        let count = from.len().min(to.len());
        match (self.0, c_int::try_from(count)) {
            // SAFETY: there are as many elements in both.
            (Some(sqrt), Ok(count)) => unsafe { sqrt(count, from.as_ptr(), to.as_mut_ptr(), MODE) },
            _ => {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = from.nearest_sqrt();
                }
            }
        }
    }
}
