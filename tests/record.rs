//! `tch-init record` as a user runs it. What the plans hold is proven in Python, in `tests/python/record`.

use std::path::Path;
use std::process::{Command, Output};

pub fn record(python: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .arg("record")
        .arg("--python")
        .arg(python)
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

/// The one line that a failure prints.
pub fn failure(python: &Path, arguments: &[&str]) -> String {
    let output = record(python, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{arguments:?}:\n{text}");
    assert!(text.starts_with("tch-init: "), "{text}");
    text
}

#[test]
fn a_missing_python_is_one_line() {
    let line = failure(Path::new("no-such-python"), &["torch.nn.Linear(1, 2)"]);
    assert!(line.contains("no-such-python"), "{line}");
    assert!(line.contains("--python"), "{line}");
}

#[cfg(unix)]
#[test]
fn a_python_that_dies_silently_is_one_line() {
    let line = failure(Path::new("false"), &["torch.nn.Linear(1, 2)"]);
    assert!(line.contains("exit status: 1"), "{line}");
}

/// An interpreter that says who it is and fails.
#[cfg(unix)]
pub fn impostor(path: &Path, name: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(
        path,
        format!("#!/bin/sh\necho record.py: {name} >&2\nexit 2\n"),
    )
    .unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
#[test]
fn the_interpreter_is_the_first_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    impostor(&path("bin/python3"), "path");
    impostor(&path("own"), "own");
    impostor(&path("given"), "given");
    let asked = |own: Option<&Path>, active: bool, given: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tch-init"));
        command
            .args(["record", "torch.nn.Linear(1, 2)"])
            .current_dir(folder.path());
        command
            .env_remove("TCH_INIT_PYTHON")
            .env_remove("VIRTUAL_ENV")
            .env_remove("RUST_LOG");
        let paths = std::env::var_os("PATH").unwrap();
        let paths = [path("bin")]
            .into_iter()
            .chain(std::env::split_paths(&paths));
        command.env("PATH", std::env::join_paths(paths).unwrap());
        if let Some(own) = own {
            command.env("TCH_INIT_PYTHON", own);
        }
        if active {
            command.env("VIRTUAL_ENV", folder.path());
        }
        if given {
            command.arg("--python").arg(path("given"));
        }
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert_eq!(asked(None, false, false), "tch-init: path\n");
    impostor(&path(".venv/bin/python"), "venv");
    assert_eq!(asked(None, false, false), "tch-init: venv\n");
    assert_eq!(asked(Some(Path::new("")), false, false), "tch-init: venv\n");
    assert_eq!(asked(None, true, false), "tch-init: path\n");
    assert_eq!(asked(Some(&path("own")), true, false), "tch-init: own\n");
    assert_eq!(asked(Some(&path("own")), true, true), "tch-init: given\n");
}
