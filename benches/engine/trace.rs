//! What recording costs: a ResNet-18 forward and backward, and two training steps of a GPT-2 (124 million), each with and
//! without a recording.

use crate::{Row, median, python, row};
use std::process::Command;
use std::time::Instant;
use tch::nn::{self, Module, ModuleT};
use tch::{Device, Kind, Tensor};
use tch_init::trace;

/// Runs in nanoseconds, with and without a recording in turns, so that other load affects both.
fn compared(vs: &nn::VarStore, runs: usize, mut run: impl FnMut()) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let mut timed = || {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos() as f64
    };
    timed();
    let (mut traced, mut plain) = (Vec::new(), Vec::new());
    for number in 0..runs {
        let path = folder.path().join(format!("{number}.trace"));
        let recording = trace::record(&path, vs).unwrap();
        traced.push(timed());
        recording.finish().unwrap();
        plain.push(timed());
    }
    (median(traced), median(plain))
}

fn resnet18() -> (f64, f64) {
    let vs = nn::VarStore::new(Device::Cpu);
    let net = tch::vision::resnet::resnet18(&vs.root(), 1000);
    let images = Tensor::randn([8, 3, 224, 224], (Kind::Float, Device::Cpu));
    let labels = Tensor::randint(1000, [8], (Kind::Int64, Device::Cpu));
    compared(&vs, 7, || {
        let loss = net
            .forward_t(&images, true)
            .cross_entropy_for_logits(&labels);
        loss.backward();
    })
}

/// GPT-2 with its own head.
fn gpt2(p: &nn::Path<'_>) -> impl Fn(&Tensor) -> Tensor + use<> {
    const WIDTH: i64 = 768;
    let linear = |p: nn::Path<'_>, from, to| nn::linear(p, from, to, Default::default());
    let norm = |p: nn::Path<'_>| nn::layer_norm(p, vec![WIDTH], Default::default());
    let wte = nn::embedding(p / "wte", 50257, WIDTH, Default::default());
    let wpe = nn::embedding(p / "wpe", 1024, WIDTH, Default::default());
    let block = |i: i64| {
        let p = p / "h" / i;
        let (ln_1, ln_2) = (norm(&p / "ln_1"), norm(&p / "ln_2"));
        let qkv = linear(&p / "attn", WIDTH, 3 * WIDTH);
        let proj = linear(&p / "proj", WIDTH, WIDTH);
        let up = linear(&p / "up", WIDTH, 4 * WIDTH);
        let down = linear(&p / "down", 4 * WIDTH, WIDTH);
        move |x: &Tensor| {
            let (b, t, c) = x.size3().unwrap();
            let heads = |x: &Tensor| x.view([b, t, 12, c / 12]).transpose(1, 2);
            let split = ln_1.forward(x).apply(&qkv).split(c, 2);
            let [q, k, v] = [0, 1, 2].map(|i: usize| heads(&split[i]));
            let none = None::<Tensor>;
            let y = Tensor::scaled_dot_product_attention(&q, &k, &v, none, 0.0, true, None, false);
            let x = x + y.transpose(1, 2).contiguous().view([b, t, c]).apply(&proj);
            &x + ln_2.forward(&x).apply(&up).gelu("tanh").apply(&down)
        }
    };
    let blocks: Vec<_> = (0..12).map(block).collect();
    let ln_f = norm(p / "ln_f");
    move |tokens| {
        let positions = Tensor::arange(tokens.size()[1], (Kind::Int64, Device::Cpu));
        let mut x = wte.forward(tokens) + wpe.forward(&positions);
        for block in &blocks {
            x = block(&x);
        }
        ln_f.forward(&x).matmul(&wte.ws.tr()).flatten(0, 1)
    }
}

/// Two training steps with AdamW, 8 sequences of 128 tokens. Prints their nanoseconds and the memory that the process took, so
/// that each has a process of its own.
pub fn gpt2_steps(recorded: bool) {
    tch::set_num_threads(2);
    tch::manual_seed(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let net = gpt2(&vs.root());
    let options = tch_init::optim::AdamW::default().lr(6e-4);
    let params = vs.trainable_variables();
    let mut opt = tch_init::optim::Optimizer::new(params, options).unwrap();
    let tokens = Tensor::randint(50257, [8, 129], (Kind::Int64, Device::Cpu));
    let (x, y) = (
        tokens.narrow(1, 0, 128),
        tokens.narrow(1, 1, 128).reshape([-1]),
    );
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let path = folder.path().join("gpt2.trace");
    let recording = recorded.then(|| trace::record(path, &vs).unwrap());
    for _ in 0..2 {
        opt.zero_grad();
        net(&x).cross_entropy_for_logits(&y).backward();
        opt.step();
    }
    if let Some(recording) = recording {
        recording.finish().unwrap();
    }
    println!("{} {}", start.elapsed().as_nanos(), peak_memory());
}

/// The most memory that the process had, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap() << 10
}

fn gpt2_process(what: &str) -> (f64, f64) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["trace", what])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let figures: Vec<f64> = text
        .split_whitespace()
        .map(|x| x.parse().unwrap())
        .collect();
    (figures[0], figures[1])
}

pub fn compare(rows: &mut Vec<Row>) {
    for threads in [1, 2] {
        tch::set_num_threads(threads);
        let (traced, plain) = resnet18();
        rows.push(row("ResNet-18, and recorded", plain, traced, threads));
    }
    for threads in [1, 2] {
        let timed = |what: &str| {
            let arguments = ["resnet18", what, &threads.to_string()].map(str::to_owned);
            python(&arguments)
        };
        let (traced, plain) = (timed("recorded"), timed("unrecorded"));
        rows.push(row("the same in Python", plain, traced, threads));
    }
    let ((traced, memory), (plain, plain_memory)) =
        (gpt2_process("recorded"), gpt2_process("unrecorded"));
    rows.push(row("GPT-2 124M, 2 steps, and recorded", plain, traced, 2));
    println!(
        "  memory of these: {:.2} and {:.2} GiB",
        memory / GIB,
        plain_memory / GIB
    );
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
