//! Stands in for the commands that need libtorch, in a program built without the feature `tch`.

use super::report::Report;
use anyhow::{Result, bail};
use std::ffi::OsString;

/// Accepts any arguments.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

/// Fails with the way to a program that has the command.
pub fn run(_: &Arguments) -> Result<Report> {
    bail!(
        "this command needs libtorch, and this program was built without it: run `./setup` and \
         `cargo install --path . --features cli` in a checkout of tch-init"
    )
}
