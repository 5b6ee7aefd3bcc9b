//! Sparse tensors: their indices and values printed as separate tensors, as `_str_intern` of
//! `torch/_tensor_str.py`, PyTorch 2.13, has them.

use tch::Tensor;

use super::contents::contents;
use super::error::ReprError;
use super::options::PrintOptions;
use super::values::{Dtype, size_suffix};

/// The text between `tensor(` and the gradient of a sparse tensor.
pub(super) struct Sparse {
    /// Indices and values.
    pub(super) text: String,
    /// Size, number of non-zeros and element type.
    pub(super) suffixes: Vec<String>,
    /// `torch.sparse_coo` and its like.
    pub(super) layout: &'static str,
}

/// Prints a tensor that is not strided; `None` if it is not sparse either.
pub(super) fn sparse(
    tensor: &Tensor,
    indent: usize,
    options: &PrintOptions,
) -> Result<Option<Sparse>, ReprError> {
    let (layout, parts) = if tensor.is_sparse() {
        let parts = vec![
            ("indices", tensor.f_internal_indices()?),
            ("values", tensor.f_internal_values()?),
        ];
        ("torch.sparse_coo", parts)
    } else if let Some(compressed) = compressed(tensor)? {
        compressed
    } else {
        return Ok(None);
    };
    let mut printed = Vec::with_capacity(parts.len());
    for (name, part) in parts {
        let prefix = format!("{name}=tensor(");
        let part = part.f_detach()?;
        let mut text = contents(&part, indent + prefix.len(), options)?;
        if part.size().contains(&0) {
            text = format!("{text}, {}", size_suffix(&part.size()));
        }
        printed.push(format!("{prefix}{text})"));
    }
    let mut suffixes = vec![
        size_suffix(&tensor.size()),
        format!("nnz={}", tensor.f_internal_nnz()?),
    ];
    let dtype = Dtype::of(tensor)?;
    if !dtype.is_evident() {
        suffixes.push(format!("dtype={}", dtype.name));
    }
    Ok(Some(Sparse {
        text: printed.join(&format!(",\n{}", " ".repeat(indent))),
        suffixes,
        layout,
    }))
}

type Parts = (&'static str, Vec<(&'static str, Tensor)>);

/// The layout and the parts of a tensor compressed along rows or columns. tch does not
/// distinguish the layouts, so this asks for the indices of each.
fn compressed(tensor: &Tensor) -> Result<Option<Parts>, ReprError> {
    let (by_row, compressed, plain) = if let Ok(rows) = tensor.f_crow_indices() {
        (
            true,
            ("crow_indices", rows),
            ("col_indices", tensor.f_col_indices()?),
        )
    } else if let Ok(columns) = tensor.f_ccol_indices() {
        (
            false,
            ("ccol_indices", columns),
            ("row_indices", tensor.f_row_indices()?),
        )
    } else {
        return Ok(None);
    };
    let values = tensor.f_values()?;
    // A value, or a block of them, for each column index.
    let dense = usize::try_from(tensor.f_dense_dim()?).unwrap_or(0);
    let blocks = values.dim() > plain.1.dim() + dense;
    let layout = match (by_row, blocks) {
        (true, false) => "torch.sparse_csr",
        (true, true) => "torch.sparse_bsr",
        (false, false) => "torch.sparse_csc",
        (false, true) => "torch.sparse_bsc",
    };
    Ok(Some((layout, vec![compressed, plain, ("values", values)])))
}
