//! Where the tensors of one file were drawn, as data.

use crate::tensor::Dtype;

/// Where one tensor was drawn.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Located {
    /// The name of the tensor.
    pub tensor: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The dtype.
    pub dtype: Dtype,
    /// What was found.
    pub place: Place,
}

/// What the values of a tensor show.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "id", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Place {
    /// A draw of PyTorch's CPU generator: drawing it again gives the bits of the tensor, except for those of
    /// `changed` elements.
    Drawn {
        /// The seed, as `torch.manual_seed` takes it. Seeds with the same low 32 bits have the same stream.
        seed: u64,
        /// The first word drawn, counted from the seed.
        word: u64,
        /// The number of words drawn; `None` if it depends on the values.
        words: Option<u64>,
        /// The draw, and the name of its arguments.
        distribution: String,
        /// The tensor is the drawn one with its dimensions in this order; `None` if it has them as drawn.
        order: Option<Vec<usize>>,
        /// How many elements differ from those drawn.
        changed: usize,
    },
    /// All elements have one value.
    Constant {
        /// The value.
        value: f64,
    },
    /// The values lie on the grid of a draw of PyTorch, but do not follow each other as those of its CPU generator do: drawn on a GPU,
    /// or by another library.
    OtherGenerator {
        /// The draw whose grid it is.
        distribution: String,
    },
    /// The values may be those of a draw, but are too few, or have too few digits, to tell without a seed.
    TooLittle,
    /// A stream of MT19937, but not one that a seed begins within [`Options::max_words`](super::Options::max_words).
    NoSeed {
        /// The draw.
        distribution: String,
    },
    /// The values are those of no draw that is known here: trained, or made by another library.
    NoDraw,
    /// The dtype is not one that weights are drawn in.
    NotDrawn,
}
