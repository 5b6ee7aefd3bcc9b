//! The choice of the instructions that draws are computed with.

#[cfg(target_arch = "x86_64")]
use crate::arch::{Avx2, Avx512};
use crate::held_log;
use crate::simd::Simd;
use log::Level;
use std::sync::OnceLock;

/// The instructions that draws are computed with. They affect the time, never the bits.
///
/// (Not to be confused with libtorch's CPU capability, which does affect the bits that libtorch draws.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Backend {
    /// One word at a time, on any CPU. The reference for the other backends.
    Scalar,
    /// x86-64 with AVX2, FMA, F16C and PCLMULQDQ.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW and VL, and PCLMULQDQ. With VBMI, GFNI and VPCLMULQDQ, jumps take a
    /// fifth of the time.
    Avx512,
}

/// The environment variable that restricts the backends; see [`Backend::from_env`].
pub const BACKEND_VARIABLE: &str = "TCH_INIT_BACKEND";

impl Backend {
    /// All backends, the slowest first.
    pub const ALL: [Backend; 3] = [Backend::Scalar, Backend::Avx2, Backend::Avx512];

    /// The name, as in [`BACKEND_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Backend::Scalar => "scalar",
            Backend::Avx2 => "avx2",
            Backend::Avx512 => "avx512",
        }
    }

    /// Whether this CPU has the instructions.
    pub fn is_available(self) -> bool {
        self == Backend::Scalar || self.simd().is_some()
    }

    /// The backend of [`Engine::default`](crate::Engine) and of the functions that take no engine:
    /// [`from_env`](Self::from_env), or else the scalar one.
    ///
    /// ```
    /// use torch_rng::Backend;
    ///
    /// assert!(Backend::selected().is_available());
    /// ```
    pub fn selected() -> Backend {
        Backend::from_env().unwrap_or(Backend::Scalar)
    }

    /// The fastest available backend that [`BACKEND_VARIABLE`] names; `None` if it names none that is
    /// available. The variable is read once per process.
    ///
    /// Its value is a list of names, separated by commas: `avx2` forces that backend, `avx2,scalar` rules
    /// out AVX-512. If it is unset or empty, the backends with SIMD are meant, since other code may
    /// be faster than the scalar one. `libtorch` is accepted and names no backend: alone, it leaves all
    /// draws to a program's libtorch. Unknown names are logged as warnings and ignored.
    pub fn from_env() -> Option<Backend> {
        static BACKEND: OnceLock<Option<Backend>> = OnceLock::new();
        let mut unknown = Vec::new();
        let backend = *BACKEND.get_or_init(|| {
            let names = std::env::var(BACKEND_VARIABLE).unwrap_or_default();
            let backends = named(&names, &mut unknown);
            backends.into_iter().filter(|b| b.is_available()).max()
        });
        // After the initialization, since a logger may draw.
        for name in unknown {
            let message = format_args!(
                "{BACKEND_VARIABLE}: unknown name {name:?}, use some of scalar, avx2, avx512, libtorch"
            );
            held_log::log(Level::Warn, message);
        }
        backend
    }

    /// Proof of the instructions; `None` for the scalar backend and if the CPU lacks them.
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

/// The backends that a value of [`BACKEND_VARIABLE`] names: those with SIMD if it is empty. Adds unknown
/// names to `unknown`.
fn named(value: &str, unknown: &mut Vec<String>) -> Vec<Backend> {
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
            None => unknown.push(name.to_owned()),
        }
    }
    backends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_backends() {
        let mut unknown = Vec::new();
        let mut named = |value| named(value, &mut unknown);
        assert_eq!(named(""), [Backend::Avx2, Backend::Avx512]);
        assert_eq!(named(" , "), [Backend::Avx2, Backend::Avx512]);
        assert_eq!(named("avx2, scalar"), [Backend::Avx2, Backend::Scalar]);
        assert_eq!(named("sse9,libtorch"), []);
        assert_eq!(unknown, ["sse9"]);
    }
}
