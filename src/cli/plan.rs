//! `tch-init plan`: what a plan says.

use super::Report;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use tch_init::plan::InitPlan;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Per parameter: what is drawn, in which order, where in the stream, and what of it is dead
    Show {
        /// The plan
        plan: PathBuf,
    },
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let Command::Show { plan } = &arguments.command;
    Ok(Report {
        text: InitPlan::load(plan)?.to_string(),
        found: false,
    })
}
