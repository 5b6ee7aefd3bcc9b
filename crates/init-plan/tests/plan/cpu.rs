//! Plans without libtorch: what is made, and what is rejected.

use crate::build::{Builder, linear, view};
use init_plan::{
    CpuStream, CpuTensor, InitPlan, NeedsLibtorch, PlanError, Save, StorageTooSmall, Stream,
};
use serde_json::json;
use std::error::Error;
use std::num::NonZero;
use torch_rng::{ArgumentError, Draw, Mt19937, Semantics};

fn bytes(tensors: &[(String, CpuTensor)]) -> Vec<Vec<u8>> {
    tensors
        .iter()
        .map(|(_, tensor)| tensor.to_bytes().into_owned())
        .collect()
}

/// Two large draws with a dead one between them, a small one, and tied names.
fn large() -> InitPlan {
    let mut plan = Builder::default();
    let a = plan.tensor("float32", &[1000, 700]);
    let b = plan.tensor("bfloat16", &[300, 1001]);
    let c = plan.tensor("float64", &[7]);
    plan.step(json!(["uniform_", a, -0.5, 0.5]))
        .step(json!(["normal_", b, 0.0, 0.02]))
        .step(json!(["normal_", a, 0.0, 1.0]))
        .step(json!(["normal_", c, 0.0, 1.0]))
        .parameter("a", a)
        .parameter("b", b)
        .parameter("c", c)
        .parameter("tied", a);
    plan.plan()
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let made = |threads: usize| {
        let stream = CpuStream::new(Mt19937::new(3));
        let mut stream = stream.threads(NonZero::new(threads).unwrap());
        let tensors = large().materialize(&mut stream).unwrap();
        (bytes(&tensors), stream.position().unwrap())
    };
    let one = made(1);
    assert_eq!(made(2), one);
    assert_eq!(made(7), one);
    let mut generator = Mt19937::new(3);
    let tensors = large().materialize(&mut generator).unwrap();
    assert_eq!((bytes(&tensors), generator), one);
}

#[test]
fn tied_weights_share_memory() {
    let tensors = large().materialize(&mut Mt19937::new(3)).unwrap();
    let [(_, a), (_, b), _, (_, tied)] = &tensors[..] else {
        panic!("{tensors:?}");
    };
    assert!(a.shares_memory_with(tied) && !a.shares_memory_with(b));
    assert_eq!(a.to_bytes(), tied.to_bytes());
}

#[test]
fn rows_are_those_of_the_whole_tensor() {
    let plan = large();
    let generator = Mt19937::new(8);
    let whole = plan.materialize(&mut generator.clone()).unwrap();
    for (name, tensor) in &whole {
        let rows = tensor.shape()[0];
        let row = tensor.to_bytes().len() / rows as usize;
        for (start, end) in [(0, rows), (1, 2), (rows - 3, rows), (2, 2)] {
            let part = plan.materialize_rows(&generator, name, start..end).unwrap();
            let expected = &tensor.to_bytes()[start as usize * row..end as usize * row];
            assert_eq!(*part.to_bytes(), *expected, "{name} {start}..{end}");
            assert_eq!(part.shape()[0], end - start);
        }
    }
}

#[test]
fn steps_that_need_libtorch_name_the_parameter_and_move_nothing() {
    let mut plan = linear();
    let (x, y) = (
        plan.tensor("float32", &[4, 4]),
        plan.tensor("float32", &[4, 4]),
    );
    plan.step(json!(["orthogonal_", x, 1.0]))
        .step(json!(["copy_", y, view(x)]))
        .parameter("proj", y);
    let plan = plan.plan();
    let mut generator = Mt19937::new(1);
    let error = plan.materialize(&mut generator).unwrap_err();
    assert!(
        matches!(&error, PlanError::Step { step: 4, parameter: Some(name), .. } if name == "proj")
    );
    assert_eq!(
        error.to_string(),
        "step 4: `orthogonal_` (needed by \"proj\")"
    );
    assert!(error.source().unwrap().is::<NeedsLibtorch>());
    assert_eq!(generator, Mt19937::new(1));

    // Where nothing depends on it, it is skipped.
    let tensors = plan
        .materialize_only(&mut generator, |name| name != "proj")
        .unwrap();
    assert_eq!(tensors.len(), 2);
    assert_ne!(generator, Mt19937::new(1));
}

#[test]
fn files_are_written_whole_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut generator = Mt19937::new(1);
    let saved = large()
        .save(&path, &mut generator, Save::default(), |_| true)
        .unwrap();
    assert_eq!(saved.tensors, 4);
    let written = std::fs::read(&path).unwrap();
    assert_eq!(saved.bytes, written.len() as u64);
    let mut needs_libtorch = Builder::default();
    let x = needs_libtorch.tensor("float32", &[4, 4]);
    needs_libtorch
        .step(json!(["orthogonal_", x, 1.0]))
        .parameter("x", x);
    let refused = needs_libtorch
        .plan()
        .save(&path, &mut generator, Save::default(), |_| true);
    assert!(refused.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), written);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn draws_into_views_that_do_not_fit_are_errors() {
    let mut plan = Builder::default();
    let (large, integers) = (
        plan.tensor("float32", &[40, 50]),
        plan.tensor("int64", &[3, 1]),
    );
    plan.parameter("large", large)
        .parameter("integers", integers);
    let plan = plan.plan();
    let mut generator = Mt19937::new(1);
    // SAFETY: zeros.
    let mut storage = unsafe { generator.allocate(63, true) }.unwrap();
    for name in Draw::NAMES {
        let draw = Draw::new(name, &[0.5, 1.0, -1.0, 1.0][..Draw::arity(name).unwrap()]).unwrap();
        let large = plan.view("large").unwrap();
        let error = generator
            .draw(&draw, Semantics::NEWEST, &mut storage, large)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected a storage of at least 8000 bytes, found 63"
        );
        assert!(error.is::<StorageTooSmall>());
        let integers = plan.view("integers").unwrap();
        let error = generator
            .draw(&draw, Semantics::NEWEST, &mut storage, integers)
            .unwrap_err();
        assert!(error.is::<ArgumentError>(), "{error}");
        // SAFETY: nothing writes to the storage.
        assert!(unsafe { generator.tensor(&storage, large) }.is_err());
    }
    assert_eq!(generator, Mt19937::new(1));
}
