//! Executes a plan: draws by the functions of [`init`](crate::init), everything else by libtorch.

mod compute;
mod memory;
mod raw;
pub(super) mod stream;
mod uses;

use super::step::{Op, Step};
use super::view::View;
use super::{InitPlan, PlanError};
use crate::distribution::randperm;
use crate::error::InitError;
use crate::generator::Generator;
use crate::init;
use crate::init::sparse::sparse_from_;
use crate::tensor::Dtype;
pub(super) use compute::fill;
use std::ops::Range;
use stream::Stream;
use tch::{Device, Kind, TchError, Tensor};
use torch_rng::{Draw, Normal, Orthogonal, Sparse, TruncNormal, Uniform};

impl InitPlan {
    /// Makes every parameter and buffer, by name and in the order of [`names`](Self::names), with
    /// the bits that PyTorch's constructor would have given them if `generator` had been its
    /// default one; and leaves the generator where the constructor would have left it.
    ///
    /// Names of one storage (tied weights) are tensors of one storage here too. No tensor requires
    /// gradients; [`Entry::requires_grad`](super::Entry::requires_grad) says which should.
    ///
    /// # Errors
    ///
    /// [`PlanError::Step`] if libtorch refuses a step, [`PlanError::Memory`] if the tensors exceed
    /// the machine, [`PlanError::Init`] for a generator that is none of the CPU. The generator is
    /// then left as it was.
    ///
    /// ```
    /// use tch_init::Generator;
    /// use tch_init::plan::InitPlan;
    ///
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// let mut generator = Generator::new(tch::Device::Cpu)?;
    /// generator.manual_seed(1)?;
    /// let tensors = plan.materialize(&mut generator)?;
    /// // torch.manual_seed(1); torch.nn.Linear(2, 3).weight[0, 0]
    /// assert_eq!(tensors[0].1.double_value(&[0, 0]) as f32, 0.364_346_1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn materialize(
        &self,
        generator: &mut Generator,
    ) -> Result<Vec<(String, Tensor)>, PlanError> {
        self.materialize_only(generator, |_| true)
    }

    /// As [`materialize`](Self::materialize), but only the names that `wanted` says. The others are
    /// drawn only if these depend on them; the generator ends where it ends after all.
    ///
    /// # Errors
    ///
    /// As [`materialize`](Self::materialize).
    pub fn materialize_only(
        &self,
        generator: &mut Generator,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Vec<(String, Tensor)>, PlanError> {
        let names: Vec<_> = self
            .names
            .iter()
            .filter(|name| wanted(&name.name))
            .collect();
        let views: Vec<usize> = names.iter().map(|name| name.view).collect();
        let tensors = self.execute(generator, &views)?;
        let names = names.into_iter().map(|name| name.name.clone());
        Ok(names.zip(tensors).collect())
    }

    /// The tensors of some views after all steps.
    pub(super) fn execute(
        &self,
        generator: &mut Generator,
        roots: &[usize],
    ) -> Result<Vec<Tensor>, PlanError> {
        let before = generator.get_state()?;
        let result = self.run(generator, roots);
        if result.is_err() {
            generator.set_state(&before)?;
        }
        result
    }

    fn run(&self, generator: &mut Generator, roots: &[usize]) -> Result<Vec<Tensor>, PlanError> {
        let live = self.live(roots.iter().copied());
        let uses = self.uses(&live, roots);
        memory::check(self, &live, &uses)?;
        let _no_grad = tch::no_grad_guard();
        let mut run = Run {
            plan: self,
            stream: Stream::new(generator)?,
            storages: self.storages.iter().map(|_| None).collect(),
            zeroed: uses.zeroed,
        };
        run.steps(&live, uses.done)?;
        let tensors = roots
            .iter()
            .map(|root| run.allocated(*root))
            .collect::<Result<_, _>>();
        let tensors = tensors.map_err(|error| InitError::tch("materialize", error))?;
        run.stream.generator()?;
        Ok(tensors)
    }

    /// A draw whose values nobody reads.
    pub(super) fn pass(&self, stream: &mut Stream<'_>, step: &Step) -> Result<(), InitError> {
        if stream.pass(step, &self.views)? {
            return Ok(());
        }
        let view = step.target(&self.views);
        let options = (kind(view.dtype), Device::Cpu);
        let scratch = Tensor::f_empty_strided(ints(&view.shape), ints(&view.stride), options);
        let mut scratch = scratch.map_err(|error| InitError::tch(step.op.name(), error))?;
        match &step.op {
            Op::Draw(op) => draw(stream, op, &mut scratch),
            _ => Ok(()),
        }
    }

    pub(super) fn failed_step(&self, step: usize, source: InitError) -> PlanError {
        PlanError::Step {
            step,
            op: self.steps[step].op.name(),
            parameter: self.needed_by(step),
            source: Box::new(source),
        }
    }
}

struct Run<'a> {
    plan: &'a InitPlan,
    stream: Stream<'a>,
    /// The bytes of each storage that is in use.
    storages: Vec<Option<Tensor>>,
    zeroed: Vec<bool>,
}

impl Run<'_> {
    /// All steps, of which the live ones are made. Storages are given up after their last step.
    fn steps(&mut self, live: &[bool], done: Vec<(usize, usize)>) -> Result<(), PlanError> {
        let mut done = done.into_iter().peekable();
        for (i, (step, live)) in self.plan.steps.iter().zip(live).enumerate() {
            let result = match (live, step.op.is_draw()) {
                (true, _) => self.step(step),
                (false, true) => self.plan.pass(&mut self.stream, step),
                (false, false) => Ok(()),
            };
            result.map_err(|source| self.plan.failed_step(i, source))?;
            while let Some((_, storage)) = done.next_if(|(last, _)| *last == i) {
                self.storages[storage] = None;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), InitError> {
        let tch = |error| InitError::tch(step.op.name(), error);
        for view in step.op.reads().into_iter().chain([step.out]) {
            let view = &self.plan.views[view];
            if let Some(bytes) = &self.storages[view.storage] {
                let start = bytes.data_ptr().addr() as u64;
                let Range {
                    start: from,
                    end: to,
                } = view.bytes();
                self.stream.settle(&(start + from..start + to))?;
            }
        }
        if !step.op.is_draw()
            && !matches!(
                step.op,
                Op::Fill(_) | Op::Const(_) | Op::Eye | Op::Dirac { .. }
            )
        {
            return self.compute(step).map_err(tch);
        }
        let mut out = self.allocated(step.out).map_err(tch)?;
        match &step.op {
            Op::Fill(value) => fill(&out, *value).map_err(tch),
            Op::Const(bytes) => {
                constant(&mut out, step.target(&self.plan.views), bytes).map_err(tch)
            }
            Op::Eye => init::eye_(&mut out),
            Op::Dirac { groups } => init::dirac_(&mut out, *groups),
            _ if self.stream.draw_later(step, &self.plan.views, &out)? => Ok(()),
            Op::Draw(op) => draw(&mut self.stream, op, &mut out),
            _ => Ok(()),
        }
    }

    fn compute(&mut self, step: &Step) -> Result<(), TchError> {
        let out = step.target(&self.plan.views);
        for read in step.op.reads() {
            self.allocate(read)?;
        }
        let mut result = compute::compute(&step.op, kind(out.dtype), &|view| self.view(view))?;
        if result.size() != ints(&out.shape) {
            let (found, wanted) = (result.size(), &out.shape);
            return Err(TchError::Torch(format!(
                "the result has shape {found:?} and not {wanted:?}"
            )));
        }
        match &step.op {
            Op::Copy(from) => {
                let from = &self.plan.views[*from];
                let overlaps = from.storage == out.storage
                    && from.bytes().start < out.bytes().end
                    && out.bytes().start < from.bytes().end;
                if overlaps {
                    result = copied(&result)?;
                }
            }
            _ if self.is_whole(out)
                && result.kind() == kind(out.dtype)
                && result.is_contiguous() =>
            {
                // A new tensor, which becomes the storage.
                let bytes = result.f_view([-1])?.f_view_dtype(Kind::Uint8)?;
                self.storages[out.storage] = Some(bytes);
                return Ok(());
            }
            _ => {}
        }
        self.allocated(step.out)?.f_copy_(&result)
    }

    /// Whether a view is all of its storage, in order.
    fn is_whole(&self, view: &View) -> bool {
        view.bytes() == (0..self.plan.storages[view.storage])
            && view.is_contiguous()
            && view.numel() > 0
    }

    /// Makes the storage of a view if it has not been made.
    fn allocate(&mut self, view: usize) -> Result<(), TchError> {
        let storage = self.plan.views[view].storage;
        if self.storages[storage].is_none() {
            let length = [self.plan.storages[storage] as i64];
            let options = (Kind::Uint8, Device::Cpu);
            let bytes = match self.zeroed[storage] {
                true => Tensor::f_zeros(length, options),
                false => Tensor::f_empty(length, options),
            };
            self.storages[storage] = Some(bytes?);
        }
        Ok(())
    }

    fn allocated(&mut self, view: usize) -> Result<Tensor, TchError> {
        self.allocate(view)?;
        self.view(view)
    }

    fn view(&self, view: usize) -> Result<Tensor, TchError> {
        let view = &self.plan.views[view];
        match &self.storages[view.storage] {
            Some(bytes) => as_view(bytes, view),
            None => Err(TchError::Torch(
                "a storage is read before it is made".to_owned(),
            )),
        }
    }
}

/// A draw into a tensor.
fn draw(stream: &mut Stream<'_>, draw: &Draw, out: &mut Tensor) -> Result<(), InitError> {
    match *draw {
        Draw::Uniform(Uniform { from, to }) => {
            init::uniform_(out, from, to, Some(stream.generator()?))
        }
        Draw::Normal(Normal { mean, std }) => {
            init::normal_(out, mean, std, Some(stream.generator()?))
        }
        Draw::TruncNormal(TruncNormal { mean, std, a, b }) => {
            init::trunc_normal_(out, mean, std, a, b, Some(stream.generator()?))
        }
        Draw::Orthogonal(Orthogonal { gain }) => {
            init::orthogonal_(out, gain, Some(stream.generator()?))
        }
        Draw::Sparse(Sparse { sparsity, std }) => {
            // PyTorch permutes by the default stream, which for a recorded model is this one.
            sparse_from_(out, sparsity, std, stream.generator()?)
        }
        Draw::Randperm(_) => {
            let permutation = randperm(stream.words()?, out.numel());
            let permutation = Tensor::f_from_slice(&permutation);
            let copied = permutation.and_then(|permutation| out.f_copy_(&permutation));
            copied.map_err(|error| InitError::tch("randperm", error))
        }
        _ => Err(InitError::libtorch(draw.name(), "this draw is not known")),
    }
}

fn as_view(bytes: &Tensor, view: &View) -> Result<Tensor, TchError> {
    let (shape, stride) = (ints(&view.shape), ints(&view.stride));
    let size = view.dtype.size() as i64;
    let whole = bytes.numel() as i64 / size * size;
    let typed = bytes
        .f_narrow(0, 0, whole)?
        .f_view_dtype(kind(view.dtype))?;
    typed.f_as_strided(shape, stride, view.offset as i64)
}

/// A tensor of its own. (tch's `f_clone` takes where to clone to.)
pub(super) fn copied(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

fn constant(out: &mut Tensor, view: &View, bytes: &[u8]) -> Result<(), TchError> {
    let bytes = Tensor::f_from_slice(bytes)?;
    let elements = bytes
        .f_view_dtype(kind(view.dtype))?
        .f_view(&*ints(&view.shape))?;
    out.f_copy_(&elements)
}

/// Whether tch's dtype is one of the format that `Module.to(dtype)` casts.
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

/// tch's word for a dtype of the format.
pub(super) fn kind(dtype: Dtype) -> Kind {
    // The format has no dtype that tch does not know.
    dtype.kind().unwrap_or(Kind::Float)
}
