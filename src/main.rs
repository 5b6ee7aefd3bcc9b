//! The program `tch-init`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
