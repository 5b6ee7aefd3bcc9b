//! Numbers as Python computes and prints them.

use super::error::OptimError;
use std::hint::black_box;
use tensor_parity::python_repr;

/// `base ** exponent` of two Python floats: C's `pow`. A compiler that knows the exponent 0.5 would take a square root,
/// which may differ in the last bit.
pub(super) fn pow(base: f64, exponent: f64) -> f64 {
    base.powf(black_box(exponent))
}

/// `a / b` of two Python floats, which is an error if `b`, which is `what`, is zero.
pub(super) fn divide(a: f64, b: f64, what: &'static str) -> Result<f64, OptimError> {
    if b == 0.0 {
        return Err(OptimError::ZeroDivision { what });
    }
    Ok(a / b)
}

/// `repr` of a Python float.
pub(super) fn repr(value: f64) -> String {
    python_repr::float(value)
}

/// Fails with PyTorch's message unless `valid`.
pub(super) fn require(
    optimizer: &'static str,
    valid: bool,
    what: &str,
    value: f64,
) -> Result<(), OptimError> {
    if valid {
        return Ok(());
    }
    Err(OptimError::argument(
        optimizer,
        format!("Invalid {what}: {}", repr(value)),
    ))
}

/// The checks of `lr`, `eps`, `betas` and `weight_decay` that several optimizers share, in PyTorch's order.
pub(super) fn require_adam(
    optimizer: &'static str,
    lr: f64,
    eps: f64,
    betas: (f64, f64),
    weight_decay: f64,
) -> Result<(), OptimError> {
    let unit = 0.0..1.0;
    require(optimizer, lr >= 0.0, "learning rate", lr)?;
    require(optimizer, eps >= 0.0, "epsilon value", eps)?;
    let what = "beta parameter at index 0";
    require(optimizer, unit.contains(&betas.0), what, betas.0)?;
    let what = "beta parameter at index 1";
    require(optimizer, unit.contains(&betas.1), what, betas.1)?;
    let what = "weight_decay value";
    require(optimizer, weight_decay >= 0.0, what, weight_decay)
}
