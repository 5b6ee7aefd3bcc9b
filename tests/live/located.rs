//! `explain` of one file finds where PyTorch drew its tensors.

use crate::common::run_reference;
use serde_json::{Value, json};
use std::process::Command;

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn seeds_and_positions_are_found_from_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let cases = json!({ "folder": folder.path() });
    let (files, _) = run_reference("tests/python/located.py", &cases);
    for file in files.as_array().unwrap() {
        let path = file["file"].as_str().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .args(["explain", "--json", path])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{path}: {output:?}");
        let output: Value = serde_json::from_slice(&output.stdout).unwrap();
        let located = output["located"].as_array().unwrap();
        for (name, expected) in file["places"].as_object().unwrap() {
            let tensor = located.iter().find(|tensor| tensor["tensor"] == **name);
            let place = &tensor.unwrap()["place"];
            if let Some(id) = expected.as_str() {
                assert_eq!(place["id"], id, "{name} of {path}: {place}");
                continue;
            }
            assert_eq!(place["id"], "drawn", "{name} of {path}: {place}");
            assert_eq!(place["seed"], expected["seed"], "{name} of {path}");
            assert_eq!(place["changed"], expected["changed"], "{name} of {path}");
            let is_transposed = !place["order"].is_null();
            assert_eq!(is_transposed, expected["transposed"], "{name} of {path}");
            if !expected["word"].is_null() {
                assert_eq!(place["word"], expected["word"], "{name} of {path}");
            }
        }
    }
}
