//! What was found, and how it is said.

use crate::tensor::Dtype;

/// A cause that the bits support, with the evidence.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "id", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// Every value is the reference's times a constant.
    Scaled {
        /// The constant.
        constant: f64,
        /// What the constant is, if it has a name, e.g. `sqrt(6)`.
        name: Option<String>,
        /// What yours would have been drawn from.
        yours: Option<String>,
        /// What the reference was drawn from.
        reference: Option<String>,
    },
    /// The reference's values in another order of dimensions.
    Permuted {
        /// Yours is `reference.permute(order)`, or, if there is `drawn_as`,
        /// `reference.reshape(drawn_as).permute(order)`.
        order: Vec<usize>,
        /// The shape in which the values were drawn, if it is not the reference's.
        drawn_as: Option<Vec<usize>>,
    },
    /// The reference's values in the same order, in another shape.
    Reshaped {
        /// The reference's shape.
        from: Vec<usize>,
    },
    /// The values of another tensor of the reference, whose own place has other values.
    Exchanged {
        /// Whose values these are.
        with: String,
        /// Whether that tensor has this one's values in turn.
        mutual: bool,
    },
    /// The values of another tensor of the reference, which has them too.
    Copied {
        /// Whose values these are.
        from: String,
    },
    /// Drawn from the right stream, at another place.
    OtherOffset {
        /// The seed of the stream.
        seed: u64,
        /// The first word that yours drew, counted since `manual_seed`.
        word: u64,
        /// The first word that PyTorch draws, if that is known.
        expected: Option<u64>,
        /// What was drawn.
        distribution: String,
        /// What explains the distance, in words of the stream.
        because: Vec<Displacement>,
        /// Words of the distance that nothing known explains; negative if they were skipped.
        unexplained: Option<i64>,
    },
    /// Drawn from the stream of another seed.
    OtherSeed {
        /// The seed.
        seed: u64,
        /// The seed of the reference, if known.
        expected: Option<u64>,
        /// The first word that yours drew.
        word: u64,
        /// What was drawn.
        distribution: String,
    },
    /// `normal_` value by value where PyTorch goes by blocks of 16, or the other way round.
    OtherPath {
        /// Whether yours went value by value.
        serial: bool,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
    },
    /// `randn * std + mean` instead of `normal_(mean, std)`.
    RandnTimesStd {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
    },
    /// libtorch's kernels without AVX2 and fused multiply-add.
    OtherCapability {
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
        /// Whether `rand * (to - from) + from` has the same bits.
        or_scaled_rand: bool,
    },
    /// Both are orthogonal and equal but for LAPACK's last bits.
    Lapack {
        /// The greatest difference.
        greatest: f64,
        /// The greatest value of the reference.
        magnitude: f64,
    },
    /// `trunc_normal_` by the algorithm that PyTorch had before 2.13.
    #[serde(rename = "trunc-normal-before-2.13")]
    TruncNormalBefore213 {
        /// What was drawn.
        distribution: String,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
    },
    /// All but the last 16 elements are equal: the remainder of a `normal_` was not redrawn.
    #[serde(rename = "last-16")]
    Last16 {
        /// The first element that differs.
        first: usize,
        /// How many elements differ.
        differing: usize,
    },
    /// Rounded through another dtype.
    Rounded {
        /// The dtype.
        through: Dtype,
        /// Whose values have been there.
        whose: Whose,
        /// Whether the values were drawn in that dtype, which takes other words.
        drawn: bool,
    },
    /// Drawn at the right place from another distribution.
    OtherDistribution {
        /// What was drawn.
        distribution: String,
        /// What PyTorch draws.
        expected: Option<String>,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
    },
    /// Drawn as PyTorch draws it, then changed.
    Modified {
        /// How.
        #[serde(flatten)]
        change: Change,
        /// Which of the two was changed; the other has the plain draw.
        whose: Whose,
    },
}

/// Which of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The tensors to be explained.
    Yours,
    /// What PyTorch has.
    Reference,
}

/// A tensor that draws more before the one in question in one stream than in the other.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Displacement {
    /// The tensor.
    pub tensor: String,
    /// The words it draws in your stream before the tensor in question.
    pub yours: u64,
    /// The words it draws in PyTorch's stream before the tensor in question.
    pub reference: u64,
}

/// How a tensor was changed after it was drawn.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// Values beyond the bounds were set to them.
    Clamped {
        /// The lower bound, if values were below it.
        low: Option<f64>,
        /// The upper bound, if values were above it.
        high: Option<f64>,
        /// How many values were beyond.
        elements: usize,
    },
    /// A constant was added.
    Added {
        /// The constant.
        constant: f64,
        /// Where.
        region: Region,
    },
    /// Whole slices are zero.
    ZeroedRows {
        /// The dimension along which they are counted.
        dim: usize,
        /// Their indices.
        rows: Vec<usize>,
    },
    /// Elements were set to one constant.
    Filled {
        /// The constant.
        constant: f64,
        /// Where.
        region: Region,
    },
    /// Some elements have other values, all others are equal.
    PartlyOverwritten {
        /// Where.
        region: Region,
    },
}

/// A part of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Region {
    /// The first and the last element that are touched, in logical order.
    pub elements: (usize, usize),
    /// How many elements are touched.
    pub count: usize,
    /// How many elements the tensor has.
    pub of: usize,
}

impl Finding {
    /// A short name for tools: the `id` in JSON.
    pub fn id(&self) -> &'static str {
        match self {
            Finding::Scaled { .. } => "scaled",
            Finding::Permuted { .. } => "permuted",
            Finding::Reshaped { .. } => "reshaped",
            Finding::Exchanged { .. } => "exchanged",
            Finding::Copied { .. } => "copied",
            Finding::OtherOffset { .. } => "other-offset",
            Finding::OtherSeed { .. } => "other-seed",
            Finding::OtherPath { .. } => "other-path",
            Finding::RandnTimesStd { .. } => "randn-times-std",
            Finding::OtherCapability { .. } => "other-capability",
            Finding::Lapack { .. } => "lapack",
            Finding::TruncNormalBefore213 { .. } => "trunc-normal-before-2.13",
            Finding::Last16 { .. } => "last-16",
            Finding::Rounded { .. } => "rounded",
            Finding::OtherDistribution { .. } => "other-distribution",
            Finding::Modified { .. } => "modified",
        }
    }
}
