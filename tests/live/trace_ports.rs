//! Ports of Python programs, traced on both sides: nothing differs, and planted mistakes are named.

use crate::common::{default_stream, run_script};
use std::cell::Cell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tch::nn::{Module, ModuleT, OptimizerConfig, RNN, VarStore};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU, vision};
use tch_init::trace::file::{Comparison, Outcome, Trace};
use tch_init::trace::replay::Replay;
use tch_init::trace::{Proof, RecordOptions, Recording, Verdict, heal};
use tch_init::{manual_seed, nn};

const CPU: Device = Device::Cpu;

/// The programs of `tests/python/trace/ports.py`.
const PROGRAMS: [&str; 6] = ["mlp", "lenet", "resnet18", "tagger", "gpt", "dcgan"];

thread_local! {
    /// The mistake that is planted in the program that runs.
    static MISTAKE: Cell<&'static str> = const { Cell::new("") };
}

fn has(mistake: &str) -> bool {
    MISTAKE.get() == mistake
}

pub(super) type Forward = Box<dyn Fn(&Tensor) -> Tensor>;

fn linear(vs: &tch::nn::Path<'_>, name: &str, inputs: i64, outputs: i64) -> nn::Linear {
    nn::linear(vs / name, inputs, outputs, Default::default())
}

pub(super) fn mlp(vs: &VarStore) -> Forward {
    let root = vs.root();
    let fc = [(20, 32), (32, 32), (32, 10)];
    let [fc1, fc2, fc3] =
        [0, 1, 2].map(|i| linear(&root, &format!("fc{}", i + 1), fc[i].0, fc[i].1));
    Box::new(move |x| {
        let x = fc1.forward(x);
        let x = if has("relu") { x.elu() } else { x.relu() };
        let x = x.dropout(if has("p") { 0.25 } else { 0.2 }, true);
        let x = fc2.forward(&x);
        let x = if has("no tanh") { x } else { x.tanh() };
        let x = if has("no dropout") {
            x
        } else {
            x.dropout(0.5, true)
        };
        let x = if has("twice") { x.relu() } else { x };
        fc3.forward(&x)
    })
}

fn lenet(vs: &VarStore) -> Forward {
    let root = vs.root();
    let padded = nn::ConvConfig {
        padding: 2,
        ..Default::default()
    };
    let conv1 = nn::conv2d(&root / "conv1", 1, 6, 5, padded);
    let conv2 = nn::conv2d(&root / "conv2", 6, 16, 5, Default::default());
    let (fc1, fc2) = (
        linear(&root, "fc1", 400, 120),
        linear(&root, "fc2", 120, 10),
    );
    Box::new(move |x| {
        let x = conv1.forward(x).relu().max_pool2d_default(2);
        let x = conv2.forward(&x).relu();
        let x = if has("avg pool") {
            x.avg_pool2d_default(2)
        } else {
            x.max_pool2d_default(2)
        };
        let x = if has("layout") {
            x.permute([0, 2, 3, 1])
        } else {
            x
        };
        fc2.forward(&fc1.forward(&x.flatten(1, -1)).relu())
    })
}

fn resnet18(vs: &VarStore) -> Forward {
    let model = vision::resnet::resnet18(&vs.root(), 10);
    Box::new(move |x| model.forward_t(x, true))
}

pub(super) fn tagger(vs: &VarStore) -> Forward {
    let root = vs.root();
    let embed = nn::embedding(&root / "embed", 50, 16, Default::default());
    let config = nn::RNNConfig {
        num_layers: 2,
        bidirectional: true,
        ..Default::default()
    };
    let lstm = nn::lstm(&root / "lstm", 16, 24, config);
    let out = linear(&root, "out", 48, 7);
    Box::new(move |x| {
        let x = lstm.seq(&embed.forward(x)).0;
        out.forward(&x).flatten(0, 1)
    })
}

pub(super) fn gpt(vs: &VarStore) -> Forward {
    let (width, heads) = (32, 4);
    let root = vs.root();
    let wte = nn::embedding(&root / "wte", 40, width, Default::default());
    let wpe = nn::embedding(&root / "wpe", 12, width, Default::default());
    let norm = |path: tch::nn::Path<'_>| nn::layer_norm(path, vec![width], Default::default());
    let blocks: Vec<_> = (0..2)
        .map(|i| {
            let path = &root / "blocks" / i;
            let near = nn::LayerNormConfig {
                eps: 1.1e-5,
                ..Default::default()
            };
            let config = if i == 1 && has("eps") {
                near
            } else {
                Default::default()
            };
            let ln1 = nn::layer_norm(&path / "ln1", vec![width], config);
            let ln2 = norm(&path / "ln2");
            let qkv = linear(&path, "qkv", width, 3 * width);
            let proj = linear(&path, "proj", width, width);
            let up = linear(&path, "up", width, 4 * width);
            let down = linear(&path, "down", 4 * width, width);
            move |x: &Tensor| {
                let (b, t, c) = x.size3().unwrap();
                let width = if has("scale") { c } else { c / heads };
                let split = qkv.forward(&ln1.forward(x)).split(c, 2);
                let [q, k, v] = [0, 1, 2]
                    .map(|i: usize| split[i].view([b, t, heads, c / heads]).transpose(1, 2));
                let att = q.matmul(&k.transpose(-2, -1)) * (1.0 / (width as f64).sqrt());
                let mask = Tensor::ones([t, t], FLOAT_CPU).tril(0).eq(0.);
                let att = att.masked_fill(&mask, f64::NEG_INFINITY);
                let att = att
                    .softmax(if has("dim") { -2 } else { -1 }, None::<Kind>)
                    .dropout(0.1, true);
                let y = att.matmul(&v).transpose(1, 2).contiguous().view([b, t, c]);
                let x = x + proj.forward(&y);
                let y = down.forward(&up.forward(&ln2.forward(&x)).gelu(if has("gelu") {
                    "none"
                } else {
                    "tanh"
                }));
                &x + y.dropout(0.1, true)
            }
        })
        .collect();
    let ln_f = norm(&root / "ln_f");
    let no_bias = nn::LinearConfig {
        bias: false,
        ..Default::default()
    };
    let head = nn::linear(&root / "head", width, 40, no_bias);
    Box::new(move |x| {
        let positions = Tensor::arange(x.size()[1], (Kind::Int64, CPU));
        let mut x = wte.forward(x) + wpe.forward(&positions);
        for block in &blocks {
            x = block(&x);
        }
        head.forward(&ln_f.forward(&x)).flatten(0, 1)
    })
}

/// Saves weights and data for Python.
fn save(path: &Path, stores: &[(&str, &VarStore)], data: &[(&str, &Tensor)]) {
    let mut named: Vec<(String, Tensor)> = data
        .iter()
        .map(|(name, tensor)| (format!("data.{name}"), tensor.shallow_clone()))
        .collect();
    for (prefix, vs) in stores {
        let variables = vs.variables().into_iter();
        named.extend(variables.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    }
    let named: Vec<(&str, &Tensor)> = named.iter().map(|(n, t)| (n.as_str(), t)).collect();
    Tensor::write_safetensors(&named, path).unwrap();
}

fn data(name: &str) -> (Tensor, Tensor) {
    let integers = |high, shape: &[i64]| Tensor::randint(high, shape, (Kind::Int64, CPU));
    match name {
        "mlp" => (Tensor::randn([8, 20], FLOAT_CPU), integers(10, &[8])),
        "lenet" => (Tensor::randn([4, 1, 28, 28], FLOAT_CPU), integers(10, &[4])),
        "resnet18" => (Tensor::randn([2, 3, 32, 32], FLOAT_CPU), integers(10, &[2])),
        "tagger" => (integers(50, &[3, 6]), integers(7, &[18])),
        "gpt" => (integers(40, &[3, 12]), integers(40, &[36])),
        "dcgan" => (
            Tensor::randn([4, 1, 8, 8], FLOAT_CPU),
            Tensor::zeros([1], FLOAT_CPU),
        ),
        other => panic!("{other}"),
    }
}

const STEPS: usize = 10;

fn run(name: &str, folder: &Path, steps: usize) -> PathBuf {
    let trace = folder.join(format!("{name}{}.rust.trace", MISTAKE.get()));
    let weights = folder.join(format!("{name}.safetensors"));
    manual_seed(1).unwrap();
    let (x, y) = data(name.split('-').next().unwrap());
    if name == "dcgan" {
        dcgan(&x, &weights, &trace, steps);
        return trace;
    }
    let vs = VarStore::new(CPU);
    let (name, kind) = name.split_once('-').unwrap_or((name, ""));
    let forward = match name {
        "mlp" => mlp(&vs),
        "lenet" => lenet(&vs),
        "resnet18" => resnet18(&vs),
        "tagger" => tagger(&vs),
        "gpt" => gpt(&vs),
        other => panic!("{other}"),
    };
    save(&weights, &[("", &vs)], &[("x", &x), ("y", &y)]);
    let momentum = if has("momentum") { 0.8 } else { 0.9 };
    let decay = if has("decay") { 0.0 } else { 1e-4 };
    let lr = if has("lr") { 0.06 } else { 0.05 };
    let mut optimizer = match kind {
        "adam" => tch::nn::Adam::default().build(&vs, 1e-3),
        _ => tch::nn::sgd(momentum, 0., decay, has("nesterov")).build(&vs, lr),
    }
    .unwrap();
    manual_seed(if has("seed") { 8 } else { 7 }).unwrap();
    let recording = tch_init::trace::record(&trace, &vs).unwrap();
    for step in 0..steps {
        if step == 1 && has("draw") {
            drop(Tensor::rand([1], FLOAT_CPU));
        }
        let x = if has("data") {
            &x + 1e-6
        } else {
            x.shallow_clone()
        };
        let loss = forward(&x).cross_entropy_for_logits(&y);
        let loss = if has("scaled") { loss / 2 } else { loss };
        if has("no zero_grad") {
            loss.backward();
            optimizer.step();
        } else if kind == "clip" {
            optimizer.backward_step_clip_norm(&loss, 0.1);
        } else {
            optimizer.backward_step(&loss);
        }
    }
    recording.finish().unwrap();
    trace
}

/// The two networks of a DCGAN.
pub(super) fn generator(vs: &VarStore) -> Forward {
    let no_bias = |stride, padding| nn::ConvTransposeConfig {
        stride,
        padding,
        bias: false,
        ..Default::default()
    };
    let tr1 = nn::conv_transpose2d(vs.root() / "tr1", 8, 16, 4, no_bias(1, 0));
    let bn1 = nn::batch_norm2d(vs.root() / "bn1", 16, Default::default());
    let tr2 = nn::conv_transpose2d(vs.root() / "tr2", 16, 1, 4, no_bias(2, 1));
    Box::new(move |z| {
        let x = bn1.forward_t(&tr1.forward(z), true).relu();
        tr2.forward(&x).tanh()
    })
}

pub(super) fn discriminator(vs: &VarStore) -> Forward {
    let conv = |name: &str, inputs, outputs, stride, padding| {
        let config = nn::ConvConfig {
            stride,
            padding,
            bias: false,
            ..Default::default()
        };
        nn::conv2d(vs.root() / name, inputs, outputs, 4, config)
    };
    let (conv1, conv2) = (conv("conv1", 1, 16, 2, 1), conv("conv2", 16, 1, 1, 0));
    Box::new(move |x| conv2.forward(&conv1.forward(x).leaky_relu()).view(-1))
}

/// Binary cross entropy with logits.
pub(super) fn bce(x: &Tensor, target: Tensor) -> Tensor {
    let none = None::<Tensor>;
    let mean = tch::Reduction::Mean;
    x.binary_cross_entropy_with_logits(&target, none.as_ref(), none.as_ref(), mean)
}

fn dcgan(real: &Tensor, weights: &Path, trace: &Path, steps: usize) {
    let (vs_g, vs_d) = (VarStore::new(CPU), VarStore::new(CPU));
    let (generate, judge) = (generator(&vs_g), discriminator(&vs_d));
    let stores = [("generator.", &vs_g), ("discriminator.", &vs_d)];
    save(weights, &stores, &[("x", real)]);
    let mut optimizer_g = tch::nn::Sgd::default().build(&vs_g, 0.02).unwrap();
    let mut optimizer_d = tch::nn::sgd(0.5, 0., 0., false).build(&vs_d, 0.02).unwrap();
    manual_seed(7).unwrap();
    let recording: Recording = RecordOptions::new()
        .record_named(trace, [("generator", &vs_g), ("discriminator", &vs_d)])
        .unwrap();
    let n = real.size()[0];
    for _ in 0..steps {
        let fake = generate(&Tensor::randn([n, 8, 1, 1], FLOAT_CPU));
        let loss = bce(&judge(real), Tensor::ones([n], FLOAT_CPU))
            + bce(&judge(&fake.detach()), Tensor::zeros([n], FLOAT_CPU));
        optimizer_d.backward_step(&loss);
        let loss = bce(&judge(&fake), Tensor::ones([n], FLOAT_CPU));
        optimizer_g.backward_step(&loss);
    }
    recording.finish().unwrap();
}

/// The folder of the traces; `TRACE_PORTS` names one that stays.
fn folder(temporary: &Path) -> PathBuf {
    std::env::var_os("TRACE_PORTS").map_or(temporary.to_owned(), PathBuf::from)
}

/// Records programs in Python.
fn python_traces(folder: &Path, steps: usize, names: &[&str]) {
    let mut arguments = vec![
        folder.as_os_str().to_owned(),
        tch::get_num_threads().to_string().into(),
        steps.to_string().into(),
    ];
    arguments.extend(names.iter().map(OsString::from));
    run_script("tests/python/trace/ports.py", arguments);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn true_ports_have_nothing_to_report() {
    let _stream = default_stream();
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder(temporary.path());
    for name in PROGRAMS {
        run(name, &folder, STEPS);
    }
    python_traces(&folder, STEPS, &PROGRAMS);
    for name in PROGRAMS {
        let read = |side: &str| Trace::read(&folder.join(format!("{name}.{side}.trace"))).unwrap();
        let (python, rust) = (read("python"), read("rust"));
        let comparison = Comparison::new(&python, &rust);
        assert_eq!(comparison.environment, [], "{name}");
        assert!(
            comparison.departures.is_empty(),
            "{name}: {:#?}",
            comparison.departures
        );
        assert_eq!(comparison.outcome, Outcome::Equal, "{name}");
        assert_eq!(comparison.steps.a, Some(STEPS as u32), "{name}");
        assert_eq!(comparison.steps.b, Some(STEPS as u32), "{name}");
    }
}

/// A mistake, the program that has it, the class it is given, and text of the line it is found at.
const MISTAKES: [(&str, &str, &str, &str); 20] = [
    ("mlp", "relu", "operation", "has(\"relu\")"),
    ("mlp", "p", "argument", "has(\"p\")"),
    ("mlp", "no tanh", "step", "x.dropout(0.5, true)"),
    ("mlp", "no dropout", "step", "fc3.forward(&x)"),
    ("mlp", "twice", "step", "has(\"twice\")"),
    (
        "mlp",
        "momentum",
        "optimizer",
        "optimizer.backward_step(&loss);",
    ),
    (
        "mlp",
        "decay",
        "optimizer",
        "optimizer.backward_step(&loss);",
    ),
    ("mlp", "lr", "optimizer", "optimizer.backward_step(&loss);"),
    (
        "mlp",
        "nesterov",
        "optimizer",
        "optimizer.backward_step(&loss);",
    ),
    ("mlp", "seed", "seed", "has(\"p\")"),
    ("mlp", "draw", "stream", "drop(Tensor::rand"),
    ("mlp", "data", "step", "&x + 1e-6"),
    ("mlp", "scaled", "step", "loss / 2"),
    (
        "mlp",
        "no zero_grad",
        "gradient-not-zeroed",
        "loss.backward();",
    ),
    ("lenet", "avg pool", "operation", "x.avg_pool2d_default(2)"),
    ("lenet", "layout", "step", "x.permute"),
    ("gpt", "eps", "argument", "ln1.forward(x)"),
    ("gpt", "scale", "argument", "(width as f64).sqrt()"),
    ("gpt", "dim", "argument", "has(\"dim\")"),
    ("gpt", "gelu", "argument", "has(\"gelu\")"),
];

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn planted_mistakes_are_named() {
    let _stream = default_stream();
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder(temporary.path());
    let programs = ["mlp", "lenet", "gpt"];
    for name in programs {
        run(name, &folder, 3);
    }
    python_traces(&folder, 3, &programs);
    let source: Vec<&str> = include_str!("trace_ports.rs").lines().collect();
    let mut wrong = Vec::new();
    for (name, mistake, class, line) in MISTAKES {
        MISTAKE.set(mistake);
        let trace = run(name, &folder, 3);
        MISTAKE.set("");
        let python = folder.join(format!("{name}.python.trace"));
        let read = |path: &Path| Trace::read(path).unwrap();
        let comparison = Comparison::new(&read(&python), &read(&trace));
        let found: Vec<(String, String)> = comparison
            .departures
            .iter()
            .map(|departure| {
                let at = departure.b.as_ref().and_then(|place| place.at.clone());
                (departure.class.name().to_owned(), at.unwrap_or_default())
            })
            .collect();
        let is_there = |at: &str| {
            let number: Option<usize> = at.rsplit(':').next().and_then(|n| n.parse().ok());
            number.is_some_and(|number| source[number - 1].contains(line))
        };
        let is_right = found
            .first()
            .is_some_and(|(c, at)| c == class && is_there(at));
        if !is_right {
            wrong.push(format!("{name} {mistake}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// tch's Adam is libtorch's, whose moments are those of PyTorch's until they round otherwise.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn the_adam_of_tch_is_named() {
    let _stream = default_stream();
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder(temporary.path());
    let trace = run("mlp-adam", &folder, 3);
    python_traces(&folder, 3, &["mlp-adam"]);
    let read = |path: &Path| Trace::read(path).unwrap();
    let python = folder.join("mlp-adam.python.trace");
    let departures = Comparison::new(&read(&python), &read(&trace)).departures;
    let [departure] = &departures[..] else {
        panic!("{departures:#?}");
    };
    assert_eq!(departure.class.name(), "optimizer", "{departure:#?}");
    assert_eq!(departure.class.subject(), Some("lerp"));
    for place in [&departure.a, &departure.b].into_iter().flatten() {
        assert_eq!((place.step, place.phase), (2, "optimizer"));
    }
    let text = departure.details.join("\n");
    assert!(
        text.contains("lerp_") && text.contains("tch_init::optim::Adam"),
        "{text}"
    );
}

/// tch's `clip_grad_norm` multiplies by a number that is computed in double precision. Healing finds it once, and nothing else.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn the_clipping_of_tch_is_named() {
    let _stream = default_stream();
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder(temporary.path());
    let trace = run("mlp-clip", &folder, 12);
    python_traces(&folder, 12, &["mlp-clip"]);
    let python = folder.join("mlp-clip.python.trace");
    let [a, b] = [&python, &trace].map(|path| Trace::read(path).unwrap());
    let comparison = Comparison::new(&a, &b);
    let departure = comparison.departures.first().unwrap();
    assert_eq!(departure.class.name(), "argument", "{departure:#?}");
    let text = departure.details.join("\n");
    assert!(
        text.contains("tch_init::optim::clip_grad_norm_ computes it as PyTorch does"),
        "{text}"
    );
    let mut replays = (
        Replay::new(&python, &a).unwrap(),
        Replay::new(&trace, &b).unwrap(),
    );
    let proof = Proof::new(&mut replays.0, &mut replays.1, departure);
    let Verdict::Arguments(replaced) = &proof.verdict else {
        panic!("{proof:?}");
    };
    assert_eq!(replaced[0].name, "other");
    let healing = heal((&python, &a), (&trace, &b), &comparison, 50, |_| {}).unwrap();
    assert!(healing.rounds.is_empty(), "{healing:#?}");
    assert_eq!((healing.stopped, healing.outcome), (None, Outcome::Equal));
    assert!(healing.runs > 1, "it departs in one step alone");
}
