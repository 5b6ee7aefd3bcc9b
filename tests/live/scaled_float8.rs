//! Checkpoints whose weights are one-byte floats with a scale beside them: `diff` and `explain` say so.

use crate::common::run_reference;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn run(arguments: &[&str], paths: [&Path; 2]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .args(arguments)
        .args(paths)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text)
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn scaled_weights_are_recognized() {
    let folder = tempfile::tempdir().unwrap();
    let cases = json!({ "folder": folder.path() });
    let (results, _) = run_reference("tests/python/scaled_float8.py", &cases);
    let results = results.as_array().unwrap();
    for (i, result) in results.iter().enumerate() {
        let text = |key: &str| result[key].as_str().unwrap();
        let scaled = folder.path().join(text("scaled"));
        let unscaled = folder.path().join(text("unscaled"));
        let (scale, layout) = (text("scale"), text("layout"));
        let is_exact = result["exact"].as_bool().unwrap();
        for (paths, [own, other], [yours, reference]) in [
            (
                [&*scaled, &*unscaled],
                ["A", "B"],
                ["yours", "the reference"],
            ),
            (
                [&*unscaled, &*scaled],
                ["B", "A"],
                ["the reference", "yours"],
            ),
        ]
        .into_iter()
        .take(1 + usize::from(i % 4 == 0))
        {
            let (code, text) = run(&["diff"], paths);
            let line = match is_exact {
                true => format!(
                    "{own} is scaled: {own} times {scale} ({layout}), rounded to the dtype of {other}, is {other}, bit for bit\n"
                ),
                false => format!(
                    "{own} is scaled: {other} divided by {scale} ({layout}) rounds to {own}; "
                ),
            };
            assert!(text.contains(&line), "{result}: {line}{text}");
            assert_eq!(code, Some(1), "{result}");
            let (_, text) = run(&["diff", "--json"], paths);
            let output: Value = serde_json::from_str(&text).unwrap();
            let found = output["tensors"].as_array().unwrap();
            let weight = found.iter().find(|t| t["name"] == "fc.weight").unwrap();
            assert_eq!(weight["scaled"]["scale"], scale, "{result}");
            assert_eq!(weight["scaled"]["side"], own.to_lowercase(), "{result}");
            assert_eq!(weight["scaled"]["bit_for_bit"], is_exact, "{result}");
            let (code, text) = run(&["explain", "--other-seeds", "0"], paths);
            let line = match is_exact {
                true => format!("  scaled: {yours} times {scale} ({layout}) is {reference}\n"),
                false => format!(
                    "  scaled: {reference} divided by {scale} ({layout}) rounds to {yours}\n"
                ),
            };
            assert!(text.contains(&line), "{result}: {line}{text}");
            assert!(text.contains("1 scaled-float8"), "{text}");
            assert_eq!(code, Some(1), "{result}");
        }
    }
    assert_eq!(results.len(), 33);
}
