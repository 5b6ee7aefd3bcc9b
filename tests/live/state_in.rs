//! `materialize --state-in` reads the state of PyTorch's generator from the files that people have.

use crate::common::run_reference;
use crate::repr::in_repository;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};

fn materialize(state: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .arg("materialize")
        .arg(in_repository("tests/data/linear.plan.json"))
        .arg("--state-in")
        .arg(state)
        .arg("-o")
        .arg(output)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn states_are_read_from_the_files_that_people_have() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cases = json!({ "folder": folder });
    let (results, state) = run_reference("tests/python/state_files.py", &cases);
    let weights = folder.join("weights.safetensors");
    let made = |state: &Path| {
        let output = materialize(state, &weights);
        assert!(output.status.success(), "{}: {output:?}", state.display());
        std::fs::read(&weights).unwrap()
    };
    let raw = folder.join("expected.state");
    std::fs::write(&raw, &state).unwrap();
    let expected = made(&raw);
    let good = results["good"].as_array().unwrap();
    assert!(good.len() > 14);
    for name in good {
        let name = name.as_str().unwrap();
        assert!(made(&folder.join(name)) == expected, "{name}");
    }
    for (name, message) in results["bad"].as_object().unwrap() {
        let output = materialize(&folder.join(name), &weights);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        let message = message.as_str().unwrap();
        assert_eq!(line.matches(message).count(), 1, "{line}");
    }
}
