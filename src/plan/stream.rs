//! Materializes plans by a [`Generator`] into libtorch's tensors.

use super::compute::compute;
use super::operators;
use super::{
    Op, OperatorCall, Storage, Storages, Stream, StreamError, View, compute_without_libtorch,
};
use crate::error::InitError;
use crate::generator::Generator;
use crate::init::cpu_engine::kernels;
use crate::init::cpu_fast_path::engine_for;
use crate::init::orthogonal::orthogonal;
use crate::init::trunc_normal::trunc_normal;
use crate::init::{self, dispatch};
use crate::tensor::Dtype;
use std::ptr::NonNull;
use tch::{Device, Kind, TchError, Tensor};
use torch_rng::{Draw, Engine, Mt19937, Orthogonal, Semantics, State, Target, randperm};

/// A tensor of bytes. It is opaque, since another handle to the tensor could write to the bytes while
/// a reference to them from [`Storage`] lives:
///
/// ```compile_fail
/// use tch_init::{Generator, plan::Stream};
///
/// let generator = Generator::new(tch::Device::Cpu).unwrap();
/// // SAFETY: zeros.
/// let storage = unsafe { generator.allocate(8, true) }.unwrap();
/// let mut alias = storage.memory().shallow_clone();
/// ```
#[derive(Debug)]
pub struct TensorMemory(Tensor);

impl Stream for Generator {
    type Tensor = Tensor;
    type Memory = TensorMemory;

    fn position(&self) -> Result<Mt19937, StreamError> {
        if self.device() != Device::Cpu {
            let problem = format!("expected a generator of the CPU, found {:?}", self.device());
            return Err(InitError::libtorch("materialize", &problem).into());
        }
        let state = State::from_bytes(&self.get_state()?)?;
        Ok(Mt19937::from_state(&state)?)
    }

    fn set_position(&mut self, position: &Mt19937) -> Result<(), StreamError> {
        Ok(self.set_state(&position.state().to_bytes())?)
    }

    fn try_clone(&self) -> Result<Generator, StreamError> {
        Ok(self.clone_state()?)
    }

    fn engine(&self, draw: &Draw, target: Target<'_>) -> Option<Engine> {
        engine_for(*draw, target)
    }

    fn kernels(&self) -> String {
        kernels().to_owned()
    }

    unsafe fn allocate(
        &self,
        bytes: u64,
        zeroed: bool,
    ) -> Result<Storage<TensorMemory>, StreamError> {
        let options = (Kind::Uint8, Device::Cpu);
        let memory = match zeroed {
            true => Tensor::f_zeros([bytes as i64], options),
            false => Tensor::f_empty([bytes as i64], options),
        };
        let memory = memory.map_err(|error| InitError::tch("materialize", error))?;
        Ok(storage(memory))
    }

    unsafe fn tensor(
        &self,
        storage: &Storage<TensorMemory>,
        view: &View,
    ) -> Result<Tensor, StreamError> {
        storage.check(view)?;
        let tensor = as_view(&storage.memory().0, view);
        Ok(tensor.map_err(|error| InitError::tch("materialize", error))?)
    }

    fn draw(
        &mut self,
        draw: &Draw,
        semantics: Semantics,
        storage: &mut Storage<TensorMemory>,
        view: &View,
    ) -> Result<(), StreamError> {
        storage.check(view)?;
        let out = as_view(&storage.memory().0, view);
        let mut out = out.map_err(|error| InitError::tch(draw.name(), error))?;
        match *draw {
            Draw::TruncNormal(draw) => trunc_normal(&mut out, draw, Some(self), semantics)?,
            Draw::Orthogonal(Orthogonal { gain }) => {
                orthogonal(&mut out, gain, Some(self), semantics)?;
            }
            Draw::Randperm(_) => {
                let mut position = self.position()?;
                let permutation = randperm(&mut position, out.numel());
                let permutation = Tensor::f_from_slice(&permutation);
                let copied = permutation.and_then(|permutation| out.f_copy_(&permutation));
                copied.map_err(|error| InitError::tch("randperm", error))?;
                self.set_position(&position)?;
            }
            draw => dispatch::draw_as(draw.name(), &mut out, draw, Some(self), semantics)?,
        }
        Ok(())
    }

    fn compute(
        &self,
        op: &Op,
        out: usize,
        storages: &mut Storages<'_, Generator>,
    ) -> Result<(), StreamError> {
        storages.check(op, out)?;
        let is_known = |view: usize| storages.view(view).dtype().kind().is_some();
        let only_bytes =
            matches!(op, Op::Const(_)) || !op.reads().into_iter().chain([out]).all(is_known);
        if only_bytes {
            return compute_without_libtorch(self, op, out, storages);
        }
        let _no_grad = tch::no_grad_guard();
        let computed = self.compute_with(op, out, storages);
        Ok(computed.map_err(|error| InitError::tch(op.name(), error))?)
    }

    fn call(
        &mut self,
        call: &OperatorCall,
        outs: &[usize],
        storages: &mut Storages<'_, Generator>,
    ) -> Result<(), StreamError> {
        storages.check_call(call, outs)?;
        let called = self.call_with(call, outs, storages);
        Ok(called.map_err(|error| InitError::tch(call.operator.name(), error))?)
    }
}

impl Generator {
    fn compute_with(
        &self,
        op: &Op,
        out: usize,
        storages: &mut Storages<'_, Generator>,
    ) -> Result<(), TchError> {
        let view = storages.view(out);
        match op {
            Op::Fill(value) => {
                return super::compute::fill(&self.allocated(out, storages)?, *value);
            }
            Op::Eye => return refused(init::eye_(&mut self.allocated(out, storages)?)),
            Op::Dirac { groups } => {
                return refused(init::dirac_(&mut self.allocated(out, storages)?, *groups));
            }
            _ => {}
        }
        let mut result = compute(op, kind(view.dtype())?, &|view| tensor(view, storages))?;
        if result.size() != ints(view.shape()) {
            let (found, expected) = (result.size(), view.shape());
            return Err(TchError::Torch(format!(
                "expected a result of shape {expected:?}, found {found:?}"
            )));
        }
        match op {
            Op::Copy(from) => {
                let from = storages.view(*from);
                let overlaps = from.storage() == view.storage()
                    && from.bytes().start < view.bytes().end
                    && view.bytes().start < from.bytes().end;
                if overlaps {
                    result = copied(&result)?;
                }
            }
            _ if storages.is_whole(out)
                && result.kind() == kind(view.dtype())?
                && result.is_contiguous() =>
            {
                // A new tensor, which becomes the storage.
                let bytes = result.f_view([-1])?.f_view_dtype(Kind::Uint8)?;
                return refused(storages.replace(out, storage(bytes)));
            }
            _ => {}
        }
        self.allocated(out, storages)?.f_copy_(&result)
    }

    fn call_with(
        &self,
        call: &OperatorCall,
        outs: &[usize],
        storages: &mut Storages<'_, Generator>,
    ) -> Result<(), TchError> {
        let generator = call.operator.is_draw().then(|| self.as_raw());
        if call.operator.is_in_place() {
            for out in outs {
                let target = self.allocated(*out, storages)?;
                // What it reads may lie in the memory that it writes.
                let read = |view| copied(&tensor(view, storages)?);
                operators::call(call, &read, Some(&target), 0, generator)?;
            }
            return Ok(());
        }
        let read = |view| tensor(view, storages);
        let results = operators::call(call, &read, None, outs.len(), generator)?;
        for (out, result) in outs.iter().zip(&results) {
            let (found, expected) = (result.size(), storages.view(*out).shape());
            if found != ints(expected) {
                return Err(TchError::Torch(format!(
                    "expected a result of shape {expected:?}, found {found:?}"
                )));
            }
        }
        for (out, result) in outs.iter().zip(&results) {
            self.allocated(*out, storages)?.f_copy_(result)?;
        }
        Ok(())
    }

    /// The tensor of a view, whose storage is allocated if it has not been yet.
    fn allocated(
        &self,
        view: usize,
        storages: &mut Storages<'_, Generator>,
    ) -> Result<Tensor, TchError> {
        let allocated = storages.get_or_allocate(self, view).map(drop);
        allocated.map_err(|error| TchError::Torch(error.to_string()))?;
        tensor(view, storages)
    }
}

/// An error as the message of a call of libtorch.
fn refused(result: Result<(), impl std::error::Error>) -> Result<(), TchError> {
    result.map_err(|error| TchError::Torch(error.to_string()))
}

/// The memory of a new tensor of bytes.
fn storage(memory: Tensor) -> Storage<TensorMemory> {
    let bytes = memory.numel();
    let start = NonNull::new(memory.data_ptr().cast::<u8>());
    // Aligned to 8, for no bytes.
    let start = start.unwrap_or(NonNull::<u64>::dangling().cast());
    // SAFETY: contiguous memory of the CPU, which libtorch aligns to 64 bytes; the tensor is new, so
    // nobody else uses it, and only this module makes others of it. Memory that was never written
    // holds any bytes.
    unsafe { Storage::new(TensorMemory(memory), start, bytes) }
}

fn tensor(view: usize, storages: &Storages<'_, Generator>) -> Result<Tensor, TchError> {
    match storages.get(view) {
        Some(storage) => as_view(&storage.memory().0, storages.view(view)),
        None => Err(TchError::Torch(
            "a storage was read before it was allocated".to_owned(),
        )),
    }
}

fn as_view(bytes: &Tensor, view: &View) -> Result<Tensor, TchError> {
    let (shape, stride) = (ints(view.shape()), ints(view.stride()));
    let size = view.dtype().size() as i64;
    let numel = bytes.numel() as i64 / size;
    let typed = bytes
        .f_narrow(0, 0, numel * size)?
        .f_view_dtype(kind(view.dtype())?)?;
    typed.f_as_strided(shape, stride, view.offset() as i64)
}

/// A copy in its own memory. (tch's `f_clone` takes the tensor to clone to.)
fn copied(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

/// Whether `Module.to(dtype)` casts tensors of this dtype, of those of the format.
pub(super) fn is_floating(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double
    )
}

/// Sizes as libtorch takes them; the format's limit is far below an i64's.
pub(super) fn ints(sizes: &[u64]) -> Vec<i64> {
    sizes.iter().map(|size| *size as i64).collect()
}

/// tch's name of a dtype.
pub(super) fn kind(dtype: Dtype) -> Result<Kind, TchError> {
    let kind = dtype.kind();
    kind.ok_or_else(|| TchError::Torch(format!("tch lacks tensors of dtype {dtype}")))
}
