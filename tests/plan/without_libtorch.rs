//! What init-plan computes by itself has the bits of libtorch, or is rejected.

use super::build::{Builder, made, seeded, view, without_libtorch};
use serde_json::{Value, json};
use tch_init::plan::Save;
use tch_init::rng::{Draw, Mt19937};
use tch_init::tensor::Dtype;

const DTYPES: [&str; 10] = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
];
const FLOATS: [&str; 4] = ["float16", "bfloat16", "float32", "float64"];

/// A plan of one step from `from`, whose values cover signs, zeros, subnormals, ties and large numbers.
fn plan_of(dtype: &str, numel: u64, transposed: bool) -> (Builder, u64) {
    let mut plan = Builder::default();
    let shape = [numel, 3];
    let normal = plan.tensor("float64", &shape);
    let storage = plan.storages.len();
    let source = plan.tensor(dtype, &shape);
    let mut from = source;
    if transposed {
        from = plan.view(json!([storage, dtype, [3, numel], 0, [1, 3]]));
    }
    let scale = match dtype {
        "bool" | "uint8" | "int8" => 20.0,
        "float16" => 1000.0,
        _ => 5000.0,
    };
    let absolute = plan.tensor("float64", &shape);
    plan.step(json!(["normal_", normal, 0.0, scale]));
    match dtype {
        "uint8" => plan
            .step(json!(["abs", absolute, view(normal)]))
            .step(json!(["copy_", source, view(absolute)])),
        _ => plan.step(json!(["copy_", source, view(normal)])),
    };
    // The first row: 0, -0, and the largest subnormal or so.
    if FLOATS.contains(&dtype) {
        let first = plan.view(json!([storage, dtype, [1], 0]));
        let second = plan.view(json!([storage, dtype, [1], 1]));
        let third = plan.view(json!([storage, dtype, [1], 2]));
        plan.step(json!(["fill_", first, 0.0]))
            .step(json!(["fill_", second, -0.0]))
            .step(json!(["fill_", third, 5.9e-8]));
    }
    (plan, from)
}

/// Whether the plan is made without libtorch; if it is, its bits are those of libtorch.
fn is_made(plan: &Builder) -> bool {
    let plan = plan.plan();
    made(&plan, seeded(5), |_| true);
    let state = seeded(5).get_state().unwrap();
    without_libtorch(&plan, &state, |_| true).is_some()
}

#[test]
fn casts_are_libtorchs() {
    for from in DTYPES {
        for to in DTYPES {
            for (numel, transposed) in [(1, false), (23, false), (23, true), (700, false)] {
                let (mut plan, source) = plan_of(from, numel, transposed);
                let shape: Vec<u64> = match transposed {
                    true => vec![3, numel],
                    false => vec![numel, 3],
                };
                let out = plan.tensor(to, &shape);
                plan.step(json!(["copy_", out, view(source)]))
                    .parameter("out", out);
                let is_small = matches!(to, "int8" | "uint8" | "int16");
                let is_made = is_made(&plan);
                assert!(is_made || is_small, "{from} {to}");
            }
        }
    }
}

#[test]
fn fills_are_libtorchs() {
    let numbers: [Value; 16] = [
        json!(0),
        json!(1),
        json!(true),
        json!(0.0),
        json!(-0.0),
        json!(0.1),
        json!(1.0),
        json!(100.0),
        json!(3.25),
        json!(-7),
        json!(65504.0),
        json!(1e-45),
        json!(1e-8),
        json!("inf"),
        json!("-inf"),
        json!(1.0009765625),
    ];
    for dtype in DTYPES {
        for number in &numbers {
            for stride in [1, 2] {
                let mut plan = Builder::default();
                let whole = plan.tensor(dtype, &[40]);
                let out = plan.view(json!([0, dtype, [20], 0, [stride]]));
                plan.step(json!(["fill_", whole, 0]))
                    .step(json!(["fill_", out, number]))
                    .parameter("out", whole);
                let refused = plan.plan().materialize(&mut seeded(0)).is_err();
                if refused {
                    let state = seeded(0).get_state().unwrap();
                    let without = without_libtorch(&plan.plan(), &state, |_| true);
                    assert!(without.is_none(), "{dtype} {number}");
                    continue;
                }
                let is_made = is_made(&plan);
                assert!(is_made || !FLOATS.contains(&dtype), "{dtype} {number}");
            }
        }
    }
}

#[test]
fn arithmetic_is_libtorchs() {
    let numbers: [Value; 9] = [
        json!(0.1),
        json!(-3),
        json!(2.0),
        json!(0.577_350_269_189_625_8),
        json!(1e-3),
        json!(1e30),
        json!(0.0),
        json!("inf"),
        json!(3.3e-6),
    ];
    for dtype in FLOATS {
        for (numel, transposed) in [
            (1, false),
            (5, true),
            (23, false),
            (700, false),
            (700, true),
        ] {
            let shape: Vec<u64> = match transposed {
                true => vec![3, numel],
                false => vec![numel, 3],
            };
            let mut made = 0;
            for op in ["add", "sub", "rsub", "mul", "div"] {
                for number in numbers.iter().cloned().chain([Value::Null]) {
                    let (mut plan, source) = plan_of(dtype, numel, transposed);
                    let out = plan.tensor(dtype, &shape);
                    let other = match number {
                        Value::Null if op == "rsub" => continue,
                        Value::Null => {
                            let row = plan.tensor(dtype, &shape[1..]);
                            plan.step(json!(["normal_", row, 0.0, 1.0]));
                            view(row)
                        }
                        number => number,
                    };
                    let mut step = json!([op, out, view(source), other]);
                    let arguments = step.as_array_mut().unwrap();
                    match op {
                        "mul" => {}
                        "div" => arguments.push(Value::Null),
                        _ => arguments.push(json!(1)),
                    }
                    plan.step(step).parameter("out", out);
                    made += usize::from(is_made(&plan));
                }
            }
            // Of 16-bit types, those without NaNs and with exact terms.
            let all = if dtype.contains("16") { 30 } else { 49 };
            assert!(made >= all, "{dtype} {made}");
            for op in ["neg", "abs"] {
                let (mut plan, source) = plan_of(dtype, numel, transposed);
                let out = plan.tensor(dtype, &shape);
                plan.step(json!([op, out, view(source)]))
                    .parameter("out", out);
                assert!(is_made(&plan), "{dtype} {op}");
            }
        }
    }
}

#[test]
fn tensors_of_other_tensors_are_libtorchs() {
    for dtype in DTYPES {
        for transposed in [false, true] {
            let (mut plan, source) = plan_of(dtype, 4, transposed);
            let [rows, columns] = if transposed { [3, 4] } else { [4, 3] };
            let pair = json!([view(source), view(source)]);
            for (op, dim, shape) in [
                ("cat", 0, vec![2 * rows, columns]),
                ("cat", 1, vec![rows, 2 * columns]),
                ("stack", 0, vec![2, rows, columns]),
                ("stack", 1, vec![rows, 2, columns]),
                ("stack", 2, vec![rows, columns, 2]),
            ] {
                let out = plan.tensor(dtype, &shape);
                plan.step(json!([op, out, pair, dim]));
                plan.parameter(&format!("{op}{dim}"), out);
            }
            for (shape, op, argument) in [
                (vec![4, 6], "eye", None),
                (vec![6, 4], "eye", None),
                (vec![6, 2, 3], "dirac_", Some(3)),
                (vec![4, 5, 2, 3], "dirac_", Some(1)),
                (vec![4, 1, 2, 3, 5], "dirac_", Some(2)),
            ] {
                let out = plan.tensor(dtype, &shape);
                let mut step = json!([op, out]);
                step.as_array_mut()
                    .unwrap()
                    .extend(argument.map(Value::from));
                plan.step(step);
                plan.parameter(&format!("{op}{shape:?}"), out);
            }
            for (i, (start, end, step)) in
                [(0, 5, 1), (3, 20, 4), (7, -9, -3)].into_iter().enumerate()
            {
                if dtype == "bool" || (dtype == "uint8" && end < 0) {
                    continue;
                }
                let numel = ((end - start) as f64 / f64::from(step)).ceil() as u64;
                let out = plan.tensor(dtype, &[numel]);
                plan.step(json!(["arange", out, start, end, step]));
                plan.parameter(&format!("arange{i}"), out);
            }
            assert!(is_made(&plan), "{dtype}");
        }
    }
}

/// Draws of every kind that has no need of libtorch, into memory of any order.
#[test]
fn draws_are_libtorchs() {
    for dtype in FLOATS {
        for (op, arguments) in [
            ("uniform_", vec![-0.3, 0.7]),
            ("normal_", vec![0.5, 2.0]),
            ("trunc_normal_", vec![0.0, 1.0, -2.0, 2.0]),
        ] {
            let mut plan = Builder::default();
            for (i, (shape, stride)) in [
                ([3, 5, 7], [35, 7, 1]),
                ([3, 5, 7], [1, 3, 15]),
                ([3, 5, 7], [7, 21, 1]),
                ([2, 2, 3], [6, 3, 1]),
                ([3, 1, 7], [1, 1, 3]),
                ([3, 1, 7], [1, 100, 5]),
                ([3, 5, 7], [200, 2, 20]),
            ]
            .into_iter()
            .enumerate()
            {
                if op == "trunc_normal_" && i > 0 && i != 3 {
                    continue;
                }
                plan.storage(8000);
                let storage = plan.storages.len() - 1;
                let out = plan.view(json!([storage, dtype, shape, 0, stride]));
                let mut step = json!([op, out]);
                step.as_array_mut()
                    .unwrap()
                    .extend(arguments.iter().map(|x| json!(x)));
                plan.step(step);
                plan.parameter(&format!("p{i}"), out);
            }
            assert!(is_made(&plan), "{dtype} {op}");
        }
    }
    let mut plan = Builder::default();
    let permutation = plan.tensor("int64", &[1000]);
    let sparse = plan.tensor("float32", &[40, 30]);
    plan.step(json!(["randperm", permutation]))
        .step(json!(["sparse_", sparse, 0.3, 0.1]))
        .parameter("permutation", permutation)
        .parameter("sparse", sparse);
    assert!(is_made(&plan));
}

#[test]
fn files_are_libtorchs() {
    let mut plan = Builder::default();
    let weight = plan.tensor("float32", &[900, 700]);
    let half = plan.tensor("bfloat16", &[40, 30]);
    let wide = plan.tensor("float64", &[40, 30]);
    let storage = plan.storages.len();
    let columns = plan.tensor("float32", &[30, 40]);
    let turned = plan.view(json!([storage, "float32", [40, 30], 0, [1, 40]]));
    let positions = plan.tensor("int64", &[64]);
    let scalar = plan.tensor("float32", &[]);
    let empty = plan.tensor("float32", &[0, 4]);
    plan.step(json!(["uniform_", weight, 0.0, 1.0]))
        .step(json!(["normal_", half, 0.0, 0.02]))
        .step(json!(["normal_", weight, 0.0, 0.02]))
        .step(json!(["normal_", wide, 0.0, 1.0]))
        .step(json!(["trunc_normal_", columns, 0.0, 1.0, -2.0, 2.0]))
        .step(json!(["arange", positions, 0, 64, 1]))
        .step(json!(["fill_", scalar, 0.1]))
        .parameter("weight", weight)
        .parameter("tied", weight)
        .parameter("half", half)
        .parameter("wide", wide)
        .parameter("turned", turned)
        .parameter("scalar", scalar)
        .parameter("empty", empty);
    plan.buffers
        .push(json!(["positions", positions, {"persistent": false}]));
    let plan = plan.plan();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    for dtype in [
        None,
        Some(Dtype::Bfloat16),
        Some(Dtype::Float16),
        Some(Dtype::Float64),
    ] {
        let save = Save::default().dtype(dtype).non_persistent(true);
        plan.save(&path, &mut seeded(6), save, |_| true).unwrap();
        let with = std::fs::read(&path).unwrap();
        plan.save(&path, &mut Mt19937::new(6), save, |_| true)
            .unwrap();
        assert!(std::fs::read(&path).unwrap() == with, "{dtype:?}");
    }
}

/// The table of the recorder has the draws of `Draw`, each with as many arguments.
#[test]
fn the_recorder_knows_every_draw() {
    let script = include_str!("../../python/record.py");
    let mut known = Vec::new();
    for line in script.lines().map(str::trim) {
        // return "normal_", [float(a["mean"]), float(a["std"])]
        let returned = line
            .strip_prefix("return \"")
            .and_then(|row| row.strip_suffix(']')?.split_once("\", ["));
        // "rand": drawn("uniform_", 0.0, 1.0),
        let table = line.split_once(": drawn(\"").and_then(|(_, row)| {
            let row = row.strip_suffix("),")?;
            Some(row.split_once("\", ").unwrap_or((row, "")))
        });
        let row = returned.or(table).map(|(name, arguments)| {
            let count = arguments.split(", ").filter(|x| !x.is_empty()).count();
            (name, count)
        });
        // "orthogonal_": ("orthogonal_", "gain,"),
        let hooked = line.split_once(": (\"").and_then(|(_, row)| {
            let texts: Vec<&str> = row.split("\", \"").collect();
            let [name, arguments] = texts[..] else {
                return None;
            };
            let arguments = arguments.split('"').next()?.split(',');
            Some((name, arguments.filter(|x| !x.trim().is_empty()).count()))
        });
        let row = row.or(hooked);
        known.extend(row.filter(|(name, _)| Draw::arity(name).is_some()));
    }
    for name in Draw::NAMES {
        let counts: Vec<usize> = known
            .iter()
            .filter(|row| row.0 == *name)
            .map(|row| row.1)
            .collect();
        assert!(!counts.is_empty(), "{name} is not recorded");
        assert!(
            counts.iter().all(|count| Some(*count) == Draw::arity(name)),
            "{name}: {counts:?}"
        );
    }
}
