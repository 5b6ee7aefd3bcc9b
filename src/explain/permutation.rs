//! Tensors with the same elements in another order of dimensions.

use super::finding::Finding;
use super::values::sum_of_pieces;
use crate::tensor::TensorView;

/// The finding if yours has the reference's elements, bit for bit, in another shape or another order
/// of dimensions.
pub(super) fn permutation(yours: &TensorView<'_>, reference: &TensorView<'_>) -> Option<Finding> {
    const DIMENSIONS: usize = 5;
    let dimensions = reference.shape().len();
    if yours.numel() != reference.numel() || yours.dtype() != reference.dtype() {
        return None;
    }
    if equal_bytes(yours, reference) {
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
                .is_ok_and(|permuted| equal_bytes(yours, &permuted))
    });
    if let Some(order) = plain {
        return Some(Finding::Permuted {
            order: order.clone(),
            drawn_as: None,
        });
    }
    // Drawn in one shape and then permuted: permuted back, yours has the values in drawing order.
    orders.iter().find_map(|back| {
        let drawn = yours
            .permute(back)
            .ok()
            .filter(|drawn| equal_bytes(drawn, reference))?;
        Some(Finding::Permuted {
            order: inverse(back),
            drawn_as: Some(drawn.shape().to_vec()),
        })
    })
}

/// The permutation that undoes a permutation.
pub(super) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        inverse[*from] = to;
    }
    inverse
}

/// All permutations of `0..n`, in lexicographic order.
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

/// Whether two tensors have the same bytes in logical order. Their shapes may differ.
pub(super) fn equal_bytes(a: &TensorView<'_>, b: &TensorView<'_>) -> bool {
    let piece = |left: &[u8], right: &[u8]| (left == right).then_some(0);
    a.numel() == b.numel() && a.dtype() == b.dtype() && sum_of_pieces(a, b, piece).is_some()
}

/// Adds the orders of a transposed shape, unless they are there: the first two dimensions exchanged, and all reversed.
pub(super) fn add_transposed(orders: &mut Vec<Vec<usize>>, dimensions: usize) {
    if dimensions < 2 {
        return;
    }
    let swapped = [1, 0].into_iter().chain(2..dimensions).collect();
    let reversed = (0..dimensions).rev().collect();
    for order in [swapped, reversed] {
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
}
