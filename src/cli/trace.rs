//! `tch-init trace`: records the operations of a Python program, shows them, and compares two such traces.

mod aftermath;
mod diff;
mod differences;
mod html;
mod layers;
mod losses;
mod numbers;
#[cfg_attr(not(feature = "tch"), path = "trace/no_proof.rs")]
mod proof;
mod python;
mod said;
mod show;

use super::report::Report;
use anyhow::Result;
use clap::{Args, Subcommand};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Record every operation of a Python script, which stays unchanged
    Python(python::Arguments),
    /// Count the operations of a trace, by module and phase
    Show(show::Arguments),
    /// Name where two programs first compute something else
    Diff(diff::Arguments),
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    match &arguments.command {
        Command::Python(arguments) => python::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
    }
}
