//! What PyTorch filled, kept in `tests/data/golden.json`, so that `cargo test` needs no Python.
//!
//! The file was written by
//! `TCH_INIT_WRITE_GOLDEN=1 cargo test --test main -- --ignored write_the_golden_file`.

use crate::common::case::{Case, Function, case, functions};
use crate::common::default_stream;
use serde_json::Value;
use std::path::Path;

pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden.json");

/// Every function on every floating dtype: both sides of the 16 elements from which normals are
/// drawn in blocks, a remainder, a matrix and a convolution.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for function in functions() {
        for dtype in ["f32", "f64", "bf16", "f16"] {
            for shape in [&[3, 5][..], &[21], &[4, 4], &[4, 2, 3]] {
                let mut case = case(function, dtype, shape, "contiguous");
                case.seed = cases.len() as i128 % 5 - 1;
                case.warm = [0, 620][cases.len() % 2];
                cases.push(case);
            }
        }
    }
    cases
}

/// FNV-1a, to keep 5056 bytes of state as one number.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn values_are_those_that_pytorch_filled() {
    let golden: Vec<Value> =
        serde_json::from_slice(&std::fs::read(Path::new(FILE)).unwrap()).unwrap();
    let cases = cases();
    assert_eq!(golden.len(), cases.len());
    let _stream = default_stream();
    for (case, golden) in cases.iter().zip(&golden) {
        assert_eq!(golden["case"], case.json());
        let (result, chunks) = case.run();
        assert_eq!(
            result.is_err(),
            golden["error"].is_string(),
            "{case:?}: {result:?}"
        );
        let state = format!("{:016x}", digest(&chunks[1]));
        assert_eq!(golden["state"], state, "{case:?}");
        let expected = golden["values"].as_str().unwrap();
        match case.function {
            Function::Orthogonal(_) => assert_close(case, &chunks[0], expected),
            _ => assert_eq!(hex(&chunks[0]), expected, "{case:?}"),
        }
    }
}

/// `orthogonal_` ends in LAPACK, whose last bits depend on the CPU and the number of threads.
fn assert_close(case: &Case, ours: &[u8], expected: &str) {
    let theirs: Vec<u8> = (0..expected.len() / 2)
        .map(|i| u8::from_str_radix(&expected[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let values = |bytes: &[u8]| -> Vec<f64> {
        match case.dtype {
            "f32" => bytes
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            "f64" => bytes
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            // LAPACK has no half precision: PyTorch raises, and the tensor stays as it was.
            _ => bytes.iter().map(|b| f64::from(*b)).collect(),
        }
    };
    assert_eq!(ours.len(), theirs.len(), "{case:?}");
    for (a, b) in values(ours).into_iter().zip(values(&theirs)) {
        assert!((a - b).abs() <= 1e-5, "{case:?}: {a} against {b}");
    }
}
