//! `tch-init trace`: the program, and mistakes that are planted in live PyTorch programs.

use op_trace::{Comparison, Departure, Outcome, Place, Trace};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DATA: &str = "crates/op-trace/tests/data";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .current_dir(root())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn diff_names_the_first_difference() {
    let tiny = format!("{DATA}/tiny.trace");
    let same = run(&["trace", "diff", &tiny, &tiny]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    assert!(
        text(&same.stdout).ends_with(
            "no difference: the parameters and buffers at the end are equal bit for bit\n"
        )
    );
    let other = run(&["trace", "diff", &tiny, &format!("{DATA}/tiny-p.trace")]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    let shown = text(&other.stdout);
    assert!(shown.contains("first difference: argument p\n"), "{shown}");
    assert!(!shown.contains("cause:"), "{shown}");
    let json = run(&[
        "trace",
        "diff",
        &tiny,
        &format!("{DATA}/tiny-lr.trace"),
        "--json",
    ]);
    assert_eq!(json.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["departures"][0]["class"], "optimizer");
    assert_eq!(json["outcome"], "differs");
}

#[test]
fn show_counts_operations() {
    let shown = run(&["trace", "show", &format!("{DATA}/tiny.trace")]);
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("Sequential: 2 parameters with 8 elements\n"),
        "{shown}"
    );
    assert!(
        shown.contains("in 1 step, 1 draws; the program finished\n"),
        "{shown}"
    );
    let row = shown.lines().find(|line| line.contains("addmm")).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["0", "addmm", "1"]
            .into_iter()
            .filter(|word| row.contains(word))
            .collect::<Vec<_>>()
    );
    assert!(shown.lines().all(|line| line.len() <= 100), "{shown}");
}

#[test]
fn bad_input_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.trace");
    let whole = std::fs::read_to_string(root().join(DATA).join("tiny.trace")).unwrap();
    std::fs::write(&damaged, whole.replacen("{\"i\":3,", "{\"i\":3 ", 1)).unwrap();
    let damaged = damaged.to_str().unwrap();
    for (arguments, expected) in [
        (
            &["trace", "show", "Cargo.toml"][..],
            "Cargo.toml: not a trace",
        ),
        (
            &["trace", "diff", "missing.trace", damaged],
            "missing.trace: No such file",
        ),
        (&["trace", "show", damaged], ": line "),
        (&["trace", "python", "missing.py"], "--output"),
        (
            &["trace", "python", "x.py", "-o", "x", "--steps", "0"],
            "--steps",
        ),
        (
            &[
                "trace",
                "python",
                "x.py",
                "-o",
                "x",
                "--python",
                "/nonexistent",
            ],
            "cannot run /nonexistent",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let message = text(&output.stderr);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

// ---------------------------------------------------------------- with PyTorch

fn python() -> PathBuf {
    std::env::var_os("TCH_INIT_PYTHON")
        .map_or_else(|| root().join(".venv/bin/python"), PathBuf::from)
}

fn run_python(script: &str, folder: &Path) {
    let output = Command::new(python())
        .arg(root().join(script))
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        text(&output.stderr)
    );
}

fn cases(folder: &Path, name: &str) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

fn compare(folder: &Path, case: &Value) -> Comparison {
    let read = |side: &str| Trace::read(&folder.join(case[side].as_str().unwrap())).unwrap();
    Comparison::new(&read("a"), &read("b"))
}

/// Whether a departure has the expected class and place. What is null may be anything.
fn is_expected(expected: &Value, departure: &Departure) -> bool {
    let same = |name: &str, found: Option<&str>| match expected[name].as_str() {
        Some(word) => found == Some(word),
        None => true,
    };
    let places = || [&departure.a, &departure.b].into_iter().flatten();
    let is_there = |place: &Place| {
        let step = expected["step"].as_u64();
        same("phase", Some(place.phase)) && step.is_none_or(|step| u64::from(place.step) == step)
    };
    // A step that one program lacks is in a module of the other.
    let is_in = |module: &str| {
        let mut modules = places().filter_map(|place| place.module.as_deref());
        modules.any(|found| found.contains(module))
    };
    same("class", Some(departure.class.name()))
        && same("subject", departure.class.subject())
        // As is its phase.
        && (places().next().is_none() || places().any(is_there))
        && expected["module"].as_str().is_none_or(is_in)
}

/// Every planted mistake is named with its class and its place, and nothing else is.
#[test]
#[ignore = "needs PyTorch"]
fn planted_mistakes_are_found() {
    let folder = tempfile::tempdir().unwrap();
    run_python("tests/python/trace/plant.py", folder.path());
    let cases = cases(folder.path(), "cases.json");
    assert!(cases.len() >= 60);
    let mut failures = Vec::new();
    for case in &cases {
        let comparison = compare(folder.path(), case);
        let expected = case["expected"].as_array().unwrap();
        let departures = &comparison.departures;
        let found = expected.len() == departures.len()
            && expected
                .iter()
                .zip(departures)
                .all(|(expected, departure)| is_expected(expected, departure));
        if !found {
            failures.push(format!(
                "{}: expected {expected:?}, found {departures:#?}",
                case["b"]
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// Nothing is said of programs that compute the same bits and are written differently.
#[test]
#[ignore = "needs PyTorch"]
fn equal_programs_have_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    run_python("tests/python/trace/twins.py", folder.path());
    for case in cases(folder.path(), "twins.json") {
        let comparison = compare(folder.path(), &case);
        assert!(
            comparison.departures.is_empty(),
            "{case}: {:#?}",
            comparison.departures
        );
        assert_eq!(comparison.outcome, Outcome::Equal, "{case}");
    }
    let threads = serde_json::json!({ "a": "gpt-threads-1.trace", "b": "gpt-threads-2.trace" });
    let comparison = compare(folder.path(), &threads);
    assert_eq!(comparison.environment[0].name, "threads");
    assert!(
        comparison
            .departures
            .iter()
            .all(|departure| departure.class.name() == "environment"),
        "{:#?}",
        comparison.departures
    );
}

/// The script is unchanged and ends after the steps.
#[test]
#[ignore = "needs PyTorch"]
fn a_script_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let script = "import sys, torch\ntorch.manual_seed(0)\nmodel = torch.nn.Linear(3, 2)\n\
                  optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))\nfor step in range(9):\n\
                  \x20   optimizer.zero_grad()\n    model(torch.rand(4, 3)).sum().backward()\n    optimizer.step()\n    print(step)\n";
    std::fs::write(path("train.py"), script).unwrap();
    let python = python();
    let record = |name: &str, rate: &str| {
        run(&[
            "trace",
            "python",
            &path("train.py"),
            "--steps",
            "2",
            "-o",
            &path(name),
            "--python",
            python.to_str().unwrap(),
            "--",
            rate,
        ])
    };
    let recorded = record("a.trace", "0.1");
    assert_eq!(
        (recorded.status.code(), text(&recorded.stdout).as_str()),
        (Some(0), "0\n"),
        "{recorded:?}"
    );
    assert_eq!(record("b.trace", "0.2").status.code(), Some(0));
    let diff = run(&["trace", "diff", &path("a.trace"), &path("b.trace")]);
    assert_eq!(diff.status.code(), Some(1), "{diff:?}");
    let shown = text(&diff.stdout);
    assert!(
        shown.contains("first difference: the optimizer: alpha\n")
            && shown.contains("at train.py:8"),
        "{shown}"
    );
    let failed = record("c.trace", "zero");
    assert_eq!(failed.status.code(), Some(2));
    assert!(text(&failed.stderr).contains("ValueError"));
    assert!(Path::new(&path("c.trace")).exists());
}
