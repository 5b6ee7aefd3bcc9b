//! `calculate_gain`.

use super::support::Dice;
use tch_init::InitError;
use tch_init::init::{Nonlinearity, calculate_gain};

fn gain(name: &str) -> Result<f64, InitError> {
    calculate_gain(name.parse()?)
}

fn leaky(negative_slope: f64) -> Result<f64, InitError> {
    calculate_gain(Nonlinearity::LeakyRelu { negative_slope })
}

/// Upstream: `test_calculate_gain_linear`.
#[test]
fn linear() {
    for name in [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
    ] {
        assert_eq!(gain(name), Ok(1.0), "{name}");
    }
}

/// Upstream: `test_calculate_gain_nonlinear`, which leaves `selu` out by oversight.
#[test]
fn nonlinear() {
    assert_eq!(gain("sigmoid"), Ok(1.0));
    assert_eq!(gain("tanh"), Ok(1.666_666_666_666_666_7));
    assert_eq!(gain("relu"), Ok(std::f64::consts::SQRT_2));
    assert_eq!(gain("leaky_relu"), Ok(1.414_142_856_997_835_4));
    assert_eq!(gain("selu"), Ok(0.75));
}

/// Upstream: `test_calculate_gain_leaky_relu`; the sign of a slope does not matter.
#[test]
fn leaky_relu() {
    assert_eq!(leaky(0.0), Ok(std::f64::consts::SQRT_2));
    assert_eq!(leaky(0.01), Ok(1.414_142_856_997_835_4));
    assert_eq!(leaky(0.01), gain("leaky_relu"));
    assert_eq!(leaky(10.0), Ok(0.140_719_508_946_058_36));
    assert_eq!(leaky(-10.0), leaky(10.0));
}

/// Upstream: `test_calculate_gain_leaky_relu_only_accepts_numbers`. A type takes the place of most
/// of it; what is left are slopes that Python cannot square, and ones inside the name.
#[test]
fn leaky_relu_only_accepts_numbers() {
    for slope in [1e155, -1e200, f64::MAX] {
        let error = leaky(slope).unwrap_err();
        assert!(
            matches!(
                error,
                InitError::Argument { function: "calculate_gain", argument: "negative_slope", value, .. }
                    if value == slope
            ),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(message.contains("calculate_gain"), "{message}");
        assert!(message.contains(&slope.to_string()), "{message}");
    }
    // python: calculate_gain("leaky_relu", 1e154), and with float("inf") and float("nan")
    assert_eq!(leaky(1e154), Ok(1.414_213_562_373_095e-154));
    assert_eq!(leaky(f64::INFINITY), Ok(0.0));
    assert!(leaky(f64::NAN).unwrap().is_nan());
    for name in ["leaky_relu(True)", "leaky_relu[1]", "leaky_relu 0.2"] {
        assert_eq!(gain(name), Err(InitError::Nonlinearity(name.to_owned())));
    }
}

/// Upstream: `test_calculate_gain_only_accepts_valid_nonlinearities`.
#[test]
fn only_accepts_valid_nonlinearities() {
    let mut dice = Dice(5);
    let names = [2, 5, 25].map(|length| {
        let letters = (0..length).map(|_| (b'a' + dice.size(0, 25) as u8) as char);
        letters.collect::<String>()
    });
    let near = ["", "ReLU", "relu ", "gelu", "leakyrelu"].map(str::to_owned);
    for name in names.into_iter().chain(near) {
        let error = gain(&name).unwrap_err();
        assert_eq!(error, InitError::Nonlinearity(name.clone()));
        let message = error.to_string();
        assert!(message.contains(&format!("{name:?}")), "{message}");
        assert!(message.contains("conv_transpose3d"), "{message}");
    }
}
