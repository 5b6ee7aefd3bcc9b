//! Normal draws.

use super::{FanMode, Nonlinearity, dispatch, kaiming_std, warn_if_empty, xavier_std};
use crate::error::InitError;
use crate::generator::Generator;
use tch::Tensor;

/// Fills with values from the normal distribution. PyTorch's defaults: mean 0, std 1.
///
/// A contiguous tensor of 16 elements and more draws one word an element (f64 two), in blocks of
/// 16 whose last is drawn again when `numel` is no multiple of 16; bf16 and f16 skip the words of
/// that remainder. Any other tensor draws four words for every second element and keeps the other
/// normal of the pair in the generator. `tch::nn::Init::Randn` computes `randn * std + mean`,
/// which differs from this below 16 elements and for a mean other than 0.
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
    dispatch::normal("normal_", tensor, mean, std, generator)
}

/// Xavier (Glorot) initialisation: normal with std `gain * sqrt(2 / (fan_in + fan_out))`.
/// PyTorch's default gain: 1.
///
/// Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
/// networks". Draws as [`normal_`].
///
/// # Errors
///
/// [`InitError::Fan`] below two dimensions, [`InitError::Argument`] if both fans are 0, and as
/// [`normal_`].
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
    dispatch::normal(function, tensor, 0.0, std, generator)
}

/// Kaiming (He) initialisation: normal with std `gain / sqrt(fan)`.
///
/// PyTorch's `a` is the `negative_slope` of [`Nonlinearity::LeakyRelu`]; its defaults are those of
/// [`FanMode`] and [`Nonlinearity`]. He et al. (2015), "Delving deep into rectifiers". Draws as
/// [`normal_`]; a tensor without elements is left alone with a warning in the log.
///
/// # Errors
///
/// [`InitError::Fan`] below two dimensions, [`InitError::Argument`] for a slope whose square
/// overflows, and as [`normal_`].
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
    dispatch::normal(function, tensor, 0.0, std, generator)
}
