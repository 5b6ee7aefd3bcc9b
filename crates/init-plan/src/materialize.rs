//! Executes a plan: makes the steps that the requested tensors depend on, skips other draws.

use crate::data_file::DataFile;
use crate::error::{DataError, PlanError};
use crate::plan::InitPlan;
use crate::step::{Op, Step, StreamChange};
use crate::storage::Storage;
use crate::stream::{Storages, Stream, StreamError};
use crate::stream_cursor::Cursor;
use torch_rng::{Draw, Mt19937};

impl InitPlan {
    /// Makes every parameter and buffer, by name and in the order of [`names`](Self::names), with
    /// the bits that PyTorch's constructor would have given them if `generator` had been its
    /// default one; and leaves the generator where the constructor would have left it.
    ///
    /// Names of one storage (tied weights) become tensors of one storage. No tensor requires
    /// gradients; [`Entry::requires_grad`](crate::Entry::requires_grad) says which should.
    ///
    /// # Errors
    ///
    /// [`PlanError::Step`] if a step fails or needs libtorch, [`PlanError::Memory`] if the tensors
    /// exceed the machine's memory, [`PlanError::Generator`] unless the generator is one of the CPU.
    /// The generator is then left as it was.
    ///
    /// ```
    /// use init_plan::InitPlan;
    /// use torch_rng::Mt19937;
    ///
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// let tensors = plan.materialize(&mut Mt19937::new(1))?;
    /// let (name, weight) = &tensors[0];
    /// assert_eq!(name, "weight");
    /// // torch.manual_seed(1); torch.nn.Linear(2, 3).weight[0, 0]
    /// assert_eq!(weight.to_bytes()[..4], 0.364_346_1_f32.to_le_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn materialize<S: Stream>(
        &self,
        generator: &mut S,
    ) -> Result<Vec<(String, S::Tensor)>, PlanError> {
        self.materialize_only(generator, |_| true)
    }

    /// Makes only the parameters and buffers for whose name `wanted` returns `true`. Others are
    /// drawn only if these depend on them; the generator ends where
    /// [`materialize`](Self::materialize) leaves it.
    ///
    /// # Errors
    ///
    /// As [`materialize`](Self::materialize).
    pub fn materialize_only<S: Stream>(
        &self,
        generator: &mut S,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Vec<(String, S::Tensor)>, PlanError> {
        let names = self.names.iter().filter(|name| wanted(&name.name));
        let names: Vec<_> = names.collect();
        let views: Vec<usize> = names.iter().map(|name| name.view).collect();
        let storages = self.execute(generator, &views)?;
        let tensors = names.into_iter().map(|name| {
            let storage = storages.get(name.view).ok_or_else(unallocated);
            let view = &self.views[name.view];
            // SAFETY: all steps are done, and nothing else writes to the storages.
            let tensor = storage.and_then(|storage| unsafe { generator.tensor(storage, view) });
            Ok((name.name.clone(), tensor.map_err(PlanError::Generator)?))
        });
        tensors.collect()
    }

    /// The storages of some views after all steps.
    pub(crate) fn execute<S: Stream>(
        &self,
        generator: &mut S,
        roots: &[usize],
    ) -> Result<Storages<'_, S>, PlanError> {
        let before = generator.position().map_err(PlanError::Generator)?;
        let result = self.run(generator, roots);
        if result.is_err() {
            generator
                .set_position(&before)
                .map_err(PlanError::Generator)?;
        }
        result
    }

    fn run<S: Stream>(
        &self,
        generator: &mut S,
        roots: &[usize],
    ) -> Result<Storages<'_, S>, PlanError> {
        let live = self.live(roots.iter().copied());
        let lifetimes = self.lifetimes(&live, roots);
        let scratch = |step: &Step| self.scratch(step, generator);
        self.check_memory(&live, &lifetimes, scratch)?;
        self.check_data(&live)?;
        let mut run = Run {
            plan: self,
            cursor: Cursor::new(generator, self.semantics),
            storages: Storages::new(&self.views, &self.storages, lifetimes.zeroed),
        };
        run.steps(&live, lifetimes.last_uses)?;
        run.finish(roots).map_err(PlanError::Generator)?;
        Ok(run.storages)
    }

    /// Makes the first steps as far as they are live, each from its position in the stream.
    pub(crate) fn run_at_positions<S: Stream>(
        &self,
        generator: &mut S,
        roots: &[usize],
        live: &[bool],
        position: impl Fn(usize) -> Mt19937,
    ) -> Result<Storages<'_, S>, PlanError> {
        let lifetimes = self.lifetimes(live, roots);
        self.check_memory(live, &lifetimes, |_| 0)?;
        self.check_data(live)?;
        let mut run = Run {
            plan: self,
            cursor: Cursor::new(generator, self.semantics),
            storages: Storages::new(&self.views, &self.storages, lifetimes.zeroed),
        };
        let mut last_uses = lifetimes.last_uses.into_iter().peekable();
        for (i, (step, live)) in self.steps.iter().zip(live).enumerate() {
            if *live {
                run.step_at(step, || position(i))
                    .map_err(|source| self.failed_step(i, source))?;
            }
            while let Some((_, storage)) = last_uses.next_if(|(last, _)| *last == i) {
                run.storages.storages[storage] = None;
            }
        }
        run.finish(roots).map_err(PlanError::Generator)?;
        Ok(run.storages)
    }

    /// Opens the file of the data if one of these views depends on it.
    pub(crate) fn check_data_of(
        &self,
        roots: impl IntoIterator<Item = usize>,
    ) -> Result<(), PlanError> {
        self.check_data(&self.live(roots))
    }

    /// Opens the file of the data if a live step reads it, before anything is drawn.
    fn check_data(&self, live: &[bool]) -> Result<(), PlanError> {
        let mut live = self.steps.iter().zip(live).filter(|(_, live)| **live);
        match live.any(|(step, _)| matches!(step.op, Op::Data(_))) {
            true => self.with_data(|data| data.open().map(drop)),
            false => Ok(()),
        }
    }

    /// Uses the file of the data; an error names it.
    pub(crate) fn with_data(
        &self,
        read: impl FnOnce(&DataFile) -> Result<(), DataError>,
    ) -> Result<(), PlanError> {
        // Validation excludes a step of data without a file.
        let Some(data) = &self.data else {
            return Ok(());
        };
        read(data).map_err(|source| PlanError::Data {
            path: data.path(),
            source,
        })
    }

    /// The bytes that [`skip`](Self::skip) needs: those of the tensor if a draw has to be made, else none.
    pub(crate) fn scratch<S: Stream>(&self, step: &Step, stream: &S) -> u64 {
        let (Op::Draw(draw), [out]) = (&step.op, &*step.outs) else {
            return 0;
        };
        let view = &self.views[*out];
        let Some(target) = view.target(self.semantics) else {
            return 0;
        };
        let is_known = draw.consumed(target, Some(false)).words.is_some();
        match is_known || draw.can_skip(target) && stream.engine(draw, target).is_some() {
            true => 0,
            false => view.bytes().end - view.bytes().start,
        }
    }

    /// Skips a draw whose values nothing reads.
    pub(crate) fn skip<S: Stream>(
        &self,
        cursor: &mut Cursor<'_, '_, S>,
        step: &Step,
        storages: &mut [Option<Storage<S::Memory>>],
    ) -> Result<(), StreamError> {
        let (Op::Draw(draw), [out]) = (&step.op, &*step.outs) else {
            return Ok(());
        };
        let view = &self.views[*out];
        if cursor.skip(draw, view, storages)? {
            return Ok(());
        }
        let scratch = view.at_start();
        let stream = cursor.stream(storages)?;
        // SAFETY: it is only drawn into.
        let mut storage = unsafe { stream.allocate(scratch.bytes().end, false) }?;
        stream.draw(draw, self.semantics, &mut storage, &scratch)
    }

    pub(crate) fn failed_step(&self, step: usize, source: StreamError) -> PlanError {
        PlanError::Step {
            step,
            op: self.steps[step].op.name(),
            parameter: self.needed_by(step),
            source,
        }
    }
}

/// A view whose storage was never allocated, which the order of a run excludes.
pub(crate) fn unallocated() -> StreamError {
    "a storage was read before it was allocated".into()
}

struct Run<'s, 'p, S: Stream> {
    plan: &'p InitPlan,
    cursor: Cursor<'s, 'p, S>,
    storages: Storages<'p, S>,
}

impl<'p, S: Stream> Run<'_, 'p, S> {
    /// Makes live steps and skips other draws. Storages are freed after their last use.
    fn steps(&mut self, live: &[bool], last_uses: Vec<(usize, usize)>) -> Result<(), PlanError> {
        let plan = self.plan;
        let mut last_uses = last_uses.into_iter().peekable();
        for (i, (step, live)) in plan.steps.iter().zip(live).enumerate() {
            let result = match (live, &step.op) {
                (_, Op::Stream(change)) => self.cursor.change(*change, &mut self.storages.storages),
                (true, _) => self.step(step),
                (false, _) => plan.skip(&mut self.cursor, step, &mut self.storages.storages),
            };
            result.map_err(|source| plan.failed_step(i, source))?;
            while let Some((_, storage)) = last_uses.next_if(|(last, _)| *last == i) {
                self.storages.storages[storage] = None;
            }
        }
        Ok(())
    }

    /// Copies a tensor of the file beside the plan, which needs no libtorch.
    fn data(&mut self, name: &str, out: usize) -> Result<(), StreamError> {
        let plan = self.plan;
        let storage = self
            .storages
            .get_or_allocate(self.cursor.as_stream(), out)?;
        let bytes = storage.bytes_mut();
        plan.with_data(|data| data.read(name, &plan.views[out], bytes))?;
        Ok(())
    }

    /// Makes a step; a draw from a position in the stream.
    fn step_at(
        &mut self,
        step: &'p Step,
        position: impl FnOnce() -> Mt19937,
    ) -> Result<(), StreamError> {
        if step.op.is_draw() {
            let storages = &mut self.storages.storages;
            self.cursor.put(0, position(), storages)?;
        }
        self.step(step)
    }

    fn step(&mut self, step: &'p Step) -> Result<(), StreamError> {
        let plan = self.plan;
        let reads = step.op.reads();
        for view in reads.iter().chain(&step.outs) {
            let view = &plan.views[*view];
            self.cursor
                .flush_overlapping(view, &mut self.storages.storages)?;
        }
        for read in reads {
            self.storages
                .get_or_allocate(self.cursor.as_stream(), read)?;
        }
        match (&step.op, &*step.outs) {
            (Op::Call(call), outs) => {
                let stream = match call.operator.is_draw() {
                    true => self.cursor.stream(&mut self.storages.storages)?,
                    false => self.cursor.as_stream_mut(),
                };
                stream.call(call, outs, &mut self.storages)
            }
            (Op::Data(name), [out]) => self.data(name, *out),
            (Op::Draw(draw), [out]) => self.draw(draw, *out),
            (op, [out]) => {
                let stream = self.cursor.as_stream();
                stream.compute(op, *out, &mut self.storages)
            }
            // Validation excludes it.
            (_, _) => Err(unallocated()),
        }
    }

    fn draw(&mut self, draw: &Draw, out: usize) -> Result<(), StreamError> {
        let view = &self.plan.views[out];
        self.storages
            .get_or_allocate(self.cursor.as_stream(), out)?;
        if self.cursor.draw_later(draw, view)? {
            return Ok(());
        }
        let stream = self.cursor.stream(&mut self.storages.storages)?;
        let storage = self.storages.get_or_allocate(stream, out)?;
        stream.draw(draw, self.plan.semantics, storage, view)
    }

    /// Makes what is pending, and the requested storages that no step has written.
    fn finish(&mut self, roots: &[usize]) -> Result<(), StreamError> {
        for root in roots {
            self.storages
                .get_or_allocate(self.cursor.as_stream(), *root)?;
        }
        let storages = &mut self.storages.storages;
        self.cursor.change(StreamChange::Use(0), storages)?;
        self.cursor.stream(storages).map(drop)
    }
}
