//! `tch-init diff` as a user runs it.

use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A safetensors file of f32 tensors of one dimension.
    fn write(&self, name: &str, tensors: &[(&str, &[f32])]) -> PathBuf {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, values), bytes)| {
            let view = TensorView::new(Dtype::F32, vec![values.len()], bytes);
            (*name, view.unwrap())
        });
        let path = self.path(name);
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        path
    }
}

fn diff(a: &Path, b: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tch-init"))
        .arg("diff")
        .args([a, b])
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn reported(output: &Output) -> (Option<i32>, &str) {
    (
        output.status.code(),
        std::str::from_utf8(&output.stdout).unwrap(),
    )
}

/// All that a failure prints.
fn failure(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    std::str::from_utf8(&output.stderr).unwrap()
}

const NEXT: f32 = 1.0 + f32::EPSILON;

#[test]
fn a_table_of_what_differs() {
    let folder = Folder::new();
    let a = folder.write(
        "a",
        &[
            ("same", &[1.0, 2.0]),
            ("w", &[1.0, -0.0, f32::NAN, 3.0]),
            ("x", &[0.0]),
        ],
    );
    let b = folder.write(
        "b",
        &[
            ("same", &[1.0, 2.0]),
            ("w", &[NEXT, 0.0, 5.0, 3.0]),
            ("y", &[0.0]),
        ],
    );
    let output = diff(&a, &b, &[]);
    let expected = " tensor  dtype    shape  differ  max abs  max rel  max ULP
 w       float32  [4]    3 of 4      NaN      NaN      NaN
w: NaN: 1 in A, 0 in B; 1 zero of other sign

worst: w
  Mismatched elements: 3 / 4 (75.0%)
  Greatest absolute difference: nan at index (2,)
  Greatest relative difference: nan at index (2,)
  Greatest ULP distance: only one is NaN at index (2,): nan (0x7fc00000) against 5.0 (0x40a00000)
only in A: x
only in B: y
1 of 2 tensors differs, the others are equal, bit for bit; 1 only in A; 1 only in B
";
    assert_eq!(reported(&output), (Some(1), expected));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn verdicts_by_criterion() {
    let folder = Folder::new();
    let a = folder.write("a", &[("w", &[1.0, 2.0, 3.0])]);
    let b = folder.write("b", &[("w", &[NEXT, 2.0, 3.0])]);
    for (arguments, code) in [
        (vec![], 1),
        (vec!["--bits"], 1),
        (vec!["--ulp", "0"], 1),
        (vec!["--ulp", "1"], 0),
        (vec!["--rtol", "--atol"], 0),
        (vec!["--rtol"], 0),
        (vec!["--rtol", "0"], 1),
        (vec!["--rtol", "1e-8", "--atol", "0"], 1),
        (vec!["--atol", "1e-6"], 0),
    ] {
        let output = diff(&a, &b, &arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
    }
    let same = diff(&a, &a, &[]);
    assert_eq!(
        reported(&same),
        (Some(0), "1 tensor is equal, bit for bit\n")
    );
}

/// A tolerance without a number may stand before the files.
#[test]
fn a_tolerance_does_not_take_a_file_for_its_value() {
    let folder = Folder::new();
    let a = folder.write("a", &[("w", &[1.0, 2.0, 3.0])]);
    let b = folder.write("b", &[("w", &[NEXT, 2.0, 3.0])]);
    let far = folder.write("far", &[("w", &[1.5, 2.0, 3.0])]);
    let run = |arguments: &[&std::ffi::OsStr]| {
        Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .arg("diff")
            .args(arguments)
            .env_remove("RUST_LOG")
            .output()
            .unwrap()
    };
    let (a, b, far) = (a.as_os_str(), b.as_os_str(), far.as_os_str());
    fn flag(text: &'static str) -> &'static std::ffi::OsStr {
        text.as_ref()
    }
    for tolerances in [
        &["--rtol", "--atol"][..],
        &["--atol", "--rtol"],
        &["--rtol"],
        &["--atol"],
        &["--atol", "1e-3", "--rtol"],
        &["--rtol=default", "--atol=1e-6"],
    ] {
        for at in 0..3 {
            let mut arguments = vec![a, b];
            arguments.splice(at..at, tolerances.iter().map(|text| flag(text)));
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
            let mut arguments = vec![a, far];
            arguments.splice(at..at, tolerances.iter().map(|text| flag(text)));
            let output = run(&arguments);
            assert_eq!(
                reported(&output).1.lines().last(),
                Some("1 of 1 tensor differs by more than the tolerance"),
                "{arguments:?}"
            );
        }
    }
    let output = run(&[flag("--rtol"), flag("--atol"), flag("1e-5x"), a, b]);
    let line = failure(&output);
    assert!(
        line.contains("'1e-5x'") && line.contains("expected a number"),
        "{line}"
    );
    let output = run(&[flag("--rtol"), a]);
    assert!(failure(&output).contains("<B>"), "{output:?}");
}

/// A hint that is given to the program pairs the tensors.
#[test]
fn names_that_a_rename_pairs_are_said() {
    let folder = Folder::new();
    let a = folder.write(
        "a",
        &[
            ("module.fc1.weight", &[1.0, 2.0]),
            ("module.fc1.bias", &[1.0]),
            ("module.fc2.weight", &[1.0, 3.0]),
            ("step", &[7.0]),
        ],
    );
    let b = folder.write(
        "b",
        &[
            ("fc1.weight", &[1.0, 2.0]),
            ("fc1.bias", &[1.0]),
            ("fc2.weight", &[1.0, 4.0]),
            ("step", &[7.0]),
        ],
    );
    let output = diff(&a, &b, &[]);
    let (code, text) = reported(&output);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = text.lines().rev().take(2).collect();
    assert_eq!(
        lines,
        [
            "1 tensor is equal, bit for bit; 3 only in A; 3 only in B",
            r"--rename 's/^module\.//' gives 3 more pairs"
        ]
    );
    let json: Value = serde_json::from_str(reported(&diff(&a, &b, &["--json"])).1).unwrap();
    assert_eq!(json["rename"], serde_json::json!([r"s/^module\.//"]));
    let output = diff(&a, &b, &["--rename", json["rename"][0].as_str().unwrap()]);
    let summary = "1 of 4 tensors differs, the others are equal, bit for bit";
    assert_eq!(reported(&output).1.lines().last(), Some(summary));
    // Without a pair it is a part of the error.
    let output = diff(&a, &b, &["--ignore", "step"]);
    let line = failure(&output);
    assert!(
        line.trim_end()
            .ends_with(r": --rename 's/^module\.//' gives 3 more pairs"),
        "{line}"
    );
}

/// The largest finite number is one unit from infinity, and not equal to it.
#[test]
fn infinities_are_equal_only_to_themselves() {
    let folder = Folder::new();
    let inf = f32::INFINITY;
    let max = f32::MAX;
    let a = folder.write("a", &[("w", &[inf, -inf, max, 1.0])]);
    for (values, code) in [
        ([inf, -inf, max, NEXT], 0),
        ([inf, -inf, inf, 1.0], 1),
        ([max, -inf, max, 1.0], 1),
        ([inf, inf, max, 1.0], 1),
        ([inf, -max, max, 1.0], 1),
    ] {
        let b = folder.write("b", &[("w", &values)]);
        for criterion in [
            &["--ulp", "1"][..],
            &["--ulp", "18446744073709551615"],
            &["--rtol"],
        ] {
            let output = diff(&a, &b, criterion);
            assert_eq!(output.status.code(), Some(code), "{values:?} {criterion:?}");
        }
    }
}

#[test]
fn names_are_chosen_and_changed() {
    let folder = Folder::new();
    let a = folder.write(
        "a",
        &[("fc.ws", &[1.0]), ("fc.bs", &[2.0]), ("step", &[7.0])],
    );
    let b = folder.write(
        "b",
        &[("fc.weight", &[1.0]), ("fc.bias", &[2.0]), ("step", &[8.0])],
    );
    let renames = [
        "--rename",
        r"s/\.ws$/.weight/",
        "--rename",
        r"s/\.bs$/.bias/",
    ];
    let code = |more: &[&str]| diff(&a, &b, &[&renames, more].concat()).status.code();
    assert_eq!(code(&[]), Some(1));
    assert_eq!(code(&["--ignore", "step"]), Some(0));
    assert_eq!(code(&["--only", "fc.*"]), Some(0));
    assert_eq!(code(&["--only", "st?p"]), Some(1));
    let unused = diff(&a, &b, &["--only", "step", "--ignore", "gone*"]);
    assert_eq!(
        std::str::from_utf8(&unused.stderr).unwrap(),
        "[WARN ] --ignore 'gone*' matches no tensor\n"
    );
    let collision = diff(&a, &b, &["--rename", "s/.*/x/"]);
    let nothing = diff(&a, &b, &["--only", "gone"]);
    let (a, b) = (a.display(), b.display());
    let line = format!(
        "tch-init: actual {a}, expected {b}: actual: \"fc.bs\" and \"fc.ws\" both have the name \"x\" after renaming\n"
    );
    assert_eq!(failure(&collision), line);
    let lines = format!(
        "[WARN ] --only 'gone' matches no tensor
tch-init: {a} and {b} have no tensor of the same name after --rename, --only and --ignore
"
    );
    assert_eq!(failure(&nothing), lines);
}

#[test]
fn bad_input_is_one_line() {
    let folder = Folder::new();
    let a = folder.write("a", &[("w", &[1.0])]);
    let text = folder.path("text");
    std::fs::write(&text, "hello").unwrap();
    let gone = folder.path("gone");
    let (a_path, text_path, gone_path) = (a.display(), text.display(), gone.display());
    for (b, arguments, line) in [
        (
            &text,
            vec![],
            format!("{text_path}: not a tensor file (it starts with the bytes 68 65 6c 6c 6f); supported formats are safetensors, an index of shards, npz, npy, .ot, TorchScript and torch.save"),
        ),
        (
            &gone,
            vec![],
            format!("{gone_path}: cannot be read: No such file or directory (os error 2)"),
        ),
        (
            &a,
            vec!["--rename", "x"],
            "--rename 'x' is not of the form s/PATTERN/REPLACEMENT/".to_owned(),
        ),
        (
            &a,
            vec!["--rename", "s/(/x/"],
            "--rename 's/(/x/': the pattern is not a regular expression: unclosed group".to_owned(),
        ),
        (
            &a,
            vec!["--only", "[a"],
            "--only '[a' is not a pattern: unclosed character class; missing ']'".to_owned(),
        ),
        (
            &a,
            vec!["--rtol", "-1"],
            format!("actual {a_path}, expected {a_path}: rtol must be greater than or equal to zero, but is -1"),
        ),
        (
            &a,
            vec!["--ulp", "1", "--bits"],
            "the argument '--ulp <N>' cannot be used with '--bits'; try `tch-init --help`".to_owned(),
        ),
        (
            &a,
            vec!["--ulp", "1", "--rtol", "1"],
            "the argument '--rtol [<X>]' cannot be used with: --bits --ulp <N>; try `tch-init --help`".to_owned(),
        ),
        (
            &a,
            vec!["--equal-nan"],
            "--equal-nan and --no-check-dtype need --rtol or --atol".to_owned(),
        ),
        (
            &a,
            vec!["--ulp", "x"],
            "invalid value 'x' for '--ulp <N>': invalid digit found in string; try `tch-init --help`".to_owned(),
        ),
    ] {
        let output = diff(&a, b, &arguments);
        assert_eq!(failure(&output), format!("tch-init: {line}\n"), "{arguments:?}");
    }
}

#[test]
fn json_is_exact() {
    let folder = Folder::new();
    let a = folder.write("a", &[("w", &[1.0, f32::INFINITY])]);
    let b = folder.write("b", &[("w", &[NEXT, 1.0])]);
    let output = diff(&a, &b, &["--json"]);
    let (code, text) = reported(&output);
    assert_eq!(code, Some(1));
    let reported: Value = serde_json::from_str(text).unwrap();
    assert_eq!(reported["same"], false);
    let w = &reported["tensors"][0];
    assert_eq!(
        (&w["bits_differ"], &w["inf_a"], &w["inf_b"]),
        (&2.into(), &1.into(), &0.into())
    );
    assert_eq!(w["max_abs"]["difference"], "inf");
    assert_eq!(w["max_abs"]["index"], serde_json::json!([1]));
    assert_eq!(w["max_abs"]["b"], 1.0);
    assert_eq!(diff(&a, &b, &["--json"]).stdout, output.stdout);
}
