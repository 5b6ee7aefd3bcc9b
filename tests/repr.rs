//! `tch_init::repr` against what PyTorch printed.
//!
//! `tests/python/repr_golden.py` builds the same tensors in Python. It also wrote the stored cases:
//!
//! ```text
//! python tests/python/repr_golden.py golden tests/data/repr_golden.json
//! ```

use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor, no_grad};
use tch_init::repr::{PrintOptions, ReprError, parameter_str, tensor_str, tensor_str_with};

pub const GOLDEN: &str = "tests/data/repr_golden.json";

pub fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every dtype, the tch kind in which its bytes can be made, and libtorch's number of the dtype if
/// tch has no kind for it.
#[rustfmt::skip]
pub const DTYPES: [(&str, Kind, Option<i32>); 20] = [
    ("float32", Kind::Float, None), ("float64", Kind::Double, None),
    ("float16", Kind::Half, None), ("bfloat16", Kind::BFloat16, None),
    ("complex64", Kind::ComplexFloat, None), ("complex128", Kind::ComplexDouble, None),
    ("complex32", Kind::ComplexHalf, None), ("bool", Kind::Bool, None),
    ("float8_e5m2", Kind::Float8e5m2, None), ("float8_e4m3fn", Kind::Float8e4m3fn, None),
    ("float8_e5m2fnuz", Kind::Float8e5m2fnuz, None),
    ("float8_e4m3fnuz", Kind::Float8e4m3fnuz, None),
    ("int64", Kind::Int64, None), ("int32", Kind::Int, None), ("int16", Kind::Int16, None),
    ("int8", Kind::Int8, None), ("uint8", Kind::Uint8, None),
    ("uint16", Kind::Int16, Some(27)), ("uint32", Kind::Int, Some(28)),
    ("uint64", Kind::Int64, Some(29)),
];

/// The same bits as another element type, by libtorch's number.
fn view_as(tensor: &Tensor, number: i32) -> Tensor {
    let mut out = [std::ptr::null_mut()];
    // SAFETY: `out` has room for the one tensor that is made, which is then ours; the input lives
    // through the call. The function does not write through its second argument.
    unsafe {
        torch_sys::c_generated::atg_view_dtype(
            out.as_mut_ptr(),
            tensor.as_ptr().cast_mut(),
            number,
        );
        Tensor::from_ptr(out[0])
    }
}

fn integers(value: &Value) -> Vec<i64> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_i64)
        .collect()
}

/// The tensor of a case, as `build` in the generator makes it.
fn build(case: &Value, data: &[u8]) -> Tensor {
    let dtype = case["dtype"].as_str().unwrap();
    let (_, kind, number) = DTYPES
        .into_iter()
        .find(|(name, ..)| *name == dtype)
        .unwrap();
    let shape = integers(&case["shape"]);
    let length = shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
    let full: Vec<u8> = data.iter().copied().cycle().take(length).collect();
    let mut tensor = Tensor::f_from_data_size(&full, &shape, kind).unwrap();
    if let Some(number) = number {
        tensor = view_as(&tensor, number);
    }
    for op in case["ops"].as_array().unwrap() {
        let arguments = integers(op);
        tensor = match op[0].as_str().unwrap() {
            "transpose" => tensor.transpose(arguments[0], arguments[1]),
            "narrow" => tensor.narrow(arguments[0], arguments[1], arguments[2]),
            "expand" => tensor.expand(arguments, false),
            "conj" => tensor.conj(),
            "real" => tensor.real(),
            "imag" => tensor.imag(),
            "sparse_coo" => tensor.to_sparse_sparse_dim(shape.len() as i64),
            "sparse_hybrid" => tensor.to_sparse_sparse_dim(1),
            "sparse_csr" => tensor.to_sparse_csr(None),
            "sparse_csc" => tensor.to_sparse_csc(None),
            "sparse_bsr" => tensor.to_sparse_bsr(arguments, None),
            "sparse_bsc" => tensor.to_sparse_bsc(arguments, None),
            "zerotensor" => {
                Tensor::internal_efficientzerotensor(tensor.size(), (kind, tensor.device()))
            }
            "requires_grad" | "parameter" => tensor.set_requires_grad(true),
            "view_as" => tensor.view_as(&tensor),
            op => panic!("no such operation: {op}"),
        };
    }
    tensor
}

fn options(given: &Value) -> PrintOptions {
    let mut options = PrintOptions::default();
    for (name, value) in given.as_object().unwrap() {
        let number = value.as_u64().map(|number| number as usize);
        match name.as_str() {
            "precision" => options.precision = number.unwrap(),
            "threshold" => options.threshold = number.unwrap(),
            "edgeitems" => options.edgeitems = number.unwrap(),
            "linewidth" => options.linewidth = number.unwrap(),
            "sci_mode" => options.sci_mode = value.as_bool(),
            _ => panic!("no such option: {name}"),
        }
    }
    options
}

pub fn printed(case: &Value, data: &[u8]) -> String {
    let tensor = build(case, data);
    if case["ops"]
        .as_array()
        .unwrap()
        .contains(&json!(["parameter"]))
    {
        assert_eq!(case["options"], json!({}));
        return parameter_str(&tensor).unwrap();
    }
    tensor_str_with(&tensor, &options(&case["options"])).unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |start: usize| u8::from_str_radix(&text[start..start + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn stored_cases_print_as_in_pytorch() {
    let golden: Value =
        serde_json::from_slice(&std::fs::read(in_repository(GOLDEN)).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 600, "only {} cases are stored", cases.len());
    let mut wrong = 0;
    for case in cases {
        let got = printed(case, &from_hex(case["bytes"].as_str().unwrap()));
        let expected = case["expected"].as_str().unwrap();
        if got != expected {
            wrong += 1;
            println!("{case}\nexpected:\n{expected}\ngot:\n{got}\n");
        }
    }
    assert_eq!(wrong, 0, "of {} cases", cases.len());
}

#[test]
fn only_the_edges_of_a_huge_tensor_are_read() {
    // A copy of all of it would take 16 terabytes.
    let huge = Tensor::from_slice(&[1.5_f32]).expand([1_000_000, 1_000_000, 4], false);
    let text = tensor_str(&huge).unwrap();
    assert_eq!(text.matches("1.5000").count(), 6 * 6 * 4);
}

#[test]
fn what_cannot_be_printed_is_a_typed_error() {
    assert!(matches!(
        tensor_str(&Tensor::new()),
        Err(ReprError::Undefined)
    ));
    let precision = 65535;
    let options = PrintOptions {
        precision,
        ..PrintOptions::default()
    };
    let error = tensor_str_with(&Tensor::from(1.0), &options).unwrap_err();
    assert!(matches!(error, ReprError::Precision(65535)));
    let quantized = Tensor::from_slice(&[1.0_f32]).quantize_per_tensor(0.1, 0, Kind::QInt8);
    let error = tensor_str(&quantized).unwrap_err();
    assert!(error.to_string().contains("quantized"), "{error}");
    // libtorch's bits8: it has no values.
    let bits = view_as(&Tensor::from_slice(&[1_u8]), 18);
    assert!(matches!(tensor_str(&bits), Err(ReprError::Unsupported(_))));
}

// Others may come without oneDNN.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_tensor_of_onednn_names_its_layout() {
    let tensor = Tensor::from_slice(&[1.0_f32, 2.0]).to_mkldnn();
    assert_eq!(
        tensor_str(&tensor).unwrap(),
        "tensor([1., 2.], layout=torch._mkldnn)"
    );
}

#[test]
fn printing_leaves_autograd_alone() {
    let weight = Tensor::from_slice(&[1.0_f32, 2.0]).set_requires_grad(true);
    let text = tensor_str(&weight).unwrap();
    assert_eq!(text, "tensor([1., 2.], requires_grad=True)");
    let sum = (&weight * 3.0).sum(Kind::Float);
    assert_eq!(
        tensor_str(&sum).unwrap(),
        "tensor(9., grad_fn=<SumBackward0>)"
    );
    sum.backward();
    assert_eq!(tensor_str(&weight.grad()).unwrap(), "tensor([3., 3.])");
    assert_eq!(tensor_str(&weight).unwrap(), text);
    let unrecorded = no_grad(|| &weight + 1.0);
    assert_eq!(tensor_str(&unrecorded).unwrap(), "tensor([2., 3.])");
    // A view made before its base was computed.
    let mut base = Tensor::from_slice(&[0.0_f32, 0.0]);
    let view = base.view([2]);
    base *= &weight;
    assert_eq!(
        tensor_str(&view).unwrap(),
        "tensor([0., 0.], grad_fn=<AsStridedBackward0>)"
    );
    // The same, but of a view that was not recorded.
    let mut base = Tensor::from_slice(&[0.0_f32, 0.0]);
    let view = no_grad(|| base.view([2]));
    base *= &weight;
    assert_eq!(
        tensor_str(&view).unwrap(),
        "tensor([0., 0.], grad_fn=<Invalid>)"
    );
}
