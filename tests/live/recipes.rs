//! The recipes against Python's: models of recipe_models.py, made here and visited.
//!
//! That those are what torchvision and transformers do, byte for byte, is checked by
//! `python tests/python/recipes.py --libraries`, which needs both libraries and so is not part of
//! `make test`: of torchvision 0.28.0 resnet18, resnet50 (with `zero_init_residual` and without)
//! and VisionTransformer, of transformers 5.23.0 GPT2Model (with cross-attention and without),
//! BertModel and BertForPreTraining.

use crate::common::reference::{expected_of, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::{Value, json};
use tch::nn::{self as plain, Init, Path, VarStore};
use tch::{Device, Kind};
use tch_init::nn::{self, LayerKind};
use tch_init::recipe::*;
use tch_init::{InitError, Layer, Walk, get_rng_state, init, manual_seed};

const SEEDS: [i64; 4] = [0, 7, -3, (1 << 40) + 3];

type Visitor = Box<dyn FnMut(&mut Layer) -> Result<(), InitError>>;

/// A recipe and a model it is used on.
struct Case {
    recipe: &'static str,
    arguments: Value,
    model: &'static str,
    /// Whether all parameters are 0.25 before the visit, and the stream is new: so for layers of
    /// plain tch, which start otherwise than PyTorch's, and where the recipe fills what they start
    /// with anyhow.
    from_constants: bool,
    make: fn(&Path<'_>),
    visitor: fn() -> Visitor,
}

fn assert_recipes(cases: &[Case]) {
    let mut runs = Vec::new();
    for case in cases {
        for seed in SEEDS {
            for (dtype, kind) in [("f32", Kind::Float), ("f64", Kind::Double)] {
                runs.push((case, seed, dtype, kind));
            }
        }
    }
    let requests: Vec<Value> = runs
        .iter()
        .map(|(case, seed, dtype, _)| {
            json!({
                "kind": "recipe", "model": case.model, "recipe": case.recipe,
                "arguments": case.arguments, "from_constants": case.from_constants, "seed": seed, "dtype": dtype,
            })
        })
        .collect();
    let expected = expected_of("tests/python/recipes.py", &requests);
    let _stream = default_stream();
    for ((case, seed, dtype, kind), expected) in runs.into_iter().zip(expected) {
        let (recipe, model, arguments) = (case.recipe, case.model, &case.arguments);
        let label = format!("{recipe}{arguments} of {model}, seed {seed}, {dtype}");
        let mut vs = VarStore::new(Device::Cpu);
        vs.set_kind(kind);
        manual_seed(seed).unwrap();
        (case.make)(&vs.root());
        if case.from_constants {
            for mut parameter in vs.trainable_variables() {
                init::constant_(&mut parameter, 0.25).unwrap();
            }
            manual_seed(seed + 1).unwrap();
        }
        let mut walk = match model {
            // The attention is not a layer here but variables, which are the caller's.
            "vit" | "vit_stem" => walk().leave("*.self_attention.in_proj_*"),
            _ => walk(),
        };
        walk.apply(&vs, (case.visitor)()).unwrap();
        let names: Vec<String> = serde_json::from_value(expected.rest[0].clone()).unwrap();
        let variables = vs.variables();
        assert_eq!(variables.len(), names.len(), "{label}");
        let mut chunks: Vec<Vec<u8>> = names.iter().map(|name| bytes(&variables[name])).collect();
        chunks.push(get_rng_state().unwrap());
        assert_eq!(
            first_difference(&chunks, &expected.chunks),
            None,
            "{label}: of {names:?}, then the state"
        );
    }
}

/// What plain tch's layers cannot tell of themselves.
fn walk() -> Walk<'static> {
    Walk::new()
        .prefer(LayerKind::Embedding)
        .prefer(LayerKind::LayerNorm)
}

macro_rules! case {
    ($recipe:ident($($argument:expr),*), $model:literal, $from_constants:literal, $make:expr) => {
        Case {
            recipe: stringify!($recipe),
            arguments: json!([$($argument),*]),
            model: $model,
            from_constants: $from_constants,
            make: $make,
            visitor: || Box::new($recipe($($argument),*)),
        }
    };
    ($recipe:ident, $model:literal, $from_constants:literal, $make:expr) => {
        Case {
            recipe: stringify!($recipe),
            arguments: json!([]),
            model: $model,
            from_constants: $from_constants,
            make: $make,
            visitor: || Box::new($recipe),
        }
    };
}

fn layers(vs: &Path<'_>) {
    let without = nn::LinearConfig {
        bias: false,
        ..Default::default()
    };
    nn::linear(vs / "fc", 6, 5, Default::default());
    nn::linear(vs / "no_bias", 33, 17, without);
    nn::conv1d(vs / "conv1", 4, 6, 3, Default::default());
    let no_bias = nn::ConvConfigND {
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        bias: false,
        ..Default::default()
    };
    nn::conv(vs / "conv2", 3, 8, [1, 5], no_bias);
    let groups = nn::ConvConfig {
        groups: 2,
        ..Default::default()
    };
    nn::conv3d(vs / "conv3", 2, 4, 2, groups);
    nn::conv_transpose1d(vs / "up1", 6, 4, 2, Default::default());
    let no_bias = nn::ConvTransposeConfig {
        bias: false,
        ..Default::default()
    };
    nn::conv_transpose2d(vs / "up2", 8, 3, 3, no_bias);
    nn::conv_transpose3d(vs / "up3", 4, 2, 2, Default::default());
    nn::linear(vs / "block", 4, 4, Default::default());
    nn::linear(vs / "block" / "inner", 3, 2, Default::default());
    nn::batch_norm1d(vs / "norm1", 20, Default::default());
    nn::batch_norm2d(vs / "norm2", 5, Default::default());
    let not_affine = nn::BatchNormConfig {
        affine: false,
        ..Default::default()
    };
    nn::batch_norm3d(vs / "norm3", 3, not_affine);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn recipes_for_any_model_are_pythons() {
    assert_recipes(&[
        case!(pytorch_default, "layers", false, layers),
        case!(xavier_uniform, "layers", false, layers),
        case!(xavier_normal, "layers", true, layers),
        case!(kaiming_fan_in, "layers", false, layers),
        case!(kaiming_fan_out, "layers", true, layers),
        case!(orthogonal, "layers", true, layers),
        case!(dcgan, "layers", true, layers),
        // No recipe touches what it is not for.
        case!(lstm, "layers", true, layers),
    ]);
}

/// In the order of the `state_dict`: the shortcut of a block last.
fn resnet_of<const EXPANSION: i64>(vs: &Path<'_>, blocks: [i64; 2], width: i64) {
    let conv_bn = |vs: Path<'_>, [conv, bn]: [String; 2], inputs, outputs, kernel| {
        nn::conv2d(&vs / conv, inputs, outputs, kernel, nn::no_bias());
        nn::batch_norm2d(&vs / bn, outputs, Default::default());
    };
    let numbered = |number: i64| [format!("conv{number}"), format!("bn{number}")];
    conv_bn(vs.clone(), numbered(1), 3, width, 7);
    let mut inputs = width;
    for (stage, count) in (0..).zip(blocks) {
        let width = width << stage;
        for block in 0..count {
            let vs = vs / format!("layer{}", stage + 1) / block;
            let outputs = width * EXPANSION;
            if EXPANSION == 1 {
                conv_bn(vs.clone(), numbered(1), inputs, width, 3);
                conv_bn(vs.clone(), numbered(2), width, width, 3);
            } else {
                conv_bn(vs.clone(), numbered(1), inputs, width, 1);
                conv_bn(vs.clone(), numbered(2), width, width, 3);
                conv_bn(vs.clone(), numbered(3), width, outputs, 1);
            }
            if block == 0 && (stage > 0 || inputs != outputs) {
                let names = ["0".to_owned(), "1".to_owned()];
                conv_bn(&vs / "downsample", names, inputs, outputs, 1);
            }
            inputs = outputs;
        }
    }
    nn::linear(vs / "fc", inputs, 4, Default::default());
}

fn resnet_basic(vs: &Path<'_>) {
    resnet_of::<1>(vs, [2, 2], 8);
}

fn resnet_bottleneck(vs: &Path<'_>) {
    resnet_of::<4>(vs, [2, 1], 4);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn resnets_are_torchvisions() {
    assert_recipes(&[
        case!(resnet(false), "resnet_basic", false, resnet_basic),
        case!(resnet(false), "resnet_basic", true, resnet_basic),
        case!(resnet(true), "resnet_basic", false, resnet_basic),
        case!(resnet(false), "resnet_bottleneck", false, resnet_bottleneck),
        case!(resnet(true), "resnet_bottleneck", false, resnet_bottleneck),
    ]);
}

fn norm(vs: Path<'_>, width: i64) {
    plain::layer_norm(vs, vec![width], Default::default());
}

fn embedding(vs: Path<'_>, rows: i64, width: i64) {
    plain::embedding(vs, rows, width, Default::default());
}

/// Zeros until the recipe comes.
fn variable(vs: &Path<'_>, name: &str, shape: &[i64]) {
    drop(vs.var(name, shape, Init::Const(0.0)));
}

fn conv1d_of_transformers(vs: Path<'_>, inputs: i64, outputs: i64) {
    variable(&vs, "weight", &[inputs, outputs]);
    variable(&vs, "bias", &[outputs]);
}

fn gpt2_of(vs: &Path<'_>, layers: i64, width: i64, [vocab, positions]: [i64; 2], cross: bool) {
    embedding(vs / "wte", vocab, width);
    embedding(vs / "wpe", positions, width);
    for layer in 0..layers {
        let vs = vs / "h" / layer;
        norm(&vs / "ln_1", width);
        conv1d_of_transformers(&vs / "attn" / "c_attn", width, 3 * width);
        conv1d_of_transformers(&vs / "attn" / "c_proj", width, width);
        norm(&vs / "ln_2", width);
        if cross {
            let attention = &vs / "crossattention";
            conv1d_of_transformers(&attention / "c_attn", width, 2 * width);
            conv1d_of_transformers(&attention / "q_attn", width, width);
            conv1d_of_transformers(&attention / "c_proj", width, width);
            norm(&vs / "ln_cross_attn", width);
        }
        conv1d_of_transformers(&vs / "mlp" / "c_fc", width, 4 * width);
        conv1d_of_transformers(&vs / "mlp" / "c_proj", 4 * width, width);
    }
    norm(vs / "ln_f", width);
}

fn bert_of(vs: &Path<'_>, layers: i64, width: i64, [vocab, positions]: [i64; 2]) {
    let linear = |vs: Path<'_>, inputs, outputs| {
        plain::linear(vs, inputs, outputs, Default::default());
    };
    let embeddings = vs / "embeddings";
    embedding(&embeddings / "word_embeddings", vocab, width);
    embedding(&embeddings / "position_embeddings", positions, width);
    embedding(&embeddings / "token_type_embeddings", 2, width);
    norm(&embeddings / "LayerNorm", width);
    for layer in 0..layers {
        let vs = vs / "encoder" / "layer" / layer;
        for name in ["query", "key", "value"] {
            linear(&vs / "attention" / "self" / name, width, width);
        }
        linear(&vs / "attention" / "output" / "dense", width, width);
        norm(&vs / "attention" / "output" / "LayerNorm", width);
        linear(&vs / "intermediate" / "dense", width, 2 * width);
        linear(&vs / "output" / "dense", 2 * width, width);
        norm(&vs / "output" / "LayerNorm", width);
    }
    linear(vs / "pooler" / "dense", width, width);
}

fn bert_heads(vs: &Path<'_>) {
    bert_of(&(vs / "bert"), 1, 6, [9, 5]);
    let predictions = vs / "cls" / "predictions";
    let dense = &predictions / "transform" / "dense";
    plain::linear(dense, 6, 6, Default::default());
    norm(&predictions / "transform" / "LayerNorm", 6);
    plain::linear(&predictions / "decoder", 6, 9, Default::default());
    variable(&predictions, "bias", &[9]);
    let relationship = vs / "cls" / "seq_relationship";
    plain::linear(relationship, 6, 2, Default::default());
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn language_models_are_transformers() {
    let gpt2_small = |vs: &Path<'_>| gpt2_of(vs, 2, 8, [11, 6], false);
    let gpt2_cross = |vs: &Path<'_>| gpt2_of(vs, 3, 6, [5, 4], true);
    let bert_alone = |vs: &Path<'_>| bert_of(vs, 2, 8, [11, 6]);
    assert_recipes(&[
        case!(gpt2(2, 0.02), "gpt2", true, gpt2_small),
        case!(gpt2(12, 0.3), "gpt2", true, gpt2_small),
        case!(gpt2(2, 0.0), "gpt2", true, gpt2_small),
        case!(gpt2(3, 0.02), "gpt2_cross", true, gpt2_cross),
        case!(bert(0.02, Some(0)), "bert", true, bert_alone),
        case!(bert(0.0, Some(0)), "bert", true, bert_alone),
        case!(bert(0.5, Some(3)), "bert_heads", true, bert_heads),
    ]);
}

/// Attention as its variables: the recipe leaves it alone.
fn vit_of(vs: &Path<'_>, layers: i64, width: i64, mlp: i64, patches: fn(Path<'_>, i64)) {
    variable(vs, "class_token", &[1, 1, width]);
    patches(vs / "conv_proj", width);
    let encoder = vs / "encoder";
    variable(&encoder, "pos_embedding", &[1, 5, width]);
    for layer in 0..layers {
        let vs = &encoder / "layers" / format!("encoder_layer_{layer}");
        norm(&vs / "ln_1", width);
        let attention = &vs / "self_attention";
        variable(&attention, "in_proj_weight", &[3 * width, width]);
        variable(&attention, "in_proj_bias", &[3 * width]);
        plain::linear(&attention / "out_proj", width, width, Default::default());
        norm(&vs / "ln_2", width);
        plain::linear(&vs / "mlp" / 0, width, mlp, Default::default());
        plain::linear(&vs / "mlp" / 3, mlp, width, Default::default());
    }
    norm(&encoder / "ln", width);
}

fn vit_plain(vs: &Path<'_>) {
    vit_of(vs, 2, 8, 12, |conv_proj, width| {
        nn::conv2d(conv_proj, 3, width, 4, Default::default());
    });
    plain::linear(vs / "heads" / "head", 8, 4, Default::default());
}

fn vit_stem(vs: &Path<'_>) {
    vit_of(vs, 1, 6, 8, |conv_proj, width| {
        let first = &conv_proj / "conv_bn_relu_0";
        nn::conv2d(&first / 0, 3, 4, 3, nn::no_bias());
        nn::batch_norm2d(&first / 1, 4, Default::default());
        nn::conv2d(&conv_proj / "conv_last", 4, width, 1, Default::default());
    });
    plain::linear(vs / "heads" / "pre_logits", 6, 5, Default::default());
    plain::linear(vs / "heads" / "head", 5, 3, Default::default());
}

fn lstms(vs: &Path<'_>) {
    let deep = plain::RNNConfig {
        num_layers: 2,
        bidirectional: true,
        ..Default::default()
    };
    plain::lstm(vs / "two", 5, 6, deep);
    let without = plain::RNNConfig {
        has_biases: false,
        ..Default::default()
    };
    plain::lstm(vs / "no_bias", 3, 20, without);
    let cell = vs / "cell";
    for (name, shape) in [
        ("weight_ih", &[12, 7][..]),
        ("weight_hh", &[12, 3]),
        ("bias_ih", &[12]),
        ("bias_hh", &[12]),
    ] {
        variable(&cell, name, shape);
    }
    plain::gru(vs / "gru", 3, 2, Default::default());
    plain::linear(vs / "fc", 6, 2, Default::default());
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn vision_transformers_and_lstms_are_pythons() {
    assert_recipes(&[
        case!(vit, "vit", true, vit_plain),
        case!(vit, "vit_stem", true, vit_stem),
        case!(lstm, "lstms", true, lstms),
    ]);
}
