//! `explain` of one file finds where PyTorch drew its tensors.

use crate::common::run_reference;
use serde_json::{Value, json};
use std::collections::BTreeMap;
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

/// Values that are not drawn by PyTorch's CPU generator have no seed: 10,000 tensors in `make test-explain`.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn no_seed_is_found_in_other_values() {
    let files = std::env::var("TCH_INIT_FILES").map_or(1, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let cases = json!({ "folder": folder.path(), "files": files });
    let (paths, _) = run_reference("tests/python/unlocated.py", &cases);
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for path in paths.as_array().unwrap() {
        let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .args(["explain", "--json", path.as_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{path}: {output:?}");
        let output: Value = serde_json::from_slice(&output.stdout).unwrap();
        for tensor in output["located"].as_array().unwrap() {
            let id = tensor["place"]["id"].as_str().unwrap();
            assert!(!["drawn", "no-seed"].contains(&id), "{path}: {tensor}");
            let kind = tensor["tensor"]
                .as_str()
                .unwrap()
                .split_once(' ')
                .unwrap()
                .1;
            let place = format!("{kind}, {}: {id}", tensor["dtype"]);
            *places.entry(place).or_default() += 1;
        }
    }
    println!("{places:#?}");
    assert_eq!(places.values().sum::<usize>(), 100 * files);
}

/// Shards with an index, their folder and the index itself are one set of tensors.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn seeds_are_found_from_shards() {
    let folder = tempfile::tempdir().unwrap();
    let cases = json!({ "folder": folder.path() });
    run_reference("tests/python/located.py", &cases);
    let shards = folder.path().join("shards");
    for path in [shards.join("model.safetensors.index.json"), shards] {
        let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .arg("explain")
            .arg(path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("word 0  fc1.weight"), "{text}");
        assert!(
            text.ends_with("4 tensors: 4 drawn with seed 77\n"),
            "{text}"
        );
    }
}
