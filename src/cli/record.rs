//! `tch-init record`: records what a PyTorch model's constructor draws and computes, as a plan.

use super::python::{self, Script};
use super::report::{Report, spinner};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

/// The prefix of the script's own messages.
const PREFIX: &str = "record.py: ";

#[derive(Args)]
pub struct Arguments {
    /// A Python expression that makes the model ("torchvision.models.resnet50()"), or module:function
    #[arg(value_name = "EXPR")]
    expression: String,
    /// The plan's file [default: stdout]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Import this module first; may be repeated
    #[arg(long = "import", value_name = "MODULE")]
    imports: Vec<String>,
    /// A config.json of transformers: the argument of the function, or `config` in the expression
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The function's arguments: a JSON array, or an object of named arguments
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
    /// The Python that has PyTorch [default: $TCH_INIT_PYTHON, or the active environment's, or
    /// .venv/bin/python, or python3]
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Take the PyTorch for this release, whatever it is [default: a release by its version, another build by its
    /// functions and its draws]
    #[arg(long = "assume-pytorch", value_name = "X.Y")]
    assume: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let python = arguments.python.clone().unwrap_or_else(python::default);
    let spinner = spinner("recording");
    let mut child = python::start(
        &python,
        &Script::Record,
        script_arguments(arguments),
        Stdio::inherit(),
    )?;
    let stderr = child
        .stderr
        .take()
        .ok_or_else(|| anyhow!("cannot read the output of {}", python.display()))?;
    // The script's last message is its failure. Warnings and the output of the constructor are passed on.
    let mut failure = None;
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line.context("cannot read the output of Python")?;
        let line = String::from_utf8_lossy(&line);
        match line.strip_prefix(PREFIX) {
            Some(said) if !said.starts_with("warning: ") => failure = Some(said.to_owned()),
            said => spinner.suspend(|| {
                eprintln!(
                    "{}{}",
                    said.map_or("", |_| "tch-init: "),
                    said.unwrap_or(&line)
                );
            }),
        }
    }
    let status = child.wait().context("cannot wait for Python")?;
    spinner.finish_and_clear();
    match (status.success(), failure) {
        (true, _) => Ok(Report {
            text: String::new(),
            found: false,
        }),
        (false, Some(failure)) => bail!("{failure}"),
        (false, None) => bail!(
            "{} failed to record: it ended with {status}",
            python.display()
        ),
    }
}

/// Options, then `--`: an expression may start with a dash.
fn script_arguments(arguments: &Arguments) -> Vec<OsString> {
    let mut list: Vec<OsString> = Vec::new();
    for module in &arguments.imports {
        list.push(format!("--import={module}").into());
    }
    for (name, path) in [("-o", &arguments.output), ("--config", &arguments.config)] {
        if let Some(path) = path {
            list.extend([name.into(), path.into()]);
        }
    }
    for (name, value) in [
        ("args", &arguments.args),
        ("assume-pytorch", &arguments.assume),
    ] {
        if let Some(value) = value {
            list.push(format!("--{name}={value}").into());
        }
    }
    list.extend(["--".into(), (&arguments.expression).into()]);
    list
}
