//! Learning-rate schedules and clipping of gradients against PyTorch, bit for bit.

use crate::common::reference::{Expected, expected_of, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tch_init::optim::{
    self, Adagrad, Adam, AnnealStrategy, LrScheduler, OptimError, Optimizer, Options, ParamGroup,
    RMSprop, SGD,
};

fn expected(cases: &[Value]) -> Vec<Expected> {
    expected_of("tests/python/optim_schedules.py", cases)
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

/// The schedule that Python makes of the same description.
fn make(opt: &mut Optimizer, spec: &Value) -> Result<LrScheduler, OptimError> {
    let (name, options) = (spec[0].as_str().unwrap(), spec[1].as_object().unwrap());
    let given = |key: &str| options.get(key);
    /// Sets the options that are given.
    macro_rules! options {
        ($schedule:expr, $($field:ident: $read:expr),*) => {{
            let mut schedule = $schedule;
            $(if let Some(value) = given(stringify!($field)) { schedule = schedule.$field($read(value)); })*
            schedule
        }};
    }
    match name {
        "StepLR" => options!(optim::StepLR::new(int(&options["step_size"])), gamma: float).build(opt),
        "MultiStepLR" => {
            let milestones: Vec<i64> = options["milestones"].as_array().unwrap().iter().map(int).collect();
            options!(optim::MultiStepLR::new(&milestones), gamma: float).build(opt)
        }
        "ConstantLR" => options!(optim::ConstantLR::new(), factor: float, total_iters: int).build(opt),
        "LinearLR" => {
            options!(optim::LinearLR::new(), start_factor: float, end_factor: float, total_iters: int).build(opt)
        }
        "ExponentialLR" => optim::ExponentialLR::new(float(&options["gamma"])).build(opt),
        "PolynomialLR" => options!(optim::PolynomialLR::new(), total_iters: int, power: float).build(opt),
        "CosineAnnealingLR" => {
            options!(optim::CosineAnnealingLR::new(int(&options["T_max"])), eta_min: float).build(opt)
        }
        "CosineAnnealingWarmRestarts" => {
            let schedule = optim::CosineAnnealingWarmRestarts::new(int(&options["T_0"]));
            let schedule = options!(schedule, eta_min: float);
            schedule.t_mult(given("T_mult").map_or(1, int)).build(opt)
        }
        "OneCycleLR" => {
            let floats = |value: &Value| match value.as_array() {
                Some(values) => values.iter().map(float).collect(),
                None => vec![float(value)],
            };
            let flag = |value: &Value| value.as_bool().unwrap();
            let anneal = |value: &Value| match value.as_str() {
                Some("linear") => AnnealStrategy::Linear,
                _ => AnnealStrategy::Cos,
            };
            options!(
                optim::OneCycleLR::default(), max_lr: floats, total_steps: int, pct_start: float, anneal_strategy: anneal,
                cycle_momentum: flag, base_momentum: floats, max_momentum: floats, div_factor: float,
                final_div_factor: float, three_phase: flag
            )
            .build(opt)
        }
        "LambdaLR" | "MultiplicativeLR" => {
            let lambda: fn(i64) -> f64 = match options["lr_lambda"].as_str() {
                Some("inverse") => |step| 1.0 / (1.0 + 0.1 * step as f64),
                _ => |step| 1.0 + 0.5 * (step as f64).sin(),
            };
            if name == "LambdaLR" {
                optim::lambda_lr(opt, lambda)
            } else {
                optim::multiplicative_lr(opt, lambda)
            }
        }
        "SequentialLR" => {
            let specs = options["schedulers"].as_array().unwrap();
            let schedulers: Result<_, _> = specs.iter().map(|spec| make(opt, spec)).collect();
            let milestones: Vec<i64> = options["milestones"].as_array().unwrap().iter().map(int).collect();
            optim::sequential_lr(opt, schedulers?, &milestones)
        }
        other => panic!("{other}"),
    }
}

fn options(optimizer: &str, lr: f64) -> Options {
    match optimizer {
        "SGD" => SGD::default().lr(lr).into(),
        "Adam" => Adam::default().lr(lr).into(),
        "RMSprop" => RMSprop::default().lr(lr).into(),
        "Adagrad" => Adagrad::default().lr(lr).into(),
        other => panic!("{other}"),
    }
}

fn optimizer(case: &Value) -> Optimizer {
    let name = case["optimizer"].as_str().unwrap();
    let groups = case["lrs"].as_array().unwrap().iter().map(|lr| {
        let param = Tensor::zeros([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        ParamGroup::new([param]).options(options(name, float(lr)))
    });
    Optimizer::with_groups(groups, options(name, 0.001)).unwrap()
}

fn run(case: &Value) -> (Vec<f64>, Option<OptimError>) {
    let mut opt = optimizer(case);
    let mut values = Vec::new();
    let watch = |opt: &Optimizer, made: &[LrScheduler], values: &mut Vec<f64>| {
        for group in 0..opt.group_count() {
            let options = *opt.group_options(group).unwrap();
            let momentum = match options {
                Options::SGD(options) => options.momentum,
                Options::RMSprop(options) => options.momentum,
                Options::Adam(options) => options.betas.0,
                _ => 0.0,
            };
            values.extend([options.lr(), momentum]);
        }
        values.extend(made.iter().flat_map(|scheduler| scheduler.last_lr()));
    };
    let specs = case["schedules"].as_array().unwrap();
    let made: Result<Vec<_>, _> = specs.iter().map(|spec| make(&mut opt, spec)).collect();
    let mut made = match made {
        Ok(made) => made,
        Err(error) => return (values, Some(error)),
    };
    watch(&opt, &made, &mut values);
    for _ in 0..int(&case["steps"]) {
        opt.f_step().unwrap();
        for scheduler in &mut made {
            if let Err(error) = scheduler.step(&mut opt) {
                return (values, Some(error));
            }
        }
        watch(&opt, &made, &mut values);
    }
    (values, None)
}

/// Every schedule, alone, combined and one after the other; those that fail do so at the same step. Budget: 5 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn schedules() {
    let alone = [
        json!(["StepLR", {"step_size": 7}]),
        json!(["StepLR", {"step_size": 3, "gamma": 0.97}]),
        json!(["MultiStepLR", {"milestones": [5, 5, 30, 80, 5], "gamma": 0.7}]),
        json!(["ConstantLR", {}]),
        json!(["ConstantLR", {"factor": 0.3, "total_iters": 40}]),
        json!(["LinearLR", {}]),
        json!(["LinearLR", {"start_factor": 0.001, "end_factor": 0.9, "total_iters": 100}]),
        json!(["LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 70}]),
        json!(["ExponentialLR", {"gamma": 0.987}]),
        json!(["PolynomialLR", {}]),
        json!(["PolynomialLR", {"total_iters": 150, "power": 0.9}]),
        json!(["PolynomialLR", {"total_iters": 150, "power": 2.5}]),
        json!(["CosineAnnealingLR", {"T_max": 30}]),
        json!(["CosineAnnealingLR", {"T_max": 111, "eta_min": 1e-5}]),
        json!(["CosineAnnealingWarmRestarts", {"T_0": 10}]),
        json!(["CosineAnnealingWarmRestarts", {"T_0": 7, "T_mult": 2, "eta_min": 1e-4}]),
        json!(["LambdaLR", {"lr_lambda": "inverse"}]),
        json!(["LambdaLR", {"lr_lambda": "wave"}]),
        json!(["MultiplicativeLR", {"lr_lambda": "wave"}]),
        json!(["OneCycleLR", {"max_lr": 0.3, "total_steps": 200}]),
        json!(["OneCycleLR", {"max_lr": [0.3, 0.01], "total_steps": 201, "pct_start": 0.1, "anneal_strategy": "linear",
               "base_momentum": 0.7, "max_momentum": [0.9, 0.99]}]),
        json!(["OneCycleLR", {"max_lr": 0.3, "total_steps": 203, "three_phase": true, "div_factor": 10.0,
               "final_div_factor": 100.0, "cycle_momentum": false}]),
        json!(["OneCycleLR", {"max_lr": 0.3, "total_steps": 207, "three_phase": true}]),
    ];
    let failing = [
        json!(["OneCycleLR", {"max_lr": 0.3, "total_steps": 20}]),
        json!(["OneCycleLR", {"max_lr": 0.3, "total_steps": 0}]),
        json!(["OneCycleLR", {"max_lr": 0.3, "total_steps": 10, "pct_start": 1.5}]),
        json!(["OneCycleLR", {"max_lr": [0.3, 0.1, 0.2], "total_steps": 10}]),
        json!(["StepLR", {"step_size": 0}]),
        json!(["CosineAnnealingLR", {"T_max": 0}]),
        json!(["CosineAnnealingWarmRestarts", {"T_0": 0}]),
        json!(["CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 0}]),
        json!(["ConstantLR", {"factor": 1.5}]),
        json!(["ConstantLR", {"factor": 0.0}]),
        json!(["LinearLR", {"start_factor": 0.0}]),
        json!(["LinearLR", {"end_factor": 1.5}]),
        json!(["SequentialLR", {"schedulers": [], "milestones": []}]),
        json!(["SequentialLR", {"schedulers": [["ConstantLR", {}]], "milestones": [3]}]),
    ];
    let mut cases = Vec::new();
    let mut case = |optimizer: &str, schedules: Value| {
        cases.push(json!({"optimizer": optimizer, "lrs": [0.05, 0.00137], "schedules": schedules, "steps": 200}));
    };
    for (turn, schedule) in alone.iter().enumerate() {
        let other = &alone[(turn * 5 + 1) % 17];
        case(["SGD", "Adam", "RMSprop"][turn % 3], json!([schedule]));
        case("Adam", json!([schedule, other]));
        let next = &alone[(turn + 1) % alone.len()];
        case(
            "SGD",
            json!([["SequentialLR", {"schedulers": [other, schedule, next], "milestones": [11, 60]}]]),
        );
    }
    case(
        "Adam",
        json!([["SequentialLR", {"schedulers": [alone[6], alone[13]], "milestones": [100]}]]),
    );
    case(
        "Adam",
        json!([["SequentialLR", {"schedulers": [alone[0], alone[8]], "milestones": [0]}]]),
    );
    let nested = json!(["SequentialLR", {"schedulers": [alone[1], alone[12]], "milestones": [10]}]);
    case(
        "Adam",
        json!([["SequentialLR", {"schedulers": [nested, alone[8]], "milestones": [50]}]]),
    );
    case(
        "Adam",
        json!([["SequentialLR", {"schedulers": [alone[8], nested], "milestones": [50]}]]),
    );
    case("Adagrad", json!([alone[19]]));
    for schedule in failing {
        case("SGD", json!([schedule]));
    }
    let mut failures = Vec::new();
    for (case, expected) in cases.iter().zip(expected(&cases)) {
        let (values, error) = run(case);
        let ours: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let chunks = if expected.chunks.is_empty() {
            vec![vec![]]
        } else {
            expected.chunks
        };
        if let Some(difference) = first_difference(&[ours], &chunks) {
            failures.push(format!("{case}: {difference}"));
        }
        match (&error, &expected.error) {
            (None, None) => {}
            (Some(OptimError::Argument { message, .. }), Some((kind, theirs)))
                if kind == "ValueError" =>
            {
                if message != theirs {
                    failures.push(format!("{case}: {message} against {theirs}"));
                }
            }
            (Some(OptimError::ZeroDivision { .. }), Some((kind, _)))
                if kind == "ZeroDivisionError" => {}
            (Some(OptimError::Argument { .. }), Some((kind, _)))
                if kind == "NotImplementedError" => {}
            (ours, theirs) => failures.push(format!("{case}: {ours:?} against {theirs:?}")),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

fn clip(case: &Value) -> Result<Vec<Vec<u8>>, OptimError> {
    tch::manual_seed(int(&case["seed"]));
    let array = |key: &str| case[key].as_array().unwrap().clone();
    let mut params = Vec::new();
    for (i, (shape, dtype)) in array("shapes").iter().zip(array("dtypes")).enumerate() {
        let shape: Vec<i64> = shape.as_array().unwrap().iter().map(int).collect();
        let kind = match dtype.as_str().unwrap() {
            "f32" => Kind::Float,
            "f64" => Kind::Double,
            "bf16" => Kind::BFloat16,
            _ => Kind::Half,
        };
        let p = Tensor::zeros(&shape, (kind, Device::Cpu)).set_requires_grad(true);
        if !array("without").contains(&json!(i)) {
            let g = Tensor::randn(&shape, (Kind::Double, Device::Cpu)) * float(&case["scale"]);
            (&p * g.to_kind(kind)).sum(kind).backward();
        }
        params.push(p);
    }
    let mut chunks = Vec::new();
    if let Some(value) = case["value"].as_f64() {
        optim::clip_grad_value_(&params, value)?;
    } else {
        let norm_type = case["norm_type"].as_str().unwrap().parse().unwrap();
        let nonfinite = case["error_if_nonfinite"].as_bool().unwrap();
        let norm = optim::clip_grad_norm_(&params, float(&case["max_norm"]), norm_type, nonfinite)?;
        chunks.push(bytes(&norm));
    }
    let gradients = params.iter().map(Tensor::grad).filter(Tensor::defined);
    chunks.extend(gradients.map(|gradient| bytes(&gradient)));
    Ok(chunks)
}

/// Norms of several orders and dtypes, also mixed, below and above the greatest. Budget: 4 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn clipping() {
    let mut cases = Vec::new();
    let dtypes = [
        ["f32"; 4],
        ["f64"; 4],
        ["bf16"; 4],
        ["f16"; 4],
        ["f32", "f64", "f32", "bf16"],
        ["bf16", "f32", "f16", "f32"],
        ["f16", "bf16", "f64", "f32"],
    ];
    for (turn, dtypes) in dtypes.iter().enumerate() {
        for scale in [1.0, 1e-3, 1e20] {
            for norm_type in ["2.0", "1.0", "inf", "3.0", "0.5", "-inf", "0.0"] {
                cases.push(json!({
                    "seed": turn, "shapes": [[33, 9], [], [7], [70, 11]], "dtypes": dtypes, "without": [1 + turn % 3],
                    "scale": scale, "value": null, "max_norm": 1.5, "norm_type": norm_type,
                    "error_if_nonfinite": scale > 1.0 && norm_type == "2.0",
                }));
            }
            cases.push(json!({
                "seed": turn, "shapes": [[33, 9], [], [7], [70, 11]], "dtypes": dtypes, "without": [], "scale": scale,
                "value": 0.7,
            }));
        }
    }
    cases.push(json!({
        "seed": 0, "shapes": [[3], [2]], "dtypes": ["f32", "f32"], "without": [0, 1], "scale": 1.0, "value": null,
        "max_norm": 1.0, "norm_type": "2.0", "error_if_nonfinite": true,
    }));
    let _stream = default_stream();
    let mut failures = Vec::new();
    for (case, expected) in cases.iter().zip(expected(&cases)) {
        match (clip(case), expected.error) {
            (Ok(chunks), None) => {
                if let Some(difference) = first_difference(&chunks, &expected.chunks) {
                    failures.push(format!("{case}: {difference}"));
                }
            }
            (Err(_), Some(_)) => {}
            (ours, theirs) => failures.push(format!("{case}: {:?} against {theirs:?}", ours.err())),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
