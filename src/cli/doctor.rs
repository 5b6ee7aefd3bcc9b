//! `tch-init doctor`: what was found, what is wrong, and how to mend it.

use super::Report;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;
use tch_init::doctor::{self, Status};

pub fn run() -> Result<Report> {
    let mut findings = doctor::findings();
    findings.push(python());
    let width = findings.iter().map(|f| f.what.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in &findings {
        let mark = match finding.status {
            Status::Good => "ok  ",
            Status::Absent => "-   ",
            Status::Wrong => "BAD ",
        };
        text.push_str(&format!(
            "{mark}{:width$}  {}\n",
            finding.what, finding.found
        ));
        if let Some(mend) = &finding.mend {
            text.push_str(&format!("    {:width$}  mend: {mend}\n", ""));
        }
    }
    let found = findings.iter().any(|f| f.status == Status::Wrong);
    Ok(Report { text, found })
}

/// The Python whose PyTorch the live tests compare with.
fn python() -> doctor::Finding {
    let what = "Python reference";
    let mend = || Some("run `./setup --reference` in the repository".to_owned());
    let python = std::env::var_os("TCH_INIT_PYTHON")
        .map_or_else(|| PathBuf::from(".venv/bin/python"), PathBuf::from);
    // A name without a folder is looked up by the system, as on the command line.
    let is_name = python.components().count() == 1;
    if !is_name && !python.exists() {
        return doctor::Finding {
            what,
            found: format!("none at {} (only the live tests need it)", python.display()),
            status: Status::Absent,
            mend: mend(),
        };
    }
    let output = Command::new(&python)
        .args(["-c", "import torch; print(torch.__version__.split('+')[0])"])
        .output();
    let (found, status) = match output {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let status = if version == doctor::LIBTORCH_VERSION {
                Status::Good
            } else {
                Status::Wrong
            };
            (format!("PyTorch {version} at {}", python.display()), status)
        }
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            let last = error.lines().last().unwrap_or("no message").to_owned();
            (format!("{} fails: {last}", python.display()), Status::Wrong)
        }
        Err(error) => (
            format!("{} does not run: {error}", python.display()),
            Status::Wrong,
        ),
    };
    doctor::Finding {
        what,
        found,
        status,
        mend: (status == Status::Wrong).then(mend).flatten(),
    }
}
