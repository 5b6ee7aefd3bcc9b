//! Draws into contiguous CPU memory by `torch-rng` instead of libtorch.
//!
//! The bits, and the state of the generator afterwards, are those of libtorch; only the time differs.
//! Draws that `torch-rng` does not make are left to libtorch.

use super::cpu_engine::engine;
use super::rejection::{self, Refusal};
use super::self_check;
use crate::distribution::{Element, Engine};
use crate::ffi::{self, CpuMemory, LockedState};
use crate::generator::Generator;
use crate::libtorch_info::linked_semantics;
use crate::rng::{Backend, Draw, Mt19937, Semantics, Sparse, Target};
use half::{bf16, f16};
use std::cell::Cell;
use std::ffi::c_int;
use tch::{Kind, Tensor};
use torch_rng::Dtype;

/// What the fast path computes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// A draw.
    Draw(Draw),
    /// The second half of a sparse draw: the zeros, without the normal values.
    SparseZeros(Sparse),
}

thread_local! {
    static LAST_BACKEND: Cell<Option<Backend>> = const { Cell::new(None) };
}

/// The backend that made the last draw of a function of this module on this thread, or `None` if
/// libtorch made it. For tests: no bit depends on it.
#[doc(hidden)]
pub fn last_backend() -> Option<Backend> {
    LAST_BACKEND.get()
}

/// Fills the tensor, or returns `false`, with nothing changed, if libtorch has to.
pub(super) fn fill(
    work: Work,
    tensor: &mut Tensor,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> bool {
    LAST_BACKEND.set(None);
    let drawn = engine().and_then(|engine| {
        let drawn = match try_fill(work, &engine, tensor, generator, semantics) {
            Ok(drawn) => drawn,
            Err(refusal) => {
                // libtorch reports the same with PyTorch's words, or succeeds.
                log::debug!("left to libtorch: {refusal}");
                false
            }
        };
        drawn.then(|| engine.backend())
    });
    LAST_BACKEND.set(drawn);
    drawn.is_some()
}

fn try_fill(
    work: Work,
    engine: &Engine,
    tensor: &mut Tensor,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<bool, Refusal> {
    const HALF: c_int = ffi::scalar_type(Kind::Half);
    const FLOAT: c_int = ffi::scalar_type(Kind::Float);
    const DOUBLE: c_int = ffi::scalar_type(Kind::Double);
    const BFLOAT16: c_int = ffi::scalar_type(Kind::BFloat16);
    let memory = ffi::cpu_memory(tensor).map_err(Refusal::Ffi)?;
    let Some(memory) = memory.filter(|memory| memory.numel > 0) else {
        return Ok(false);
    };
    let fill = match memory.dtype {
        FLOAT => fill_elements::<f32>,
        DOUBLE => fill_elements::<f64>,
        BFLOAT16 => fill_elements::<bf16>,
        HALF => fill_elements::<f16>,
        _ => return Ok(false),
    };
    // SAFETY: the elements have the type that the dtype names, and the tensor is borrowed uniquely.
    let drawn = unsafe { fill(work, engine, memory, generator, semantics) }?;
    if drawn {
        ffi::bump_version(tensor).map_err(Refusal::Ffi)?;
    }
    Ok(drawn)
}

/// # Safety
///
/// `memory` is live, unaliased memory of elements `T`.
unsafe fn fill_elements<T: Element + Default>(
    work: Work,
    engine: &Engine,
    memory: CpuMemory<'_>,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<bool, Refusal> {
    let data = memory.data.cast::<T>();
    let target = Target::new(T::DTYPE, memory.shape).with_semantics(semantics);
    let target = target.with_semantics(work.whole().newest_equivalent(target));
    // The self-check logs and draws, so it runs before the generator is locked.
    if !data.is_aligned() || !passes::<T>(work.whole(), target, engine.backend()) {
        return Ok(false);
    }
    // SAFETY: the caller's promise. Memory that was never written holds a value of each of the types.
    let values = unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), memory.numel) };
    let drawn = LockedState::with(generator.map(Generator::as_raw), |state| {
        // libtorch accepts positions that are outside of a block.
        let generator = Mt19937::from_state_mut(state).map_err(|_| Ok(false))?;
        let filled = match work {
            Work::Draw(draw) => rejection::fill(draw, engine, generator, target, values),
            Work::SparseZeros(sparse) => sparse
                .fill_zeros(engine, generator, target, values)
                .map_err(Refusal::from),
        };
        filled.map(|()| Ok(true)).map_err(Err)
    });
    drawn.map_err(Refusal::Ffi)?.unwrap_or(Ok(false))
}

impl Work {
    /// The draw that this is, or is a part of.
    fn whole(self) -> Draw {
        match self {
            Work::Draw(draw) => draw,
            Work::SparseZeros(sparse) => sparse.into(),
        }
    }
}

/// The engine that draws into contiguous memory of the CPU with libtorch's bits; `None` if libtorch
/// has to draw.
pub(crate) fn engine_for(draw: Draw, target: Target<'_>) -> Option<Engine> {
    let engine = engine()?;
    let backend = engine.backend();
    let passes = match target.dtype {
        Dtype::Float32 => passes::<f32>(draw, target, backend),
        Dtype::Float64 => passes::<f64>(draw, target, backend),
        Dtype::Bfloat16 => passes::<bf16>(draw, target, backend),
        Dtype::Float16 => passes::<f16>(draw, target, backend),
        _ => false,
    };
    passes.then_some(engine)
}

/// Whether the engine draws the bits of the target's semantics: always, if they are others than those of the
/// linked libtorch, which the self-check compares with.
fn passes<T: Element + Default>(draw: Draw, target: Target<'_>, backend: Backend) -> bool {
    let linked = linked_semantics();
    let is_other = || {
        let linked = target.with_semantics(linked);
        draw.newest_equivalent(target) != draw.newest_equivalent(linked)
    };
    if target.semantics != linked && is_other() {
        return true;
    }
    let numel = usize::try_from(target.numel());
    numel.is_ok_and(|numel| self_check::passes::<T>(draw, numel, backend))
}
