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
pub use locate::locate;
pub use located::{Located, Place};
pub use model::{Model, ModelError};
pub use reference::{Drawn, Expected, NamedView};

use crate::error::InitError;
use crate::rng::Seed;
use origin_search::{SearchLimits, find_origins};
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
    /// The most words after a seed that [`locate`] finds the seed from. A second takes two thousand million.
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
/// checked for permuted dimensions and exchanged tensors. Takes a few times the memory of the
/// largest tensor.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch fails, as when memory runs out.
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
pub fn explain(
    yours: &[NamedView<'_>],
    expected: &[Expected<'_>],
    options: &Options,
) -> Result<Vec<Explanation>, InitError> {
    let mut cases: Vec<TensorCase<'_>> = yours
        .iter()
        .filter_map(|tensor| {
            let own = expected.iter().find(|e| e.tensor.name == tensor.name)?;
            Some(TensorCase::new(tensor, own, yours, expected))
        })
        .collect();
    search_streams(&mut cases, options)?;
    for case in &mut cases {
        case.redraw()?;
        case.conclude();
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
fn search_streams(cases: &mut [TensorCase<'_>], options: &Options) -> Result<(), InitError> {
    let known_seed = cases
        .iter()
        .find_map(|case| case.expected.drawn.map(|d| d.seed));
    let mut targets = Vec::new();
    let mut owners = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        if let Some(target) = case.search_expected() {
            targets.push(target);
            owners.push((index, Whose::Reference));
        }
        if let Some(target) = case.search_yours() {
            targets.push(target);
            owners.push((index, Whose::Yours));
        }
    }
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
    for ((index, whose), origin) in owners.into_iter().zip(find_origins(&targets, &limits)?) {
        match whose {
            Whose::Yours => cases[index].origin = origin,
            Whose::Reference => cases[index].expected_origin = origin,
        }
    }
    Ok(())
}
