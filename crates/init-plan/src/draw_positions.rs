//! Which draw made each parameter and buffer, and where in the stream.

use crate::error::PlanError;
use crate::plan::InitPlan;
use crate::step::{Op, Step};
use crate::stream::{Stream, StreamError};
use crate::stream_cursor::Cursor;
use crate::view::View;
use std::collections::BTreeMap;
use std::ops::Range;
use torch_rng::{Draw, Mt19937, Normal, Uniform};

/// A bound on the passes of a draw whose number of passes is searched.
const MAX_DRAWS: u64 = 10_000;

/// The draw that made a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct DrawPosition {
    /// What was drawn.
    pub draw: Draw,
    /// The number of words of the stream before it.
    pub word: u64,
}

impl InitPlan {
    /// Finds for each name, in the order of [`names`](Self::names), the last draw of the whole tensor
    /// and its position in the stream. Later writes to parts of the tensor are ignored.
    ///
    /// `None` for a tensor that was computed, and for a draw whose position is not known: after one
    /// that only libtorch makes, and from another stream than the generator's. The generator is moved past
    /// all draws.
    ///
    /// # Errors
    ///
    /// As [`materialize`](Self::materialize).
    ///
    /// ```
    /// use init_plan::PlanBuilder;
    /// use torch_rng::{Mt19937, Normal, Uniform};
    ///
    /// let mut plan = PlanBuilder::new();
    /// let weight = plan.parameter("weight", tensor_parity::Dtype::Float32, &[3, 2])?;
    /// plan.draw(weight, Uniform { from: 0.0, to: 1.0 })?;
    /// plan.draw(weight, Normal { mean: 0.0, std: 0.02 })?;
    /// let positions = plan.finish("two draws")?.draw_positions(&mut Mt19937::new(1))?;
    /// assert_eq!(positions[0].map(|position| position.word), Some(6));
    /// # Ok::<(), init_plan::PlanError>(())
    /// ```
    pub fn draw_positions<S: Stream>(
        &self,
        generator: &mut S,
    ) -> Result<Vec<Option<DrawPosition>>, PlanError> {
        let mut drawn: BTreeMap<(usize, u64, u64), DrawPosition> = BTreeMap::new();
        let mut word = Some(0);
        let before = generator.position().map_err(PlanError::Generator)?;
        let is_unknown = |step: &Step| matches!(step.op, Op::Stream(_)) || step.op.is_always_live();
        let known = self.steps.iter().position(is_unknown);
        for (i, step) in self.steps.iter().enumerate() {
            if Some(i) == known {
                word = None;
            }
            let [out] = *step.outs else {
                for out in step.targets(&self.views) {
                    drawn.remove(&key(out));
                }
                continue;
            };
            let out = &self.views[out];
            let position = match &step.op {
                Op::Draw(draw) => word.map(|word| DrawPosition { draw: *draw, word }),
                Op::Copy(from) => {
                    let from = &self.views[*from];
                    let is_whole = from.dtype == out.dtype && from.shape == out.shape;
                    let is_whole = is_whole && from.is_contiguous() && out.is_contiguous();
                    is_whole.then(|| drawn.get(&key(from))).flatten().copied()
                }
                _ => None,
            };
            match position {
                Some(position) => drawn.insert(key(out), position),
                None => drawn.remove(&key(out)),
            };
            if known.is_none_or(|known| i < known) && step.op.is_draw() {
                let words = self.words_of(step, generator);
                let words = words.map_err(|source| self.failed_step(i, source))?;
                word = word
                    .zip(words)
                    .and_then(|(word, words)| word.checked_add(words));
            }
        }
        if known.is_some() {
            generator
                .set_position(&before)
                .map_err(PlanError::Generator)?;
            self.execute(generator, &[])?;
        }
        let names = self.names.iter();
        let position = |view: &View| drawn.get(&key(view)).copied();
        Ok(names.map(|name| position(&self.views[name.view])).collect())
    }

    /// Skips a draw, and returns the number of its words if that is known.
    fn words_of<S: Stream>(
        &self,
        step: &Step,
        generator: &mut S,
    ) -> Result<Option<u64>, StreamError> {
        let before = generator.position()?;
        let cached = before.next_double_normal().is_some();
        let words = step
            .consumed(&self.views, self.semantics, Some(cached))
            .words;
        let mut cursor = Cursor::new(generator, self.semantics);
        self.skip(&mut cursor, step, &mut [])?;
        let after = cursor.stream(&mut [])?.position()?;
        if words.is_some() {
            return Ok(words);
        }
        let target = step.targets(&self.views).next();
        let target = target.and_then(|view| view.target(self.semantics));
        let Some(target) = target.filter(|target| !Normal::is_serial(*target)) else {
            return Ok(None);
        };
        // Whole passes, of normals or of uniforms.
        let (mean, std) = (0.0, 1.0);
        let (from, to) = (0.0, 1.0);
        let pass = [Normal { mean, std }.into(), Uniform { from, to }.into()]
            .into_iter()
            .filter_map(|draw: Draw| draw.consumed(target, Some(false)).words);
        Ok(pass
            .filter_map(|words| words_between(&mut before.clone(), &after, words))
            .min())
    }
}

/// The words between two positions of a stream, if they are whole passes.
fn words_between(from: &mut Mt19937, to: &Mt19937, pass: u64) -> Option<u64> {
    (1..=MAX_DRAWS).map(|passes| passes * pass).find(|_| {
        from.skip(pass);
        from == to
    })
}

/// The bytes of a tensor, whatever its shape.
fn key(view: &View) -> (usize, u64, u64) {
    let Range { start, end } = view.bytes();
    (view.storage, start, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlanBuilder;
    use tensor_parity::Dtype;

    #[test]
    fn positions_beyond_u64_are_unknown() {
        let uniform = Uniform { from: 0.0, to: 1.0 };
        let mut plan = PlanBuilder::new();
        // 2^50 words each.
        let huge = plan.parameter("huge", Dtype::Float64, &[1 << 49]).unwrap();
        for _ in 0..1 << 14 {
            plan.draw(huge, uniform).unwrap();
        }
        let last = plan.parameter("last", Dtype::Float32, &[3]).unwrap();
        plan.draw(last, uniform).unwrap();
        let plan = plan.finish("more words than a u64 counts").unwrap();
        let positions = plan.draw_positions(&mut Mt19937::new(1)).unwrap();
        let words = positions.iter().map(|position| position.map(|at| at.word));
        assert!(words.eq([Some(((1 << 14) - 1) << 50), None]));
    }
}
