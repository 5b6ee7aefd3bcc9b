//! `make bench`: how long whole models take, made of their plans here, and by Python's constructors.
//!
//! Each in a process of its own that has its libraries loaded, from nothing to tensors in memory:
//! the plan is read here, the classes are constructed there, and the memory is touched for the
//! first time on both sides. Needs the libraries of `./setup --models`.

#[path = "../table/mod.rs"]
mod table;

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use table::{Row, median, python, row};
use tch::{Device, Kind, Tensor};
use tch_init::plan::InitPlan;
use tch_init::{Generator, init};

const THREADS: i32 = 2;

/// As the table names them, and as Python does.
const MODELS: [(&str, &str); 4] = [
    (
        "GPT-2 124M (transformers)",
        "transformers.GPT2LMHeadModel(transformers.GPT2Config())",
    ),
    (
        "T5-small (transformers)",
        "transformers.T5ForConditionalGeneration(transformers.T5Config())",
    ),
    ("vit_b_16 (torchvision)", "torchvision.models.vit_b_16()"),
    ("resnet50 (torchvision)", "torchvision.models.resnet50()"),
];

/// What a program prints.
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

/// In turn, so that what else the machine does meets both.
fn compare(name: &str, expression: &str, plan: &Path) -> Row {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/models/reference.py");
    let program = std::env::current_exe().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        ours.push(nanoseconds(Command::new(&program).arg("run").arg(plan)));
        theirs.push(nanoseconds(
            Command::new(python())
                .arg(&script)
                .args([expression, &THREADS.to_string()]),
        ));
    }
    row(name, median(ours), median(theirs), THREADS)
}

/// Prints the nanoseconds that a plan takes to become tensors.
fn run(plan: &str) {
    tch::set_num_threads(THREADS);
    // Work done once per process is not part of it.
    let mut once = Tensor::zeros([1 << 22], (Kind::Float, Device::Cpu));
    init::normal_(&mut once, 0.0, 1.0, None).unwrap();
    init::uniform_(&mut once, 0.0, 1.0, None).unwrap();
    let start = Instant::now();
    let plan = InitPlan::load(plan).unwrap();
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.manual_seed(1).unwrap();
    let tensors = plan.materialize(&mut generator).unwrap();
    let time = start.elapsed();
    assert_eq!(tensors.len(), plan.names().count());
    println!("{}", time.as_nanos());
}

fn main() {
    // `cargo bench` hands its own arguments on.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [run_, plan] = &arguments[..]
        && run_ == "run"
    {
        return run(plan);
    }
    table::print_head();
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.json");
    let mut rows = Vec::new();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|a| name.contains(a));
    for (name, expression) in MODELS {
        if wanted(name) {
            output(
                Command::new(env!("CARGO_BIN_EXE_tch-init"))
                    .args(["record", expression, "--python"])
                    .arg(python())
                    .arg("-o")
                    .arg(&plan),
            );
            rows.push(compare(name, expression, &plan));
        }
    }
    table::save(rows);
}
