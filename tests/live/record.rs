//! `tch-init record` with a PyTorch.

use crate::common::python;
use crate::record::{failure, impostor, record};
use std::path::Path;
use std::process::Command;

#[cfg(unix)]
#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn a_python_without_pytorch_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare");
    impostor(&bare, "");
    let script = format!("#!/bin/sh\nexec '{}' -I -S \"$@\"\n", python().display());
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
    let output = record(&python(), &[expression, "-o", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
    let written = std::fs::read(&file).unwrap();
    let script = Command::new(python())
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
    let python = python();
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
            "no/such/folder does not exist",
        ),
    ] {
        let line = failure(&python, arguments);
        assert!(line.contains(said), "{arguments:?}: {line}");
    }
}

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn expressions_may_start_with_a_dash() {
    let line = failure(&python(), &["--", "-1"]);
    assert!(line.contains("int"), "{line}");
}
