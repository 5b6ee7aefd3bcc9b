//! How findings are said: the cause on the first line, its evidence on the others.

use super::finding::{Change, Displacement, Finding, Region, Whose};
use super::known_draws::{Distribution, Short};
use std::fmt;

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
                "{tensor} ({words} words) comes before it here, not so in PyTorch"
            ),
            (0, words) => write!(
                f,
                "{tensor} ({words} words) comes before it in PyTorch, not so here"
            ),
            _ => write!(
                f,
                "{tensor} draws {yours} words before it, in PyTorch {reference}"
            ),
        }
    }
}

impl fmt::Display for Finding {
    /// The cause and its evidence, on one line each.
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
                        "\nyours is PyTorch's.reshape({shape:?}).permute({order:?}): drawn in that shape"
                    ),
                }
            }
            Finding::Reshaped { from } => {
                write!(
                    f,
                    "in another shape\nthe values of PyTorch's {from:?} in the same order, bit for bit"
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
                "a copy of {from}\nequal to PyTorch's {from}, bit for bit, and so is yours"
            ),
            Finding::OtherOffset {
                seed,
                word,
                expected,
                distribution,
                because,
                unexplained,
            } => {
                f.write_str("drawn at another place of the stream")?;
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
                        "\n{words} words more were drawn before it: a dropout, a randn, a layer that PyTorch has not"
                    ),
                    Some(words) if *words < 0 => write!(
                        f,
                        "\n{} words less were drawn before it: something that PyTorch draws is skipped",
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
                    "normal_ one value after the other, where PyTorch draws blocks of 16\n\
                     so does a tensor that is not contiguous, or one drawn in pieces below 16 \
                     elements; word {word} of seed {seed}, bit for bit"
                ),
                false => write!(
                    f,
                    "normal_ in a block of 16, where PyTorch draws one value after the other below 16 elements\n\
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
                "drawn without AVX2 and fused multiply-add (ATEN_CPU_CAPABILITY=default, another CPU){}\n\
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
                "orthogonal_, but for LAPACK's rounding: another number of threads, or another CPU\n\
                 both are orthogonal; they differ by {greatest:.1e} at most, the greatest value is {magnitude:.1e}"
            ),
            Finding::TruncNormalBefore213 {
                distribution,
                seed,
                word,
            } => write!(
                f,
                "trunc_normal_ as it was before PyTorch 2.13 (inverse erf of uniforms)\n\
                 {distribution} at word {word} of seed {seed}, bit for bit"
            ),
            Finding::Last16 { first, differing } => write!(
                f,
                "only the last 16 elements differ: normal_ redraws them when numel is no multiple of 16\n\
                 {differing} elements from {first} on differ, all before are equal"
            ),
            Finding::Rounded {
                through,
                whose,
                drawn,
            } => {
                let whose = match whose {
                    Whose::Yours => "yours",
                    Whose::Reference => "the reference",
                };
                match drawn {
                    true => write!(f, "drawn in {through}, then rounded\n{whose}, bit for bit"),
                    false => write!(
                        f,
                        "rounded through {through}\n{whose} is the other's value in {through}, bit for bit"
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
                Whose::Reference => write!(f, "the plain draw, which PyTorch's changed: {change}"),
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
                "zeros\nat {} {} of dimension {dim}, all others are equal",
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

/// A distribution and the name it is known by.
pub(super) fn named(distribution: Distribution, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{distribution}: {name}"),
        None => distribution.to_string(),
    }
}
