//! Whole models, the Rust twins of models.py: written with `tch_init::nn`, and one with plain tch.

use crate::common::reference::{expected, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tch_init::nn::{self, Module, ModuleT, OptimizerConfig, Path, RNN, VarStore};
use tch_init::{get_rng_state, manual_seed, reset_parameters};

/// A model's loss on its data, in training.
type Loss = Box<dyn Fn(&Tensor, &Tensor) -> Tensor>;
/// What the model is trained on, drawn from the default stream.
type Data = fn() -> (Tensor, Tensor);

fn randn(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn randint(high: i64, shape: &[i64]) -> Tensor {
    Tensor::randint(high, shape, (Kind::Int64, Device::Cpu))
}

fn max_pool2d(x: &Tensor) -> Tensor {
    x.max_pool2d([2], [2], [0], [1], false)
}

fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.cross_entropy_loss::<Tensor>(labels, None, tch::Reduction::Mean, -100, 0.0)
}

fn lenet(vs: &Path<'_>) -> Loss {
    let padded = nn::ConvConfig {
        padding: 2,
        ..Default::default()
    };
    let conv1 = nn::conv2d(vs / "conv1", 1, 6, 5, padded);
    let conv2 = nn::conv2d(vs / "conv2", 6, 16, 5, Default::default());
    let fc1 = nn::linear(vs / "fc1", 400, 120, Default::default());
    let fc2 = nn::linear(vs / "fc2", 120, 84, Default::default());
    let fc3 = nn::linear(vs / "fc3", 84, 10, Default::default());
    Box::new(move |x, y| {
        let x = max_pool2d(&conv1.forward(x).relu());
        let x = max_pool2d(&conv2.forward(&x).relu()).view([-1, 400]);
        cross_entropy(
            &fc3.forward(&fc2.forward(&fc1.forward(&x).relu()).relu()),
            y,
        )
    })
}

fn conv_without_bias(vs: Path<'_>, sizes: [i64; 3], stride: i64, padding: i64) -> nn::Conv2D {
    let config = nn::ConvConfig {
        stride,
        padding,
        ..nn::no_bias()
    };
    nn::conv2d(vs, sizes[0], sizes[1], sizes[2], config)
}

fn block(
    vs: Path<'_>,
    inputs: i64,
    outputs: i64,
    stride: i64,
) -> impl Fn(&Tensor) -> Tensor + use<> {
    let conv1 = conv_without_bias(&vs / "conv1", [inputs, outputs, 3], stride, 1);
    let bn1 = nn::batch_norm2d(&vs / "bn1", outputs, Default::default());
    let conv2 = conv_without_bias(&vs / "conv2", [outputs, outputs, 3], 1, 1);
    let bn2 = nn::batch_norm2d(&vs / "bn2", outputs, Default::default());
    let downsample = (stride != 1 || inputs != outputs).then(|| {
        let vs = &vs / "downsample";
        let conv = conv_without_bias(&vs / 0, [inputs, outputs, 1], stride, 0);
        (conv, nn::batch_norm2d(&vs / 1, outputs, Default::default()))
    });
    move |x| {
        let y = bn1.forward_t(&conv1.forward(x), true).relu();
        let y = bn2.forward_t(&conv2.forward(&y), true);
        let x = match &downsample {
            Some((conv, bn)) => bn.forward_t(&conv.forward(x), true),
            None => x.shallow_clone(),
        };
        (y + x).relu()
    }
}

fn resnet(vs: &Path<'_>) -> Loss {
    let conv1 = conv_without_bias(vs / "conv1", [3, 16, 7], 2, 3);
    let bn1 = nn::batch_norm2d(vs / "bn1", 16, Default::default());
    let (layer1, layer2) = (vs / "layer1", vs / "layer2");
    let blocks = [
        block(&layer1 / 0, 16, 16, 1),
        block(&layer1 / 1, 16, 16, 1),
        block(&layer2 / 0, 16, 32, 2),
        block(&layer2 / 1, 32, 32, 1),
    ];
    let fc = nn::linear(vs / "fc", 32, 10, Default::default());
    Box::new(move |x, y| {
        let x = bn1.forward_t(&conv1.forward(x), true).relu();
        let x = x.max_pool2d([3], [2], [1], [1], false);
        let x = blocks.iter().fold(x, |x, block| block(&x));
        let pooled = x.mean_dim(&[2i64, 3][..], false, None::<Kind>);
        cross_entropy(&fc.forward(&pooled), y)
    })
}

fn generator(vs: &Path<'_>) -> Loss {
    let main = vs / "main";
    let up = |at: i64, inputs, outputs, stride, padding| {
        let config = nn::ConvTransposeConfig {
            stride,
            padding,
            bias: false,
            ..Default::default()
        };
        nn::conv_transpose2d(&main / at, inputs, outputs, 4, config)
    };
    let up1 = up(0, 16, 32, 1, 0);
    let bn1 = nn::batch_norm2d(&main / 1, 32, Default::default());
    let up2 = up(3, 32, 16, 2, 1);
    let bn2 = nn::batch_norm2d(&main / 4, 16, Default::default());
    let up3 = up(6, 16, 1, 2, 1);
    Box::new(move |x, y| {
        let x = bn1.forward_t(&up1.forward(x), true).relu();
        let x = bn2.forward_t(&up2.forward(&x), true).relu();
        up3.forward(&x).tanh().mse_loss(y, tch::Reduction::Mean)
    })
}

fn gpt_block(vs: Path<'_>, width: i64, heads: i64) -> impl Fn(&Tensor) -> Tensor + use<> {
    let ln_1 = nn::layer_norm(&vs / "ln_1", vec![width], Default::default());
    let attn = &vs / "attn";
    let c_attn = nn::linear(&attn / "c_attn", width, 3 * width, Default::default());
    let attn_proj = nn::linear(&attn / "c_proj", width, width, Default::default());
    let ln_2 = nn::layer_norm(&vs / "ln_2", vec![width], Default::default());
    let c_fc = nn::linear(&vs / "c_fc", width, 4 * width, Default::default());
    let c_proj = nn::linear(&vs / "c_proj", 4 * width, width, Default::default());
    let attention = move |x: &Tensor| {
        let (b, t, c) = x.size3().unwrap();
        let qkv = c_attn
            .forward(x)
            .view([b, t, 3, heads, c / heads])
            .permute([2, 0, 3, 1, 4]);
        let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
        let weights = q.matmul(&k.transpose(-2, -1)) * ((c / heads) as f64).powf(-0.5);
        let later = Tensor::ones([t, t], (Kind::Bool, Device::Cpu)).triu(1);
        let weights = weights
            .masked_fill(&later, f64::NEG_INFINITY)
            .softmax(-1, None::<Kind>);
        attn_proj.forward(&weights.matmul(&v).transpose(1, 2).reshape([b, t, c]))
    };
    move |x| {
        let x = x + attention(&ln_1.forward(x));
        let hidden = c_fc.forward(&ln_2.forward(&x)).gelu("tanh");
        x + c_proj.forward(&hidden)
    }
}

fn gpt(vs: &Path<'_>) -> Loss {
    let wte = nn::embedding(vs / "wte", 50, 32, Default::default());
    let wpe = nn::embedding(vs / "wpe", 16, 32, Default::default());
    let h = vs / "h";
    let blocks: Vec<_> = (0..2).map(|i| gpt_block(&h / i, 32, 4)).collect();
    let ln_f = nn::layer_norm(vs / "ln_f", vec![32], Default::default());
    let no_bias = nn::LinearConfig {
        bias: false,
        ..Default::default()
    };
    let lm_head = nn::linear(vs / "lm_head", 32, 50, no_bias);
    Box::new(move |x, y| {
        let places = Tensor::arange(x.size()[1], (Kind::Int64, Device::Cpu));
        let x = wte.forward(x) + wpe.forward(&places);
        let x = blocks.iter().fold(x, |x, block| block(&x));
        let logits = lm_head.forward(&ln_f.forward(&x)).view([-1, 50]);
        cross_entropy(&logits, &y.view([-1]))
    })
}

fn tagger(vs: &Path<'_>) -> Loss {
    let embedding = nn::embedding(vs / "embedding", 20, 8, Default::default());
    let config = nn::RNNConfig {
        num_layers: 2,
        bidirectional: true,
        ..Default::default()
    };
    let lstm = nn::lstm(vs / "lstm", 8, 16, config);
    let tags = nn::linear(vs / "tags", 32, 5, Default::default());
    Box::new(move |x, y| {
        let (h, _) = lstm.seq(&embedding.forward(x));
        cross_entropy(&tags.forward(&h).view([-1, 5]), &y.view([-1]))
    })
}

/// The program of tch's examples, all layers at the root, as it is: plain `tch::nn`.
fn images(vs: &Path<'_>) -> Loss {
    let conv1 = tch::nn::conv2d(vs, 1, 32, 5, Default::default());
    let conv2 = tch::nn::conv2d(vs, 32, 64, 5, Default::default());
    let fc1 = tch::nn::linear(vs, 1024, 128, Default::default());
    let fc2 = tch::nn::linear(vs, 128, 10, Default::default());
    Box::new(move |x, y| {
        let x = max_pool2d(&conv1.forward(x));
        let x = max_pool2d(&conv2.forward(&x)).view([-1, 1024]);
        cross_entropy(&fc2.forward(&fc1.forward(&x).relu()), y)
    })
}

fn images_data() -> (Tensor, Tensor) {
    let patterns = randn(&[10, 1, 28, 28]);
    let labels = randint(10, &[32]);
    (
        patterns.index_select(0, &labels) + randn(&[32, 1, 28, 28]),
        labels,
    )
}

struct Model {
    /// The class in models.py.
    name: &'static str,
    make: fn(&Path<'_>) -> Loss,
    data: Data,
    rate: f64,
}

fn models() -> Vec<Model> {
    vec![
        Model {
            name: "LeNet",
            make: lenet,
            data: || (randn(&[8, 1, 28, 28]), randint(10, &[8])),
            rate: 0.1,
        },
        Model {
            name: "ResNet",
            make: resnet,
            data: || (randn(&[4, 3, 32, 32]), randint(10, &[4])),
            rate: 0.05,
        },
        Model {
            name: "Generator",
            make: generator,
            data: || {
                let x = randn(&[4, 16, 1, 1]);
                (x, Tensor::rand([4, 1, 16, 16], (Kind::Float, Device::Cpu)))
            },
            rate: 0.1,
        },
        Model {
            name: "Gpt",
            make: gpt,
            data: || {
                let tokens = randint(50, &[3, 17]);
                let part = |start| tokens.narrow(1, start, 16).contiguous();
                (part(0), part(1))
            },
            rate: 0.1,
        },
        Model {
            name: "Tagger",
            make: tagger,
            data: || (randint(20, &[4, 9]), randint(5, &[4, 9])),
            rate: 0.1,
        },
    ]
}

fn losses(vs: &VarStore, loss: &Loss, data: &(Tensor, Tensor), steps: usize, rate: f64) -> Tensor {
    let mut optimizer = nn::sgd(0.0, 0.0, 0.0, false).build(vs, rate).unwrap();
    let losses: Vec<Tensor> = (0..steps)
        .map(|_| {
            let loss = loss(&data.0, &data.1);
            optimizer.backward_step(&loss);
            loss.detach()
        })
        .collect();
    Tensor::stack(&losses, 0)
}

fn case(name: &str, seed: i64, steps: usize, rate: f64) -> Value {
    json!({ "kind": "model", "name": name, "seed": seed, "steps": steps, "rate": rate })
}

const STEPS: usize = 11;

/// Weights, state, first loss and the loss after ten steps: all bit for bit, since the same
/// kernels run in tch-init and in PyTorch with the same number of threads.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn models_start_and_train_as_their_python_twins() {
    let models = models();
    let runs: Vec<(&Model, i64)> = models
        .iter()
        .flat_map(|model| [1, -8].map(|seed| (model, seed)))
        .collect();
    let cases: Vec<Value> = runs
        .iter()
        .map(|(model, seed)| case(model.name, *seed, STEPS, model.rate))
        .collect();
    let expected = expected(&cases);
    let _stream = default_stream();
    for ((model, seed), expected) in runs.into_iter().zip(expected) {
        manual_seed(seed).unwrap();
        let vs = VarStore::new(Device::Cpu);
        let loss = (model.make)(&vs.root());
        let variables = vs.variables();
        let names: Vec<String> = serde_json::from_value(expected.rest[0].clone()).unwrap();
        assert_eq!(variables.len(), names.len(), "{}", model.name);
        let mut chunks: Vec<Vec<u8>> = names.iter().map(|name| bytes(&variables[name])).collect();
        chunks.push(get_rng_state().unwrap());
        let data = (model.data)();
        chunks.push(bytes(&losses(&vs, &loss, &data, STEPS, model.rate)));
        assert_eq!(
            first_difference(&chunks, &expected.chunks),
            None,
            "{}, seed {seed}: of {names:?}, the state, the losses",
            model.name
        );
    }
}

/// A program of plain tch with one call of ours, and without it.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn an_existing_program_trains_as_its_python_twin_after_one_call() {
    let (seed, steps, rate) = (1, 20, 0.002);
    let expected = expected(&[case("Images", seed, steps, rate)]).remove(0);
    let _stream = default_stream();
    let train = |call: bool| {
        let vs = VarStore::new(Device::Cpu);
        if !call {
            manual_seed(seed).unwrap();
        }
        let loss = images(&vs.root());
        if call {
            manual_seed(seed).unwrap();
            reset_parameters(&vs).unwrap();
        } else {
            // The same data for all: from where PyTorch has drawn its weights.
            tch_init::set_rng_state(&expected.chunks[expected.chunks.len() - 2]).unwrap();
        }
        let state = get_rng_state().unwrap();
        (state, losses(&vs, &loss, &images_data(), steps, rate))
    };
    let [theirs_state, theirs] = &expected.chunks[expected.chunks.len() - 2..] else {
        unreachable!()
    };
    let (state, ours) = train(true);
    assert_eq!(&state, theirs_state);
    assert_eq!(&bytes(&ours), theirs);
    let (_, tchs) = train(false);
    let apart = (tchs.get(0) - ours.get(0)).abs().double_value(&[]);
    assert!(apart > 0.1, "{apart}");
}
