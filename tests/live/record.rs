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

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn a_version_is_taken_for_another_on_demand_only() {
    let python = python();
    let line = failure(&python, &["nn.Linear(1, 2)", "--assume-pytorch", "1.13"]);
    assert!(line.contains("name a release from 2.0 to 2.15"), "{line}");
    let output = record(&python, &["nn.Linear(1, 2)", "--assume-pytorch", "2.12"]);
    assert!(output.status.success(), "{output:?}");
    let plan = String::from_utf8(output.stdout).unwrap();
    assert!(plan.contains("\"semantics\": \"2.12\""), "{plan}");
}

#[cfg(feature = "tch")]
#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn the_doctor_says_what_record_takes_the_pytorch_for() {
    let doctor = |python: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .args(["doctor", "--python"])
            .arg(python)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = doctor(&python());
    assert!(
        text.contains("ok  Python of record  PyTorch 2.13.0"),
        "{text}"
    );
    assert!(text.contains("record takes it for 2.13"), "{text}");
    let text = doctor(Path::new("no-such-python"));
    assert!(
        text.contains("BAD Python of record  no-such-python"),
        "{text}"
    );
    // A folder that is no release: what differs, before anything is imported.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("torch")).unwrap();
    std::fs::write(
        folder.path().join("torch/__init__.py"),
        "raise SystemExit(9)",
    )
    .unwrap();
    std::fs::write(
        folder.path().join("torch/version.py"),
        "__version__ = '2.99.0'",
    )
    .unwrap();
    let fake = folder.path().join("python");
    let script = format!(
        "#!/bin/sh\nPYTHONPATH='{}' exec '{}' -S \"$@\"\n",
        folder.path().display(),
        python().display()
    );
    std::fs::write(&fake, script).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let text = doctor(&fake);
    assert!(
        text.contains("BAD Python of record  PyTorch 2.99.0"),
        "{text}"
    );
    assert!(text.contains("none of the releases 2.0 to 2.15"), "{text}");
    let line = failure(&fake, &["nn.Linear(1, 2)"]);
    assert!(
        line.contains("2.99.0") && line.contains("--assume-pytorch"),
        "{line}"
    );
}
