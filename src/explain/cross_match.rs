//! Compares a tensor with the other tensors: which has its values, which determines its fans.

use super::finding::Finding;
use super::permutation::equal_bytes;
use super::reference::{ExplainError, NamedView, Tensors};
use super::values::{sum_of_pieces, tensor_varies};
use crate::tensor::TensorView;

/// Counts the elements with different bits of two tensors of one shape and dtype.
pub(super) fn differing(a: &TensorView<'_>, b: &TensorView<'_>) -> usize {
    let size = a.dtype().size();
    let piece = |left: &[u8], right: &[u8]| {
        if left == right {
            return 0;
        }
        match size {
            2 => count_differing::<2>(left, right),
            4 => count_differing::<4>(left, right),
            _ => {
                let pairs = left.chunks_exact(size).zip(right.chunks_exact(size));
                pairs.filter(|(a, b)| a != b).count()
            }
        }
    };
    sum_of_pieces(a, b, |left, right| Some(piece(left, right))).unwrap_or_default()
}

fn count_differing<const SIZE: usize>(left: &[u8], right: &[u8]) -> usize {
    let (left, right) = (left.as_chunks::<SIZE>().0, right.as_chunks().0);
    left.iter().zip(right).filter(|(a, b)| a != b).count()
}

/// The finding if another tensor of the reference has the values of this one, which is number `own` of the reference.
pub(super) fn exchanged(
    yours: &NamedView<'_>,
    own: usize,
    all_yours: &[NamedView<'_>],
    reference: &mut Tensors<'_>,
) -> Result<Option<Finding>, ExplainError> {
    if !has_varying_values(&yours.view) {
        return Ok(None);
    }
    let mut found = None;
    for other in (0..reference.infos.len()).filter(|other| *other != own) {
        if is_equal(&yours.view, other, reference)? {
            found = Some(other);
            break;
        }
    }
    let Some(other) = found else {
        return Ok(None);
    };
    let with = reference.infos[other].name.to_owned();
    let Some(yours_with) = all_yours.iter().find(|tensor| tensor.name == with) else {
        return Ok(Some(Finding::Exchanged {
            with,
            mutual: false,
        }));
    };
    if is_equal(&yours_with.view, other, reference)? {
        return Ok(Some(Finding::Copied { from: with }));
    }
    let mutual = is_equal(&yours_with.view, own, reference)?;
    Ok(Some(Finding::Exchanged { with, mutual }))
}

/// Whether a tensor has shape and elements of one of the reference.
fn is_equal(
    view: &TensorView<'_>,
    index: usize,
    reference: &mut Tensors<'_>,
) -> Result<bool, ExplainError> {
    let info = reference.infos[index];
    if view.shape() != info.shape || view.dtype() != info.dtype {
        return Ok(false);
    }
    // Almost always, the first elements tell that it is another, which is then not drawn.
    let mut buffer = Vec::new();
    if reference.head(index)? != view.read(0..Tensors::HEAD, &mut buffer) {
        return Ok(false);
    }
    reference.with(index, |other| equal_bytes(view, other))
}

/// Whether a tensor's values vary, so that it can be recognized by them.
pub(super) fn has_varying_values(view: &TensorView<'_>) -> bool {
    tensor_varies(view).unwrap_or_else(|| {
        let bytes = view.to_bytes();
        let size = view.dtype().size();
        bytes
            .chunks_exact(size)
            .any(|element| element != &bytes[..size])
    })
}

/// The shape that determines the fans: for a bias that of its weight, otherwise the tensor's own.
pub(super) fn weight_shape<'t>(
    name: &str,
    shape: &'t [usize],
    all: impl IntoIterator<Item = (&'t str, &'t [usize])>,
) -> Vec<usize> {
    let weight = weight_of(name);
    all.into_iter()
        .find(|(other, _)| shape.len() == 1 && *other == weight)
        .map_or(shape, |(_, other)| other)
        .to_vec()
}

/// The name of the weight beside a bias.
pub(super) fn weight_of(name: &str) -> String {
    let (path, last) = split_name(name);
    format!("{path}{}", last.replace("bias", "weight"))
}

/// Splits a name after its last dot.
pub(super) fn split_name(name: &str) -> (&str, &str) {
    name.split_at(name.rfind('.').map_or(0, |dot| dot + 1))
}
