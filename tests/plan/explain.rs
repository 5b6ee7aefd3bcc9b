//! Plans and printed models as references of `explain`.

use super::build::{Builder, seeded, view};
use crate::common::{bytes, default_stream};
use serde_json::json;
use std::fs;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use tch::{Device, Kind, Tensor};
use tch_init::distribution::Engine;
use tch_init::explain::{Expected, Finding, Model, NamedView, Options, explain};
use tch_init::init;
use tch_init::plan::{InitPlan, Save};
use tch_init::rng::{Backend, Draw, Mt19937, Normal, Uniform};
use tch_init::tensor::{Dtype, TensorView};

/// A plan with draws, dead draws, a copy, a partial fill, and a buffer that is not in the
/// `state_dict`.
fn model() -> Builder {
    let mut plan = Builder::default();
    let first = plan.tensor("float32", &[40, 30]);
    let second = plan.tensor("float32", &[50, 20]);
    let copy = plan.tensor("float32", &[50, 20]);
    let computed = plan.tensor("float32", &[50, 20]);
    let row = plan.view(json!([0, "float32", [30]]));
    plan.step(json!(["uniform_", first, -0.5, 0.5]))
        .step(json!(["uniform_", second, -0.5, 0.5]))
        .step(json!(["normal_", first, 0.0, 0.02]))
        .step(json!(["trunc_normal_", second, 0.0, 1.0, -2.0, 2.0]))
        .step(json!(["uniform_", second, 0.0, 1.0]))
        .step(json!(["copy_", copy, view(second)]))
        .step(json!(["mul", computed, view(second), 2.0]))
        .step(json!(["fill_", row, 0.0]))
        .parameter("first", first)
        .parameter("second", second)
        .parameter("copy", copy)
        .parameter("computed", computed);
    plan.buffers
        .push(json!(["hidden", 0, {"persistent": false}]));
    plan
}

#[test]
fn the_draw_and_position_of_each_tensor_follow_from_the_plan() {
    let plan = model().plan();
    let model = Model::of_plan(&plan, 7).unwrap();
    let expected = model.expected().unwrap();
    let names: Vec<&str> = expected.iter().map(|e| e.tensor.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "copy", "computed"]);
    let uniform = Draw::from(Uniform { from: 0.0, to: 1.0 });
    let normal = Draw::from(Normal {
        mean: 0.0,
        std: 0.02,
    });
    let first = expected[0].drawn.unwrap();
    assert_eq!((first.draw, first.word), (normal, 40 * 30 + 50 * 20));
    assert_eq!(first.seed, 7);
    let second = expected[1].drawn.unwrap();
    assert_eq!(second.draw, uniform);
    // The stream has these values from that word on.
    let mut stream = Mt19937::new(7);
    stream.skip(second.word);
    let mut values = vec![0f32; 1000];
    let engine = Engine::new(Backend::Scalar).unwrap();
    engine.uniform_(&mut stream, &mut values, 0.0, 1.0).unwrap();
    let values: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(expected[1].tensor.view.to_bytes(), values);
    assert_eq!(expected[2].drawn, expected[1].drawn);
    assert_eq!(expected[3].drawn, None);
}

/// A model whose tensors are drawn one at a time gives the same explanations as its tensors in memory.
#[test]
fn a_model_is_a_reference_without_its_tensors_in_memory() {
    let plan = model().plan();
    let model = Model::of_plan(&plan, 7).unwrap();
    let in_memory = Model::of_plan(&plan, 7).unwrap();
    let expected = in_memory.expected().unwrap();
    let floats = |index: usize| -> Vec<f32> {
        let bytes = expected[index].tensor.view.to_bytes();
        let elements = bytes.as_chunks().0.iter();
        elements.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let scaled: Vec<f32> = floats(0).iter().map(|value| 2.0 * value).collect();
    // The values of `computed` under the name of `second`, and the draw of another seed.
    let exchanged = floats(3);
    let mut other = Tensor::zeros([50, 20], (Kind::Float, Device::Cpu));
    let mut generator = seeded(8);
    init::uniform_(&mut other, 0.0, 1.0, Some(&mut generator)).unwrap();
    let mut changed = floats(3);
    changed[17..300].fill(0.5);
    let bytes_of = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensors: [(&str, [usize; 2], Vec<u8>); 4] = [
        ("first", [40, 30], bytes_of(&scaled)),
        ("second", [50, 20], bytes_of(&exchanged)),
        ("copy", [50, 20], bytes(&other)),
        ("computed", [50, 20], bytes_of(&changed)),
    ];
    let yours: Vec<NamedView<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NamedView {
            name: (*name).to_owned(),
            view: TensorView::contiguous(Dtype::Float32, shape, bytes).unwrap(),
        })
        .collect();
    let options = Options::default().other_seeds(20);
    let lazy = explain(&yours, &model, &options).unwrap();
    let ids: Vec<Vec<&str>> = lazy
        .iter()
        .map(|e| e.findings.iter().map(Finding::id).collect())
        .collect();
    assert_eq!(ids[0], ["scaled"]);
    assert_eq!(ids[1], ["exchanged"]);
    assert_eq!(ids[2], ["other-seed", "other-offset"]);
    assert_eq!(ids[3], ["modified"]);
    let json = |explained| serde_json::to_value(explained).unwrap();
    let in_memory = explain(&yours, &expected, &options).unwrap();
    assert_eq!(json(&lazy), json(&in_memory));
}

/// A port that leaves out the draws that are later overwritten.
#[test]
fn missing_dead_draws_are_explained_as_a_shift() {
    let model = Model::of_plan(&model().plan(), 7).unwrap();
    let expected: Vec<Expected<'_>> = model.expected().unwrap();
    let mut generator = seeded(7);
    let mut first = Tensor::zeros([40, 30], (Kind::Float, Device::Cpu));
    init::normal_(&mut first, 0.0, 0.02, Some(&mut generator)).unwrap();
    let yours = bytes(&first);
    let yours = NamedView {
        name: "first".to_owned(),
        view: TensorView::contiguous(Dtype::Float32, &[40, 30], &yours).unwrap(),
    };
    let options = Options::default().other_seeds(0);
    let explained = explain(&[yours], &expected, &options).unwrap();
    let offset = explained[0]
        .findings
        .iter()
        .find_map(|finding| match finding {
            Finding::OtherOffset { word, expected, .. } => Some((*word, *expected)),
            _ => None,
        });
    assert_eq!(offset, Some((0, Some(2200))), "{:?}", explained[0].findings);
}

/// Where a printed model tells the positions, a million seeds are tried for tensors that are too small for more.
#[test]
fn a_million_seeds_are_tried_at_known_positions() {
    const SEED: u64 = 1_048_570;
    let layer = |name: &str, features| {
        format!("  ({name}): Linear(in_features={features}, out_features=3, bias=True)\n")
    };
    let printed = format!("Net(\n{}{})", layer("a", 4), layer("b", 3));
    let drawn = Model::draw(&printed, SEED, Kind::Float).unwrap();
    let expected = Model::draw(&printed, 1, Kind::Float).unwrap();
    let yours: Vec<NamedView<'_>> = drawn
        .expected()
        .unwrap()
        .into_iter()
        .map(|e| e.tensor)
        .collect();
    let expected = expected.expected().unwrap();
    let seeds_found = |other_seeds| -> Vec<u64> {
        let options = Options::default().other_seeds(other_seeds);
        let explained = explain(&yours, &expected, &options).unwrap();
        let findings = explained
            .iter()
            .flat_map(|explanation| &explanation.findings);
        let seeds = findings.filter_map(|finding| match finding {
            Finding::OtherSeed { seed, .. } => Some(*seed),
            _ => None,
        });
        seeds.collect()
    };
    assert_eq!(seeds_found(1 << 16), [SEED; 4]);
    assert!(seeds_found(100).is_empty());
}

/// Another thread, drawing from the default generator at the same time, gets the values of its seed.
#[test]
fn printed_models_leave_the_default_generator_alone() {
    let draw = || f64::try_from(Tensor::rand([1], (Kind::Float, Device::Cpu))).unwrap();
    let printed = "Net(\n  (a): Linear(in_features=700, out_features=900, bias=True)\n)";
    let _stream = default_stream();
    tch_init::manual_seed(99).unwrap();
    let (is_done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let drawn: Vec<f64> = thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut values = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                values.push(draw());
                count.store(values.len(), Ordering::Relaxed);
            }
            values
        });
        for seed in 0..5 {
            let before = count.load(Ordering::Relaxed);
            Model::draw(printed, seed, Kind::Float).unwrap();
            while count.load(Ordering::Relaxed) == before && !other.is_finished() {
                thread::yield_now();
            }
        }
        is_done.store(true, Ordering::Relaxed);
        other.join().unwrap()
    });
    let state = tch_init::get_rng_state().unwrap();
    tch_init::manual_seed(99).unwrap();
    let expected: Vec<f64> = drawn.iter().map(|_| draw()).collect();
    assert!(drawn == expected, "{} values, some differ", drawn.len());
    assert!(state == tch_init::get_rng_state().unwrap());
}

fn run(arguments: &[&std::ffi::OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tch-init"));
    command.env_remove("RUST_LOG");
    command.arg("explain").args(arguments).output().unwrap()
}

#[test]
fn the_plan_may_be_either_argument_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (plan, weights) = (path("a.plan.json"), path("w.safetensors"));
    fs::write(&plan, serde_json::to_vec(&model().json()).unwrap()).unwrap();
    let loaded = InitPlan::load(&plan).unwrap();
    let save = Save::default();
    loaded
        .save(&weights, &mut seeded(7), save, |_| true)
        .unwrap();
    let (plan, weights) = (plan.as_os_str(), weights.as_os_str());
    for order in [[plan, weights], [weights, plan]] {
        let equal = run(&[order[0], order[1], "--seed".as_ref(), "7".as_ref()]);
        let text = String::from_utf8(equal.stdout).unwrap();
        assert_eq!(equal.status.code(), Some(0), "{text}");
        assert!(text.ends_with("4 tensors: 4 equal\n"), "{text}");
    }
    let few = ["--other-seeds".as_ref(), "9".as_ref()];
    let other = run(&[
        plan,
        weights,
        "--seed".as_ref(),
        "8".as_ref(),
        few[0],
        few[1],
    ]);
    let text = String::from_utf8(other.stdout).unwrap();
    assert_eq!(other.status.code(), Some(1), "{text}");
    assert!(
        text.contains("drawn with another seed: 7, not 8\n"),
        "{text}"
    );

    for (arguments, message) in [
        (
            &[plan, weights][..],
            "a.plan.json: give the --seed of the plan",
        ),
        (
            &[plan, plan, "--seed".as_ref(), "1".as_ref()],
            "a.plan.json: a plan has no tensors to explain; `tch-init materialize` makes them",
        ),
    ] {
        let refused = run(arguments);
        let text = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.trim_end().ends_with(message), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
