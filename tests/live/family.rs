//! One layer against PyTorch's: how it starts, what it draws, what it prints, what it computes.

use crate::common::reference::{Expected, expected, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::{Value, json};
use tch::nn::{Path, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::nn::LayerKind;
use tch_init::{InitError, Walk, get_rng_state, manual_seed};

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
/// order, the state left behind, `repr`, outputs, and all tensors once more after
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
