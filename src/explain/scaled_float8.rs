//! Weights of one byte that a scale beside them belongs to.

use super::finding::{Finding, Whose};
use super::reference::NamedView;
use crate::tensor::{Float8Scale, ScaleMatch, TensorView};

/// The finding if one tensor, multiplied by a scale of a usual name beside it, is the other. `scales` are those beside the reference.
pub(super) fn scaled_float8(
    yours: &NamedView<'_>,
    reference: &TensorView<'_>,
    all_yours: &[NamedView<'_>],
    scales: &[NamedView<'_>],
) -> Option<Finding> {
    let (own, other) = (&yours.view, reference);
    let of_yours = Float8Scale::find(&yours.name, own, other, |name| {
        let scale = all_yours.iter().find(|tensor| tensor.name == name)?;
        Some(scale.view.clone())
    });
    let of_reference = || {
        Float8Scale::find(&yours.name, other, own, |name| {
            let scale = scales.iter().find(|tensor| tensor.name == name)?;
            Some(scale.view.clone())
        })
    };
    let (whose, (scale, scaled, matches)) = match of_yours {
        Some(found) => (Whose::Yours, found),
        None => (Whose::Reference, of_reference()?),
    };
    Some(Finding::ScaledFloat8 {
        scale,
        layout: scaled.layout(),
        whose,
        greatest: match matches {
            ScaleMatch::Quantized { greatest } => Some(greatest),
            _ => None,
        },
    })
}
