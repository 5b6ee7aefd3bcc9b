//! The recommended gain of a nonlinearity, and standard deviations that follow from it.

use super::fan::{correct_fan, fans};
use super::{FanMode, python_square};
use crate::error::InitError;
use std::str::FromStr;

/// A nonlinearity after a layer, for [`calculate_gain`] and the Kaiming functions.
///
/// ```
/// use tch_init::init::{Nonlinearity, calculate_gain};
///
/// assert_eq!("relu".parse(), Ok(Nonlinearity::Relu));
/// // The name alone has the slope that each of PyTorch's functions has by default.
/// let leaky: Nonlinearity = "leaky_relu".parse()?;
/// assert_eq!(leaky, Nonlinearity::DefaultLeakyRelu);
/// let slope = |negative_slope| Nonlinearity::LeakyRelu { negative_slope };
/// assert_eq!(calculate_gain(leaky)?, calculate_gain(slope(0.01))?);
/// # Ok::<(), tch_init::InitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Nonlinearity {
    /// No nonlinearity; gain 1.
    Linear,
    /// A 1D convolution; gain 1.
    Conv1d,
    /// A 2D convolution; gain 1.
    Conv2d,
    /// A 3D convolution; gain 1.
    Conv3d,
    /// A transposed 1D convolution; gain 1.
    ConvTranspose1d,
    /// A transposed 2D convolution; gain 1.
    ConvTranspose2d,
    /// A transposed 3D convolution; gain 1.
    ConvTranspose3d,
    /// The logistic function; gain 1.
    Sigmoid,
    /// The hyperbolic tangent; gain 5/3.
    Tanh,
    /// The rectifier; gain sqrt(2).
    Relu,
    /// The leaky rectifier; gain sqrt(2 / (1 + negative_slope^2)).
    LeakyRelu {
        /// The slope for negative inputs: the `param` of `calculate_gain`, the `a` of the Kaiming
        /// functions. PyTorch's layers use sqrt(5).
        negative_slope: f64,
    },
    /// The leaky rectifier without a slope, as `nonlinearity="leaky_relu"` alone in Python: 0.01 in
    /// [`calculate_gain`], whose `param` is `None` by default, and 0 in
    /// [`kaiming_uniform_`](super::kaiming_uniform_) and
    /// [`kaiming_normal_`](super::kaiming_normal_), whose `a` is 0 by default.
    DefaultLeakyRelu,
    /// The scaled exponential linear unit; gain 3/4, an empirical value.
    Selu,
}

impl Default for Nonlinearity {
    /// The default of PyTorch's Kaiming functions: a leaky rectifier of slope 0.
    fn default() -> Nonlinearity {
        Nonlinearity::LeakyRelu {
            negative_slope: 0.0,
        }
    }
}

impl Nonlinearity {
    /// Returns PyTorch's name, as in `torch.nn.functional`.
    pub fn name(self) -> &'static str {
        match self {
            Nonlinearity::Linear => "linear",
            Nonlinearity::Conv1d => "conv1d",
            Nonlinearity::Conv2d => "conv2d",
            Nonlinearity::Conv3d => "conv3d",
            Nonlinearity::ConvTranspose1d => "conv_transpose1d",
            Nonlinearity::ConvTranspose2d => "conv_transpose2d",
            Nonlinearity::ConvTranspose3d => "conv_transpose3d",
            Nonlinearity::Sigmoid => "sigmoid",
            Nonlinearity::Tanh => "tanh",
            Nonlinearity::Relu => "relu",
            Nonlinearity::LeakyRelu { .. } | Nonlinearity::DefaultLeakyRelu => "leaky_relu",
            Nonlinearity::Selu => "selu",
        }
    }
}

impl FromStr for Nonlinearity {
    type Err = InitError;

    /// Parses PyTorch's name; `leaky_relu` is [`DefaultLeakyRelu`](Nonlinearity::DefaultLeakyRelu),
    /// whose slope depends on the function, as in Python.
    fn from_str(name: &str) -> Result<Nonlinearity, InitError> {
        Ok(match name {
            "linear" => Nonlinearity::Linear,
            "conv1d" => Nonlinearity::Conv1d,
            "conv2d" => Nonlinearity::Conv2d,
            "conv3d" => Nonlinearity::Conv3d,
            "conv_transpose1d" => Nonlinearity::ConvTranspose1d,
            "conv_transpose2d" => Nonlinearity::ConvTranspose2d,
            "conv_transpose3d" => Nonlinearity::ConvTranspose3d,
            "sigmoid" => Nonlinearity::Sigmoid,
            "tanh" => Nonlinearity::Tanh,
            "relu" => Nonlinearity::Relu,
            "leaky_relu" => Nonlinearity::DefaultLeakyRelu,
            "selu" => Nonlinearity::Selu,
            _ => return Err(InitError::Nonlinearity(name.to_owned())),
        })
    }
}

/// Returns the recommended gain for a nonlinearity, a factor of the standard deviation.
///
/// Follows `calculate_gain` (`torch/nn/init.py`), PyTorch 2.13. A
/// [`DefaultLeakyRelu`](Nonlinearity::DefaultLeakyRelu) has a slope of 0.01.
///
/// # Errors
///
/// [`InitError::Argument`] if the square of a finite negative slope overflows, where Python
/// raises `OverflowError`.
///
/// ```
/// use tch_init::init::{Nonlinearity, calculate_gain};
///
/// assert_eq!(calculate_gain(Nonlinearity::Relu)?, 2f64.sqrt());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn calculate_gain(nonlinearity: Nonlinearity) -> Result<f64, InitError> {
    gain("calculate_gain", nonlinearity, 0.01)
}

/// The gain; a leaky rectifier without a slope has the `default_slope` of the calling function.
fn gain(
    function: &'static str,
    nonlinearity: Nonlinearity,
    default_slope: f64,
) -> Result<f64, InitError> {
    let leaky = |negative_slope: f64| -> Result<f64, InitError> {
        let square = python_square(negative_slope).ok_or(InitError::Argument {
            function,
            argument: "negative_slope",
            value: negative_slope,
            reason: "its square overflows",
            shape: None,
        })?;
        Ok((2.0 / (1.0 + square)).sqrt())
    };
    Ok(match nonlinearity {
        Nonlinearity::Linear
        | Nonlinearity::Conv1d
        | Nonlinearity::Conv2d
        | Nonlinearity::Conv3d
        | Nonlinearity::ConvTranspose1d
        | Nonlinearity::ConvTranspose2d
        | Nonlinearity::ConvTranspose3d
        | Nonlinearity::Sigmoid => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::Relu => 2f64.sqrt(),
        Nonlinearity::LeakyRelu { negative_slope } => leaky(negative_slope)?,
        Nonlinearity::DefaultLeakyRelu => leaky(default_slope)?,
        Nonlinearity::Selu => 3.0 / 4.0,
    })
}

/// Returns `gain * sqrt(2 / (fan_in + fan_out))`, in PyTorch's order of operations.
pub(crate) fn xavier_std(
    function: &'static str,
    shape: &[i64],
    gain: f64,
) -> Result<f64, InitError> {
    let (fan_in, fan_out) = fans(function, shape)?;
    // Python integers do not overflow; an i128 holds the sum of any two fans.
    let fans = (i128::from(fan_in) + i128::from(fan_out)) as f64;
    if fans == 0.0 {
        return Err(InitError::Argument {
            function,
            argument: "fan_in + fan_out",
            value: 0.0,
            reason: "division by zero",
            shape: Some(shape.to_vec()),
        });
    }
    Ok(gain * (2.0 / fans).sqrt())
}

/// Returns `gain / sqrt(fan)`, in PyTorch's order of operations. The shape must have elements.
pub(crate) fn kaiming_std(
    function: &'static str,
    shape: &[i64],
    mode: FanMode,
    nonlinearity: Nonlinearity,
) -> Result<f64, InitError> {
    let fan = correct_fan(function, shape, mode)?;
    // `a: float = 0` of `kaiming_uniform_` and `kaiming_normal_`.
    Ok(gain(function, nonlinearity, 0.0)? / (fan as f64).sqrt())
}
