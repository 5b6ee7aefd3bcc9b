//! Uniform draws.

use super::{FanMode, Nonlinearity, dispatch, kaiming_std, warn_if_empty, xavier_std};
use crate::error::InitError;
use crate::generator::Generator;
use tch::Tensor;

/// Fills with values from the uniform distribution over `[a, b)`. PyTorch's defaults: 0 and 1.
///
/// Draws one word of the stream an element, two for f64; a tensor that is not contiguous is
/// filled in memory order. Floating-point dtypes.
///
/// # Errors
///
/// [`InitError::Libtorch`] for a dtype without uniform draws, `a > b`, or bounds too far apart.
///
/// ```
/// use tch::{Kind, Tensor, kind::FLOAT_CPU};
///
/// tch_init::manual_seed(0)?;
/// let mut w = Tensor::zeros([3, 5], FLOAT_CPU);
/// tch_init::init::uniform_(&mut w, -1.0, 1.0, None)?;
/// assert!(w.abs().max().double_value(&[]) <= 1.0);
///
/// let mut whole = Tensor::zeros([3], (Kind::Int64, tch::Device::Cpu));
/// assert!(tch_init::init::uniform_(&mut whole, 0.0, 1.0, None).is_err());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn uniform_(
    tensor: &mut Tensor,
    a: f64,
    b: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    dispatch::uniform("uniform_", tensor, a, b, generator)
}

/// Xavier (Glorot) initialisation: uniform over `+-gain * sqrt(6 / (fan_in + fan_out))`.
/// PyTorch's default gain: 1.
///
/// Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural
/// networks". Draws as [`uniform_`].
///
/// # Errors
///
/// [`InitError::Fan`] below two dimensions, [`InitError::Argument`] if both fans are 0, and as
/// [`uniform_`].
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
    let bound = 3f64.sqrt() * std;
    dispatch::uniform(function, tensor, -bound, bound, generator)
}

/// Kaiming (He) initialisation: uniform over `+-gain * sqrt(3 / fan)`.
///
/// PyTorch's `a` is the `negative_slope` of [`Nonlinearity::LeakyRelu`]; its defaults are those of
/// [`FanMode`] and [`Nonlinearity`]. He et al. (2015), "Delving deep into rectifiers". Draws as
/// [`uniform_`]; a tensor without elements is left alone with a warning in the log.
///
/// # Errors
///
/// [`InitError::Fan`] below two dimensions, [`InitError::Argument`] for a slope whose square
/// overflows, and as [`uniform_`].
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
    let bound = 3f64.sqrt() * std;
    dispatch::uniform(function, tensor, -bound, bound, generator)
}
