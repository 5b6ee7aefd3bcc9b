//! Recorded operations, run again here.

use crate::common::{default_stream, run_script};
use op_trace::{Comparison, Outcome, Trace, Value};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use tch_init::trace::replay::Replay;
use tch_init::trace::{Proof, Verdict, heal};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn plant(folder: &Path, arguments: &[&str]) {
    let arguments = arguments.iter().map(OsStr::new);
    run_script(
        "tests/python/trace/plant.py",
        [folder.as_os_str()].into_iter().chain(arguments),
    );
}

/// All operations of the programs, draws included, give the bits of the trace.
#[test]
#[ignore = "needs PyTorch"]
fn operations_give_the_same_bits_again() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path(), &["--originals"]);
    for name in [
        "mlp", "lenet", "cnn", "lstm", "gpt", "gan", "encoder", "tiny",
    ] {
        let path = folder.path().join(format!("{name}.trace"));
        let trace = Trace::read(&path).unwrap();
        let mut replay = Replay::new(&path, &trace).unwrap();
        replay.start();
        replay
            .run_before(trace.len())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(replay.other_bits(), [0usize; 0], "{name}");
        // Each alone, with what it needs only.
        for index in (0..trace.len()).step_by(trace.len() / 12 + 1) {
            let call = replay
                .call(index)
                .unwrap_or_else(|error| panic!("{name}: {index}: {error}"));
            let computed = call.run().unwrap();
            let mut results = call.operation.results.iter().flat_map(Value::tensors);
            if results.any(|(_, tensor)| tensor.hash.is_some()) {
                assert!(
                    computed.has_results_of(&call.operation),
                    "{name}: {:?}",
                    call.operation
                );
            }
        }
    }
}

/// The first departure of each planted mistake is proved to be its cause, but for what shows in no operation.
#[test]
#[ignore = "needs PyTorch"]
fn planted_mistakes_are_proved() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path(), &[]);
    let cases = std::fs::read(folder.path().join("cases.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let path = |side: &str| folder.path().join(case[side].as_str().unwrap());
        let (path_a, path_b) = (path("a"), path("b"));
        let (a, b) = (Trace::read(&path_a).unwrap(), Trace::read(&path_b).unwrap());
        let comparison = Comparison::new(&a, &b);
        let mut of_a = Replay::new(&path_a, &a).unwrap();
        let mut of_b = Replay::new(&path_b, &b).unwrap();
        for departure in &comparison.departures {
            let proof = Proof::new(&mut of_a, &mut of_b, departure);
            // Nothing here is the fault of the environment.
            assert!(
                !matches!(proof.verdict, Verdict::Environment { .. }),
                "{case}: {:?}",
                proof.verdict
            );
            let no_operation = departure
                .pairs
                .iter()
                .all(|pair| pair.a.or(pair.b).is_none());
            if !proof.verdict.is_proved() && !no_operation {
                failures.push(format!("{}: {:?}", case["b"], proof.verdict));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Healed of one mistake, a program shows the next, and in the end computes what the original does.
#[test]
#[ignore = "needs PyTorch"]
fn healing_shows_later_causes() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path(), &["--two"]);
    let cases = std::fs::read(folder.path().join("cases.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() >= 8);
    for case in &cases {
        let path = |side: &str| folder.path().join(case[side].as_str().unwrap());
        let (path_a, path_b) = (path("a"), path("b"));
        let (a, b) = (Trace::read(&path_a).unwrap(), Trace::read(&path_b).unwrap());
        let comparison = Comparison::new(&a, &b);
        let healing = heal((&path_a, &a), (&path_b, &b), &comparison, 50, |_| {}).unwrap();
        let later = healing.rounds.iter().flatten();
        let first = healing.first.iter();
        let mut found: Vec<String> = first
            .map(|index| &comparison.departures[*index])
            .chain(later.map(|(departure, _)| departure))
            .map(|departure| departure.class.to_string())
            .collect();
        let mut expected: Vec<&str> = case["expected"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap())
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{case}: {:#?}", healing.stopped);
        assert_eq!(
            healing.outcome,
            Outcome::Equal,
            "{case}: {:?}",
            healing.stopped
        );
    }
}

/// Of mistakes that were invented before the rules were tuned to them, at least 90% have the expected class and 95% the expected
/// phase and step; programs that are written otherwise and compute the same have none.
#[test]
#[ignore = "needs PyTorch"]
fn invented_mistakes_are_found() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path(), &["--invented"]);
    let cases = std::fs::read(folder.path().join("cases.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).unwrap();
    let (mut classes, mut places, mut more) = (0, 0, Vec::new());
    for case in &cases {
        let read =
            |side: &str| Trace::read(&folder.path().join(case[side].as_str().unwrap())).unwrap();
        let departures = Comparison::new(&read("a"), &read("b")).departures;
        let expected = case["expected"].as_array().unwrap();
        if departures.len() > expected.len() {
            more.push(case["b"].to_string());
        }
        let (Some(departure), Some(expected)) = (departures.first(), expected.first()) else {
            let is_same = departures.is_empty() && expected.is_empty();
            classes += usize::from(is_same);
            places += usize::from(is_same);
            continue;
        };
        classes += usize::from(expected["class"] == departure.class.name());
        let mut found = [&departure.a, &departure.b].into_iter().flatten();
        let is_there = found.any(|place| {
            (expected["phase"].is_null() || expected["phase"] == place.phase)
                && (expected["step"].is_null() || expected["step"] == place.step)
        });
        places += usize::from(is_there);
    }
    assert!(cases.len() >= 70);
    assert!(
        classes * 100 >= cases.len() * 90,
        "{classes} of {}",
        cases.len()
    );
    assert!(
        places * 100 >= cases.len() * 95,
        "{places} of {}",
        cases.len()
    );
    assert!(more.is_empty(), "{more:?}");
}

/// Dtypes, layouts, memory formats and devices have Python's names: operations that Python recorded are recorded alike when they
/// run again here.
#[test]
#[ignore = "needs PyTorch"]
fn words_are_those_of_python() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
import sys, torch
sys.argv[0] = "x"
sys.path.insert(0, sys.argv[2])
import trace as tch_trace
x = torch.arange(24.).view(1, 2, 3, 4)
with tch_trace.record(sys.argv[1]):
    for dtype in sorted({str(d) for d in vars(torch).values() if isinstance(d, torch.dtype)}):
        dtype = getattr(torch, dtype[6:])
        if not any(word in str(dtype) for word in ("bits", "qint", "quint", "float4", "int1", "int2", "int3", "int4", "int5", "int6", "int7")) or dtype in (torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64):
            torch.empty(2, dtype=dtype)
    for format in (torch.contiguous_format, torch.channels_last, torch.preserve_format):
        x.clone(memory_format=format)
    x[None].clone(memory_format=torch.channels_last_3d)
    for layout in (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc):
        x[0, 0].to_sparse(layout=layout)
    x[0, 0].to_sparse(layout=torch.sparse_bsr, blocksize=(1, 2))
    x[0, 0].to_sparse(layout=torch.sparse_bsc, blocksize=(1, 2))
    torch.zeros(2, 2, layout=torch.sparse_coo)
    torch.zeros(2, layout=torch.strided, device="cpu")
    x.to_mkldnn()
"#;
    let python = folder.path().join("python.trace");
    let output = Command::new(crate::common::python())
        .args(["-c", script])
        .arg(&python)
        .arg(root().join("python"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let recorded = Trace::read(&python).unwrap();
    let rust = folder.path().join("rust.trace");
    let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    let mut replay = Replay::new(&python, &recorded).unwrap();
    let recording = tch_init::trace::record(&rust, &vs).unwrap();
    replay.start();
    replay.run_before(recorded.len()).unwrap();
    recording.finish().unwrap();
    let again = Trace::read(&rust).unwrap();
    let words = |trace: &Trace| {
        let operations = trace.operations().map(Result::unwrap);
        operations
            .map(|operation| {
                let arguments = operation.arguments();
                let texts = arguments.filter_map(|(name, value)| match value {
                    Value::Text(text) => Some(format!("{name}={text}")),
                    _ => None,
                });
                let results = operation.results.iter().flat_map(Value::tensors);
                let kinds =
                    results.map(|(_, tensor)| format!("{} {:?}", tensor.dtype, tensor.opaque));
                format!(
                    "{}({}): {}",
                    operation.schema(),
                    texts.collect::<Vec<_>>().join(", "),
                    kinds.collect::<Vec<_>>().join(", ")
                )
            })
            .collect::<Vec<_>>()
    };
    let mut missing = words(&recorded);
    let found = words(&again);
    let text = missing.join("\n");
    for word in [
        "sparse_coo",
        "sparse_csr",
        "sparse_bsc",
        "_mkldnn",
        "channels_last_3d",
        "complex32",
        "float8_e4m3fn",
        "bfloat16",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // Between Python's operations are those that the replay itself calls.
    let mut rest = found.iter();
    missing.retain(|line| !rest.by_ref().any(|other| other == line));
    assert!(missing.is_empty(), "{missing:#?}\n{found:#?}");
}
