//! Initializations with uniform values.

use super::dispatch::draw;
use super::{FanMode, Nonlinearity, kaiming_std, warn_if_empty, xavier_std};
use crate::error::InitError;
use crate::generator::Generator;
use crate::rng::Uniform;
use tch::Tensor;

/// Fills a floating-point tensor with values from the uniform distribution over `[a, b)`. PyTorch's
/// defaults are 0 and 1.
///
/// Draws one 32-bit word per element, two for f64, in memory order. Follows `uniform_`
/// (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Libtorch`] for a dtype without uniform draws, `a > b`, or `b - a` beyond the largest
/// value of the dtype.
///
/// ```
/// use tch::{Kind, Tensor, kind::FLOAT_CPU};
///
/// tch_init::manual_seed(0)?;
/// let mut w = Tensor::zeros([3, 5], FLOAT_CPU);
/// tch_init::init::uniform_(&mut w, -1.0, 1.0, None)?;
/// assert!(w.abs().max().double_value(&[]) <= 1.0);
///
/// let mut integers = Tensor::zeros([3], (Kind::Int64, tch::Device::Cpu));
/// assert!(tch_init::init::uniform_(&mut integers, 0.0, 1.0, None).is_err());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn uniform_(
    tensor: &mut Tensor,
    a: f64,
    b: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    draw("uniform_", tensor, Uniform { from: a, to: b }, generator)
}

/// Fills a tensor with Xavier (Glorot) initialization: uniform values between
/// `+-gain * sqrt(6 / (fan_in + fan_out))`. PyTorch's default gain is 1.
///
/// Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
/// networks". Draws as [`uniform_`]. Follows `xavier_uniform_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Fan`] for fewer than two dimensions, [`InitError::Argument`] if both fans are 0, and
/// those of [`uniform_`].
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([30, 20], FLOAT_CPU);
/// tch_init::init::xavier_uniform_(&mut w, 1.0, None)?;
/// assert!(w.abs().max().double_value(&[]) <= (6f64 / 50.0).sqrt());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn xavier_uniform_(
    tensor: &mut Tensor,
    gain: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let function = "xavier_uniform_";
    let std = xavier_std(function, &tensor.size(), gain)?;
    draw(function, tensor, symmetric(std), generator)
}

/// Fills a tensor with Kaiming (He) initialization: uniform values between `+-gain * sqrt(3 / fan)`.
///
/// PyTorch's argument `a` is the `negative_slope` of [`Nonlinearity::LeakyRelu`], and 0 for the parsed name
/// `leaky_relu`; the defaults of its `mode` and `nonlinearity` are those of [`FanMode`] and [`Nonlinearity`].
///
/// He et al. (2015), "Delving deep into rectifiers". Draws as [`uniform_`]; a tensor without elements
/// is skipped with a warning in the log. Follows `kaiming_uniform_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Fan`] for fewer than two dimensions, [`InitError::Argument`] for a slope whose square
/// overflows, and those of [`uniform_`].
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
/// use tch_init::init::{FanMode, Nonlinearity, kaiming_uniform_};
///
/// let mut w = Tensor::zeros([30, 20], FLOAT_CPU);
/// kaiming_uniform_(&mut w, FanMode::FanIn, Nonlinearity::Relu, None)?;
/// assert!(w.abs().max().double_value(&[]) <= (6f64 / 20.0).sqrt());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn kaiming_uniform_(
    tensor: &mut Tensor,
    mode: FanMode,
    nonlinearity: Nonlinearity,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let function = "kaiming_uniform_";
    let shape = tensor.size();
    if warn_if_empty(function, &shape) {
        return Ok(());
    }
    let std = kaiming_std(function, &shape, mode, nonlinearity)?;
    draw(function, tensor, symmetric(std), generator)
}

/// The uniform distribution with mean 0 and this standard deviation.
fn symmetric(std: f64) -> Uniform {
    let bound = 3f64.sqrt() * std;
    Uniform {
        from: -bound,
        to: bound,
    }
}
