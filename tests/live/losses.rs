//! Losses with layers of their own.

use crate::common::default_stream;
use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};
use tch_init::nn::{
    self, AdaptiveLogSoftmaxWithLoss, AdaptiveLogSoftmaxWithLossConfig, LayerKind,
    LinearCrossEntropyLoss, LinearCrossEntropyLossConfig,
};
use tch_init::{InitError, get_rng_state, manual_seed};

fn with_options(div_value: f64, head_bias: bool) -> AdaptiveLogSoftmaxWithLossConfig {
    AdaptiveLogSoftmaxWithLossConfig::default()
        .div_value(div_value)
        .head_bias(head_bias)
}

fn all_of(softmax: AdaptiveLogSoftmaxWithLoss) -> Forward {
    Box::new(move |x: &[Tensor]| {
        let found = softmax.forward(&x[0], &x[1]).unwrap();
        let log_prob = softmax.log_prob(&x[0]).unwrap();
        vec![
            found.output,
            found.loss,
            log_prob,
            softmax.predict(&x[0]).unwrap(),
            softmax.predict(&(&x[0] * 100.0)).unwrap(),
        ]
    })
}

fn of_targets(softmax: AdaptiveLogSoftmaxWithLoss) -> Forward {
    Box::new(move |x: &[Tensor]| {
        let found = softmax.forward(&x[0], &x[1]).unwrap();
        vec![found.output, found.loss]
    })
}

const ALL_OF: &str = "[*m(x[0], x[1]), m.log_prob(x[0]), m.predict(x[0]), m.predict(100.0 * x[0])]";
const OF_TARGETS: &str = "[*m(x[0], x[1])]";

macro_rules! adaptive {
    ($python:literal, $forward:ident, $wrap:ident, [$($input:expr),*], $($argument:expr),*) => {
        Twin {
            python: $python,
            forward: $forward,
            inputs: vec![$($input),*],
            kind: LayerKind::AdaptiveLogSoftmaxWithLoss,
            make: |vs| Ok($wrap(nn::adaptive_log_softmax_with_loss(vs, $($argument),*)?)),
            tolerance: 0.0,
        }
    };
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn adaptive_softmax_is_pytorchs() {
    assert_twins(&[
        adaptive!(
            "nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 8])",
            ALL_OF,
            all_of,
            [Input::Randn(&[30, 16]), Input::Randint(20, &[30])],
            16,
            20,
            &[4, 8],
            Default::default()
        ),
        // Clusters that print alike, and a head that chooses them for all rows.
        adaptive!(
            "nn.AdaptiveLogSoftmaxWithLoss(8, 21, [1, 6, 11, 16], div_value=1.0, head_bias=True)",
            ALL_OF,
            all_of,
            [Input::Randn(&[3, 8]), Input::Randint(21, &[3])],
            8,
            21,
            &[1, 6, 11, 16],
            with_options(1.0, true)
        ),
        // Sizes that float division makes: 11 // 1.1 is 9, 11 // 1.1 ** 2 is 9.
        adaptive!(
            "nn.AdaptiveLogSoftmaxWithLoss(11, 40, [30, 35], div_value=1.1)",
            ALL_OF,
            all_of,
            [Input::Randn(&[64, 11]), Input::Randint(40, &[64])],
            11,
            40,
            &[30, 35],
            with_options(1.1, false)
        ),
        // A cluster that sees no feature; a target of the shortlist alone; no batch.
        adaptive!(
            "nn.AdaptiveLogSoftmaxWithLoss(5, 9, [2, 4, 6])",
            OF_TARGETS,
            of_targets,
            [
                Input::Randn(&[6, 5]),
                Input::Ints(&[6], &[0, 1, 2, 4, 8, 3])
            ],
            5,
            9,
            &[2, 4, 6],
            Default::default()
        ),
        adaptive!(
            "nn.AdaptiveLogSoftmaxWithLoss(5, 9, [8], head_bias=True)",
            OF_TARGETS,
            of_targets,
            [Input::Randn(&[2, 5]), Input::Ints(&[2], &[7, 0])],
            5,
            9,
            &[8],
            with_options(4.0, true)
        ),
        adaptive!(
            "nn.AdaptiveLogSoftmaxWithLoss(50, 900, [100], div_value=2)",
            OF_TARGETS,
            of_targets,
            [Input::Randn(&[50]), Input::Ints(&[], &[899])],
            50,
            900,
            &[100],
            with_options(2.0, false)
        ),
    ]);
}

fn of_loss(loss: LinearCrossEntropyLoss) -> Forward {
    Box::new(move |x: &[Tensor]| vec![loss.forward(&x[0], &x[1]).unwrap()])
}

fn of_probabilities(loss: LinearCrossEntropyLoss) -> Forward {
    Box::new(move |x: &[Tensor]| vec![loss.forward(&x[0], &x[1].softmax(1, None)).unwrap()])
}

macro_rules! cross_entropy {
    ($python:literal, $forward:literal, $wrap:ident, [$($input:expr),*], $in:expr, $classes:expr, $config:expr) => {
        Twin {
            python: $python,
            forward: $forward,
            inputs: vec![$($input),*],
            kind: LayerKind::LinearCrossEntropyLoss,
            make: |vs| {
                let mut config = $config;
                // The layer keeps the kind that it is given; Python's twin is of the default one.
                config.weight = config.weight.map(|weight| weight.to_kind(vs.kind()));
                Ok($wrap(nn::linear_cross_entropy_loss(vs, $in, $classes, config)?))
            },
            tolerance: 0.0,
        }
    };
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn linear_cross_entropy_is_pytorchs() {
    type Config = LinearCrossEntropyLossConfig;
    assert_twins(&[
        cross_entropy!(
            "nn.LinearCrossEntropyLoss(16, 20)",
            "[m(x[0], x[1])]",
            of_loss,
            [Input::Randn(&[30, 16]), Input::Randint(20, &[30])],
            16,
            20,
            Config::default()
        ),
        cross_entropy!(
            "nn.LinearCrossEntropyLoss(5, 10, out_features=(4, 3), bias=True, \
             weight=torch.arange(10) / 7.0, reduction='none', ignore_index=3, label_smoothing=0.1)",
            "[m(x[0], x[1])]",
            of_loss,
            [Input::Randn(&[2, 5]), Input::Randint(10, &[2, 4, 3])],
            5,
            10,
            Config::default()
                .out_features(vec![4, 3])
                .bias(true)
                .weight(Some(Tensor::arange(10, (Kind::Double, Device::Cpu)) / 7.0))
                .reduction(Reduction::None)
                .ignore_index(Some(3))
                .label_smoothing(0.1)
        ),
        cross_entropy!(
            "nn.LinearCrossEntropyLoss(7, 3, out_features=(2,), bias=True, reduction='sum')",
            "[m(x[0], x[1].softmax(1))]",
            of_probabilities,
            [Input::Randn(&[4, 7]), Input::Randn(&[4, 3, 2])],
            7,
            3,
            Config::default()
                .out_features(vec![2])
                .bias(true)
                .reduction(Reduction::Sum)
        ),
        cross_entropy!(
            "nn.LinearCrossEntropyLoss(6, 4, label_smoothing=1.0)",
            "[m(x[0], x[1])]",
            of_loss,
            [Input::Randn(&[6]), Input::Ints(&[], &[2])],
            6,
            4,
            Config::default().label_smoothing(1.0)
        ),
    ]);
}

/// What an error says; the `VarStore` and the stream have to be as they were.
fn refusal<L>(make: impl FnOnce(&nn::Path<'_>) -> Result<L, InitError>) -> String {
    let _stream = default_stream();
    manual_seed(0).unwrap();
    let before = get_rng_state().unwrap();
    let vs = VarStore::new(Device::Cpu);
    let Err(error) = make(&vs.root()) else {
        panic!("not refused");
    };
    assert!(vs.is_empty(), "{error}");
    assert_eq!(get_rng_state().unwrap(), before, "{error}");
    error.to_string()
}

#[test]
fn cutoffs_and_divisors_are_checked() {
    let adaptive = |cutoffs: &[i64], div_value: f64| {
        refusal(|vs| {
            let config = with_options(div_value, false);
            nn::adaptive_log_softmax_with_loss(vs, 16, 20, cutoffs, config)
        })
    };
    for cutoffs in [&[][..], &[0, 4], &[4, 20], &[8, 4], &[4, 4], &[-1]] {
        let expected = format!(
            "AdaptiveLogSoftmaxWithLoss: cutoffs = {cutoffs:?} must be one or more numbers that \
             rise from at least 1 to at most n_classes - 1, with n_classes = 20"
        );
        assert_eq!(adaptive(cutoffs, 4.0), expected);
    }
    for (div_value, reason) in [
        (0.0, "its powers must not be zero"),
        (1e200, "its powers must not overflow"),
        (f64::NAN, "in_features divided by its powers must be finite"),
    ] {
        let expected = format!("AdaptiveLogSoftmaxWithLoss: div_value = {div_value}: {reason}");
        assert_eq!(adaptive(&[4, 8], div_value), expected);
    }
    for (div_value, size) in [(-2.0, "[-8, 16]"), (1e-300, "[9223372036854775807, 16]")] {
        let found = adaptive(&[4], div_value);
        assert!(found.contains(size), "{found}");
    }
}

#[test]
fn inputs_and_targets_are_checked() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let softmax =
        nn::adaptive_log_softmax_with_loss(&root, 4, 9, &[3], Default::default()).unwrap();
    let input = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let says = |input: &Tensor, target: &Tensor| match softmax.forward(input, target) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let two = Tensor::from_slice(&[0i64, 8]);
    assert_eq!(says(&input(&[2, 4]), &two), "");
    assert!(says(&input(&[3, 4]), &two).ends_with("got [3, 4] and [2]"));
    assert!(says(&input(&[4]), &two).ends_with("got [4] and [2]"));
    assert!(says(&input(&[1, 4]), &Tensor::from(1i64)).ends_with("got [1, 4] and []"));
    assert!(says(&input(&[2, 5]), &two).contains("libtorch"));
    for (classes, values) in [([0i64, 9], "[0, 9]"), ([-1, 8], "[-1, 8]")] {
        let found = says(&input(&[2, 4]), &Tensor::from_slice(&classes));
        let expected = format!("targets must be in [0, 8], got values in {values}");
        assert!(found.ends_with(&expected), "{found}");
    }
    assert!(softmax.log_prob(&input(&[4])).is_err());
    assert!(softmax.predict(&input(&[2, 5])).is_err());

    let config = LinearCrossEntropyLossConfig::default().ignore_index(Some(1));
    let loss = nn::linear_cross_entropy_loss(root / "loss", 4, 2, config).unwrap();
    assert!(loss.forward(&input(&[2, 4]), &two.clamp(0, 1)).is_ok());
    for (shape, target) in [
        (&[2, 5][..], &two),
        (&[1, 2, 4], &two),
        (&[], &two),
        (&[2, 4], &input(&[2, 2])),
        (&[2, 4], &input(&[3])),
    ] {
        assert!(loss.forward(&input(shape), target).is_err(), "{shape:?}");
    }
}

#[test]
fn class_weights_are_checked_and_kept() {
    type Config = LinearCrossEntropyLossConfig;
    let ones = |n: i64| Some(Tensor::ones([n], (Kind::Float, Device::Cpu)));
    for (config, words) in [
        (
            Config::default().weight(ones(3)),
            "weight must have shape [num_classes] = [2], got [3]",
        ),
        (
            Config::default().label_smoothing(-0.1),
            "label_smoothing = -0.1 must be in [0, 1]",
        ),
        (
            Config::default().label_smoothing(1.5),
            "label_smoothing = 1.5 must be in [0, 1]",
        ),
        (
            Config::default().reduction(Reduction::Other(7)),
            "reduction = 7 must be none, mean or sum",
        ),
        (
            Config::default().out_features(vec![i64::MAX]),
            "are more than there can be",
        ),
        (Config::default().out_features(vec![-3]), "[-6, 4]"),
    ] {
        let found = refusal(|vs| nn::linear_cross_entropy_loss(vs, 4, 2, config));
        assert!(found.contains(words), "{found}");
    }

    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let given = Tensor::from_slice(&[0.25f32, 4.0]);
    let config = Config::default().weight(Some(given.shallow_clone()));
    let loss = nn::linear_cross_entropy_loss(vs.root(), 4, 2, config).unwrap();
    let kept = loss.weight.unwrap();
    assert_ne!(kept.data_ptr(), given.data_ptr());
    tch_init::Walk::new().reset_parameters(&vs).unwrap();
    assert_eq!(Vec::<f32>::try_from(&kept).unwrap(), [0.25, 4.0]);

    // As in PyTorch, the weights keep their kind, whatever the layer's.
    let config = Config::default().weight(Some(given.to_kind(Kind::Double)));
    let loss = nn::linear_cross_entropy_loss(vs.root() / "double", 4, 2, config).unwrap();
    assert_eq!(loss.weight.unwrap().kind(), Kind::Double);
}
