//! No walk ends in `Ok` with a variable left as tch drew it: layers that share a path are told apart,
//! and what no layer claims is an error that names it.

// The stores keep the variables that are made here.
#![allow(unused_must_use)]

use crate::common::{bytes, default_stream};
use tch::nn::{self, Init, Path, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::nn::LayerKind::{self, *};
use tch_init::{
    InitError, Layer, VisitError, Walk, apply, init, manual_seed, recipe, reset_parameters,
};

fn store(make: impl FnOnce(&Path<'_>)) -> VarStore {
    let vs = VarStore::new(Device::Cpu);
    make(&vs.root());
    vs
}

/// The kinds of the layers, `-` for variables of none, with the names of their variables.
fn layers(walk: &Walk<'_>, vs: &VarStore) -> Vec<String> {
    let layers = walk.layers(vs).unwrap();
    let describe = |layer: &Layer<'_>| {
        let kind = layer.candidates().first().map_or("-", |kind| kind.name());
        let names = layer.parameters().chain(layer.buffers());
        let names: Vec<&str> = names.map(|(name, _)| name).collect();
        format!("{kind}({})", names.join(" "))
    };
    layers.iter().map(describe).collect()
}

fn no_bias() -> nn::LinearConfig {
    nn::LinearConfig {
        bias: false,
        ..Default::default()
    }
}

fn conv_no_bias() -> nn::ConvConfig {
    nn::ConvConfig {
        bias: false,
        ..Default::default()
    }
}

/// The names of the variables that a walk reports as of no layer.
fn unclaimed(result: Result<(), VisitError>) -> Vec<String> {
    match result {
        Err(VisitError::Unclaimed { variables }) => variables,
        other => panic!("{other:?}"),
    }
}

#[test]
fn families_of_names_at_one_path_are_layers_of_their_own() {
    let _stream = default_stream();
    let walk = Walk::new();
    let lstm = "LSTM(weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0)";
    // char-rnn.
    let vs = store(|p| {
        nn::lstm(p, 5, 4, Default::default());
        nn::linear(p, 4, 5, Default::default());
    });
    assert_eq!(layers(&walk, &vs), [lstm, "Linear(weight bias)"]);
    reset_parameters(&vs).unwrap();
    // The encoder of translation.
    let vs = store(|p| {
        nn::gru(p, 4, 4, Default::default());
        nn::embedding(p, 9, 4, Default::default());
    });
    let walk = Walk::new().prefer(Embedding);
    let gru = lstm.replace("LSTM", "GRU");
    assert_eq!(layers(&walk, &vs), [gru.as_str(), "Embedding(weight)"]);
    // Its decoder, with an output as wide as the embedding's table is long.
    let vs = store(|p| {
        nn::embedding(p, 10, 4, Default::default());
        nn::gru(p, 4, 4, Default::default());
        nn::linear(p, 8, 10, Default::default());
        nn::linear(p, 8, 4, Default::default());
        nn::linear(p, 4, 10, Default::default());
    });
    let linear = "Linear(weight bias)";
    assert_eq!(
        layers(&walk, &vs),
        ["Embedding(weight)", gru.as_str(), linear, linear, linear]
    );
    // Without the gru between them, tch's order tells: a linear layer's bias is made first.
    let vs = store(|p| {
        nn::embedding(p, 10, 4, Default::default());
        nn::linear(p, 4, 10, Default::default());
    });
    assert_eq!(layers(&walk, &vs), ["Embedding(weight)", linear]);
    // Layers of one's own, weight first.
    let vs = store(|p| {
        for _ in 0..2 {
            p.randn("weight", &[4, 4], 0.0, 0.02);
            p.zeros("bias", &[4]);
        }
    });
    assert_eq!(layers(&walk, &vs), [linear, linear]);
    // Statistics without parameters beside a linear layer.
    let vs = store(|p| {
        nn::linear(p, 4, 4, Default::default());
        let config = nn::BatchNormConfig {
            affine: false,
            ..Default::default()
        };
        nn::batch_norm1d(p, 4, config);
    });
    assert_eq!(
        layers(&walk, &vs),
        [linear, "BatchNorm1d(running_mean running_var)"]
    );
    // Cells and layers.
    let vs = store(|p| {
        for (name, shape) in [("weight_ih", [12, 3]), ("weight_hh", [12, 4])] {
            p.var(name, &shape, Init::Const(0.0));
        }
        nn::gru(p, 3, 4, Default::default());
        nn::gru(p, 4, 4, Default::default());
    });
    let cell = "GRUCell(weight_ih weight_hh)";
    assert_eq!(layers(&walk, &vs), [cell, gru.as_str(), gru.as_str()]);
}

#[test]
fn statistics_go_to_the_norm_that_they_were_made_for() {
    let _stream = default_stream();
    let norm = "BatchNorm1d(weight bias running_mean running_var)";
    let vs = store(|p| {
        nn::layer_norm(p, vec![4], Default::default());
        nn::batch_norm1d(p, 4, Default::default());
        nn::layer_norm(p, vec![4], Default::default());
        nn::linear(p, 4, 4, Default::default());
        nn::batch_norm1d(p, 4, Default::default());
        nn::layer_norm(p, vec![4], Default::default());
    });
    let found = layers(&Walk::new(), &vs);
    let other = "LayerNorm(weight bias)";
    assert_eq!(
        found,
        [other, norm, other, "Linear(weight bias)", norm, other]
    );
    let vs = store(|p| {
        nn::conv2d(p, 3, 8, 3, conv_no_bias());
        nn::batch_norm2d(p, 8, Default::default());
        nn::conv2d(p, 8, 8, 3, conv_no_bias());
        nn::batch_norm2d(p, 8, Default::default());
    });
    let conv = "Conv2d(weight)";
    assert_eq!(layers(&Walk::new(), &vs), [conv, norm, conv, norm]);
}

#[test]
fn what_no_layer_claims_is_an_error_that_names_it() {
    let _stream = default_stream();
    type Program = fn(&Path<'_>);
    let cases: [(&[&str], Program); 14] = [
        (&["fc.gamma [2]"], |p| {
            nn::linear(p / "fc", 4, 2, Default::default());
            (p / "fc").ones("gamma", &[2]);
        }),
        (&["fc.lora_a [1, 4]", "fc.lora_b [2, 1]"], |p| {
            nn::linear(p / "fc", 4, 2, Default::default());
            (p / "fc").randn("lora_a", &[1, 4], 0.0, 1.0);
            (p / "fc").zeros("lora_b", &[2, 1]);
        }),
        (&["cls_token [1, 1, 8]"], |p| {
            p.randn("cls_token", &[1, 1, 8], 0.0, 1.0);
        }),
        // Part of a family.
        (&["rnn.weight_ih_l0 [8, 3]", "rnn.bias_ih_l0 [8]"], |p| {
            (p / "rnn").randn("weight_ih_l0", &[8, 3], 0.0, 1.0);
            (p / "rnn").zeros("bias_ih_l0", &[8]);
        }),
        (
            &["bn.weight [4]", "bn.bias [4]", "bn.running_mean [4]"],
            |p| {
                (p / "bn").ones("weight", &[4]);
                (p / "bn").zeros("bias", &[4]);
                (p / "bn").zeros_no_train("running_mean", &[4]);
            },
        ),
        // Shapes that fit no layer: a transposed weight, vectors.
        (&["c.weight [4, 6]", "c.bias [6]"], |p| {
            (p / "c").randn("weight", &[4, 6], 0.0, 1.0);
            (p / "c").zeros("bias", &[6]);
        }),
        (&["scale.weight [4]"], |p| {
            (p / "scale").ones("weight", &[4]);
        }),
        (&["fc2.bias [4]"], |p| {
            (p / "fc2").ones("bias", &[4]);
        }),
        // Weight and spectral normalization.
        (
            &["n.weight_g [4, 1]", "n.weight_v [4, 3]", "n.bias [4]"],
            |p| {
                (p / "n").randn("weight_g", &[4, 1], 0.0, 1.0);
                (p / "n").randn("weight_v", &[4, 3], 0.0, 1.0);
                (p / "n").zeros("bias", &[4]);
            },
        ),
        (
            &["s.bias [4]", "s.weight_orig [4, 3]", "s.weight_u [4]"],
            |p| {
                (p / "s").zeros("bias", &[4]);
                (p / "s").randn("weight_orig", &[4, 3], 0.0, 1.0);
                (p / "s").add("weight_u", Tensor::randn([4], tch::kind::FLOAT_CPU), false);
            },
        ),
        // Weights that are not trained.
        (&["t.bias [2]", "t.weight [2, 4]"], |p| {
            (p / "t").zeros("bias", &[2]);
            (p / "t").add("weight", Tensor::randn([2, 4], tch::kind::FLOAT_CPU), false);
        }),
        (&["q.weight [2, 4]"], |p| {
            let weight = Tensor::ones([2, 4], (Kind::Int8, Device::Cpu));
            (p / "q").add("weight", weight, false);
        }),
        // A buffer of the caller's.
        (&["attn.mask [4, 4]"], |p| {
            nn::linear(p / "attn", 4, 2, Default::default());
            (p / "attn").ones_no_train("mask", &[4, 4]);
        }),
        // Names that were taken.
        (&["gamma [3]", "gamma__1 [3]"], |p| {
            p.ones("gamma", &[3]);
            p.ones("gamma", &[3]);
        }),
    ];
    for (expected, make) in cases {
        let vs = store(|p| {
            make(p);
            nn::linear(p / "last", 3, 3, Default::default());
        });
        let before: Vec<_> = vs.trainable_variables().iter().map(bytes).collect();
        assert_eq!(unclaimed(reset_parameters(&vs)), expected);
        let all = Walk::new().require_all().layers(&vs).map(|_| ());
        assert_eq!(unclaimed(all), expected);
        let mut calls = 0;
        let visit = Walk::new().require_all().apply(&vs, |_| {
            calls += 1;
            Ok(())
        });
        assert_eq!(
            (unclaimed(visit), calls),
            (expected.iter().map(|s| s.to_string()).collect(), 0)
        );
        let after: Vec<_> = vs.trainable_variables().iter().map(bytes).collect();
        assert_eq!(before, after, "{expected:?}: nothing is drawn");
        // A visitor of one's own may leave what it likes.
        apply(&vs, |_| Ok(())).unwrap();
        // The caller claims each by its name.
        let walk = expected.iter().fold(Walk::new(), |walk, variable| {
            walk.leave(variable.split(' ').next().unwrap())
        });
        let mut walk = walk.prefer(Linear);
        walk.reset_parameters(&vs).unwrap();
    }
}

#[test]
fn recipes_name_what_they_leave_that_is_of_no_layer() {
    let _stream = default_stream();
    type Visitor = Box<dyn FnMut(&mut Layer<'_>) -> Result<(), InitError>>;
    let recipes: Vec<Visitor> = vec![
        Box::new(recipe::weight_init),
        Box::new(recipe::weight_init2),
        Box::new(recipe::pytorch_default),
        Box::new(recipe::xavier_uniform),
        Box::new(recipe::xavier_normal),
        Box::new(recipe::kaiming_fan_in),
        Box::new(recipe::kaiming_fan_out),
        Box::new(recipe::orthogonal),
        Box::new(recipe::dcgan),
        Box::new(recipe::resnet(true)),
        Box::new(recipe::vit),
        Box::new(recipe::gpt2(2, 0.02)),
        Box::new(recipe::bert(0.02, None)),
        Box::new(recipe::lstm),
    ];
    let vs = store(|p| {
        nn::linear(p / "fc", 4, 2, Default::default());
        (p / "fc").ones("gamma", &[2]);
        p.randn("token", &[3], 0.0, 1.0);
    });
    for mut recipe in recipes {
        let result = Walk::new().apply(&vs, &mut recipe);
        assert_eq!(unclaimed(result), ["fc.gamma [2]", "token [3]"]);
        let mut walk = Walk::new().leave("*gamma").leave("token");
        walk.apply(&vs, recipe).unwrap();
    }
    // What a recipe fills, it claims.
    let vs = store(|p| {
        p.ones("class_token", &[1, 1, 4]);
        (p / "encoder").ones("pos_embedding", &[1, 4, 4]);
    });
    apply(&vs, recipe::vit).unwrap();
    let vs = store(|p| drop((p / "cls" / "predictions").ones("bias", &[4])));
    apply(&vs, recipe::bert(0.02, None)).unwrap();
    assert_eq!(
        unclaimed(apply(&vs, recipe::vit)),
        ["cls.predictions.bias [4]"]
    );
}

#[test]
fn a_layer_of_no_known_kind_is_not_reset() {
    let _stream = default_stream();
    let vs = store(|p| drop(p.ones("token", &[3])));
    let error = apply(&vs, |layer| layer.reset_parameters()).unwrap_err();
    let VisitError::Layer { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(source, InitError::UnknownLayer { .. }), "{source}");
    assert!(source.to_string().contains("token [3]"), "{source}");
}

#[test]
fn a_glob_leaves_variables_to_the_caller() {
    let _stream = default_stream();
    let vs = store(|p| {
        nn::linear(p / "backbone" / "fc", 4, 4, Default::default());
        nn::batch_norm1d(p / "backbone" / "bn", 4, Default::default());
        nn::linear(p / "head", 4, 2, Default::default());
    });
    let before = bytes(&vs.variables()["backbone.fc.weight"]);
    manual_seed(3).unwrap();
    // As in `--only`: a star also matches dots.
    let mut walk = Walk::new().leave("backbone.*");
    walk.reset_parameters(&vs).unwrap();
    assert_eq!(bytes(&vs.variables()["backbone.fc.weight"]), before);
    let mut seen = Vec::new();
    walk.apply(&vs, |layer| {
        seen.push(layer.path().to_owned());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, ["head"]);
    // Nothing was drawn for them.
    let alone = store(|p| drop(nn::linear(p / "head", 4, 2, Default::default())));
    manual_seed(3).unwrap();
    reset_parameters(&alone).unwrap();
    for name in ["head.weight", "head.bias"] {
        assert_eq!(
            bytes(&vs.variables()[name]),
            bytes(&alone.variables()[name])
        );
    }

    let error = Walk::new().leave("haed.*").layers(&vs).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, VisitError::NothingToLeave { .. }), "{text}");
    assert!(
        text.contains("\"haed.*\"") && text.contains("head.bias"),
        "{text}"
    );
    let error = Walk::new().leave("head[").layers(&vs).unwrap_err();
    assert!(matches!(error, VisitError::Glob { .. }), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn kinds_are_set_by_path_or_by_a_variable() {
    let _stream = default_stream();
    let vs = store(|p| {
        nn::lstm(p, 5, 4, Default::default());
        nn::linear(p, 4, 5, Default::default());
        nn::embedding(p, 5, 4, Default::default());
        nn::embedding(p, 5, 4, Default::default());
    });
    let error = reset_parameters(&vs).unwrap_err();
    assert!(
        error.to_string().contains("`Walk::with_kind(\"__6\", ..)`"),
        "{error}"
    );
    for walk in [
        Walk::new()
            .with_kind("", LSTM)
            .with_kind("", Linear)
            .prefer(Embedding),
        Walk::new()
            .with_kind("weight__6", Embedding)
            .with_kind("weight__7", Embedding),
    ] {
        let found = layers(&walk, &vs);
        assert_eq!(
            found[1..],
            [
                "Linear(weight bias)",
                "Embedding(weight)",
                "Embedding(weight)"
            ]
        );
    }
    let error = Walk::new().with_kind("", Conv2d).layers(&vs).unwrap_err();
    assert!(matches!(error, VisitError::Contradiction { .. }), "{error}");

    // Two layers of one path could be meant.
    let vs = store(|p| {
        nn::embedding(p, 7, 4, Default::default());
        nn::gru(p, 4, 4, Default::default());
        nn::linear(p / "a", 4, 4, no_bias());
    });
    let found = layers(
        &Walk::new().with_kind("", Embedding).with_kind("a", Linear),
        &vs,
    );
    assert_eq!(found[0], "Embedding(weight)");
    // A kind that is never inferred, beside a variable of one's own.
    let vs = store(|p| {
        (p / "act").ones("weight", &[1]);
        (p / "act").ones("gamma", &[1]);
    });
    let mut walk = Walk::new().with_kind("act", PReLU).leave("act.gamma");
    walk.reset_parameters(&vs).unwrap();
    assert_eq!(vs.variables()["act.weight"].double_value(&[0]), 0.25);
    let walk = Walk::new().with_kind("act", PReLU);
    assert_eq!(layers(&walk, &vs), ["PReLU(weight)", "-(gamma)"]);
}

#[test]
fn a_trainable_variable_without_a_name_is_reported() {
    let _stream = default_stream();
    // tch gives the second layer's bias the name that the caller took, so one loses its name.
    let vs = store(|p| {
        nn::linear(p, 4, 2, Default::default());
        p.ones("bias__3", &[7]);
        nn::linear(p, 4, 2, Default::default());
    });
    let error = reset_parameters(&vs).unwrap_err();
    assert!(error.to_string().contains("[7]"), "{error}");
}

#[test]
fn a_tied_weight_keeps_what_its_first_layer_draws() {
    let _stream = default_stream();
    let tied = store(|p| {
        let embedding = nn::embedding(p / "emb", 6, 4, Default::default());
        nn::linear(p / "mid", 4, 4, Default::default());
        let head = p / "head";
        head.zeros("bias", &[6]);
        let _tied = head.add("weight", embedding.ws, true);
    });
    let apart = store(|p| {
        nn::embedding(p / "emb", 6, 4, Default::default());
        nn::linear(p / "mid", 4, 4, Default::default());
        nn::linear(p / "head", 4, 6, Default::default());
    });
    for vs in [&tied, &apart] {
        manual_seed(1).unwrap();
        Walk::new().prefer(Embedding).reset_parameters(vs).unwrap();
    }
    let (tied, apart) = (tied.variables(), apart.variables());
    for name in ["emb.weight", "mid.weight", "mid.bias", "head.bias"] {
        assert_eq!(bytes(&tied[name]), bytes(&apart[name]), "{name}");
    }
    assert_eq!(bytes(&tied["head.weight"]), bytes(&apart["emb.weight"]));
}

#[test]
fn an_ambiguous_layer_needs_no_kind_where_a_visitor_treats_its_kinds_alike() {
    let _stream = default_stream();
    let plain = |p: &Path<'_>| {
        nn::conv2d(p / "conv", 4, 8, 3, Default::default());
        nn::conv_transpose2d(p / "up", 8, 8, 2, Default::default());
        nn::batch_norm2d(p / "bn", 8, Default::default());
        nn::linear(p / "fc", 8, 2, Default::default());
    };
    type Visitor = fn(&mut Layer<'_>) -> Result<(), InitError>;
    let alike: [Visitor; 6] = [
        recipe::weight_init2,
        recipe::dcgan,
        recipe::xavier_uniform,
        recipe::orthogonal,
        recipe::pytorch_default,
        |layer| match layer.weight_mut() {
            Some(weight) => init::normal_(weight, 0.0, 1.0, None),
            None => Ok(()),
        },
    ];
    for visitor in alike {
        let (ambiguous, settled) = (store(plain), store(plain));
        for vs in [&ambiguous, &settled] {
            manual_seed(2).unwrap();
            reset_parameters(vs).unwrap();
        }
        manual_seed(5).unwrap();
        apply(&ambiguous, visitor).unwrap();
        let state = tch_init::get_rng_state().unwrap();
        manual_seed(5).unwrap();
        let mut walk = Walk::new()
            .with_kind("up", ConvTranspose2d)
            .prefer(Conv2d)
            .prefer(BatchNorm2d);
        walk.apply(&settled, visitor).unwrap();
        assert_eq!(tch_init::get_rng_state().unwrap(), state);
        let settled = settled.variables();
        for (name, tensor) in ambiguous.variables() {
            assert_eq!(bytes(&tensor), bytes(&settled[&name]), "{name}");
        }
    }
}

#[test]
fn an_ambiguous_layer_that_a_visitor_treats_differently_stays_as_it_was() {
    let _stream = default_stream();
    let vs = store(|p| drop(nn::conv2d(p / "conv", 4, 8, 3, Default::default())));
    manual_seed(5).unwrap();
    let state = tch_init::get_rng_state().unwrap();
    let before: Vec<_> = vs.trainable_variables().iter().map(bytes).collect();
    let error = apply(&vs, recipe::weight_init).unwrap_err();
    let VisitError::Ambiguous { path, candidates } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (path.as_str(), &candidates[..]),
        ("conv", &[Conv2d, ConvTranspose2d][..])
    );
    let after: Vec<_> = vs.trainable_variables().iter().map(bytes).collect();
    assert_eq!(before, after);
    assert_eq!(tch_init::get_rng_state().unwrap(), state);
    // The same with a generator of one's own, by name, and by an error for one of the kinds.
    let mut generator = tch_init::Generator::new(Device::Cpu).unwrap();
    let state = generator.get_state().unwrap();
    let mut walk = Walk::new().generator(&mut generator);
    assert!(matches!(
        walk.apply(&vs, recipe::weight_init),
        Err(VisitError::Ambiguous { .. })
    ));
    assert_eq!(generator.get_state().unwrap(), state);
    let only_conv = |layer: &mut Layer<'_>| match layer.kind() {
        Some(Conv2d) => Ok(()),
        _ => init::dirac_(layer.bias_mut().unwrap(), 1),
    };
    assert!(matches!(
        apply(&vs, only_conv),
        Err(VisitError::Ambiguous { .. })
    ));
    // An error that all kinds give is the visitor's.
    let neither = |layer: &mut Layer<'_>| match layer.kind() {
        Some(_) => init::dirac_(layer.bias_mut().unwrap(), 1),
        None => Ok(()),
    };
    assert!(matches!(apply(&vs, neither), Err(VisitError::Layer { .. })));
}

#[test]
fn a_visitor_that_does_not_ask_for_the_kind_sees_each_layer_once() {
    let _stream = default_stream();
    let vs = store(|p| {
        nn::conv2d(p / "conv", 4, 8, 3, Default::default());
        nn::embedding(p / "emb", 4, 8, Default::default());
    });
    let mut seen = Vec::new();
    apply(&vs, |layer| {
        seen.push(layer.path().to_owned());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, ["conv", "emb"]);
}

#[test]
fn a_recording_has_the_draws_of_an_ambiguous_layer_once() {
    let _stream = default_stream();
    let mut vs = VarStore::new(Device::Cpu);
    let config = nn::ConvConfig {
        ws_init: Init::Const(0.5),
        bs_init: Init::Const(0.5),
        ..Default::default()
    };
    let conv = nn::conv2d(vs.root() / "conv", 4, 8, 3, config);
    let (visited, plan) =
        tch_init::plan::record("conv", &vs, || apply(&vs, recipe::xavier_uniform)).unwrap();
    visited.unwrap();
    let mut generator = tch_init::Generator::new(Device::Cpu).unwrap();
    generator.manual_seed(1).unwrap();
    tch_init::plan::materialize_into(&plan, &mut vs, &mut generator).unwrap();
    let recorded = bytes(&conv.ws);
    let state = generator.get_state().unwrap();
    generator.manual_seed(1).unwrap();
    let mut walk = Walk::new().generator(&mut generator);
    walk.apply(&vs, recipe::xavier_uniform).unwrap();
    assert_eq!(
        (bytes(&conv.ws), generator.get_state().unwrap()),
        (recorded, state)
    );
    let different = tch_init::plan::record("conv", &vs, || apply(&vs, recipe::weight_init));
    let (visited, _) = different.unwrap();
    assert!(matches!(visited, Err(VisitError::Ambiguous { .. })));
}

#[test]
fn half_kinds_and_frozen_stores_are_reset() {
    let _stream = default_stream();
    for kind in [Kind::Half, Kind::BFloat16, Kind::Double] {
        let mut vs = store(|p| {
            nn::lstm(p, 5, 4, Default::default());
            nn::linear(p, 4, 5, Default::default());
        });
        vs.set_kind(kind);
        vs.freeze();
        let before = vs
            .variables()
            .into_iter()
            .map(|(name, t)| (name, bytes(&t)));
        let before: Vec<(String, Vec<u8>)> = before.collect();
        reset_parameters(&vs).unwrap();
        for (name, before) in before {
            assert_ne!(bytes(&vs.variables()[&name]), before, "{name}");
        }
    }
}

#[test]
fn layers_of_this_crate_are_known_after_a_merge() {
    use tch_init::nn as drop_in;
    let _stream = default_stream();
    let make = |p: &Path<'_>| {
        drop_in::bilinear(p / "bilinear", 3, 4, 5, Default::default()).unwrap();
        drop_in::conv_transpose2d(p / "up", 4, 4, 2, Default::default());
        let config = drop_in::EmbeddingConfig {
            padding_idx: 1,
            ..Default::default()
        };
        drop_in::embedding(p / "words", 6, 4, config);
        drop_in::prelu(p / "act", Default::default()).unwrap();
        drop_in::multihead_attention(p / "attention", 8, 2, Default::default()).unwrap();
        drop_in::batch_norm2d(p / "bn", 4, Default::default());
        drop_in::linear(p, 4, 2, Default::default());
        drop_in::linear(p, 2, 3, Default::default());
    };
    let (alone, first, second) = (store(make), store(make), store(make));
    let merged = VarStore::merge(vec![(first, Some("a.")), (second, Some("b.c."))]).unwrap();
    let kinds = |vs: &VarStore| {
        let layers = Walk::new().require_all().layers(vs).unwrap();
        layers
            .iter()
            .map(|layer| (layer.path().to_owned(), layer.kind().unwrap()))
            .collect::<Vec<_>>()
    };
    let (expected, found) = (kinds(&alone), kinds(&merged));
    let below = |prefix: &str| -> Vec<_> {
        let path = |path: &str| match path {
            "" => prefix.to_owned(),
            path if path.starts_with("__") => format!("{prefix}{path}"),
            path => format!("{prefix}.{path}"),
        };
        expected
            .iter()
            .map(|(name, kind)| (path(name), *kind))
            .collect()
    };
    assert_eq!(found, [below("a"), below("b.c")].concat());
    manual_seed(4).unwrap();
    reset_parameters(&merged).unwrap();
    manual_seed(4).unwrap();
    reset_parameters(&alone).unwrap();
    let merged = merged.variables();
    for (name, tensor) in alone.variables() {
        assert_eq!(
            bytes(&merged[&format!("a.{name}")]),
            bytes(&tensor),
            "{name}"
        );
    }
    assert_eq!(
        merged["b.c.words.weight"]
            .get(1)
            .abs()
            .max()
            .double_value(&[]),
        0.0
    );
}

/// Odd programs of plain tch: legal, and each read or refused, never left as tch drew it.
#[test]
fn odd_programs_are_read_or_refused() {
    let _stream = default_stream();
    type Make = fn(&Path<'_>);
    // The names that are refused; none if all is read.
    let programs: [(&str, Make, &[&str]); 12] = [
        (
            "one path twice",
            |p| {
                nn::linear(p / "fc", 3, 3, Default::default());
                nn::linear(p / "fc", 3, 3, Default::default());
            },
            &[],
        ),
        (
            "a name like tch's numbers",
            |p| {
                nn::linear(p / "fc__2", 3, 3, Default::default());
                nn::linear(p / "fc", 3, 3, Default::default());
                nn::linear(p / "fc", 3, 3, Default::default());
            },
            &[],
        ),
        (
            "an empty component",
            |p| {
                nn::linear(p / "", 3, 3, Default::default());
                nn::linear(p / "" / "", 3, 3, Default::default());
            },
            &[],
        ),
        (
            "a parameter between layers of a path",
            |p| {
                nn::linear(p, 3, 3, Default::default());
                p.randn("scale", &[3], 0.0, 1.0);
                nn::linear(p, 3, 3, Default::default());
            },
            &["scale [3]"],
        ),
        (
            "a bias of the caller's at the path of layers",
            |p| {
                p.randn("bias", &[7], 0.0, 1.0);
                nn::linear(p, 3, 3, Default::default());
            },
            &["bias [7]"],
        ),
        (
            "a variable without dimensions",
            |p| {
                nn::linear(p, 3, 3, Default::default());
                p.var("temperature", &[], Init::Const(1.0));
            },
            &["temperature []"],
        ),
        (
            "a group of its own",
            |p| {
                nn::linear(p.set_group(1) / "fc", 3, 3, Default::default());
            },
            &[],
        ),
        (
            "entries",
            |p| {
                p.entry("weight").or_kaiming_uniform(&[4, 3]);
                p.entry("bias").or_zeros(&[4]);
                p.entry("bias").or_zeros(&[4]);
            },
            &[],
        ),
        (
            "an average of weights",
            |p| {
                let fc = nn::linear(p / "fc", 3, 3, Default::default());
                (p / "ema").add("weight", fc.ws.copy(), false);
                (p / "ema").add("bias", fc.bs.unwrap().copy(), false);
            },
            &["ema.bias [3]", "ema.weight [3, 3]"],
        ),
        (
            "a recurrent layer with a part of another",
            |p| {
                nn::gru(p, 3, 3, Default::default());
                p.randn("weight_ih_l0", &[9, 3], 0.0, 1.0);
            },
            &["weight_ih_l0__4 [9, 3]"],
        ),
        (
            "a layer below a layer",
            |p| {
                nn::linear(p / "fc", 3, 3, Default::default());
                nn::conv2d(p / "fc" / "inner", 3, 3, 1, Default::default());
            },
            &[],
        ),
        (
            "no elements",
            |p| {
                nn::linear(p / "fc", 3, 0, Default::default());
            },
            &[],
        ),
    ];
    for (name, make, refused) in programs {
        let vs = store(make);
        match Walk::new().reset_parameters(&vs) {
            Ok(()) => assert!(refused.is_empty(), "{name}"),
            result => {
                let expected: Vec<String> = refused.iter().map(|name| (*name).to_owned()).collect();
                assert_eq!(unclaimed(result), expected, "{name}");
            }
        }
    }
}

/// A layer that a random program made: its kind and its parameters by their names in the store.
type Made = (LayerKind, Vec<String>);

/// Makes random layers of plain tch at few paths and of few sizes, so that names and shapes collide; the same layers by
/// this crate, each at its own path; and the truth about both.
fn random_program(seed: u64, plain: &Path<'_>, ours: &Path<'_>, vs: &VarStore) -> Vec<Made> {
    use tch_init::nn as drop_in;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut made = Vec::new();
    for layer in 0..1 + random(9) {
        let path = match random(6) {
            0..4 => plain.clone(),
            4 => plain / "a",
            _ => plain / "a" / "b",
        };
        let own = ours / format!("layer{layer}");
        let [i, o] = [2 + 2 * random(2) as i64, 2 + 2 * random(2) as i64];
        let before = vs.trainable_variables().len();
        let bias = random(2) == 0;
        let linear = nn::LinearConfig {
            bias,
            ..Default::default()
        };
        let our_linear = drop_in::LinearConfig {
            bias,
            ..Default::default()
        };
        let conv = if bias {
            nn::ConvConfig::default()
        } else {
            conv_no_bias()
        };
        let our_conv = if bias {
            drop_in::ConvConfig::default()
        } else {
            drop_in::no_bias()
        };
        let recurrent = nn::RNNConfig {
            has_biases: bias,
            num_layers: i / 2,
            bidirectional: o == 4,
            ..Default::default()
        };
        let our_recurrent = drop_in::RNNConfig {
            has_biases: bias,
            num_layers: i / 2,
            bidirectional: o == 4,
            ..Default::default()
        };
        let kind = match random(10) {
            0 | 1 => {
                nn::linear(&path, i, o, linear);
                drop_in::linear(&own, i, o, our_linear);
                Linear
            }
            2 => {
                nn::embedding(&path, i, o, Default::default());
                drop_in::embedding(&own, i, o, Default::default());
                Embedding
            }
            3 => {
                nn::conv1d(&path, i, o, 3, conv);
                drop_in::conv1d(&own, i, o, 3, our_conv);
                Conv1d
            }
            4 => {
                nn::layer_norm(&path, vec![o], Default::default());
                drop_in::layer_norm(&own, vec![o], Default::default());
                LayerNorm
            }
            5 => {
                nn::layer_norm(&path, vec![o, o], Default::default());
                drop_in::layer_norm(&own, vec![o, o], Default::default());
                LayerNorm
            }
            6 | 7 => {
                let config = nn::BatchNormConfig {
                    affine: i == 2,
                    ..Default::default()
                };
                nn::batch_norm1d(&path, o, config);
                BatchNorm1d
            }
            8 => {
                nn::lstm(&path, i, o, recurrent);
                drop_in::lstm(&own, i, o, our_recurrent);
                LSTM
            }
            _ => {
                nn::gru(&path, i, o, recurrent);
                drop_in::gru(&own, i, o, our_recurrent);
                GRU
            }
        };
        let named = vs.variables();
        let new = vs.trainable_variables().split_off(before);
        let name = |tensor: &Tensor| {
            let mut names = named.iter();
            let same = names.find(|(_, known)| known.data_ptr() == tensor.data_ptr());
            same.unwrap().0.clone()
        };
        let mut names: Vec<String> = new.iter().map(name).collect();
        names.sort();
        made.push((kind, names));
    }
    made
}

#[test]
fn random_programs_of_tch_are_read_as_they_were_written() {
    let _stream = default_stream();
    let programs = 1500;
    for seed in 0..programs {
        let (vs, ours) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
        let made = random_program(seed, &vs.root(), &ours.root(), &vs);
        if !ours.is_empty() {
            manual_seed(seed as i64).unwrap();
            reset_parameters(&ours).unwrap();
        }
        let expected: Vec<Vec<u8>> = ours.trainable_variables().iter().map(bytes).collect();
        let named = vs.variables();
        let name_of = |tensor: &Tensor| {
            let mut names = named.iter();
            let same = names.find(|(_, known)| known.data_ptr() == tensor.data_ptr());
            same.unwrap().0.clone()
        };
        let found = Walk::new().require_all().layers(&vs).unwrap();
        let mut walk = Walk::new();
        for (kind, names) in &made {
            let Some(first) = names.first() else { continue };
            let layer = found.iter().find(|layer| {
                let mut known: Vec<String> = layer.parameters().map(|(_, t)| name_of(t)).collect();
                known.sort();
                known == *names
            });
            let layer = layer.unwrap_or_else(|| panic!("program {seed}: {made:?} as {found:?}"));
            // A norm with statistics and one without can have the same names.
            if !matches!(kind, LayerNorm | BatchNorm1d) {
                assert!(
                    layer.candidates().contains(kind),
                    "program {seed}: {made:?}"
                );
                walk = walk.with_kind(first, *kind);
            }
        }
        manual_seed(seed as i64).unwrap();
        let before = vs.trainable_variables().len();
        match walk.reset_parameters(&vs) {
            // Statistics alone, or nothing.
            Err(VisitError::NoLayers(_)) => assert_eq!(before, 0),
            result => result.unwrap(),
        }
        let variables = vs.variables();
        let mut made_by_tch: Vec<Vec<u8>> = Vec::new();
        for (kind, names) in &made {
            // This program made the drop-in's layers of all kinds but one, whose parameters are constants.
            if *kind == BatchNorm1d {
                for name in names {
                    let value = if name.contains("weight") { 1.0 } else { 0.0 };
                    assert!(
                        Vec::<f32>::try_from(&variables[name])
                            .unwrap()
                            .iter()
                            .all(|v| *v == value)
                    );
                }
                continue;
            }
            made_by_tch.extend(names.iter().map(|name| bytes(&variables[name])));
        }
        let mut expected = expected;
        // Within a layer the two make their variables in different orders.
        expected.sort();
        made_by_tch.sort();
        assert_eq!(made_by_tch, expected, "program {seed}: {made:?}");
    }
}
