//! `make bench`: times draws in tch-init and in Python's PyTorch, in one run.
//!
//! Prints a table, and adds it to `target/bench.json` and to the chart `target/bench.svg`.
//! The figures are medians in nanoseconds, per element, per model or per jump.

mod model;
mod optim;
#[path = "../table/mod.rs"]
mod table;
mod trace;

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use table::{Row, median, row};
use tch::{Device, Kind, Tensor};
use tch_init::init;
use tch_init::rng::Mt19937;

const NUMEL: i64 = 1 << 24;

type Fill = fn(&mut Tensor);

const FILLS: [(&str, Fill); 5] = [
    ("uniform_", |t| init::uniform_(t, -0.1, 0.1, None).unwrap()),
    ("normal_", |t| init::normal_(t, 0.0, 0.02, None).unwrap()),
    ("trunc_normal_", |t| {
        init::trunc_normal_(t, 0.0, 1.0, -2.0, 2.0, None).unwrap();
    }),
    ("xavier_uniform_", |t| {
        init::xavier_uniform_(t, 1.0, None).unwrap();
    }),
    ("kaiming_normal_", |t| {
        let relu = init::Nonlinearity::Relu;
        init::kaiming_normal_(t, init::FanMode::FanOut, relu, None).unwrap();
    }),
];

/// The time of one call in nanoseconds, from `batch` calls.
fn once(batch: usize, call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..batch).for_each(|_| call());
    start.elapsed().as_nanos() as f64 / batch as f64
}

/// The median time of a call in nanoseconds.
fn time(runs: usize, mut call: impl FnMut()) -> f64 {
    call();
    median((0..runs).map(|_| once(1, &mut call)).collect())
}

/// The least times of two calls in nanoseconds, measured alternately: other load only adds time.
fn times(mut ours: impl FnMut(), mut theirs: impl FnMut()) -> (f64, f64) {
    const BATCH: usize = 50;
    let both = |_| (once(BATCH, &mut ours), once(BATCH, &mut theirs));
    let (ours, theirs): (Vec<f64>, Vec<f64>) = (0..400).map(both).unzip();
    let least = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
    (least(ours), least(theirs))
}

/// The time of Python's PyTorch for the same work, in nanoseconds.
fn python(arguments: &[String]) -> f64 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(table::python())
        .arg(root.join("benches/engine/reference.py"))
        .args(arguments)
        .output()
        .expect("the Python reference is there: run `./setup --reference`");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn large(rows: &mut Vec<Row>) {
    let dtypes = [
        ("float32", Kind::Float),
        ("bfloat16", Kind::BFloat16),
        ("float16", Kind::Half),
        ("float64", Kind::Double),
    ];
    for (name, fill) in FILLS {
        for (dtype, kind) in dtypes {
            if !matches!(name, "uniform_" | "normal_") && kind != Kind::Float {
                continue;
            }
            for threads in [1, 2] {
                tch::set_num_threads(threads);
                let mut tensor = Tensor::zeros([4096, NUMEL / 4096], (kind, Device::Cpu));
                let ours = time(9, || fill(&mut tensor)) / NUMEL as f64;
                let arguments = [name, dtype, &threads.to_string()].map(str::to_owned);
                let torch = python(&arguments) / NUMEL as f64;
                rows.push(row(
                    format!("{name} {dtype}, an element"),
                    ours,
                    torch,
                    threads,
                ));
            }
        }
    }
}

/// Compares two threads with one, alternately, so that other load affects both: the median nanoseconds per unit of
/// work, of which `work` does `count`.
fn two_against_one(name: &str, count: i64, mut work: impl FnMut(i32)) -> Row {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..31 {
        for threads in [1, 2] {
            let time = once(1, &mut || work(threads));
            times[threads as usize - 1].push(time / count as f64);
        }
    }
    let [one, two] = times.map(median);
    row(format!("{name}, one thread"), two, one, 2)
}

/// Runs each in a thread, and the last one in this thread.
fn at_once(mut works: Vec<impl FnOnce() + Send>) {
    let last = works.pop();
    std::thread::scope(|scope| {
        for work in works {
            scope.spawn(work);
        }
        last.into_iter().for_each(|work| work());
    });
}

fn threads(rows: &mut Vec<Row>) {
    // The gain of two threads that share nothing is an upper bound for the gain of a draw.
    const WORDS: i64 = 1 << 26;
    rows.push(two_against_one("words alone", WORDS, |threads| {
        let pass = || {
            let mut generator = Mt19937::new(1);
            // Too few words at a time for a jump.
            const AT_ONCE: i64 = 1 << 18;
            (0..WORDS / i64::from(threads) / AT_ONCE).for_each(|_| generator.skip(AT_ONCE as u64));
            std::hint::black_box(generator);
        };
        at_once((0..threads).map(|_| pass).collect());
    }));
    let mut memory = vec![0u8; 4 * NUMEL as usize];
    rows.push(two_against_one("stores alone", NUMEL, |threads| {
        let parts = memory.chunks_mut(4 * NUMEL as usize / threads as usize);
        let fill = |part: &mut [u8]| part.fill(std::hint::black_box(1));
        at_once(parts.map(|part| move || fill(part)).collect());
    }));
    for (name, fill) in FILLS {
        let mut tensor = Tensor::zeros([4096, NUMEL / 4096], (Kind::Float, Device::Cpu));
        rows.push(two_against_one(
            &format!("{name} float32"),
            NUMEL,
            |threads| {
                tch::set_num_threads(threads);
                fill(&mut tensor);
            },
        ));
    }
}

/// Compares small tensors with libtorch's own call from Rust.
fn small(rows: &mut Vec<Row>) {
    tch::set_num_threads(1);
    for numel in [1, 4, 15, 16, 64, 128, 256, 500, 1000] {
        let mut tensor = Tensor::zeros([numel], (Kind::Float, Device::Cpu));
        let mut other = tensor.zeros_like();
        let _no_grad = tch::no_grad_guard();
        let (ours, libtorch) = times(
            || init::uniform_(&mut tensor, -0.1, 0.1, None).unwrap(),
            || drop(other.uniform_(-0.1, 0.1)),
        );
        let name = format!("uniform_ of {numel}, libtorch");
        rows.push(row(name, ours, libtorch, 1));
        let (ours, libtorch) = times(
            || init::normal_(&mut tensor, 0.0, 0.02, None).unwrap(),
            || drop(other.normal_(0.0, 0.02)),
        );
        let name = format!("normal_ of {numel}, libtorch");
        rows.push(row(name, ours, libtorch, 1));
    }
}

fn jumps(rows: &mut Vec<Row>) {
    for power in [22, 26, 45] {
        let mut step = 0;
        // A new distance each time, since recent ones are cached.
        let ours = time(50, || {
            step += 624;
            Mt19937::new(1).skip((1 << power) + step);
        });
        rows.push(row(format!("skip of 2^{power} words"), ours, 0.0, 1));
    }
}

fn main() {
    // `cargo bench` passes arguments of its own.
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    if let [_, model, memory] = &arguments[..]
        && model == "model"
    {
        return model::run(memory == "fresh");
    }
    if let [_, trace, what] = &arguments[..]
        && trace == "trace"
    {
        return trace::gpt2_steps(what == "recorded");
    }
    table::print_head();
    let mut rows = Vec::new();
    let wanted = |name: &str| arguments.len() < 2 || arguments[1..].iter().any(|a| a == name);
    if wanted("small") {
        small(&mut rows);
    }
    if wanted("jump") {
        jumps(&mut rows);
    }
    if wanted("threads") {
        threads(&mut rows);
    }
    if wanted("large") {
        large(&mut rows);
    }
    if wanted("model") {
        model::compare(&mut rows);
    }
    if wanted("optim") {
        optim::compare(&mut rows);
    }
    if wanted("trace") {
        trace::compare(&mut rows);
    }
    table::save(rows);
}
