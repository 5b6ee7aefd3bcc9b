//! Initializations that draw nothing.

use super::dispatch;
use super::recording::{Fill, intercept};
use crate::error::{Context, InitError};
use tch::Tensor;

/// Fills a tensor of any dtype with one value, converted to the dtype. Draws nothing.
///
/// Follows `constant_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Libtorch`] if the dtype cannot hold the value.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([2, 2], FLOAT_CPU);
/// tch_init::init::constant_(&mut w, 0.3)?;
/// assert_eq!(w.double_value(&[1, 1]) as f32, 0.3);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn constant_(tensor: &mut Tensor, val: f64) -> Result<(), InitError> {
    dispatch::fill("constant_", tensor, val)
}

/// Fills a tensor of any dtype with ones. Draws nothing.
///
/// Follows `ones_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch rejects.
///
/// ```
/// use tch::{Tensor, kind::INT64_CPU};
///
/// let mut w = Tensor::zeros([2], INT64_CPU);
/// tch_init::init::ones_(&mut w)?;
/// assert_eq!(w.int64_value(&[1]), 1);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn ones_(tensor: &mut Tensor) -> Result<(), InitError> {
    dispatch::fill("ones_", tensor, 1.0)
}

/// Fills a tensor of any dtype with zeros. Draws nothing.
///
/// Follows `zeros_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Libtorch`] if libtorch rejects.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::ones([2], FLOAT_CPU);
/// tch_init::init::zeros_(&mut w)?;
/// assert_eq!(w.double_value(&[1]), 0.0);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn zeros_(tensor: &mut Tensor) -> Result<(), InitError> {
    if intercept("zeros_", tensor, None, || Fill::Constant(0.0))? {
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    let filled = tensor.f_zero_();
    filled.context("zeros_", tensor).map(drop)
}

/// Fills a matrix, which may be rectangular, with ones on the diagonal and zeros elsewhere. Draws
/// nothing.
///
/// Follows `eye_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Dimensions`] unless the tensor has two dimensions.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([3, 5], FLOAT_CPU);
/// tch_init::init::eye_(&mut w)?;
/// assert_eq!(w.sum(tch::Kind::Float).double_value(&[]), 3.0);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn eye_(tensor: &mut Tensor) -> Result<(), InitError> {
    let shape = tensor.size();
    let [rows, columns] = shape[..] else {
        return Err(InitError::Dimensions {
            function: "eye_",
            supported: "2",
            shape,
        });
    };
    if intercept("eye_", tensor, None, || Fill::Eye)? {
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    Tensor::f_eye_m_out(tensor, rows, columns)
        .context("eye_", tensor)
        .map(drop)
}

/// Fills the weight of a convolution with the Dirac delta, so that the convolution copies input channels
/// to output channels within each group. PyTorch's default is 1 group.
///
/// Draws nothing. A negative divisor as `groups` leaves only zeros, as in PyTorch. Follows `dirac_`
/// (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Dimensions`] unless the tensor has three, four or five dimensions,
/// [`InitError::Groups`] if `groups` does not divide the first one, [`InitError::EmptyKernel`] if the
/// kernel has no central element.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([4, 2, 3, 3], FLOAT_CPU);
/// tch_init::init::dirac_(&mut w, 2)?;
/// assert_eq!(w.double_value(&[3, 1, 1, 1]), 1.0);
/// assert!(tch_init::init::dirac_(&mut w, 3).is_err());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn dirac_(tensor: &mut Tensor, groups: i64) -> Result<(), InitError> {
    let function = "dirac_";
    let shape = tensor.size();
    let (&[out_channels, in_channels], kernel @ ([_] | [_, _] | [_, _, _])) =
        shape.split_first_chunk::<2>().unwrap_or((&[0, 0], &[]))
    else {
        return Err(InitError::Dimensions {
            function,
            supported: "3, 4 or 5",
            shape,
        });
    };
    if out_channels.checked_rem(groups) != Some(0) {
        return Err(InitError::Groups { shape, groups });
    }
    let out_channels_per_group = out_channels / groups;
    let copied_channels = out_channels_per_group.min(in_channels);
    let fill = || match groups > 0 {
        true => Fill::Dirac { groups },
        false => Fill::Constant(0.0),
    };
    if intercept(function, tensor, None, fill)? {
        return Ok(());
    }

    let _no_grad = tch::no_grad_guard();
    tensor.f_zero_().context(function, tensor).map(drop)?;
    if copied_channels == 0 || groups < 0 {
        return Ok(());
    }
    if kernel.contains(&0) {
        return Err(InitError::EmptyKernel { shape });
    }
    let middle = middle(tensor, kernel).context(function, tensor)?;
    for group in 0..groups {
        for channel in 0..copied_channels {
            let mut element = middle
                .f_select(0, group * out_channels_per_group + channel)
                .and_then(|row| row.f_select(0, channel))
                .context(function, tensor)?;
            dispatch::fill(function, &mut element, 1.0)?;
        }
    }
    Ok(())
}

/// The `[out, in]` view of a weight's central elements.
fn middle(weight: &Tensor, kernel: &[i64]) -> Result<Tensor, tch::TchError> {
    kernel
        .iter()
        .try_fold(weight.shallow_clone(), |view, size| {
            view.f_select(2, size / 2)
        })
}
