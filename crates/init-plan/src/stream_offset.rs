//! The positions in the stream where steps draw, without drawing.

use crate::plan::InitPlan;
use crate::step::{Op, Step, StreamChange};
use crate::view::View;
use std::collections::BTreeMap;
use torch_rng::{Consumed, Semantics};

/// A position in a stream: the number of words after the start of the plan, or after the last earlier step
/// that seeds the stream, copies it, or whose number of words depends on its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    pub stream: u64,
    pub after: Option<usize>,
    pub words: u64,
}

impl Step {
    /// What the step takes from the stream of a generator that caches a normal, does not, or may.
    pub(crate) fn consumed(
        &self,
        views: &[View],
        semantics: Semantics,
        cached: Option<bool>,
    ) -> Consumed {
        let target = self.targets(views).next();
        let target = target.and_then(|view| view.target(semantics));
        match (&self.op, target) {
            (Op::Draw(draw), Some(target)) => draw.consumed(target, cached),
            (Op::Call(call), _) if call.operator.is_draw() => Consumed {
                words: None,
                cached: None,
            },
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
        let start = Offset {
            stream: 0,
            after: None,
            words: 0,
        };
        let (mut offset, mut cached) = (start, Some(cached));
        let mut others = BTreeMap::new();
        let step = |(i, step): (usize, &Step)| {
            let here = offset;
            let consumed = step.consumed(&self.views, self.semantics, cached);
            cached = consumed.cached;
            offset = match consumed.words {
                Some(words) => Offset {
                    words: offset.words.saturating_add(words),
                    ..offset
                },
                None => Offset {
                    after: Some(i),
                    words: 0,
                    ..offset
                },
            };
            let after = |stream| Offset {
                stream,
                after: Some(i),
                words: 0,
            };
            match step.op {
                Op::Stream(StreamChange::Seed { stream, .. }) if stream == offset.stream => {
                    (offset, cached) = (after(stream), Some(false));
                }
                Op::Stream(StreamChange::Seed { stream, .. }) => {
                    others.insert(stream, (after(stream), Some(false)));
                }
                Op::Stream(StreamChange::Copy { to, from }) => {
                    let copied = match from == offset.stream {
                        true => cached,
                        false => others.get(&from).and_then(|(_, cached)| *cached),
                    };
                    match to == offset.stream {
                        true => (offset, cached) = (after(to), copied),
                        false => drop(others.insert(to, (after(to), copied))),
                    }
                }
                Op::Stream(StreamChange::Use(stream)) if stream != offset.stream => {
                    others.insert(offset.stream, (offset, cached));
                    // Validation excludes a stream without a position.
                    (offset, cached) = others.remove(&stream).unwrap_or((after(stream), None));
                }
                _ => {}
            }
            (here, consumed.words)
        };
        self.steps.iter().enumerate().map(step).collect()
    }
}
