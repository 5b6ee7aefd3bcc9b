//! Where in the stream a step draws, without drawing.

use super::InitPlan;
use super::step::{Op, Step};
use super::view::View;
use torch_rng::Consumed;

/// A place in the stream: so many words behind the start of the plan, or behind the end of the
/// last step before whose number of words depends on what it draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    pub after: Option<usize>,
    pub words: u64,
}

impl Step {
    /// What the step takes from the stream if the generator caches a normal, or does not, or may.
    pub(super) fn consumed(&self, views: &[View], cached: Option<bool>) -> Consumed {
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
    /// Where every step begins, on a generator that caches a normal or does not, and what it takes.
    pub(super) fn offsets(&self, cached: bool) -> Vec<(Offset, Option<u64>)> {
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
