//! `make bench`: times whole models, from plans in tch-init and from constructors in Python.
//!
//! Each runs in its own process with its libraries loaded, up to tensors in memory: tch-init reads the plan, Python
//! constructs the classes, and both touch the memory for the first time. Needs the libraries of `./setup --models`.
//!
//! GPT-2 is also made and written to a file, beside `torch.save` of Python's `state_dict` and beside `cp` of the file;
//! and its weights are explained.

mod explain;
#[path = "../table/mod.rs"]
mod table;

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use table::{Row, median, python, row};
use tch::{Device, Kind, Tensor};
use tch_init::plan::{InitPlan, Save};
use tch_init::{Generator, init};

const THREADS: i32 = 2;

const GPT2: (&str, &str) = (
    "GPT-2 124M (transformers)",
    "transformers.GPT2LMHeadModel(transformers.GPT2Config())",
);

/// The names in the table and in Python.
const MODELS: [(&str, &str); 4] = [
    GPT2,
    (
        "T5-small (transformers)",
        "transformers.T5ForConditionalGeneration(transformers.T5Config())",
    ),
    ("vit_b_16 (torchvision)", "torchvision.models.vit_b_16()"),
    ("resnet50 (torchvision)", "torchvision.models.resnet50()"),
];

/// Runs a program and returns its output.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; run `./setup --models` if it is missing")
    });
    assert!(
        output.status.success(),
        "{command:?} (run `./setup --models` if a library is missing): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn nanoseconds(command: &mut Command) -> f64 {
    output(command).trim().parse().unwrap()
}

/// Records a model as a plan.
fn record(expression: &str, plan: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tch-init"));
    command.args(["record", expression, "--python"]);
    output(command.arg(python()).arg("-o").arg(plan));
}

/// This program, which prints the nanoseconds that a plan takes.
fn ours(plan: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("run").arg(plan);
    command
}

/// Python, which prints the nanoseconds that a constructor takes.
fn theirs(expression: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/models/reference.py");
    let mut command = Command::new(python());
    command.arg(script).args([expression, &THREADS.to_string()]);
    command
}

/// Measured alternately, so that other load affects both.
fn compare(name: &str, expression: &str, plan: &Path) -> Row {
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        our_times.push(nanoseconds(&mut ours(plan)));
        their_times.push(nanoseconds(&mut theirs(expression)));
    }
    row(name, median(our_times), median(their_times), THREADS)
}

/// As [`compare`], up to a file, which each time is a new one.
fn compare_files(name: &str, expression: &str, plan: &Path) -> [Row; 2] {
    let folder = plan.parent().unwrap();
    let (file, other) = (folder.join("file"), folder.join("other"));
    let (mut our_times, mut their_times, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..7 {
        our_times.push(nanoseconds(ours(plan).arg(&file)));
        let start = Instant::now();
        output(Command::new("cp").args([&file, &other]));
        copies.push(start.elapsed().as_nanos() as f64);
        std::fs::remove_file(&other).unwrap();
        their_times.push(nanoseconds(theirs(expression).arg(&other)));
        for file in [&file, &other] {
            std::fs::remove_file(file).unwrap();
        }
    }
    let our_time = median(our_times);
    [
        row(
            format!("{name} to a file"),
            our_time,
            median(their_times),
            THREADS,
        ),
        row(
            format!("{name} to a file, cp"),
            our_time,
            median(copies),
            THREADS,
        ),
    ]
}

/// Prints the nanoseconds of materializing a plan, to a file if one is given.
fn run(plan: &str, file: Option<&str>) {
    tch::set_num_threads(THREADS);
    // Work that is done once per process is not measured.
    let mut once = Tensor::zeros([1 << 22], (Kind::Float, Device::Cpu));
    init::normal_(&mut once, 0.0, 1.0, None).unwrap();
    init::uniform_(&mut once, 0.0, 1.0, None).unwrap();
    let start = Instant::now();
    let plan = InitPlan::load(plan).unwrap();
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.manual_seed(1).unwrap();
    let time = match file {
        None => {
            let tensors = plan.materialize(&mut generator).unwrap();
            let time = start.elapsed();
            assert_eq!(tensors.len(), plan.names().count());
            time
        }
        Some(file) => {
            let save = Save::default();
            plan.save(file, &mut generator, save, |_| true).unwrap();
            start.elapsed()
        }
    };
    println!("{}", time.as_nanos());
}

fn main() {
    // `cargo bench` passes arguments of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [first, plan, file @ ..] = &arguments[..]
        && first == "run"
    {
        return run(plan, file.first().map(String::as_str));
    }
    table::print_head();
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.json");
    let mut rows = Vec::new();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|a| name.contains(a));
    for (name, expression) in MODELS {
        if wanted(name) {
            record(expression, &plan);
            rows.push(compare(name, expression, &plan));
            if (name, expression) == GPT2 {
                rows.extend(compare_files("GPT-2 124M", expression, &plan));
            }
        }
    }
    rows.extend(explain::rows(wanted, folder.path()));
    table::save(rows);
}
