//! `trunc_normal_`, by both of its methods.

use super::statistics::Distribution::{Normal, TruncNormal, Uniform};
use super::statistics::{assert_drawn_from, assert_rejected};
use super::support::{Dice, error_of, filled, rounded, seeded, sorted};
use crate::common::{bytes, default_stream};
use tch::{Kind, Tensor};
use tch_init::init::{normal_, trunc_normal_, uniform_};
use tch_init::{InitError, get_rng_state, manual_seed};

/// One test for each of upstream's parametrised ones, in a module of the check's name.
macro_rules! parametrised {
    ($check:ident: $($name:ident($($argument:expr),*),)*) => {
        mod $check {
            use tch::Kind;
            $(#[test] fn $name() { super::$check($($argument),*) })*
        }
    };
}

/// A tensor of truncated normals from a stream of its own.
fn drawn(shape: &[i64], kind: Kind, mean: f64, std: f64, a: f64, b: f64) -> Tensor {
    let mut tensor = filled(shape, kind);
    trunc_normal_(&mut tensor, mean, std, a, b, Some(&mut seeded(40))).unwrap();
    tensor
}

// Upstream: `test_trunc_normal_all_dtypes`, 6 of them.
parametrised! { all_dtypes:
    f32_1d(Kind::Float, 1),
    f32_2d(Kind::Float, 2),
    f32_4d(Kind::Float, 4),
    f64_1d(Kind::Double, 1),
    f64_2d(Kind::Double, 2),
    f64_4d(Kind::Double, 4),
}

fn all_dtypes(kind: Kind, dims: usize) {
    let mut dice = Dice(41);
    for _ in 0..4 {
        let mean = dice.float(-3.0, 3.0);
        let std = dice.float(0.01, 1.0);
        let a = dice.float(mean - 2.0 * std, mean);
        let b = dice.float(mean, mean + 2.0 * std);
        let tensor = drawn(&dice.large(dims), kind, mean, std, a, b);
        let sample = sorted(&tensor);
        assert_drawn_from(TruncNormal { mean, std, a, b }, &sample, kind);
        // A bound a tenth of the interval off would be seen.
        let tenth = (b - a) / 10.0;
        assert_rejected(
            TruncNormal {
                mean,
                std,
                a: a - tenth,
                b,
            },
            &sample,
        );
        assert_rejected(
            TruncNormal {
                mean,
                std,
                a,
                b: b + tenth,
            },
            &sample,
        );
    }
}

// Upstream: `test_trunc_normal_low_precision`, 2 of them.
parametrised! { low_precision:
    f16(Kind::Half),
    bf16(Kind::BFloat16),
}

fn low_precision(kind: Kind) {
    let sample = sorted(&drawn(&[10_000], kind, 0.0, 1.0, -2.0, 2.0));
    assert_drawn_from(
        TruncNormal {
            mean: 0.0,
            std: 1.0,
            a: -2.0,
            b: 2.0,
        },
        &sample,
        kind,
    );
    assert_rejected(
        Normal {
            mean: 0.0,
            std: 1.0,
        },
        &sample,
    );
    assert_rejected(
        TruncNormal {
            mean: 0.0,
            std: 1.2,
            a: -2.0,
            b: 2.0,
        },
        &sample,
    );
}

// Upstream: `test_trunc_normal_narrow_interval`, 3 of them.
parametrised! { narrow_interval:
    f32(Kind::Float),
    f64(Kind::Double),
    f16(Kind::Half),
}

fn narrow_interval(kind: Kind) {
    let sample = sorted(&drawn(&[10_000], kind, 0.0, 1.0, 2.0, 3.0));
    assert_drawn_from(
        TruncNormal {
            mean: 0.0,
            std: 1.0,
            a: 2.0,
            b: 3.0,
        },
        &sample,
        kind,
    );
    assert_rejected(Uniform { a: 2.0, b: 3.0 }, &sample);
    assert_rejected(
        TruncNormal {
            mean: 0.0,
            std: 1.1,
            a: 2.0,
            b: 3.0,
        },
        &sample,
    );
    assert_rejected(
        TruncNormal {
            mean: 0.3,
            std: 1.0,
            a: 2.0,
            b: 3.0,
        },
        &sample,
    );
}

// Upstream: `test_trunc_normal_unique_values`, 4 of them.
parametrised! { unique_values:
    f32(Kind::Float, 5000),
    f64(Kind::Double, 5000),
    f16(Kind::Half, 3000),
    bf16(Kind::BFloat16, 1000),
}

fn unique_values(kind: Kind, at_least: usize) {
    let mut sample = sorted(&drawn(&[10_000], kind, 0.0, 1.0, -2.0, 2.0));
    assert!(sample.iter().all(|x| (-2.0..=2.0).contains(x)));
    sample.dedup();
    assert!(sample.len() > at_least, "{}", sample.len());
    // As many as there are, not as many as f64 has: these are values of the dtype.
    assert!(sample.iter().all(|x| rounded(*x, kind) == *x));
}

// Upstream: `test_trunc_normal_no_boundary_values_small_std`, 4 of them.
parametrised! { no_boundary_values_small_std:
    f32(Kind::Float),
    f64(Kind::Double),
    f16(Kind::Half),
    bf16(Kind::BFloat16),
}

fn no_boundary_values_small_std(kind: Kind) {
    let sample = sorted(&drawn(&[10_000], kind, 0.0, 0.1, -2.0, 2.0));
    assert!(sample.iter().all(|x| x.abs() < 2.0));
    // 20 std away the bounds do not matter.
    assert_drawn_from(
        Normal {
            mean: 0.0,
            std: 0.1,
        },
        &sample,
        kind,
    );
}

/// Upstream: `test_trunc_normal_generator`, whose distribution is checked on five values; more of
/// them here, and for both methods.
#[test]
fn generator() {
    let _stream = default_stream();
    for (a, b) in [(-2.0, 2.0), (2.0, 3.0)] {
        for numel in [5, 10_000] {
            let mut generator = seeded(42);
            let mut given = filled(&[numel], Kind::Float);
            manual_seed(1).unwrap();
            let before = get_rng_state();
            trunc_normal_(&mut given, 0.0, 1.0, a, b, Some(&mut generator)).unwrap();
            assert_eq!(get_rng_state(), before, "the default stream was drawn from");

            manual_seed(42).unwrap();
            let mut default = filled(&[numel], Kind::Float);
            trunc_normal_(&mut default, 0.0, 1.0, a, b, None).unwrap();
            assert!(bytes(&given) == bytes(&default));
            assert!(generator.get_state() == get_rng_state());
            if numel > 5 {
                let expected = TruncNormal {
                    mean: 0.0,
                    std: 1.0,
                    a,
                    b,
                };
                assert_drawn_from(expected, &sorted(&given), Kind::Float);
            }
        }
    }
}

/// The bounds belong to the interval, as the dtype rounds them: at bf16 both are hit, and -0.6
/// is rounded outwards, 0.7 inwards.
#[test]
fn bounds_are_included_and_rounded_to_the_dtype() {
    for (a, b) in [(-2.0, 2.0), (-0.6, 0.7)] {
        let sample = sorted(&drawn(&[40_000], Kind::BFloat16, 0.0, 1.0, a, b));
        let low = sample.iter().copied().fold(f64::INFINITY, f64::min);
        let high = sample.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(
            (low, high),
            (rounded(a, Kind::BFloat16), rounded(b, Kind::BFloat16))
        );
    }
    assert!(rounded(-0.6, Kind::BFloat16) < -0.6);
    assert!(rounded(0.7, Kind::BFloat16) < 0.7);
}

/// More than 0.3 of the distribution inside the bounds: what `normal_` draws stays where it fits.
/// Less: what `uniform_` draws stays where its density lets it. The bounds are either side of 0.3.
#[test]
fn the_method_changes_at_a_share_of_0_3() {
    let kept = |bound: f64, plain: &Tensor| {
        let tensor = drawn(&[10_000], Kind::Float, 0.0, 1.0, -bound, bound);
        let equal = tensor.eq_tensor(plain).to_kind(Kind::Double);
        let inside = plain.abs().le(bound).to_kind(Kind::Double);
        let share = |mask: &Tensor| mask.mean(None).double_value(&[]);
        (share(&equal), share(&inside))
    };
    // python: math.erf(0.38533 / math.sqrt(2)) = 0.300007, of 0.38532 = 0.2999996
    let mut normals = filled(&[10_000], Kind::Float);
    normal_(&mut normals, 0.0, 1.0, Some(&mut seeded(40))).unwrap();
    let (equal, inside) = kept(0.38533, &normals);
    assert_eq!(equal, inside);
    assert!((inside - 0.3).abs() < 0.02, "{inside}");

    let mut uniforms = filled(&[10_000], Kind::Float);
    uniform_(&mut uniforms, -0.38532, 0.38532, Some(&mut seeded(40))).unwrap();
    let (equal, inside) = kept(0.38532, &uniforms);
    assert_eq!(inside, 1.0);
    // The mean of exp(-x^2 / 2) over the interval.
    assert!((equal - 0.976).abs() < 0.008, "{equal}");
}

/// A mean outside the bounds, on either side, with the peak of the density at the nearer bound.
#[test]
fn a_mean_outside_the_bounds() {
    for (mean, std, a, b) in [
        (5.0, 1.0, -2.0, 2.0),
        (-5.0, 1.0, -2.0, 2.0),
        (1.0, 2.0, 1.5, 2.5),
        (-1.0, 0.5, -3.0, -1.5),
    ] {
        for kind in [Kind::Float, Kind::Double] {
            let sample = sorted(&drawn(&[10_000], kind, mean, std, a, b));
            assert_drawn_from(TruncNormal { mean, std, a, b }, &sample, kind);
            assert_rejected(Uniform { a, b }, &sample);
        }
    }
}

/// Python divides by zero, or overflows; libtorch rejects bounds in the wrong order.
#[test]
fn errors() {
    let call = |std, a, b| {
        error_of("trunc_normal_", &[4], |t| {
            trunc_normal_(t, 0.0, std, a, b, Some(&mut seeded(1)))
        })
    };
    let error = call(0.0, -2.0, 2.0);
    assert!(
        matches!(
            error,
            InitError::Argument {
                argument: "std",
                value: 0.0,
                ..
            }
        ),
        "{error:?}"
    );
    let error = call(1e-160, 1.0, 2.0);
    assert!(
        matches!(
            error,
            InitError::Argument {
                argument: "(mode - mean) / std",
                ..
            }
        ),
        "{error:?}"
    );
    let error = call(1.0, 2.0, -2.0);
    assert!(
        matches!(&error, InitError::Libtorch { function: "trunc_normal_", message, .. } if message.contains("from")),
        "{error:?}"
    );
}
