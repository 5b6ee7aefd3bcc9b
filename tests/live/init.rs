//! Every function of `torch.nn.init` over dtypes, shapes, layouts, seeds and generators.

use crate::common::case::Function::*;
use crate::common::case::{Case, case, functions, number};
use crate::common::default_stream;
use crate::common::reference::{Expected, expected, first_difference};
use serde_json::{Value, json};
use tch_init::InitError;
use tch_init::init::{FanMode, Nonlinearity, calculate_gain};

fn layouts(shape: &[i64]) -> Vec<&'static str> {
    let mut layouts = vec!["contiguous", "leaf"];
    if !shape.is_empty() {
        layouts.extend(["strided", "offset"]);
    }
    if shape.len() >= 2 {
        layouts.push("transposed");
    }
    if shape.len() >= 4 {
        layouts.push("channels_last");
    }
    layouts
}

const SHAPES: &[&[i64]] = &[
    &[],
    &[0],
    &[1],
    &[15],
    &[16],
    &[17],
    &[31],
    &[1000],
    &[0, 3],
    &[3, 0],
    &[1, 1],
    &[3, 5],
    &[4, 4],
    &[8, 2],
    &[2, 784],
    &[33, 33],
    &[2, 3, 5],
    &[4, 2, 3],
    &[6, 2, 3, 3],
    &[4, 4, 1, 1],
    &[16, 3, 5, 5],
    &[4, 2, 3, 2, 2],
    &[2, 2, 2, 0, 2],
];

const SEEDS: &[i128] = &[
    0,
    1,
    -1,
    42,
    (1 << 32) + 7,
    u64::MAX as i128 - 5,
    -(1 << 40),
];

/// The cross product of functions, floating dtypes and shapes, each with a layout, a seed, a place
/// in the stream and a generator that rotate independently through all of theirs.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for function in functions() {
        for dtype in ["f32", "f64", "bf16", "f16"] {
            for shape in SHAPES {
                let turn = cases.len();
                let layouts = layouts(shape);
                cases.push(Case {
                    function,
                    dtype,
                    shape: shape.to_vec(),
                    layout: layouts[(turn / 7) % layouts.len()],
                    seed: SEEDS[turn % SEEDS.len()],
                    warm: [0, 0, 1, 620, 623, 624, 1300][(turn / 3) % 7],
                    generator: (function.draws() && turn % 3 == 1)
                        .then(|| SEEDS[(turn / 5) % SEEDS.len()]),
                });
            }
        }
    }
    // Every layout of every shape, on one function of each kind of draw.
    for function in [
        Uniform(-1.0, 1.0),
        Normal(0.0, 1.0),
        TruncNormal(0.0, 1.0, -1.0, 1.0),
        Orthogonal(1.0),
    ] {
        for dtype in ["f32", "bf16"] {
            for shape in SHAPES {
                for layout in layouts(shape) {
                    cases.push(case(function, dtype, shape, layout));
                }
            }
        }
    }
    cases.extend(unusual());
    cases
}

/// Arguments, dtypes and layouts that PyTorch rejects or treats in a way of its own.
fn unusual() -> Vec<Case> {
    let slope = |negative_slope| Nonlinearity::LeakyRelu { negative_slope };
    let nan = f64::NAN;
    let inf = f64::INFINITY;
    let refused = [
        Uniform(1.0, 0.0),
        Uniform(-1e38, 1e39),
        Uniform(nan, 1.0),
        Uniform(0.0, inf),
        Normal(0.0, -1.0),
        Normal(nan, 1.0),
        Normal(0.0, inf),
        Normal(1e300, 1.0),
        TruncNormal(0.0, 0.0, -1.0, 1.0),
        TruncNormal(0.0, -1.0, -1.0, 1.0),
        TruncNormal(0.0, 1.0, 2.0, -2.0),
        TruncNormal(0.0, 1e-200, 2.0, 3.0),
        TruncNormal(5.0, 1.0, -1.0, 1.0),
        TruncNormal(nan, 1.0, -1.0, 1.0),
        TruncNormal(0.0, 1.0, -inf, inf),
        TruncNormal(0.0, 1.0, 1.0, 1.0),
        TruncNormal(0.0, 1.0, -1.0, 1e30),
        Constant(-1e39),
        Constant(nan),
        XavierUniform(0.0),
        XavierUniform(-1.0),
        XavierNormal(-1.0),
        XavierNormal(inf),
        KaimingUniform(FanMode::FanIn, slope(1e200)),
        KaimingUniform(FanMode::FanIn, slope(inf)),
        KaimingNormal(FanMode::FanIn, slope(nan)),
        Orthogonal(0.0),
        Sparse(-0.2, 0.01),
        Sparse(1.7, 0.01),
        Sparse(0.0, 0.01),
        Sparse(nan, 0.01),
        Sparse(inf, 0.01),
        Dirac(3),
        Dirac(0),
        Dirac(-1),
    ];
    let mut cases = Vec::new();
    for function in refused {
        for shape in [&[4, 3][..], &[20, 3], &[4, 3, 3], &[0, 0]] {
            cases.push(case(function, "f32", shape, "contiguous"));
            cases.push(case(function, "f16", shape, "leaf"));
        }
    }
    for function in functions() {
        for dtype in ["i64", "bool", "c64"] {
            cases.push(case(function, dtype, &[6, 6], "contiguous"));
        }
        cases.push(case(function, "f32", &[4, 3], "expanded"));
        cases.push(case(function, "f32", &[4, 3, 3], "expanded"));
    }
    cases
}

/// Python's exception and ours: the same kind, and libtorch's message to the letter.
fn same_error(case: &Case, ours: &Result<(), InitError>, theirs: &Expected) -> Result<(), String> {
    match (ours, &theirs.error) {
        (Ok(()), None) => Ok(()),
        (Err(error), Some((kind, message))) => {
            let same = match error {
                InitError::Dimensions { .. } | InitError::Fan { .. } => kind == "ValueError",
                InitError::Groups { groups, .. } => {
                    kind == if *groups == 0 {
                        "ZeroDivisionError"
                    } else {
                        "ValueError"
                    }
                }
                InitError::Argument { value, .. } => {
                    ["ZeroDivisionError", "OverflowError"].contains(&kind.as_str())
                        || !value.is_finite() && kind == "ValueError"
                }
                InitError::EmptyKernel { .. } => kind == "IndexError",
                InitError::Libtorch { message: ours, .. } => ours == message,
                _ => false,
            };
            let shape_named = error.to_string().contains(&format!("{:?}", case.shape))
                || matches!(
                    error,
                    InitError::Argument {
                        argument: "negative_slope",
                        ..
                    }
                );
            (same && shape_named)
                .then_some(())
                .ok_or(format!("{error} where Python has {kind}: {message}"))
        }
        (ours, theirs) => Err(format!("{ours:?} where Python has {theirs:?}")),
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn every_function_fills_as_pytorch_fills() {
    let cases = cases();
    assert!(cases.len() >= 2000, "{}", cases.len());
    let requests: Vec<Value> = cases.iter().map(Case::json).collect();
    let _stream = default_stream();
    let mut failures = Vec::new();
    for (case, expected) in cases.iter().zip(expected(&requests)) {
        let (result, chunks) = case.run();
        let error = same_error(case, &result, &expected);
        if let Err(message) = error {
            failures.push(format!("{case:?}: {message}"));
        } else if let Some(difference) = first_difference(&chunks, &expected.chunks) {
            failures.push(format!("{case:?}: {difference}"));
        }
    }
    println!("{} cases", cases.len());
    assert!(
        failures.is_empty(),
        "{} of {} cases differ:\n{}",
        failures.len(),
        cases.len(),
        failures[..failures.len().min(40)].join("\n")
    );
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn gains_are_pytorchs_to_the_last_bit() {
    let mut cases: Vec<(String, Option<f64>)> = [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "leaky_relu",
        "selu",
        "gelu",
        "",
        "ReLU",
    ]
    .map(|name| (name.to_owned(), None))
    .into();
    // `x ** 2` and `x * x` differ in the last bit for about one slope in a thousand.
    let slopes = (0..4000).map(|i| f64::from(i) * 0.001_237 - 2.0);
    let odd = [
        0.0,
        -0.0,
        1e-300,
        1e154,
        1e155,
        -1e200,
        f64::INFINITY,
        f64::NAN,
    ];
    cases.extend(
        slopes
            .chain(odd)
            .map(|slope| ("leaky_relu".to_owned(), Some(slope))),
    );
    let requests: Vec<Value> = cases
        .iter()
        .map(|(name, slope)| {
            let arguments: Vec<Value> =
                [json!(name)].into_iter().chain(slope.map(number)).collect();
            json!({ "kind": "gain", "arguments": arguments })
        })
        .collect();
    for ((name, slope), expected) in cases.iter().zip(expected(&requests)) {
        let ours = match slope {
            Some(negative_slope) => Ok(Nonlinearity::LeakyRelu {
                negative_slope: *negative_slope,
            }),
            None => name.parse(),
        }
        .and_then(calculate_gain);
        match (ours, expected.error) {
            (Ok(gain), None) => assert_eq!(
                gain.to_bits().to_le_bytes().to_vec(),
                expected.chunks[0],
                "{name} {slope:?}"
            ),
            (Err(InitError::Nonlinearity(_)), Some((kind, _))) => assert_eq!(kind, "ValueError"),
            (Err(InitError::Argument { .. }), Some((kind, _))) => assert_eq!(kind, "OverflowError"),
            (ours, theirs) => panic!("{name} {slope:?}: {ours:?} where Python has {theirs:?}"),
        }
    }
}
