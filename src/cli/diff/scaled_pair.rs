//! Pairs of which one tensor is scaled one-byte floats.

use tch_init::file::TensorFile;
use tch_init::parity::{Comparison, NamedComparison, Sides};
use tch_init::tensor::{Float8Scale, ScaleMatch, TensorView};

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
    let find = |weight: &str, file: &TensorFile, unscaled: &TensorView<'_>| {
        let view = file.get(weight).filter(|view| view.dtype().is_float8())?;
        Float8Scale::names(weight).into_iter().find_map(|scale| {
            let scaled = Float8Scale::new(&view, &file.get(&scale)?)?;
            let matches = scaled.matches(unscaled)?;
            Some((scale, scaled.layout(), matches))
        })
    };
    let scaled = |pair: &NamedComparison| {
        let Sides {
            actual, expected, ..
        } = pair.comparison.dtypes;
        if actual == expected {
            return None;
        }
        let (own, other) = (a.get(&pair.original)?, b.get(&pair.name)?);
        let (sides, (scale, layout, matches)) = match find(&pair.original, a, &other) {
            Some(found) => (["A", "B"], found),
            None => (["B", "A"], find(&pair.name, b, &own)?),
        };
        Some(ScaledPair {
            name: pair.name.clone(),
            sides,
            scale,
            layout,
            matches,
        })
    };
    comparison.pairs.iter().filter_map(scaled).collect()
}
