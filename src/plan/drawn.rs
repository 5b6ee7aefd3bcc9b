//! How each name was drawn, and where in the stream.

use super::run::stream::Stream;
use super::step::{Op, Step};
use super::view::View;
use super::{InitPlan, PlanError};
use crate::draw_words::{words_of_normal, words_of_uniform};
use crate::error::InitError;
use crate::generator::Generator;
use crate::init::recording::Fill;
use crate::rng::Mt19937;
use std::collections::BTreeMap;
use std::ops::Range;

/// More draws of a tensor than `trunc_normal_` takes of one that anybody waits for.
const MOST_DRAWS: u64 = 10_000;

impl InitPlan {
    /// For every name, the last draw of the whole tensor and the first word of it, from a
    /// generator that has just been seeded. What is written to parts of it afterwards is not
    /// looked at. `None` for a tensor that was computed, or a word that nobody knows.
    pub(crate) fn draws(
        &self,
        generator: &mut Generator,
    ) -> Result<Vec<Option<(Fill, u64)>>, PlanError> {
        let mut drawn: BTreeMap<(usize, u64, u64), (Fill, u64)> = BTreeMap::new();
        let mut word = Some(0);
        for (i, step) in self.steps.iter().enumerate() {
            let out = step.target(&self.views);
            let here = match (fill(&step.op), &step.op) {
                (Some(fill), _) => word.map(|word| (fill, word)),
                (None, Op::Copy(from)) => {
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
        let taken = step.taken(&self.views, Some(kept)).words;
        self.pass(&mut stream, step)?;
        let after = stream.words()?.clone();
        stream.generator()?;
        let out = step.target(&self.views);
        let unit = match step.op {
            _ if taken.is_some() => return Ok(taken),
            // Whole draws, of normals or of uniforms.
            _ if out.numel() >= 16 && out.is_contiguous() => {
                let normal = words_of_normal(out.dtype, out.numel(), false);
                normal
                    .into_iter()
                    .chain(words_of_uniform(out.dtype, out.numel()))
            }
            _ => return Ok(None),
        };
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

fn fill(op: &Op) -> Option<Fill> {
    Some(match *op {
        Op::Uniform { from, to } => Fill::Uniform { from, to },
        Op::Normal { mean, std } => Fill::Normal { mean, std },
        Op::TruncNormal { mean, std, a, b } => Fill::TruncNormal { mean, std, a, b },
        Op::Orthogonal { gain } => Fill::Orthogonal { gain },
        _ => return None,
    })
}
