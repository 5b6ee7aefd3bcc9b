//! Fan in and fan out.

use crate::error::InitError;
use std::fmt;
use std::str::FromStr;

/// The fan for which a Kaiming initialization preserves the variance.
///
/// PyTorch's default is [`FanIn`](FanMode::FanIn).
///
/// ```
/// use tch_init::init::FanMode;
///
/// assert_eq!("FAN_OUT".parse(), Ok(FanMode::FanOut)); // PyTorch ignores case here
/// assert!("fan".parse::<FanMode>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FanMode {
    /// Preserves the variance of activations in the forward pass.
    #[default]
    FanIn,
    /// Preserves the variance of gradients in the backward pass.
    FanOut,
}

impl FanMode {
    /// Returns PyTorch's name: `"fan_in"` or `"fan_out"`.
    pub fn name(self) -> &'static str {
        match self {
            FanMode::FanIn => "fan_in",
            FanMode::FanOut => "fan_out",
        }
    }
}

impl fmt::Display for FanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FanMode {
    type Err = InitError;

    fn from_str(name: &str) -> Result<FanMode, InitError> {
        match name.to_lowercase().as_str() {
            "fan_in" => Ok(FanMode::FanIn),
            "fan_out" => Ok(FanMode::FanOut),
            _ => Err(InitError::FanMode(name.to_owned())),
        }
    }
}

/// Returns the fan in and the fan out of a weight of this shape: its second and its first dimension, each
/// times the product of the remaining ones.
///
/// Follows `_calculate_fan_in_and_fan_out` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Fan`] for fewer than two dimensions, where `tch::nn::init` silently returns 1;
/// [`InitError::Argument`] if a fan does not fit an `i64`.
///
/// ```
/// use tch_init::init::calculate_fan_in_and_fan_out;
///
/// assert_eq!(calculate_fan_in_and_fan_out(&[16, 3, 5, 5])?, (75, 400));
/// assert!(calculate_fan_in_and_fan_out(&[16]).is_err());
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn calculate_fan_in_and_fan_out(shape: &[i64]) -> Result<(i64, i64), InitError> {
    fans("calculate_fan_in_and_fan_out", shape)
}

/// Returns the fan in or the fan out of a weight of this shape.
///
/// Follows `_calculate_correct_fan` (`torch/nn/init.py`), PyTorch 2.13.
///
/// # Errors
///
/// Those of [`calculate_fan_in_and_fan_out`].
///
/// ```
/// use tch_init::init::{FanMode, calculate_correct_fan};
///
/// assert_eq!(calculate_correct_fan(&[16, 3, 5, 5], FanMode::FanOut)?, 400);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn calculate_correct_fan(shape: &[i64], mode: FanMode) -> Result<i64, InitError> {
    correct_fan("calculate_correct_fan", shape, mode)
}

pub(crate) fn correct_fan(
    function: &'static str,
    shape: &[i64],
    mode: FanMode,
) -> Result<i64, InitError> {
    let (fan_in, fan_out) = fans(function, shape)?;
    Ok(match mode {
        FanMode::FanIn => fan_in,
        FanMode::FanOut => fan_out,
    })
}

pub(crate) fn fans(function: &'static str, shape: &[i64]) -> Result<(i64, i64), InitError> {
    let [fan_out, fan_in, receptive_field @ ..] = shape else {
        return Err(InitError::Fan {
            function,
            shape: shape.to_vec(),
        });
    };
    let times_field = |maps: i64| {
        receptive_field
            .iter()
            .try_fold(maps, |product, size| product.checked_mul(*size))
            .ok_or_else(|| InitError::Argument {
                function,
                argument: "fan",
                value: f64::INFINITY,
                reason: "the fan does not fit 64 bits",
                shape: Some(shape.to_vec()),
            })
    };
    Ok((times_field(*fan_in)?, times_field(*fan_out)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_of_shapes() {
        // python: [torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(s)) for s in ...]
        let expected = [
            (&[4, 7][..], (7, 4)),
            (&[4, 7, 3], (21, 12)),
            (&[4, 7, 3, 2, 5], (210, 120)),
            (&[0, 5], (5, 0)),
            (&[5, 0, 3], (0, 15)),
        ];
        for (shape, fans) in expected {
            assert_eq!(calculate_fan_in_and_fan_out(shape), Ok(fans));
            assert_eq!(calculate_correct_fan(shape, FanMode::FanIn), Ok(fans.0));
            assert_eq!(calculate_correct_fan(shape, FanMode::FanOut), Ok(fans.1));
        }
    }

    #[test]
    fn errors_name_the_shape() {
        for shape in [&[][..], &[3]] {
            let error = calculate_fan_in_and_fan_out(shape).unwrap_err();
            assert!(error.to_string().contains(&format!("{shape:?}")), "{error}");
        }
        assert!(matches!(
            calculate_fan_in_and_fan_out(&[2, i64::MAX, 2]),
            Err(InitError::Argument {
                argument: "fan",
                ..
            })
        ));
    }

    #[test]
    fn names_round_trip() {
        for mode in [FanMode::FanIn, FanMode::FanOut] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!(
            "fan_both".parse::<FanMode>(),
            Err(InitError::FanMode("fan_both".to_owned()))
        );
    }
}
