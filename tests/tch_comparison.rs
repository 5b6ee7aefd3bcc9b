//! Comparison of tch's variable stores and tensors.

use tch::nn::{Init, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::parity::{Comparison, Criterion, TensorSource};
use tch_init::tensor::Dtype;
use tch_init::{assert_bits_eq, assert_ulp_le};

fn names(vs: &VarStore) -> Vec<String> {
    let entries = vs.entries().unwrap();
    let names = entries.iter().map(|entry| entry.name().to_owned());
    names.collect()
}

#[test]
fn trainable_variables_come_in_creation_order_and_others_by_name() {
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    for name in ["z", "b", "10", "2", "m"] {
        drop(root.var(name, &[2, 3], Init::Const(1.0)));
        drop(root.zeros_no_train(&format!("{name}_buffer"), &[2, 3]));
    }
    assert_eq!(
        names(&vs),
        [
            "z",
            "b",
            "10",
            "2",
            "m",
            "10_buffer",
            "2_buffer",
            "b_buffer",
            "m_buffer",
            "z_buffer",
        ]
    );
}

/// tch appends `__N` to a name that exists already.
#[test]
fn renamed_duplicates_keep_their_creation_order() {
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    for _ in 0..3 {
        drop(root.var("w", &[2], Init::Const(0.0)));
        drop(root.var("a", &[2], Init::Const(0.0)));
    }
    assert_eq!(names(&vs), ["w", "a", "w__2", "a__3", "w__4", "a__5"]);
}

/// The data pointers of tensors without elements are all null.
#[test]
fn variables_without_elements_keep_their_creation_order() {
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    drop(root.var("z", &[0, 3], Init::Const(0.0)));
    drop(root.var("y", &[2], Init::Const(0.0)));
    drop(root.zeros_no_train("b", &[0, 3]));
    drop(root.var("x", &[0, 3], Init::Const(0.0)));
    drop(root.var("a", &[0, 3], Init::Const(0.0)));
    assert_eq!(names(&vs), ["z", "y", "x", "a", "b"]);
}

/// Tied weights, a transposed view and a slice of one storage are listed once each.
#[test]
fn variables_that_share_a_storage_are_all_listed() {
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let mut head = root.var("head", &[2, 2], Init::Const(1.0));
    let embedding = root.var("embedding", &[2, 2], Init::Const(2.0));
    let mut transposed = root.var("b_transposed", &[2, 2], Init::Const(3.0));
    let mut row = root.var("a_row", &[2], Init::Const(4.0));
    let data = Tensor::from_slice(&[1f32, 2., 3., 4.]).view([2, 2]);
    for (variable, view) in [
        (&mut head, data.shallow_clone()),
        (&mut embedding.shallow_clone(), data.shallow_clone()),
        (&mut transposed, data.tr()),
        (&mut row, data.get(1)),
    ] {
        variable.set_data(&view);
    }
    // The first two are one tensor to libtorch, so their names are sorted.
    assert_eq!(names(&vs), ["embedding", "head", "b_transposed", "a_row"]);
    let elements: Vec<Vec<u8>> = vs
        .entries()
        .unwrap()
        .iter()
        .map(|entry| entry.load().unwrap().view().unwrap().to_bytes())
        .collect();
    let bytes = |values: &[f32]| {
        values
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let rows = bytes(&[1., 2., 3., 4.]);
    assert_eq!(
        elements,
        [
            rows.clone(),
            rows,
            bytes(&[1., 3., 2., 4.]),
            bytes(&[3., 4.])
        ]
    );
}

#[test]
fn elements_are_copied_from_any_layout_and_dtype() {
    let lazy = Tensor::from_slice(&[1f32, 2.])
        .to_kind(Kind::ComplexFloat)
        .conj();
    let entries = lazy.entries().unwrap();
    let data = entries[0].load().unwrap();
    let view = data.view().unwrap();
    assert_eq!((view.dtype(), view.shape()), (Dtype::Complex64, &[2][..]));
    let sparse = Tensor::eye(2, (Kind::Float, Device::Cpu)).to_sparse(None, None::<i64>, None);
    let error = sparse.entries().unwrap()[0].load().unwrap_err();
    assert!(
        error.to_string().contains("call to_dense() first"),
        "{error}"
    );
}

#[test]
fn var_stores_are_compared_by_name() {
    let _stream = crate::common::default_stream();
    let net = |bias: f64| {
        let vs = VarStore::new(Device::Cpu);
        let _no_grad = tch::no_grad_guard();
        tch_init::nn::linear(vs.root() / "fc", 3, 2, Default::default());
        drop(vs.variables()["fc.weight"].shallow_clone().fill_(1.5));
        drop(vs.variables()["fc.bias"].shallow_clone().fill_(bias));
        vs
    };
    let (a, b) = (net(0.5), net(0.25));
    let comparison = Comparison::new(&a, &b, Criterion::Bits).unwrap();
    let names: Vec<(&str, bool)> = comparison
        .pairs
        .iter()
        .map(|pair| (pair.name.as_str(), pair.comparison.is_same()))
        .collect();
    assert_eq!(names, [("fc.weight", true), ("fc.bias", false)]);
}

#[test]
fn assertions_take_tch_tensors_and_report_the_mismatch() {
    const NEXT: f32 = 1.0 + f32::EPSILON;
    let ones = Tensor::ones([2, 2], (Kind::BFloat16, Device::Cpu));
    assert_bits_eq!(ones, ones.copy());
    let panicked = std::panic::catch_unwind(|| {
        let next = Tensor::from_slice(&[1.0f32, NEXT]);
        assert_ulp_le!(next, Tensor::from_slice(&[1.0f32, NEXT]), 0);
        assert_ulp_le!(next, Tensor::from_slice(&[1.0f32, 1.0]), 0, "step {}", 3);
    });
    let message = *panicked.unwrap_err().downcast::<String>().unwrap();
    for part in [
        "step 3",
        "index (1,)",
        "0x3f800001",
        "0x3f800000",
        "distance: 1",
        "1 / 2",
    ] {
        assert!(message.contains(part), "{part} is missing:\n{message}");
    }
}
