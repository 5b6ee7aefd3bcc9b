//! Files that have more than plain tensors: PyTorch's tensors are read from them, and everything else
//! is listed by name.

use crate::common::run_reference;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tch_init::file::TensorFile;
use tch_init::tensor::LeftOutKind;

/// Dtype, shape and bytes.
type Described = (String, Vec<u64>, Vec<u8>);

/// What a file has: tensors, those that cannot be read with a reason, and names of other values.
#[derive(Debug, PartialEq, Default)]
struct Content {
    tensors: BTreeMap<String, Described>,
    unsupported: BTreeMap<String, String>,
    values: Vec<String>,
}

fn ours(file: &TensorFile, reasons: &BTreeMap<String, String>) -> Content {
    let mut content = Content::default();
    for (name, tensor) in file.iter() {
        let shape = tensor.shape().iter().map(|size| *size as u64).collect();
        let described = (tensor.dtype().name().to_owned(), shape, tensor.to_bytes());
        content.tensors.insert(name.to_owned(), described);
    }
    for member in file.left_out() {
        if member.kind == LeftOutKind::NotATensor {
            content.values.push(member.name.clone());
            continue;
        }
        // The reason is that which is expected, if it has its word.
        let reason = match reasons.get(&member.name) {
            Some(word) if member.description().contains(word.as_str()) => word.clone(),
            _ => member.description(),
        };
        content.unsupported.insert(member.name.clone(), reason);
    }
    content.values.sort();
    content
}

/// What only one of them has.
fn difference(ours: &Content, expected: &Content) -> String {
    let lines = |content: &Content| -> Vec<String> {
        let tensors = content.tensors.iter().map(|t| format!("{t:?}"));
        let unsupported = content.unsupported.iter().map(|t| format!("{t:?}"));
        let values = content.values.iter().map(|t| format!("value {t:?}"));
        tensors.chain(unsupported).chain(values).collect()
    };
    let (ours, expected) = (lines(ours), lines(expected));
    let without = |of: &[String], others: &[String]| {
        let only = of.iter().filter(|line| !others.contains(line));
        only.cloned().collect::<Vec<_>>().join("\n    ")
    };
    let (missing, surplus) = (without(&expected, &ours), without(&ours, &expected));
    format!("expected\n    {missing}\n  got\n    {surplus}")
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn tensors_are_read_beside_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let cases = json!({ "folder": folder.path() });
    let (results, bytes) = run_reference("tests/python/odd_files.py", &cases);
    let mut rest = &bytes[..];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut wrong = Vec::new();
    let results = results.as_array().unwrap();
    for result in results {
        let mut expected = Content::default();
        for tensor in result["tensors"].as_array().unwrap() {
            let (data, left) = rest.split_at(tensor["length"].as_u64().unwrap() as usize);
            rest = left;
            let shape = tensor["shape"].as_array().unwrap();
            let shape = shape.iter().map(|size| size.as_u64().unwrap()).collect();
            let described = (text(&tensor["dtype"]), shape, data.to_vec());
            expected.tensors.insert(text(&tensor["name"]), described);
        }
        for (name, word) in result["unsupported"].as_object().unwrap() {
            expected.unsupported.insert(name.clone(), text(word));
        }
        expected.values = result["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect();
        let name = text(&result["file"]);
        match TensorFile::open(folder.path().join(&name)) {
            Ok(file) => {
                let ours = ours(&file, &expected.unsupported);
                if ours != expected {
                    wrong.push(format!("{name}: {}", difference(&ours, &expected)));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(rest.is_empty());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        results.len(),
        wrong.join("\n")
    );
    assert!(results.len() >= 200, "{}", results.len());
}
