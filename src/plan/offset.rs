//! Where in the stream a step draws, without drawing.

use super::InitPlan;
use super::step::{Op, Step};
use super::view::View;
use crate::draw_words::{
    words_of_normal, words_of_normal_serial, words_of_randperm, words_of_uniform,
};

/// A place in the stream: so many words behind the start of the plan, or behind the end of the
/// last step before whose number of words depends on what it draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    pub after: Option<usize>,
    pub words: u64,
}

/// What a draw takes from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// `None` if the number depends on the words themselves.
    pub words: Option<u64>,
    /// Whether the generator keeps a normal afterwards; `None` if that depends too.
    pub kept: Option<bool>,
}

/// How libtorch draws normals into a view.
pub(super) fn is_serial(out: &View) -> bool {
    out.numel() < 16 || !out.is_contiguous()
}

impl Step {
    /// What the step takes from the stream if the generator has kept a normal or not.
    pub(super) fn taken(&self, views: &[View], kept: Option<bool>) -> Taken {
        let out = self.target(views);
        let numel = out.numel();
        match self.op {
            Op::Uniform { .. } => Taken {
                words: words_of_uniform(out.dtype, numel),
                kept,
            },
            Op::Normal { .. } => normal(out, is_serial(out), kept),
            // On the elements as a contiguous matrix.
            Op::Orthogonal { .. } => normal(out, numel < 16, kept),
            Op::Sparse { .. } => {
                let taken = normal(out, is_serial(out), kept);
                let permutations = words_of_randperm(out.shape[0])
                    .and_then(|words| words.checked_mul(out.shape[1]));
                Taken {
                    words: taken
                        .words
                        .zip(permutations)
                        .and_then(|(a, b)| a.checked_add(b)),
                    ..taken
                }
            }
            Op::Randperm => Taken {
                words: words_of_randperm(numel),
                kept,
            },
            Op::TruncNormal { .. } => Taken {
                words: if numel == 0 { Some(0) } else { None },
                // An even number of serial draws leaves what it found.
                kept: kept.filter(|_| !is_serial(out) || numel.is_multiple_of(2)),
            },
            _ => Taken {
                words: Some(0),
                kept,
            },
        }
    }
}

fn normal(out: &View, serial: bool, kept: Option<bool>) -> Taken {
    let numel = out.numel();
    if !serial {
        return Taken {
            words: words_of_normal(out.dtype, numel, false),
            kept,
        };
    }
    let even = numel.is_multiple_of(2);
    Taken {
        words: match kept {
            Some(kept) => words_of_normal_serial(numel, kept),
            // As many pairs either way.
            None if even => words_of_normal_serial(numel, false),
            None => None,
        },
        kept: kept.map(|kept| kept == even),
    }
}

impl InitPlan {
    /// Where every step begins, on a generator that has kept a normal or not, and what it takes.
    pub(super) fn offsets(&self, kept: bool) -> Vec<(Offset, Option<u64>)> {
        let mut kept = Some(kept);
        let mut offset = Offset {
            after: None,
            words: 0,
        };
        let step = |(i, step): (usize, &Step)| {
            let here = offset;
            let taken = step.taken(&self.views, kept);
            kept = taken.kept;
            offset = match taken.words {
                Some(words) => Offset {
                    words: offset.words.saturating_add(words),
                    ..offset
                },
                None => Offset {
                    after: Some(i),
                    words: 0,
                },
            };
            (here, taken.words)
        };
        self.steps.iter().enumerate().map(step).collect()
    }
}
