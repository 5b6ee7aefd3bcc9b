//! The program as a user runs it: what it prints, on which stream, with which exit code.

use std::fs::File;
use std::process::{Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tch-init"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// The one line that a failure prints.
fn failure(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{arguments:?}:\n{text}");
    assert!(text.starts_with("tch-init: "), "{text}");
    text
}

/// The figures of the seed document.
const FIGURES: &str = "\
网络结构: 
 Net(
  (fc1): Linear(in_features=4, out_features=2, bias=True)
  (fc2): Linear(in_features=2, out_features=4, bias=True)
  (fc3): Linear(in_features=4, out_features=2, bias=True)
)
输入: 
 tensor([[0.6614, 0.2669, 0.0617, 0.6213]])
输出1: 
 tensor([[-0.7233, -0.6639]])
权重1: 
 tensor([[ 2.0709, -1.0573,  0.9230, -0.7373],
        [ 0.1879, -0.2766,  0.7962,  1.4599]])
输出2: 
 tensor([[-0.6951, -0.6912]])
权重2: 
 tensor([[-0.8471, -0.4721,  0.1653,  0.1795],
        [-0.4072,  0.5991, -0.6437,  0.2467]])
";

#[test]
fn the_demo_prints_the_figures_of_the_seed_document() {
    let output = run(&["demo"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), FIGURES);
    assert!(output.stderr.is_empty());
}

#[test]
fn check_adds_a_line_a_tensor() {
    let output = run(&["demo", "--check"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let added = stdout(&output).strip_prefix(FIGURES).unwrap();
    let lines: Vec<&str> = added.lines().collect();
    assert_eq!(lines.len(), 5);
    for (line, label) in lines
        .iter()
        .zip(["输入", "输出1", "权重1", "输出2", "权重2"])
    {
        assert!(line.starts_with(label), "{line}");
        assert!(line.ends_with("(PyTorch 2.13.0)"), "{line}");
    }
    for exact in &lines[..3] {
        assert!(exact.contains("equal, all"), "{exact}");
    }
}

#[test]
fn check_finds_a_difference() {
    // Without FMA the kernels draw other bits, which is what the check is for.
    let output = program(&["demo", "--check", "--input-size", "7"])
        .env("ATEN_CPU_CAPABILITY", "default")
        .output()
        .unwrap();
    let differing = stdout(&output).contains("differ, by up to");
    assert_eq!(
        output.status.code(),
        Some(i32::from(differing)),
        "{output:?}"
    );
}

#[test]
fn seeds_are_pythons() {
    let same = |a: &str, b: &str| {
        let of = |seed: &str| run(&["demo", "--seed", seed]).stdout;
        assert_eq!(of(a), of(b), "{a}, {b}");
    };
    same("-1", "18446744073709551615");
    same("-9223372036854775808", "9223372036854775808");
    assert_ne!(run(&["demo", "--seed", "2"]).stdout, FIGURES.as_bytes());
}

#[test]
fn bad_input_is_one_line_that_says_what_and_where() {
    for (arguments, said) in [
        (&["demo", "--seed", "one"][..], "'one'"),
        (&["demo", "--seed", "18446744073709551616"], "2^64"),
        (&["demo", "--input-size", "0"], "--input-size"),
        (&["demo", "--input-size", "-4"], "-4"),
        (&["demo", "--input-size", "99999999999"], "99999999999"),
        (&["demo", "--device", "tpu"], "cuda:N"),
        (&["demo", "--device", "cuda:x"], "cuda:x"),
        (
            &["demo", "--check", "--seed", "9"],
            "no PyTorch reference is stored",
        ),
        (&["demo", "--speed"], "--speed"),
        (&["dome"], "dome"),
    ] {
        let line = failure(arguments);
        assert!(line.contains(said), "{arguments:?}: {line}");
    }
}

#[test]
fn cuda_without_a_gpu_is_a_clear_error() {
    if tch_init::cuda::load().is_ok() {
        let output = run(&["demo", "--device", "cuda"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        return;
    }
    let line = failure(&["demo", "--device", "cuda"]);
    assert!(line.contains("CUDA is not available: "), "{line}");
}

#[test]
fn a_full_disk_is_one_line_and_a_closed_pipe_is_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = program(&["demo"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("tch-init: cannot write to stdout: "),
        "{text}"
    );

    let mut child = program(&["demo"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn the_doctor_names_what_it_found() {
    let output = run(&["doctor"]);
    let text = stdout(&output);
    for what in [
        "tch-init",
        "tch ",
        "libtorch",
        "CPU capability",
        "draws",
        "threads",
        "MKL, LAPACK",
        "CUDA",
        "Python reference",
    ] {
        assert!(
            text.lines().any(|line| line[4..].starts_with(what)),
            "{what}:\n{text}"
        );
    }
    let bad = text.lines().any(|line| line.starts_with("BAD"));
    assert_eq!(output.status.code(), Some(i32::from(bad)), "{text}");
}

#[test]
fn the_doctor_sees_another_cpu_capability() {
    let output = program(&["doctor"])
        .env("ATEN_CPU_CAPABILITY", "default")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("BAD CPU capability"), "{text}");
    assert!(text.contains("BAD draws"), "{text}");
    assert!(text.contains("fix: "), "{text}");
}

#[test]
fn help_and_version_are_output() {
    for arguments in [&["--help"][..], &["demo", "--help"], &["--version"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
    assert_eq!(run(&[]).status.code(), Some(2));
}

/// One version in the program, the build script, the set-up and the manifest.
#[test]
fn versions_are_named_alike_everywhere() {
    use tch_init::LIBTORCH_VERSION;
    let file = |name: &str| {
        std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    assert!(file("build.rs").contains(&format!("VERSION: &str = \"{LIBTORCH_VERSION}\"")));
    assert!(file("tools/setup.py").contains(&format!("VERSION = \"{LIBTORCH_VERSION}\"")));
    let report = run(&["doctor"]);
    let tch = stdout(&report).lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some("tch")).then(|| words.next().unwrap().to_owned())
    });
    let tch = tch.unwrap();
    for name in ["tch", "torch-sys"] {
        let line = format!("{name} = {{ version = \"{tch}\"");
        assert!(file("Cargo.toml").contains(&line), "{line}");
    }
}

#[test]
fn explain_says_in_one_line_what_it_cannot_take() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("net.txt"), "Net(\n  (fc): Linear(in_features=4\n)").unwrap();
    std::fs::write(
        path("opaque.txt"),
        "Net(\n  (a): Mine()\n  (b): Linear(in_features=1, out_features=1, bias=False)\n)",
    )
    .unwrap();
    std::fs::write(
        path("encoder.txt"),
        "TransformerEncoder(\n  (layers): ModuleList()\n)",
    )
    .unwrap();
    let one = [0u8; 4];
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &one).unwrap();
    let file = safetensors::serialize([("a.weight", view)], None).unwrap();
    std::fs::write(path("a.safetensors"), file).unwrap();
    let a = path("a.safetensors");
    for (arguments, part) in [
        (
            vec!["missing.npz", a.as_str()],
            "missing.npz: cannot be read: No such file",
        ),
        (vec![a.as_str()], "required arguments were not provided"),
        (vec![a.as_str(), "--layers", &path("net.txt")], "--seed"),
        (
            vec![a.as_str(), "--layers", &path("gone.txt"), "--seed", "1"],
            "gone.txt: cannot be read",
        ),
        (
            vec![a.as_str(), "--layers", &path("net.txt"), "--seed", "1"],
            "net.txt: line 2: a parenthesis stays open",
        ),
        (
            vec![a.as_str(), "--layers", &path("encoder.txt"), "--seed", "1"],
            "take a file of PyTorch's tensors",
        ),
        (
            vec![a.as_str(), "--layers", &path("opaque.txt"), "--seed", "1"],
            "Mine at a has the tensor a.weight",
        ),
        (vec![&path("net.txt"), a.as_str()], "not a tensor file"),
        (
            vec![a.as_str(), a.as_str(), "--layers", &path("net.txt")],
            "cannot be used with",
        ),
    ] {
        let reported = failure(&[&["explain"], &arguments[..]].concat());
        assert!(reported.contains(part), "{arguments:?}: {reported}");
    }
}

#[test]
fn explain_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = vec![2, values.len() / 2];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &bytes);
        let file = safetensors::serialize([("w", view.unwrap())], None).unwrap();
        std::fs::write(path(name), file).unwrap();
    };
    write("yours", &[2.0, 4.0, 6.0, -10.0]);
    write("theirs", &[1.0, 2.0, 3.0, -5.0]);
    let output = run(&[
        "explain",
        &path("yours"),
        &path("theirs"),
        "--json",
        "--other-seeds",
        "0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let reported: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tensor = &reported["tensors"][0];
    assert_eq!(
        (&tensor["tensor"], &tensor["differing"]),
        (&"w".into(), &4.into())
    );
    assert_eq!(tensor["findings"][0]["id"], "scaled");
    assert_eq!(tensor["findings"][0]["constant"], 2.0);
    let same = run(&[
        "explain",
        &path("yours"),
        &path("yours"),
        "--other-seeds",
        "0",
    ]);
    assert_eq!(same.status.code(), Some(0));
    assert_eq!(stdout(&same), "equal, bit for bit: w\n1 tensor: 1 equal\n");
}
