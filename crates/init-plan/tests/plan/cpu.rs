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

/// What nothing reads takes no memory, however large it is; what has to be made to see where it ends does.
#[test]
fn dead_draws_need_no_memory() {
    let plan = |dead: serde_json::Value| {
        let mut plan = Builder::default();
        let huge = plan.tensor("float32", &[1 << 20, 1 << 20]);
        let small = plan.tensor("float32", &[5, 7]);
        let dead = dead.as_array().unwrap();
        let step = [&[dead[0].clone(), json!(huge)], &dead[1..]].concat();
        plan.step(json!(step))
            .step(json!(["normal_", small, 0.0, 1.0]))
            .parameter("huge", huge)
            .parameter("small", small);
        plan.plan()
    };
    for dead in [
        json!(["uniform_", -1.0, 1.0]),
        json!(["normal_", 0.0, 0.02]),
        json!(["trunc_normal_", 0.0, 0.02, -2.0, 2.0]),
    ] {
        let plan = plan(dead.clone());
        let mut generator = Mt19937::new(5);
        let made = plan.materialize_only(&mut generator, |name| name == "small");
        let made = made.unwrap_or_else(|error| panic!("{dead}: {error}"));
        let mut expected = Mt19937::new(5);
        expected.skip(1 << 40);
        let mut values = [0f32; 35];
        torch_rng::normal_(&mut expected, &mut values, 0.0, 1.0).unwrap();
        assert_eq!(made[0].1.to_bytes(), values.map(f32::to_le_bytes).concat());
        assert_eq!(generator, expected, "{dead}");
        let all = plan.materialize(&mut generator).unwrap_err();
        assert!(matches!(all, PlanError::Memory { .. }), "{dead}: {all}");
    }
    let rejection = plan(json!(["trunc_normal_", 0.0, 1.0, 3.0, 4.0]));
    let error = rejection.materialize_only(&mut Mt19937::new(5), |name| name == "small");
    assert!(matches!(error, Err(PlanError::Memory { .. })));
}

/// Draws that are cut are counted past as they are made.
#[test]
fn dead_truncated_draws_end_where_live_ones_end() {
    for (a, b) in [(-0.04, 0.04), (-2.0, 2.0), (-0.01, 0.05)] {
        for shape in [&[3u64, 4][..], &[3, 5, 7], &[2000, 301]] {
            for dtype in ["float32", "bfloat16", "float64"] {
                let mut plan = Builder::default();
                let cut = plan.tensor(dtype, shape);
                let last = plan.tensor("float32", &[40]);
                plan.step(json!(["trunc_normal_", cut, 0.0, 0.02, a, b]))
                    .step(json!(["uniform_", last, 0.0, 1.0]))
                    .parameter("cut", cut)
                    .parameter("last", last);
                let plan = plan.plan();
                let (mut all, mut only) = (Mt19937::new(2), Mt19937::new(2));
                let whole = plan.materialize(&mut all).unwrap();
                let small = plan
                    .materialize_only(&mut only, |name| name == "last")
                    .unwrap();
                assert_eq!(
                    small[0].1.to_bytes(),
                    whole[1].1.to_bytes(),
                    "{dtype} {shape:?}"
                );
                assert_eq!(only, all);
                let rows = plan
                    .materialize_rows(&Mt19937::new(2), "cut", 1..2)
                    .unwrap();
                let row = whole[0].1.to_bytes().len() / shape[0] as usize;
                assert_eq!(*rows.to_bytes(), whole[0].1.to_bytes()[row..2 * row]);
            }
        }
    }
}
