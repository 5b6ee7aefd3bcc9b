//! `make bench`: times whole models, from plans in tch-init and from constructors in Python.
//!
//! Each runs in its own process with its libraries loaded, up to tensors in memory: tch-init reads the plan, Python
//! constructs the classes, and both touch the memory for the first time. Needs the libraries of `./setup --models`.

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

/// The names in the table and in Python.
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

/// Measured alternately, so that other load affects both.
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

/// Prints the nanoseconds of materializing a plan.
fn run(plan: &str) {
    tch::set_num_threads(THREADS);
    // Work that is done once per process is not measured.
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
    // `cargo bench` passes arguments of its own.
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
