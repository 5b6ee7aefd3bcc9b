//! Why tensors differ from what PyTorch would have drawn.
//!
//! [`explain`] takes two sets of tensors, yours and what they ought to be, and tries hypotheses:
//! what the two sets of values show by themselves (a constant factor, other order of dimensions,
//! rounding, a change after the draw), and what the random stream shows (another place, another
//! seed, another way of drawing). A hypothesis about the stream is reported only if drawing
//! again as the hypothesis says makes your bits. Nothing that fits is an honest answer too.
//!
//! The default stream is neither read nor moved.

mod candidate;
mod cross_match;
mod finding;
mod known_draws;
mod layers;
mod orthogonal;
mod permutation;
mod replay;
mod scale;
mod stream_order;
mod stream_search;
mod tensor_case;
mod told;
mod value_changes;
mod values;
mod word_prediction;

pub use known_draws::Distribution;
pub use finding::{Change, Displacement, Finding, Region, Whose};
pub use layers::{Model, ModelError};

use crate::error::InitError;
use crate::tensor::{Dtype, TensorView};
use candidate::{Reach, origins};
use stream_order::{Ordered, displaced};
use tensor_case::Case;

/// A tensor with its name.
#[derive(Debug, Clone)]
pub struct NamedView<'a> {
    /// The name, as `state_dict` has it.
    pub name: String,
    /// The tensor.
    pub view: TensorView<'a>,
}

/// What a tensor ought to be.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The tensor as PyTorch has it.
    pub tensor: NamedView<'a>,
    /// How PyTorch drew it, if that is known. If it is not, [`explain`] looks for it.
    pub drawn: Option<Drawn>,
}

/// A draw: what, and from where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// The distribution.
    pub distribution: Distribution,
    /// The seed of the stream.
    pub seed: u64,
    /// The first word, counted in words of 32 bits since `manual_seed`.
    pub word: u64,
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The seed that yours was meant to be drawn with, if known.
    pub seed: Option<u64>,
    /// How many other seeds are tried, from 0 on. Some ten thousand take a second.
    pub other_seeds: u64,
}

impl Default for Options {
    /// No seed known; 65,536 are tried.
    fn default() -> Options {
        Options {
            seed: None,
            other_seeds: 1 << 16,
        }
    }
}

/// What is to be said of one tensor.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Explanation {
    /// Its name.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its dtype.
    pub dtype: Dtype,
    /// The shape it ought to have.
    pub reference_shape: Vec<usize>,
    /// The dtype it ought to have.
    pub reference_dtype: Dtype,
    /// Whether it has the bits, the dtype and the shape of what it ought to be.
    pub equal: bool,
    /// Elements whose bits differ; `None` if dtype or shape differ.
    pub differing: Option<usize>,
    /// The causes that hold, the plainest first. Empty if equal, or if no hypothesis fits.
    pub findings: Vec<Finding>,
}

/// Explains the tensors that both sets have, in the order of `yours`.
///
/// Looks through `Options::seed`'s stream, some two times as far as all tensors draw, and through
/// the beginnings of `other_seeds` more. Tensors of integers are compared, and explained by order
/// and exchange only. Draws nothing from the default stream. Memory: a few times the largest
/// tensor.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch fails, as for want of memory.
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
/// let options = Options { other_seeds: 0, ..Options::default() };
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
    let mut cases: Vec<Case<'_>> = yours
        .iter()
        .filter_map(|tensor| {
            let own = expected.iter().find(|e| e.tensor.name == tensor.name)?;
            Some(Case::new(tensor, own, yours, expected))
        })
        .collect();
    find_origins(&mut cases, options)?;
    for case in &mut cases {
        case.conclude();
    }
    let displacements: Vec<_> = {
        let ordered: Vec<Ordered<'_>> = cases.iter().map(Case::ordered).collect();
        (0..cases.len()).map(|i| displaced(&ordered, i)).collect()
    };
    for (case, displacement) in cases.iter_mut().zip(displacements) {
        case.give_reasons(displacement);
    }
    Ok(cases.into_iter().map(Case::explanation).collect())
}

/// Looks for the draws of what the values alone have not explained, and of the reference where
/// nobody said how it was drawn.
fn find_origins(cases: &mut [Case<'_>], options: &Options) -> Result<(), InitError> {
    let known_seed = cases
        .iter()
        .find_map(|case| case.expected.drawn.map(|d| d.seed));
    let mut wanted = Vec::new();
    let mut whose = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        if let Some(want) = case.want_expected() {
            wanted.push(want);
            whose.push((index, Whose::Reference));
        }
        if let Some(want) = case.want_yours() {
            wanted.push(want);
            whose.push((index, Whose::Yours));
        }
    }
    let numel: u64 = cases
        .iter()
        .map(|case| case.yours.view.numel() as u64)
        .sum();
    // A plan has draws between those of the tensors.
    let last = cases
        .iter()
        .filter_map(|case| case.expected.drawn.map(|drawn| drawn.word))
        .max();
    let reach = Reach {
        seed: options.seed.or(known_seed),
        // Two times what f64 draws, and something before the first.
        words: numel
            .saturating_mul(4)
            .saturating_add(last.unwrap_or(0))
            .saturating_add(1 << 16),
        seeds: options.other_seeds,
    };
    for ((index, whose), origin) in whose.into_iter().zip(origins(&wanted, &reach)?) {
        match whose {
            Whose::Yours => cases[index].origin = origin,
            Whose::Reference => cases[index].expected_origin = origin,
        }
    }
    Ok(())
}
