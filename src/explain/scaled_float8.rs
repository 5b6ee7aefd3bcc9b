//! Weights of one byte that a scale beside them belongs to.

use super::finding::{Finding, Whose};
use super::reference::{Expected, NamedView};
use crate::tensor::{Float8Scale, ScaleMatch};

/// The finding if one tensor, multiplied by a scale of a usual name beside it, is the other.
pub(super) fn scaled_float8(
    yours: &NamedView<'_>,
    reference: &NamedView<'_>,
    all_yours: &[NamedView<'_>],
    all_expected: &[Expected<'_>],
) -> Option<Finding> {
    let of_yours = || find(yours, reference, Whose::Yours, all_yours.iter());
    let of_reference = || {
        find(
            reference,
            yours,
            Whose::Reference,
            all_expected.iter().map(|expected| &expected.tensor),
        )
    };
    of_yours().or_else(of_reference)
}

fn find<'a>(
    weight: &NamedView<'a>,
    unscaled: &NamedView<'_>,
    whose: Whose,
    beside: impl Iterator<Item = &'a NamedView<'a>> + Clone,
) -> Option<Finding> {
    if !weight.view.dtype().is_float8() {
        return None;
    }
    Float8Scale::names(&weight.name)
        .into_iter()
        .find_map(|name| {
            let scale = beside.clone().find(|tensor| tensor.name == name)?;
            let scaled = Float8Scale::new(&weight.view, &scale.view)?;
            let greatest = match scaled.matches(&unscaled.view)? {
                ScaleMatch::Quantized { greatest } => Some(greatest),
                _ => None,
            };
            Some(Finding::ScaledFloat8 {
                scale: name,
                layout: scaled.layout(),
                whose,
                greatest,
            })
        })
}
