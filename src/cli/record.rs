//! `tch-init record`: records what a PyTorch model's constructor draws and computes, as a plan.

use super::report::{Report, spinner};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The recorder, compiled in, so that the program needs no other file.
const SCRIPT: &str = include_str!("../../python/record.py");
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
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let python = arguments.python.clone().unwrap_or_else(default_python);
    let spinner = spinner("recording");
    let mut child = Command::new(&python)
        .arg("-c")
        .arg(SCRIPT)
        .args(script_arguments(arguments))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!(
                "cannot run {} (use --python to name a Python that has PyTorch)",
                python.display()
            )
        })?;
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

/// The first of these that exists.
fn default_python() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let local = PathBuf::from(".venv/bin/python");
    match (set("TCH_INIT_PYTHON"), set("VIRTUAL_ENV")) {
        (Some(python), _) => python.into(),
        (None, None) if local.exists() => local,
        // The Python of an active environment is the first on PATH.
        _ => PathBuf::from("python3"),
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
    if let Some(args) = &arguments.args {
        list.push(format!("--args={args}").into());
    }
    list.extend(["--".into(), (&arguments.expression).into()]);
    list
}
