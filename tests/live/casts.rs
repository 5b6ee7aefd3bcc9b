//! `explain` of a model that was cast, or made in another dtype, as PyTorch does either.

use crate::common::run_script;
use serde_json::Value;
use std::process::Command;

struct Casts(tempfile::TempDir);

impl Casts {
    fn new() -> Casts {
        let folder = tempfile::tempdir().unwrap();
        run_script("tests/python/casts.py", [folder.path()]);
        Casts(folder)
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .current_dir(self.0.path())
            .arg("explain")
            .args(arguments)
            .args(["--other-seeds", "100"])
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    /// The findings of every tensor that is not equal: ids, and the finding.
    fn findings(&self, arguments: &[&str]) -> Vec<(String, Vec<Value>)> {
        let (_, text) = self.run(&[arguments, &["--json"]].concat());
        let json: Value = serde_json::from_str(&text).unwrap();
        let tensors = json["tensors"].as_array().unwrap();
        let differing = tensors.iter().filter(|tensor| tensor["equal"] == false);
        differing
            .map(|tensor| {
                let findings = tensor["findings"].as_array().unwrap();
                (
                    tensor["tensor"].as_str().unwrap().to_owned(),
                    findings.clone(),
                )
            })
            .collect()
    }

    /// Every tensor that differs is the other, rounded through `through`, and nothing else.
    fn assert_cast(&self, arguments: &[&str], through: &str, whose: &str, least: usize) {
        let found = self.findings(arguments);
        assert!(
            found.len() >= least,
            "{arguments:?}: only {} differ",
            found.len()
        );
        for (tensor, findings) in found {
            let label = format!("{arguments:?}, {tensor}: {findings:?}");
            assert_eq!(findings.len(), 1, "{label}");
            let finding = &findings[0];
            assert_eq!(finding["id"], "rounded", "{label}");
            // Dtypes of 8 bits that differ in their range only leave the same values.
            let or = finding["or"].as_array();
            let alike = or.is_some_and(|or| or.iter().any(|dtype| dtype == through));
            assert!(alike || finding["through"] == through, "{label}");
            assert_eq!(finding["whose"], whose, "{label}");
            assert_eq!(finding["drawn"], false, "{label}");
        }
    }
}

const FLOATS: usize = 18;

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn a_cast_model_is_a_cast_of_every_tensor() {
    let casts = Casts::new();
    let reference = "made_float32.safetensors";
    let layers = ["--layers", "print.txt", "--seed", "42"];
    for dtype in [
        "bfloat16",
        "float16",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
    ] {
        let yours = format!("cast_{dtype}.safetensors");
        casts.assert_cast(&[&yours, reference], dtype, "yours", FLOATS);
        casts.assert_cast(
            &[&[yours.as_str()], &layers[..]].concat(),
            dtype,
            "yours",
            FLOATS,
        );
        casts.assert_cast(&[reference, &yours], dtype, "reference", FLOATS);
        // There and back only drawn tensors change; ones and zeros are equal.
        let back = format!("back_{dtype}.safetensors");
        casts.assert_cast(&[&back, reference], dtype, "yours", 8);
    }
    let wide = "cast_float64.safetensors";
    casts.assert_cast(&[wide, reference], "float32", "reference", FLOATS);
    casts.assert_cast(&[reference, wide], "float32", "yours", FLOATS);
    casts.assert_cast(
        &["ints.safetensors", "hundred.safetensors"],
        "int64",
        "yours",
        FLOATS,
    );
}

#[test]
#[ignore = "needs the Python reference: run `make test`"]
fn a_model_made_in_another_dtype_is_said_with_its_flag() {
    let casts = Casts::new();
    let layers = ["--layers", "print.txt", "--seed", "42"];
    for dtype in ["bfloat16", "float16", "float64"] {
        let yours = format!("made_{dtype}.safetensors");
        let by_layers = [&[yours.as_str()], &layers[..]].concat();
        let (code, text) = casts.run(&by_layers);
        assert_eq!(code, Some(1), "{text}");
        let flag = format!("drawn in {dtype}: --dtype {dtype} draws the model of --layers in it");
        assert!(text.contains(&flag), "{text}");
        assert!(!text.contains("no hypothesis fits"), "{text}");
        for (tensor, findings) in casts.findings(&by_layers) {
            let ids: Vec<&str> = findings.iter().filter_map(|f| f["id"].as_str()).collect();
            assert!(
                ids == ["rounded"] || ids.contains(&"drawn-in"),
                "{dtype}, {tensor}: {findings:?}"
            );
        }
        // With the flag all is equal.
        let (code, text) = casts.run(&[&by_layers[..], &["--dtype", dtype]].concat());
        assert_eq!(code, Some(0), "{text}");
        // And the other way round.
        let reversed = [
            &["made_float32.safetensors"],
            &layers[..],
            &["--dtype", dtype],
        ]
        .concat();
        let (_, text) = casts.run(&reversed);
        assert!(
            text.contains("drawn in float32: --dtype float32 draws"),
            "{text}"
        );
        // Two files: the reference has to be made again.
        let (_, text) = casts.run(&[&yours, "made_float32.safetensors", "--seed", "42"]);
        let advice = format!("the reference has to be made in it (dtype=torch.{dtype})");
        assert!(text.contains(&advice), "{text}");
    }
    for dtype in ["bfloat16", "float16"] {
        let yours = format!("widened_{dtype}.safetensors");
        let (_, text) = casts.run(&[&[yours.as_str()], &layers[..]].concat());
        assert!(text.contains(&format!("--dtype {dtype}")), "{text}");
    }
}
