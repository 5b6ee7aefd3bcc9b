//! A table of every dtype of PyTorch 2.13 against `tensor_str` and every reader of files: each cell is
//! what PyTorch has, or is refused by a line that names the dtype.

use crate::common::run_reference;
use serde_json::{Value, json};
use std::ffi::c_int;
use std::fmt::Write as _;
use std::path::Path;
use tch::Tensor;
use tch_init::file::TensorFile;
use tch_init::repr::{ReprError, tensor_str};
use tch_init::tensor::{Dtype, LeftOutKind};

/// In the order of `c10::ScalarType`.
#[rustfmt::skip]
const DTYPES: [&str; 46] = [
    "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex32", "complex64",
    "complex128", "bool", "qint8", "quint8", "qint32", "bfloat16", "quint4x2", "quint2x4", "bits1x8", "bits2x4",
    "bits4x2", "bits8", "bits16", "float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e4m3fnuz", "uint16",
    "uint32", "uint64", "uint1", "uint2", "uint3", "uint4", "uint5", "uint6", "uint7", "int1", "int2", "int3",
    "int4", "int5", "int6", "int7", "float8_e8m0fnu", "float4_e2m1fn_x2",
];

/// The tensor of the script.
fn tensor(dtype: &str, size: usize, shape: &[i64]) -> Tensor {
    let number = DTYPES.iter().position(|name| *name == dtype).unwrap();
    let count = shape.iter().product::<i64>() as usize;
    let modulus = if dtype == "bool" { 2 } else { 256 };
    let bytes = (0..count.max(1) * size).map(|i| ((i * 37 + 120) % 256 % modulus) as u8);
    let bytes: Vec<u8> = bytes.collect();
    let bytes = Tensor::from_slice(&bytes);
    let mut out = [std::ptr::null_mut()];
    // SAFETY: `out` has room for the one tensor that is made, which is then owned here; the input
    // lives through the call. The function does not write through its second argument.
    let whole = unsafe {
        torch_sys::c_generated::atg_view_dtype(
            out.as_mut_ptr(),
            bytes.as_ptr().cast_mut(),
            number as c_int,
        );
        Tensor::from_ptr(out[0])
    };
    whole.narrow(0, 0, count as i64).view(shape)
}

/// What a reader does with the tensor x of a file.
fn read(path: &Path, dtype: &str, bytes: &[u8]) -> Result<&'static str, String> {
    let file = TensorFile::open(path).map_err(|error| error.to_string())?;
    let is_alone = path.extension().is_some_and(|extension| extension == "npy");
    if !is_alone && file.get("w").is_none() {
        return Err("the tensor beside it is lost".to_owned());
    }
    if let Some(x) = file.get("x") {
        let same = x.dtype().name() == dtype && x.shape() == [2, 3] && x.to_bytes() == bytes;
        return same
            .then_some("read")
            .ok_or_else(|| format!("read as {x:?}"));
    }
    match file.left_out() {
        [x] if x.name == "x" && x.kind == LeftOutKind::Unsupported => Ok("named"),
        other => Err(format!("left out: {other:?}")),
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn every_dtype_is_printed_and_read_or_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let cases = json!({ "folder": folder.path() });
    let (results, _) = run_reference("tests/python/dtype_table.py", &cases);
    let shapes: Vec<Vec<i64>> = serde_json::from_value(results["shapes"].clone()).unwrap();
    let rows = results["rows"].as_array().unwrap();
    let mut table = String::new();
    let mut wrong = Vec::new();
    let (mut printed, mut cells_read, mut named) = (0, 0, 0);
    for row in rows {
        let dtype = row["dtype"].as_str().unwrap();
        let size = row["size"].as_u64().unwrap() as usize;
        let bytes: Vec<u8> = serde_json::from_value(row["bytes"].clone()).unwrap();
        write!(table, "{dtype:18}").unwrap();
        for (shape, expected) in shapes.iter().zip(row["printed"].as_array().unwrap()) {
            let ours = tensor_str(&tensor(dtype, size, shape));
            let cell = match (&ours, expected) {
                (Ok(text), Value::String(expected)) if text == expected => "printed",
                (Err(ReprError::Unsupported(what)), _) if what.contains(dtype) => "named",
                _ => {
                    wrong.push(format!(
                        "{dtype} {shape:?}: expected {expected}, got {ours:?}"
                    ));
                    "WRONG"
                }
            };
            printed += usize::from(cell == "printed");
            write!(table, " {cell:8}").unwrap();
        }
        for format in ["pt", "legacy.pt", "ts", "safetensors", "npz", "npy"] {
            let cell = match row["files"].get(format) {
                // PyTorch or numpy cannot write it.
                None => "-",
                Some(path) => {
                    let path = Path::new(path.as_str().unwrap());
                    read(path, dtype, &bytes).unwrap_or_else(|problem| {
                        wrong.push(format!("{dtype} {format}: {problem}"));
                        "WRONG"
                    })
                }
            };
            cells_read += usize::from(cell == "read");
            named += usize::from(cell == "named");
            write!(table, " {cell:6}").unwrap();
        }
        table.push('\n');
        let is_known = Dtype::ALL.iter().any(|known| known.name() == dtype);
        let is_read = row["files"].get("pt").is_some() && is_known;
        assert_eq!(
            is_read, is_known,
            "{dtype}: torch.save writes what is supported"
        );
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{}\n{table}", wrong.join("\n"));
    assert_eq!(rows.len(), DTYPES.len());
    assert!(
        printed > 100 && cells_read > 80 && named > 15,
        "{printed} {cells_read} {named}\n{table}"
    );
}
