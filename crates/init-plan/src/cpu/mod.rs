//! Materializes plans without libtorch.

mod cast;
mod compute;
mod memory;
mod movement;
mod source;

use crate::elements::{
    Plain, contiguous_mut, for_float, for_size, gather, scatter, scatter_in_memory_order,
};
use crate::error::NeedsLibtorch;
use crate::operator::OperatorCall;
use crate::step::Op;
use crate::storage::Storage;
use crate::stream::{Storages, Stream, StreamError};
use crate::view::View;
pub use compute::compute_without_libtorch;
use memory::Memory;
use std::borrow::Cow;
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use tensor_parity::Dtype;
use torch_rng::{Draw, Mt19937, Semantics, Target};
use torch_rng::{DrawError, Element, Engine, randperm};

/// A generator that draws with a given engine. [`Mt19937`] itself draws with [`Engine::default`].
#[derive(Debug, Clone)]
pub struct CpuStream {
    generator: Mt19937,
    engine: Engine,
}

impl CpuStream {
    /// A stream that draws with the default engine.
    pub fn new(generator: Mt19937) -> CpuStream {
        CpuStream {
            generator,
            engine: Engine::default(),
        }
    }

    /// Draws with this engine, which never affects the bits.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> CpuStream {
        self.engine = engine;
        self
    }

    /// Draws with at most this many threads.
    #[must_use]
    pub fn threads(mut self, threads: NonZero<usize>) -> CpuStream {
        self.engine = self.engine.with_threads(threads);
        self
    }
}

macro_rules! cpu_stream {
    ($stream:ty, |$this:ident| $generator:expr, $engine:expr) => {
        impl Stream for $stream {
            type Tensor = CpuTensor;
            type Memory = Arc<Memory>;

            fn position(&self) -> Result<Mt19937, StreamError> {
                let $this = self;
                Ok($generator.clone())
            }

            fn set_position(&mut self, position: &Mt19937) -> Result<(), StreamError> {
                let $this = self;
                $generator.clone_from(position);
                Ok(())
            }

            fn try_clone(&self) -> Result<Self, StreamError> {
                Ok(self.clone())
            }

            fn engine(&self, _draw: &Draw, _target: Target<'_>) -> Option<Engine> {
                let $this = self;
                Some($engine)
            }

            unsafe fn allocate(
                &self,
                bytes: u64,
                _zeroed: bool,
            ) -> Result<Storage<Arc<Memory>>, StreamError> {
                Memory::zeroed(bytes)
            }

            unsafe fn tensor(
                &self,
                storage: &Storage<Arc<Memory>>,
                view: &View,
            ) -> Result<CpuTensor, StreamError> {
                storage.check(view)?;
                Ok(CpuTensor {
                    memory: storage.memory().clone(),
                    view: view.clone(),
                })
            }

            fn draw(
                &mut self,
                draw: &Draw,
                semantics: Semantics,
                storage: &mut Storage<Arc<Memory>>,
                view: &View,
            ) -> Result<(), StreamError> {
                storage.check(view)?;
                let $this = self;
                let engine = $engine;
                let Some(target) = view.target(semantics) else {
                    return Err(NeedsLibtorch.into());
                };
                let bytes = storage.bytes_mut();
                fill(draw, &engine, &mut $generator, target, bytes, view)
            }

            fn compute(
                &self,
                op: &Op,
                out: usize,
                storages: &mut Storages<'_, Self>,
            ) -> Result<(), StreamError> {
                compute_without_libtorch(self, op, out, storages)
            }

            fn call(
                &mut self,
                call: &OperatorCall,
                outs: &[usize],
                storages: &mut Storages<'_, Self>,
            ) -> Result<(), StreamError> {
                match *outs {
                    [out] if !call.operator.is_draw() => {
                        compute_without_libtorch(self, &Op::Call(call.clone()), out, storages)
                    }
                    _ => Err(NeedsLibtorch.into()),
                }
            }
        }
    };
}

cpu_stream!(CpuStream, |this| this.generator, this.engine);
cpu_stream!(Mt19937, |this| *this, {
    let _: &Mt19937 = this;
    Engine::default()
});

/// Draws into a view.
fn fill(
    draw: &Draw,
    engine: &Engine,
    generator: &mut Mt19937,
    target: Target<'_>,
    bytes: &mut [u8],
    view: &View,
) -> Result<(), StreamError> {
    draw.check(target)?;
    if let Draw::Randperm(_) = draw {
        let permutation = randperm(generator, view.numel() as usize);
        scatter(bytes, view, &permutation);
        return Ok(());
    }
    let drawn = for_float!(
        view.dtype(),
        fill_elements(draw, engine, generator, target, bytes, view)
    );
    match drawn {
        Some(Ok(())) => Ok(()),
        None | Some(Err(DrawError::NeedsLibtorch(_) | DrawError::Truncation { .. })) => {
            Err(NeedsLibtorch.into())
        }
        Some(Err(error)) => Err(error.into()),
    }
}

fn fill_elements<T: Element + Plain + Default>(
    draw: &Draw,
    engine: &Engine,
    generator: &mut Mt19937,
    target: Target<'_>,
    bytes: &mut [u8],
    view: &View,
) -> Result<(), DrawError> {
    if target.contiguous
        && let Some(values) = contiguous_mut::<T>(bytes, view)
    {
        return draw.fill(engine, generator, target, values);
    }
    let mut values = vec![T::default(); view.numel() as usize];
    draw.fill(engine, generator, target, &mut values)?;
    scatter_in_memory_order(bytes, view, &values);
    Ok(())
}

/// A materialized parameter or buffer. Clones share memory, as tied weights do.
#[derive(Clone)]
pub struct CpuTensor {
    memory: Arc<Memory>,
    view: View,
}

impl CpuTensor {
    /// The dtype of the elements.
    pub fn dtype(&self) -> Dtype {
        self.view.dtype()
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[u64] {
        self.view.shape()
    }

    /// The elements, little-endian, in row-major order: a copy unless they lie in this order.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        let bytes = self.memory.bytes();
        let range = self.view.bytes();
        if self.view.is_contiguous() {
            return Cow::Borrowed(&bytes[range.start as usize..range.end as usize]);
        }
        Cow::Owned(for_size!(self.dtype(), gather_bytes(bytes, &self.view)))
    }

    /// Whether two tensors lie in the same allocation.
    pub fn shares_memory_with(&self, other: &CpuTensor) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }
}

impl fmt::Debug for CpuTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuTensor({} {:?})", self.dtype(), self.shape())
    }
}

fn gather_bytes<T: Plain>(bytes: &[u8], view: &View) -> Vec<u8> {
    let values = gather::<T>(bytes, view);
    // SAFETY: the values are plain, so that all of their memory is bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(&*values)) }.to_vec()
}
