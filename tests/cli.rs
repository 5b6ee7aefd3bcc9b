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

/// All that a failure prints, without `tch-init: ` and the newline at the end.
fn failure(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.strip_prefix("tch-init: ").unwrap();
    line.strip_suffix('\n').unwrap().to_owned()
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
    let expected = [
        ("输入", 4),
        ("输出1", 2),
        ("权重1", 8),
        ("输出2", 2),
        ("权重2", 8),
    ];
    assert_eq!(added.lines().count(), expected.len(), "{added}");
    for (i, (line, (label, numel))) in added.lines().zip(expected).enumerate() {
        let equal = format!("{label}: equal, all {numel} values bit for bit (PyTorch 2.13.0)");
        // LAPACK's bits depend on the machine.
        let differs = line.starts_with(&format!("{label}: "))
            && line.contains(&format!(" of {numel} values differ, by up to "))
            && line.ends_with(" ULP, as LAPACK does from machine to machine (PyTorch 2.13.0)");
        assert!(line == equal || (i >= 3 && differs), "{line}");
    }
}

#[test]
fn check_finds_a_difference() {
    // Without FMA the kernels draw other bits, which is what the check is for.
    let output = program(&["demo", "--check", "--input-size", "7"])
        .env("ATEN_CPU_CAPABILITY", "default")
        .output()
        .unwrap();
    // A difference that LAPACK makes on another machine is not a failure.
    let is_other =
        |line: &str| line.contains("differ, by up to") && !line.contains("as LAPACK does");
    let differing = stdout(&output).lines().any(is_other);
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
    for (arguments, line) in [
        (
            &["demo", "--seed", "one"][..],
            "invalid value 'one' for '--seed <SEED>': a seed is -2^63 to 2^64 - 1; try `tch-init --help`",
        ),
        (
            &["demo", "--seed", "18446744073709551616"],
            "invalid value '18446744073709551616' for '--seed <SEED>': a seed is -2^63 to 2^64 - 1; try `tch-init --help`",
        ),
        (
            &["demo", "--input-size", "0"],
            "invalid value '0' for '--input-size <INPUT_SIZE>': 0 is not in 1..=10000000; try `tch-init --help`",
        ),
        (
            &["demo", "--input-size", "-4"],
            "unexpected argument '-4' found; try `tch-init --help`",
        ),
        (
            &["demo", "--input-size", "99999999999"],
            "invalid value '99999999999' for '--input-size <INPUT_SIZE>': 99999999999 is not in 1..=10000000; try `tch-init --help`",
        ),
        (
            &["demo", "--device", "tpu"],
            "invalid value 'tpu' for '--device <DEVICE>': use cpu, cuda or cuda:N; try `tch-init --help`",
        ),
        (
            &["demo", "--device", "cuda:x"],
            "invalid value 'cuda:x' for '--device <DEVICE>': invalid digit found in string; try `tch-init --help`",
        ),
        (
            &["demo", "--check", "--seed", "9"],
            "--check: no PyTorch reference is stored for seed 9 and input size 4; stored are (seed/size) 0/1, 0/4, 0/7, 1/1, 1/4, 1/7, 2/1, 2/4, 2/7, 42/1, 42/4, 42/7, -1/1, -1/4, -1/7",
        ),
        (
            &["demo", "--speed"],
            "unexpected argument '--speed' found; try `tch-init --help`",
        ),
        (
            &["dome"],
            "unrecognized subcommand 'dome'; try `tch-init --help`",
        ),
    ] {
        assert_eq!(failure(arguments), line, "{arguments:?}");
    }
}

#[test]
fn cuda_without_a_gpu_is_a_clear_error() {
    let Err(error) = tch_init::cuda::load() else {
        let output = run(&["demo", "--device", "cuda"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        return;
    };
    let line = failure(&["demo", "--device", "cuda"]);
    assert_eq!(line, error.to_string());
    assert!(line.starts_with("CUDA is not available: "), "{line}");
}

#[test]
fn a_full_disk_is_one_line_and_a_closed_pipe_is_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = program(&["demo"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "tch-init: cannot write to stdout: No space left on device (os error 28)\n"
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
        "Python of record",
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
    for lines in [
        "BAD CPU capability    DEFAULT
                      fix: draws have other bits than on a CPU with AVX2 (they equal PyTorch's on this machine): unset ATEN_CPU_CAPABILITY if it is set
",
        "BAD draws             not the bits of PyTorch 2.13 with AVX2
                      fix: see libtorch and CPU capability above
",
    ] {
        assert!(text.contains(&format!("\n{lines}")), "{lines}\nnot in:\n{text}");
    }
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
    let report = run(&["doctor"]);
    let tch = stdout(&report).lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some("tch")).then(|| words.next().unwrap().to_owned())
    });
    let tch = tch.unwrap();
    let pair = format!("(\"{LIBTORCH_VERSION}\", \"{tch}\")");
    assert!(file("build.rs").contains(&pair), "{pair}");
    // What `./setup` fetches is bound by the newest tch.
    let manifest = file("Cargo.toml");
    let newest = "[(\"2.13.0\", \"0.26\"), (\"2.11.0\", \"0.24\")]";
    assert!(
        file("build.rs").contains(newest)
            && file("tools/setup.py").contains("VERSION = \"2.13.0\"")
    );
    for name in ["tch", "torch-sys"] {
        let line = format!("{name} = {{ version = \">=0.24, <0.27\"");
        assert!(manifest.contains(&line), "{line}");
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
    let (net, gone) = (path("net.txt"), path("gone.txt"));
    let (encoder, opaque) = (path("encoder.txt"), path("opaque.txt"));
    let missing = "cannot be read: No such file or directory (os error 2)";
    for (arguments, line) in [
        (
            vec!["missing.npz", a.as_str()],
            format!("missing.npz: {missing}"),
        ),
        (
            vec![a.as_str(), "--ignore", "*"],
            format!("{a}: no tensor is selected"),
        ),
        (
            vec![a.as_str(), "--layers", &net],
            "the following required arguments were not provided: --seed <SEED>; try `tch-init --help`".to_owned(),
        ),
        (
            vec![a.as_str(), "--layers", &gone, "--seed", "1"],
            format!("{gone}: {missing}"),
        ),
        (
            vec![a.as_str(), "--layers", &net, "--seed", "1"],
            format!("{net}: line 2: a parenthesis stays open; the file must hold what Python's print(model) prints"),
        ),
        (
            vec![a.as_str(), "--layers", &encoder, "--seed", "1"],
            format!("{encoder}: line 1: TransformerEncoder: the layer that it was made from is not printed; take a file of PyTorch's tensors as the reference"),
        ),
        (
            vec![a.as_str(), "--layers", &opaque, "--seed", "1"],
            format!("{opaque}: Mine at a has the tensor a.weight, which print(model) does not show; take a file of PyTorch's tensors as the reference"),
        ),
        (
            vec![&net, a.as_str()],
            format!("{net}: not a tensor file (it starts with the bytes 4e 65 74 28 0a 20 20 28); supported formats are safetensors, an index of shards, npz, npy, .ot, TorchScript and torch.save"),
        ),
        (
            vec![a.as_str(), a.as_str(), "--layers", &net],
            "the argument '[REFERENCE]' cannot be used with '--layers <FILE>'; try `tch-init --help`".to_owned(),
        ),
    ] {
        let reported = failure(&[&["explain"], &arguments[..]].concat());
        assert_eq!(reported, line, "{arguments:?}");
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

/// Tensors with one cause are one finding, with a list.
#[test]
fn tensors_that_are_shifted_alike_are_one_finding() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let linear = "Linear(in_features=30, out_features=50, bias=True)";
    std::fs::write(
        path("net.txt"),
        format!("Net(\n  (a): {linear}\n  (b): {linear}\n)"),
    )
    .unwrap();
    let draw = |seed: u64, shift: u64| {
        let mut generator = tch_init::rng::Mt19937::new(seed);
        generator.skip(shift);
        let mut tensors = Vec::new();
        for (name, shape) in [
            ("a.weight", vec![50, 30]),
            ("a.bias", vec![50]),
            ("b.weight", vec![50, 30]),
            ("b.bias", vec![50]),
        ] {
            let mut values = vec![0f32; shape.iter().product()];
            let bound = 1.0 / 30f64.sqrt();
            tch_init::distribution::uniform_(&mut generator, &mut values, -bound, bound).unwrap();
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            tensors.push((name, shape, bytes));
        }
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let dtype = safetensors::Dtype::F32;
            let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
            (*name, view.unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    };
    for (seed, shift, cause) in [
        (
            1,
            7,
            "  drawn at other positions in the stream of seed 1, each bit for bit\n  \
             PyTorch draws each 7 words earlier: by a dropout, a randn or a layer that PyTorch's model lacks\n",
        ),
        (
            2,
            0,
            "  drawn with another seed: 2, not 1, each bit for bit\n",
        ),
        (
            // The weights show it; the biases then follow.
            3_141_592_653,
            0,
            "  drawn with another seed: 3141592653, not 1, each bit for bit\n",
        ),
    ] {
        std::fs::write(path("yours.safetensors"), draw(seed, shift)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .args([
                "explain",
                &path("yours.safetensors"),
                "--layers",
                &path("net.txt"),
            ])
            .args(["--seed", "1", "--other-seeds", "10"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        let names = "4 tensors: a.weight, a.bias, b.weight, b.bias\n";
        let others = "4 tensors: a.bias, a.weight, b.bias, b.weight\n";
        assert!(
            text.starts_with(names) || text.starts_with(others),
            "{text}"
        );
        assert!(text.contains(cause), "{text}");
    }
}
