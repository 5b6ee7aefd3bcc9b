//! The distributions of the functions that draw element by element.

use super::statistics::Distribution::{Normal, Uniform};
use super::statistics::{Distribution, assert_drawn_from, assert_rejected};
use super::support::{Dice, error_of, filled, seeded, sorted};
use tch::{Kind, Tensor};
use tch_init::init::*;
use tch_init::{Generator, InitError};

/// Fills a tensor of this shape from a stream of its own, and checks what it holds.
fn check(
    shape: &[i64],
    expected: Distribution,
    init: impl FnOnce(&mut Tensor, Option<&mut Generator>) -> Result<(), InitError>,
) {
    let mut tensor = filled(shape, Kind::Float);
    init(&mut tensor, Some(&mut seeded(shape.iter().sum()))).unwrap();
    assert_eq!(tensor.size(), shape);
    let sample = sorted(&tensor);
    assert_drawn_from(expected, &sample, Kind::Float);
    // Near misses would be seen: a std 15 % off, or bounds 5 %.
    for factor in [0.85, 1.15] {
        assert_rejected(scaled(expected, factor), &sample);
    }
}

fn scaled(distribution: Distribution, factor: f64) -> Distribution {
    match distribution {
        Uniform { a, b } => {
            let (middle, half) = ((a + b) / 2.0, (b - a) / 2.0 * factor);
            Uniform {
                a: middle - half,
                b: middle + half,
            }
        }
        Normal { mean, std } => Normal {
            mean,
            std: std * factor,
        },
        other => unreachable!("{other:?}"),
    }
}

/// Fan in and fan out, from the shape.
fn fans(shape: &[i64]) -> (f64, f64) {
    let field: i64 = shape[2..].iter().product();
    ((shape[1] * field) as f64, (shape[0] * field) as f64)
}

/// Upstream: `test_uniform`.
#[test]
fn uniform() {
    let mut dice = Dice(11);
    for dims in 1..=5 {
        let a = dice.float(-3.0, 3.0);
        let b = a + dice.float(1.0, 5.0);
        check(&dice.large(dims), Uniform { a, b }, |t, g| {
            uniform_(t, a, b, g)
        });
    }
}

/// Upstream: `test_normal`.
#[test]
fn normal() {
    let mut dice = Dice(12);
    for dims in 1..=5 {
        let mean = dice.float(-3.0, 3.0);
        let std = dice.float(1.0, 5.0);
        check(&dice.large(dims), Normal { mean, std }, |t, g| {
            normal_(t, mean, std, g)
        });
    }
}

/// The gains of the Xavier tests: PyTorch's default and one by chance.
fn gains(dice: &mut Dice) -> [f64; 2] {
    [1.0, dice.float(0.1, 2.0)]
}

/// Upstream: `test_xavier_uniform`.
#[test]
fn xavier_uniform() {
    let mut dice = Dice(13);
    for dims in 2..=5 {
        for gain in gains(&mut dice) {
            let shape = dice.large(dims);
            let (fan_in, fan_out) = fans(&shape);
            let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
            let expected = Uniform {
                a: -bound,
                b: bound,
            };
            check(&shape, expected, |t, g| xavier_uniform_(t, gain, g));
        }
    }
}

/// Upstream: `test_xavier_normal`.
#[test]
fn xavier_normal() {
    let mut dice = Dice(14);
    for dims in 2..=5 {
        for gain in gains(&mut dice) {
            let shape = dice.large(dims);
            let (fan_in, fan_out) = fans(&shape);
            let std = gain * (2.0 / (fan_in + fan_out)).sqrt();
            check(&shape, Normal { mean: 0.0, std }, |t, g| {
                xavier_normal_(t, gain, g)
            });
        }
    }
}

/// Each number of dimensions, each mode, PyTorch's default slope and one by chance: shape, mode,
/// nonlinearity and the std they should give. A last case has another nonlinearity.
fn kaiming_cases(mut dice: Dice) -> Vec<(Vec<i64>, FanMode, Nonlinearity, f64)> {
    let mut cases = Vec::new();
    for dims in 2..=5 {
        for mode in [FanMode::FanIn, FanMode::FanOut] {
            let slope = dice.float(0.1, 2.0);
            let leaky = Nonlinearity::LeakyRelu {
                negative_slope: slope,
            };
            for (nonlinearity, squared_gain) in [
                (Nonlinearity::default(), 2.0),
                (leaky, 2.0 / (1.0 + slope * slope)),
                (Nonlinearity::Tanh, 25.0 / 9.0),
            ] {
                let shape = dice.large(dims);
                let (fan_in, fan_out) = fans(&shape);
                let fan = if mode == FanMode::FanIn {
                    fan_in
                } else {
                    fan_out
                };
                cases.push((shape, mode, nonlinearity, (squared_gain / fan).sqrt()));
            }
        }
    }
    cases
}

/// Upstream: `test_kaiming_uniform`.
#[test]
fn kaiming_uniform() {
    for (shape, mode, nonlinearity, std) in kaiming_cases(Dice(15)) {
        let bound = 3f64.sqrt() * std;
        check(
            &shape,
            Uniform {
                a: -bound,
                b: bound,
            },
            |t, g| kaiming_uniform_(t, mode, nonlinearity, g),
        );
    }
}

/// Upstream: `test_kaiming_normal`.
#[test]
fn kaiming_normal() {
    for (shape, mode, nonlinearity, std) in kaiming_cases(Dice(16)) {
        check(&shape, Normal { mean: 0.0, std }, |t, g| {
            kaiming_normal_(t, mode, nonlinearity, g)
        });
    }
}

/// Fans need two dimensions.
fn assert_needs_fans(
    name: &str,
    init: impl Fn(&mut Tensor, Option<&mut Generator>) -> Result<(), InitError>,
) {
    for shape in [&[][..], &[1], &[5]] {
        let mut generator = seeded(1);
        let error = error_of(name, shape, |t| init(t, Some(&mut generator)));
        assert!(
            matches!(&error, InitError::Fan { function, shape: at } if *function == name && at == shape),
            "{error:?}"
        );
        assert_eq!(generator.get_state(), seeded(1).get_state(), "{name} drew");
    }
}

/// Upstream: `test_xavier_uniform_errors_on_inputs_smaller_than_2d`.
#[test]
fn xavier_uniform_errors_on_inputs_smaller_than_2d() {
    assert_needs_fans("xavier_uniform_", |t, g| xavier_uniform_(t, 1.0, g));
}

/// Upstream: `test_xavier_normal_errors_on_inputs_smaller_than_2d`.
#[test]
fn xavier_normal_errors_on_inputs_smaller_than_2d() {
    assert_needs_fans("xavier_normal_", |t, g| xavier_normal_(t, 1.0, g));
}

/// Upstream: `test_kaiming_uniform_errors_on_inputs_smaller_than_2d`.
#[test]
fn kaiming_uniform_errors_on_inputs_smaller_than_2d() {
    assert_needs_fans("kaiming_uniform_", |t, g| {
        kaiming_uniform_(t, FanMode::FanIn, Nonlinearity::Relu, g)
    });
}

/// Upstream: `test_kaiming_normal_errors_on_inputs_smaller_than_2d`.
#[test]
fn kaiming_normal_errors_on_inputs_smaller_than_2d() {
    assert_needs_fans("kaiming_normal_", |t, g| {
        kaiming_normal_(t, FanMode::FanOut, Nonlinearity::Relu, g)
    });
}
