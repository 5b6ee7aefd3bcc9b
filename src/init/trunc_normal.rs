//! Truncated normal draws, by the two methods of PyTorch 2.13.

use super::recording::{Fill, deferred};
use super::rejection::Density;
use super::{dispatch, python_square};
use crate::error::{Context, InitError};
use crate::generator::Generator;
use tch::{Device, Tensor};

/// Fills with values from the normal distribution cut off at `a` and `b`. PyTorch's defaults:
/// mean 0, std 1, bounds -2 and 2.
///
/// If more than 0.3 of the distribution lies between the bounds, the whole tensor is drawn again
/// as by [`normal_`](super::normal_) until every element has found a value inside (bounds rounded
/// to the dtype). Otherwise candidates are drawn as by [`uniform_`](super::uniform_) over the
/// bounds, each with as many uniform values that decide by the density whether it stays; again the
/// whole tensor each time. So the number of words drawn depends on the values. The algorithm is
/// that of PyTorch 2.13; older versions have others and other bits.
///
/// A mean more than two std outside the bounds is warned of in the log.
///
/// # Errors
///
/// [`InitError::Argument`] for `std = 0` or bounds so many std away that the density overflows,
/// where Python raises `ZeroDivisionError` and `OverflowError`; [`InitError::Libtorch`] for a
/// dtype without draws, `std < 0` in the first method, or `a > b`.
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
    if mean < a - 2.0 * std || mean > b + 2.0 * std {
        log::warn!(
            "{FUNCTION}: mean = {mean} is more than 2 std = {std} from [{a}, {b}], \
             the distribution of values may be incorrect"
        );
    }
    if std == 0.0 {
        return Err(InitError::Argument {
            function: FUNCTION,
            argument: "std",
            value: std,
            reason: "division by zero",
            shape: Some(tensor.size()),
        });
    }
    let noted = || Fill::TruncNormal { mean, std, a, b };
    if deferred(FUNCTION, tensor, generator.as_deref(), noted)? {
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    if (torch_rng::TruncNormal { mean, std, a, b }).uses_redraws() {
        let low = rounded(tensor, a).context(FUNCTION, tensor)?;
        let high = rounded(tensor, b).context(FUNCTION, tensor)?;
        dispatch::trunc_normal(FUNCTION, tensor, [mean, std, low, high], generator)
    } else {
        let mode = python_max(a, python_min(mean, b));
        let deviations = (mode - mean) / std;
        let square = python_square(deviations).ok_or_else(|| InitError::Argument {
            function: FUNCTION,
            argument: "(mode - mean) / std",
            value: deviations,
            reason: "its square overflows",
            shape: Some(tensor.size()),
        })?;
        let density = Density {
            mean,
            std,
            a,
            b,
            log_peak: -0.5 * square,
        };
        dispatch::density(FUNCTION, tensor, density, generator)
    }
}

const FUNCTION: &str = "trunc_normal_";

/// `value` as the tensor's dtype holds it.
fn rounded(tensor: &Tensor, value: f64) -> Result<f64, tch::TchError> {
    Tensor::f_from_slice(&[value])?
        .f_to_kind(tensor.f_kind()?)?
        .f_to_device(Device::Cpu)?
        .f_double_value(&[0])
}

// Python's `min` and `max` keep their first argument unless the second is strictly beyond it,
// which matters for NaN.
fn python_min(x: f64, y: f64) -> f64 {
    if y < x { y } else { x }
}

fn python_max(x: f64, y: f64) -> f64 {
    if y > x { y } else { x }
}
