//! Attention masks.

use crate::error::{Context, InitError};
use tch::{Device, Kind, TchError, Tensor};

/// A mask as values to add: `_canonical_mask`, `torch/nn/functional.py`, PyTorch 2.13.
pub(in crate::nn) fn additive(
    kind: &'static str,
    name: &'static str,
    mask: Option<&Tensor>,
    target: Kind,
) -> Result<Option<Tensor>, InitError> {
    let Some(mask) = mask else {
        return Ok(None);
    };
    check_kind(kind, name, mask)?;
    if mask.f_is_floating_point().context(kind, mask)? {
        return Ok(Some(mask.shallow_clone()));
    }
    let hidden = || {
        let options = (target, mask.device());
        hide(Tensor::f_zeros(mask.size(), options)?, mask)
    };
    hidden().context(kind, mask).map(Some)
}

/// Masks are boolean or floating-point. The others are rejected here because tch panics where
/// libtorch cannot put infinity into them.
pub(in crate::nn) fn check_kind(
    kind: &'static str,
    name: &'static str,
    mask: &Tensor,
) -> Result<(), InitError> {
    let of = mask.f_kind().context(kind, mask)?;
    if of == Kind::Bool || mask.f_is_floating_point().context(kind, mask)? {
        return Ok(());
    }
    let message = format!("{name}: only boolean and floating-point masks, got {of:?}");
    Err(InitError::Layer {
        kind,
        argument: name,
        message,
    })
}

/// The causal mask: hides from every position what comes after it. `kind` has to be boolean or
/// floating-point.
pub(in crate::nn) fn causal(size: i64, kind: Kind, device: Device) -> Result<Tensor, TchError> {
    let later = Tensor::f_ones([size, size], (Kind::Bool, device))?.f_triu(1)?;
    if kind == Kind::Bool {
        return Ok(later);
    }
    hide(Tensor::f_zeros([size, size], (kind, device))?, &later)
}

/// Minus infinity where the mask is true. The value is a tensor, since tch panics where libtorch
/// rejects a scalar: in whole numbers, and in eight bits.
fn hide(mut zeros: Tensor, mask: &Tensor) -> Result<Tensor, TchError> {
    let value = Tensor::f_from_slice(&[f64::NEG_INFINITY])?
        .f_to_kind(zeros.f_kind()?)?
        .f_to_device(zeros.device())?
        .f_select(0, 0)?;
    if !zeros.f_is_floating_point()? {
        return Err(TchError::Kind(format!(
            "{:?} cannot hold the infinity of a mask",
            zeros.f_kind()?
        )));
    }
    zeros.f_masked_fill_tensor_(mask, &value)
}

/// Whether a mask is to be taken for the causal one: `_detect_is_causal_mask`,
/// `torch/nn/modules/transformer.py`, PyTorch 2.13. `input` is what the mask is for.
pub(in crate::nn) fn detect_causal(
    kind: &'static str,
    name: &'static str,
    mask: Option<&Tensor>,
    is_causal: Option<bool>,
    input: &Tensor,
    batch_first: bool,
) -> Result<bool, InitError> {
    let (Some(mask), None) = (mask, is_causal) else {
        return Ok(is_causal == Some(true));
    };
    check_kind(kind, name, mask)?;
    let shape = input.size();
    let dim = usize::from(batch_first && shape.len() != 2);
    let Some(&length) = shape.get(dim) else {
        return Ok(false);
    };
    if mask.size() != [length, length] {
        return Ok(false);
    }
    let compare = || {
        let equal = mask.f_eq_tensor(&causal(length, mask.f_kind()?, mask.device())?)?;
        equal.f_all()?.f_int64_value(&[])
    };
    compare().context(kind, mask).map(|equal| equal != 0)
}

/// Both masks in one, and what libtorch's fused kernels call its type:
/// `MultiheadAttention.merge_masks`, `torch/nn/modules/activation.py`, PyTorch 2.13.
pub(in crate::nn) fn merge(
    attn_mask: Option<&Tensor>,
    key_padding_mask: Option<&Tensor>,
    query: &Tensor,
    num_heads: i64,
) -> Result<(Option<Tensor>, Option<i64>), TchError> {
    let Some(attn_mask) = attn_mask else {
        let padding = key_padding_mask.map(Tensor::shallow_clone);
        return Ok((padding, key_padding_mask.map(|_| 1)));
    };
    let (batch, length, _) = query.size3()?;
    let mut merged = if attn_mask.dim() == 3 {
        attn_mask.f_view([batch, -1, length, length])?
    } else {
        attn_mask
            .f_view([1, 1, length, length])?
            .f_expand([batch, num_heads, -1, -1], false)?
    };
    if let Some(padding) = key_padding_mask {
        let padding = padding
            .f_view([batch, 1, 1, length])?
            .f_expand([-1, num_heads, -1, -1], false)?;
        merged = merged.f_add(&padding)?;
    }
    Ok((Some(merged), Some(2)))
}

/// Whether an operation on any of these tensors would be recorded for gradients.
pub(in crate::nn) fn asks_for_gradients(tensors: &[&Tensor]) -> Result<bool, TchError> {
    if !tensors.iter().any(|tensor| tensor.requires_grad()) {
        return Ok(false);
    }
    // tch does not show whether gradients are enabled. The result of an operation does, unless it
    // is a view.
    let leaf = Tensor::f_zeros([0], (Kind::Float, Device::Cpu))?.f_set_requires_grad(true)?;
    Ok(leaf.f_neg()?.requires_grad())
}
