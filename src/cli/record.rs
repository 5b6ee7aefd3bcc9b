//! `tch-init record`: records what a PyTorch model's constructor draws and computes, as a plan.

use super::python::{self, Script};
use super::report::{Report, spinner};
use anyhow::Result;
use clap::Args;
use std::ffi::OsString;
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
    let child = python::start(
        &python,
        &Script::Record,
        script_arguments(arguments),
        Stdio::inherit(),
    )?;
    let report = python::finish(
        child,
        &python,
        PREFIX,
        |line| spinner.suspend(|| eprintln!("{line}")),
        |status| {
            format!(
                "{} failed to record: it ended with {status}",
                python.display()
            )
        },
    );
    spinner.finish_and_clear();
    report
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
