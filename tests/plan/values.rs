//! Steps that draw nothing, with results that are exact in every dtype.

use super::build::{Builder, elements, materialized, seeded, view};
use crate::common::{bytes, chain};
use serde_json::{Value, json};
use std::collections::BTreeSet;
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

/// Step, dtype and shape of the result, arguments (`"a"` is the view of that name), result.
const CASES: &str = r#"
["fill_","float32",[3],[-0.5],[-0.5,-0.5,-0.5]]
["fill_","bool",[3],[true],[1.0,1.0,1.0]]
["fill_","int64",[2],[9007199254740993],[9007199254740992.0,9007199254740992.0]]
["arange","float32",[4],[1,8,2],[1.0,3.0,5.0,7.0]]
["arange","int64",[3],[5,0,-2],[5.0,3.0,1.0]]
["arange","float32",[3],[0.0,1.25,0.5],[0.0,0.5,1.0]]
["eye","float32",[2,3],[],[1.0,0.0,0.0,0.0,1.0,0.0]]
["dirac_","float32",[2,1,3],[2],[0.0,1.0,0.0,0.0,1.0,0.0]]
["copy_","float32",[3],["i"],[3.0,-7.0,2.0]]
["copy_","bool",[3],["a"],[1.0,1.0,1.0]]
["add","float32",[2,3],["a","b",1],[3.0,0.0,6.0,0.0,-3.0,3.0]]
["add","float32",[3],["a",0.5,1],[1.5,-1.5,4.5]]
["sub","float32",[2,3],["a","b",1],[-1.0,-4.0,2.0,2.0,-1.0,5.0]]
["sub","float32",[3],["a",1,1],[0.0,-3.0,3.0]]
["rsub","float32",[3],["a",1,1],[0.0,3.0,-3.0]]
["add","float32",[3],["a","i",2],[7.0,-16.0,8.0]]
["add","float32",[3],["a",0.5,-2.0],[0.0,-3.0,3.0]]
["sub","float32",[3],["a","i",0.5],[-0.5,1.5,3.0]]
["sub","int64",[3],["i",1,3],[0,-10,-1]]
["rsub","float32",[3],["a",1,0.5],[0.5,2.0,-1.0]]
["mul","float32",[2,3],["a","b"],[2.0,-4.0,8.0,-1.0,2.0,-4.0]]
["mul","float32",[3],["i",0.5],[1.5,-3.5,1.0]]
["mul","int64",[3],["i",2],[6.0,-14.0,4.0]]
["mul","float32",[3],["a","s"],[0.5,-1.0,2.0]]
["div","float32",[3],["i",2,null],[1.5,-3.5,1.0]]
["div","int64",[3],["i",2,"floor"],[1.0,-4.0,1.0]]
["div","int64",[3],["i",2,"trunc"],[1.0,-3.0,1.0]]
["div","float32",[3],["a","s","floor"],[2.0,-4.0,8.0]]
["div","float32",[3],["a","s",null],[2.0,-4.0,8.0]]
["pow","float32",[3],["a",2],[1.0,4.0,16.0]]
["pow","float32",[3],[2.0,"a"],[2.0,0.25,16.0]]
["pow","float32",[3],["a","a"],[1.0,0.25,256.0]]
["clamp","float32",[3],["a",-1.0,2.0],[1.0,-1.0,2.0]]
["clamp","float32",[3],["a",0.0,null],[1.0,0.0,4.0]]
["clamp","float32",[3],["a",null,0],[0.0,-2.0,0.0]]
["neg","float32",[3],["a"],[-1.0,2.0,-4.0]]
["abs","float32",[3],["a"],[1.0,2.0,4.0]]
["sign","float32",[3],["a"],[1.0,-1.0,1.0]]
["reciprocal","float32",[3],["a"],[1.0,-0.5,0.25]]
["exp","float32",[],["s"],[1.6487212181091309]]
["expm1","float32",[],["s"],[0.6487212777137756]]
["log","float32",[],["s"],[-0.6931471824645996]]
["sin","float32",[],["s"],[0.4794255495071411]]
["cos","float32",[],["s"],[0.8775825500488281]]
["erfinv","float32",[],["s"],[0.4769362807273865]]
["bitwise_not","bool",[3],["m"],[0.0,1.0,0.0]]
["eq","bool",[3],["a",4],[0.0,0.0,1.0]]
["ne","bool",[3],["a",4],[1.0,1.0,0.0]]
["lt","bool",[3],["a","i"],[1.0,0.0,0.0]]
["le","bool",[3],["a",1.0],[1.0,1.0,0.0]]
["gt","bool",[3],["a","i"],[0.0,1.0,1.0]]
["ge","bool",[3],["a",1.0],[1.0,0.0,1.0]]
["where","float32",[3],["m","a",0.0],[1.0,0.0,4.0]]
["where","float32",[3],["m",0.0,"a"],[0.0,-2.0,0.0]]
["where","float32",[3],["m","a","s"],[1.0,0.5,4.0]]
["where","float32",[3],["m",1.0,2.0],[1.0,2.0,1.0]]
["masked_fill","float32",[3],["a","m",9.0],[9.0,-2.0,9.0]]
["sum","int64",[],["i",null,false],[-2.0]]
["sum","float32",[1,1],["b",[0],true],[1.0]]
["sum","int64",[],["m",[0],false],[2.0]]
["norm","float32",[2],["b",2,[1],false],[2.0,1.0]]
["linalg_vector_norm","float32",[],["a",1.0,null,false],[7.0]]
["linalg_vector_norm","float32",[],["a","inf",[0],false],[4.0]]
["cat","float32",[6],[["a","a"],0],[1.0,-2.0,4.0,1.0,-2.0,4.0]]
["stack","float32",[3,2],[["a","i"],1],[1.0,3.0,-2.0,-7.0,4.0,2.0]]
["constant_pad_nd","float32",[4],["a",[2,-1],7.0],[7.0,7.0,1.0,-2.0]]
["constant_pad_nd","int64",[4],["i",[0,1],1],[3.0,-7.0,2.0,1.0]]
["mv","float32",[2],[{"view":5},"a"],[5.0,10.0]]
"#;

/// An argument of [`CASES`] as the format has it.
fn argument(value: Value) -> Value {
    match value {
        Value::String(name) if name.len() == 1 => match "abims".find(&name) {
            Some(index) => view(index as u64),
            None => Value::String(name),
        },
        Value::Array(items) => items.into_iter().map(argument).collect(),
        other => other,
    }
}

#[test]
fn every_step_computes_what_its_name_says() {
    let mut seen = BTreeSet::new();
    for case in CASES.lines().filter(|line| !line.is_empty()) {
        let (op, dtype, shape, arguments, expected): (
            String,
            String,
            Vec<u64>,
            Vec<Value>,
            Vec<f64>,
        ) = serde_json::from_str(case).unwrap();
        let arguments: Vec<_> = arguments.into_iter().map(argument).collect();
        let (plan, kind) = match op.as_str() {
            "mv" => matrix(),
            _ => one(&dtype, &shape, &op, &arguments),
        };
        let made = materialized(&plan, 0).unwrap_or_else(|error| panic!("{case}: {error}"));
        let tensor = &made.last().unwrap().1;
        assert_eq!(tensor.kind(), kind, "{case}");
        assert_eq!(elements(tensor), expected, "{case}");
        seen.insert(op);
    }
    // `const` makes the inputs.
    assert_eq!(seen.len(), 38, "{seen:?}");
}

/// `[[1, 0, 1], [2, 2, 3]]` in memory of its columns, times `a`.
fn matrix() -> (InitPlan, Kind) {
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
    let made = materialized(&plan.plan(), 0).unwrap();
    assert_eq!(elements(&made[0].1), [10.0, 1.0, 10.0, 1.0, 12.0, 3.0]);
    assert_eq!(elements(&made[1].1), [10.0, 10.0, 12.0]);
    let mut tied = made[1].1.shallow_clone();
    drop(tied.f_fill_(0.0).unwrap());
    assert_eq!(elements(&made[0].1), [0.0, 1.0, 0.0, 1.0, 0.0, 3.0]);

    // The same bytes as another dtype; 1.0 is 0x3f800000.
    plan.step(json!(["fill_", whole, 1.0]))
        .parameter("bits", integers);
    let made = materialized(&plan.plan(), 0).unwrap();
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
    let made = materialized(&plan.plan(), 0).unwrap();
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
    let made = materialized(&plan.plan(), 1).unwrap();
    let mut drawn = Tensor::zeros([40], tch::kind::FLOAT_CPU);
    tch_init::init::uniform_(&mut drawn, 0.0, 1.0, Some(&mut seeded(1))).unwrap();
    assert_eq!(bytes(&made[0].1), bytes(&(drawn * 2).sum(Kind::Float)));
}

/// What libtorch rejects is an error that names the step and the parameter, and nothing has moved.
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
    let error = plan.plan().materialize(&mut generator).unwrap_err();
    let error = chain(&error);
    assert!(
        error.starts_with("step 1: `sub` (needed by \"late.weight\"): sub: libtorch: Subtraction"),
        "{error}"
    );
    assert_eq!(generator.get_state().unwrap(), before);

    // A number that libtorch rejects: no panic, and the next call finds no earlier error.
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
