//! `tch-init trace python`: runs a Python script and records its operations.

use crate::cli::python;
use crate::cli::report::Report;
use anyhow::Result;
use clap::Args;
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

/// The recorder, compiled in, so that the program needs no other file.
const SCRIPT: &str = include_str!("../../../python/trace.py");
/// The prefix of the script's own messages.
const PREFIX: &str = "trace.py: ";

#[derive(Args)]
pub struct Arguments {
    /// The Python script
    script: PathBuf,
    /// The trace's file; what no operation made is written to OUT.safetensors
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Record this many training steps and end the script after them [default: the whole script]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Run the script to its end after the recorded steps
    #[arg(long)]
    to_end: bool,
    /// The largest size of OUT.safetensors, in MB
    #[arg(long, value_name = "MB", default_value_t = 256)]
    max_values: u32,
    /// Keep all inputs of the operations N to M-1 in OUT.safetensors, and no others, so that these can be run again without what
    /// came before
    #[arg(long, value_name = "N..M", value_parser = operations)]
    keep: Option<Range<u64>>,
    /// Also record the mean, standard deviation and zeros of results, for `trace show`
    #[arg(long)]
    stats: bool,
    /// The Python that has PyTorch [default: $TCH_INIT_PYTHON, or the active environment's, or
    /// .venv/bin/python, or python3]
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// The script's arguments
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let python = arguments.python.clone().unwrap_or_else(python::default);
    let child = python::spawn(
        &python,
        Command::new(&python)
            .args(["-c", SCRIPT, "-o"])
            .arg(&arguments.output)
            .args(arguments.steps.map(|steps| format!("--steps={steps}")))
            .args(arguments.to_end.then_some("--to-end"))
            .args(
                arguments
                    .keep
                    .as_ref()
                    .map(|keep| format!("--keep={}..{}", keep.start, keep.end)),
            )
            .args(arguments.stats.then_some("--stats"))
            .arg(format!(
                "--max-values={}",
                u64::from(arguments.max_values) << 20
            ))
            .arg(&arguments.script)
            .arg("--")
            .args(&arguments.arguments),
    )?;
    python::finish(
        child,
        &python,
        PREFIX,
        |line| eprintln!("{line}"),
        |status| {
            format!(
                "{} ended with {status}; {} has the operations until then",
                arguments.script.display(),
                arguments.output.display()
            )
        },
    )
}

fn operations(text: &str) -> Result<Range<u64>, &'static str> {
    let range = text
        .split_once("..")
        .and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    range
        .filter(|range: &Range<u64>| !range.is_empty())
        .ok_or("expected N..M with N below M")
}
