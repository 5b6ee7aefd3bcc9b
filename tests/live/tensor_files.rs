//! Files that Python writes, every format over every dtype and layout: names, dtypes, shapes and
//! bytes are those that numpy and PyTorch read from them.

use crate::common::run_reference;
use serde_json::{Value, json};
use tch_init::file::TensorFile;

/// A tensor: name, dtype, shape, bytes.
type Described = (String, String, Vec<usize>, Vec<u8>);

fn ours(file: &TensorFile) -> Vec<Described> {
    let described = file.iter().map(|(name, tensor)| {
        let by_name = file.get(name).unwrap();
        assert_eq!(by_name.to_bytes(), tensor.to_bytes());
        let (dtype, shape) = (tensor.dtype().name().to_owned(), tensor.shape().to_vec());
        (name.to_owned(), dtype, shape, tensor.to_bytes())
    });
    described.collect()
}

fn theirs(tensors: &[Value], mut take: impl FnMut(&Value) -> Vec<u8>) -> Vec<Described> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let described = tensors.iter().map(|tensor| {
        let shape = tensor["shape"].as_array().unwrap().iter();
        (
            text(&tensor["name"]),
            text(&tensor["dtype"]),
            shape.map(|size| size.as_u64().unwrap() as usize).collect(),
            take(&tensor["length"]),
        )
    });
    described.collect()
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn every_format_has_the_bytes_that_python_has() {
    let folder = tempfile::tempdir().unwrap();
    let cases = json!({ "folder": folder.path() });
    let (results, bytes) = run_reference("tests/python/tensor_files.py", &cases);
    let mut rest = &bytes[..];
    let mut take = |length: &Value| {
        let (taken, left) = rest.split_at(length.as_u64().unwrap() as usize);
        rest = left;
        taken.to_vec()
    };

    let (mut files, mut tensors) = (0, 0);
    for result in results.as_array().unwrap() {
        let name = result["file"].as_str().unwrap();
        let file = TensorFile::open(folder.path().join(name)).unwrap();
        let mut ours = ours(&file);
        let mut theirs = theirs(result["tensors"].as_array().unwrap(), &mut take);
        assert_eq!(file.format().to_string(), result["format"], "{name}");
        if result["ordered"] == false {
            // Python's state_dict has another order than the attributes of a TorchScript module.
            ours.sort();
            theirs.sort();
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name}");
        }
        let names = |all: &[Described]| all.iter().map(|t| t.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs), "{name}");
        let total: usize = theirs.iter().map(|(.., bytes)| bytes.len()).sum();
        assert_eq!(file.total_bytes(), total as u64, "{name}");
        files += 1;
        tensors += ours.len();

        // From memory, the same.
        if !["index", "directory"].contains(&&*file.format().to_string()) {
            let path = folder.path().join(name);
            let copy = TensorFile::from_bytes(&path, std::fs::read(&path).unwrap()).unwrap();
            assert!(copy.names().eq(file.names()), "{name}");
            assert!(
                copy.iter()
                    .zip(file.iter())
                    .all(|(a, b)| a.1.to_bytes() == b.1.to_bytes())
            );
        }
    }
    assert!(rest.is_empty());
    assert_eq!((files, tensors), (29, 961));
}
