//! `explain` finds the causes that `tests/python/plant.py` planted.

use crate::common::run_script;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use tch::Kind;
use tch_init::explain::{Drawn, Expected, Explanation, Model, NamedView, Options, explain};
use tch_init::rng::{Draw, Normal, Orthogonal, TruncNormal, Uniform};
use tch_init::tensor::{Dtype, TensorView};

/// More than the largest planted seed, and few enough for a debug build.
const SEEDS: u64 = 4000;

/// The cases, and the temporary folder of their files.
struct Planted {
    folder: tempfile::TempDir,
    cases: Vec<Value>,
}

fn plant() -> Planted {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("planted");
    run_script("tests/python/plant.py", [&out]);
    let text = std::fs::read(out.join("cases.json")).unwrap();
    let mut parsed: Value = serde_json::from_slice(&text).unwrap();
    let Value::Array(cases) = parsed["cases"].take() else {
        panic!("cases.json has no cases");
    };
    Planted { folder, cases }
}

impl Planted {
    fn read(&self, file: &Value) -> Vec<u8> {
        std::fs::read(self.path(file)).unwrap()
    }

    fn path(&self, file: &Value) -> PathBuf {
        self.folder
            .path()
            .join("planted")
            .join(file.as_str().unwrap())
    }
}

fn views(bytes: &[u8]) -> Vec<NamedView<'_>> {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    tensors
        .iter()
        .map(|(name, tensor)| {
            let dtype = match tensor.dtype() {
                safetensors::Dtype::F64 => Dtype::Float64,
                safetensors::Dtype::F32 => Dtype::Float32,
                safetensors::Dtype::F16 => Dtype::Float16,
                safetensors::Dtype::BF16 => Dtype::Bfloat16,
                safetensors::Dtype::I64 => Dtype::Int64,
                other => panic!("{name} is {other:?}"),
            };
            // The views of safetensors borrow from its reader.
            let start = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
            let data = &bytes[start..start + tensor.data().len()];
            NamedView {
                name: name.to_owned(),
                view: TensorView::contiguous(dtype, tensor.shape(), data).unwrap(),
            }
        })
        .collect()
}

/// The listed draw that a tensor has its values from.
fn drawn(case: &Value, tensor: &str) -> Option<Drawn> {
    let draws = case["reference"]["draws"].as_array()?;
    let draw = draws
        .iter()
        .rfind(|d| d["tensor"] == tensor && d["overwritten"] == false && d["offset"].is_u64())?;
    let number = |key: &str| draw["args"][key].as_f64().unwrap();
    let kind = match draw["init"].as_str()? {
        "uniform_" => Draw::from(Uniform {
            from: number("from"),
            to: number("to"),
        }),
        "normal_" => Draw::from(Normal {
            mean: number("mean"),
            std: number("std"),
        }),
        "trunc_normal_" => Draw::from(TruncNormal {
            mean: number("mean"),
            std: number("std"),
            a: number("a"),
            b: number("b"),
        }),
        "orthogonal_" => Draw::from(Orthogonal {
            gain: number("gain"),
        }),
        _ => return None,
    };
    // The tool does not know draws of a part of a tensor or with a cached normal.
    let whole = draw["start"] == 0 && draw["contiguous"] == true && draw["cached"] == false;
    whole.then(|| Drawn {
        draw: kind,
        seed: case["reference"]["seed"].as_u64().unwrap(),
        word: draw["offset"].as_u64().unwrap(),
        semantics: tch_init::rng::Semantics::NEWEST,
    })
}

fn explain_case(planted: &Planted, case: &Value, by: &str) -> Vec<Explanation> {
    let reference = &case["reference"];
    let bytes = planted.read(&case["yours"]);
    let yours = views(&bytes);
    let seed = reference["seed"].as_u64().unwrap();
    if by == "layers" {
        let printed = std::fs::read_to_string(planted.path(&reference["layers"])).unwrap();
        let kind = match reference["dtype"].as_str().unwrap() {
            "f64" => Kind::Double,
            "f16" => Kind::Half,
            "bf16" => Kind::BFloat16,
            _ => Kind::Float,
        };
        let model = Model::draw(&printed, seed, kind).unwrap();
        let options = Options::default().seed(seed).other_seeds(SEEDS);
        return explain(&yours, &model.expected().unwrap(), &options).unwrap();
    }
    let bytes = planted.read(&reference["file"]);
    let expected: Vec<Expected<'_>> = views(&bytes)
        .into_iter()
        .map(|tensor| Expected {
            drawn: (by == "draws").then(|| drawn(case, &tensor.name)).flatten(),
            tensor,
        })
        .collect();
    let mut options = Options::default().other_seeds(SEEDS);
    if by == "draws" {
        options = options.seed(seed);
    }
    explain(&yours, &expected, &options).unwrap()
}

/// The ids and the evidence of the findings.
fn ids(explanation: &Explanation) -> Vec<(String, Value)> {
    if explanation.equal {
        return vec![("equal".to_owned(), json!({}))];
    }
    if explanation.findings.is_empty() {
        return vec![("no-hypothesis".to_owned(), json!({}))];
    }
    let entry = |finding| {
        (
            String::from(tch_init::explain::Finding::id(finding)),
            json!(finding),
        )
    };
    explanation.findings.iter().map(entry).collect()
}

/// The contradictions between the expectation for a tensor and its findings.
fn contradictions(expected: &Value, found: &[(String, Value)], tolerance: f64) -> Vec<String> {
    let has = |id: &Value| found.iter().find(|(found, _)| id == found.as_str());
    let mut wrong = Vec::new();
    for id in expected["hypotheses"].as_array().unwrap() {
        if has(id).is_none() {
            wrong.push(format!("{id} is missing"));
        }
    }
    for id in expected["absent"].as_array().unwrap() {
        if has(id).is_some() {
            wrong.push(format!("{id} is wrong"));
        }
    }
    for detail in expected["details"].as_array().unwrap() {
        let Some((id, evidence)) = has(&detail["hypothesis"]) else {
            continue;
        };
        for (key, value) in detail.as_object().unwrap() {
            if let Some(found) = translated(id, key, value, evidence)
                && !near(value, &found, tolerance)
            {
                wrong.push(format!("{id}: {key} is {found}, not {value}"));
            }
        }
    }
    wrong
}

/// The value of one of Python's keys according to the evidence; `None` if it has no such value.
fn translated(id: &str, key: &str, value: &Value, evidence: &Value) -> Option<Value> {
    if value.is_null() {
        return None;
    }
    let whose = |value: &Value| match value.as_str() {
        Some(whose) => json!(whose),
        None => Value::Null,
    };
    Some(match (id, key) {
        ("scaled", "constant") => evidence["constant"].clone(),
        ("other-offset", "offset") => evidence["word"].clone(),
        ("other-offset", "reference_offset") => evidence["expected"].clone(),
        ("other-offset", "shift") => {
            json!(evidence["word"].as_i64()? - evidence["expected"].as_i64()?)
        }
        ("other-seed", "seed") => evidence["seed"].clone(),
        ("permuted", "permutation") => evidence["order"].clone(),
        ("exchanged", "with") => evidence["with"].clone(),
        ("rounded", "through") => {
            let long = match value.as_str()? {
                "f16" => "float16",
                "bf16" => "bfloat16",
                "f32" => "float32",
                _ => "float64",
            };
            json!(if evidence["through"] == long {
                value.as_str()?
            } else {
                "another"
            })
        }
        ("rounded", "side") => whose(&evidence["whose"]),
        ("other-path", "yours") => json!(match evidence["serial"].as_bool()? {
            true => "serial",
            false => "block",
        }),
        ("randn-times-std", "mean" | "std") => evidence[key].clone(),
        ("last-16", "range") => {
            let first = evidence["first"].as_u64()?;
            // The first redrawn elements may be equal by chance.
            json!([
                value[0].as_u64()?.max(first).min(value[0].as_u64()? + 3),
                value[1]
            ])
        }
        ("modified", "kind") => match (value.as_str()?, evidence["kind"].as_str()?) {
            // The tool may report a more specific kind.
            ("filled", "zeroed-rows") => json!("filled"),
            ("partly-overwritten", "filled" | "zeroed-rows") => json!("partly-overwritten"),
            (_, kind) => json!(kind),
        },
        ("modified", "side") => whose(&evidence["whose"]),
        ("modified", "range") if evidence["kind"] == "zeroed-rows" => return None,
        ("modified", "constant") => evidence["constant"].clone(),
        ("modified", "value") if evidence["kind"] == "zeroed-rows" => json!(0.0),
        ("modified", "value") => evidence["constant"].clone(),
        ("modified", "rows") => evidence["rows"].clone(),
        ("modified", "min") => evidence["low"].clone(),
        ("modified", "max") => evidence["high"].clone(),
        ("modified", "range") => {
            let (first, last) = (
                &evidence["region"]["elements"][0],
                &evidence["region"]["elements"][1],
            );
            json!([first, last.as_u64()? + 1])
        }
        _ => return None,
    })
}

fn near(expected: &Value, found: &Value, tolerance: f64) -> bool {
    match (expected.as_f64(), found.as_f64()) {
        (Some(a), Some(b)) if expected.is_f64() => (a - b).abs() <= tolerance * a.abs(),
        _ => expected == found,
    }
}

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn planted_causes_are_found_and_no_others() {
    let planted = plant();
    assert!(planted.cases.len() >= 60);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(case) = planted.cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(wrong_judgements(&planted, case));
        }
        wrong
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let judged = workers.into_iter().map(|worker| worker.join().unwrap());
        judged.flatten().collect()
    });
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The contradictions of a case, for each reference that it is explained by.
fn wrong_judgements(planted: &Planted, case: &Value) -> Vec<String> {
    let expectations = case["expected"].as_array().unwrap();
    let mut wrong = Vec::new();
    for by in ["file", "layers", "draws"] {
        let of_judge: Vec<&Value> = expectations.iter().filter(|e| e["by"] == by).collect();
        if of_judge.is_empty() || case["stretch"] == true {
            continue;
        }
        let explanations = explain_case(planted, case, by);
        // A factor has few digits in half precision.
        let tolerance = match case["reference"]["dtype"].as_str().unwrap() {
            "bf16" | "f16" => 1e-2,
            _ => 1e-5,
        };
        for expected in of_judge {
            let tensor = expected["tensor"].as_str().unwrap();
            let explanation = explanations.iter().find(|e| e.tensor == tensor).unwrap();
            let found = ids(explanation);
            let contradictions = contradictions(expected, &found, tolerance);
            if !contradictions.is_empty() {
                wrong.push(format!(
                    "{} ({}), {tensor} by {by}: {}; found {found:?}",
                    case["name"].as_str().unwrap(),
                    case["planted"].as_str().unwrap(),
                    contradictions.join("; ")
                ));
            }
        }
    }
    wrong
}

/// Layers by their prints alone, among them copied and redrawn ones, have PyTorch's names and bits.
#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn printed_layers_have_the_bits_of_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("printed");
    run_script("tests/python/printed.py", [&out]);
    let cases: Vec<String> =
        serde_json::from_slice(&std::fs::read(out.join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() >= 18);
    for (number, case) in cases.iter().enumerate() {
        let printed = std::fs::read_to_string(out.join(format!("{number}.txt"))).unwrap();
        let model = Model::draw(&printed, number as i64, Kind::Float);
        let model = model.unwrap_or_else(|error| panic!("{case}: {error}"));
        let expected = model.expected().unwrap();
        let bytes = std::fs::read(out.join(format!("{number}.safetensors"))).unwrap();
        let yours = views(&bytes);
        assert_eq!(yours.len(), expected.len(), "{case}");
        let explanations = explain(&yours, &expected, &Options::default().other_seeds(0));
        let explanations = explanations.unwrap();
        assert_eq!(explanations.len(), expected.len(), "{case}");
        for explanation in explanations {
            assert!(explanation.equal, "{case}: {explanation:?}");
        }
    }
}

/// The README's section on `explain`, which begins with two bare files.
#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn two_bare_files_are_explained_as_the_readme_says() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    run_script("tests/python/story.py", [folder.path()]);
    let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .current_dir(folder.path())
        .args(["explain", "ours.safetensors", "python.safetensors"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = format!("$ tch-init explain ours.safetensors python.safetensors\n{text}```");
    assert!(!text.is_empty() && readme.contains(&shown), "{text}");
}

/// Three wrong ports of a net, from docs/porting.md: the program explains each.
#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn three_wrong_ports_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("story");
    run_script("tests/python/story.py", [&out]);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .current_dir(&out)
            .arg("explain")
            .args(arguments)
            .args(["--other-seeds", "100"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let net = ["--layers", "net.txt", "--seed", "42"];
    for (file, causes) in [
        (
            "scale.safetensors",
            [
                "scaled by 2.44949 = sqrt(6)",
                "tch's default for Linear and Conv",
            ],
        ),
        (
            "order.safetensors",
            [
                "fc1.bias (128 words) comes before it in yours, but not in PyTorch",
                "fc1.weight (100352 words) comes before it in PyTorch, but not in yours",
            ],
        ),
        (
            "transpose.safetensors",
            ["transposed", "yours is PyTorch's.permute([1, 0])"],
        ),
    ] {
        for reference in [&net[..], &["pytorch.safetensors", "--seed", "42"]] {
            let (code, text) = run(&[&[file], reference].concat());
            assert_eq!(code, Some(1), "{text}");
            for cause in causes {
                assert!(text.contains(cause), "{file}: {cause} is missing:\n{text}");
            }
        }
    }
    let (code, text) = run(&[&["pytorch.safetensors"], &net[..]].concat());
    assert_eq!(
        (code, text.lines().last()),
        (Some(0), Some("4 tensors: 4 equal")),
        "{text}"
    );
}
