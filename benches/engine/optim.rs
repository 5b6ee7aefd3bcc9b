//! A step of AdamW on the parameters of GPT-2 (124 million): tch-init's, tch's own, and Python's implementations.

use crate::{Row, median, python, row};
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use tch_init::optim::{AdamW, Optimizer};

/// The shapes of the parameters.
fn shapes() -> Vec<Vec<i64>> {
    let mut shapes = vec![vec![50257, 768], vec![1024, 768]];
    for _ in 0..12 {
        for [out, inner] in [[2304, 768], [768, 768], [3072, 768], [768, 3072]] {
            shapes.extend([vec![out, inner], vec![out]]);
        }
        shapes.extend([const { [768] }; 4].map(Vec::from));
    }
    shapes.extend([vec![768], vec![768]]);
    shapes
}

/// Gives the parameters gradients.
fn backward(params: &[Tensor]) {
    for p in params {
        p.sum(Kind::Float).backward();
        drop(p.grad().normal_(0.0, 1e-3));
    }
}

/// The nanoseconds of one step, after the first, which makes the state.
fn time(mut step: impl FnMut()) -> f64 {
    step();
    let once = |_| {
        let start = Instant::now();
        step();
        start.elapsed().as_nanos() as f64
    };
    median((0..7).map(once).collect())
}

fn ours() -> f64 {
    let new = |shape: &Vec<i64>| {
        let tensor = Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.02;
        tensor.set_requires_grad(true)
    };
    let params: Vec<Tensor> = shapes().iter().map(new).collect();
    let options = AdamW::default()
        .lr(6e-4)
        .betas((0.9, 0.95))
        .weight_decay(0.1);
    let shared = params.iter().map(Tensor::shallow_clone);
    let mut opt = Optimizer::new(shared, options).unwrap();
    backward(&params);
    time(|| opt.step())
}

fn of_tch() -> f64 {
    use tch::nn::OptimizerConfig;
    let vs = tch::nn::VarStore::new(Device::Cpu);
    let init = tch::nn::Init::Randn {
        mean: 0.0,
        stdev: 0.02,
    };
    for (i, shape) in shapes().iter().enumerate() {
        drop(vs.root().var(&i.to_string(), shape, init));
    }
    let config = tch::nn::AdamW {
        beta1: 0.9,
        beta2: 0.95,
        wd: 0.1,
        ..Default::default()
    };
    let mut opt = config.build(&vs, 6e-4).unwrap();
    backward(&vs.trainable_variables());
    time(|| opt.step())
}

/// In one run, so that other load affects all.
pub fn compare(rows: &mut Vec<Row>) {
    for threads in [1, 2] {
        tch::set_num_threads(threads);
        let ours = ours();
        let name = |other: &str| format!("AdamW of GPT-2 124M, {other}");
        rows.push(row(name("tch"), ours, of_tch(), threads));
        for variant in ["default", "foreach", "fused"] {
            let arguments = ["adamw", variant, &threads.to_string()].map(str::to_owned);
            rows.push(row(name(variant), ours, python(&arguments), threads));
        }
    }
}
