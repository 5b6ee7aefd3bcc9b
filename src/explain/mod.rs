//! Explains why tensors differ from what PyTorch would have drawn.
//!
//! [`explain`] compares your tensors with a reference and tests hypotheses. Some follow from the
//! values alone: a constant factor, another order of dimensions, rounding, a change after the draw.
//! Others concern the random stream: another position, another seed, another way to draw. A
//! hypothesis about the stream is reported only if replaying it gives your bits. If no hypothesis
//! fits, none is reported.
//!
//! The reference is a file of PyTorch's tensors, or a [`Model`]. Without a reference, [`locate`] finds the seeds and positions of
//! tensors from their values. The default generator is neither read nor moved.

mod candidate;
mod cast;
mod cross_match;
mod draw_fit;
mod finding;
mod known_draws;
mod locate;
mod located;
mod model;
mod origin_search;
mod orthogonal;
mod permutation;
mod progress;
mod reference;
mod replay;
mod scale;
mod scaled_float8;
mod stream_order;
mod stream_search;
mod tensor_case;
mod together;
mod value_changes;
mod values;
mod word_prediction;

pub use finding::{Change, Displacement, Explanation, Finding, Region, Whose};
pub use locate::{locate, locate_with_progress};
pub use located::{Located, Place};
pub use model::{Model, ModelError};
pub use progress::{Progress, Stage};
pub use reference::{Drawn, Expected, ExplainError, NamedView, Reference};

use crate::rng::Seed;
use origin_search::{SearchLimits, find_origins};
use reference::Tensors;
use stream_order::{StreamOrder, displaced};
use tensor_case::TensorCase;

/// The random streams that [`explain`] searches.
///
/// ```
/// use tch_init::explain::Options;
///
/// let options = Options::default().seed(42).other_seeds(1000);
/// assert_eq!((options.seed, options.other_seeds), (Some(42), 1000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The seed that yours should have been drawn with, if known.
    pub seed: Option<u64>,
    /// The number of other seeds to try, from 0 on, and 16 times as many where a model tells the positions of the tensors. Some ten
    /// thousand take a second, or some hundred thousand.
    pub other_seeds: u64,
    /// The most words after a seed that [`locate`] finds the seed from. 2^32 take about half a second, 2^40 two minutes.
    pub max_words: u64,
}

impl Default for Options {
    /// No known seed; 65,536 other seeds; 2^32 words.
    fn default() -> Options {
        Options {
            seed: None,
            other_seeds: 1 << 16,
            max_words: 1 << 32,
        }
    }
}

impl Options {
    /// Sets the seed that yours should have been drawn with.
    #[must_use]
    pub fn seed(self, seed: impl Into<Seed>) -> Options {
        Options {
            seed: Some(seed.into().value()),
            ..self
        }
    }

    /// Sets the most words after a seed.
    #[must_use]
    pub fn max_words(self, max_words: u64) -> Options {
        Options { max_words, ..self }
    }

    /// Sets the number of other seeds to try.
    #[must_use]
    pub fn other_seeds(self, other_seeds: u64) -> Options {
        Options {
            other_seeds,
            ..self
        }
    }
}

/// Explains the tensors that both sets have, in the order of `yours`.
///
/// Searches the stream of [`Options::seed`], about twice as far as all tensors draw, that of any seed that
/// some 1,300 `f32` values of a tensor determine, or 5,000 of `bf16` or `f16`, and the beginnings of [`Options::other_seeds`] other streams. Tensors of integers are only compared, and
/// checked for permuted dimensions and exchanged tensors. Takes about twice the memory of the largest tensor; with a [`Model`] also that
/// of the tensors whose draws are not known, such as products of draws.
///
/// # Errors
///
/// [`ExplainError`] if libtorch fails, as when memory runs out, or if the tensors of a model cannot be drawn.
///
/// ```
/// use tch_init::explain::{Expected, Finding, NamedView, Options, explain};
/// use tch_init::tensor::{Dtype, TensorView};
///
/// let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
/// let (yours, reference) = (bytes(&[1.0, 2.0, 3.0, 4.0]), bytes(&[1.0, 3.0, 2.0, 4.0]));
/// let named = |bytes| {
///     let view = TensorView::contiguous(Dtype::Float32, &[2, 2], bytes)?;
///     Ok::<_, tch_init::tensor::ViewError>(NamedView { name: "weight".to_owned(), view })
/// };
/// let expected = Expected { tensor: named(&reference)?, drawn: None };
/// let options = Options::default().other_seeds(0);
/// let explanations = explain(&[named(&yours)?], &[expected], &options)?;
/// assert_eq!(
///     explanations[0].findings,
///     [Finding::Permuted { order: vec![1, 0], drawn_as: None }]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn explain<'a>(
    yours: &'a [NamedView<'a>],
    reference: impl Into<Reference<'a>>,
    options: &Options,
) -> Result<Vec<Explanation>, ExplainError> {
    explain_with_progress(yours, reference, options, |_| ())
}

/// As [`explain`], and calls `progress` now and then.
///
/// # Errors
///
/// As [`explain`].
pub fn explain_with_progress<'a>(
    yours: &'a [NamedView<'a>],
    reference: impl Into<Reference<'a>>,
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Result<Vec<Explanation>, ExplainError> {
    let mut reference = Tensors::new(reference.into());
    let pairs = yours.iter().filter_map(|tensor| {
        let index = reference.find(&tensor.name)?;
        Some((tensor, index))
    });
    let pairs: Vec<(&NamedView<'_>, usize)> = pairs.collect();
    let mut cases: Vec<TensorCase<'a>> = Vec::new();
    for (tensor, index) in &pairs {
        cases.push(TensorCase::new(tensor, *index, yours, &mut reference)?);
        progress(Progress {
            stage: Stage::Compare,
            done: cases.len(),
            of: pairs.len(),
        });
    }
    for case in &mut cases {
        case.find_exchange(yours, &mut reference)?;
    }
    search_streams(&mut cases, &mut reference, options, &mut progress)?;
    for case in &mut cases {
        case.redraw()?;
        case.conclude(&mut reference)?;
    }
    let displacements: Vec<_> = {
        let orders: Vec<StreamOrder<'_>> = cases.iter().map(TensorCase::stream_order).collect();
        (0..cases.len()).map(|i| displaced(&orders, i)).collect()
    };
    for (case, displacement) in cases.iter_mut().zip(displacements) {
        case.explain_shift(displacement);
    }
    Ok(cases.into_iter().map(TensorCase::explanation).collect())
}

/// Searches for the draws of the tensors that their values do not explain, and of the references
/// whose draws are not given.
fn search_streams<'a>(
    cases: &mut [TensorCase<'a>],
    reference: &mut Tensors<'a>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ExplainError> {
    let known_seed = cases
        .iter()
        .find_map(|case| case.expected.drawn.map(|d| d.seed));
    let mut targets = Vec::new();
    let mut owners = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        if let Some(target) = case.search_expected(reference)? {
            targets.push(target);
            owners.push((index, Whose::Reference));
        }
        if let Some(target) = case.search_yours() {
            targets.push(target);
            owners.push((index, Whose::Yours));
        }
    }
    reference.release();
    let numel: u64 = cases
        .iter()
        .map(|case| case.yours.view.numel() as u64)
        .sum();
    // A plan may draw more than the tensors.
    let last = cases
        .iter()
        .filter_map(|case| case.expected.drawn.map(|drawn| drawn.word))
        .max();
    let limits = SearchLimits {
        seed: options.seed.or(known_seed),
        // Twice the words of f64, and some before the first tensor.
        words: numel
            .saturating_mul(4)
            .saturating_add(last.unwrap_or(0))
            .saturating_add(1 << 16),
        seeds: options.other_seeds,
    };
    let of = targets.len();
    let found = find_origins(&targets, &limits, &mut |done| {
        let stage = Stage::Search;
        progress(Progress { stage, done, of });
    })?;
    for ((index, whose), origin) in owners.into_iter().zip(found) {
        match whose {
            Whose::Yours => cases[index].origin = origin,
            Whose::Reference => cases[index].expected_origin = origin,
        }
    }
    Ok(())
}
