//! Initializes a model of GPT-2's shape with 124 million parameters: the default of every layer, then normal weights and
//! zero biases. No draw is skipped.

use crate::{Row, median, python, row};
use std::process::Command;
use std::time::Instant;
use tch::{Device, Kind, Tensor};
use tch_init::init;

const THREADS: i32 = 2;

/// Embeddings, then the weights and biases of the linear layers.
fn parameters() -> (Vec<Tensor>, Vec<(Tensor, Tensor)>) {
    let empty = |size: &[i64]| Tensor::empty(size, (Kind::Float, Device::Cpu));
    let embeddings = vec![empty(&[50257, 768]), empty(&[1024, 768])];
    let shapes = [[2304, 768], [768, 768], [3072, 768], [768, 3072]];
    let linear = |[out, inner]: [i64; 2]| (empty(&[out, inner]), empty(&[out]));
    let layers = (0..12).flat_map(|_| shapes).map(linear).collect();
    (embeddings, layers)
}

fn initialize((embeddings, layers): &mut (Vec<Tensor>, Vec<(Tensor, Tensor)>)) {
    for embedding in &mut *embeddings {
        init::normal_(embedding, 0.0, 1.0, None).unwrap();
    }
    for (weight, bias) in &mut *layers {
        let leaky = init::Nonlinearity::LeakyRelu {
            negative_slope: 5f64.sqrt(),
        };
        init::kaiming_uniform_(weight, init::FanMode::FanIn, leaky, None).unwrap();
        let bound = 1.0 / (weight.size()[1] as f64).sqrt();
        init::uniform_(bias, -bound, bound, None).unwrap();
    }
    for embedding in &mut *embeddings {
        init::normal_(embedding, 0.0, 0.02, None).unwrap();
    }
    for (weight, bias) in &mut *layers {
        init::normal_(weight, 0.0, 0.02, None).unwrap();
        init::zeros_(bias).unwrap();
    }
}

/// Prints the nanoseconds of one initialization, in untouched memory if `fresh`.
pub fn run(fresh: bool) {
    tch::set_num_threads(THREADS);
    // Work that is done once per process is not measured.
    let mut once = Tensor::zeros([1 << 22], (Kind::Float, Device::Cpu));
    init::normal_(&mut once, 0.0, 1.0, None).unwrap();
    init::uniform_(&mut once, 0.0, 1.0, None).unwrap();
    let mut parameters = parameters();
    if !fresh {
        initialize(&mut parameters);
    }
    let start = Instant::now();
    initialize(&mut parameters);
    println!("{}", start.elapsed().as_nanos());
}

/// Measured alternately, so that other load affects both.
pub fn compare(rows: &mut Vec<Row>) {
    for memory in ["warm", "fresh"] {
        let arguments = ["model", memory, &THREADS.to_string()].map(str::to_owned);
        let (ours, torch): (Vec<f64>, Vec<f64>) = (0..7)
            .map(|_| {
                let program = std::env::current_exe().unwrap();
                let output = Command::new(program).args(["model", memory]).output();
                let output = String::from_utf8(output.unwrap().stdout).unwrap();
                (output.trim().parse::<f64>().unwrap(), python(&arguments))
            })
            .unzip();
        rows.push(row(
            format!("GPT-2 124M, {memory} memory"),
            median(ours),
            median(torch),
            THREADS,
        ));
    }
}
