//! `tch-init explain` of GPT-2, as a program: time, and peak memory beside the size of the file.

use super::table::{self, Row, median, python};
use super::{GPT2, THREADS, output, record};
use std::path::Path;
use std::process::Command;

/// The seed of the plan.
const SEED: &str = "1";

/// The name in the table; the seed of the weights and how many words are drawn before; whether there is a plan; and text that the output
/// must have.
const CASES: [(&str, &str, &str, bool, &str); 3] = [
    (
        "explain GPT-2, shift of 7 words, plan",
        SEED,
        "7",
        true,
        "PyTorch draws each 7 words earlier",
    ),
    (
        "explain GPT-2, any seed, plan",
        "4042322160",
        "0",
        true,
        "drawn with another seed: 4042322160, not 1",
    ),
    (
        "explain GPT-2, any seed, weights",
        "4042322160",
        "0",
        false,
        "seed 4042322160, bit for bit:",
    ),
];

/// Times the cases with these names, with files in a folder.
pub fn rows(wanted: impl Fn(&str) -> bool, folder: &Path) -> Vec<Row> {
    let cases: Vec<_> = CASES
        .into_iter()
        .filter(|(name, ..)| wanted(name))
        .collect();
    if cases.is_empty() {
        return Vec::new();
    }
    let (plan, weights) = (
        folder.join("explained.plan.json"),
        folder.join("weights.safetensors"),
    );
    let program = env!("CARGO_BIN_EXE_tch-init");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/models");
    record(GPT2.1, &plan);
    table::print_memory_head();
    let mut written = None;
    let mut rows = Vec::new();
    for (name, seed, skipped, has_plan, line) in cases {
        if written != Some((seed, skipped)) {
            let mut write = Command::new(python());
            write.arg(scripts.join("weights.py"));
            output(write.args([GPT2.1, seed, skipped]).arg(&weights));
            written = Some((seed, skipped));
        }
        let (mut times, mut most) = (Vec::new(), 0);
        for _ in 0..5 {
            let mut run = Command::new(python());
            run.arg(scripts.join("peak.py")).args([program, "explain"]);
            run.arg(&weights);
            if has_plan {
                run.arg(&plan).args(["--seed", SEED]);
            }
            let threads = THREADS.to_string();
            run.env("RAYON_NUM_THREADS", &threads)
                .env("OMP_NUM_THREADS", &threads);
            let text = output(&mut run);
            assert!(text.contains(line), "{name}: {text}");
            let mut numbers = text
                .split_whitespace()
                .map(|number| number.parse().unwrap());
            times.push(numbers.next().unwrap());
            most = most.max(numbers.next().unwrap() as u64);
        }
        let size = weights.metadata().unwrap().len();
        rows.push(table::memory_row(
            name,
            median(times),
            (most, size),
            THREADS,
        ));
    }
    rows
}
