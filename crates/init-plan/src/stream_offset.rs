//! The positions in the stream where steps draw, without drawing.

use crate::plan::InitPlan;
use crate::step::{Op, Step};
use crate::view::View;
use torch_rng::Consumed;

/// A position in the stream: the number of words after the start of the plan, or after the last earlier
/// step whose number of words depends on its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    pub after: Option<usize>,
    pub words: u64,
}

impl Step {
    /// What the step takes from the stream of a generator that caches a normal, does not, or may.
    pub(crate) fn consumed(&self, views: &[View], cached: Option<bool>) -> Consumed {
        match (&self.op, self.target(views).target()) {
            (Op::Draw(draw), Some(target)) => draw.consumed(target, cached),
            _ => Consumed {
                words: Some(0),
                cached,
            },
        }
    }
}

impl InitPlan {
    /// The position of every step and its number of words, for a generator that caches a normal or
    /// does not.
    pub(crate) fn offsets(&self, cached: bool) -> Vec<(Offset, Option<u64>)> {
        let mut cached = Some(cached);
        let mut offset = Offset {
            after: None,
            words: 0,
        };
        let step = |(i, step): (usize, &Step)| {
            let here = offset;
            let consumed = step.consumed(&self.views, cached);
            cached = consumed.cached;
            offset = match consumed.words {
                Some(words) => Offset {
                    words: offset.words.saturating_add(words),
                    ..offset
                },
                None => Offset {
                    after: Some(i),
                    words: 0,
                },
            };
            (here, consumed.words)
        };
        self.steps.iter().enumerate().map(step).collect()
    }
}
