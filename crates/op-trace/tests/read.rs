//! Reads traces of a small program (tests/python/trace/programs.py), whole and damaged.

use op_trace::{Operation, Phase, SharedStr, Trace, TraceError, Value};
use std::error::Error;
use std::path::Path;

const TINY: &str = include_str!("data/tiny.trace");

fn read(bytes: impl AsRef<[u8]>) -> Result<Trace, TraceError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Trace::read(file.path())
}

/// The line and the message of the cause.
fn failure(bytes: impl AsRef<[u8]>) -> (Option<usize>, String) {
    let error = read(bytes).unwrap_err();
    (error.line, error.source().unwrap().to_string())
}

#[test]
fn a_trace_is_read() {
    let trace = read(TINY).unwrap();
    assert_eq!(trace.language, "python");
    assert_eq!(trace.environment.get("torch"), Some("2.13.0+cu130"));
    assert_eq!(trace.models[0].names.len(), 2);
    assert_eq!(trace.end.as_ref().unwrap().reason, "finished");
    let operations: Vec<Operation> = trace.operations().collect::<Result<_, _>>().unwrap();
    let addmm = operations
        .iter()
        .find(|operation| operation.schema() == "addmm")
        .unwrap();
    assert_eq!(addmm.module.as_ref().map(SharedStr::as_str), Some("0"));
    assert_eq!(addmm.phase, Phase::Forward);
    assert_eq!(addmm.argument("beta"), Some(&Value::Int(1)));
    let names: Vec<&str> = addmm.arguments().map(|(name, _)| name).collect();
    assert_eq!(names, ["self", "mat1", "mat2", "beta", "alpha"]);
    let draw = operations
        .iter()
        .find(|operation| operation.generator.is_some())
        .unwrap();
    assert_eq!(draw.generator.as_ref().unwrap()[0].seed, 7);
    let update = operations
        .iter()
        .rfind(|operation| operation.phase == Phase::Optimizer)
        .unwrap();
    assert_eq!(
        update.writes().next().unwrap().1.name,
        Some("0.bias".into())
    );
}

#[test]
fn a_killed_program_leaves_a_trace() {
    let whole = read(TINY).unwrap();
    let end = TINY.rfind("{\"end\"").unwrap();
    for length in [end, end - 20, end + 5] {
        let trace = read(&TINY[..length]).unwrap();
        assert!(trace.end.is_none());
        assert!(whole.len() - trace.len() <= 1);
    }
}

#[test]
fn damage_is_named_with_its_line() {
    let lines: Vec<&str> = TINY.lines().collect();
    let with = |index: usize, line: &str| {
        let mut lines = lines.clone();
        lines[index] = line;
        lines.join("\n") + "\n"
    };
    let without = |index: usize| {
        let mut lines = lines.clone();
        lines.remove(index);
        lines.join("\n") + "\n"
    };
    assert_eq!(failure(with(4, "{\"i\":3,")).0, Some(5));
    assert_eq!(failure(with(4, "")).0, Some(5));
    assert_eq!(
        failure(with(4, "{\"x\":1}")),
        (
            Some(5),
            "neither an operation nor the names of a model nor the end of a trace".into()
        )
    );
    let (line, message) = failure(without(4));
    assert_eq!(
        (line, message.as_str()),
        (
            Some(5),
            "operation 3 follows operation 1: lines are missing"
        )
    );
    assert_eq!(
        failure(with(
            3,
            "{\"i\":1,\"op\":\"aten::t\",\"step\":1,\"phase\":\"sideways\",\"args\":{}}"
        ))
        .0,
        Some(4)
    );
    assert_eq!(
        failure(format!("{TINY}{}\n", lines[3])),
        (
            Some(lines.len() + 1),
            "a line follows the end of the trace".into()
        )
    );
}

#[test]
fn foreign_files_are_rejected() {
    for foreign in [
        "{\"format\": \"tch-init plan\"}\n",
        "hello\n",
        "\u{0}\u{1}\n",
        "{}\n",
        "[1]\n",
        "{\"format\":\"tch-init plan\",\"version\":1}\n",
    ] {
        let (line, message) = failure(foreign);
        assert_eq!(line, None);
        assert!(message.starts_with("not a trace"), "{foreign}: {message}");
    }
    assert!(failure("").1.starts_with("the trace is empty"));
    assert!(failure(&TINY[..50]).1.starts_with("the trace is empty"));
    assert!(
        failure(TINY.replacen("\"version\":1", "\"version\":9", 1))
            .1
            .starts_with("version 9")
    );
    assert_eq!(
        failure(TINY.replacen("rows32-sha256-128", "crc", 1)).1,
        "the hash \"crc\" is unknown"
    );
    let error = Trace::read(Path::new("/nonexistent")).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent");
}

/// Neither a cut nor a changed byte does more than fail.
#[test]
fn no_damage_panics() {
    let bytes = TINY.as_bytes();
    for length in (0..bytes.len()).step_by(37) {
        drop(read(&bytes[..length]));
    }
    for index in (0..bytes.len()).step_by(131) {
        for byte in [0, b'"', b'9', 0xff] {
            let mut damaged = bytes.to_vec();
            damaged[index] = byte;
            if let Ok(trace) = read(damaged) {
                drop(op_trace::Comparison::new(&trace, &trace));
            }
        }
    }
}

/// Of an operation, a part is in memory; the rest is read again.
#[test]
fn operations_are_read_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // A model that is met later lies between operations.
    let lines: Vec<&str> = TINY.lines().collect();
    let mut joined = lines.clone();
    joined.insert(6, lines[1]);
    std::fs::write(file.path(), joined.join("\n") + "\n").unwrap();
    let trace = Trace::read(file.path()).unwrap();
    assert_eq!(trace.models.len(), 2);
    let streamed: Vec<String> = trace
        .operations()
        .map(|operation| format!("{:?}", operation.unwrap()))
        .collect();
    assert_eq!(streamed.len(), trace.len());
    for (index, expected) in streamed.iter().enumerate().rev() {
        assert_eq!(format!("{:?}", trace.operation(index).unwrap()), *expected);
    }
    let beyond = trace.operation(trace.len()).unwrap_err();
    assert_eq!(beyond.problem.to_string(), "there is no operation 22");
    // The file becomes another while it is open: the line has another number.
    let renumbered = joined.join("\n").replacen("\"i\":7", "\"i\":8", 1) + "\n";
    std::fs::write(file.path(), renumbered).unwrap();
    let changed = trace.operation(7).unwrap_err();
    assert!(
        changed
            .problem
            .to_string()
            .starts_with("operation 7 is not where it was"),
        "{changed:?}"
    );
    assert!(trace.operations().any(|operation| operation.is_err()));
    std::fs::write(file.path(), "").unwrap();
    assert!(trace.operations().all(|operation| operation.is_err()));
    let memory = Trace::from_bytes(Path::new("memory"), TINY.as_bytes()).unwrap();
    assert_eq!(
        memory.operation(3).unwrap().name.as_str(),
        "aten::bernoulli_"
    );
}
