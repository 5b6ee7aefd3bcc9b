//! The engine that draws in place of libtorch.

use crate::distribution::Engine;
use crate::ffi::{self, Fact};
use crate::rng::Backend;
use std::num::NonZero;
use std::sync::OnceLock;

/// The engine of this process with libtorch's number of threads; `None` if libtorch runs kernels whose
/// bits differ from the engine's, or the user chose libtorch.
pub(super) fn engine() -> Option<Engine> {
    static IS_SAME: OnceLock<bool> = OnceLock::new();
    let mut other = None;
    let is_same = *IS_SAME.get_or_init(|| {
        let capability = ffi::fact(Fact::CpuCapability).unwrap_or_default();
        let is_same = capability == "AVX2" || capability == "AVX512";
        other = (!is_same).then_some(capability);
        is_same
    });
    // After the initialization, since a logger may draw.
    if let Some(capability) = other {
        log::debug!("libtorch's CPU capability is {capability}: all draws are left to it");
    }
    let threads = usize::try_from(tch::get_num_threads()).ok();
    let threads = threads.and_then(NonZero::new);
    let backend = Backend::from_env().filter(|_| is_same)?;
    let engine = Engine::new(backend).ok()?;
    Some(engine.with_threads(threads.unwrap_or(NonZero::<usize>::MIN)))
}
