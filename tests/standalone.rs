//! The program without libtorch: what it does, and what it says of the rest.

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

#[test]
fn the_program_is_not_linked_with_libtorch() {
    let program = std::fs::read(Path::new(env!("CARGO_BIN_EXE_tch-init"))).unwrap();
    let name = b"libtorch_cpu.so";
    assert!(!program.windows(name.len()).any(|window| window == name));
}

#[test]
fn diff_compares_files() {
    let file = "crates/tensor-parity/tests/file/data/checkpoint.pt";
    let same = run(&["diff", file, file]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    assert!(same.stderr.is_empty(), "{same:?}");
    let other = run(&[
        "diff",
        file,
        "crates/tensor-parity/tests/file/data/module.pt",
    ]);
    assert_ne!(other.status.code(), Some(0), "{other:?}");
}

#[test]
fn plan_show_shows_what_is_drawn() {
    let shown = run(&["plan", "show", "tests/data/linear.plan.json"]);
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    assert_eq!(
        String::from_utf8(shown.stdout).unwrap(),
        "torch.nn.Linear(2, 3) (PyTorch 2.13.0)
parameter weight  float32 [3, 2]
    step 0: uniform_(-0.7071067811865474, 0.7071067811865474), words 0 + 6
parameter bias  float32 [3]
    step 1: uniform_(-0.7071067811865475, 0.7071067811865475), words 6 + 3
2 parameters, 0 buffers: 9 elements
2 steps, 2 draws of 9 values, 0 of them dead (0.0%); 9 words
"
    );
}

/// Expected: `torch.manual_seed(1); m = torch.nn.Linear(2, 3)`, then `m.weight.detach().numpy().view(numpy.uint32)`, and the
/// same of `m.bias`, with PyTorch 2.13.0.
#[test]
fn materialize_makes_the_bits_of_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("linear.safetensors");
    let made = run(&[
        "materialize",
        "tests/data/linear.plan.json",
        "--seed",
        "1",
        "-o",
        path.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert!(made.stderr.is_empty(), "{made:?}");
    let file = tch_init::file::TensorFile::open(&path).unwrap();
    let words = |name: &str| -> Vec<u32> {
        let bytes = file.get(name).unwrap().to_bytes();
        let words = bytes.chunks_exact(4);
        words
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    };
    assert_eq!(
        words("weight"),
        [
            0x3eba_8b92,
            0xbe9f_cbc6,
            0xbe0c_5ee7,
            0x3ea9_ee01,
            0xbf2a_6b14,
            0x3ed9_1eef
        ]
    );
    assert_eq!(words("bias"), [0xbe14_f606, 0x3eb8_2f59, 0x3dc9_516f]);
}

#[test]
fn commands_that_need_libtorch_say_so_in_one_line() {
    for arguments in [
        &["demo", "--seed", "1"][..],
        &["doctor"],
        &["explain", "a.safetensors", "b.safetensors"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "tch-init: this command needs libtorch, and this program was built without it: run `./setup` and `cargo install --path . --features cli` in a checkout of tch-init\n"
        );
    }
}

/// `tests/plan/program.rs` compares what the program with libtorch writes to the same file.
#[test]
fn materialize_writes_the_file_that_libtorch_makes() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    let path = weights.to_str().unwrap();
    for threads in ["1", "3"] {
        let arguments = ["--seed", "1", "--threads", threads, "-o", path];
        let arguments: Vec<&str> = ["materialize", "tests/data/linear.plan.json"]
            .into_iter()
            .chain(arguments)
            .collect();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let expected = include_bytes!("data/linear.safetensors");
        assert_eq!(std::fs::read(&weights).unwrap(), expected);
    }
}

#[test]
fn steps_that_need_libtorch_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("a.plan.json");
    let json = r#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
        "semantics": "2.13", "model": "by hand", "storages": [64],
        "views": [[0, "float32", [4, 4]]], "steps": [["orthogonal_", 0, 1.0]],
        "parameters": [["weight", 0]], "buffers": []}"#;
    std::fs::write(&plan, json).unwrap();
    let weights = folder.path().join("weights.safetensors");
    let (plan, path) = (plan.to_str().unwrap(), weights.to_str().unwrap());
    let output = run(&["materialize", plan, "--seed", "1", "-o", path]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "tch-init: step 0: `orthogonal_` (needed by \"weight\"): only libtorch computes this; use a tch-init that is built with the feature `tch`\n"
    );
    assert!(!weights.exists());
}
