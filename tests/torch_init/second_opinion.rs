//! `tch::nn::Init` has the bits of `tch_init::init` where the table in `src/init/mod.rs` says so,
//! and others where it does not.

use super::support::{CPU, filled};
use crate::common::{bytes, default_stream};
use tch::nn::Init;
use tch::nn::init::{FanInOut, NonLinearity, NormalOrUniform, f_init};
use tch::{Kind, Tensor};
use tch_init::init::*;
use tch_init::{InitError, manual_seed};

/// The bits of ours on a tensor of this shape, and those of tch's in both of its ways: a new
/// tensor, and one set.
fn three(
    shape: &[i64],
    kind: Kind,
    theirs: Init,
    ours: impl FnOnce(&mut Tensor) -> Result<(), InitError>,
) -> [Vec<u8>; 3] {
    let _stream = default_stream();
    manual_seed(50).unwrap();
    let mut tensor = filled(shape, kind);
    ours(&mut tensor).unwrap();
    manual_seed(50).unwrap();
    let new = f_init(theirs, shape, CPU, kind).unwrap();
    manual_seed(50).unwrap();
    let mut set = filled(shape, kind);
    set.init(theirs);
    [bytes(&tensor), bytes(&new), bytes(&set)]
}

fn assert_same(
    shape: &[i64],
    kind: Kind,
    theirs: Init,
    ours: impl FnOnce(&mut Tensor) -> Result<(), InitError>,
) {
    let [ours, new, set] = three(shape, kind, theirs, ours);
    assert!(ours == new, "{theirs:?}, new, {shape:?} {kind:?}");
    assert!(ours == set, "{theirs:?}, set, {shape:?} {kind:?}");
}

fn assert_other(
    shape: &[i64],
    kind: Kind,
    theirs: Init,
    ours: impl FnOnce(&mut Tensor) -> Result<(), InitError>,
) {
    let [ours, new, set] = three(shape, kind, theirs, ours);
    assert!(ours != new, "{theirs:?}, new, {shape:?} {kind:?}");
    assert!(ours != set, "{theirs:?}, set, {shape:?} {kind:?}");
}

const SHAPES: [&[i64]; 6] = [
    &[3, 5],
    &[4, 4],
    &[17, 3],
    &[33, 20],
    &[6, 2, 3, 3],
    &[1000, 1],
];
const BELOW_16: [&[i64]; 3] = [&[3, 5], &[5, 3], &[3, 1, 5]];

#[test]
fn uniform() {
    for shape in SHAPES.into_iter().chain([&[5][..]]) {
        for kind in [Kind::Float, Kind::Double] {
            let theirs = Init::Uniform { lo: -0.1, up: 0.3 };
            assert_same(shape, kind, theirs, |t| uniform_(t, -0.1, 0.3, None));
        }
    }
}

/// A new tensor of tch's is contiguous; one that is not is filled in the order of its memory.
#[test]
fn uniform_not_contiguous() {
    let _stream = default_stream();
    manual_seed(50).unwrap();
    let mut ours = filled(&[5, 3], Kind::Float).tr();
    uniform_(&mut ours, 0.0, 1.0, None).unwrap();
    manual_seed(50).unwrap();
    let theirs = f_init(
        Init::Uniform { lo: 0.0, up: 1.0 },
        &[3, 5],
        CPU,
        Kind::Float,
    )
    .unwrap();
    assert!(bytes(&ours) != bytes(&theirs));
    assert!(bytes(&ours.tr()) == bytes(&theirs));
}

#[test]
fn normal() {
    for kind in [Kind::Float, Kind::Double] {
        for shape in &SHAPES[1..] {
            for std in [1.0, 0.02, 3.7] {
                let theirs = Init::Randn {
                    mean: 0.0,
                    stdev: std,
                };
                assert_same(shape, kind, theirs, |t| normal_(t, 0.0, std, None));
            }
        }
    }
    for shape in SHAPES {
        let theirs = Init::Randn {
            mean: 0.0,
            stdev: 1.0,
        };
        assert_same(shape, Kind::Float, theirs, |t| normal_(t, 0.0, 1.0, None));
    }
}

#[test]
fn normal_of_few_elements() {
    for shape in BELOW_16 {
        for std in [0.02, 3.7] {
            let theirs = Init::Randn {
                mean: 0.0,
                stdev: std,
            };
            assert_other(shape, Kind::Float, theirs, |t| normal_(t, 0.0, std, None));
        }
    }
}

/// `randn * std + mean` rounds twice, and in f32.
#[test]
fn normal_with_a_mean() {
    let theirs = Init::Randn {
        mean: 0.5,
        stdev: 0.02,
    };
    for shape in BELOW_16.into_iter().chain([&[33, 20][..], &[1000, 1]]) {
        assert_other(shape, Kind::Float, theirs, |t| normal_(t, 0.5, 0.02, None));
    }
}

/// A std of 1 makes up for a mean from 16 elements on, not below.
#[test]
fn normal_with_a_mean_and_std_1() {
    let theirs = Init::Randn {
        mean: 0.5,
        stdev: 1.0,
    };
    for shape in &SHAPES[1..] {
        assert_same(shape, Kind::Float, theirs, |t| normal_(t, 0.5, 1.0, None));
    }
    for shape in BELOW_16 {
        assert_other(shape, Kind::Float, theirs, |t| normal_(t, 0.5, 1.0, None));
    }
}

#[test]
fn constants() {
    for shape in SHAPES {
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Half] {
            for value in [0.3, -2.5, 1e-3] {
                assert_same(shape, kind, Init::Const(value), |t| constant_(t, value));
            }
            assert_same(shape, kind, Init::Const(1.0), ones_);
            assert_same(shape, kind, Init::Const(0.0), zeros_);
        }
    }
}

const FANS: [(FanMode, FanInOut); 2] = [
    (FanMode::FanIn, FanInOut::FanIn),
    (FanMode::FanOut, FanInOut::FanOut),
];

/// The same gain in the words of both.
fn gains() -> Vec<(Nonlinearity, NonLinearity)> {
    let leaky = Nonlinearity::LeakyRelu {
        negative_slope: 0.3,
    };
    vec![
        (Nonlinearity::Relu, NonLinearity::ReLU),
        (Nonlinearity::default(), NonLinearity::ReLU),
        (Nonlinearity::Linear, NonLinearity::Linear),
        (Nonlinearity::Sigmoid, NonLinearity::Sigmoid),
        (Nonlinearity::Tanh, NonLinearity::Tanh),
        (Nonlinearity::Selu, NonLinearity::SELU),
        (
            leaky,
            NonLinearity::ExplicitGain(calculate_gain(leaky).unwrap()),
        ),
    ]
}

/// Each fan and gain, and tch's initialization for them.
fn kaiming(dist: NormalOrUniform) -> Vec<(FanMode, Nonlinearity, Init)> {
    let mut all = Vec::new();
    for (mode, fan) in FANS {
        for (ours, non_linearity) in gains() {
            all.push((
                mode,
                ours,
                Init::Kaiming {
                    dist,
                    fan,
                    non_linearity,
                },
            ));
        }
    }
    all
}

#[test]
fn kaiming_uniform() {
    for (mode, nonlinearity, theirs) in kaiming(NormalOrUniform::Uniform) {
        for shape in SHAPES.into_iter().chain(BELOW_16) {
            assert_same(shape, Kind::Float, theirs, |t| {
                kaiming_uniform_(t, mode, nonlinearity, None)
            });
        }
    }
}

/// Another gain has other bits: PyTorch's default slope is not its layers', and not 0.01.
#[test]
fn kaiming_uniform_of_another_gain() {
    for negative_slope in [5f64.sqrt(), 0.01] {
        let nonlinearity = Nonlinearity::LeakyRelu { negative_slope };
        let theirs = tch::nn::init::DEFAULT_KAIMING_UNIFORM;
        assert_other(&[33, 20], Kind::Float, theirs, |t| {
            kaiming_uniform_(t, FanMode::FanIn, nonlinearity, None)
        });
    }
}

/// Below two dimensions tch answers with a fan of 1, where PyTorch fails.
#[test]
fn kaiming_of_a_vector() {
    let theirs = tch::nn::init::DEFAULT_KAIMING_UNIFORM;
    let _stream = default_stream();
    let vector = f_init(theirs, &[20], CPU, Kind::Float).unwrap();
    let bound = vector.abs().max().double_value(&[]);
    assert!((1.5..=6f64.sqrt()).contains(&bound), "{bound}");
    let mut vector = filled(&[20], Kind::Float);
    let error = kaiming_uniform_(&mut vector, FanMode::FanIn, Nonlinearity::Relu, None);
    assert!(matches!(error, Err(InitError::Fan { .. })), "{error:?}");
}

#[test]
fn kaiming_normal() {
    for (mode, nonlinearity, theirs) in kaiming(NormalOrUniform::Normal) {
        for shape in &SHAPES[1..] {
            assert_same(shape, Kind::Float, theirs, |t| {
                kaiming_normal_(t, mode, nonlinearity, None)
            });
        }
    }
}

/// Shapes whose std is not a power of two, by which both ways of rounding agree.
#[test]
fn kaiming_normal_of_few_elements() {
    for (mode, nonlinearity, theirs) in kaiming(NormalOrUniform::Normal) {
        for shape in BELOW_16 {
            assert_other(shape, Kind::Float, theirs, |t| {
                kaiming_normal_(t, mode, nonlinearity, None)
            });
        }
    }
}

#[test]
fn orthogonal() {
    for shape in SHAPES {
        for gain in [1.0, 2f64.sqrt()] {
            let theirs = Init::Orthogonal { gain };
            assert_same(shape, Kind::Float, theirs, |t| orthogonal_(t, gain, None));
        }
    }
}

/// tch sets an f64 tensor to an f32 matrix, and its new one is f64's own.
#[test]
fn orthogonal_of_f64() {
    let theirs = Init::Orthogonal { gain: 1.0 };
    let [ours, new, set] = three(&[6, 5], Kind::Double, theirs, |t| orthogonal_(t, 1.0, None));
    assert!(ours == new);
    assert!(ours != set);
}

/// At a low precision `randn` is rounded before it is scaled, whatever the number of elements; in
/// f64 nothing is lost by that, and few elements are as good as many.
#[test]
fn normals_of_other_dtypes() {
    let (randn, kaiming) = (
        Init::Randn {
            mean: 0.0,
            stdev: 0.02,
        },
        tch::nn::init::DEFAULT_KAIMING_NORMAL,
    );
    let normal = |t: &mut Tensor| normal_(t, 0.0, 0.02, None);
    let relu = |t: &mut Tensor| kaiming_normal_(t, FanMode::FanIn, Nonlinearity::Relu, None);
    for kind in [Kind::BFloat16, Kind::Half] {
        for shape in [&[3, 5][..], &[33, 20], &[6, 2, 3, 3]] {
            assert_other(shape, kind, randn, normal);
            assert_other(shape, kind, kaiming, relu);
        }
    }
    for shape in BELOW_16 {
        assert_same(shape, Kind::Double, randn, normal);
        assert_same(shape, Kind::Double, kaiming, relu);
    }
}

/// A new tensor of tch's takes -0 for 0, and for 1 what is within f64's epsilon of it.
#[test]
fn constants_that_tch_takes_for_others() {
    for value in [-0.0, 1.0 + f64::EPSILON] {
        let theirs = Init::Const(value);
        let [ours, new, set] = three(&[3], Kind::Double, theirs, |t| constant_(t, value));
        assert!(ours != new, "{value}");
        assert!(ours == set, "{value}");
    }
}
