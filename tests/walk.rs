//! The walk of a `VarStore`, of this crate's layers and of plain tch's.

use crate::common::{bytes, chain, default_stream};
use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::nn::{LayerKind, *};
use tch_init::{InitError, VisitError, Walk, apply, init, manual_seed, reset_parameters};

fn paths(walk: &Walk, vs: &VarStore) -> Vec<String> {
    let layers = walk.layers(vs).unwrap();
    layers.iter().map(|layer| layer.path().to_owned()).collect()
}

/// The order in which a visitor sees the layers.
fn visited(vs: &VarStore) -> Vec<String> {
    let mut seen = Vec::new();
    apply(vs, |layer| {
        seen.push(layer.path().to_owned());
        Ok(())
    })
    .unwrap();
    seen
}

#[test]
fn layers_come_in_order_of_creation_and_not_of_name() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    for name in ["z", "a", "m10", "m9", "b"] {
        f_linear(&root / name, 2, 2, Default::default()).unwrap();
    }
    assert_eq!(paths(&Walk::new(), &vs), ["z", "a", "m10", "m9", "b"]);

    let plain = VarStore::new(Device::Cpu);
    for name in ["z", "a", "m10", "m9", "b"] {
        nn::linear(plain.root() / name, 2, 2, Default::default());
    }
    assert_eq!(paths(&Walk::new(), &plain), ["z", "a", "m10", "m9", "b"]);
}

#[test]
fn children_are_visited_before_their_parents() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    f_linear(&root, 2, 2, Default::default()).unwrap();
    f_linear(&root / "block", 2, 2, Default::default()).unwrap();
    f_linear(&root / "block" / "b", 2, 2, Default::default()).unwrap();
    f_linear(&root / "last", 2, 2, Default::default()).unwrap();
    f_linear(&root / "block" / "a" / "deep", 2, 2, Default::default()).unwrap();
    f_linear(&root / "block2", 2, 2, Default::default()).unwrap();
    // tch takes an empty name.
    f_linear(&root / "" / "fc", 2, 2, Default::default()).unwrap();
    assert_eq!(
        visited(&vs),
        [
            "block.b",
            "block.a.deep",
            "block",
            "last",
            "block2",
            ".fc",
            ""
        ]
    );
}

#[test]
fn visitors_have_state_and_see_kind_parameters_and_buffers() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    f_conv2d(vs.root() / "c", 3, 4, 3, Default::default()).unwrap();
    f_batch_norm2d(vs.root() / "n", 4, Default::default()).unwrap();
    let mut seen = Vec::new();
    apply(&vs, |layer| {
        let parameters: Vec<_> = layer
            .parameters()
            .map(|(name, _)| name.to_owned())
            .collect();
        let buffers: Vec<_> = layer.buffers().map(|(name, _)| name.to_owned()).collect();
        seen.push((layer.kind(), parameters, buffers));
        Ok(())
    })
    .unwrap();
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            (Some(LayerKind::Conv2d), names(&["weight", "bias"]), vec![]),
            (
                Some(LayerKind::BatchNorm2d),
                names(&["weight", "bias"]),
                names(&["running_mean", "running_var", "num_batches_tracked"])
            ),
        ]
    );
}

#[test]
fn a_visitors_error_names_the_layer_and_stops_the_walk() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    for name in ["one", "two", "three"] {
        f_linear(vs.root() / name, 2, 2, Default::default()).unwrap();
    }
    let mut calls = 0;
    let error = apply(&vs, |layer| {
        calls += 1;
        match layer.path() {
            "two" => init::dirac_(layer.weight_mut().unwrap(), 1),
            _ => Ok(()),
        }
    })
    .unwrap_err();
    assert_eq!(calls, 2);
    assert!(
        matches!(&error, VisitError::Layer { path, source: InitError::Dimensions { .. } } if path == "two")
    );
    assert!(error.to_string().contains("\"two\""), "{error}");
    assert!(chain(&error).contains("[2, 2]"), "{error}");
}

/// A program of plain tch, and the same layers made by this crate.
fn twins() -> (VarStore, VarStore) {
    let plain = VarStore::new(Device::Cpu);
    let root = plain.root();
    nn::conv2d(&root / "conv1", 1, 32, 5, Default::default());
    nn::conv2d(&root / "conv2", 32, 64, 5, Default::default());
    nn::batch_norm2d(&root / "norm", 64, Default::default());
    nn::conv_transpose2d(&root / "up", 64, 8, 2, Default::default());
    nn::linear(&root / "fc1", 1024, 128, Default::default());
    nn::linear(&root / "fc2", 128, 10, Default::default());

    let ours = VarStore::new(Device::Cpu);
    let root = ours.root();
    manual_seed(5).unwrap();
    f_conv2d(&root / "conv1", 1, 32, 5, Default::default()).unwrap();
    f_conv2d(&root / "conv2", 32, 64, 5, Default::default()).unwrap();
    f_batch_norm2d(&root / "norm", 64, Default::default()).unwrap();
    f_conv_transpose2d(&root / "up", 64, 8, 2, Default::default()).unwrap();
    f_linear(&root / "fc1", 1024, 128, Default::default()).unwrap();
    f_linear(&root / "fc2", 128, 10, Default::default()).unwrap();
    (plain, ours)
}

#[test]
fn one_call_gives_a_program_of_plain_tch_pytorchs_weights() {
    let _stream = default_stream();
    let (plain, ours) = twins();
    let expected_next = Tensor::rand([3], (Kind::Float, Device::Cpu));
    let ours = ours.variables();
    let differ = |plain: &VarStore| {
        let variables = plain.variables();
        variables
            .iter()
            .filter(|(name, t)| bytes(t) != bytes(&ours[*name]))
            .count()
    };
    // Weights of five layers and biases of four; the rest is constant.
    assert!(differ(&plain) >= 9, "{}", differ(&plain));
    manual_seed(5).unwrap();
    reset_parameters(&plain).unwrap();
    assert_eq!(differ(&plain), 0);
    let next = Tensor::rand([3], (Kind::Float, Device::Cpu));
    assert_eq!(bytes(&next), bytes(&expected_next));
}

#[test]
fn what_cannot_be_told_apart_is_said_and_settled_by_the_caller() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    nn::conv2d(vs.root() / "down", 4, 8, 3, Default::default());
    nn::conv_transpose2d(vs.root() / "up", 8, 8, 2, Default::default());
    nn::linear(vs.root() / "fc", 8, 2, Default::default());

    // What a visitor treats alike needs no settling.
    apply(&vs, |_| Ok(())).unwrap();
    let error = apply(&vs, |layer| match layer.kind() {
        Some(LayerKind::Conv2d) => layer.fill("weight", |weight, _| init::zeros_(weight)),
        _ => Ok(()),
    })
    .unwrap_err();
    let both = vec![LayerKind::Conv2d, LayerKind::ConvTranspose2d];
    assert_eq!(
        error,
        VisitError::Ambiguous {
            path: "down".to_owned(),
            candidates: both.clone()
        }
    );
    assert_eq!(
        error.to_string(),
        "layer \"down\" could be Conv2d or ConvTranspose2d; \
         set its kind with `Walk::with_kind(\"down\", ..)` or `Walk::prefer(..)`"
    );

    let walk = Walk::new()
        .with_kind("up", LayerKind::ConvTranspose2d)
        .prefer(LayerKind::Conv2d);
    let kinds: Vec<_> = walk
        .layers(&vs)
        .unwrap()
        .iter()
        .map(|l| l.kind().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            LayerKind::Conv2d,
            LayerKind::ConvTranspose2d,
            LayerKind::Linear
        ]
    );

    let contradiction = Walk::new()
        .with_kind("fc", LayerKind::Conv2d)
        .layers(&vs)
        .unwrap_err();
    assert_eq!(
        contradiction.to_string(),
        "layer \"fc\" cannot be Conv2d: its variables are weight [2, 8], bias [2]"
    );
    let missing = Walk::new()
        .with_kind("fd", LayerKind::Linear)
        .layers(&vs)
        .unwrap_err();
    assert_eq!(
        missing.to_string(),
        "there is no layer \"fd\"; the layers are: down, up, fc"
    );
}

#[test]
fn names_that_were_taken_make_layers_of_their_own() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    for make in 0..2 {
        nn::linear(vs.root() / "plain", 2, 3 + make, Default::default());
        f_linear(vs.root() / "ours", 2, 3 + make, Default::default()).unwrap();
    }
    let layers = Walk::new().layers(&vs).unwrap();
    let found: Vec<_> = layers
        .iter()
        .map(|layer| {
            (
                layer.path(),
                layer.kind().unwrap(),
                layer.variable("weight").unwrap().size(),
            )
        })
        .collect();
    let linear = LayerKind::Linear;
    assert_eq!(
        found,
        [
            ("plain", linear, vec![3, 2]),
            ("ours", linear, vec![3, 2]),
            ("plain__4", linear, vec![4, 2]),
            ("ours__6", linear, vec![4, 2]),
        ]
    );
}

/// As in tch's own examples, whose layers are all made at the root.
#[test]
fn layers_that_share_a_path_are_told_apart() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let no_bias = nn::ConvConfig {
        bias: false,
        ..Default::default()
    };
    nn::conv2d(&root, 1, 32, 5, Default::default());
    nn::conv2d(&root, 32, 64, 5, no_bias);
    nn::batch_norm2d(&root, 64, Default::default());
    nn::linear(&root, 64, 64, Default::default());
    nn::batch_norm2d(&root, 64, Default::default());
    nn::layer_norm(&root, vec![64], Default::default());
    nn::lstm(&root, 64, 32, Default::default());
    nn::lstm(&root, 32, 8, Default::default());
    nn::linear(&root, 8, 10, Default::default());
    let token = root.var("token", &[3], nn::Init::Const(0.5));

    let layers = Walk::new().layers(&vs).unwrap();
    let found: Vec<(String, usize)> = layers
        .iter()
        .map(|layer| {
            let kind = layer.candidates().first();
            let kind = kind.map_or("none".to_owned(), ToString::to_string);
            (kind, layer.parameters().count() + layer.buffers().count())
        })
        .collect();
    let expected = [
        ("Conv2d", 2),
        ("Conv2d", 1),
        ("BatchNorm1d", 4),
        ("Linear", 2),
        ("BatchNorm1d", 4),
        ("LayerNorm", 2),
        ("LSTM", 4),
        ("LSTM", 4),
        ("Linear", 2),
        ("none", 1),
    ];
    assert_eq!(
        found,
        expected.map(|(kind, count)| (kind.to_owned(), count))
    );
    Walk::new().leave("token").reset_parameters(&vs).unwrap();
    assert_eq!(token.double_value(&[2]), 0.5);
}

#[test]
fn a_bias_that_follows_is_of_the_next_layer() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let no_bias = nn::ConvConfig {
        bias: false,
        ..Default::default()
    };
    nn::conv2d(vs.root(), 3, 10, 3, no_bias);
    // tch makes its bias first, under a name that is still free.
    nn::linear(vs.root(), 20, 10, Default::default());
    let layers = Walk::new().layers(&vs).unwrap();
    let shapes: Vec<_> = layers
        .iter()
        .map(|layer| {
            layer
                .parameters()
                .map(|(_, t)| t.size())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        shapes,
        [vec![vec![10, 3, 3, 3]], vec![vec![10, 20], vec![10]]]
    );
}

#[test]
fn a_name_that_only_looks_taken_is_the_callers() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    drop(vs.root().var("scale__2", &[3], nn::Init::Const(0.5)));
    let layers = Walk::new().layers(&vs).unwrap();
    assert_eq!(layers[0].path(), "");
    assert!(layers[0].variable("scale__2").is_some());
}

#[test]
fn what_would_start_differently_is_not_started_by_guess() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let embedding = nn::embedding(vs.root() / "words", 5, 3, Default::default());
    let before = bytes(&embedding.ws);
    assert_eq!(
        reset_parameters(&vs).unwrap_err(),
        VisitError::Ambiguous {
            path: "words".to_owned(),
            candidates: vec![LayerKind::Linear, LayerKind::Embedding],
        }
    );
    assert_eq!(bytes(&embedding.ws), before);
    manual_seed(0).unwrap();
    let mut walk = Walk::new().with_kind("words", LayerKind::Embedding);
    walk.reset_parameters(&vs).unwrap();
    manual_seed(0).unwrap();
    let expected = Tensor::zeros([5, 3], (Kind::Float, Device::Cpu)).normal_(0.0, 1.0);
    assert_eq!(bytes(&embedding.ws), bytes(&expected));
}

#[test]
fn every_kind_that_fits_can_be_started() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let slope = vs
        .root()
        .sub("act")
        .var("weight", &[1], nn::Init::Const(7.0));
    let mut walk = Walk::new().with_kind("act", LayerKind::PReLU);
    walk.reset_parameters(&vs).unwrap();
    assert_eq!(slope.double_value(&[0]), 0.25);
}

#[test]
fn variables_of_no_layer_are_listed_and_left_to_the_caller() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let token = vs.root().var("cls_token", &[1, 1, 8], nn::Init::Const(7.0));
    nn::linear(vs.root() / "fc", 8, 2, Default::default());
    let layers = Walk::new().layers(&vs).unwrap();
    assert_eq!(layers[0].path(), "");
    assert_eq!(layers[0].kind(), None);
    assert!(layers[0].candidates().is_empty());
    let unclaimed = VisitError::Unclaimed {
        variables: vec!["cls_token [1, 1, 8]".to_owned()],
    };
    assert_eq!(reset_parameters(&vs).unwrap_err(), unclaimed);
    let mut walk = Walk::new().leave("cls_token");
    walk.reset_parameters(&vs).unwrap();
    assert_eq!(token.double_value(&[0, 0, 3]), 7.0);
}

#[test]
fn tied_and_frozen_parameters_are_filled_like_the_others() {
    let _stream = default_stream();
    let mut vs = VarStore::new(Device::Cpu);
    let first = f_linear(vs.root() / "first", 3, 3, Default::default()).unwrap();
    drop((vs.root() / "tied").add("weight", first.ws.shallow_clone(), true));
    vs.freeze();
    assert_eq!(paths(&Walk::new(), &vs), ["first", "tied"]);
    // At its other place it is a weight without a bias.
    let mut walk = Walk::new().prefer(LayerKind::Linear);
    walk.apply(&vs, |layer| {
        init::constant_(layer.weight_mut().unwrap(), 2.0)
    })
    .unwrap();
    assert_eq!(first.ws.double_value(&[2, 2]), 2.0);
    assert!(!first.ws.requires_grad());
}

#[test]
fn kinds_survive_a_change_of_dtype_and_end_with_their_tensors() {
    let _stream = default_stream();
    let mut vs = VarStore::new(Device::Cpu);
    f_conv_transpose2d(vs.root() / "up", 8, 8, 2, Default::default()).unwrap();
    vs.set_kind(Kind::Double);
    let layers = Walk::new().layers(&vs).unwrap();
    assert_eq!(layers[0].kind(), Some(LayerKind::ConvTranspose2d));
    assert_eq!(layers[0].variable("weight").unwrap().kind(), Kind::Double);
}

#[test]
fn a_store_without_layers_is_a_typed_error() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    assert!(Walk::new().layers(&vs).unwrap().is_empty());
    let nothing = VisitError::NoLayers("no variables".to_owned());
    assert_eq!(reset_parameters(&vs).unwrap_err(), nothing);
    assert_eq!(apply(&vs, |_| Ok(())).unwrap_err(), nothing);

    drop(vs.root().var("token", &[3], nn::Init::Const(0.5)));
    assert_eq!(visited(&vs), [""]);
    assert_eq!(
        reset_parameters(&vs).unwrap_err().to_string(),
        "the VarStore has no layers of a known kind; it has token [3]"
    );
}

#[test]
fn what_pytorch_refuses_in_half_precision_is_a_typed_error() {
    let _stream = default_stream();
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Half);
    f_linear(vs.root() / "fc", 4, 4, Default::default()).unwrap();
    // LAPACK has no half precision.
    let error = apply(&vs, tch_init::recipe::weight_init2).unwrap_err();
    assert!(
        matches!(&error, VisitError::Layer { path, source: InitError::Libtorch { .. } } if path == "fc"),
        "{error}"
    );
    assert!(chain(&error).contains("orthogonal_"), "{error}");
    assert!("Lineal".parse::<LayerKind>().is_err());
}

#[test]
fn impossible_layers_are_typed_errors() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    for groups in [0, -1, 3] {
        let config = ConvConfig {
            groups,
            ..Default::default()
        };
        let error = f_conv2d(&root / "c", 4, 8, 3, config).unwrap_err();
        assert!(matches!(error, InitError::Channels { .. }), "{error}");
        let config = ConvTransposeConfig {
            groups,
            ..Default::default()
        };
        let error = f_conv_transpose2d(&root / "c", 4, 8, 3, config).unwrap_err();
        assert!(
            error.to_string().contains(&format!("groups = {groups}")),
            "{error}"
        );
    }
    let error = f_linear(&root / "l", 4, -2, Default::default()).unwrap_err();
    assert!(error.to_string().contains("[-2, 4]"), "{error}");
    let error = f_batch_norm2d(&root / "b", i64::MAX, Default::default()).unwrap_err();
    assert!(matches!(error, InitError::Libtorch { .. }), "{error}");

    let mut whole = VarStore::new(Device::Cpu);
    whole.set_kind(Kind::Int64);
    let error = f_linear(whole.root() / "l", 4, 2, Default::default()).unwrap_err();
    assert!(matches!(error, InitError::Libtorch { .. }), "{error}");
    assert!(
        vs.is_empty() && whole.is_empty(),
        "a failed layer leaves no variables"
    );
}

#[test]
fn a_walk_with_a_generator_draws_from_it_alone() {
    use tch_init::{Generator, Layer, get_rng_state, recipe};
    let _stream = default_stream();
    fn lstm_and_linear(vs: &VarStore) {
        nn::linear(vs.root() / "fc", 30, 20, Default::default());
        nn::lstm(vs.root() / "lstm", 8, 6, Default::default());
    }
    type Visitor = fn(&mut Layer<'_>) -> Result<(), tch_init::InitError>;
    let visitors: [Option<Visitor>; 4] = [
        None,
        Some(recipe::weight_init2),
        Some(recipe::lstm),
        Some(recipe::pytorch_default),
    ];
    for visitor in visitors {
        let [by_default, by_generator] = [(); 2].map(|()| VarStore::new(Device::Cpu));
        lstm_and_linear(&by_default);
        lstm_and_linear(&by_generator);
        let run = |mut walk: Walk<'_>, vs: &VarStore| match visitor {
            None => walk.reset_parameters(vs).unwrap(),
            Some(visitor) => {
                // Whatever the recipe leaves alone is the same on both sides.
                manual_seed(1).unwrap();
                Walk::new().reset_parameters(vs).unwrap();
                manual_seed(5).unwrap();
                walk.apply(vs, visitor).unwrap()
            }
        };
        manual_seed(5).unwrap();
        run(Walk::new(), &by_default);
        let after = get_rng_state().unwrap();

        manual_seed(5).unwrap();
        let untouched = get_rng_state().unwrap();
        let mut generator = Generator::new(Device::Cpu).unwrap();
        generator.manual_seed(5).unwrap();
        run(Walk::new().generator(&mut generator), &by_generator);
        assert_eq!(get_rng_state().unwrap(), untouched);
        assert_eq!(generator.get_state().unwrap(), after);
        let expected = by_default.variables();
        for (name, tensor) in by_generator.variables() {
            assert_eq!(tensor, expected[&name], "{name}");
        }
    }
}
