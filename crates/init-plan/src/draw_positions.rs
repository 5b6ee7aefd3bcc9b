//! How each name was drawn, and where in the stream.

use super::run::stream::Stream;
use super::step::{Op, Step};
use super::view::View;
use super::{InitPlan, PlanError};
use crate::error::InitError;
use crate::generator::Generator;
use crate::rng::Mt19937;
use std::collections::BTreeMap;
use std::ops::Range;
use torch_rng::{Draw, Normal, Uniform};

/// More draws of a tensor than `trunc_normal_` takes of one that anybody waits for.
const MOST_DRAWS: u64 = 10_000;

impl InitPlan {
    /// For every name, the last draw of the whole tensor and the first word of it, from a
    /// generator that has just been seeded. What is written to parts of it afterwards is not
    /// looked at. `None` for a tensor that was computed, or a word that nobody knows.
    pub(crate) fn draws(
        &self,
        generator: &mut Generator,
    ) -> Result<Vec<Option<(Draw, u64)>>, PlanError> {
        let mut drawn: BTreeMap<(usize, u64, u64), (Draw, u64)> = BTreeMap::new();
        let mut word = Some(0);
        for (i, step) in self.steps.iter().enumerate() {
            let out = step.target(&self.views);
            let here = match &step.op {
                Op::Draw(draw) => word.map(|word| (*draw, word)),
                Op::Copy(from) => {
                    let from = &self.views[*from];
                    let is_whole = from.dtype == out.dtype && from.shape == out.shape;
                    let is_whole = is_whole && from.is_contiguous() && out.is_contiguous();
                    let draw = is_whole.then(|| drawn.get(&key(from))).flatten();
                    draw.cloned()
                }
                _ => None,
            };
            match here {
                Some(draw) => drawn.insert(key(out), draw),
                None => drawn.remove(&key(out)),
            };
            if step.op.is_draw() {
                let taken = self.words_of(step, generator);
                let taken = taken.map_err(|source| self.failed_step(i, source))?;
                word = word.zip(taken).map(|(word, taken)| word + taken);
            }
        }
        let names = self.names.iter();
        let draw = |view: &View| drawn.get(&key(view)).cloned();
        Ok(names.map(|name| draw(&self.views[name.view])).collect())
    }

    /// Moves past a draw, and says by how many words if that can be told.
    fn words_of(&self, step: &Step, generator: &mut Generator) -> Result<Option<u64>, InitError> {
        let mut stream = Stream::new(generator)?;
        let before = stream.words()?.clone();
        let kept = before.next_double_normal().is_some();
        let taken = step.consumed(&self.views, Some(kept)).words;
        self.pass(&mut stream, step)?;
        let after = stream.words()?.clone();
        stream.generator()?;
        if taken.is_some() {
            return Ok(taken);
        }
        let Some(target) = step.target(&self.views).target() else {
            return Ok(None);
        };
        if Normal::is_serial(target) {
            return Ok(None);
        }
        // Whole draws, of normals or of uniforms.
        let (mean, std) = (0.0, 1.0);
        let (from, to) = (0.0, 1.0);
        let unit = [Normal { mean, std }.into(), Uniform { from, to }.into()]
            .into_iter()
            .filter_map(|draw: Draw| draw.consumed(target, Some(false)).words);
        Ok(unit
            .filter_map(|unit| draws_between(&mut before.clone(), &after, unit))
            .min())
    }
}

/// The words between two places of a stream, in whole draws.
fn draws_between(from: &mut Mt19937, to: &Mt19937, unit: u64) -> Option<u64> {
    let to = to.to_state();
    (1..=MOST_DRAWS).map(|draws| draws * unit).find(|_| {
        from.skip(unit);
        from.to_state() == to
    })
}

/// The bytes that a tensor takes, whatever its shape.
fn key(view: &View) -> (usize, u64, u64) {
    let Range { start, end } = view.bytes();
    (view.storage, start, end)
}
