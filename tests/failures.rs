//! What the program prints when a command fails: exit code 2, nothing on stdout, and one line on stderr with each cause
//! once. Whole lines are compared.

use std::path::Path;
use std::process::Command;

/// The line, without `tch-init: ` and with the folder's name taken out.
fn failure(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.strip_prefix("tch-init: ").unwrap();
    line.strip_suffix('\n').unwrap().to_owned()
}

/// Files to fail on.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    let plan = include_str!("data/linear.plan.json");
    write("linear.plan.json", plan.as_bytes());
    write("cut.plan.json", b"{\"format\": \"tch-init plan\",");
    write(
        "unknown.plan.json",
        plan.replace("[\"uniform_\",1", "[\"foo_\",1").as_bytes(),
    );
    write(
        "range.plan.json",
        plan.replace("[\"uniform_\",0,-0.7", "[\"uniform_\",0,5.7")
            .as_bytes(),
    );
    write("short.state", b"x");
    write("zero.state", &[0; 5056]);
    write("text", b"tensors");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    // A pickle of a class, as torch.save writes it without weights_only.
    write("broken.pt", b"\x80\x02cos\nsystem\n.");
    folder
}

#[test]
fn files_that_cannot_be_read_are_one_line() {
    let folder = folder();
    let missing = "cannot be read: No such file or directory (os error 2)";
    let unknown = "not a tensor file (it starts with the bytes 74 65 6e 73 6f 72 73); supported formats are safetensors, an index of shards, npz, npy, .ot, TorchScript and torch.save";
    for (arguments, line) in [
        (&["diff", "gone.npz", "text"][..], format!("gone.npz: {missing}")),
        (&["diff", "text", "text"], format!("text: {unknown}")),
        (
            &["diff", "broken.pt", "text"],
            "broken.pt: not a tensor file (a pickle without an archive, which only Python can read: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")); supported formats are safetensors, an index of shards, npz, npy, .ot, TorchScript and torch.save".to_owned(),
        ),
        (
            &["diff", "empty", "text"],
            "empty: no tensor file in this directory; pass the file itself".to_owned(),
        ),
        (&["plan", "show", "gone.json"], format!("gone.json: {missing}")),
        (
            &["plan", "show", "."],
            ".: cannot be read: Is a directory (os error 21)".to_owned(),
        ),
        (
            &["plan", "show", "cut.plan.json"],
            "cut.plan.json: not a plan: EOF while parsing a value at line 1 column 27; record it again".to_owned(),
        ),
        (
            &["plan", "show", "unknown.plan.json"],
            "unknown.plan.json: step 1: unknown step `foo_` (needed by \"bias\"); use a newer tch-init".to_owned(),
        ),
        (
            &["plan", "show", "range.plan.json"],
            "range.plan.json: step 0 (\"uniform_\"): expected from <= to with a finite difference, found from = 5.707106781186547, to = 0.7071067811865474; record it again".to_owned(),
        ),
        (
            &["record", "1", "--python", "no-such-python"],
            "cannot run no-such-python (use --python to name a Python that has PyTorch): No such file or directory (os error 2)".to_owned(),
        ),
    ] {
        assert_eq!(failure(folder.path(), arguments), line, "{arguments:?}");
    }
}

#[test]
fn wrong_arguments_are_one_line() {
    let folder = folder();
    for (arguments, line) in [
        (
            &["dome"][..],
            "unrecognized subcommand 'dome'; try `tch-init --help`",
        ),
        (
            &["diff", "text", "text", "--rtol", "1e-5x"],
            "invalid value '1e-5x' for '--rtol [<X>]': expected a number, or nothing for PyTorch's default; try `tch-init --help`",
        ),
        (
            &["diff", "text", "text", "--rtol=a"],
            "invalid value 'a' for '--rtol [<X>]': expected a number, or nothing for PyTorch's default; try `tch-init --help`",
        ),
        (
            // A word that cannot be a number is taken for a file after `--rtol`.
            &["diff", "text", "text", "--rtol", "a"],
            "unexpected argument 'a' found; try `tch-init --help`",
        ),
        (
            &["diff", "text", "text", "--equal-nan"],
            "--equal-nan and --no-check-dtype need --rtol or --atol",
        ),
        (
            &["diff", "text", "text", "--only", "["],
            "--only '[' is not a pattern: unclosed character class; missing ']'",
        ),
        (
            &["diff", "text", "text", "--rename", "s/(/b/"],
            "--rename 's/(/b/': the pattern is not a regular expression: unclosed group",
        ),
        (
            &[
                "materialize",
                "linear.plan.json",
                "--seed",
                "x",
                "-o",
                "file",
            ],
            "invalid value 'x' for '--seed <SEED>': a seed is -2^63 to 2^64 - 1; try `tch-init --help`",
        ),
        (
            &[
                "materialize",
                "linear.plan.json",
                "--seed",
                "1",
                "-o",
                "file",
                "--only",
                "none*",
            ],
            "--only none*: no parameter or buffer of the plan matches; `tch-init plan show` lists them",
        ),
    ] {
        assert_eq!(failure(folder.path(), arguments), line, "{arguments:?}");
    }
    #[cfg(feature = "tch")]
    for (arguments, line) in [
        (
            &["demo", "--seed", "x"][..],
            "invalid value 'x' for '--seed <SEED>': a seed is -2^63 to 2^64 - 1; try `tch-init --help`",
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
            &["demo", "--device", "tpu"],
            "invalid value 'tpu' for '--device <DEVICE>': use cpu, cuda or cuda:N; try `tch-init --help`",
        ),
        (
            &["demo", "--check", "--seed", "9"],
            "--check: no PyTorch reference is stored for seed 9 and input size 4; stored are (seed/size) 0/1, 0/4, 0/7, 1/1, 1/4, 1/7, 2/1, 2/4, 2/7, 42/1, 42/4, 42/7, -1/1, -1/4, -1/7",
        ),
    ] {
        assert_eq!(failure(folder.path(), arguments), line, "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_materialized_is_one_line() {
    let folder = folder();
    let materialize = |arguments: &[&str]| {
        let arguments = [&["materialize"], arguments].concat();
        failure(folder.path(), &arguments)
    };
    for (arguments, line) in [
        (
            &["linear.plan.json", "--seed", "1", "-o", "no/such/file"][..],
            "no/such/file: cannot be written: No such file or directory (os error 2)",
        ),
        (
            &["linear.plan.json", "--seed", "1", "-o", "/dev/full"],
            "/dev/full: cannot be written: not a regular file",
        ),
        (
            &[
                "linear.plan.json",
                "--seed",
                "1",
                "-o",
                "file",
                "--state-out",
                "no/such",
            ],
            "no/such: cannot be written: No such file or directory (os error 2)",
        ),
        (
            &["linear.plan.json", "--state-in", "gone.state", "-o", "file"],
            "gone.state: cannot be read: No such file or directory (os error 2)",
        ),
        (
            &[
                "linear.plan.json",
                "--state-in",
                "short.state",
                "-o",
                "file",
            ],
            "short.state: not the state of a CPU generator, which is 5056 bytes, or a tensor of them in a file of torch.save or numpy",
        ),
        (
            &["linear.plan.json", "--state-in", "zero.state", "-o", "file"],
            "zero.state: not the state of a CPU generator: the field `seeded` is 0, but must be 1",
        ),
        (
            &["gone.json", "--seed", "1", "-o", "file"],
            "gone.json: cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(materialize(arguments), line, "{arguments:?}");
    }
}

#[cfg(feature = "tch")]
#[test]
fn what_cannot_be_explained_is_one_line() {
    let folder = folder();
    for (arguments, line) in [
        (
            &["explain", "gone.npz", "text"][..],
            "gone.npz: cannot be read: No such file or directory (os error 2)",
        ),
        (
            &["explain", "linear.plan.json", "linear.plan.json"],
            "linear.plan.json: a plan has no tensors to explain; `tch-init materialize` makes them",
        ),
    ] {
        assert_eq!(failure(folder.path(), arguments), line, "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_one_line() {
    let folder = folder();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .args(["plan", "show", "linear.plan.json"])
        .current_dir(folder.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "tch-init: cannot write to stdout: No space left on device (os error 28)\n"
    );
}

/// An error of the library leaves its cause out of its message, so that a chain says everything once.
#[cfg(feature = "tch")]
#[test]
fn messages_leave_out_their_causes() {
    use std::error::Error;
    use tch::nn::VarStore;
    use tch_init::plan::InitPlan;
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let _stream = crate::common::default_stream();
    let mut generator = tch_init::Generator::new(tch::Device::Cpu).unwrap();
    let mut errors: Vec<Box<dyn Error>> = Vec::new();
    errors.push(Box::new(generator.set_state(&[1]).unwrap_err()));
    for name in [
        "gone.json",
        "cut.plan.json",
        "unknown.plan.json",
        "range.plan.json",
    ] {
        errors.push(Box::new(InitPlan::load(path(name)).unwrap_err()));
    }
    let plan = InitPlan::load(path("linear.plan.json")).unwrap();
    let unwritable = plan.save(
        path("no/such/file"),
        &mut generator,
        Default::default(),
        |_| true,
    );
    errors.push(Box::new(unwritable.unwrap_err()));
    let vs = VarStore::new(tch::Device::Cpu);
    tch_init::nn::f_linear(vs.root() / "fc", 2, 2, Default::default()).unwrap();
    let visited = tch_init::apply(&vs, |_| Err(tch_init::InitError::FanMode("x".to_owned())));
    errors.push(Box::new(visited.unwrap_err()));
    for error in errors {
        let (mut error, mut chain): (&dyn Error, Vec<String>) = (&*error, vec![error.to_string()]);
        while let Some(source) = error.source() {
            let cause = source.to_string();
            assert!(
                !chain.iter().any(|message| message.contains(&cause)),
                "{chain:?}, {cause}"
            );
            chain.push(cause);
            error = source;
        }
    }
}
