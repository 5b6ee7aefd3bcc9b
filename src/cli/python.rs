//! The Python that has a PyTorch: which one is run, how the recorder is handed to it, and what it says.

use super::report::Report;
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The recorder, compiled in, so that the program needs no other file.
const RECORD: &str = include_str!("../../python/record.py");
/// What the recorder knows of PyTorch's versions: the functions, and the table.
const VERSIONS: &str = include_str!("../../python/versions.py");
/// The table of versions, which `tch-init versions` shows.
pub const TABLE: &str = include_str!("../../python/versions.json");

/// Reads the sources from stdin, since Linux limits an argument to 128 KB, and makes a module of the versions, as which
/// the recorder finds it. Then runs the source that is named first.
const START: &str = r#"
import json, sys, types
_sources = json.loads(sys.stdin.buffer.read())
_module = sys.modules["tch_init_versions"] = types.ModuleType("tch_init_versions")
_module.TABLE_TEXT = _sources["table"]
exec(compile(_sources["versions"], "<versions.py>", "exec"), vars(_module))
exec(compile(_sources["main"], "<string>", "exec"))
"#;

/// What is run with the versions at hand.
pub enum Script {
    /// The recorder.
    Record,
    /// One line of JSON on the PyTorch that this Python has.
    #[cfg(feature = "tch")]
    Doctor,
}

impl Script {
    fn source(&self) -> &'static str {
        match self {
            Script::Record => RECORD,
            #[cfg(feature = "tch")]
            Script::Doctor => "import tch_init_versions\ntch_init_versions.doctor()\n",
        }
    }
}

/// The Python that `record` runs if none is given: the first of these that exists.
pub fn default() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let local = PathBuf::from(".venv/bin/python");
    match (set("TCH_INIT_PYTHON"), set("VIRTUAL_ENV")) {
        (Some(python), _) => python.into(),
        (None, None) if local.exists() => local,
        // The Python of an active environment is the first on PATH.
        _ => PathBuf::from("python3"),
    }
}

/// Starts a script. Its stderr is piped; its stdin is at its end.
pub fn start(
    python: &Path,
    script: &Script,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    stdout: Stdio,
) -> Result<Child> {
    let sources = serde_json::json!({
        "main": script.source(),
        "versions": VERSIONS,
        "table": TABLE,
    });
    let mut child = spawn(
        python,
        Command::new(python)
            .arg("-c")
            .arg(START)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(stdout),
    )?;
    let mut stdin = child
        .stdin
        .take()
        .ok_or_else(|| anyhow!("cannot write to {}", python.display()))?;
    // Python reads all of it before it writes anything. One that ends before says why itself.
    match stdin.write_all(sources.to_string().as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context(format!("cannot write to {}", python.display())))
        }
        _ => Ok(child),
    }
}

/// Runs a command of this Python, with a piped stderr.
pub fn spawn(python: &Path, command: &mut Command) -> Result<Child> {
    command.stderr(Stdio::piped()).spawn().with_context(|| {
        format!(
            "cannot run {} (use --python to name a Python that has PyTorch)",
            python.display()
        )
    })
}

/// Waits for a script whose own messages begin with `prefix`. The last of them is its failure; warnings and
/// what the user's code writes to stderr are passed on to `print`. `unexplained` tells a failure without a message.
pub fn finish(
    mut child: Child,
    python: &Path,
    prefix: &str,
    print: impl Fn(&str),
    unexplained: impl FnOnce(ExitStatus) -> String,
) -> Result<Report> {
    let stderr = child
        .stderr
        .take()
        .ok_or_else(|| anyhow!("cannot read the output of {}", python.display()))?;
    let mut failure = None;
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line.context("cannot read the output of Python")?;
        let line = String::from_utf8_lossy(&line);
        match line.strip_prefix(prefix) {
            Some(said) if !said.starts_with("warning: ") => failure = Some(said.to_owned()),
            Some(said) => print(&format!("tch-init: {said}")),
            None => print(&line),
        }
    }
    let status = child.wait().context("cannot wait for Python")?;
    match (status.success(), failure) {
        (true, _) => Ok(Report {
            text: String::new(),
            found: false,
        }),
        (false, Some(failure)) => bail!("{failure}"),
        (false, None) => bail!("{}", unexplained(status)),
    }
}
