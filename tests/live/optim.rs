//! Every optimizer of `torch.optim` against PyTorch: parameters and state, bit for bit.

use crate::common::reference::{expected_of, first_difference};
use crate::common::{bytes, chain, default_stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};
use tch_init::optim::{self, OptimError, Optimizer, Options, ParamGroup};

/// An optimizer's options for Python and for Rust.
#[derive(Clone)]
struct Given {
    optimizer: &'static str,
    python: Value,
    rust: Options,
}

/// `given!(Adam { lr: 0.1 })`: `Adam(..., lr=0.1)`.
macro_rules! given {
    ($name:ident { $($field:ident: $value:expr),* $(,)? }) => {
        Given {
            optimizer: stringify!($name),
            python: json!({ $(stringify!($field): $value),* }),
            rust: optim::$name::default()$(.$field($value))*.into(),
        }
    };
}

/// Parameters and what is to be done with them.
#[derive(Clone)]
struct Case {
    given: Given,
    /// Options of each group and the indices of its parameters.
    groups: Vec<(Vec<usize>, Value, Options)>,
    /// Whether the last group is added after two steps.
    late: bool,
    shapes: Vec<Vec<i64>>,
    dtypes: Vec<&'static str>,
    transposed: Vec<usize>,
    sparse: Vec<usize>,
    seed: i64,
    steps: i64,
    /// Whether Python's other implementations are to be compared.
    variants: bool,
    /// Whether gradients hold infinities and NaNs of either sign.
    special: bool,
}

impl Case {
    /// A scalar, an empty tensor, and tensors of several sizes, of which one is transposed.
    fn dense(given: &Given, dtype: &'static str, seed: i64) -> Case {
        let shapes: [&[i64]; 6] = [&[], &[0], &[7], &[5, 4], &[33, 9], &[2, 3, 4]];
        Case {
            groups: vec![((0..6).collect(), json!({}), given.rust)],
            given: given.clone(),
            late: false,
            shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
            dtypes: vec![dtype; 6],
            transposed: vec![3],
            sparse: vec![],
            seed,
            steps: 100,
            variants: true,
            special: false,
        }
    }

    /// Sizes around those of chunks and of what a thread takes, with odd remainders.
    fn large(given: &Given, dtype: &'static str, special: bool) -> Case {
        let sizes = [1, 15, 1023, 2049, 98_309];
        Case {
            groups: vec![((0..sizes.len()).collect(), json!({}), given.rust)],
            shapes: sizes.iter().map(|size| vec![*size]).collect(),
            dtypes: vec![dtype; sizes.len()],
            transposed: vec![],
            steps: 6,
            variants: false,
            special,
            ..Case::dense(given, dtype, 5)
        }
    }

    fn to_json(&self) -> Value {
        let groups = self.groups.iter();
        let groups: Vec<Value> = groups
            .map(|(params, options, _)| json!([params, options]))
            .collect();
        json!({
            "optimizer": self.given.optimizer, "options": self.given.python, "groups": groups,
            "late": self.late, "shapes": self.shapes, "dtypes": self.dtypes, "transposed": self.transposed,
            "sparse": self.sparse, "seed": self.seed, "steps": self.steps, "variants": self.variants,
            "special": self.special,
        })
    }

    fn name(&self) -> String {
        self.to_json().to_string()
    }

    fn parameters(&self) -> Vec<Tensor> {
        let made = self.shapes.iter().zip(&self.dtypes).enumerate();
        made.map(|(i, (shape, dtype))| {
            let kind = kind(dtype);
            let drawn = if kind == Kind::ComplexFloat {
                kind
            } else {
                Kind::Double
            };
            let values = Tensor::randn(shape, (drawn, Device::Cpu)).to_kind(kind);
            let values = if self.transposed.contains(&i) {
                values.tr()
            } else {
                values
            };
            values.detach().set_requires_grad(true)
        })
        .collect()
    }

    /// Gives a parameter its gradient of this step, as `backward` of optim.py.
    fn backward(&self, step: i64, i: usize, p: &Tensor) {
        if (step + 2 * i as i64) % 7 == 3 {
            return;
        }
        let draw = |shape: &[i64], kind| Tensor::randn(shape, (kind, Device::Cpu));
        if self.sparse.contains(&i) {
            let indices = Tensor::randint(p.size()[0], [5], (Kind::Int64, Device::Cpu));
            let rows = Tensor::embedding(p, &indices, -1, false, true);
            let g = draw(&rows.size(), Kind::Double).to_kind(p.kind());
            (rows * g).sum(p.kind()).backward();
            return;
        }
        let scale = [1.0, 1e-3, 30.0, 1e-6][(step as usize + i) % 4];
        if p.kind() == Kind::ComplexFloat {
            let g = draw(&p.size(), p.kind()) * scale;
            (p * g).sum(p.kind()).real().backward();
            return;
        }
        let g = draw(&p.size(), Kind::Double) * scale;
        let g = if i % 2 == 1 { g.relu() } else { g };
        if self.special {
            let nan = Tensor::scalar_tensor(f64::NAN, (Kind::Double, Device::Cpu));
            let set = |start: i64, step: i64, value: &Tensor| {
                g.slice(0, start, None, step).copy_(value);
            };
            if step % 4 == 1 {
                set(11, 911, &nan);
                set(13, 2003, &Tensor::from(f64::INFINITY));
            } else if step % 4 == 2 {
                set(11, 1822, &nan.neg());
                set(15, 4001, &Tensor::from(f64::NEG_INFINITY));
            }
        }
        (p * g.to_kind(p.kind())).sum(p.kind()).backward();
    }

    fn train(&self) -> Result<(Vec<Vec<u8>>, Value), OptimError> {
        tch::manual_seed(self.seed);
        let params = self.parameters();
        let groups = self.groups.iter().enumerate();
        let mut groups: Vec<ParamGroup> = groups
            .map(|(index, (indices, python, rust))| {
                let group = ParamGroup::new(indices.iter().map(|i| params[*i].shallow_clone()));
                // A group without options of its own has the optimizer's.
                let default = index == 0 && python.as_object().is_some_and(|o| o.is_empty());
                if default { group } else { group.options(*rust) }
            })
            .collect();
        let mut late = if self.late { groups.pop() } else { None };
        let mut opt = Optimizer::with_groups(groups, self.given.rust)?;
        let mut chunks = Vec::new();
        for step in 1..=self.steps {
            if step == 3
                && let Some(group) = late.take()
            {
                opt.add_param_group(group)?;
            }
            opt.f_zero_grad()?;
            for (i, p) in params.iter().enumerate() {
                self.backward(step, i, p);
            }
            opt.f_step()?;
            if [1, 2, 10, self.steps].contains(&step) {
                chunks.extend(params.iter().map(bytes));
            }
        }
        let mut state = BTreeMap::new();
        for (number, entries) in opt.state_dict()?.state {
            for (name, tensor) in entries {
                state.insert((number, name), tensor);
            }
        }
        let dense = |t: &Tensor| {
            if t.is_sparse() {
                t.to_dense(None, false)
            } else {
                t.shallow_clone()
            }
        };
        chunks.extend(state.values().map(|tensor| bytes(&dense(tensor))));
        Ok((chunks, json!(state.into_keys().collect::<Vec<_>>())))
    }
}

fn kind(dtype: &str) -> Kind {
    match dtype {
        "f32" => Kind::Float,
        "f64" => Kind::Double,
        "bf16" => Kind::BFloat16,
        "f16" => Kind::Half,
        "c64" => Kind::ComplexFloat,
        other => panic!("{other}"),
    }
}

/// Every optimizer with its options alone and together.
fn all() -> Vec<Given> {
    let wd = 0.02;
    vec![
        given!(SGD {}),
        given!(SGD {
            lr: 0.1,
            weight_decay: wd
        }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.9
        }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.9,
            dampening: 0.1,
            weight_decay: wd
        }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.9,
            weight_decay: wd,
            nesterov: true
        }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.8,
            nesterov: true,
            maximize: true,
            weight_decay: wd
        }),
        given!(SGD {
            lr: 0.1,
            maximize: true
        }),
        given!(Adam {}),
        given!(Adam {
            lr: 0.03,
            betas: (0.8, 0.95),
            eps: 1e-6
        }),
        given!(Adam {
            lr: 0.03,
            betas: (0.3, 0.95),
            weight_decay: wd
        }),
        given!(Adam {
            lr: 0.03,
            amsgrad: true,
            betas: (0.9, 0.6)
        }),
        given!(Adam {
            lr: 0.03,
            betas: (0.0, 0.0)
        }),
        given!(Adam {
            lr: 0.03,
            weight_decay: wd,
            decoupled_weight_decay: true
        }),
        given!(Adam {
            lr: 0.03,
            weight_decay: wd,
            maximize: true,
            amsgrad: true
        }),
        given!(AdamW {}),
        given!(AdamW {
            lr: 6e-4,
            betas: (0.9, 0.95),
            weight_decay: 0.1
        }),
        given!(AdamW {
            lr: 0.03,
            amsgrad: true,
            maximize: true,
            eps: 1e-3
        }),
        given!(AdamW {
            lr: 0.03,
            weight_decay: 0.0
        }),
        given!(RMSprop {}),
        given!(RMSprop {
            lr: 0.03,
            alpha: 0.9,
            eps: 1e-6,
            weight_decay: wd
        }),
        given!(RMSprop { momentum: 0.9 }),
        given!(RMSprop { centered: true }),
        given!(RMSprop {
            centered: true,
            momentum: 0.9,
            weight_decay: wd,
            maximize: true
        }),
        given!(Adagrad {}),
        given!(Adagrad {
            lr: 0.1,
            lr_decay: 0.01,
            weight_decay: wd
        }),
        given!(Adagrad {
            lr: 0.1,
            initial_accumulator_value: 0.3,
            eps: 1e-5,
            maximize: true
        }),
        given!(NAdam {}),
        given!(NAdam {
            lr: 0.02,
            betas: (0.85, 0.98),
            eps: 1e-6,
            momentum_decay: 0.01
        }),
        given!(NAdam {
            weight_decay: wd,
            maximize: true
        }),
        given!(NAdam {
            weight_decay: wd,
            decoupled_weight_decay: true
        }),
        given!(RAdam {}),
        given!(RAdam {
            lr: 0.02,
            betas: (0.85, 0.98),
            eps: 1e-6
        }),
        given!(RAdam {
            weight_decay: wd,
            maximize: true
        }),
        given!(RAdam {
            weight_decay: wd,
            decoupled_weight_decay: true
        }),
        given!(RAdam { betas: (0.5, 0.3) }),
        given!(Adadelta {}),
        given!(Adadelta {
            lr: 0.3,
            rho: 0.8,
            eps: 1e-4,
            weight_decay: wd
        }),
        given!(Adadelta { maximize: true }),
        given!(Adamax {}),
        given!(Adamax {
            lr: 0.02,
            betas: (0.85, 0.98),
            eps: 1e-6,
            weight_decay: wd
        }),
        given!(Adamax { maximize: true }),
    ]
}

/// Compares all cases, and returns what Python says of its other implementations.
fn compare(cases: &[Case]) -> Vec<(String, &'static str, Vec<Value>)> {
    let _stream = default_stream();
    let request: Vec<Value> = cases.iter().map(Case::to_json).collect();
    let mut failures = Vec::new();
    let mut variants = Vec::new();
    for (case, expected) in cases
        .iter()
        .zip(expected_of("tests/python/optim.py", &request))
    {
        match (case.train(), expected.error) {
            (Ok((chunks, names)), None) => {
                if expected.rest[0] != names {
                    failures.push(format!(
                        "{}: state {names} against {}",
                        case.name(),
                        expected.rest[0]
                    ));
                }
                if let Some(difference) = first_difference(&chunks, &expected.chunks) {
                    failures.push(format!("{}: {difference}", case.name()));
                }
                variants.push((
                    case.given.optimizer.to_owned(),
                    case.dtypes[0],
                    expected.rest,
                ));
            }
            (Err(error), Some((kind, message))) => {
                let theirs = format!("{}: {message}", case.given.optimizer);
                let sparse = "sparse gradients";
                let is_same = (kind != "ValueError" || error.to_string() == theirs)
                    && (!message.contains(sparse) || chain(&error).contains(sparse));
                if !is_same {
                    let ours = chain(&error);
                    failures.push(format!("{}: {ours}, in Python {theirs}", case.name()));
                }
            }
            (Ok(_), Some(error)) => failures.push(format!("{}: Python has {error:?}", case.name())),
            (Err(error), None) => failures.push(format!("{}: {}", case.name(), chain(&error))),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    variants
}

/// Budget: 40 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn optimizers() {
    let mut cases = Vec::new();
    for (turn, given) in all().iter().enumerate() {
        for dtype in ["f32", "f64", "bf16", "f16", "c64"] {
            cases.push(Case {
                steps: if ["f16", "c64"].contains(&dtype) {
                    10
                } else {
                    100
                },
                variants: ["f32", "bf16"].contains(&dtype),
                ..Case::dense(given, dtype, turn as i64)
            });
        }
    }
    let mut differ: BTreeMap<&str, Vec<(String, &str)>> = BTreeMap::new();
    for (optimizer, dtype, rest) in compare(&cases) {
        if let [_, foreach, fused] = &rest[..] {
            for (variant, same) in [("foreach", foreach), ("fused", fused)] {
                let key = (optimizer.clone(), dtype);
                let found = differ.entry(variant).or_default();
                if *same == json!(false) && !found.contains(&key) {
                    found.push(key);
                }
            }
        }
    }
    // What the documentation says of the other implementations.
    let in_f32 = |variant| -> Vec<&str> {
        let found = differ[variant].iter();
        let found = found.filter(|(_, dtype)| *dtype == "f32");
        found.map(|(optimizer, _)| &optimizer[..]).collect()
    };
    assert_eq!(in_f32("foreach"), ["NAdam", "RAdam"]);
    assert_eq!(in_f32("fused"), ["Adam", "AdamW", "Adagrad"]);
    let in_bf16 = |variant: &str| {
        let found = differ[variant].iter();
        found.filter(|(_, dtype)| *dtype == "bf16").count()
    };
    assert_eq!((in_bf16("foreach"), in_bf16("fused")), (9, 4));
}

/// Groups with options of their own, of which one is added later, in two dtypes; Adagrad's sum starts with the
/// optimizer's value, not the group's. Budget: 5 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn groups() {
    /// The optimizer's options and, in Python and in Rust, those of its second and third group.
    macro_rules! groups {
        ($name:ident, { $($common:tt)* }, { $($second:tt)* }, { $($third:tt)* }) => {{
            let given = given!($name { $($common)* });
            let second = given!($name { $($common)* $($second)* });
            let third = given!($name { $($common)* $($third)* });
            let dense = Case::dense(&given, "f32", 5);
            Case {
                groups: vec![
                    (vec![4, 0], json!({}), given.rust),
                    (vec![1, 2], second.python, second.rust),
                    (vec![5, 3], third.python, third.rust),
                ],
                late: true,
                dtypes: vec!["f32", "f64", "f32", "bf16", "f32", "f64"],
                steps: 20,
                variants: false,
                ..dense
            }
        }};
    }
    compare(&[
        groups!(SGD, { lr: 0.1, momentum: 0.9, }, { weight_decay: 0.1, nesterov: true }, { maximize: true }),
        groups!(SGD, { lr: 0.1, momentum: 0.9, }, { nesterov: true, dampening: 0.5 }, { weight_decay: -0.1 }),
        groups!(Adam, { lr: 0.01, weight_decay: 0.1, }, { amsgrad: true }, { eps: 0.1, decoupled_weight_decay: true }),
        groups!(AdamW, { betas: (0.9, 0.95), }, { weight_decay: 0.0 }, { lr: 0.5 }),
        groups!(RMSprop, { alpha: 0.9, }, { centered: true }, { momentum: 0.5 }),
        groups!(Adagrad, { lr: 0.1, }, { initial_accumulator_value: 0.5 }, { lr_decay: 0.5 }),
        groups!(Adagrad, { initial_accumulator_value: 0.2, }, { lr: 0.1 }, { lr: 0.2 }),
        // Of a group that is added later, too, the optimizer's value counts.
        groups!(Adagrad, { lr: 0.1, }, { lr: 0.2 }, { initial_accumulator_value: 0.5 }),
        groups!(NAdam, { lr: 0.01, }, { momentum_decay: 0.1 }, { weight_decay: 0.1 }),
        groups!(RAdam, { lr: 0.01, }, { decoupled_weight_decay: true, weight_decay: 0.1 }, { maximize: true }),
        groups!(Adadelta, { rho: 0.8, }, { eps: 0.1 }, { weight_decay: 0.1 }),
        groups!(Adamax, { lr: 0.01, }, { betas: (0.5, 0.6) }, { weight_decay: 0.1 }),
    ]);
}

/// Optimizers that go through memory once, with the options that change what they compute.
fn in_one_pass() -> Vec<Given> {
    vec![
        given!(SGD { lr: 0.1 }),
        given!(SGD {
            lr: 0.1,
            weight_decay: 0.02,
            maximize: true
        }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.9,
            dampening: 0.1,
            weight_decay: 0.02
        }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.9,
            nesterov: true,
            maximize: true
        }),
        given!(Adam {
            lr: 0.03,
            weight_decay: 0.02,
            maximize: true
        }),
        given!(Adam {
            lr: 0.03,
            betas: (0.3, 0.95),
            eps: 1e-6
        }),
        given!(AdamW {
            lr: 6e-4,
            betas: (0.9, 0.95),
            weight_decay: 0.1
        }),
        given!(AdamW {
            lr: 0.03,
            betas: (0.5, 0.6),
            maximize: true,
            weight_decay: 0.0
        }),
    ]
}

/// Whether the libtorch of this process has the kernels whose bits the updates in one pass have.
fn has_one_pass() -> bool {
    cfg!(target_arch = "x86_64") && std::env::var_os("TCH_INIT_BACKEND").is_none()
}

/// Sizes around those of chunks, and special values. Budget: 10 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn updates_in_one_pass() {
    for special in [false, true] {
        let cases = |dtype| {
            let given = in_one_pass();
            let cases = given.iter().map(|given| Case::large(given, dtype, special));
            cases.collect::<Vec<_>>()
        };
        for dtype in ["f32", "f64"] {
            let cases = cases(dtype);
            let before = optim::fused_updates();
            compare(&cases);
            // A parameter has a gradient at five steps or all six, and no momentum at its first.
            let updates = optim::fused_updates() - before;
            let least = cases.len() as u64 * 5 * 4;
            assert!(!has_one_pass() || updates >= least, "{updates} of {least}");
        }
    }
}

/// The same with other numbers of threads, and with other kernels of libtorch, here and in Python. Budget: 40 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn updates_in_one_pass_elsewhere() {
    for (capability, threads) in [
        ("default", "2"),
        ("avx2", "1"),
        ("avx2", "2"),
        ("avx512", "1"),
    ] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "live::optim::updates_in_one_pass",
                "--include-ignored",
            ])
            .env("ATEN_CPU_CAPABILITY", capability)
            .env("OMP_NUM_THREADS", threads)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{capability}, {threads} threads: {said}"
        );
    }
}

/// What is not contiguous numbers of one type goes through the operators.
#[test]
fn unusual_updates_go_through_the_operators() {
    let _stream = default_stream();
    let new = |kind| Tensor::randn([6, 4], (Kind::Double, Device::Cpu)).to_kind(kind);
    let updates = |param: Tensor, options: Options| {
        let param = param.set_requires_grad(true);
        let before = optim::fused_updates();
        let mut opt = Optimizer::new([param.shallow_clone()], options).unwrap();
        for _ in 0..2 {
            opt.backward_step(&param.square().sum(param.kind()).real());
        }
        optim::fused_updates() - before
    };
    let adam: Options = optim::Adam::default().into();
    if has_one_pass() {
        assert_eq!(updates(new(Kind::Float), adam), 2);
        assert_eq!(updates(new(Kind::Double), optim::SGD::default().into()), 2);
    }
    assert_eq!(updates(new(Kind::Float).tr(), adam), 0);
    assert_eq!(
        updates(new(Kind::Float).slice(0, 0, 6, 2).slice(1, 0, 4, 2), adam),
        0
    );
    assert_eq!(updates(new(Kind::BFloat16), adam), 0);
    assert_eq!(updates(new(Kind::ComplexFloat), adam), 0);
    let largest = optim::Adam::default().amsgrad(true).into();
    assert_eq!(updates(new(Kind::Float), largest), 0);
    assert_eq!(
        updates(new(Kind::Float), optim::RMSprop::default().into()),
        0
    );
}

/// A step changes the parameter, so a graph from before cannot be walked any more, as in Python.
#[test]
fn autograd_notices_a_step() {
    let _stream = default_stream();
    for options in [
        Options::from(optim::AdamW::default()),
        optim::SGD::default().into(),
    ] {
        let w = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let mut opt = Optimizer::new([w.shallow_clone()], options).unwrap();
        let loss = w.square().sum(Kind::Float);
        opt.backward_step(&w.sum(Kind::Float));
        let error = loss.f_backward().unwrap_err().to_string();
        assert!(
            error.contains("modified by an inplace operation"),
            "{error}"
        );
    }
}

/// Sparse gradients beside dense ones, and the optimizers that refuse them. Budget: 5 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn sparse_gradients() {
    let mut cases = Vec::new();
    let given = [
        given!(SGD { lr: 0.1 }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.9
        }),
        given!(SGD {
            lr: 0.1,
            momentum: 0.9,
            nesterov: true,
            maximize: true
        }),
        given!(SGD {
            lr: 0.1,
            weight_decay: 0.1
        }),
        given!(Adagrad {
            lr: 0.1,
            lr_decay: 0.1
        }),
        given!(Adagrad {
            maximize: true,
            initial_accumulator_value: 0.1
        }),
        given!(Adagrad { weight_decay: 0.1 }),
        given!(Adam {}),
        given!(AdamW {}),
        given!(RMSprop {}),
        given!(NAdam {}),
        given!(RAdam {}),
        given!(Adadelta {}),
        given!(Adamax {}),
    ];
    for given in &given {
        for dtype in ["f32", "f64"] {
            cases.push(Case {
                shapes: vec![vec![3], vec![10, 3], vec![4]],
                dtypes: vec![dtype; 3],
                groups: vec![((0..3).collect(), json!({}), given.rust)],
                transposed: vec![],
                sparse: vec![1],
                steps: 30,
                variants: false,
                ..Case::dense(given, dtype, 11)
            });
        }
    }
    compare(&cases);
}

/// Options that PyTorch rejects, and at the edge of what it takes: the same conditions, in the same words. Budget: 3 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn rejected_options() {
    let given = [
        given!(SGD { lr: -1.0 }),
        given!(SGD { momentum: -0.5 }),
        given!(SGD {
            weight_decay: -1e-5
        }),
        given!(SGD { nesterov: true }),
        given!(SGD {
            nesterov: true,
            momentum: 0.9,
            dampening: 0.1
        }),
        given!(SGD { lr: 0.0 }),
        given!(Adam { lr: -0.001 }),
        given!(Adam { eps: -1.0 }),
        given!(Adam { betas: (1.0, 0.9) }),
        given!(Adam { betas: (-0.1, 0.9) }),
        given!(Adam { betas: (0.9, 1.0) }),
        given!(Adam { weight_decay: -1.0 }),
        given!(AdamW { lr: -1e300 }),
        given!(AdamW { betas: (0.5, 1.5) }),
        given!(RMSprop { lr: -1.0 }),
        given!(RMSprop { eps: -1.0 }),
        given!(RMSprop { momentum: -1.0 }),
        given!(RMSprop { weight_decay: -1.0 }),
        given!(RMSprop { alpha: -1.0 }),
        given!(Adagrad { lr: -1.0 }),
        given!(Adagrad { lr_decay: -1.0 }),
        given!(Adagrad { weight_decay: -1.0 }),
        given!(Adagrad {
            initial_accumulator_value: -1.0
        }),
        given!(Adagrad { eps: -1.0 }),
        given!(NAdam { lr: -1.0 }),
        given!(NAdam { betas: (1.0, 0.9) }),
        given!(NAdam {
            momentum_decay: -1.0
        }),
        given!(RAdam { lr: -1.0 }),
        given!(RAdam { betas: (0.9, 1.0) }),
        given!(Adadelta { lr: -1.0 }),
        given!(Adadelta { rho: 1.0 }),
        given!(Adadelta { rho: 1.1 }),
        given!(Adadelta { eps: -1.0 }),
        given!(Adadelta { weight_decay: -1.0 }),
        given!(Adamax { lr: -1.0 }),
        given!(Adamax { eps: -1.0 }),
        given!(Adamax { weight_decay: -1.0 }),
    ];
    let cases = given.map(|given| Case {
        steps: 1,
        variants: false,
        ..Case::dense(&given, "f32", 0)
    });
    let _stream = default_stream();
    let request: Vec<Value> = cases.iter().map(Case::to_json).collect();
    for (case, expected) in cases
        .iter()
        .zip(expected_of("tests/python/optim.py", &request))
    {
        let ours = case.train().err().map(|error| error.to_string());
        let theirs = expected.error.map(|(kind, message)| {
            assert_eq!(kind, "ValueError");
            format!("{}: {message}", case.given.optimizer)
        });
        assert_eq!(ours, theirs, "{}", case.name());
    }
}

/// Every number of an optimizer at the edge of what it takes, alone: the same errors in the same words, and the same bits
/// where it is taken. Budget: 10 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn numbers_at_the_edge() {
    const EDGES: [f64; 9] = [
        0.0,
        -0.0,
        5e-324,
        1.0,
        -1e-300,
        1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    // JSON lacks infinities and NaN: a text is a number here.
    let python = |value: f64| json!(value.to_string());
    let mut given = Vec::new();
    macro_rules! edges {
        ($name:ident: $($field:ident)*; $($pair:ident)*) => {
            for value in EDGES {
                $(given.push(Given {
                    optimizer: stringify!($name),
                    python: json!({ stringify!($field): python(value) }),
                    rust: optim::$name::default().$field(value).into(),
                });)*
                $(for pair in [(value, 0.9), (0.9, value)] {
                    given.push(Given {
                        optimizer: stringify!($name),
                        python: json!({ stringify!($pair): [python(pair.0), python(pair.1)] }),
                        rust: optim::$name::default().$pair(pair).into(),
                    });
                })*
            }
        };
    }
    edges!(SGD: lr momentum dampening weight_decay;);
    edges!(Adam: lr eps weight_decay; betas);
    edges!(AdamW: lr eps weight_decay; betas);
    edges!(RMSprop: lr alpha eps momentum weight_decay;);
    edges!(Adagrad: lr lr_decay initial_accumulator_value eps weight_decay;);
    edges!(NAdam: lr eps weight_decay momentum_decay; betas);
    edges!(RAdam: lr eps weight_decay; betas);
    edges!(Adadelta: lr rho eps weight_decay;);
    edges!(Adamax: lr eps weight_decay; betas);
    let cases: Vec<Case> = given
        .iter()
        .flat_map(|given| {
            ["f32", "bf16"].map(|dtype| Case {
                steps: 3,
                variants: false,
                ..Case::dense(given, dtype, 2)
            })
        })
        .collect();
    compare(&cases);
}

/// A number that the dtype lacks is an error of libtorch, in Rust as in Python, and no panic.
#[test]
fn numbers_that_a_dtype_lacks_are_errors() {
    let param = Tensor::ones([3], (Kind::Half, Device::Cpu)).set_requires_grad(true);
    (&param * 2).sum(Kind::Float).backward();
    let error = optim::clip_grad_value_(&[&param], 1e6).unwrap_err();
    assert!(
        error.to_string().contains("without overflow"),
        "{}",
        chain(&error)
    );
    assert!(optim::clip_grad_value_(&[&param], 1.0).is_ok());
    let options = optim::Adagrad::default().initial_accumulator_value(1e300);
    let error = Optimizer::new([param], options).unwrap_err();
    assert!(
        error.to_string().contains("without overflow"),
        "{}",
        chain(&error)
    );
}

/// One of each optimizer, whose state is handed over in the middle of training, from Python to Rust and from Rust to Python:
/// the parameters are those of a run without a break. Budget: 6 s.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn state_exchange() {
    let given = [
        given!(SGD {
            lr: 0.1,
            momentum: 0.9,
            nesterov: true
        }),
        given!(SGD { lr: 0.1 }),
        given!(Adam {
            amsgrad: true,
            weight_decay: 0.1
        }),
        given!(AdamW { lr: 0.01 }),
        given!(RMSprop {
            centered: true,
            momentum: 0.5
        }),
        given!(Adagrad { lr_decay: 0.1 }),
        given!(NAdam {}),
        given!(RAdam { betas: (0.8, 0.9) }),
        given!(Adadelta {}),
        given!(Adamax {}),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for given in &given {
        for dtype in ["f32", "bf16"] {
            let groups = vec![
                (vec![4, 1, 0], json!({}), given.rust),
                (vec![2, 3, 5], json!({}), given.rust),
            ];
            cases.push(Case {
                groups,
                variants: false,
                ..Case::dense(given, dtype, 3)
            });
        }
    }
    let _stream = default_stream();
    let new = |case: &Case| {
        tch::manual_seed(case.seed);
        let params = case.parameters();
        let groups = case.groups.iter().map(|(indices, _, _)| {
            ParamGroup::new(indices.iter().map(|i| params[*i].shallow_clone()))
        });
        let opt = Optimizer::with_groups(groups, case.given.rust).unwrap();
        (params, opt)
    };
    let train =
        |case: &Case, (params, opt): &mut (Vec<Tensor>, Optimizer), steps: std::ops::Range<i64>| {
            for step in steps {
                tch::manual_seed(step);
                opt.zero_grad();
                for (i, p) in params.iter().enumerate() {
                    case.backward(step, i, p);
                }
                opt.step();
            }
        };
    let all =
        |run: &(Vec<Tensor>, Optimizer)| -> Vec<Vec<u8>> { run.0.iter().map(bytes).collect() };
    let mut request = Vec::new();
    let mut ours = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let place = folder.path().join(index.to_string());
        std::fs::create_dir(&place).unwrap();
        let mut run = new(case);
        train(case, &mut run, 1..11);
        let named = run
            .0
            .iter()
            .enumerate()
            .map(|(i, p)| (i.to_string(), p.detach().contiguous()));
        Tensor::write_safetensors(&named.collect::<Vec<_>>(), place.join("params.safetensors"))
            .unwrap();
        run.1
            .state_dict()
            .unwrap()
            .save(place.join("rust.safetensors"))
            .unwrap();
        let middle = all(&run);
        train(case, &mut run, 11..21);
        ours.push((place.clone(), middle, all(&run)));
        let mut json = case.to_json();
        json["exchange"] = json!(place);
        request.push(json);
    }
    let expected = expected_of("tests/python/optim.py", &request);
    for ((case, (place, middle, end)), expected) in cases.iter().zip(ours).zip(expected) {
        let name = case.name();
        let [their_middle, their_end, continued] = [0, 1, 2].map(|part| {
            let count = case.shapes.len();
            expected.chunks[part * count..(part + 1) * count].to_vec()
        });
        assert_eq!(first_difference(&middle, &their_middle), None, "{name}");
        assert_eq!(first_difference(&end, &their_end), None, "{name}");
        assert_eq!(
            first_difference(&end, &continued),
            None,
            "{name}: from Rust to Python"
        );
        for (file, key) in [
            ("python.pt", Some("train.optimizer")),
            ("rust.safetensors", None),
        ] {
            let mut run = new(case);
            let named = Tensor::read_safetensors(place.join("params.safetensors")).unwrap();
            for (name, value) in named {
                let index: usize = name.parse().unwrap();
                tch::no_grad(|| run.0[index].copy_(&value));
            }
            let state = optim::StateDict::read(place.join(file), key).unwrap();
            // The options are those of the state.
            run.1.set_lr(123.0);
            run.1.load_state_dict(&state).unwrap();
            train(case, &mut run, 11..21);
            assert_eq!(
                first_difference(&all(&run), &end),
                None,
                "{name}: from {file}"
            );
        }
    }
    let place = folder.path().join("0");
    let wrong = optim::StateDict::read(place.join("python.pt"), None).unwrap_err();
    assert!(
        wrong
            .to_string()
            .ends_with("it has no state_dict of an optimizer"),
        "{wrong}"
    );
    let wrong = optim::StateDict::read(place.join("params.safetensors"), None).unwrap_err();
    assert!(wrong.to_string().contains("has no param_groups"), "{wrong}");
}
