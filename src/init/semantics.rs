//! The semantics of this process: the versions of PyTorch whose bits the functions of [`init`](super) draw.

use crate::libtorch_info::linked_semantics;
use crate::rng::Semantics;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The position in [`Semantics::ALL`]; another number if none were set.
static SEMANTICS: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets the versions of PyTorch whose bits this module draws from now on, on all threads: those of its
/// functions, of the layers of [`nn`](crate::nn), of [`reset_parameters`](crate::reset_parameters), and of
/// recipes. The default is that of the linked libtorch: [`Semantics::NEWEST`] with tch 0.26, and
/// [`Semantics::PyTorch2_11`] with tch 0.24.
///
/// Like a seed, it is set once, before the model is made. Plans have semantics of their own: a plan that
/// [`record`](crate::plan::record) makes has those of the process. What libtorch and tch draw themselves,
/// such as `Tensor::randn`, always has the bits of the linked libtorch.
///
/// Tensors on other devices than the CPU are rejected unless the semantics are those of the linked libtorch.
///
/// ```standalone_crate
/// use tch::{Device, Kind, Tensor};
/// use tch_init::{init, manual_seed, rng::Semantics};
///
/// init::set_semantics(Semantics::PyTorch2_11);
/// manual_seed(1)?;
/// let mut w = Tensor::zeros([1], (Kind::BFloat16, Device::Cpu));
/// init::uniform_(&mut w, 0.0, 1.0, None)?;
/// // python 2.11: torch.manual_seed(1); torch.rand(1, dtype=torch.bfloat16).item()
/// assert_eq!(w.double_value(&[0]), 0.14453125);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn set_semantics(semantics: Semantics) {
    let position = Semantics::ALL.iter().position(|known| *known == semantics);
    SEMANTICS.store(position.unwrap_or(usize::MAX), Ordering::Relaxed);
}

/// The versions of PyTorch whose bits this module draws, as [set](set_semantics).
///
/// ```
/// use tch_init::{LIBTORCH_VERSION, init, rng::Semantics};
///
/// assert_eq!(Some(init::semantics()), Semantics::of_version(LIBTORCH_VERSION));
/// ```
pub fn semantics() -> Semantics {
    let all = Semantics::ALL.get(SEMANTICS.load(Ordering::Relaxed));
    all.copied().unwrap_or_else(linked_semantics)
}
