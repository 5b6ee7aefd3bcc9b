//! The program against the Python program, to the letter.

use crate::common::python;
use std::process::Command;

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn the_demo_prints_what_the_python_program_prints() {
    for (seed, input_size) in [
        ("1", "4"),
        ("0", "1"),
        ("-3", "7"),
        ("18446744073709551615", "784"),
    ] {
        let theirs = Command::new(python())
            .args([
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/program.py"),
                seed,
                input_size,
            ])
            .env("PYTHONIOENCODING", "utf-8")
            .output()
            .unwrap();
        assert!(
            theirs.status.success(),
            "{}",
            String::from_utf8_lossy(&theirs.stderr)
        );
        let ours = Command::new(env!("CARGO_BIN_EXE_tch-init"))
            .args(["demo", "--seed", seed, "--input-size", input_size])
            .output()
            .unwrap();
        assert!(
            ours.status.success(),
            "{}",
            String::from_utf8_lossy(&ours.stderr)
        );
        assert_eq!(
            String::from_utf8_lossy(&ours.stdout),
            String::from_utf8_lossy(&theirs.stdout),
            "seed {seed}, input size {input_size}"
        );
    }
}
