//! Initialization with truncated normal values.

use super::dispatch::draw_as;
use super::semantics;
use crate::error::InitError;
use crate::generator::Generator;
use crate::rng::{Semantics, TruncNormal};
use tch::Tensor;

/// Fills a floating-point tensor with values from the normal distribution truncated to `[a, b]`.
/// PyTorch's defaults are mean 0, std 1, and the bounds -2 and 2.
///
/// If more than 0.3 of the distribution lies between the bounds, the whole tensor is drawn as by
/// [`normal_`](super::normal_), and again until every element has had a value between the bounds,
/// rounded to the dtype. Otherwise each round draws candidates between the bounds as by
/// [`uniform_`](super::uniform_), and as many uniform values that accept or reject them by their
/// density. The number of words therefore depends on the values.
///
/// Follows `_no_grad_trunc_normal_` (`torch/nn/init.py`), PyTorch 2.13, which is that of 2.12; up to 2.11,
/// PyTorch used [another algorithm](crate::rng::Semantics), with other bits. A mean more than two standard
/// deviations outside the bounds is logged as a warning.
///
/// # Errors
///
/// [`InitError::Argument`] for `std = 0`, where Python raises `ZeroDivisionError`, and for bounds so
/// many standard deviations away that the density overflows, where it raises `OverflowError`;
/// [`InitError::Libtorch`] for a dtype without draws, `a > b`, and in the first method `std < 0`.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([100], FLOAT_CPU);
/// tch_init::init::trunc_normal_(&mut w, 0.0, 0.02, -0.04, 0.04, None)?;
/// assert!(w.abs().max().double_value(&[]) <= f64::from(0.04f32));
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn trunc_normal_(
    tensor: &mut Tensor,
    mean: f64,
    std: f64,
    a: f64,
    b: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let draw = TruncNormal { mean, std, a, b };
    trunc_normal(tensor, draw, generator, semantics())
}

/// [`trunc_normal_`] of some semantics.
pub(crate) fn trunc_normal(
    tensor: &mut Tensor,
    draw: TruncNormal,
    generator: Option<&mut Generator>,
    semantics: Semantics,
) -> Result<(), InitError> {
    let function = "trunc_normal_";
    let TruncNormal { mean, std, a, b } = draw;
    if mean < a - 2.0 * std || mean > b + 2.0 * std {
        log::warn!(
            "{function}: mean = {mean} is more than 2 std = {std} from [{a}, {b}], \
             the distribution of values may be incorrect"
        );
    }
    if std == 0.0 {
        return Err(InitError::Argument {
            function,
            argument: "std",
            value: std,
            reason: "division by zero",
            shape: Some(tensor.size()),
        });
    }
    draw_as(function, tensor, draw, generator, semantics)
}
