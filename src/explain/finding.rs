//! What `explain` reports: the explanation of a tensor and its causes, as data and as text.

use super::known_draws::Short;
use crate::rng::Semantics;
use crate::tensor::Dtype;
use std::fmt;

/// What [`explain`](super::explain()) found out about one tensor.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the tensor.
    pub tensor: String,
    /// The shape of yours.
    pub shape: Vec<usize>,
    /// The dtype of yours.
    pub dtype: Dtype,
    /// The shape of the reference.
    pub reference_shape: Vec<usize>,
    /// The dtype of the reference.
    pub reference_dtype: Dtype,
    /// Whether yours has the bits, the dtype and the shape of the reference.
    pub equal: bool,
    /// The number of elements with different bits; `None` if dtype or shape differ.
    pub differing: Option<usize>,
    /// The causes that hold, the simplest first. Empty if the tensors are equal or if no hypothesis
    /// fits.
    pub findings: Vec<Finding>,
}

/// A cause that the bits prove, with its evidence.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "id", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// Each value is the reference's times a constant.
    Scaled {
        /// The constant.
        constant: f64,
        /// The name of the constant, if it has one, as `sqrt(6)`.
        name: Option<String>,
        /// The draw that gives yours.
        yours: Option<String>,
        /// The draw of the reference.
        reference: Option<String>,
    },
    /// The reference's values in another order of dimensions.
    Permuted {
        /// Yours is `reference.permute(order)`; with `drawn_as`, it is
        /// `reference.reshape(drawn_as).permute(order)`.
        order: Vec<usize>,
        /// The shape in which yours was drawn, if it is not the reference's.
        drawn_as: Option<Vec<usize>>,
    },
    /// The reference's values in the same order, in another shape.
    Reshaped {
        /// The reference's shape.
        from: Vec<usize>,
    },
    /// The values of another tensor of the reference, which has other values in yours.
    Exchanged {
        /// The name of that tensor.
        with: String,
        /// Whether that tensor has the values of this one.
        mutual: bool,
    },
    /// The values of another tensor of the reference, which has them in yours too.
    Copied {
        /// The name of that tensor.
        from: String,
    },
    /// Drawn from the right stream at another position.
    OtherOffset {
        /// The seed of the stream.
        seed: u64,
        /// The first word that yours drew, counted from `manual_seed`.
        word: u64,
        /// The first word that PyTorch draws, if known.
        expected: Option<u64>,
        /// The draw.
        distribution: String,
        /// The tensors that explain the shift.
        because: Vec<Displacement>,
        /// The words of the shift that no tensor explains; negative if yours draws fewer.
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
        /// The draw.
        distribution: String,
    },
    /// `normal_` one value at a time where PyTorch draws blocks of 16, or the other way round.
    OtherPath {
        /// Whether yours was drawn one value at a time.
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
    /// Drawn by libtorch's kernels without AVX2 and fused multiply-add.
    OtherCapability {
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
        /// Whether `rand * (to - from) + from` has the same bits.
        or_scaled_rand: bool,
    },
    /// Both are orthogonal, and equal except for LAPACK's rounding.
    Lapack {
        /// The largest difference.
        greatest: f64,
        /// The largest magnitude in the reference.
        magnitude: f64,
    },
    /// Drawn as another version of PyTorch does.
    OtherVersion {
        /// The [name](crate::rng::Semantics::name) of its semantics.
        version: &'static str,
        /// The draw.
        distribution: String,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
    },
    /// `trunc_normal_` by the algorithm that PyTorch had before 2.12.
    #[serde(rename = "trunc-normal-before-2.12")]
    TruncNormalBefore212 {
        /// The draw.
        distribution: String,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
    },
    /// `trunc_normal_` by the algorithm that PyTorch had before 2.12, with the rounding of `erfinv` on another CPU: MKL has
    /// other bits on the CPUs of each vendor.
    OtherErfinv {
        /// The draw.
        distribution: String,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
        /// The largest difference from what is drawn here.
        greatest: f64,
    },
    /// Only some of the last 16 elements differ: `normal_` redraws these if there is a remainder.
    #[serde(rename = "last-16")]
    Last16 {
        /// The first element that differs.
        first: usize,
        /// The number of elements that differ.
        differing: usize,
    },
    /// Cast to another dtype, or to one and back.
    Rounded {
        /// The dtype.
        through: Dtype,
        /// Other dtypes that would have left the same values.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        or: Vec<Dtype>,
        /// Whose values were rounded.
        whose: Whose,
        /// Whether the values were drawn in that dtype, which may take other words.
        drawn: bool,
    },
    /// Drawn in another dtype: the draws of a model that was made in it, not a cast of the reference.
    DrawnIn {
        /// The dtype of yours.
        dtype: Dtype,
        /// The dtype that the reference was drawn in.
        expected: Dtype,
    },
    /// One-byte floats that are to be multiplied by a scale beside them.
    #[serde(rename = "scaled-float8")]
    ScaledFloat8 {
        /// The name of the scale.
        scale: String,
        /// Which elements have one scale: `one scale per row`.
        layout: String,
        /// Whose tensor is scaled.
        whose: Whose,
        /// The greatest absolute difference of the product and the other's values; `None` if the product
        /// rounds to them, bit for bit.
        greatest: Option<f64>,
    },
    /// Drawn from another distribution.
    OtherDistribution {
        /// The draw.
        distribution: String,
        /// PyTorch's draw.
        expected: Option<String>,
        /// The seed of the stream.
        seed: u64,
        /// The first word drawn.
        word: u64,
    },
    /// Drawn as PyTorch draws it, then changed.
    Modified {
        /// The change.
        #[serde(flatten)]
        change: Change,
        /// Whose tensor was changed; the other is the plain draw.
        whose: Whose,
    },
}

/// One of the two sets of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Whose {
    /// The tensors that are explained.
    Yours,
    /// PyTorch's tensors.
    Reference,
}

/// A tensor that draws a different number of words before the explained one in the two streams.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Displacement {
    /// The tensor.
    pub tensor: String,
    /// The words that it draws before the explained tensor in your stream.
    pub yours: u64,
    /// The words that it draws before the explained tensor in PyTorch's stream.
    pub reference: u64,
}

/// How a tensor was changed after it was drawn.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// Values outside the bounds were set to them.
    Clamped {
        /// The lower bound, if values were below it.
        low: Option<f64>,
        /// The upper bound, if values were above it.
        high: Option<f64>,
        /// The number of values on the bounds.
        elements: usize,
    },
    /// A constant was added.
    Added {
        /// The constant.
        constant: f64,
        /// The changed elements.
        region: Region,
    },
    /// Whole slices were set to zero.
    ZeroedRows {
        /// The dimension of the slices.
        dim: usize,
        /// The indices of the slices.
        rows: Vec<usize>,
    },
    /// Elements were set to one constant.
    Filled {
        /// The constant.
        constant: f64,
        /// The changed elements.
        region: Region,
    },
    /// Some elements differ, all others are equal.
    PartlyOverwritten {
        /// The changed elements.
        region: Region,
    },
}

/// A part of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Region {
    /// The first and the last changed element, in logical order.
    pub elements: (usize, usize),
    /// The number of changed elements.
    pub count: usize,
    /// The number of elements of the tensor.
    pub of: usize,
}

impl Finding {
    /// The name of the cause, as `id` in JSON.
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
            Finding::OtherVersion { .. } => "other-version",
            Finding::TruncNormalBefore212 { .. } => "trunc-normal-before-2.12",
            Finding::OtherErfinv { .. } => "other-erfinv",
            Finding::Last16 { .. } => "last-16",
            Finding::Rounded { .. } => "rounded",
            Finding::DrawnIn { .. } => "drawn-in",
            Finding::ScaledFloat8 { .. } => "scaled-float8",
            Finding::OtherDistribution { .. } => "other-distribution",
            Finding::Modified { .. } => "modified",
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Region {
            elements: (first, last),
            count,
            of,
        } = self;
        match (count == of, last - first + 1 == *count) {
            (true, _) => write!(f, "all {of} elements"),
            (_, true) if first == last => write!(f, "element {first} of {of}"),
            (_, true) => write!(f, "elements {first} to {last} of {of}"),
            _ => write!(f, "{count} of {of} elements between {first} and {last}"),
        }
    }
}

impl fmt::Display for Displacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Displacement {
            tensor,
            yours,
            reference,
        } = self;
        match (yours, reference) {
            (words, 0) => write!(
                f,
                "{tensor} ({words} words) comes before it in yours, but not in PyTorch"
            ),
            (0, words) => write!(
                f,
                "{tensor} ({words} words) comes before it in PyTorch, but not in yours"
            ),
            _ => write!(
                f,
                "{tensor} draws {yours} words before it, {reference} in PyTorch"
            ),
        }
    }
}

impl fmt::Display for Finding {
    /// Prints the cause on the first line and its evidence on the next ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Scaled {
                constant,
                name,
                yours,
                reference,
            } => {
                match name {
                    Some(name) => write!(f, "scaled by {} = {name}", Short(*constant))?,
                    None => write!(f, "scaled by {}", Short(*constant))?,
                }
                if let Some(yours) = yours {
                    write!(f, "\nyours is {yours}")?;
                }
                if let Some(reference) = reference {
                    write!(f, "\nPyTorch's is {reference}")?;
                }
                Ok(())
            }
            Finding::Permuted { order, drawn_as } => {
                match order.as_slice() {
                    [1, 0] => f.write_str("transposed")?,
                    order => write!(f, "dimensions permuted by {order:?}")?,
                }
                match drawn_as {
                    None => write!(f, "\nyours is PyTorch's.permute({order:?})"),
                    Some(shape) => write!(
                        f,
                        "\nyours is PyTorch's.reshape({shape:?}).permute({order:?}): it was drawn in that shape"
                    ),
                }
            }
            Finding::Reshaped { from } => {
                write!(
                    f,
                    "reshaped\nthe values of PyTorch's {from:?} in the same order, bit for bit"
                )
            }
            Finding::Exchanged { with, mutual } => {
                write!(f, "exchanged with {with}")?;
                match mutual {
                    true => f.write_str("\neach has the other's values, bit for bit"),
                    false => write!(f, "\nequal to PyTorch's {with}, bit for bit"),
                }
            }
            Finding::Copied { from } => write!(
                f,
                "a copy of {from}\nequal to PyTorch's {from}, bit for bit, as is your {from}"
            ),
            Finding::OtherOffset {
                seed,
                word,
                expected,
                distribution,
                because,
                unexplained,
            } => {
                f.write_str("drawn at another position in the stream")?;
                write!(f, "\n{distribution}")?;
                write!(f, "\nat word {word} of seed {seed}, bit for bit")?;
                match expected {
                    Some(expected) if word > expected => write!(
                        f,
                        "; PyTorch draws it {} words earlier, at {expected}",
                        word - expected
                    )?,
                    Some(expected) => write!(
                        f,
                        "; PyTorch draws it {} words later, at {expected}",
                        expected - word
                    )?,
                    None => {}
                }
                const SHOWN: usize = 4;
                for displacement in because.iter().take(SHOWN) {
                    write!(f, "\n{displacement}")?;
                }
                if because.len() > SHOWN {
                    write!(f, "\nand so on, {} tensors in all", because.len())?;
                }
                match unexplained {
                    Some(words) if *words > 0 => write!(
                        f,
                        "\n{words} more words were drawn before it: by a dropout, a randn or a layer that PyTorch's model lacks"
                    ),
                    Some(words) if *words < 0 => write!(
                        f,
                        "\n{} fewer words were drawn before it: a draw of PyTorch's is missing",
                        -words
                    ),
                    _ => Ok(()),
                }
            }
            Finding::OtherSeed {
                seed,
                expected,
                word,
                distribution,
            } => {
                write!(f, "drawn with another seed: {seed}")?;
                if let Some(expected) = expected {
                    write!(f, ", not {expected}")?;
                }
                write!(
                    f,
                    "\n{distribution} at word {word} of seed {seed}, bit for bit"
                )
            }
            Finding::OtherPath { serial, seed, word } => match serial {
                true => write!(
                    f,
                    "normal_ drawn one value at a time, where PyTorch draws blocks of 16\n\
                     as for a tensor that is not contiguous or is drawn in pieces below 16 \
                     elements; word {word} of seed {seed}, bit for bit"
                ),
                false => write!(
                    f,
                    "normal_ drawn as a block of 16, where PyTorch draws fewer than 16 elements one at a time\n\
                     word {word} of seed {seed}, bit for bit"
                ),
            },
            Finding::RandnTimesStd {
                mean,
                std,
                seed,
                word,
            } => write!(
                f,
                "randn * {} + {} instead of normal_, which rounds once\nword {word} of seed {seed}, bit for bit",
                Short(*std),
                Short(*mean)
            ),
            Finding::OtherCapability {
                seed,
                word,
                or_scaled_rand,
            } => write!(
                f,
                "drawn without AVX2 and fused multiply-add (ATEN_CPU_CAPABILITY=default or another CPU){}\n\
                 word {word} of seed {seed}, bit for bit",
                match or_scaled_rand {
                    true => ", or as rand * (to - from) + from",
                    false => "",
                }
            ),
            Finding::Lapack {
                greatest,
                magnitude,
            } => write!(
                f,
                "orthogonal_, equal except for LAPACK's rounding: another number of threads or another CPU\n\
                 both are orthogonal; they differ by at most {greatest:.1e}, the largest value is {magnitude:.1e}"
            ),
            Finding::OtherVersion {
                version,
                distribution,
                seed,
                word,
            } => {
                let semantics = Semantics::from_name(version).unwrap_or_default();
                let or = match semantics {
                    Semantics::PyTorch2_12 => ", or as newer ones may without AVX2",
                    _ => "",
                };
                write!(
                    f,
                    "drawn as {semantics} draws it{or}\n\
                     {distribution} at word {word} of seed {seed}, bit for bit"
                )
            }
            Finding::TruncNormalBefore212 {
                distribution,
                seed,
                word,
            } => write!(
                f,
                "trunc_normal_ as it was before PyTorch 2.12 (inverse erf of uniforms)\n\
                 {distribution} at word {word} of seed {seed}, bit for bit"
            ),
            Finding::OtherErfinv {
                distribution,
                seed,
                word,
                greatest,
            } => write!(
                f,
                "trunc_normal_ as it was before PyTorch 2.12 (inverse erf of uniforms), made on another CPU: erfinv rounds otherwise\n\
                 {distribution} at word {word} of seed {seed}; what is drawn here differs by at most {greatest:.1e}"
            ),
            Finding::Last16 { first, differing } => write!(
                f,
                "only the last 16 elements differ: normal_ redraws them when numel is not a multiple of 16\n\
                 {differing} elements from {first} on differ, all before are equal"
            ),
            Finding::Rounded {
                through,
                or,
                whose,
                drawn,
            } => {
                let whose = match whose {
                    Whose::Yours => "yours",
                    Whose::Reference => "the reference",
                };
                let or: String = or.iter().map(|dtype| format!(" or {dtype}")).collect();
                match (drawn, through.is_floating_point()) {
                    (true, _) => write!(f, "drawn in {through}, then cast\n{whose}, bit for bit"),
                    (false, true) => write!(
                        f,
                        "rounded through {through}{or}\n{whose} is the other rounded to {through}{or}, bit for bit"
                    ),
                    (false, false) => write!(
                        f,
                        "cast through {through}{or}\n{whose} is the other cast through {through}{or}, bit for bit"
                    ),
                }
            }
            Finding::DrawnIn { dtype, expected } => write!(
                f,
                "drawn in {dtype}, bit for bit, where the reference is drawn in {expected}: \
                 a model that was made in {dtype}"
            ),
            Finding::ScaledFloat8 {
                scale,
                layout,
                whose,
                greatest,
            } => {
                let (own, other) = match whose {
                    Whose::Yours => ("yours", "the reference"),
                    Whose::Reference => ("the reference", "yours"),
                };
                match greatest {
                    None => write!(
                        f,
                        "scaled: {own} times {scale} ({layout}) is {other}\nrounded to its dtype, bit for bit"
                    ),
                    Some(greatest) => write!(
                        f,
                        "scaled: {other} divided by {scale} ({layout}) rounds to {own}\n\
                         {own} times {scale} differs from {other} by at most {greatest:.1e}"
                    ),
                }
            }
            Finding::OtherDistribution {
                distribution,
                expected,
                seed,
                word,
            } => {
                write!(f, "drawn from another distribution\n{distribution}")?;
                if let Some(expected) = expected {
                    write!(f, " where PyTorch draws {expected}")?;
                }
                write!(f, "; word {word} of seed {seed}, bit for bit")
            }
            Finding::Modified { change, whose } => match whose {
                Whose::Yours => write!(f, "drawn, then changed: {change}"),
                Whose::Reference => write!(f, "the plain draw; PyTorch's was changed: {change}"),
            },
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Clamped {
                low,
                high,
                elements,
            } => {
                f.write_str("clamped to")?;
                match (low, high) {
                    (Some(low), Some(high)) => write!(f, " [{}, {}]", Short(*low), Short(*high))?,
                    (Some(low), None) => write!(f, " at least {}", Short(*low))?,
                    (None, Some(high)) => write!(f, " at most {}", Short(*high))?,
                    (None, None) => {}
                }
                write!(
                    f,
                    "\n{elements} elements lie on the bounds, all others are equal"
                )
            }
            Change::Added { constant, region } => {
                write!(
                    f,
                    "{} added\nto {region}, within rounding",
                    Short(*constant)
                )
            }
            Change::ZeroedRows { dim, rows } => write!(
                f,
                "zeroed\nat {} {} of dimension {dim}, all others are equal",
                if rows.len() == 1 { "index" } else { "indices" },
                list(rows)
            ),
            Change::Filled { constant, region } => {
                write!(
                    f,
                    "set to {}\n{region}, all others are equal",
                    Short(*constant)
                )
            }
            Change::PartlyOverwritten { region } => {
                write!(
                    f,
                    "partly overwritten\n{region} differ, all others are equal"
                )
            }
        }
    }
}

fn list(rows: &[usize]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<String> = rows.iter().take(SHOWN).map(usize::to_string).collect();
    if rows.len() > SHOWN {
        text.push(format!("... ({} in all)", rows.len()));
    }
    text.join(", ")
}
