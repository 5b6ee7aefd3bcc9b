//! Tensors whose elements are equal in another order of dimensions.

use super::finding::Finding;
use crate::tensor::TensorView;

/// How the reference's elements became yours by an order of dimensions, bit for bit.
pub(super) fn permutation(yours: &TensorView<'_>, reference: &TensorView<'_>) -> Option<Finding> {
    const DIMENSIONS: usize = 5;
    let dimensions = reference.shape().len();
    if yours.numel() != reference.numel() || yours.dtype() != reference.dtype() {
        return None;
    }
    if same_bytes(yours, reference) {
        let from = reference.shape().to_vec();
        return Some(Finding::Reshaped { from });
    }
    if dimensions > DIMENSIONS || yours.shape().len() != dimensions {
        return None;
    }
    let orders = permutations(dimensions);
    let plain = orders.iter().find(|order| {
        let shape = order.iter().map(|d| reference.shape()[*d]);
        shape.eq(yours.shape().iter().copied())
            && reference
                .permute(order)
                .is_ok_and(|permuted| same_bytes(yours, &permuted))
    });
    if let Some(order) = plain {
        return Some(Finding::Permuted {
            order: order.clone(),
            drawn_as: None,
        });
    }
    // Drawn in one shape and then permuted: yours, permuted back, are the words in order.
    orders.iter().find_map(|back| {
        let drawn = yours
            .permute(back)
            .ok()
            .filter(|drawn| same_bytes(drawn, reference))?;
        Some(Finding::Permuted {
            order: inverse(back),
            drawn_as: Some(drawn.shape().to_vec()),
        })
    })
}

/// The order that undoes an order.
pub(super) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        inverse[*from] = to;
    }
    inverse
}

/// Every order of `0..n`, in lexicographic order.
pub(super) fn permutations(n: usize) -> Vec<Vec<usize>> {
    (0..n).fold(vec![Vec::new()], |orders, _| {
        let longer = |order: Vec<usize>| {
            let free: Vec<usize> = (0..n).filter(|d| !order.contains(d)).collect();
            free.into_iter()
                .map(move |d| order.iter().copied().chain([d]).collect())
        };
        orders.into_iter().flat_map(longer).collect()
    })
}

/// Whether the elements in logical order are the same bytes, whatever the shapes.
pub(super) fn same_bytes(a: &TensorView<'_>, b: &TensorView<'_>) -> bool {
    const PIECE: usize = 1 << 16;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    a.numel() == b.numel()
        && a.dtype() == b.dtype()
        && (0..a.numel()).step_by(PIECE).all(|start| {
            a.read(start..start + PIECE, &mut left) == b.read(start..start + PIECE, &mut right)
        })
}
