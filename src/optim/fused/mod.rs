//! Updates in one pass over memory, with the bits of the operators that they stand for.
//!
//! ATen's operators go through memory once each, eight times in a step of Adam. Here a chunk that fits into the cache
//! goes through all of them. The operators round after each operation, but for the fused multiply-adds of `add`, `addcmul` and
//! `lerp` where libtorch runs its AVX2 or AVX-512 kernels, in which the remainder of a vector is computed as the rest
//! (`ATen/native/cpu/{BinaryOpsKernel,LerpKernel,PointwiseOpsKernel}.cpp` of PyTorch 2.13, and tests here). The square root
//! is MKL's, which is not always the nearest number.
//!
//! Whatever is unusual goes through the operators: tensors that are more than contiguous numbers of one floating-point type,
//! that overlap, or that hold a NaN, of which the operators choose among several; threads that intercept operators or flush
//! denormal numbers; a libtorch for which the self-check fails.

mod memory;
mod real;
mod self_check;
mod step;
mod threads;

pub(super) use real::Real;
pub(super) use step::{Chunk, Step, bits};

use super::error::OptimError;
use crate::ffi::{self, Fact};
use crate::rng::Backend;
use memory::Arrays;
use real::SquareRoot;
use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;
use step::CHUNK;
use tch::Tensor;

thread_local! {
    static FUSED: Cell<u64> = const { Cell::new(0) };
}

/// The number of updates of parameters on this thread that went once through memory. For tests: no bit depends on it.
#[doc(hidden)]
pub fn fused_updates() -> u64 {
    FUSED.get()
}

/// Updates a parameter: the tensors are the parameter, its gradient, and its state.
pub(super) fn update<S: Step>(step: &S, tensors: &mut [Tensor]) -> Result<(), OptimError> {
    let Some(exceptions) = try_update(step, tensors)? else {
        return step.by_operators(tensors);
    };
    FUSED.set(FUSED.get() + 1);
    for range in exceptions {
        let (start, length) = (range.start as i64, range.len() as i64);
        let part = |tensor: &Tensor| tensor.f_view([-1])?.f_narrow(0, start, length);
        let parts = tensors.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        step.by_operators(&parts)?;
    }
    Ok(())
}

/// The ranges of elements that are left to the operators; `None`, with nothing changed, if all are.
fn try_update<S: Step>(
    step: &S,
    tensors: &mut [Tensor],
) -> Result<Option<Vec<Range<usize>>>, OptimError> {
    let Some(contraction) = contraction() else {
        return Ok(None);
    };
    if !ffi::dispatch_is_plain() || !has_default_control() {
        return Ok(None);
    }
    let libtorch = |message: String| OptimError::libtorch("step", &message);
    let Some(arrays) = Arrays::of(tensors).map_err(libtorch)? else {
        return Ok(None);
    };
    let is_double = arrays.is_double();
    let passes = self_check::passes(step, is_double, |trial, tensors| {
        let arrays = Arrays::of(tensors).ok()??;
        // SAFETY: the tensors are new, and of the type that was asked for.
        Some(unsafe { run(trial, &arrays, contraction, 1) })
    });
    if !passes {
        return Ok(None);
    }
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    // SAFETY: `Arrays::of` looked at the memory, and the tensors are borrowed uniquely.
    let exceptions = unsafe { run(step, &arrays, contraction, threads) };
    for (index, tensor) in tensors.iter_mut().enumerate() {
        // The gradient is only read.
        if index != 1 {
            ffi::bump_version(tensor).map_err(libtorch)?;
        }
    }
    Ok(Some(exceptions))
}

/// Whether multiply-adds are rounded once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contraction {
    /// They are, and this CPU has AVX2.
    Fused,
    /// They are rounded twice.
    None,
}

/// What the kernels of this process do; `None` if it is not known or the user chose libtorch.
fn contraction() -> Option<Contraction> {
    static CONTRACTION: OnceLock<Option<Contraction>> = OnceLock::new();
    let found = CONTRACTION.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        match ffi::fact(Fact::CpuCapability).ok()?.as_str() {
            "AVX2" | "AVX512" => {
                let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                return has_avx2.then_some(Contraction::Fused);
            }
            "DEFAULT" => return Some(Contraction::None),
            _ => {}
        }
        None
    });
    (*found).filter(|_| Backend::from_env().is_some())
}

/// Whether the thread rounds to the nearest number and keeps denormal numbers, as the threads that work here do.
fn has_default_control() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        const FLUSH_TO_ZERO: u32 = 1 << 15;
        const ROUNDING: u32 = 3 << 13;
        const DENORMALS_ARE_ZEROS: u32 = 1 << 6;
        let mut control = 0u32;
        // SAFETY: the instruction stores four bytes to the address.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &mut control, options(nostack, preserves_flags));
        }
        control & (FLUSH_TO_ZERO | ROUNDING | DENORMALS_ARE_ZEROS) == 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Runs a step. Returns the ranges that hold a NaN, in which nothing has changed.
///
/// # Safety
///
/// No other code uses the memory of the arrays.
unsafe fn run<S: Step>(
    step: &S,
    arrays: &Arrays<'_>,
    contraction: Contraction,
    threads: usize,
) -> Vec<Range<usize>> {
    if arrays.is_double() {
        // SAFETY: the caller's promise, and the elements are of this type.
        unsafe { run_typed::<S, f64>(step, arrays, contraction, threads) }
    } else {
        // SAFETY: as above.
        unsafe { run_typed::<S, f32>(step, arrays, contraction, threads) }
    }
}

/// # Safety
///
/// No other code uses the memory of the arrays, whose elements are `T`.
unsafe fn run_typed<S: Step, T: Real>(
    step: &S,
    arrays: &Arrays<'_>,
    contraction: Contraction,
    threads: usize,
) -> Vec<Range<usize>> {
    let root = SquareRoot::<T>::of_libtorch();
    threads::in_chunks(arrays.numel(), CHUNK, threads, |range| {
        let mut scratch = [T::ZERO; CHUNK];
        // SAFETY: the caller's promise; the ranges are within the arrays and do not overlap.
        let chunk = unsafe { arrays.chunk::<T>(range, &mut scratch) };
        match contraction {
            Contraction::None => try_compute::<S, T, false>(step, chunk, root),
            // SAFETY: there is `Fused` only where the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Contraction::Fused => unsafe { try_compute_avx2(step, chunk, root) },
            #[cfg(not(target_arch = "x86_64"))]
            Contraction::Fused => false,
        }
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn try_compute_avx2<S: Step, T: Real>(step: &S, chunk: Chunk<'_, T>, root: SquareRoot<T>) -> bool {
    try_compute::<S, T, true>(step, chunk, root)
}

/// Computes a chunk, or returns `false` if it holds a NaN.
#[inline(always)]
fn try_compute<S: Step, T: Real, const FMA: bool>(
    step: &S,
    chunk: Chunk<'_, T>,
    root: SquareRoot<T>,
) -> bool {
    let [first, second] = &chunk.state;
    let holds_nan =
        has_nan(chunk.param) || has_nan(chunk.grad) || has_nan(first) || has_nan(second);
    if holds_nan {
        return false;
    }
    step.compute::<T, FMA>(chunk, |from, to| root.apply(from, to));
    true
}

#[inline(always)]
fn has_nan<T: Real>(values: &[T]) -> bool {
    // Without an early end, so that it is done in vectors.
    values.iter().fold(false, |found, x| found | x.is_nan())
}
