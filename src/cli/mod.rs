//! The program: one file per subcommand.
//!
//! Exit codes: 0 done or equal, 1 a difference or a problem was found, 2 bad input or a failure, with one line on stderr.

mod assemble;
mod check;
mod diff;
mod dtype;
mod materialize;
mod name_habits;
mod plan;
mod python;
mod record;
mod rename_hint;
mod report;
mod selection;
mod state_file;
mod trace;
mod versions;
#[cfg(feature = "tch")]
mod weights;

#[cfg(feature = "tch")]
mod demo;
#[cfg(feature = "tch")]
mod demo_check;
#[cfg(feature = "tch")]
mod doctor;
#[cfg(feature = "tch")]
mod experiment;
#[cfg(feature = "tch")]
mod explain;
#[cfg(feature = "tch")]
mod explain_alone;

#[cfg(not(feature = "tch"))]
mod needs_libtorch;
#[cfg(not(feature = "tch"))]
use needs_libtorch as demo;
#[cfg(not(feature = "tch"))]
use needs_libtorch as doctor;
#[cfg(not(feature = "tch"))]
use needs_libtorch as explain;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// PyTorch's weight initialization for Rust, bit for bit.
#[derive(Parser)]
#[command(name = "tch-init", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Complete a folder whose parts `materialize` has made: check that all files are whole, write the index, rename it
    Assemble(assemble::Arguments),
    /// Draw samples of saved weights again, anywhere in them, and compare
    Check(check::Arguments),
    /// Run the experiment that the project grew from, and print it as Python does
    Demo(demo::Arguments),
    /// Compare two sets of tensors by bits, ULPs, or PyTorch's tolerances
    Diff(diff::Arguments),
    /// Explain why tensors differ from what PyTorch draws, or, of one file, with which seed they were drawn
    Explain(explain::Arguments),
    /// Make the tensors of a plan at any seed, with the bits that PyTorch's constructor gives them
    Materialize(materialize::Arguments),
    /// Show what a plan draws
    Plan(plan::Arguments),
    /// Record how a PyTorch model is initialized, as a plan for any seed
    Record(record::Arguments),
    /// Record the operations of a program, and name where two programs first compute something else
    Trace(trace::Arguments),
    /// Show which PyTorch has whose bits, and what `record` does under it
    Versions(versions::Arguments),
    /// List everything that can affect the bits, and how to fix problems
    Doctor(doctor::Arguments),
}

#[cfg(feature = "tch")]
// SAFETY: the C library's function has this signature and no preconditions.
unsafe extern "C" {
    safe fn _exit(status: std::ffi::c_int) -> !;
}

/// Runs the program.
pub fn main() -> ExitCode {
    // Warnings of the library go to stderr, as Python's do.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .format_timestamp(None)
        .format_target(false)
        .init();
    #[cfg(feature = "tch")]
    if let Err(error) = tch_init::LibtorchInfo::check_version() {
        eprintln!("tch-init: {}", one_line(&error.to_string()));
        // Without the functions that libtorch registered for the end of the process: an older one frees what it does not have.
        _exit(2);
    }
    let arguments = diff::with_default_tolerances(std::env::args_os());
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let report = match arguments.command {
        Command::Assemble(arguments) => assemble::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Materialize(arguments) => materialize::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Versions(arguments) => versions::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    };
    match report.and_then(|report| print(&report.text).map(|()| report.found)) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(1),
        Err(error) => {
            eprintln!("tch-init: {}", one_line(&format!("{error:#}")));
            ExitCode::from(2)
        }
    }
}

/// Prints help and version to stdout, anything else as one line to stderr.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr()
        || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        let code = if error.use_stderr() { 2 } else { 0 };
        return match error.print() {
            Ok(()) => ExitCode::from(code),
            Err(_) => ExitCode::from(2),
        };
    }
    let text = error.to_string();
    let message: Vec<&str> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(str::trim)
        .collect();
    let message = message.join(" ");
    eprintln!(
        "tch-init: {}; try `tch-init --help`",
        message.strip_prefix("error: ").unwrap_or(&message)
    );
    ExitCode::from(2)
}

/// Writes to stdout. A closed pipe is not a failure.
fn print(text: &str) -> anyhow::Result<()> {
    // Colors are printed on a terminal only.
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to stdout"))
        }
        _ => Ok(()),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
