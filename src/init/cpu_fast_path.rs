//! Draws into contiguous memory of the CPU, by this crate's own engine instead of libtorch's.
//!
//! The bits are the same, and so is where the stream stands afterwards; the time is not. Whatever
//! the engine does not draw is left to libtorch.

use super::dispatch;
use super::rejection::{Density, Refusal};
use super::self_check::{Checked, is_verified};
use crate::distribution::Engine;
use crate::ffi::{self, CStream, Fact};
use crate::generator::Generator;
use crate::rng::{Backend, Mt19937, State};
use half::{bf16, f16};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::num::NonZero;
use std::sync::OnceLock;
use tch::{Kind, Tensor};

/// A draw and its arguments.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
    Uniform {
        from: f64,
        to: f64,
    },
    Normal {
        mean: f64,
        std: f64,
    },
    /// Where PyTorch draws again what lies outside.
    TruncNormal {
        mean: f64,
        std: f64,
        a: f64,
        b: f64,
    },
    /// Where it compares densities.
    Density(Density),
    /// Zeros in so many rows of each column of a matrix with so many rows.
    SparseZeros {
        rows: usize,
        zeros: usize,
    },
}

thread_local! {
    static LAST: Cell<Option<Backend>> = const { Cell::new(None) };
}

/// What computed the last draw that a function of this module made on this thread: a backend of
/// this crate, or `None` for libtorch itself.
///
/// Contiguous CPU tensors of f32, f64, bf16 and f16 with at least 128 elements (256 for normal draws) are drawn by the
/// fastest [`Backend`] that the CPU has and [`TCH_INIT_BACKEND`](crate::rng::BACKEND_VARIABLE)
/// allows; all else, and everything if libtorch runs with another CPU capability than AVX2 or
/// AVX512, by libtorch. It changes no bit.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
/// use tch_init::init;
///
/// let mut few = Tensor::zeros([10], FLOAT_CPU);
/// init::uniform_(&mut few, 0.0, 1.0, None)?;
/// assert_eq!(init::last_backend(), None);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn last_backend() -> Option<Backend> {
    LAST.get()
}

/// Fills the tensor, or returns `false` with nothing done if libtorch has to.
pub(super) fn fill(draw: Draw, tensor: &mut Tensor, generator: Option<&Generator>) -> bool {
    LAST.set(None);
    let Some(engine) = usable() else {
        return false;
    };
    let mut context = Context { draw, engine };
    let mut drawn = 0;
    // SAFETY: the tensor is live for the call and not otherwise borrowed, as is the generator. The
    // function calls `fill_memory` on this thread only, with this context.
    let failure = unsafe {
        ffi::tch_init_draw(
            tensor.as_ptr().cast_mut(),
            dispatch::raw(generator),
            draw.min_numel(),
            fill_memory,
            (&raw mut context).cast(),
            &mut drawn,
        )
    };
    // SAFETY: made by the call above and read once.
    if let Err(message) = unsafe { ffi::check(failure) } {
        // libtorch will say the same, or do without what failed here.
        log::debug!("left to libtorch: {message}");
    }
    if drawn == 1 {
        LAST.set(Some(engine.backend()));
    }
    drawn == 1
}

struct Context {
    draw: Draw,
    engine: Engine,
}

/// # Safety
///
/// `context` is a [`Context`]; `data` are `numel` elements of `dtype` that nobody else uses, and
/// nobody else uses `stream`.
unsafe extern "C" fn fill_memory(
    context: *mut c_void,
    data: *mut c_void,
    numel: i64,
    dtype: c_int,
    stream: *mut CStream,
) -> c_int {
    // SAFETY: the caller's promise.
    let (context, stream) = unsafe { (&*context.cast::<Context>(), &mut *stream) };
    let numel = usize::try_from(numel).unwrap_or(0);
    // SAFETY: the caller's promise: the elements are of the type that their dtype says. libtorch
    // aligns memory to 64 bytes, and elements lie at multiples of their size.
    let drawn = unsafe {
        match dtype {
            FLOAT => fill_elements::<f32>(context, data, numel, stream),
            DOUBLE => fill_elements::<f64>(context, data, numel, stream),
            BFLOAT16 => fill_elements::<bf16>(context, data, numel, stream),
            HALF => fill_elements::<f16>(context, data, numel, stream),
            _ => false,
        }
    };
    c_int::from(drawn)
}

const HALF: c_int = ffi::scalar_type(Kind::Half);
const FLOAT: c_int = ffi::scalar_type(Kind::Float);
const DOUBLE: c_int = ffi::scalar_type(Kind::Double);
const BFLOAT16: c_int = ffi::scalar_type(Kind::BFloat16);

/// # Safety
///
/// `data` are `numel` elements that nobody else uses.
unsafe fn fill_elements<T: Checked>(
    context: &Context,
    data: *mut c_void,
    numel: usize,
    stream: &mut CStream,
) -> bool {
    let data = data.cast::<T>();
    if !data.is_aligned() || !is_verified::<T>(context.draw, context.engine.backend()) {
        return false;
    }
    let state = State {
        initial_seed: stream.seed,
        left: stream.left,
        next: stream.next,
        words: stream.words,
        next_double_normal: (stream.has_next_double_normal != 0)
            .then_some(stream.next_double_normal)
            .into(),
        next_float_normal: None.into(),
    };
    // A place that no block has is libtorch's to read from.
    let Ok(mut generator) = Mt19937::from_state(&state) else {
        return false;
    };
    // SAFETY: the caller's promise, and `data` is aligned. Tensors that were never written hold
    // whatever the memory held, which is a value of every one of these types.
    let values = unsafe { std::slice::from_raw_parts_mut(data, numel) };
    // What the engine refuses, libtorch does, and it has PyTorch's words for it.
    if let Err(refusal) = context.draw.fill(&context.engine, &mut generator, values) {
        log::debug!("left to libtorch: {refusal}");
        return false;
    }
    let state = generator.to_state();
    stream.left = state.left;
    stream.next = state.next;
    stream.words = state.words;
    true
}

impl Draw {
    /// Fewer elements than this take libtorch's own call as long, or less.
    fn min_numel(self) -> i64 {
        match self {
            Draw::Normal { .. } => 256,
            _ => 128,
        }
    }

    pub(super) fn fill<T: Checked>(
        self,
        engine: &Engine,
        generator: &mut Mt19937,
        values: &mut [T],
    ) -> Result<(), Refusal> {
        match self {
            Draw::Density(density) => return density.fill(engine, generator, values),
            Draw::SparseZeros { rows, zeros } => {
                let columns = values.len().checked_div(rows).unwrap_or(0);
                let mut permutation = Vec::new();
                for column in 0..columns {
                    engine.randperm_prefix(generator, rows, zeros, &mut permutation);
                    for row in &permutation[..zeros] {
                        values[*row as usize * columns + column] = T::ZERO;
                    }
                }
                return Ok(());
            }
            Draw::Uniform { from, to } => engine.uniform_(generator, values, from, to),
            Draw::Normal { mean, std } => engine.normal_block_(generator, values, mean, std),
            Draw::TruncNormal { mean, std, a, b } => {
                engine.trunc_normal_(generator, values, mean, std, a, b)
            }
        }?;
        Ok(())
    }
}

/// The engine with as many threads as libtorch has, if libtorch draws the bits that it draws.
pub(super) fn usable() -> Option<Engine> {
    static BACKEND: OnceLock<Option<Backend>> = OnceLock::new();
    let backend = *BACKEND.get_or_init(|| {
        let capability = ffi::fact(Fact::CpuCapability).unwrap_or_default();
        if capability != "AVX2" && capability != "AVX512" {
            log::debug!("libtorch's CPU capability is {capability}: all draws are left to it");
            return None;
        }
        Backend::from_env()
    });
    let threads = usize::try_from(tch::get_num_threads()).ok();
    let threads = threads.and_then(NonZero::new);
    let engine = Engine::new(backend?).ok()?;
    Some(engine.with_threads(threads.unwrap_or(NonZero::<usize>::MIN)))
}
