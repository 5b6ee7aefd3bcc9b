//! A tensor among the others: whose values it has, whose shape decides its fans.

use super::finding::Finding;
use super::permutation::same_bytes;
use super::values::{values, varies};
use super::{Expected, NamedView};
use crate::tensor::TensorView;

/// How many elements differ in their bits, of two tensors of one shape and dtype.
pub(super) fn differing(a: &TensorView<'_>, b: &TensorView<'_>) -> usize {
    const PIECE: usize = 1 << 16;
    let size = a.dtype().size();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    (0..a.numel())
        .step_by(PIECE)
        .map(|start| {
            let left = a.read(start..start + PIECE, &mut left);
            let right = b.read(start..start + PIECE, &mut right);
            if left == right {
                return 0;
            }
            let pairs = left.chunks_exact(size).zip(right.chunks_exact(size));
            pairs.filter(|(a, b)| a != b).count()
        })
        .sum()
}

/// Another tensor of the reference with the values of this one.
pub(super) fn exchanged(
    yours: &NamedView<'_>,
    all_yours: &[NamedView<'_>],
    all_expected: &[Expected<'_>],
) -> Option<Finding> {
    if !many_values(&yours.view) {
        return None;
    }
    let same = |a: &TensorView<'_>, b: &TensorView<'_>| a.shape() == b.shape() && same_bytes(a, b);
    let other = all_expected
        .iter()
        .find(|e| e.tensor.name != yours.name && same(&yours.view, &e.tensor.view))?;
    let own = all_expected.iter().find(|e| e.tensor.name == yours.name)?;
    let with = other.tensor.name.clone();
    let there = all_yours.iter().find(|y| y.name == with);
    if there.is_some_and(|there| same(&there.view, &other.tensor.view)) {
        return Some(Finding::Copied { from: with });
    }
    let mutual = there.is_some_and(|there| same(&there.view, &own.tensor.view));
    Some(Finding::Exchanged { with, mutual })
}

/// Whether a tensor has values enough to be recognised by them.
pub(super) fn many_values(view: &TensorView<'_>) -> bool {
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

/// The shape that decides the fans: that of the weight beside a bias, else the tensor's own.
pub(super) fn weight(own: &Expected<'_>, all: &[Expected<'_>]) -> Vec<usize> {
    let shape = own.tensor.view.shape();
    let (path, last) = match own.tensor.name.rsplit_once('.') {
        Some((path, last)) => (Some(path), last),
        None => (None, own.tensor.name.as_str()),
    };
    let beside = last.replace("bias", "weight");
    let name = match path {
        Some(path) => format!("{path}.{beside}"),
        None => beside,
    };
    all.iter()
        .find(|e| shape.len() == 1 && e.tensor.name == name)
        .map_or(shape, |e| e.tensor.view.shape())
        .to_vec()
}
