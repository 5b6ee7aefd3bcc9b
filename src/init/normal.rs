//! Initializations with normal values.

use super::dispatch::draw;
use super::{FanMode, Nonlinearity, kaiming_std, warn_if_empty, xavier_std};
use crate::error::InitError;
use crate::generator::Generator;
use crate::rng::Normal;
use tch::Tensor;

/// Fills a floating-point tensor with values from the normal distribution. PyTorch's defaults are
/// mean 0 and std 1.
///
/// A contiguous tensor of at least 16 elements draws one 32-bit word per element, two for f64, in
/// blocks of 16. If `numel` is not a multiple of 16, the last 16 elements are drawn once more, and
/// bf16 and f16 do not draw the remainder before that. Any other tensor draws four words per pair of
/// elements; the generator caches the second normal of an odd number. `tch::nn::Init::Randn` computes
/// `randn * std + mean` instead, whose bits differ below 16 elements and for a mean other than 0.
///
/// Follows `normal_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Libtorch`] for a dtype without normal draws or `std < 0`.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([3, 5], FLOAT_CPU);
/// tch_init::init::normal_(&mut w, 0.0, 0.02, None)?;
/// assert!(tch_init::init::normal_(&mut w, 0.0, -1.0, None).is_err());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn normal_(
    tensor: &mut Tensor,
    mean: f64,
    std: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    draw("normal_", tensor, Normal { mean, std }, generator)
}

/// Fills a tensor with Xavier (Glorot) initialization: normal values with mean 0 and standard deviation
/// `gain * sqrt(2 / (fan_in + fan_out))`. PyTorch's default gain is 1.
///
/// Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
/// networks". Draws as [`normal_`]. Follows `xavier_normal_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Fan`] for fewer than two dimensions, [`InitError::Argument`] if both fans are 0, and
/// those of [`normal_`].
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([30, 20], FLOAT_CPU);
/// tch_init::init::xavier_normal_(&mut w, 5.0 / 3.0, None)?;
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn xavier_normal_(
    tensor: &mut Tensor,
    gain: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let function = "xavier_normal_";
    let std = xavier_std(function, &tensor.size(), gain)?;
    draw(function, tensor, Normal { mean: 0.0, std }, generator)
}

/// Fills a tensor with Kaiming (He) initialization: normal values with mean 0 and standard deviation
/// `gain / sqrt(fan)`.
///
/// PyTorch's argument `a` is the `negative_slope` of [`Nonlinearity::LeakyRelu`], and 0 for the parsed name
/// `leaky_relu`; the defaults of its `mode` and `nonlinearity` are those of [`FanMode`] and [`Nonlinearity`].
///
/// He et al. (2015), "Delving deep into rectifiers". Draws as [`normal_`]; a tensor without elements
/// is skipped with a warning in the log. Follows `kaiming_normal_` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Fan`] for fewer than two dimensions, [`InitError::Argument`] for a slope whose square
/// overflows, and those of [`normal_`].
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
/// use tch_init::init::{FanMode, Nonlinearity, kaiming_normal_};
///
/// let mut w = Tensor::zeros([64, 3, 7, 7], FLOAT_CPU);
/// kaiming_normal_(&mut w, FanMode::FanOut, Nonlinearity::Relu, None)?;
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn kaiming_normal_(
    tensor: &mut Tensor,
    mode: FanMode,
    nonlinearity: Nonlinearity,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let function = "kaiming_normal_";
    let shape = tensor.size();
    if warn_if_empty(function, &shape) {
        return Ok(());
    }
    let std = kaiming_std(function, &shape, mode, nonlinearity)?;
    draw(function, tensor, Normal { mean: 0.0, std }, generator)
}
