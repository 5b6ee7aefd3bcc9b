//! `Criterion::Close` against `torch.testing.assert_close`: `assert_close.py`.

use crate::common::run_script;
use serde_json::Value;
use tch_init::file::TensorFile;
use tch_init::parity::{AssertClose, Criterion, TensorComparison};

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn verdicts_and_figures_are_assert_closes() {
    let folder = tempfile::tempdir().unwrap();
    run_script("tests/python/assert_close.py", [folder.path()]);
    let open = |name: &str| TensorFile::open(folder.path().join(name)).unwrap();
    let (a, b) = (open("a.safetensors"), open("b.safetensors"));
    let verdicts = std::fs::read(folder.path().join("verdicts.json")).unwrap();
    let verdicts: Vec<Value> = serde_json::from_slice(&verdicts).unwrap();
    assert!(verdicts.len() >= 500, "{}", verdicts.len());
    let mut wrong = Vec::new();
    for verdict in &verdicts {
        let arguments = &verdict["arguments"];
        let criterion = Criterion::Close(
            AssertClose::default()
                .rtol(arguments["rtol"].as_f64())
                .atol(arguments["atol"].as_f64())
                .equal_nan(arguments["equal_nan"].as_bool().unwrap_or(false))
                .check_dtype(arguments["check_dtype"].as_bool().unwrap_or(true)),
        );
        let name = verdict["name"].as_str().unwrap();
        let (actual, expected) = (a.get(name).unwrap(), b.get(name).unwrap());
        let comparison = TensorComparison::new(&actual, &expected, criterion);
        let reported = reported(&comparison);
        if let Some(problem) = contradiction(verdict, &comparison, &reported) {
            wrong.push(format!("{problem}\n    {verdict}\n    {reported:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        verdicts.len(),
        wrong.join("\n")
    );
}

/// What the message says, as the script reads it out of PyTorch's.
fn reported(comparison: &TensorComparison) -> [Option<String>; 3] {
    let text = comparison.to_string();
    let after = |start: &str, end: char| {
        let rest = text.split_once(start)?.1;
        rest.split([end, '\n', ' ']).next().map(str::to_owned)
    };
    [
        after("Mismatched elements: ", ' '),
        after("Greatest absolute difference: ", ' '),
        after("Greatest relative difference: ", ' '),
    ]
}

fn contradiction(
    verdict: &Value,
    comparison: &TensorComparison,
    reported: &[Option<String>; 3],
) -> Option<String> {
    if verdict["same"] != comparison.is_same() {
        return Some("another verdict".to_owned());
    }
    if comparison.is_same() {
        return None;
    }
    for (key, reported) in ["mismatched", "absolute", "relative"].iter().zip(reported) {
        // Figures that PyTorch does not print, as for shapes, are not compared.
        if let Some(theirs) = verdict[key].as_str()
            && reported.as_deref() != Some(theirs)
        {
            return Some(format!("{key} is {reported:?}, not {theirs}"));
        }
    }
    None
}
