//! Pairs of which one tensor is scaled one-byte floats.

use tch_init::file::TensorFile;
use tch_init::parity::{Comparison, NamedComparison, Sides};
use tch_init::tensor::{Float8Scale, ScaleMatch};

/// A tensor of one-byte floats of one side that, multiplied by a scale beside it, is that of the other.
pub struct ScaledPair {
    /// The name of the pair.
    pub name: String,
    /// The side that is scaled, and the other.
    pub sides: [&'static str; 2],
    pub scale: String,
    pub layout: String,
    pub matches: ScaleMatch,
}

/// The pairs of different dtypes of which one is scaled.
pub fn scaled_pairs(comparison: &Comparison, a: &TensorFile, b: &TensorFile) -> Vec<ScaledPair> {
    let scaled = |pair: &NamedComparison| {
        let Sides {
            actual, expected, ..
        } = pair.comparison.dtypes;
        if actual == expected {
            return None;
        }
        let (own, other) = (a.get(&pair.original)?, b.get(&pair.name)?);
        let of_a = Float8Scale::find(&pair.original, &own, &other, |name| a.get(name));
        let of_b = || Float8Scale::find(&pair.name, &other, &own, |name| b.get(name));
        let (sides, (scale, scaled, matches)) = match of_a {
            Some(found) => (["A", "B"], found),
            None => (["B", "A"], of_b()?),
        };
        Some(ScaledPair {
            name: pair.name.clone(),
            sides,
            scale,
            layout: scaled.layout(),
            matches,
        })
    };
    comparison.pairs.iter().filter_map(scaled).collect()
}
