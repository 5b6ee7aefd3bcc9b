//! The experiment, and layers as PyTorch makes them and as visitors leave them.

#[path = "../../src/cli/experiment.rs"]
#[allow(dead_code)]
mod experiment;

use crate::common::reference::{expected, first_difference};
use crate::common::{bytes, default_stream};
use experiment::{Experiment, Run};
use serde_json::{Value, json};
use tch::nn::{Path, VarStore};
use tch::{Device, Kind};
use tch_init::nn::*;
use tch_init::recipe::{weight_init, weight_init2};
use tch_init::{InitError, Walk, get_rng_state, manual_seed};

const SEEDS: [i64; 5] = [0, 1, 42, -7, (1 << 40) + 3];

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn the_experiment_is_pytorchs() {
    let mut runs = Vec::new();
    for seed in SEEDS {
        for input_size in [1, 4, 7, 784] {
            runs.push((seed, input_size, true));
            runs.push((seed, input_size, false));
        }
    }
    let cases: Vec<Value> = runs
        .iter()
        .map(|(seed, input_size, bias)| {
            json!({ "kind": "experiment", "seed": seed, "input_size": input_size, "bias": bias })
        })
        .collect();
    let expected = expected(&cases);
    let _stream = default_stream();
    for ((seed, input_size, bias), expected) in runs.into_iter().zip(expected) {
        let experiment = Experiment::run(seed, input_size, bias, Device::Cpu).unwrap();
        let mut chunks = vec![bytes(&experiment.input)];
        for run in [&experiment.xavier, &experiment.orthogonal] {
            chunks.push(bytes(&run.output));
            chunks.extend(state_dict(run));
        }
        chunks.push(get_rng_state().unwrap());
        assert_eq!(
            first_difference(&chunks, &expected.chunks),
            None,
            "seed {seed}, input size {input_size}, bias {bias}"
        );
    }
}

fn state_dict(run: &Run) -> Vec<Vec<u8>> {
    [&run.net.fc1, &run.net.fc2, &run.net.fc3]
        .into_iter()
        .flat_map(|fc| [Some(&fc.ws), fc.bs.as_ref()])
        .flatten()
        .map(bytes)
        .collect()
}

/// A layer: PyTorch's class, positional and named arguments, and the Rust call.
struct Made {
    name: &'static str,
    class: &'static str,
    args: Value,
    kwargs: Value,
    make: fn(Path<'_>) -> Result<(), InitError>,
}

macro_rules! made {
    ($name:literal, $class:literal, $args:tt, $kwargs:tt, |$vs:ident| $make:expr) => {
        Made {
            name: $name,
            class: $class,
            args: json!($args),
            kwargs: json!($kwargs),
            make: |$vs| $make.map(drop),
        }
    };
}

fn models() -> Vec<Vec<Made>> {
    vec![
        vec![
            made!("a", "Linear", [4, 2], {}, |vs| f_linear(
                vs,
                4,
                2,
                LinearConfig::default()
            )),
            made!("b", "Linear", [100, 33], {"bias": false}, |vs| f_linear(
                vs, 100, 33, LinearConfig { bias: false, ..Default::default() }
            )),
            made!("no_inputs", "Linear", [0, 5], {}, |vs| f_linear(
                vs,
                0,
                5,
                Default::default()
            )),
            made!("no_outputs", "Linear", [5, 0], {}, |vs| f_linear(
                vs,
                5,
                0,
                Default::default()
            )),
        ],
        vec![
            made!("a", "Conv2d", [3, 16, 3], {"padding": 1}, |vs| f_conv2d(
                vs, 3, 16, 3, ConvConfig { padding: 1, ..Default::default() }
            )),
            made!("b", "BatchNorm2d", [16], {}, |vs| f_batch_norm2d(
                vs,
                16,
                Default::default()
            )),
            made!("c", "Conv2d", [16, 32, [1, 5]], {
                "stride": [1, 2], "padding": [0, 2], "dilation": [1, 3], "groups": 4, "bias": false,
                "padding_mode": "reflect"
            }, |vs| f_conv(vs, 16, 32, [1, 5], ConvConfigND {
                stride: [1, 2], padding: [0, 2], dilation: [1, 3], groups: 4, bias: false,
                padding_mode: tch::nn::PaddingMode::Reflect, ..Default::default()
            })),
            made!("d", "ConvTranspose2d", [32, 8, 2], {"stride": 2}, |vs| f_conv_transpose2d(
                vs, 32, 8, 2, ConvTransposeConfig { stride: 2, ..Default::default() }
            )),
            made!("e", "BatchNorm2d", [8], {"affine": false, "eps": 1e-3, "momentum": 0.01},
            |vs| f_batch_norm2d(vs, 8, BatchNormConfig {
                affine: false, eps: 1e-3, momentum: 0.01, ..Default::default()
            })),
            made!("f", "ConvTranspose2d", [8, 4, 3], {
                "stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "bias": false, "dilation": 2
            }, |vs| f_conv_transpose2d(vs, 8, 4, 3, ConvTransposeConfig {
                stride: 2, padding: 1, output_padding: 1, groups: 2, bias: false, dilation: 2, ..Default::default()
            })),
            made!("g", "Linear", [4, 10], {}, |vs| f_linear(
                vs,
                4,
                10,
                Default::default()
            )),
        ],
        vec![
            made!("a", "Conv1d", [2, 3, 4], {}, |vs| f_conv1d(
                vs,
                2,
                3,
                4,
                Default::default()
            )),
            made!("b", "Conv3d", [2, 3, 2], {}, |vs| f_conv3d(
                vs,
                2,
                3,
                2,
                Default::default()
            )),
            made!("c", "ConvTranspose1d", [2, 3, 4], {}, |vs| {
                f_conv_transpose1d(vs, 2, 3, 4, Default::default())
            }),
            made!("d", "ConvTranspose3d", [2, 3, 2], {}, |vs| {
                f_conv_transpose3d(vs, 2, 3, 2, Default::default())
            }),
            made!("e", "BatchNorm1d", [3], {}, |vs| f_batch_norm1d(
                vs,
                3,
                Default::default()
            )),
            made!("f", "BatchNorm3d", [3], {}, |vs| f_batch_norm3d(
                vs,
                3,
                Default::default()
            )),
            made!("no_channels", "Conv2d", [0, 4, 3], {}, |vs| f_conv2d(
                vs,
                0,
                4,
                3,
                Default::default()
            )),
        ],
    ]
}

const VISITORS: [Option<&str>; 4] = [
    None,
    Some("weight_init"),
    Some("weight_init2"),
    Some("reset_parameters"),
];

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn layers_start_and_are_visited_as_in_pytorch() {
    let models = models();
    let mut runs = Vec::new();
    for model in 0..models.len() {
        for seed in SEEDS {
            for (dtype, kind) in [("f32", Kind::Float), ("f64", Kind::Double)] {
                for visitor in VISITORS {
                    runs.push((model, seed, dtype, kind, visitor));
                }
            }
        }
    }
    let cases: Vec<Value> = runs
        .iter()
        .map(|(model, seed, dtype, _, visitor)| {
            let layers: Vec<Value> = models[*model]
                .iter()
                .map(|layer| json!([layer.name, layer.class, layer.args, layer.kwargs]))
                .collect();
            json!({
                "kind": "layers", "layers": layers, "seed": seed, "dtype": dtype, "visitor": visitor,
            })
        })
        .collect();
    let expected = expected(&cases);
    let _stream = default_stream();
    for ((model, seed, dtype, kind, visitor), expected) in runs.into_iter().zip(expected) {
        let label = format!("model {model}, seed {seed}, {dtype}, {visitor:?}");
        manual_seed(seed).unwrap();
        let mut vs = VarStore::new(Device::Cpu);
        vs.set_kind(kind);
        for layer in &models[model] {
            (layer.make)(vs.root() / layer.name).unwrap();
        }
        let mut walk = Walk::new();
        // PyTorch's names and order; the walk puts layers without parameters last.
        let names: Vec<String> = serde_json::from_value(expected.rest[0].clone()).unwrap();
        let variables = vs.variables();
        assert_eq!(variables.len(), names.len(), "{label}");
        let state_dict = || names.iter().map(|name| bytes(&variables[name]));
        let mut chunks: Vec<Vec<u8>> = state_dict().collect();
        match visitor {
            Some("weight_init") => walk.apply(&vs, weight_init).unwrap(),
            Some("weight_init2") => walk.apply(&vs, weight_init2).unwrap(),
            Some(_) => walk.reset_parameters(&vs).unwrap(),
            None => {}
        }
        chunks.extend(state_dict());
        chunks.push(get_rng_state().unwrap());
        assert_eq!(first_difference(&chunks, &expected.chunks), None, "{label}");

        let reprs: Vec<String> = serde_json::from_value(expected.rest[1].clone()).unwrap();
        let text = tch_init::repr::module_str("ModuleDict", &vs).unwrap();
        for (layer, repr) in models[model].iter().zip(reprs) {
            let line = format!("  ({}): {repr}\n", layer.name);
            assert!(text.contains(&line), "{label}: {line} is not in\n{text}");
        }
    }
}

/// A transformer between two other layers, so that there are layers within layers.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn visitors_see_layers_in_the_order_of_module_apply() {
    let python = "nn.ModuleDict({'z': nn.Linear(2, 2), \
                  't': nn.Transformer(8, 2, 2, 1, 16), 'a': nn.BatchNorm1d(3)})";
    let expected = expected(&[json!({ "kind": "visit", "python": python })]).remove(0);
    let order: Vec<(String, String)> = serde_json::from_value(expected.rest[0].clone()).unwrap();
    // A VarStore has no modules without parameters, but for those around layers that have some.
    let known = |(name, class): &(String, String)| {
        let class = class.replace("NonDynamicallyQuantizableLinear", "Linear");
        let kind: LayerKind = class.parse().ok()?;
        Some((name.clone(), Some(kind)))
    };
    let order: Vec<_> = order.iter().filter_map(known).collect();

    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    f_linear(vs.root() / "z", 2, 2, Default::default()).unwrap();
    let config = TransformerConfig::default()
        .d_model(8)
        .nhead(2)
        .num_encoder_layers(2)
        .num_decoder_layers(1)
        .layer(TransformerLayerConfig::default().dim_feedforward(16));
    drop(transformer(vs.root() / "t", config).unwrap());
    f_batch_norm1d(vs.root() / "a", 3, Default::default()).unwrap();
    let mut seen = Vec::new();
    tch_init::apply(&vs, |layer| {
        seen.push((layer.path().to_owned(), layer.kind()));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, order);
}
