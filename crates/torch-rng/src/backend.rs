//! Which instructions draws are computed with.

use super::arch::{Isa, Kernel};
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::arch::{Avx2, Avx512};

/// How draws are computed. It changes no bit, only the time they take.
///
/// (Not to be taken for libtorch's CPU capability, which says *which* bits libtorch draws.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Backend {
    /// One word at a time, on any CPU. What the others are held against.
    Scalar,
    /// x86-64 with AVX2, FMA, F16C and PCLMULQDQ.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW and VL, and PCLMULQDQ. Where there are VBMI, GFNI and VPCLMULQDQ
    /// too, jumps take a fifth of the time.
    Avx512,
}

/// The environment variable that names the backends to be used; see [`Backend::selected`].
pub const BACKEND_VARIABLE: &str = "TCH_INIT_BACKEND";

impl Backend {
    /// Every backend, the slowest first.
    pub const ALL: [Backend; 3] = [Backend::Scalar, Backend::Avx2, Backend::Avx512];

    /// Its name in [`BACKEND_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Backend::Scalar => "scalar",
            Backend::Avx2 => "avx2",
            Backend::Avx512 => "avx512",
        }
    }

    /// Whether this CPU has what the backend needs.
    pub fn is_available(self) -> bool {
        self == Backend::Scalar || self.simd().is_some()
    }

    /// The fastest backend that this CPU has and that [`BACKEND_VARIABLE`] names, or the scalar one
    /// if there is none; read once a process.
    ///
    /// The variable holds names with commas between: `avx2` forces that backend, `avx2,scalar`
    /// keeps AVX-512 out. Unset or empty it stands for all. `libtorch` is no backend, but a known
    /// name: alone it says that [`init`](crate::init) shall leave all draws to libtorch. Other
    /// names are warned of in the log and count for nothing.
    ///
    /// ```
    /// use torch_rng::Backend;
    ///
    /// assert!(Backend::selected().is_available());
    /// ```
    pub fn selected() -> Backend {
        choice().unwrap_or(Backend::Scalar)
    }

    /// The backend to be used where libtorch could draw too: the scalar one is slower than that,
    /// and so only if it is named.
    pub fn instead_of_libtorch() -> Option<Backend> {
        choice()
    }

    /// The instructions, if the backend has any of its own and the CPU has them.
    pub(crate) fn simd(self) -> Option<Simd> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => Avx2::new().map(Simd::Avx2),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => Avx512::new().map(Simd::Avx512),
            _ => None,
        }
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The fastest backend that is named and available.
fn choice() -> Option<Backend> {
    static CHOICE: OnceLock<Option<Backend>> = OnceLock::new();
    *CHOICE.get_or_init(|| {
        let names = std::env::var(BACKEND_VARIABLE).unwrap_or_default();
        named(&names).into_iter().filter(|b| b.is_available()).max()
    })
}

/// The backends that a value of [`BACKEND_VARIABLE`] names: all with SIMD if it is empty.
fn named(value: &str) -> Vec<Backend> {
    let names = value.split(',').map(str::trim).filter(|n| !n.is_empty());
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        return vec![Backend::Avx2, Backend::Avx512];
    }
    let mut backends = Vec::new();
    for name in names {
        match Backend::ALL.into_iter().find(|b| b.name() == name) {
            Some(backend) => backends.push(backend),
            None if name == "libtorch" => {}
            None => log::warn!(
                "{BACKEND_VARIABLE}: {name:?} is not known, use some of scalar, avx2, avx512, libtorch"
            ),
        }
    }
    backends
}

/// SIMD instructions that this CPU is proven to have.
#[derive(Debug, Clone, Copy)]
pub enum Simd {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Simd {
    /// Runs the kernel compiled for these instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(isa) => isa.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512(isa) => isa.run(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose() {
        assert_eq!(named(""), [Backend::Avx2, Backend::Avx512]);
        assert_eq!(named(" , "), [Backend::Avx2, Backend::Avx512]);
        assert_eq!(named("avx2, scalar"), [Backend::Avx2, Backend::Scalar]);
        assert_eq!(named("sse9,libtorch"), []);
    }
}
