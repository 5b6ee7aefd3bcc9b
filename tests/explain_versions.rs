//! `explain` finds which version of PyTorch drew the weights of tests/data/old_weights-*.json, which
//! tests/data/old_weights.py recorded.

use serde_json::Value;
use tch::{Device, Kind};
use tch_init::Generator;
use tch_init::distribution::Engine;
use tch_init::explain::{
    Drawn, Expected, Explanation, Finding, Model, NamedView, Options, explain,
};
use tch_init::plan::{CpuStream, PlanBuilder};
use tch_init::rng::{Draw, Mt19937, Normal, Semantics, TruncNormal, Uniform};
use tch_init::tensor::{Dtype, TensorView};

/// A recorded tensor, and what PyTorch 2.13 draws instead.
struct Weight {
    draw: Draw,
    dtype: Dtype,
    shape: Vec<u64>,
    before: u64,
    bytes: Vec<u8>,
    newest: Option<Vec<u8>>,
}

const SEED: u64 = 5;

fn weights(json: &str) -> Vec<Weight> {
    let rows: Vec<Value> = serde_json::from_str(json).unwrap();
    assert_eq!(rows.len(), (2 + 2 + 2 + 3 + 2) * 4);
    let weight = |row: &Value| {
        let args: Vec<f64> = serde_json::from_value(row[1].clone()).unwrap();
        let draw = Draw::new(row[0].as_str().unwrap(), &args).unwrap();
        let mut dtypes = Dtype::ALL.into_iter();
        let dtype = dtypes.find(|dtype| dtype.name() == row[2]).unwrap();
        let shape: Vec<u64> = serde_json::from_value(row[3].clone()).unwrap();
        let hex = row[5].as_str().unwrap().as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        Weight {
            draw,
            dtype,
            newest: newest(draw, dtype, &shape, 0),
            before: row[4].as_u64().unwrap(),
            shape,
            bytes: hex.map(|pair| byte(pair).unwrap()).collect(),
        }
    };
    rows.iter().map(weight).collect()
}

/// What the newest semantics draw after some words.
fn newest(draw: Draw, dtype: Dtype, shape: &[u64], before: u64) -> Option<Vec<u8>> {
    let mut plan = PlanBuilder::new();
    let weight = plan.parameter("weight", dtype, shape).unwrap();
    plan.draw(weight, draw).unwrap();
    let plan = plan.finish("one draw").unwrap();
    let mut start = Mt19937::new(SEED);
    start.skip(before);
    let mut stream = CpuStream::new(start).engine(Engine::default());
    let made = plan.materialize(&mut stream).ok()?;
    Some(made[0].1.to_bytes().into_owned())
}

fn named<'a>(weight: &Weight, bytes: &'a [u8]) -> NamedView<'a> {
    let shape: Vec<usize> = weight.shape.iter().map(|size| *size as usize).collect();
    NamedView {
        name: "weight".to_owned(),
        view: TensorView::contiguous(weight.dtype, &shape, bytes).unwrap(),
    }
}

fn explained(weight: &Weight, is_draw_known: bool) -> Explanation {
    let reference = weight.newest.as_ref().unwrap();
    let expected = Expected {
        tensor: named(weight, reference),
        drawn: is_draw_known.then_some(Drawn {
            draw: weight.draw,
            seed: SEED,
            word: 0,
            semantics: Semantics::NEWEST,
        }),
    };
    let options = Options::default().other_seeds(64);
    let yours = named(weight, &weight.bytes);
    let mut all = explain(&[yours], &[expected], &options).unwrap();
    all.remove(0)
}

fn check(json: &str, version: &str, at_least: usize) {
    let mut found = 0;
    for weight in weights(json) {
        let case = format!(
            "{} {} {:?} + {}",
            weight.draw, weight.dtype, weight.shape, weight.before
        );
        let is_same = newest(weight.draw, weight.dtype, &weight.shape, weight.before);
        if is_same.as_ref() == Some(&weight.bytes) {
            continue;
        }
        // The draw is given, or it is a common one that the search tries.
        let is_common = matches!(weight.draw, Draw::Normal(_));
        for is_draw_known in [true, false].into_iter().take(1 + usize::from(is_common)) {
            let explanation = explained(&weight, is_draw_known);
            let is_old_algorithm =
                weight.dtype == Dtype::Float32 && matches!(weight.draw, Draw::TruncNormal(_));
            let is_found = |finding: &Finding| match finding {
                Finding::OtherVersion {
                    version: found,
                    seed,
                    word,
                    ..
                } => *found == version && (*seed, *word) == (SEED, weight.before),
                // The second where the CPU is of another vendor than that of the machine that recorded them.
                Finding::TruncNormalBefore212 { seed, word, .. }
                | Finding::OtherErfinv { seed, word, .. } => {
                    is_old_algorithm && (*seed, *word) == (SEED, weight.before)
                }
                _ => false,
            };
            let findings = &explanation.findings;
            assert!(findings.iter().any(is_found), "{case}: {findings:?}");
            // A draw whose position is that of the reference has no other cause.
            let others = findings.iter().filter(|finding| !is_found(finding));
            let others: Vec<&str> = others.map(Finding::id).collect();
            let expected: &[&str] = match weight.before {
                0 => &[],
                _ => &["other-offset"],
            };
            assert_eq!(others, expected, "{case}");
            found += 1;
        }
    }
    assert!(found >= at_least, "{found}");
}

#[test]
fn weights_of_2_11_are_explained() {
    check(include_str!("data/old_weights-2.11.json"), "2.11", 60);
}

#[test]
fn weights_of_2_12_are_explained() {
    check(include_str!("data/old_weights-2.12.json"), "2.12", 20);
}

#[test]
fn the_finding_names_the_versions() {
    let finding = Finding::OtherVersion {
        version: "2.11",
        distribution: "normal_(0, 1)".to_owned(),
        seed: 5,
        word: 100,
    };
    assert_eq!(
        finding.to_string(),
        "drawn as PyTorch 2.1 to 2.11 draws it\nnormal_(0, 1) at word 100 of seed 5, bit for bit"
    );
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["id"], "other-version");
    assert_eq!(json["version"], "2.11");
}

/// The reference is a plan of 2.11: weights of 2.11 have no other version, those of 2.13 do.
#[test]
fn a_plan_has_the_version_that_is_expected() {
    let normal = Normal {
        mean: 0.0,
        std: 0.02,
    };
    let plan = |semantics, before: &[u64]| {
        let mut plan = PlanBuilder::new().semantics(semantics);
        let earlier = plan.tensor(Dtype::Float32, before).unwrap();
        plan.draw(earlier, normal).unwrap();
        let weight = plan.parameter("weight", Dtype::Bfloat16, &[7, 11]).unwrap();
        plan.draw(weight, normal).unwrap();
        plan.finish("normal values").unwrap()
    };
    let old = Semantics::PyTorch2_11;
    let model = Model::of_plan(&plan(old, &[32]), SEED).unwrap();
    for (semantics, before, ids) in [
        (old, 32, &[][..]),
        (old, 64, &["other-offset"]),
        (Semantics::NEWEST, 32, &["other-version"]),
        (Semantics::NEWEST, 64, &["other-version", "other-offset"]),
        (Semantics::PyTorch2_12, 32, &["other-version"]),
    ] {
        let mut stream = Mt19937::new(SEED);
        let tensors = plan(semantics, &[before]).materialize(&mut stream).unwrap();
        let bytes = tensors[0].1.to_bytes();
        let yours = NamedView {
            name: "weight".to_owned(),
            view: TensorView::contiguous(Dtype::Bfloat16, &[7, 11], &bytes).unwrap(),
        };
        let options = Options::default().seed(SEED).other_seeds(0);
        let explained = explain(&[yours], &model.expected().unwrap(), &options).unwrap();
        let found: Vec<&str> = explained[0].findings.iter().map(Finding::id).collect();
        assert_eq!(found, ids, "{semantics} after {before}");
    }
}

/// `erfinv` of another CPU: the values of this one, some of them with another last bit.
#[test]
fn values_rounded_by_another_erfinv_are_explained() {
    for (dtype, [mean, std, a, b]) in [
        (Dtype::Float32, [0.0, 0.02, -2.0, 2.0]),
        (Dtype::Float32, [0.3, 0.9, -0.25, 1.5]),
        (Dtype::Float64, [0.0, 1.0, -2.0, 2.0]),
    ] {
        let draw = TruncNormal { mean, std, a, b };
        let plan = |semantics| {
            let mut plan = PlanBuilder::new().semantics(semantics);
            let weight = plan.parameter("weight", dtype, &[40, 30]).unwrap();
            plan.draw(weight, draw).unwrap();
            plan.finish("a truncated normal").unwrap()
        };
        let old = plan(Semantics::PyTorch2_11);
        let mut generator = Generator::new(Device::Cpu).unwrap();
        generator.manual_seed(SEED as i64).unwrap();
        let drawn = old.materialize(&mut generator).unwrap().remove(0).1;
        let bytes = drawn.contiguous().view([-1]).view_dtype(Kind::Uint8);
        let drawn: Vec<u8> = Vec::try_from(bytes).unwrap();
        for (ulps, at, id) in [(1, 3, Some("other-erfinv")), (400, 7, None)] {
            let mut bytes = drawn.clone();
            for element in bytes.chunks_exact_mut(dtype.size()).skip(at).step_by(11) {
                let mut word = [0; 8];
                word[..element.len()].copy_from_slice(element);
                let word = u64::from_le_bytes(word) ^ ulps;
                element.copy_from_slice(&word.to_le_bytes()[..dtype.size()]);
            }
            for reference in [&old, &plan(Semantics::NEWEST)] {
                let model = Model::of_plan(reference, SEED).unwrap();
                let yours = NamedView {
                    name: "weight".to_owned(),
                    view: TensorView::contiguous(dtype, &[40, 30], &bytes).unwrap(),
                };
                let options = Options::default().seed(SEED).other_seeds(0);
                let explained = explain(&[yours], &model.expected().unwrap(), &options).unwrap();
                let found: Vec<&str> = explained[0].findings.iter().map(Finding::id).collect();
                match id {
                    Some(id) => assert_eq!(found, [id], "{dtype} {draw:?} {ulps}"),
                    None => assert!(
                        !found.contains(&"other-erfinv"),
                        "{dtype} {draw:?} {found:?}"
                    ),
                }
            }
        }
    }
}

/// PyTorch before 2.12 keeps a value that rounds up to the upper bound. It was not filled with a constant.
#[test]
fn one_value_at_the_upper_bound_is_an_older_draw() {
    let mut tried = 0;
    for (dtype, numel) in [(Dtype::Float32, 1 << 20), (Dtype::Float64, 1 << 20)] {
        let draw = Uniform {
            from: 1.0,
            to: if dtype == Dtype::Float32 {
                1.1
            } else {
                1.0 + 1e-9
            },
        };
        let plan = |semantics| {
            let mut plan = PlanBuilder::new().semantics(semantics);
            let weight = plan.parameter("weight", dtype, &[numel]).unwrap();
            plan.draw(weight, draw).unwrap();
            plan.finish("uniform values").unwrap()
        };
        for seed in 0..40 {
            let drawn = |semantics| {
                let mut stream = Mt19937::new(seed);
                let tensors = plan(semantics).materialize(&mut stream).unwrap();
                tensors[0].1.to_bytes().into_owned()
            };
            let (old, new) = (drawn(Semantics::PyTorch2_11), drawn(Semantics::NEWEST));
            let size = dtype.size();
            let pairs = old.chunks_exact(size).zip(new.chunks_exact(size));
            if pairs.filter(|(old, new)| old != new).count() != 1 {
                continue;
            }
            tried += 1;
            let model = Model::of_plan(&plan(Semantics::NEWEST), seed).unwrap();
            let yours = NamedView {
                name: "weight".to_owned(),
                view: TensorView::contiguous(dtype, &[numel as usize], &old).unwrap(),
            };
            let options = Options::default().seed(seed).other_seeds(0);
            let explained = explain(&[yours], &model.expected().unwrap(), &options).unwrap();
            let found: Vec<&str> = explained[0].findings.iter().map(Finding::id).collect();
            assert_eq!(found, ["other-version"], "{dtype}, seed {seed}");
            break;
        }
    }
    assert_eq!(tried, 2);
}
