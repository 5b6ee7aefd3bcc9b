//! The engine that draws in place of libtorch.

use crate::distribution::Engine;
use crate::ffi::{self, Fact};
use crate::rng::Backend;
use std::num::NonZero;
use std::sync::OnceLock;

/// The engine of this process with libtorch's number of threads; `None` if libtorch runs kernels whose
/// bits differ from the engine's, or the user chose libtorch.
pub(super) fn engine() -> Option<Engine> {
    static REPORTED: OnceLock<()> = OnceLock::new();
    let kernels = kernels();
    let is_same = kernels == SAME;
    if !is_same && REPORTED.set(()).is_ok() {
        log::debug!("libtorch's CPU capability is {kernels}: all draws are left to it");
    }
    let threads = usize::try_from(tch::get_num_threads()).ok();
    let threads = threads.and_then(NonZero::new);
    let backend = Backend::from_env().filter(|_| is_same)?;
    let engine = Engine::new(backend).ok()?;
    Some(engine.with_threads(threads.unwrap_or(NonZero::<usize>::MIN)))
}

/// The kernels with the engine's bits.
const SAME: &str = "AVX2";

/// libtorch's kernels. Those for AVX-512 have the bits of those for AVX2.
pub(crate) fn kernels() -> &'static str {
    static CAPABILITY: OnceLock<String> = OnceLock::new();
    let capability = CAPABILITY.get_or_init(|| ffi::fact(Fact::CpuCapability).unwrap_or_default());
    match capability.as_str() {
        "AVX512" => SAME,
        other => other,
    }
}
