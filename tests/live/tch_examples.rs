//! The models of tch's examples and of tch::vision, made by plain tch and reset, against their Python twins: the same
//! layers of torch.nn in the order in which the program makes them.
//!
//! The programs here make the layers of `examples` of tch 0.26.0 at the same paths, in the same order and, but for the
//! largest, of the same sizes. [`Program`] passes each constructor to tch and notes it for `tch_examples.py`. The models
//! of `tch::vision` are tch's own; their twins are written out in `tch_examples.py`.
//!
//! What has no twin: `mnist_linear` and `basics` have no `VarStore`; `neural-style-transfer` is `vgg16` and an image;
//! `jit`, `jit-quantized` and `tensor-tools` make no layers; `jit-train` is at the end.

// The stores keep the variables that are made here.
#![allow(unused_must_use)]

use crate::common::default_stream;
use crate::common::reference::{Expected, expected_of};
use serde_json::{Value, json};
use std::cell::RefCell;
use tch::nn::{self, Path, VarStore};
use tch::vision::{
    alexnet, convmixer, densenet, dinov2, efficientnet, inception, mobilenet, resnet, squeezenet,
    vgg,
};
use tch::{Device, Kind, Tensor};
use tch_init::nn::LayerKind;
use tch_init::{InitError, Layer, VisitError, Walk, get_rng_state, init, manual_seed, recipe};

const SCRIPT: &str = "tests/python/tch_examples.py";

/// Makes layers by plain tch, and notes the calls.
#[derive(Default)]
struct Program {
    calls: RefCell<Vec<Value>>,
}

impl Program {
    fn note(&self, kind: &str, path: &Path<'_>, arguments: Value, keywords: Value) {
        let path = path.components().collect::<Vec<_>>().join(".");
        let call = json!([kind, path, arguments, keywords]);
        self.calls.borrow_mut().push(call);
    }

    fn linear(&self, path: &Path<'_>, i: i64, o: i64) {
        nn::linear(path, i, o, Default::default());
        self.note("Linear", path, json!([i, o]), json!({}));
    }

    fn linear_no_bias(&self, path: &Path<'_>, i: i64, o: i64) {
        let config = nn::LinearConfig {
            bias: false,
            ..Default::default()
        };
        nn::linear(path, i, o, config);
        self.note("Linear", path, json!([i, o]), json!({ "bias": false }));
    }

    fn conv2d(&self, path: &Path<'_>, i: i64, o: i64, k: i64, bias: bool) {
        let config = nn::ConvConfig {
            bias,
            ..Default::default()
        };
        nn::conv2d(path, i, o, k, config);
        self.note("Conv2d", path, json!([i, o, k]), json!({ "bias": bias }));
    }

    fn conv_transpose2d(&self, path: &Path<'_>, i: i64, o: i64, k: i64, bias: bool) {
        let config = nn::ConvTransposeConfig {
            bias,
            ..Default::default()
        };
        nn::conv_transpose2d(path, i, o, k, config);
        let keywords = json!({ "bias": bias });
        self.note("ConvTranspose2d", path, json!([i, o, k]), keywords);
    }

    fn batch_norm2d(&self, path: &Path<'_>, features: i64) {
        nn::batch_norm2d(path, features, Default::default());
        self.note("BatchNorm2d", path, json!([features]), json!({}));
    }

    fn layer_norm(&self, path: &Path<'_>, size: i64) {
        nn::layer_norm(path, vec![size], Default::default());
        self.note("LayerNorm", path, json!([size]), json!({}));
    }

    fn group_norm(&self, path: &Path<'_>, groups: i64, channels: i64) {
        nn::group_norm(path, groups, channels, Default::default());
        self.note("GroupNorm", path, json!([groups, channels]), json!({}));
    }

    fn embedding(&self, path: &Path<'_>, rows: i64, width: i64) {
        nn::embedding(path, rows, width, Default::default());
        self.note("Embedding", path, json!([rows, width]), json!({}));
    }

    fn recurrent(&self, kind: &str, path: &Path<'_>, sizes: [i64; 2], config: nn::RNNConfig) {
        let [i, h] = sizes;
        match kind {
            "LSTM" => drop(nn::lstm(path, i, h, config)),
            _ => drop(nn::gru(path, i, h, config)),
        }
        let keywords = json!({
            "num_layers": config.num_layers, "bidirectional": config.bidirectional,
            "bias": config.has_biases,
        });
        self.note(kind, path, json!([i, h]), keywords);
    }
}

fn char_rnn(p: &Program, root: &Path<'_>) {
    p.recurrent("LSTM", root, [65, 256], Default::default());
    p.linear(root, 256, 65);
}

/// The example makes the encoder's GRU before its embedding, unlike PyTorch's tutorial: so does the twin.
fn translation(p: &Program, root: &Path<'_>) {
    let encoder = root / "enc";
    p.recurrent("GRU", &encoder, [256, 256], Default::default());
    p.embedding(&encoder, 123, 256);
    let decoder = root / "dec";
    p.embedding(&decoder, 97, 256);
    p.recurrent("GRU", &decoder, [256, 256], Default::default());
    p.linear(&decoder, 512, 10);
    p.linear(&decoder, 512, 256);
    p.linear(&decoder, 256, 97);
}

/// The same with an output as wide as the table of the embedding is long.
fn translation_to_ten_words(p: &Program, root: &Path<'_>) {
    let decoder = root / "dec";
    p.embedding(&decoder, 10, 16);
    p.recurrent("GRU", &decoder, [16, 16], Default::default());
    p.linear(&decoder, 32, 10);
    p.linear(&decoder, 32, 16);
    p.linear(&decoder, 16, 10);
}

/// A linear layer of min-gpt, which makes the weight first, by `randn(0, 0.02)`.
fn gpt_linear(p: &Program, path: &Path<'_>, i: i64, o: i64) {
    path.set_group(0).randn("weight", &[o, i], 0.0, 0.02);
    path.set_group(1).zeros("bias", &[o]);
    p.note("Linear", path, json!([i, o]), json!({}));
}

/// min-gpt: the head has a bias of zeros that is not trained.
fn min_gpt(p: &Program, root: &Path<'_>) {
    let (gpt, width) = (root / "gpt", 32);
    p.embedding(&(&gpt / "tok_emb"), 65, width);
    gpt.zeros("pos_emb", &[1, 128, width]);
    p.layer_norm(&(&gpt / "ln_f"), width);
    let head = &gpt / "head";
    head.randn("weight", &[65, width], 0.0, 0.02);
    head.zeros_no_train("bias", &[65]);
    p.note(
        "Linear",
        &head,
        json!([width, 65]),
        json!({ "bias": false }),
    );
    for block in 0..3 {
        let block = &gpt / block;
        p.layer_norm(&(&block / "ln1"), width);
        p.layer_norm(&(&block / "ln2"), width);
        for name in ["key", "query", "value", "proj"] {
            gpt_linear(p, &(&block / name), width, width);
        }
        gpt_linear(p, &(&block / "lin1"), width, 4 * width);
        gpt_linear(p, &(&block / "lin2"), 4 * width, width);
    }
}

/// `mnist_nn` and `custom-optimizer`.
fn mnist_nn(p: &Program, root: &Path<'_>) {
    p.linear(&(root / "layer1"), 784, 128);
    p.linear(root, 128, 10);
}

/// `mnist_conv` and `jit-trace`.
fn mnist_conv(p: &Program, root: &Path<'_>) {
    p.conv2d(root, 1, 32, 5, true);
    p.conv2d(root, 32, 64, 5, true);
    p.linear(root, 1024, 1024);
    p.linear(root, 1024, 10);
}

fn cifar(p: &Program, root: &Path<'_>) {
    let conv_bn = |path: &Path<'_>, i, o| {
        p.conv2d(path, i, o, 3, false);
        p.batch_norm2d(path, o);
    };
    let layer = |path: &Path<'_>, i, o| {
        conv_bn(&path.sub("pre"), i, o);
        conv_bn(&path.sub("b1"), o, o);
        conv_bn(&path.sub("b2"), o, o);
    };
    conv_bn(&root.sub("pre"), 3, 64);
    layer(&root.sub("layer1"), 64, 128);
    conv_bn(&root.sub("inter"), 128, 256);
    layer(&root.sub("layer2"), 256, 512);
    p.linear(&root.sub("linear"), 512, 10);
}

fn vae(p: &Program, root: &Path<'_>) {
    for (name, i, o) in [
        ("fc1", 784, 400),
        ("fc21", 400, 20),
        ("fc22", 400, 20),
        ("fc3", 20, 400),
        ("fc4", 400, 784),
    ] {
        p.linear(&(root / name), i, o);
    }
}

/// gan: the generator, a `VarStore` of its own there.
fn generator(p: &Program, root: &Path<'_>) {
    let sizes = [128, 1024, 512, 256, 128, 3];
    for (at, pair) in sizes.windows(2).enumerate() {
        let at = at + 1;
        p.conv_transpose2d(&(root / format!("tr{at}")), pair[0], pair[1], 4, false);
        if at < 5 {
            p.batch_norm2d(&(root / format!("bn{at}")), pair[1]);
        }
    }
}

/// gan: the discriminator.
fn discriminator(p: &Program, root: &Path<'_>) {
    let sizes = [3, 128, 256, 512, 1024, 1];
    for (at, pair) in sizes.windows(2).enumerate() {
        let at = at + 1;
        p.conv2d(&(root / format!("conv{at}")), pair[0], pair[1], 4, false);
        if (2..5).contains(&at) {
            p.batch_norm2d(&(root / format!("bn{at}")), pair[1]);
        }
    }
}

fn policy_gradient(p: &Program, root: &Path<'_>) {
    p.linear(&(root / "lin1"), 4, 32);
    p.linear(&(root / "lin2"), 32, 2);
}

/// `a2c` and `ppo`.
fn actor_critic(p: &Program, root: &Path<'_>) {
    p.conv2d(&(root / "c1"), 2, 32, 8, true);
    p.conv2d(&(root / "c2"), 32, 64, 4, true);
    p.conv2d(&(root / "c3"), 64, 64, 3, true);
    p.linear(&(root / "l1"), 3136, 512);
    p.linear(&(root / "cl"), 512, 1);
    p.linear(&(root / "al"), 512, 6);
}

fn ddpg_actor(p: &Program, root: &Path<'_>) {
    p.linear(&(root / "al1"), 3, 400);
    p.linear(&(root / "al2"), 400, 300);
    p.linear(&(root / "al3"), 300, 1);
}

fn ddpg_critic(p: &Program, root: &Path<'_>) {
    p.linear(&(root / "cl1"), 4, 400);
    p.linear(&(root / "cl2"), 400, 300);
    p.linear(&(root / "cl3"), 300, 1);
}

/// The layer of its own that transfer-learning trains.
fn transfer_learning(p: &Program, root: &Path<'_>) {
    p.linear(root, 512, 2);
}

/// yolo: `yolo-v3.cfg`, whose blocks have their normalization before their convolution.
fn yolo(p: &Program, root: &Path<'_>) {
    let conv = |index: i64, i: i64, o: i64, k: i64, norm: bool| {
        let block = root / index;
        if norm {
            p.batch_norm2d(&(&block / format!("batch_norm_{index}")), o);
        }
        p.conv2d(&(&block / format!("conv_{index}")), i, o, k, !norm);
    };
    conv(0, 3, 32, 3, true);
    let mut index = 1;
    for (width, count) in [(64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)] {
        conv(index, width / 2, width, 3, true);
        for residual in 0..count {
            // Each is followed by a shortcut.
            conv(index + 3 * residual + 1, width, width / 2, 1, true);
            conv(index + 3 * residual + 2, width / 2, width, 3, true);
        }
        index += 3 * count + 1;
    }
    for (first, width, inputs) in [(75, 512, 1024), (87, 256, 768), (99, 128, 384)] {
        if first > 75 {
            conv(first - 3, 2 * width, width, 1, true);
        }
        conv(first, inputs, width, 1, true);
        for at in 1..6 {
            match at % 2 {
                1 => conv(first + at, width, 2 * width, 3, true),
                _ => conv(first + at, 2 * width, width, 1, true),
            }
        }
        conv(first + 6, 2 * width, 255, 1, false);
    }
}

/// llama, with its names and order and smaller sizes.
fn llama(p: &Program, root: &Path<'_>) {
    let (width, hidden) = (48, 256);
    p.linear_no_bias(&(root / "lm_head"), width, 100);
    let transformer = root / "transformer";
    p.embedding(&(&transformer / "wte"), 100, width);
    for block in 0..3 {
        let block = &transformer / "h" / block;
        (&block / "rms_1").zeros("scale", &[width]);
        p.linear_no_bias(&(&block / "attn" / "c_attn"), width, 3 * width);
        p.linear_no_bias(&(&block / "attn" / "c_proj"), width, width);
        (&block / "rms_2").zeros("scale", &[width]);
        p.linear_no_bias(&(&block / "mlp" / "c_fc1"), width, hidden);
        p.linear_no_bias(&(&block / "mlp" / "c_fc2"), width, hidden);
        p.linear_no_bias(&(&block / "mlp" / "c_proj"), hidden, width);
    }
    (&transformer / "ln_f").zeros("scale", &[width]);
}

/// stable-diffusion: its text model, smaller.
fn clip(p: &Program, root: &Path<'_>) {
    let (text, width) = (root / "text_model", 32);
    p.embedding(&(&text / "embeddings" / "token_embedding"), 99, width);
    p.embedding(&(&text / "embeddings" / "position_embedding"), 77, width);
    for layer in 0..2 {
        let layer = &text / "encoder" / "layers" / layer;
        for name in ["k_proj", "v_proj", "q_proj", "out_proj"] {
            p.linear(&(&layer / "self_attn" / name), width, width);
        }
        p.layer_norm(&(&layer / "layer_norm1"), width);
        p.linear(&(&layer / "mlp" / "fc1"), width, 4 * width);
        p.linear(&(&layer / "mlp" / "fc2"), 4 * width, width);
        p.layer_norm(&(&layer / "layer_norm2"), width);
    }
    p.layer_norm(&(&text / "final_layer_norm"), width);
}

/// stable-diffusion: the blocks that its autoencoder and its UNet are made of, one of each.
fn diffusion_blocks(p: &Program, root: &Path<'_>) {
    p.linear(&(root / "time_embedding" / "linear_1"), 32, 128);
    p.linear(&(root / "time_embedding" / "linear_2"), 128, 128);
    p.conv2d(&(root / "conv_in"), 4, 32, 3, true);
    let resnet = root / "resnets" / 0;
    p.group_norm(&(&resnet / "norm1"), 32, 32);
    p.conv2d(&(&resnet / "conv1"), 32, 64, 3, true);
    p.group_norm(&(&resnet / "norm2"), 32, 64);
    p.conv2d(&(&resnet / "conv2"), 64, 64, 3, true);
    p.conv2d(&(&resnet / "conv_shortcut"), 32, 64, 1, true);
    p.linear(&(&resnet / "time_emb_proj"), 128, 64);
    let transformer = root / "attentions" / 0;
    p.group_norm(&(&transformer / "norm"), 32, 64);
    p.conv2d(&(&transformer / "proj_in"), 64, 64, 1, true);
    let block = &transformer / "transformer_blocks" / 0;
    let attention = |name: &str, context| {
        let path = &block / name;
        p.linear_no_bias(&(&path / "to_q"), 64, 64);
        p.linear_no_bias(&(&path / "to_k"), context, 64);
        p.linear_no_bias(&(&path / "to_v"), context, 64);
        p.linear(&(&path / "to_out" / 0), 64, 64);
    };
    attention("attn1", 64);
    p.linear(&(&block / "ff" / "net" / 0 / "proj"), 64, 512);
    p.linear(&(&block / "ff" / "net" / 2), 256, 64);
    attention("attn2", 48);
    for name in ["norm1", "norm2", "norm3"] {
        p.layer_norm(&(&block / name), 64);
    }
    p.conv2d(&(&transformer / "proj_out"), 64, 64, 1, true);
    let attention = root / "mid_block" / "attentions" / 0;
    p.group_norm(&(&attention / "group_norm"), 32, 64);
    for name in ["query", "key", "value", "proj_attn"] {
        p.linear(&(&attention / name), 64, 64);
    }
    p.conv2d(&(root / "downsamplers" / 0 / "conv"), 64, 64, 3, true);
    p.group_norm(&(root / "conv_norm_out"), 32, 64);
    p.conv2d(&(root / "conv_out"), 64, 4, 3, true);
}

/// Not an example: everything that can be told apart at the root, in an order that is not by kind.
fn all_at_the_root(p: &Program, root: &Path<'_>) {
    let stacked = nn::RNNConfig {
        num_layers: 2,
        bidirectional: true,
        ..Default::default()
    };
    let no_biases = nn::RNNConfig {
        has_biases: false,
        ..Default::default()
    };
    p.embedding(root, 12, 8);
    p.linear(root, 8, 12);
    p.recurrent("GRU", root, [8, 6], stacked);
    p.layer_norm(root, 12);
    p.linear_no_bias(root, 12, 12);
    p.recurrent("LSTM", root, [12, 5], Default::default());
    p.conv2d(root, 3, 12, 3, false);
    p.batch_norm2d(root, 12);
    p.conv2d(root, 12, 12, 3, true);
    p.batch_norm2d(root, 12);
    p.layer_norm(root, 12);
    p.conv_transpose2d(root, 12, 12, 2, true);
    p.recurrent("GRU", root, [5, 5], no_biases);
    p.group_norm(root, 3, 12);
    p.linear(root, 12, 12);
}

struct Example {
    name: &'static str,
    make: fn(&Program, &Path<'_>),
    walk: fn() -> Walk<'static>,
}

fn examples() -> Vec<Example> {
    let example = |name, make| Example {
        name,
        make,
        walk: Walk::new,
    };
    let with = |name, make, walk| Example { name, make, walk };
    let embeddings: fn() -> Walk<'static> = || Walk::new().prefer(LayerKind::Embedding);
    vec![
        example("char-rnn", char_rnn),
        with("translation", translation, embeddings),
        with(
            "translation to ten words",
            translation_to_ten_words,
            embeddings,
        ),
        with("min-gpt", min_gpt, || {
            // The bias of the head and the positions are the program's own.
            Walk::new()
                .leave("gpt.head.bias")
                .leave("*.pos_emb")
                .with_kind("gpt.head", LayerKind::Linear)
                .with_kind("gpt.tok_emb", LayerKind::Embedding)
        }),
        example("mnist_nn", mnist_nn),
        example("mnist_conv", mnist_conv),
        example("cifar", cifar),
        example("vae", vae),
        example("gan generator", generator),
        example("gan discriminator", discriminator),
        example("policy_gradient", policy_gradient),
        example("a2c", actor_critic),
        example("ddpg actor", ddpg_actor),
        example("ddpg critic", ddpg_critic),
        example("transfer-learning", transfer_learning),
        example("yolo", yolo),
        with("llama", llama, || {
            Walk::new()
                .leave("*.scale")
                .with_kind("transformer.wte", LayerKind::Embedding)
                .prefer(LayerKind::Linear)
        }),
        with("stable-diffusion clip", clip, embeddings),
        with("stable-diffusion blocks", diffusion_blocks, || {
            Walk::new().prefer(LayerKind::Linear)
        }),
        with("all at the root", all_at_the_root, || {
            Walk::new()
                .with_kind("weight", LayerKind::Embedding)
                .prefer(LayerKind::Linear)
        }),
    ]
}

/// The constructors that an example calls, as the script takes them.
fn calls(example: &Example, kind: Kind, made: &mut Vec<VarStore>) -> Vec<Value> {
    let program = Program::default();
    let mut vs = VarStore::new(Device::Cpu);
    (example.make)(&program, &vs.root());
    // Afterwards, since tch makes statistics as floats in any case.
    vs.set_kind(kind);
    made.push(vs);
    program.calls.into_inner()
}

fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| (0..8).fold(byte, |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1))))
        .collect();
    let step = |crc: u32, byte: &u8| table[(crc as u8 ^ byte) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

/// Holds every variable but those left to the caller, and the generator, against the twin's.
fn assert_twin(label: &str, vs: &VarStore, left: &[&str], expected: &Expected) {
    let state = get_rng_state().unwrap();
    assert!(
        state == expected.chunks[0],
        "{label}: the stream is elsewhere"
    );
    let twin = expected.rest[0].as_object().unwrap();
    let mut compared = 0;
    for (name, tensor) in vs.variables() {
        if left.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let sum = crc32(&crate::common::bytes(&tensor));
        let expected = twin
            .get(&name)
            .unwrap_or_else(|| panic!("{label}: no {name}"));
        assert_eq!(
            u64::from(sum),
            expected.as_u64().unwrap(),
            "{label}: {name}"
        );
        compared += 1;
    }
    assert_eq!(compared, twin.len(), "{label}: {:?}", twin.keys());
}

/// What the programs have beside layers, by the ends of its names.
fn left(name: &str) -> &'static [&'static str] {
    match name {
        "min-gpt" => &["head.bias", "pos_emb"],
        "llama" => &["scale"],
        "dinov2_vits14" => &["gamma", "cls_token", "pos_embed"],
        _ => &[],
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn examples_of_tch_start_as_their_python_twins_after_one_call() {
    let _stream = default_stream();
    let examples = examples();
    let mut requests = Vec::new();
    let mut stores = Vec::new();
    let mut labels = Vec::new();
    for (example, (seed, dtype, kind)) in examples.iter().flat_map(|example| {
        let runs = [(1, "f32", Kind::Float), (-7, "f64", Kind::Double)];
        runs.map(|run| (example, run))
    }) {
        let calls = calls(example, kind, &mut stores);
        requests.push(json!({
            "kind": "calls", "calls": calls, "seed": seed, "dtype": dtype, "visitor": null,
        }));
        labels.push((example, seed, format!("{}, {dtype}", example.name)));
    }
    let expected = expected_of(SCRIPT, &requests);
    for (((example, seed, label), vs), expected) in labels.into_iter().zip(stores).zip(expected) {
        manual_seed(seed).unwrap();
        (example.walk)().reset_parameters(&vs).unwrap();
        assert_twin(&label, &vs, left(example.name), &expected);
    }
}

/// min-gpt's own initialization is minGPT's: PyTorch's default is drawn, then a visitor draws all again. The kinds need
/// not be settled for the visitor, which treats linear layers and embeddings alike.
fn min_gpt_visitor(layer: &mut Layer<'_>) -> Result<(), InitError> {
    match layer.kind() {
        Some(LayerKind::Linear | LayerKind::Embedding) => {
            layer.fill("weight", |weight, generator| {
                init::normal_(weight, 0.0, 0.02, generator)
            })?;
            layer.fill("bias", |bias, _| init::zeros_(bias))
        }
        Some(LayerKind::LayerNorm | LayerKind::GroupNorm) => {
            layer.fill("bias", |bias, _| init::zeros_(bias))?;
            layer.fill("weight", |weight, _| init::ones_(weight))
        }
        _ => Ok(()),
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn visitors_of_the_examples_need_no_kinds_where_all_are_treated_alike() {
    type Visitor = fn(&mut Layer<'_>) -> Result<(), InitError>;
    let _stream = default_stream();
    let examples = examples();
    let runs: [(&str, &str, Visitor); 5] = [
        ("min-gpt", "min_gpt", min_gpt_visitor),
        ("gan generator", "dcgan", recipe::dcgan),
        ("gan discriminator", "dcgan", recipe::dcgan),
        ("mnist_conv", "weight_init2", recipe::weight_init2),
        ("cifar", "weight_init2", recipe::weight_init2),
    ];
    let mut stores = Vec::new();
    let mut requests = Vec::new();
    for (name, visitor, _) in runs {
        let example = examples.iter().find(|example| example.name == name);
        let calls = calls(example.unwrap(), Kind::Float, &mut stores);
        requests.push(json!({
            "kind": "calls", "calls": calls, "seed": 3, "dtype": "f32", "visitor": visitor,
        }));
    }
    let expected = expected_of(SCRIPT, &requests);
    for (((name, _, visitor), vs), expected) in runs.into_iter().zip(stores).zip(expected) {
        let example = examples
            .iter()
            .find(|example| example.name == name)
            .unwrap();
        manual_seed(3).unwrap();
        (example.walk)().reset_parameters(&vs).unwrap();
        let walk = match name {
            "min-gpt" => Walk::new().leave("gpt.head.bias").leave("gpt.pos_emb"),
            _ => Walk::new(),
        };
        walk.require_all().apply(&vs, visitor).unwrap();
        assert_twin(name, &vs, left(name), &expected);
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn models_of_tch_vision_start_as_their_python_twins_after_one_call() {
    type Make = fn(&Path<'_>);
    let classes = 10;
    let models: &[(&str, Make)] = &[
        ("alexnet", |p| drop(alexnet::alexnet(p, 10))),
        ("vgg11", |p| drop(vgg::vgg11(p, 10))),
        ("vgg13", |p| drop(vgg::vgg13(p, 10))),
        ("vgg16", |p| drop(vgg::vgg16(p, 10))),
        ("vgg19", |p| drop(vgg::vgg19(p, 10))),
        ("vgg11_bn", |p| drop(vgg::vgg11_bn(p, 10))),
        ("squeezenet1_0", |p| drop(squeezenet::v1_0(p, 10))),
        ("squeezenet1_1", |p| drop(squeezenet::v1_1(p, 10))),
        ("resnet18", |p| drop(resnet::resnet18(p, 10))),
        ("resnet18_no_final_layer", |p| {
            drop(resnet::resnet18_no_final_layer(p))
        }),
        ("resnet34", |p| drop(resnet::resnet34(p, 10))),
        ("resnet50", |p| drop(resnet::resnet50(p, 10))),
        ("densenet121", |p| drop(densenet::densenet121(p, 10))),
        ("densenet161", |p| drop(densenet::densenet161(p, 10))),
        ("mobilenet_v2", |p| drop(mobilenet::v2(p, 10))),
        ("efficientnet_b0", |p| drop(efficientnet::b0(p, 10))),
        ("efficientnet_b1", |p| drop(efficientnet::b1(p, 10))),
        ("efficientnet_b2", |p| drop(efficientnet::b2(p, 10))),
        ("efficientnet_b3", |p| drop(efficientnet::b3(p, 10))),
        ("efficientnet_b4", |p| drop(efficientnet::b4(p, 10))),
        ("efficientnet_b5", |p| drop(efficientnet::b5(p, 10))),
        ("efficientnet_b6", |p| drop(efficientnet::b6(p, 10))),
        ("efficientnet_b7", |p| drop(efficientnet::b7(p, 10))),
        ("convmixer1024_20", |p| drop(convmixer::c1024_20(p, 10))),
        ("convmixer1536_20", |p| drop(convmixer::c1536_20(p, 10))),
        ("inception_v3", |p| drop(inception::v3(p, 10))),
        ("dinov2_vits14", |p| drop(dinov2::vit_small(p))),
    ];
    let requests: Vec<Value> = models
        .iter()
        .map(|(name, _)| json!({ "kind": "vision", "name": name, "seed": 11, "classes": classes }))
        .collect();
    let expected = expected_of(SCRIPT, &requests);
    let _stream = default_stream();
    for ((name, make), expected) in models.iter().zip(expected) {
        let vs = VarStore::new(Device::Cpu);
        make(&vs.root());
        manual_seed(11).unwrap();
        let walk = match *name {
            // LayerScale and tokens are constants of the model's own.
            "dinov2_vits14" => Walk::new()
                .leave("*.gamma")
                .leave("cls_token")
                .leave("pos_embed"),
            _ => Walk::new(),
        };
        let mut walk = walk.require_all();
        walk.reset_parameters(&vs).unwrap();
        assert_twin(name, &vs, left(name), &expected);
    }
}

/// jit-train: a TorchScript module's parameters come under flat names, from which its layers cannot be told.
#[test]
fn parameters_of_a_torchscript_module_are_refused_by_name() {
    let vs = VarStore::new(Device::Cpu);
    let mut shapes = vec![("layer1_0_conv1_weight", vec![8, 3, 3, 3])];
    shapes.extend([("fc_weight", vec![10, 8]), ("fc_bias", vec![10])]);
    for (name, shape) in shapes {
        let tensor = Tensor::ones(shape, (Kind::Float, Device::Cpu));
        let _variable = vs.root().add(name, tensor, true);
    }
    let error = Walk::new().reset_parameters(&vs).unwrap_err();
    assert!(matches!(error, VisitError::NoLayers(_)), "{error}");
    for name in ["layer1_0_conv1_weight", "fc_weight", "fc_bias"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}
