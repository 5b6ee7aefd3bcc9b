//! The position in the stream where each step of a plan begins, found in order and as far as needed.

use crate::error::PlanError;
use crate::plan::InitPlan;
use crate::scout::Scout;
use crate::step::{Op, Step, StreamChange};
use crate::storage::Storage;
use crate::storage_lifetimes::check_memory;
use crate::stream::{Storages, Stream, StreamError};
use crate::stream_cursor::Cursor;
use std::collections::BTreeMap;
use torch_rng::{Draw, Engine, Mt19937, Target, TruncNormal};

/// Makes any elements of a plan's tensors, with the bits that [`InitPlan::materialize`] gives them, from one
/// generator: it knows where in the stream each step begins.
///
/// [`InitPlan::places`] creates it. A position is computed when a tensor first needs it, once: draws before it
/// are skipped, and only those whose number of words depends on their values are computed (a part at a time; by
/// libtorch, all at once).
pub struct Places<'p, S: Stream> {
    pub(crate) plan: &'p InitPlan,
    pub(crate) stream: S,
    positions: Positions,
    /// The steps that write each storage.
    pub(crate) writers: Vec<Vec<usize>>,
    /// The last tensor that had to be made as a whole.
    pub(crate) made: Option<Made<S::Memory>>,
    /// Memory that is used again.
    pub(crate) spare: Vec<Storage<S::Memory>>,
    /// The last position, which the next range of the same step needs again.
    last: Option<(usize, Position, Mt19937)>,
    /// What other processes have counted.
    pub(crate) scout: Option<Scout>,
}

/// A tensor that was made as a whole.
pub(crate) struct Made<M> {
    /// The number of the view, and of the step after which it has these values.
    pub view: usize,
    pub step: usize,
    pub storage: Storage<M>,
    /// The byte of the plan's storage where this one begins.
    pub start: u64,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    base: usize,
    words: u64,
}

struct Positions {
    /// Positions that are not a known number of words after an earlier one.
    bases: Vec<Mt19937>,
    steps: Vec<Position>,
    streams: BTreeMap<u64, Position>,
    current: u64,
}

impl Positions {
    fn here(&self) -> Option<Position> {
        self.streams.get(&self.current).copied()
    }

    fn put(&mut self, stream: u64, generator: Mt19937) {
        self.bases.push(generator);
        let base = self.bases.len() - 1;
        self.streams.insert(stream, Position { base, words: 0 });
    }

    fn change(&mut self, change: StreamChange) -> Result<(), StreamError> {
        let position = |from: &u64| {
            let position = self.streams.get(from).copied();
            position.ok_or_else(|| StreamError::from("a stream lacks a position"))
        };
        match change {
            StreamChange::Seed { stream, seed } => self.put(stream, Mt19937::new(seed)),
            StreamChange::Copy { to, from } => {
                let position = position(&from)?;
                self.streams.insert(to, position);
            }
            StreamChange::Use(stream) => {
                position(&stream)?;
                self.current = stream;
            }
        }
        Ok(())
    }

    fn generator(&self, position: Position) -> Mt19937 {
        let mut generator = self.bases[position.base].clone();
        Engine::default().skip(&mut generator, position.words);
        generator
    }
}

impl InitPlan {
    /// Prepares to make elements of tensors as [`materialize`](Self::materialize) from this generator makes them.
    /// The generator is not moved.
    ///
    /// # Errors
    ///
    /// [`PlanError::Generator`] unless the generator is one of the CPU.
    ///
    /// ```
    /// use init_plan::PlanBuilder;
    /// use tensor_parity::Dtype;
    /// use torch_rng::{Mt19937, Normal};
    ///
    /// // 4 TB, of which 16 bytes are made.
    /// let mut plan = PlanBuilder::new();
    /// let weight = plan.parameter("weight", Dtype::Float32, &[1 << 20, 1 << 20])?;
    /// plan.draw(weight, Normal { mean: 0.0, std: 0.02 })?;
    /// let plan = plan.finish("a large matrix")?;
    /// let mut places = plan.places(&Mt19937::new(1))?;
    /// let mut bytes = [0; 16];
    /// places.fill("weight", 1 << 39..(1 << 39) + 4, Dtype::Float32, &mut bytes)?;
    /// # assert_ne!(bytes, [0; 16]);
    /// # Ok::<(), init_plan::PlanError>(())
    /// ```
    pub fn places<S: Stream>(&self, generator: &S) -> Result<Places<'_, S>, PlanError> {
        let stream = generator.try_clone().map_err(PlanError::Generator)?;
        let start = stream.position().map_err(PlanError::Generator)?;
        let mut writers = vec![Vec::new(); self.storages.len()];
        for (i, step) in self.steps.iter().enumerate() {
            for out in step.targets(&self.views) {
                if writers[out.storage].last() != Some(&i) {
                    writers[out.storage].push(i);
                }
            }
        }
        Ok(Places {
            plan: self,
            stream,
            positions: Positions {
                bases: vec![start],
                steps: Vec::new(),
                streams: BTreeMap::from([(0, Position { base: 0, words: 0 })]),
                current: 0,
            },
            writers,
            made: None,
            spare: Vec::new(),
            last: None,
            scout: None,
        })
    }
}

impl<'p, S: Stream> Places<'p, S> {
    /// The plan.
    pub fn plan(&self) -> &'p InitPlan {
        self.plan
    }

    /// The generator after all steps, where [`InitPlan::materialize`] leaves it.
    ///
    /// # Errors
    ///
    /// As [`InitPlan::materialize`], for draws that have to be made to see where they end.
    pub fn end(&mut self) -> Result<Mt19937, PlanError> {
        self.extend(self.plan.steps.len())?;
        let end = self.positions.streams.get(&0).copied();
        let end = end.ok_or_else(|| PlanError::Generator("a stream lacks a position".into()))?;
        Ok(self.positions.generator(end))
    }

    /// The generator before a step.
    pub(crate) fn position(&mut self, step: usize) -> Result<Mt19937, PlanError> {
        if let Some((last, _, generator)) = &self.last
            && *last == step
        {
            return Ok(generator.clone());
        }
        // Where the step itself ends need not be known.
        self.extend(step)?;
        let known = self.positions.steps.get(step).copied();
        let here = known.or_else(|| self.positions.here());
        let here = here.ok_or_else(|| {
            self.plan
                .failed_step(step, "a stream lacks a position".into())
        })?;
        // Mostly not far from the last one.
        let near = self.last.take().and_then(|(_, from, mut generator)| {
            let words = here.words.checked_sub(from.words);
            let words = words.filter(|_| from.base == here.base)?;
            Engine::default().skip(&mut generator, words);
            Some(generator)
        });
        let generator = near.unwrap_or_else(|| self.positions.generator(here));
        self.last = Some((step, here, generator.clone()));
        Ok(generator)
    }

    /// Finds where the steps before `end` begin and end.
    fn extend(&mut self, end: usize) -> Result<(), PlanError> {
        let plan = self.plan;
        for i in self.positions.steps.len()..end {
            let failed = |source| plan.failed_step(i, source);
            let here = self.positions.here();
            let here = here.ok_or_else(|| failed("a stream lacks a position".into()))?;
            self.positions.steps.push(here);
            if let Err(error) = self.skip(i, &plan.steps[i], here) {
                self.positions.steps.pop();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Finds where a step ends.
    fn skip(&mut self, i: usize, step: &'p Step, here: Position) -> Result<(), PlanError> {
        let plan = self.plan;
        let failed = |source| plan.failed_step(i, source);
        match &step.op {
            Op::Stream(change) => return self.positions.change(*change).map_err(failed),
            Op::Draw(_) => {}
            op if op.is_always_live() => {
                let outs = step.outs.to_vec();
                self.run(&outs, i + 1, Some(i))?;
                if op.is_draw() {
                    let end = self.stream.position().map_err(failed)?;
                    self.positions.put(self.positions.current, end);
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        // Block draws leave a cached normal as it was, so that words alone are the position; others may use it.
        let cached = self.positions.bases[here.base]
            .next_double_normal()
            .is_some();
        let consumed = step.consumed(&plan.views, plan.semantics, Some(cached));
        let words = consumed
            .words
            .and_then(|words| here.words.checked_add(words));
        if let (Some(words), false, Some(false)) = (words, cached, consumed.cached) {
            let position = Position { words, ..here };
            self.positions
                .streams
                .insert(self.positions.current, position);
            return Ok(());
        }
        if !cached && let Some(words) = self.counted(i, step, here) {
            let position = Position { words, ..here };
            self.positions
                .streams
                .insert(self.positions.current, position);
            return Ok(());
        }
        check_memory(plan.scratch(step, &self.stream))?;
        let before = self.positions.generator(here);
        self.stream.set_position(&before).map_err(failed)?;
        let mut cursor = Cursor::new(&mut self.stream, plan.semantics);
        let skipped = plan.skip(&mut cursor, step, &mut []);
        let end = skipped.and_then(|()| cursor.flush(&mut []).cloned());
        self.positions
            .put(self.positions.current, end.map_err(failed)?);
        Ok(())
    }

    /// A truncated normal draw that is repeated, with the words of each time.
    fn repeated(&self, step: &'p Step) -> Option<(&'p TruncNormal, Target<'p>, u64)> {
        let (Op::Draw(Draw::TruncNormal(draw)), [out]) = (&step.op, &*step.outs) else {
            return None;
        };
        let target = self.plan.views[*out].target(self.plan.semantics)?;
        Some((draw, target, draw.pass_words(target)?))
    }

    /// The words from the base to the end of a truncated normal draw, how often it is repeated being counted.
    fn counted(&mut self, i: usize, step: &'p Step, here: Position) -> Option<u64> {
        let (draw, target, words) = self.repeated(step)?;
        let engine = self.stream.engine(&Draw::from(*draw), target)?;
        let start = self.positions.generator(here);
        let passes = match &mut self.scout {
            Some(scout) => scout.count(i, draw, &engine, &start, target),
            None => draw.passes(&engine, &start, target, 0..target.numel()),
        };
        here.words.checked_add(passes.checked_mul(words)?)
    }

    /// Counts, with other processes, what has to be counted before some tensors can be made.
    pub(crate) fn scout(&mut self, scout: Scout, roots: &[usize]) -> Result<(), PlanError> {
        let plan = self.plan;
        let storages = roots.iter().map(|root| plan.views[*root].storage);
        let last = storages.filter_map(|storage| self.writers[storage].last());
        let end = last.max().map_or(0, |last| *last);
        let mut before = plan.steps[..end].iter();
        if before.any(|step| self.repeated(step).is_some()) {
            self.scout = Some(scout);
            self.extend(end)?;
        }
        Ok(())
    }

    /// Makes the steps before `end` that some views depend on, and one more, each at its position.
    pub(crate) fn run(
        &mut self,
        roots: &[usize],
        end: usize,
        also: Option<usize>,
    ) -> Result<Storages<'p, S>, PlanError> {
        self.extend(end)?;
        let live = self.plan.live_in(&self.plan.steps[..end], roots, also);
        let Places {
            plan,
            stream,
            positions,
            ..
        } = self;
        let position = |step: usize| positions.generator(positions.steps[step]);
        plan.run_at_positions(stream, roots, &live, position)
    }
}
