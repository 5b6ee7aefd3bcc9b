//! Vectors of the CPU: one trait, one file per instruction set.
//!
//! [`Isa`] has the operations that several algorithms use. What a single algorithm needs is an
//! extension trait next to that algorithm, such as `TwistIsa` in `twist.rs`.
//!
//! A value of a token type ([`Avx2`], [`Avx512`], [`Gfni`]) proves that this CPU supports the
//! instructions: only the type's `new` creates one, after a check. The operations, which are methods
//! of the token, are therefore safe to call, except for those that take a pointer.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod portable;
mod unrolled2;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, Gfni};
pub(crate) use isa::Isa;
#[cfg(target_arch = "x86_64")]
pub(crate) use isa::instructions;
pub(crate) use portable::{Halved, Portable};
pub(crate) use unrolled2::{Unrolled2, both};
