//! Compares a tensor with the other tensors: which has its values, which determines its fans.

use super::finding::Finding;
use super::permutation::equal_bytes;
use super::reference::{Expected, NamedView};
use super::values::{values, varies};
use crate::tensor::TensorView;

/// Counts the elements with different bits of two tensors of one shape and dtype.
pub(super) fn differing(a: &TensorView<'_>, b: &TensorView<'_>) -> usize {
    const CHUNK: usize = 1 << 16;
    let size = a.dtype().size();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    (0..a.numel())
        .step_by(CHUNK)
        .map(|start| {
            let left = a.read(start..start + CHUNK, &mut left);
            let right = b.read(start..start + CHUNK, &mut right);
            if left == right {
                return 0;
            }
            let pairs = left.chunks_exact(size).zip(right.chunks_exact(size));
            pairs.filter(|(a, b)| a != b).count()
        })
        .sum()
}

/// The finding if another tensor of the reference has the values of this one.
pub(super) fn exchanged(
    yours: &NamedView<'_>,
    all_yours: &[NamedView<'_>],
    all_expected: &[Expected<'_>],
) -> Option<Finding> {
    if !has_varying_values(&yours.view) {
        return None;
    }
    let same = |a: &TensorView<'_>, b: &TensorView<'_>| a.shape() == b.shape() && equal_bytes(a, b);
    let other = all_expected
        .iter()
        .find(|e| e.tensor.name != yours.name && same(&yours.view, &e.tensor.view))?;
    let own = all_expected.iter().find(|e| e.tensor.name == yours.name)?;
    let with = other.tensor.name.clone();
    let yours_with = all_yours.iter().find(|y| y.name == with);
    if yours_with.is_some_and(|tensor| same(&tensor.view, &other.tensor.view)) {
        return Some(Finding::Copied { from: with });
    }
    let mutual = yours_with.is_some_and(|tensor| same(&tensor.view, &own.tensor.view));
    Some(Finding::Exchanged { with, mutual })
}

/// Whether a tensor's values vary, so that it can be recognized by them.
pub(super) fn has_varying_values(view: &TensorView<'_>) -> bool {
    match values(view) {
        Some(values) => varies(&values),
        None => {
            let bytes = view.to_bytes();
            let size = view.dtype().size();
            bytes
                .chunks_exact(size)
                .any(|element| element != &bytes[..size])
        }
    }
}

/// The shape that determines the fans: for a bias that of its weight, otherwise the tensor's own.
pub(super) fn weight_shape<'t>(
    own: &'t NamedView<'_>,
    all: impl IntoIterator<Item = &'t NamedView<'t>>,
) -> Vec<usize> {
    let shape = own.view.shape();
    let (path, last) = match own.name.rsplit_once('.') {
        Some((path, last)) => (Some(path), last),
        None => (None, own.name.as_str()),
    };
    let weight = last.replace("bias", "weight");
    let name = match path {
        Some(path) => format!("{path}.{weight}"),
        None => weight,
    };
    all.into_iter()
        .find(|other| shape.len() == 1 && other.name == name)
        .map_or(shape, |other| other.view.shape())
        .to_vec()
}
