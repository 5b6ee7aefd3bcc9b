//! The one place where code is compiled for an instruction set and called.

use crate::arch::Portable;
#[cfg(target_arch = "x86_64")]
use crate::arch::{Avx2, Avx512};
use crate::box_muller_simd::BoxMullerIsa;
use crate::polynomial::Gf2Isa;
use crate::twist::TwistIsa;

/// An instruction set with the extensions of every algorithm.
pub trait FullIsa: TwistIsa + Gf2Isa + BoxMullerIsa {}

impl<I: TwistIsa + Gf2Isa + BoxMullerIsa> FullIsa for I {}

/// Code that is compiled for each instruction set.
pub(crate) trait Kernel {
    type Output;

    /// Must be `#[inline(always)]`, as everything it calls that takes an instruction set: only what is
    /// inlined into [`Simd::run`] is compiled for it.
    fn run<I: FullIsa>(self, isa: I) -> Self::Output;
}

/// Runs the kernel with SIMD, or in plain Rust.
pub(crate) fn run<K: Kernel>(simd: Option<Simd>, kernel: K) -> K::Output {
    match simd {
        Some(simd) => simd.run(kernel),
        None => kernel.run(Portable::<8>),
    }
}

/// SIMD instructions that this CPU is proven to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Simd {
    /// Runs the kernel compiled for these instructions.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,pclmulqdq")]
        fn avx2<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
            kernel.run(isa)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,pclmulqdq")]
        fn avx512<K: Kernel>(isa: Avx512, kernel: K) -> K::Output {
            kernel.run(isa)
        }

        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `isa` proves that the CPU has these features.
            Simd::Avx2(isa) => unsafe { avx2(isa, kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `isa` proves that the CPU has these features.
            Simd::Avx512(isa) => unsafe { avx512(isa, kernel) },
        }
    }
}
