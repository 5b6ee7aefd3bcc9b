//! One layer against PyTorch's: how it starts, what it draws, what it prints, what it computes.

use crate::common::reference::{Expected, expected, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tch::nn::{Path, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::nn::{LayerKind, LayerSpec, Printed};
use tch_init::plan::PlanBuilder;
use tch_init::tensor::Dtype;
use tch_init::{Generator, InitError, Walk, get_rng_state, manual_seed};

/// What a layer computes from its inputs.
pub type Forward = Box<dyn Fn(&[Tensor]) -> Vec<Tensor>>;

/// An input, drawn by both sides from the same seed.
#[derive(Debug, Clone)]
pub enum Input {
    /// `torch.randn(shape)` of the layer's dtype.
    Randn(&'static [i64]),
    /// `torch.randint(0, high, shape)`.
    Randint(i64, &'static [i64]),
    /// A tensor of integers.
    Ints(&'static [i64], &'static [i64]),
}

/// A layer of PyTorch and its twin here.
pub struct Twin {
    /// The Python expression that makes it, with `nn` and `torch` in scope.
    pub python: &'static str,
    /// The Python expression of its outputs, with the layer as `m` and the inputs as `x`.
    pub forward: &'static str,
    pub inputs: Vec<Input>,
    /// What the walk has to say of the outermost layer.
    pub kind: LayerKind,
    pub make: fn(Path<'_>) -> Result<Forward, InitError>,
    /// How far outputs may lie from Python's, relative to their greatest: 0 for the same bits. A
    /// tolerance needs a reason where it is set.
    pub tolerance: f64,
}

const SEEDS: [i64; 3] = [0, 7, -3];

/// Compares every twin on several seeds, on f32 and f64: tensors under PyTorch's names and in its
/// order, the final generator state, `repr`, outputs, and all tensors once more after
/// `reset_parameters` at another seed.
pub fn assert_twins(twins: &[Twin]) {
    let mut runs = Vec::new();
    for twin in twins {
        for seed in SEEDS {
            for (dtype, kind) in [("f32", Kind::Float), ("f64", Kind::Double)] {
                runs.push((twin, seed, dtype, kind));
            }
        }
    }
    let cases: Vec<Value> = runs
        .iter()
        .map(|(twin, seed, dtype, _)| {
            let inputs: Vec<Value> = twin
                .inputs
                .iter()
                .map(|input| match input {
                    Input::Randn(shape) => json!(["randn", shape]),
                    Input::Randint(high, shape) => json!(["randint", shape, high]),
                    Input::Ints(shape, values) => json!(["ints", shape, values]),
                })
                .collect();
            json!({
                "kind": "twin", "python": twin.python, "forward": twin.forward, "inputs": inputs,
                "seed": seed, "dtype": dtype,
            })
        })
        .collect();
    let expected = expected(&cases);
    let _stream = default_stream();
    for ((twin, seed, dtype, kind), expected) in runs.into_iter().zip(expected) {
        assert_eq!(expected.error, None, "{}", twin.python);
        let label = format!("{}, seed {seed}, {dtype}", twin.python);
        assert_twin(twin, seed, kind, &expected, &label);
    }
}

fn assert_twin(twin: &Twin, seed: i64, kind: Kind, expected: &Expected, label: &str) {
    let names: Vec<String> = serde_json::from_value(expected.rest[0].clone()).unwrap();
    let parameters: Vec<String> = serde_json::from_value(expected.rest[1].clone()).unwrap();
    let repr = expected.rest[2].as_str().unwrap();

    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    manual_seed(seed).unwrap();
    let forward = (twin.make)(vs.root() / "m").unwrap_or_else(|error| panic!("{label}: {error}"));
    let after = get_rng_state().unwrap();

    let variables = vs.variables();
    let mut ours: Vec<String> = variables.keys().cloned().collect();
    let mut theirs: Vec<String> = names.iter().map(|name| format!("m.{name}")).collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs, "{label}: names");
    let trainable = vs.trainable_variables();
    assert_eq!(trainable.len(), parameters.len(), "{label}: parameters");
    for (tensor, name) in trainable.iter().zip(&parameters) {
        let named = &variables[&format!("m.{name}")];
        assert_eq!(
            tensor.data_ptr(),
            named.data_ptr(),
            "{label}: order, at {name}"
        );
    }

    let state_dict = || {
        names
            .iter()
            .map(|name| bytes(&variables[&format!("m.{name}")]))
    };
    let mut chunks: Vec<Vec<u8>> = state_dict().collect();
    chunks.push(after);
    manual_seed(seed.wrapping_add(1)).unwrap();
    let inputs: Vec<Tensor> = twin
        .inputs
        .iter()
        .map(|input| match input {
            Input::Randn(shape) => Tensor::randn(*shape, (kind, Device::Cpu)),
            Input::Randint(high, shape) => {
                Tensor::randint(*high, *shape, (Kind::Int64, Device::Cpu))
            }
            Input::Ints(shape, values) => Tensor::from_slice(values).view(*shape),
        })
        .collect();
    let outputs = forward(&inputs);
    let after_forward = get_rng_state().unwrap();
    let count = chunks.len();
    assert_eq!(
        first_difference(&chunks, &expected.chunks[..count]),
        None,
        "{label}: of {names:?}, then the state"
    );
    assert_print(
        twin,
        repr,
        seed,
        kind,
        (&names, &expected.chunks[..count]),
        label,
    );
    let after_outputs = count + outputs.len();
    assert!(
        after_forward == expected.chunks[after_outputs],
        "{label}: the forward pass leaves the stream elsewhere"
    );
    let expected_outputs = &expected.chunks[count..after_outputs];
    for (i, (output, expected)) in outputs.iter().zip(expected_outputs).enumerate() {
        assert_close(
            output,
            expected,
            twin.tolerance,
            &format!("{label}: output {i}"),
        );
    }

    manual_seed(seed.wrapping_add(2)).unwrap();
    Walk::new().reset_parameters(&vs).unwrap();
    let mut reset: Vec<Vec<u8>> = state_dict().collect();
    reset.push(get_rng_state().unwrap());
    assert_eq!(
        first_difference(&reset, &expected.chunks[after_outputs + 1..]),
        None,
        "{label}: after reset_parameters"
    );

    let layers = Walk::new().layers(&vs).unwrap();
    assert_eq!(layers[0].kind(), Some(twin.kind), "{label}");
    assert_eq!(
        tch_init::repr::module_str("M", &vs).unwrap(),
        format!("M(\n  (m): {}\n)", repr.replace('\n', "\n  ")),
        "{label}"
    );
}

fn assert_close(output: &Tensor, expected: &[u8], tolerance: f64, label: &str) {
    let ours = bytes(output);
    assert_eq!(ours.len(), expected.len(), "{label}");
    if ours == expected {
        return;
    }
    assert!(tolerance > 0.0, "{label}: bits differ");
    let values = |bytes: &[u8]| -> Vec<f64> {
        match output.kind() {
            Kind::Float => bytes
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            _ => bytes
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                .collect(),
        }
    };
    let (ours, theirs) = (values(&ours), values(expected));
    let scale = theirs
        .iter()
        .fold(0.0f64, |greatest, x| greatest.max(x.abs()));
    for (a, b) in ours.iter().zip(&theirs) {
        assert!(
            (a - b).abs() <= tolerance * scale,
            "{label}: {a} against {b}"
        );
    }
}

/// The layer that is read from what PyTorch prints: the same print, and as a plan the same tensors
/// and the same state of the generator.
fn assert_print(
    twin: &Twin,
    repr: &str,
    seed: i64,
    kind: Kind,
    (names, chunks): (&[String], &[Vec<u8>]),
    label: &str,
) {
    // Arguments that affect the variables and are not printed.
    let hidden = ["kdim", "vdim", "add_bias_kv", "init=", "weight=torch"];
    if hidden.iter().any(|argument| twin.python.contains(argument)) {
        return;
    }
    let spec = Printed::parse(repr).and_then(|printed| LayerSpec::from_printed(&printed));
    let spec = match spec {
        Ok(spec) => spec.unwrap_or_else(|| panic!("{label}: {repr} is not a layer")),
        Err(error) if repr.contains("ModuleList()") => {
            return assert!(error.to_string().contains("is not printed"), "{error}");
        }
        Err(error) => panic!("{label}: {error}"),
    };
    assert_eq!(spec.repr(), repr, "{label}: the print again");
    assert_eq!(spec.kind(), twin.kind, "{label}: kind");
    let dtype = Dtype::from_kind(kind).unwrap();
    let mut plan = PlanBuilder::new();
    spec.add_to_plan(&mut plan, "", dtype).unwrap();
    let plan = plan.finish(twin.python).unwrap();
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.manual_seed(seed).unwrap();
    let made: BTreeMap<_, _> = plan
        .materialize(&mut generator)
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(made.len(), names.len(), "{label}: names of the plan");
    let mut ours: Vec<Vec<u8>> = names.iter().map(|name| bytes(&made[name])).collect();
    ours.push(generator.get_state().unwrap());
    assert_eq!(
        first_difference(&ours, chunks),
        None,
        "{label}: of the plan's {names:?}, then the state"
    );
}
