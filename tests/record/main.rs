//! `tch-init record` as a user runs it. What the plans hold is proven in Python, beside this file.

#![cfg(feature = "cli")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn record(python: &Path, arguments: &[&str]) -> Output {
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
fn failure(python: &Path, arguments: &[&str]) -> String {
    let output = record(python, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{arguments:?}:\n{text}");
    assert!(text.starts_with("tch-init: "), "{text}");
    text
}

/// The interpreter of the Python reference: a live test that cannot run has failed.
fn reference() -> PathBuf {
    let python = std::env::var_os("TCH_INIT_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "the Python reference is missing ({}): run `./setup --reference`",
        python.display()
    );
    python
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
fn impostor(path: &Path, name: &str) {
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

#[cfg(unix)]
#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn a_python_without_pytorch_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare");
    impostor(&bare, "");
    let script = format!("#!/bin/sh\nexec '{}' -I -S \"$@\"\n", reference().display());
    std::fs::write(&bare, script).unwrap();
    let line = failure(&bare, &["torch.nn.Linear(1, 2)"]);
    assert!(line.contains("has no PyTorch"), "{line}");
}

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn the_plan_is_that_of_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("linear.plan.json");
    let expression = "torch.nn.Linear(2, 3)";
    let output = record(&reference(), &[expression, "-o", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
    let written = std::fs::read(&file).unwrap();
    let script = Command::new(reference())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/record.py"))
        .arg(expression)
        .output()
        .unwrap();
    assert!(script.status.success(), "{script:?}");
    assert_eq!(written, script.stdout);
    // The schema shows this very plan.
    let schema =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan.md"))
            .unwrap();
    assert!(schema.contains(std::str::from_utf8(&written).unwrap().trim_end()));
}

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn failures_of_the_script_are_the_programs() {
    let python = reference();
    // The script's own tests have the others.
    for (arguments, said) in [
        (&["torch.nn.Linear(2"][..], "torch.nn.Linear(2"),
        (
            &["torch.nn:Linear", "--args", "{", "--import", "math"],
            "--args",
        ),
        (
            &["torch.nn:Linear", "--config", "no.json"],
            "no.json: No such file",
        ),
        (
            &["torch.nn.Linear(2, 3)", "-o", "no/such/folder/a"],
            "no folder",
        ),
    ] {
        let line = failure(&python, arguments);
        assert!(line.contains(said), "{arguments:?}: {line}");
    }
}

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn expressions_may_start_with_a_dash() {
    let line = failure(&reference(), &["--", "-1"]);
    assert!(line.contains("int"), "{line}");
}
