//! Cases go to one Python process and come back as results to compare with.

use super::run_reference;
use serde_json::{Value, json};

/// What PyTorch did with a case.
pub struct Expected {
    /// Python's exception: its type and the first line of its message.
    pub error: Option<(String, String)>,
    /// The results: tensors, then generator states.
    pub chunks: Vec<Vec<u8>>,
    /// Whatever else the case asks for.
    pub rest: Vec<Value>,
}

/// What PyTorch does with every case, with as many threads as this process has.
pub fn expected(cases: &[Value]) -> Vec<Expected> {
    expected_of("tests/python/reference.py", cases)
}

/// The same of another script that takes cases as `reference.py` does.
pub fn expected_of(script: &str, cases: &[Value]) -> Vec<Expected> {
    let request = json!({ "threads": tch::get_num_threads(), "cases": cases });
    let (results, bytes) = run_reference(script, &request);
    let mut rest_of_bytes = &bytes[..];
    let mut take = |length: &Value| {
        let length = usize::try_from(length.as_u64().unwrap()).unwrap();
        let (chunk, rest) = rest_of_bytes.split_at(length);
        rest_of_bytes = rest;
        chunk.to_vec()
    };
    let array = |value: &Value| value.as_array().unwrap().clone();
    let expected: Vec<_> = array(&results)
        .iter()
        .map(|result| Expected {
            error: result["error"].as_array().map(|error| {
                let text = |i: usize| error[i].as_str().unwrap().to_owned();
                (text(0), text(1))
            }),
            chunks: array(&result["lengths"]).iter().map(&mut take).collect(),
            rest: array(&result["rest"]),
        })
        .collect();
    assert_eq!(expected.len(), cases.len());
    assert!(rest_of_bytes.is_empty());
    expected
}

/// Where two results part, for the failure message.
pub fn first_difference(ours: &[Vec<u8>], theirs: &[Vec<u8>]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} chunks against {}", ours.len(), theirs.len()));
    }
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        if a.len() != b.len() {
            return Some(format!("chunk {i}: {} bytes against {}", a.len(), b.len()));
        }
        if let Some(at) = (0..a.len()).find(|&at| a[at] != b[at]) {
            return Some(format!("chunk {i}: byte {at} of {}", a.len()));
        }
    }
    None
}
