//! Models of `torch.nn`: recorded once by `python/record.py`, materialised at other seeds, and
//! compared with what Python's constructor makes there.

use crate::common::reference::{expected_of, first_difference};
use crate::common::{bytes, run_script};
use crate::plan::build::seeded;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tch_init::init;
use tch_init::plan::InitPlan;

const MODELS: [&str; 22] = [
    "torch.nn.Linear(4, 3)",
    "torch.nn.Linear(3, 5, dtype=torch.float64)",
    "torch.nn.Linear(30, 7, dtype=torch.bfloat16)",
    "torch.nn.Bilinear(3, 4, 5)",
    "torch.nn.Embedding(10, 3, padding_idx=0)",
    "torch.nn.EmbeddingBag(7, 5)",
    "torch.nn.Conv2d(6, 9, 3, groups=3)",
    "torch.nn.ConvTranspose1d(4, 2, 5)",
    "torch.nn.BatchNorm2d(5)",
    "torch.nn.LayerNorm(7, bias=False)",
    "torch.nn.PReLU(3)",
    "torch.nn.LSTM(8, 5, 2, bidirectional=True)",
    "torch.nn.GRU(3, 4, 2)",
    "torch.nn.MultiheadAttention(16, 4, kdim=3, vdim=5, add_bias_kv=True)",
    "torch.nn.Transformer(32, 4, 2, 2, 48)",
    "torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16), 3)",
    "torch.nn.AdaptiveLogSoftmaxWithLoss(20, 100, [10, 50])",
    "torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(20, 30))",
    "torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(20, 30))",
    "torch.nn.Sequential(*[torch.nn.init.trunc_normal_(l.weight, std=0.5) is None or l for l in [torch.nn.Linear(20, 30)]], torch.nn.Linear(3, 3))",
    "torch.nn.Sequential(*[torch.nn.init.orthogonal_(l.weight) is None or l for l in [torch.nn.Linear(9, 12)]], torch.nn.Linear(3, 3))",
    "torch.nn.Sequential(*[torch.nn.init.sparse_(l.weight, 0.4) is None or l for l in [torch.nn.Linear(9, 12)]], torch.nn.Linear(3, 3))",
];

/// Seeds, and how many normals are drawn before, which leaves one of a pair in the generator.
const STARTS: [(i64, i64); 3] = [(1, 0), (-7, 1), (1 << 40, 2)];

fn record(model: &str) -> InitPlan {
    let json = run_script("python/record.py", [model]);
    let plan = InitPlan::from_json(&json);
    let plan = plan.unwrap_or_else(|error| panic!("{model}: {error}"));
    assert_eq!(plan.to_json().as_bytes(), json, "{model}");
    plan
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn materialised_models_are_constructed_models() {
    let cases: Vec<_> = MODELS
        .iter()
        .flat_map(|model| {
            STARTS.map(|(seed, warm)| json!({ "model": model, "seed": seed, "warm": warm }))
        })
        .collect();
    let mut expected = expected_of("tests/python/plan.py", &cases).into_iter();
    for model in MODELS {
        let plan = record(model);
        for (seed, warm) in STARTS {
            let expected = expected.next().unwrap();
            let mut generator = seeded(seed);
            for _ in 0..warm {
                let mut one = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu));
                init::normal_(&mut one, 0.0, 1.0, Some(&mut generator)).unwrap();
            }
            let start = generator.clone_state().unwrap();
            let made = plan
                .materialize(&mut generator)
                .unwrap_or_else(|error| panic!("{model}: {error}"));
            let names: Vec<Value> = made.iter().map(|(name, _)| json!(name)).collect();
            assert_eq!(names, expected.rest, "{model}");
            let mut ours: Vec<Vec<u8>> = made.iter().map(|(_, tensor)| bytes(tensor)).collect();
            ours.push(generator.get_state().unwrap());
            assert_eq!(
                first_difference(&ours, &expected.chunks),
                None,
                "{model} at {seed}"
            );
            for (name, whole) in &made {
                if let Some(rows @ 2..) = whole.size().first().copied() {
                    let part = plan.materialize_rows(&start, name, 1..rows as u64).unwrap();
                    assert_eq!(
                        bytes(&part),
                        bytes(&whole.narrow(0, 1, rows - 1)),
                        "{model}: {name}"
                    );
                }
            }
        }
    }
}
