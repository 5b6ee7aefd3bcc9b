//! `tch-init materialize` and `tch-init plan show` as a user runs them.

use super::build::{Builder, linear, seeded};
use crate::common::bytes;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tch::Kind;
use tch_init::file::TensorFile;
use tempfile::TempDir;

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tch-init"));
    command.env_remove("RUST_LOG");
    command
}

pub fn folder(plan: &Builder) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (plan_path, weights) = (
        folder.path().join("a.plan.json"),
        folder.path().join("weights.safetensors"),
    );
    fs::write(&plan_path, serde_json::to_vec(&plan.json()).unwrap()).unwrap();
    (folder, plan_path, weights)
}

fn materialize(plan: &Path, weights: &Path, more: &[&str]) -> Output {
    program()
        .arg("materialize")
        .arg(plan)
        .arg("-o")
        .arg(weights)
        .args(more)
        .output()
        .unwrap()
}

fn done(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

/// All that a failure prints, without `tch-init: ` and the newline at the end.
pub fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let line = text.strip_prefix("tch-init: ").unwrap();
    line.strip_suffix('\n').unwrap().to_owned()
}

pub fn files(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn weights_and_state_are_those_of_the_library() {
    let (folder, plan, weights) = folder(&linear());
    let state = folder.path().join("out.bin");
    let path = state.to_str().unwrap();
    let output = materialize(
        &plan,
        &weights,
        &["--seed", "-3", "--state-out", path, "--threads", "1"],
    );
    let size = fs::metadata(&weights).unwrap().len();
    assert_eq!(
        done(&output),
        format!("{}: 2 tensors, {size} bytes\n", weights.display())
    );
    assert_eq!(
        files(&folder),
        ["a.plan.json", "out.bin", "weights.safetensors"]
    );

    let mut generator = seeded(-3);
    let made = linear().plan().materialize(&mut generator).unwrap();
    let file = TensorFile::open(&weights).unwrap();
    for (name, tensor) in &made {
        assert_eq!(file.get(name).unwrap().to_bytes(), bytes(tensor), "{name}");
    }
    assert_eq!(fs::read(&state).unwrap(), generator.get_state().unwrap());

    // Again: the same bytes. From the state that was left: those that follow.
    let first = fs::read(&weights).unwrap();
    done(&materialize(
        &plan,
        &weights,
        &["--seed", "18446744073709551613"],
    ));
    assert_eq!(fs::read(&weights).unwrap(), first);
    done(&materialize(&plan, &weights, &["--state-in", path]));
    let made = linear().plan().materialize(&mut generator).unwrap();
    let file = TensorFile::open(&weights).unwrap();
    assert_eq!(file.get("weight").unwrap().to_bytes(), bytes(&made[0].1));
}

/// `tests/standalone.rs` compares what the program without libtorch writes to the same file.
#[test]
fn the_file_is_that_of_the_program_without_libtorch() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/linear.plan.json");
    done(&materialize(&plan, &weights, &["--seed", "1"]));
    let expected = include_bytes!("../data/linear.safetensors");
    assert_eq!(fs::read(&weights).unwrap(), expected);
}

#[test]
fn the_file_says_what_made_it() {
    let (folder, plan, weights) = folder(&linear());
    let header = || {
        let bytes = fs::read(&weights).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(length % 8, 0);
        serde_json::from_slice::<serde_json::Value>(&bytes[8..8 + length]).unwrap()
    };
    done(&materialize(&plan, &weights, &["--seed", "7"]));
    let hash = tch_init::plan::InitPlan::load(&plan)
        .unwrap()
        .sha256()
        .to_owned();
    assert_eq!(hash.len(), 64);
    assert_eq!(
        header()["__metadata__"],
        json!({
            "format": "pt",
            "plan_sha256": hash,
            "pytorch": "2.13.0",
            "seed": "7",
            "tch_init": env!("CARGO_PKG_VERSION"),
        })
    );
    let state = folder.path().join("state");
    fs::write(&state, {
        let mut generator = seeded(7);
        linear().plan().materialize(&mut generator).unwrap();
        generator.get_state().unwrap()
    })
    .unwrap();
    done(&materialize(
        &plan,
        &weights,
        &["--state-in", state.to_str().unwrap()],
    ));
    let metadata = &header()["__metadata__"];
    assert!(metadata["seed"].is_null());
    assert_eq!(metadata["state_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn parts_and_dtypes_can_be_chosen() {
    let mut plan = linear();
    let counter = plan.tensor("int64", &[]);
    plan.step(json!(["fill_", counter, 0]));
    plan.parameter("tied", 0);
    plan.buffers.push(json!(["running.steps", counter]));
    plan.buffers
        .push(json!(["running.mask", 1, {"persistent": false}]));
    let (_folder, path, weights) = folder(&plan);
    let names = || {
        let file = TensorFile::open(&weights).unwrap();
        let mut names: Vec<_> = file.names().map(str::to_owned).collect();
        names.sort();
        names
    };
    done(&materialize(&path, &weights, &["--seed", "1"]));
    assert_eq!(names(), ["bias", "running.steps", "tied", "weight"]);
    let whole = TensorFile::open(&weights)
        .unwrap()
        .get("weight")
        .unwrap()
        .to_bytes();
    done(&materialize(
        &path,
        &weights,
        &[
            "--seed",
            "1",
            "--only",
            "running.*",
            "--only",
            "weight",
            "--dtype",
            "bfloat16",
        ],
    ));
    assert_eq!(names(), ["running.steps", "weight"]);
    let file = TensorFile::open(&weights).unwrap();
    assert_eq!(file.get("running.steps").unwrap().dtype().name(), "int64");
    let expected = tch::Tensor::f_from_data_size(&whole, &[6], Kind::Float)
        .unwrap()
        .to_kind(Kind::BFloat16);
    assert_eq!(file.get("weight").unwrap().to_bytes(), bytes(&expected));

    let refused = failure(&materialize(
        &path,
        &weights,
        &["--seed", "1", "--only", "none*"],
    ));
    assert_eq!(
        refused,
        "--only none*: no parameter or buffer of the plan matches; `tch-init plan show` lists them"
    );
}

#[test]
fn bad_input_is_one_line() {
    let (folder, plan, weights) = folder(&linear());
    let path = plan.to_str().unwrap();
    let none = folder.path().join("none");
    let missing = "cannot be read: No such file or directory (os error 2)";
    for (arguments, line) in [
        (
            &["--seed", "x"][..],
            "invalid value 'x' for '--seed <SEED>': a seed is -2^63 to 2^64 - 1; try `tch-init --help`".to_owned(),
        ),
        (
            &["--seed", "18446744073709551616"],
            "invalid value '18446744073709551616' for '--seed <SEED>': a seed is -2^63 to 2^64 - 1; try `tch-init --help`".to_owned(),
        ),
        (
            &[],
            "the following required arguments were not provided: --seed <SEED>; try `tch-init --help`".to_owned(),
        ),
        (
            &["--seed", "1", "--threads", "0"],
            "invalid value '0' for '--threads <N>': number would be zero for non-zero type; try `tch-init --help`".to_owned(),
        ),
        (
            &["--seed", "1", "--dtype", "int8"],
            "invalid value 'int8' for '--dtype <DTYPE>' [possible values: float16, bfloat16, float32, float64]; try `tch-init --help`".to_owned(),
        ),
        (
            &["--seed", "1", "--only", "a{"],
            "invalid value 'a{' for '--only <GLOB>': error parsing glob 'a{': unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?); try `tch-init --help`".to_owned(),
        ),
        (
            &["--state-in", path],
            format!("{path}: not the state of a CPU generator, which is 5056 bytes, or a tensor of them in a file of torch.save or numpy"),
        ),
        (
            &["--state-in", "no/such/file"],
            format!("no/such/file: {missing}"),
        ),
    ] {
        let refused = failure(&materialize(&plan, &weights, arguments));
        assert_eq!(refused, line, "{arguments:?}");
    }
    let refused = failure(&materialize(&none, &weights, &["--seed", "1"]));
    assert_eq!(refused, format!("{}: {missing}", none.display()));
    assert_eq!(files(&folder), ["a.plan.json"]);
}

#[test]
fn show_prints_the_plan() {
    let (_folder, plan, _) = folder(&linear());
    let output = program()
        .args(["plan", "show"])
        .arg(&plan)
        .output()
        .unwrap();
    assert_eq!(done(&output), linear().plan().to_string());
}

#[test]
fn a_state_that_has_no_place_is_found_before_the_weights_are_made() {
    let (folder, plan, weights) = folder(&linear());
    let missing = folder.path().join("none/out.bin");
    for (path, cause) in [
        (missing.as_path(), "No such file or directory (os error 2)"),
        (Path::new("/"), "is a directory"),
    ] {
        let more = ["--seed", "1", "--state-out", path.to_str().unwrap()];
        let refused = failure(&materialize(&plan, &weights, &more));
        let line = format!("{}: cannot be written: {cause}", path.display());
        assert_eq!(refused, line);
        assert_eq!(files(&folder), ["a.plan.json"]);
    }
}

#[test]
fn a_missing_target_is_found_before_anything_is_drawn() {
    // More than any machine has: were it looked at first, that would be the message.
    let mut plan = linear();
    let huge = plan.tensor("float32", &[1 << 50]);
    plan.parameter("huge", huge);
    let (folder, path, _) = folder(&plan);
    let missing = folder.path().join("none/weights.safetensors");
    for (target, line) in [
        (
            missing.as_path(),
            "cannot be written: No such file or directory (os error 2)",
        ),
        (
            folder.path(),
            "exists, and is not empty; choose another folder",
        ),
    ] {
        let refused = failure(&materialize(&path, target, &["--seed", "1"]));
        assert_eq!(refused, format!("{}: {line}", target.display()));
    }
    assert_eq!(files(&folder), ["a.plan.json"]);
}
