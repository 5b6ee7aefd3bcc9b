//! Rows of one parameter or buffer.

use crate::elements::{Plain, contiguous_mut, for_float};
use crate::error::PlanError;
use crate::materialize::unallocated;
use crate::plan::InitPlan;
use crate::step::Op;
use crate::stream::{Storages, Stream};
use crate::stream_cursor::Cursor;
use crate::view::View;
use std::ops::Range;
use torch_rng::{Draw, Mt19937, Target};
use torch_rng::{DrawError, Element, Engine};

impl InitPlan {
    /// Makes some rows of a parameter or buffer: those of its first dimension, with the bits that
    /// [`materialize`](Self::materialize) from `generator` gives them. The generator is not moved.
    ///
    /// If the tensor is made by one draw that [has ranges](torch_rng::Draw::has_ranges) (`uniform_`,
    /// or `normal_` of at least 16 elements) by one constant, or from the file beside the plan, only these rows are made; any other
    /// tensor is made and cut. The stream is moved past earlier draws, except for draws whose number
    /// of words depends on their values (`trunc_normal_`), which are made to see where they end.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoSuchName`], [`PlanError::Rows`] if the tensor lacks these rows, and as
    /// [`materialize`](Self::materialize).
    ///
    /// ```
    /// # use init_plan::InitPlan;
    /// # use torch_rng::Mt19937;
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// let mut generator = Mt19937::new(1);
    /// let last = plan.materialize_rows(&generator, "weight", 2..3)?;
    /// let (_, weight) = &plan.materialize(&mut generator)?[0];
    /// assert_eq!(*last.to_bytes(), weight.to_bytes()[16..]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn materialize_rows<S: Stream>(
        &self,
        generator: &S,
        name: &str,
        rows: Range<u64>,
    ) -> Result<S::Tensor, PlanError> {
        let known = self
            .find(name)
            .ok_or_else(|| PlanError::NoSuchName(name.to_owned()))?;
        let view = &self.views[known.view];
        let has = view.shape.first().copied();
        // A tensor without dimensions has no part, not even an empty one.
        if rows.start > rows.end || has.is_none_or(|has| rows.end > has) {
            return Err(PlanError::Rows {
                name: name.to_owned(),
                has: has.unwrap_or(0),
                start: rows.start,
                end: rows.end,
            });
        }
        let mut generator = generator.try_clone().map_err(PlanError::Generator)?;
        // The rows alone, as the first view of two storages.
        let source = view.part(0, rows.clone());
        let alone = source.alone(1, view.dtype);
        let sizes = [self.storages[view.storage], alone.bytes().end];
        let views = [source.in_storage(0), alone.clone()];
        let mut storages = Storages::new(&views, &sizes, vec![false; 2]);
        if let Some(step) = self.only_step(known.view)
            && self.make_rows(step, view, rows, &mut generator, &mut storages)?
        {
        } else {
            let mut all = self.execute(&mut generator, &[known.view])?;
            // A copy, so that the other rows are freed.
            storages.storages[0] = all.storages[view.storage].take();
            let copied = generator.compute(&Op::Copy(0), 1, &mut storages);
            copied.map_err(PlanError::Generator)?;
        }
        let storage = storages.get(1).ok_or_else(unallocated);
        // SAFETY: the rows are made, and nothing else writes to their storage.
        let tensor = storage.and_then(|storage| unsafe { generator.tensor(storage, &alone) });
        tensor.map_err(PlanError::Generator)
    }

    /// The step that alone makes all of a view, if its elements can be made one without the other.
    fn only_step(&self, root: usize) -> Option<usize> {
        let live = self.live([root]).into_iter().enumerate();
        let mut live = live.filter(|(_, live)| *live);
        let (Some((step, _)), None) = (live.next(), live.next()) else {
            return None;
        };
        let (root, out) = (
            &self.views[root],
            self.steps[step].targets(&self.views).next()?,
        );
        let same = root.bytes() == out.bytes() && root.dtype == out.dtype;
        let plain = match self.steps[step].op {
            Op::Draw(draw) => out
                .target(self.semantics)
                .is_some_and(|target| draw.has_ranges(target)),
            Op::Fill(_) | Op::Data(_) => true,
            _ => false,
        };
        (same && plain && root.is_contiguous() && out.is_contiguous()).then_some(step)
    }

    /// Makes rows of a view that one step fills, as view 1 of `storages`; `false` if the stream's
    /// engine does not make that draw.
    fn make_rows<S: Stream>(
        &self,
        step: usize,
        view: &View,
        rows: Range<u64>,
        generator: &mut S,
        storages: &mut Storages<'_, S>,
    ) -> Result<bool, PlanError> {
        let failed = |source| self.failed_step(step, source);
        if let Op::Data(name) = &self.steps[step].op {
            let Some(whole) = self.steps[step].targets(&self.views).next() else {
                return Ok(false);
            };
            let alone = storages.view(1);
            if whole.shape != view.shape {
                return Ok(false);
            }
            let storage = storages.get_or_allocate(generator, 1).map_err(failed)?;
            let bytes = storage.bytes_mut();
            self.with_data(|data| data.read_rows(name, whole, rows.start, alone, bytes))?;
            return Ok(true);
        }
        let Op::Draw(draw) = &self.steps[step].op else {
            let op = &self.steps[step].op;
            return generator
                .compute(op, 1, storages)
                .map(|()| true)
                .map_err(failed);
        };
        let target = self.steps[step].targets(&self.views).next();
        let target = target.and_then(|view| view.target(self.semantics));
        let engine = target.and_then(|target| Some((target, generator.engine(draw, target)?)));
        let Some((target, engine)) = engine else {
            return Ok(false);
        };
        let start = self.position_of(step, generator)?;
        let row: u64 = view.shape[1..].iter().product();
        let range = rows.start * row..rows.end * row;
        let alone = storages.view(1);
        let storage = storages.get_or_allocate(generator, 1).map_err(failed)?;
        let bytes = storage.bytes_mut();
        let drawn = for_float!(
            view.dtype,
            fill_range(draw, &engine, &start, target, range, alone, bytes)
        );
        match drawn {
            Some(drawn) => drawn.map(|()| true).map_err(|error| failed(error.into())),
            None => Ok(false),
        }
    }

    /// The position of the stream where a step begins.
    pub(crate) fn position_of<S: Stream>(
        &self,
        step: usize,
        generator: &mut S,
    ) -> Result<Mt19937, PlanError> {
        let mut cursor = Cursor::new(generator, self.semantics);
        for (i, before) in self.steps[..step].iter().enumerate() {
            let moved = match before.op {
                Op::Stream(change) => cursor.change(change, &mut []),
                _ => self.skip(&mut cursor, before, &mut []),
            };
            moved.map_err(|source| self.failed_step(i, source))?;
        }
        let position = cursor.flush(&mut []).cloned();
        position.map_err(PlanError::Generator)
    }
}

fn fill_range<T: Element + Plain>(
    draw: &Draw,
    engine: &Engine,
    start: &Mt19937,
    target: Target<'_>,
    range: Range<u64>,
    view: &View,
    bytes: &mut [u8],
) -> Result<(), DrawError> {
    let values = contiguous_mut::<T>(bytes, view).unwrap_or_default();
    draw.fill_range(engine, start, target, range, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlanBuilder;
    use tensor_parity::Dtype;
    use torch_rng::Uniform;

    #[test]
    fn a_tensor_without_dimensions_has_no_rows() {
        let mut plan = PlanBuilder::new();
        let scalar = plan.parameter("scalar", Dtype::Float32, &[]).unwrap();
        plan.draw(scalar, Uniform { from: 0.0, to: 1.0 }).unwrap();
        let plan = plan.finish("a scalar").unwrap();
        for rows in [0..0, 0..1] {
            let made = plan.materialize_rows(&Mt19937::new(1), "scalar", rows);
            assert!(matches!(made, Err(PlanError::Rows { has: 0, .. })));
        }
    }
}
