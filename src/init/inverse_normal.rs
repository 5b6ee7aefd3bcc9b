//! Truncated normal values as PyTorch made them up to 2.11: `_no_grad_trunc_normal_` (`torch/nn/init.py`),
//! which applies the inverse of the distribution function to uniform values.

use crate::distribution::erf;
use crate::ffi::{self, WithNumber};
use crate::rng::{Semantics, TruncNormal, Uniform};
use tch::{TchError, Tensor};

/// The uniform values that are transformed.
pub(crate) fn uniform(TruncNormal { mean, std, a, b }: TruncNormal) -> Uniform {
    let cdf = |x: f64| (1.0 + erf(x / 2f64.sqrt())) / 2.0;
    Uniform {
        from: 2.0 * cdf((a - mean) / std) - 1.0,
        to: 2.0 * cdf((b - mean) / std) - 1.0,
    }
}

/// Turns the uniform values of a tensor into truncated normal ones.
pub(crate) fn transform(
    tensor: &mut Tensor,
    TruncNormal { mean, std, a, b }: TruncNormal,
    semantics: Semantics,
) -> Result<(), TchError> {
    let _no_grad = tch::no_grad_guard();
    let mut factor = std * 2f64.sqrt();
    if semantics == Semantics::PyTorch2_0 {
        // `mul_` of bf16 and f16 rounded the number to the dtype.
        factor = Tensor::f_from_slice(&[factor])?
            .f_to_kind(tensor.f_kind()?)?
            .f_double_value(&[0])?;
    }
    // Not `f_mul_scalar_`, which rounds the number to the dtype first; Python's `mul_` does not.
    let scaled = tensor.f_erfinv_()?.f_mul_scalar(factor)?;
    let mut values = scaled.f_add_scalar(mean)?;
    for (bound, number) in [(WithNumber::ClampMin, a), (WithNumber::ClampMax, b)] {
        ffi::number_(&mut values, bound, number).map_err(TchError::Torch)?;
    }
    tensor.f_copy_(&values)
}
