//! The traps of docs/porting.md: what tch computes there differs from PyTorch, and what the page says to write does not. A
//! test that fails since tch mended a trap says so: then the page loses its row.

use crate::common::reference::{expected_of, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::{Value, json};
use tch::nn::{OptimizerConfig as _, RNN, VarStore};
use tch::{Device, Kind, Reduction, Tensor, kind::FLOAT_CPU};
use tch_init::data::DataLoader;
use tch_init::nn::{self, RNNT};
use tch_init::{manual_seed, optim};

/// The results of a program that begins at PyTorch's seed.
type Program = fn() -> Vec<Tensor>;

/// A function of tests/python/porting.py, what is natural to write with tch, and what the page says.
const TRAPS: [(&str, Program, Program); 9] = [
    (
        "adam",
        || adam(|vs| Box::new(step_of(tch::nn::Adam::default().build(vs, 0.1).unwrap()))),
        || {
            adam(|vs| {
                Box::new(step_of_ours(
                    optim::OptimizerConfig::build(tch::nn::Adam::default(), vs, 0.1).unwrap(),
                ))
            })
        },
    ),
    ("clip_grad_norm", || clip(true), || clip(false)),
    (
        "parameters",
        || norms(VarStore::trainable_variables),
        || norms(tch_init::parameters),
    ),
    (
        "avg_pool2d",
        || vec![randn(&[1, 2, 6, 6]).avg_pool2d_default(2)],
        || vec![randn(&[1, 2, 6, 6]).avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)],
    ),
    (
        "evaluation",
        || {
            let vs = VarStore::new(Device::Cpu);
            let config = tch::nn::RNNConfig {
                num_layers: 2,
                dropout: 0.5,
                ..Default::default()
            };
            let lstm = tch::nn::lstm(vs.root(), 3, 5, config);
            // The weights are not what this is about.
            manual_seed(3).unwrap();
            tch_init::reset_parameters(&vs).unwrap();
            vec![lstm.seq(&randn(&[2, 4, 3])).0]
        },
        || {
            let vs = VarStore::new(Device::Cpu);
            let config = nn::RNNConfig {
                num_layers: 2,
                dropout: 0.5,
                ..Default::default()
            };
            let lstm = nn::lstm(vs.root(), 3, 5, config);
            vec![lstm.seq_t(&randn(&[2, 4, 3]), false).0]
        },
    ),
    (
        "batch_first",
        || lstm(nn::RNNConfig::default()),
        || {
            lstm(nn::RNNConfig {
                batch_first: false,
                ..Default::default()
            })
        },
    ),
    (
        "cross_entropy",
        || {
            let (logits, targets, images, of_pixels) = logits();
            let over_pixels =
                std::panic::catch_unwind(|| images.cross_entropy_for_logits(&of_pixels));
            assert!(
                over_pixels.is_err(),
                "cross_entropy_for_logits takes images: mended"
            );
            vec![
                logits.cross_entropy_for_logits(&targets),
                Tensor::zeros([], FLOAT_CPU),
            ]
        },
        || {
            let (logits, targets, images, of_pixels) = logits();
            let loss = |x: &Tensor, y: &Tensor| {
                x.cross_entropy_loss::<Tensor>(y, None, Reduction::Mean, -100, 0.0)
            };
            vec![loss(&logits, &targets), loss(&images, &of_pixels)]
        },
    ),
    (
        "leaky_relu",
        || leaky_relu(|x| x.leaky_relu()),
        || leaky_relu(|x| x.maximum(&(x * 0.2))),
    ),
    (
        "shuffle",
        || {
            let x = Tensor::arange(10, (Kind::Int64, Device::Cpu));
            let mut batches = tch::data::Iter2::new(&x, &x, 3);
            let batches: Vec<Tensor> = batches.shuffle().map(|(x, _)| x).collect();
            vec![Tensor::cat(&batches, 0), randn(&[3])]
        },
        || {
            let x = Tensor::arange(10, (Kind::Int64, Device::Cpu));
            let loader = DataLoader::new(10).batch_size(3).shuffle(true);
            let batches = loader.tensors([&x]).unwrap().map(|batch| {
                let [x] = batch.unwrap();
                x
            });
            let batches: Vec<Tensor> = batches.collect();
            vec![Tensor::cat(&batches, 0), randn(&[3])]
        },
    ),
];

/// The norms of the gradients of layers of plain tch.
fn norms(parameters: fn(&VarStore) -> Vec<Tensor>) -> Vec<Tensor> {
    let norms = (0..30).map(|_| {
        let state = tch_init::get_rng_state().unwrap();
        let vs = VarStore::new(Device::Cpu);
        let layers = [(9, 8), (8, 7), (7, 6)]
            .map(|(from, to)| tch::nn::linear(vs.root() / from, from, to, Default::default()));
        // tch has drawn weights of its own.
        tch_init::set_rng_state(&state).unwrap();
        tch_init::reset_parameters(&vs).unwrap();
        let x = layers
            .iter()
            .fold(randn(&[5, 9]), |x, layer| x.apply(layer));
        x.square().mean(Kind::Float).backward();
        optim::clip_grad_norm_(&parameters(&vs), 1.0, 2.0, false).unwrap()
    });
    vec![Tensor::stack(&norms.collect::<Vec<_>>(), 0)]
}

fn randn(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, FLOAT_CPU)
}

type Step = Box<dyn FnMut(&Tensor)>;

fn step_of(mut opt: tch::nn::Optimizer) -> impl FnMut(&Tensor) {
    move |loss| opt.backward_step(loss)
}

fn step_of_ours(mut opt: optim::Optimizer) -> impl FnMut(&Tensor) {
    move |loss| opt.backward_step(loss)
}

fn adam(build: fn(&VarStore) -> Step) -> Vec<Tensor> {
    let vs = VarStore::new(Device::Cpu);
    let w = vs.root().var_copy("w", &randn(&[200]));
    let mut step = build(&vs);
    let mut seen = Vec::new();
    for _ in 0..3 {
        step(&(&w * randn(&[200])).sum(Kind::Float));
        seen.push(w.detach().copy());
    }
    vec![seen.remove(0), seen.remove(1)]
}

fn clip(by_tch: bool) -> Vec<Tensor> {
    let clipped = [0.01, 1.0, 3.0, 20.0, 700.0].map(|scale| {
        let vs = VarStore::new(Device::Cpu);
        let w = vs.root().var_copy("w", &randn(&[50]));
        (&w * randn(&[50]) * scale).sum(Kind::Float).backward();
        if by_tch {
            tch::nn::Sgd::default()
                .build(&vs, 0.1)
                .unwrap()
                .clip_grad_norm(1.0);
        } else {
            let norm = optim::clip_grad_norm_(&[&w], 1.0, 2.0, false).unwrap();
            assert_eq!(norm.size(), [0i64; 0]);
        }
        w.grad()
    });
    vec![Tensor::cat(&clipped, 0)]
}

fn lstm(config: nn::RNNConfig) -> Vec<Tensor> {
    let vs = VarStore::new(Device::Cpu);
    let lstm = nn::lstm(vs.root(), 3, 5, config);
    vec![lstm.seq(&randn(&[4, 4, 3])).0]
}

fn logits() -> (Tensor, Tensor, Tensor, Tensor) {
    let classes = |shape: &[i64]| Tensor::randint(5, shape, (Kind::Int64, Device::Cpu));
    let logits = Tensor::randn([6, 5], (Kind::Double, Device::Cpu));
    let images = randn(&[2, 5, 3, 3]);
    let targets = classes(&[6]);
    (logits, targets, images, classes(&[2, 3, 3]))
}

fn leaky_relu(function: fn(&Tensor) -> Tensor) -> Vec<Tensor> {
    let x = randn(&[50]).set_requires_grad(true);
    let y = function(&x);
    (&y * randn(&[50])).sum(Kind::Float).backward();
    vec![y, x.grad()]
}

/// Budget: 3 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn traps_are_what_the_page_says() {
    let page = include_str!("../../docs/porting.md");
    let _stream = default_stream();
    let names: Vec<Value> = TRAPS.iter().map(|(name, ..)| json!(name)).collect();
    let mut failures = Vec::new();
    for ((name, natural, right), python) in TRAPS
        .iter()
        .zip(expected_of("tests/python/porting.py", &names))
    {
        let run = |program: &Program| -> Vec<Vec<u8>> {
            manual_seed(3).unwrap();
            program().iter().map(bytes).collect()
        };
        if first_difference(&run(natural), &python.chunks).is_none() {
            failures.push(format!(
                "{name}: tch does as PyTorch now: take it off docs/porting.md"
            ));
        }
        if let Some(difference) = first_difference(&run(right), &python.chunks) {
            failures.push(format!(
                "{name}: what the page says to write differs: {difference}"
            ));
        }
        if !page.contains(&format!("<!-- {name} -->")) {
            failures.push(format!("{name}: docs/porting.md does not have it"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
