//! Steps that draw nothing, with results that are exact in every dtype.

use crate::build::{Builder, elements, seeded, view};
use crate::common::bytes;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tch_init::plan::InitPlan;

/// Views 0 to 7: `a = [1, -2, 4]`, `b = [[2], [-1]]`, `i = [3, -7, 2]` (int64), `m = [T, F, T]`,
/// `s = 0.5` (a scalar), `out` views follow.
fn inputs() -> Builder {
    let mut plan = Builder::default();
    for (dtype, shape, values) in [
        ("float32", &[3][..], &[1.0f32, -2.0, 4.0][..]),
        ("float32", &[2, 1], &[2.0, -1.0]),
    ] {
        let tensor = plan.tensor(dtype, shape);
        plan.step(json!([
            "const",
            tensor,
            base64(&bytes(&Tensor::from_slice(values)))
        ]));
    }
    for tensor in [
        Tensor::from_slice(&[3i64, -7, 2]),
        Tensor::from_slice(&[true, false, true]),
    ] {
        let dtype = if tensor.kind() == Kind::Int64 {
            "int64"
        } else {
            "bool"
        };
        let out = plan.tensor(dtype, &[3]);
        plan.step(json!(["const", out, base64(&bytes(&tensor))]));
    }
    let scalar = plan.tensor("float32", &[]);
    plan.step(json!(["fill_", scalar, 0.5]));
    plan
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

fn one(dtype: &str, shape: &[u64], op: &str, arguments: &[Value]) -> (InitPlan, Kind) {
    let mut plan = inputs();
    let out = plan.tensor(dtype, shape);
    let mut step = vec![json!(op), json!(out)];
    step.extend_from_slice(arguments);
    plan.step(step.into()).parameter("out", out);
    let kind = match dtype {
        "float32" => Kind::Float,
        "int64" => Kind::Int64,
        _ => Kind::Bool,
    };
    (plan.plan(), kind)
}

#[test]
fn every_step_computes_what_its_name_says() {
    let (a, b, i, m, s) = (view(0), view(1), view(2), view(3), view(4));
    let null = Value::Null;
    let f = "float32";
    let cases: Vec<(&str, &[u64], &str, Vec<Value>, &[f64])> = vec![
        (f, &[3], "fill_", vec![json!(-0.5)], &[-0.5; 3]),
        ("bool", &[3], "fill_", vec![json!(true)], &[1.0; 3]),
        (
            "int64",
            &[2],
            "fill_",
            vec![json!(9007199254740993i64)],
            &[9007199254740992.0; 2],
        ),
        (
            f,
            &[4],
            "arange",
            vec![json!(1), json!(8), json!(2)],
            &[1.0, 3.0, 5.0, 7.0],
        ),
        (
            "int64",
            &[3],
            "arange",
            vec![json!(5), json!(0), json!(-2)],
            &[5.0, 3.0, 1.0],
        ),
        (
            f,
            &[3],
            "arange",
            vec![json!(0.0), json!(1.25), json!(0.5)],
            &[0.0, 0.5, 1.0],
        ),
        (f, &[2, 3], "eye", vec![], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        (
            f,
            &[2, 1, 3],
            "dirac_",
            vec![json!(2)],
            &[0.0, 1.0, 0.0, 0.0, 1.0, 0.0],
        ),
        (f, &[3], "copy_", vec![i.clone()], &[3.0, -7.0, 2.0]),
        ("bool", &[3], "copy_", vec![a.clone()], &[1.0; 3]),
        (
            f,
            &[2, 3],
            "add",
            vec![a.clone(), b.clone(), json!(1)],
            &[3.0, 0.0, 6.0, 0.0, -3.0, 3.0],
        ),
        (
            f,
            &[3],
            "add",
            vec![a.clone(), json!(0.5), json!(1)],
            &[1.5, -1.5, 4.5],
        ),
        (
            f,
            &[2, 3],
            "sub",
            vec![a.clone(), b.clone(), json!(1)],
            &[-1.0, -4.0, 2.0, 2.0, -1.0, 5.0],
        ),
        (
            f,
            &[3],
            "sub",
            vec![a.clone(), json!(1), json!(1)],
            &[0.0, -3.0, 3.0],
        ),
        (
            f,
            &[3],
            "rsub",
            vec![a.clone(), json!(1), json!(1)],
            &[0.0, 3.0, -3.0],
        ),
        (
            f,
            &[2, 3],
            "mul",
            vec![a.clone(), b.clone()],
            &[2.0, -4.0, 8.0, -1.0, 2.0, -4.0],
        ),
        (
            f,
            &[3],
            "mul",
            vec![i.clone(), json!(0.5)],
            &[1.5, -3.5, 1.0],
        ),
        (
            "int64",
            &[3],
            "mul",
            vec![i.clone(), json!(2)],
            &[6.0, -14.0, 4.0],
        ),
        (
            f,
            &[3],
            "mul",
            vec![a.clone(), s.clone()],
            &[0.5, -1.0, 2.0],
        ),
        (
            f,
            &[3],
            "div",
            vec![i.clone(), json!(2), null.clone()],
            &[1.5, -3.5, 1.0],
        ),
        (
            "int64",
            &[3],
            "div",
            vec![i.clone(), json!(2), json!("floor")],
            &[1.0, -4.0, 1.0],
        ),
        (
            "int64",
            &[3],
            "div",
            vec![i.clone(), json!(2), json!("trunc")],
            &[1.0, -3.0, 1.0],
        ),
        (
            f,
            &[3],
            "div",
            vec![a.clone(), s.clone(), json!("floor")],
            &[2.0, -4.0, 8.0],
        ),
        (
            f,
            &[3],
            "div",
            vec![a.clone(), s.clone(), null.clone()],
            &[2.0, -4.0, 8.0],
        ),
        (f, &[3], "pow", vec![a.clone(), json!(2)], &[1.0, 4.0, 16.0]),
        (
            f,
            &[3],
            "pow",
            vec![json!(2.0), a.clone()],
            &[2.0, 0.25, 16.0],
        ),
        (
            f,
            &[3],
            "pow",
            vec![a.clone(), a.clone()],
            &[1.0, 0.25, 256.0],
        ),
        (
            f,
            &[3],
            "clamp",
            vec![a.clone(), json!(-1.0), json!(2.0)],
            &[1.0, -1.0, 2.0],
        ),
        (
            f,
            &[3],
            "clamp",
            vec![a.clone(), json!(0.0), null.clone()],
            &[1.0, 0.0, 4.0],
        ),
        (
            f,
            &[3],
            "clamp",
            vec![a.clone(), null.clone(), json!(0)],
            &[0.0, -2.0, 0.0],
        ),
        (f, &[3], "neg", vec![a.clone()], &[-1.0, 2.0, -4.0]),
        (f, &[3], "abs", vec![a.clone()], &[1.0, 2.0, 4.0]),
        (f, &[3], "sign", vec![a.clone()], &[1.0, -1.0, 1.0]),
        (f, &[3], "reciprocal", vec![a.clone()], &[1.0, -0.5, 0.25]),
        (f, &[], "exp", vec![s.clone()], &[f64::from(0.5f32.exp())]),
        (
            f,
            &[],
            "expm1",
            vec![s.clone()],
            &[f64::from(0.5f32.exp_m1())],
        ),
        (f, &[], "log", vec![s.clone()], &[f64::from(0.5f32.ln())]),
        (f, &[], "sin", vec![s.clone()], &[f64::from(0.5f32.sin())]),
        (f, &[], "cos", vec![s.clone()], &[f64::from(0.5f32.cos())]),
        // scipy.special.erfinv(0.5)
        (
            f,
            &[],
            "erfinv",
            vec![s.clone()],
            &[f64::from(0.476_936_28f32)],
        ),
        (
            "bool",
            &[3],
            "bitwise_not",
            vec![m.clone()],
            &[0.0, 1.0, 0.0],
        ),
        (
            "bool",
            &[3],
            "eq",
            vec![a.clone(), json!(4)],
            &[0.0, 0.0, 1.0],
        ),
        (
            "bool",
            &[3],
            "ne",
            vec![a.clone(), json!(4)],
            &[1.0, 1.0, 0.0],
        ),
        (
            "bool",
            &[3],
            "lt",
            vec![a.clone(), i.clone()],
            &[1.0, 0.0, 0.0],
        ),
        (
            "bool",
            &[3],
            "le",
            vec![a.clone(), json!(1.0)],
            &[1.0, 1.0, 0.0],
        ),
        (
            "bool",
            &[3],
            "gt",
            vec![a.clone(), i.clone()],
            &[0.0, 1.0, 1.0],
        ),
        (
            "bool",
            &[3],
            "ge",
            vec![a.clone(), json!(1.0)],
            &[1.0, 0.0, 1.0],
        ),
        (
            f,
            &[3],
            "where",
            vec![m.clone(), a.clone(), json!(0.0)],
            &[1.0, 0.0, 4.0],
        ),
        (
            f,
            &[3],
            "where",
            vec![m.clone(), json!(0.0), a.clone()],
            &[0.0, -2.0, 0.0],
        ),
        (
            f,
            &[3],
            "where",
            vec![m.clone(), a.clone(), s.clone()],
            &[1.0, 0.5, 4.0],
        ),
        (
            f,
            &[3],
            "where",
            vec![m.clone(), json!(1.0), json!(2.0)],
            &[1.0, 2.0, 1.0],
        ),
        (
            f,
            &[3],
            "masked_fill",
            vec![a.clone(), m.clone(), json!(9.0)],
            &[9.0, -2.0, 9.0],
        ),
        (
            "int64",
            &[],
            "sum",
            vec![i.clone(), null.clone(), json!(false)],
            &[-2.0],
        ),
        (
            f,
            &[1, 1],
            "sum",
            vec![b.clone(), json!([0]), json!(true)],
            &[1.0],
        ),
        (
            "int64",
            &[],
            "sum",
            vec![m.clone(), json!([0]), json!(false)],
            &[2.0],
        ),
        (
            f,
            &[2],
            "norm",
            vec![b.clone(), json!(2), json!([1]), json!(false)],
            &[2.0, 1.0],
        ),
        (
            f,
            &[],
            "linalg_vector_norm",
            vec![a.clone(), json!(1.0), null.clone(), json!(false)],
            &[7.0],
        ),
        (
            f,
            &[],
            "linalg_vector_norm",
            vec![a.clone(), json!("inf"), json!([0]), json!(false)],
            &[4.0],
        ),
        (
            f,
            &[6],
            "cat",
            vec![json!([a.clone(), a.clone()]), json!(0)],
            &[1.0, -2.0, 4.0, 1.0, -2.0, 4.0],
        ),
        (
            f,
            &[3, 2],
            "stack",
            vec![json!([a.clone(), i.clone()]), json!(1)],
            &[1.0, 3.0, -2.0, -7.0, 4.0, 2.0],
        ),
        (
            f,
            &[4],
            "constant_pad_nd",
            vec![a.clone(), json!([2, -1]), json!(7.0)],
            &[7.0, 7.0, 1.0, -2.0],
        ),
        (
            "int64",
            &[4],
            "constant_pad_nd",
            vec![i.clone(), json!([0, 1]), json!(1)],
            &[3.0, -7.0, 2.0, 1.0],
        ),
        (
            f,
            &[2],
            "mv",
            vec![json!({"view": 5}), a.clone()],
            &[5.0, 10.0],
        ),
    ];
    for (dtype, shape, op, arguments, expected) in cases {
        let (plan, kind) = match op {
            "mv" => matrix(&arguments),
            _ => one(dtype, shape, op, &arguments),
        };
        let made = plan
            .materialize(&mut seeded(0))
            .unwrap_or_else(|error| panic!("{op} {arguments:?}: {error}"));
        let tensor = &made.last().unwrap().1;
        assert_eq!(tensor.kind(), kind, "{op}");
        assert_eq!(elements(tensor), expected, "{op} {arguments:?}");
    }
}

/// `[[1, 0, 1], [2, 2, 3]]` in memory of its columns, times `a`.
fn matrix(_: &[Value]) -> (InitPlan, Kind) {
    let mut plan = inputs();
    plan.storage(24);
    let storage = plan.storages.len() - 1;
    let matrix = plan.view(json!([storage, "float32", [2, 3], 0, [1, 2]]));
    let all = plan.view(json!([storage, "float32", [6]]));
    let values = bytes(&Tensor::from_slice(&[1f32, 2.0, 0.0, 2.0, 1.0, 3.0]));
    let out = plan.tensor("float32", &[2]);
    plan.step(json!(["const", all, base64(&values)]))
        .step(json!(["mv", out, view(matrix), view(0)]))
        .parameter("out", out);
    (plan.plan(), Kind::Float)
}

/// In place, through views, between overlapping ones.
#[test]
fn views_share_their_storage() {
    let mut plan = Builder::default();
    let whole = plan.tensor("float32", &[6]);
    let left = plan.view(json!([0, "float32", [4]]));
    let right = plan.view(json!([0, "float32", [4], 2]));
    let even = plan.view(json!([0, "float32", [3], 0, [2]]));
    let integers = plan.view(json!([0, "int32", [6]]));
    plan.step(json!(["arange", whole, 0, 6, 1]))
        // 0 1 0 1 2 3: from the values before the step.
        .step(json!(["copy_", right, view(left)]))
        // 10 1 10 1 12 3
        .step(json!(["add", even, view(even), 10, 1]))
        .parameter("tied", whole)
        .parameter("even", even);
    let made = plan.clone().plan().materialize(&mut seeded(0)).unwrap();
    assert_eq!(elements(&made[0].1), [10.0, 1.0, 10.0, 1.0, 12.0, 3.0]);
    assert_eq!(elements(&made[1].1), [10.0, 10.0, 12.0]);
    let mut tied = made[1].1.shallow_clone();
    tied.f_fill_(0.0).unwrap();
    assert_eq!(elements(&made[0].1), [0.0, 1.0, 0.0, 1.0, 0.0, 3.0]);

    // The same bytes as another dtype; 1.0 is 0x3f800000.
    plan.step(json!(["fill_", whole, 1.0]))
        .parameter("bits", integers);
    let made = plan.plan().materialize(&mut seeded(0)).unwrap();
    assert_eq!(elements(&made[2].1), [f64::from(0x3f80_0000); 6]);
}

/// Memory that no step writes is zero, also beside what is written, also where it is read.
#[test]
fn what_nothing_writes_is_zero() {
    let mut plan = Builder::default();
    let never = plan.tensor("float64", &[1000]);
    let partly = plan.tensor("float32", &[4]);
    let odd = plan.view(json!([1, "float32", [2], 1, [2]]));
    let read = plan.tensor("float32", &[4]);
    plan.step(json!(["fill_", odd, 3.0]))
        .step(json!(["add", read, view(partly), 1.0, 1]))
        .parameter("never", never)
        .parameter("partly", partly)
        .parameter("read", read);
    let made = plan.plan().materialize(&mut seeded(0)).unwrap();
    assert_eq!(elements(&made[0].1), [0.0; 1000]);
    assert_eq!(elements(&made[1].1), [0.0, 3.0, 0.0, 3.0]);
    assert_eq!(elements(&made[2].1), [1.0, 4.0, 1.0, 4.0]);
}

/// A chain whose every link is freed when it is used, and a draw that lives by what reads it.
#[test]
fn draws_live_by_what_reads_them() {
    let mut plan = Builder::default();
    let drawn = plan.tensor("float32", &[40]);
    let doubled = plan.tensor("float32", &[40]);
    let sum = plan.tensor("float32", &[]);
    plan.step(json!(["uniform_", drawn, 0.0, 1.0]))
        .step(json!(["mul", doubled, view(drawn), 2]))
        .step(json!(["fill_", drawn, 0.0]))
        .step(json!(["sum", sum, view(doubled), null, false]))
        .parameter("sum", sum);
    let made = plan.plan().materialize(&mut seeded(1)).unwrap();
    let mut drawn = Tensor::zeros([40], tch::kind::FLOAT_CPU);
    tch_init::init::uniform_(&mut drawn, 0.0, 1.0, Some(&mut seeded(1))).unwrap();
    assert_eq!(bytes(&made[0].1), bytes(&(drawn * 2).sum(Kind::Float)));
}

/// What libtorch refuses is an error that names the step and the parameter, and nothing has moved.
#[test]
fn refusals_name_step_and_parameter() {
    let mut plan = Builder::default();
    let a = plan.tensor("bool", &[3]);
    let b = plan.tensor("bool", &[3]);
    let drawn = plan.tensor("float32", &[20]);
    let last = plan.tensor("float32", &[3]);
    plan.step(json!(["uniform_", drawn, 0.0, 1.0]))
        .step(json!(["sub", b, view(a), view(a), 1]))
        .step(json!(["copy_", last, view(b)]))
        .parameter("drawn", drawn)
        .parameter("late.weight", last);
    let mut generator = seeded(9);
    let before = generator.get_state().unwrap();
    let error = plan
        .plan()
        .materialize(&mut generator)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("step 1: `sub` (needed by \"late.weight\"): sub: libtorch: Subtraction"),
        "{error}"
    );
    assert_eq!(generator.get_state().unwrap(), before);

    // A number that libtorch refuses: no panic, and the next call finds no error left behind.
    let mut plan = Builder::default();
    let out = plan.tensor("int8", &[3]);
    plan.step(json!(["fill_", out, 1e9])).parameter("out", out);
    let error = plan
        .plan()
        .materialize(&mut generator)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("step 0: `fill_` (needed by \"out\")"),
        "{error}"
    );
    assert_eq!(elements(&Tensor::from_slice(&[2.5f32])), [2.5]);
}
