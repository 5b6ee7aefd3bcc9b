//! `tch-init assemble`: completes a folder of files that several processes made.

use super::report::Report;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tch_init::plan;

#[derive(Args)]
pub struct Arguments {
    /// The folder, as `materialize -o` has it
    folder: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let folder: PathBuf = arguments.folder.components().collect();
    let assembled = plan::assemble(&folder)?;
    Ok(Report {
        text: format!(
            "{}: {} files, {} bytes; complete\n",
            folder.display(),
            assembled.files,
            assembled.bytes
        ),
        found: false,
    })
}
