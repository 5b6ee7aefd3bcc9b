//! What is left when `tch-init materialize` does not come to its end, and what it needs until then.

use super::build::Builder;
use super::program::{failure, files, folder, program};
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tch_init::file::TensorFile;

/// 64 MiB of weights.
fn large() -> Builder {
    let mut plan = Builder::default();
    for i in 0..8 {
        let tensor = plan.tensor("float32", &[1 << 11, 1 << 10]);
        plan.step(json!(["normal_", tensor, 0.0, 1.0]))
            .parameter(&i.to_string(), tensor);
    }
    plan
}

/// A limit on the size of files stands for a disk that is full: both fail a write.
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let (folder, plan, weights) = folder(&large());
    fs::write(&weights, "old").unwrap();
    let mut shell = Command::new("sh");
    // In blocks of 512 or 1024 bytes.
    shell.args([
        "-c",
        r#"trap "" XFSZ; ulimit -f 4096; exec "$@""#,
        "sh",
        env!("CARGO_BIN_EXE_tch-init"),
    ]);
    let output = shell
        .arg("materialize")
        .arg(&plan)
        .args(["--seed", "1", "-o"])
        .arg(&weights)
        .output()
        .unwrap();
    let refused = failure(&output);
    assert!(
        refused.contains("weights.safetensors: cannot be written: File too large"),
        "{refused}"
    );
    assert_eq!(fs::read(&weights).unwrap(), b"old");
    assert_eq!(files(&folder), ["a.plan.json", "weights.safetensors"]);
}

#[test]
fn a_killed_run_leaves_the_old_file() {
    let (folder, plan, weights) = folder(&large());
    fs::write(&weights, "old").unwrap();
    let mut killed_while_writing = false;
    for wait in [0, 4 << 20, 16 << 20, 40 << 20] {
        let mut child = program()
            .arg("materialize")
            .arg(&plan)
            .args(["--seed", "1", "-o"])
            .arg(&weights)
            .spawn()
            .unwrap();
        let started = Instant::now();
        // Until so much stands in the temporary file.
        let written = loop {
            let temporary = files(&folder)
                .into_iter()
                .find(|name| name.ends_with(".tmp"));
            let length = temporary
                .and_then(|name| fs::metadata(folder.path().join(name)).ok())
                .map(|file| file.len());
            if length.is_some_and(|length| length >= wait) || child.try_wait().unwrap().is_some() {
                break length;
            }
            assert!(started.elapsed() < Duration::from_secs(120));
        };
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if !status.success() {
            assert_eq!(
                fs::read(&weights).unwrap(),
                b"old",
                "killed with {written:?} bytes written"
            );
            killed_while_writing = true;
        } else {
            // It was faster than the kill.
            assert_eq!(TensorFile::open(&weights).unwrap().len(), 8);
            fs::write(&weights, "old").unwrap();
        }
        for name in files(&folder).iter().filter(|name| name.ends_with(".tmp")) {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
    }
    assert!(killed_while_writing);
    assert_eq!(files(&folder), ["a.plan.json", "weights.safetensors"]);
}

/// The most memory that a program has held when it has written `file`, in bytes.
fn peak(mut command: Command, file: &Path) -> u64 {
    // Its last act is to say so, which it cannot as long as the pipe is full: it waits to be asked.
    let (mut said, mut full) = std::io::pipe().unwrap();
    full.write_all(&[0; 1 << 16]).unwrap();
    let mut child = command.stdout(full).spawn().unwrap();
    while !file.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended without");
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    // The end of the pipe that is not the program's.
    drop(command);
    said.read_to_end(&mut Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap() * 1024
}

/// A few buffers, beyond what the program is with none, however large the tensors are: also where every tensor is a
/// quarter of them, is drawn over, and is cast.
#[test]
fn memory_does_not_grow_with_the_tensors() {
    let of = |rows: u64| {
        let mut plan = Builder::default();
        for i in 0..4 {
            let tensor = plan.tensor("float32", &[rows, 1 << 12]);
            plan.step(json!(["uniform_", tensor, 0.0, 1.0]))
                .step(json!(["normal_", tensor, 0.0, 1.0]))
                .step(json!(["trunc_normal_", tensor, 0.0, 1.0, -2.0, 2.0]))
                .parameter(&i.to_string(), tensor);
        }
        let (_folder, path, weights) = folder(&plan);
        let mut command = program();
        command
            .arg("materialize")
            .arg(&path)
            .arg("-o")
            .arg(&weights);
        command.args(["--seed", "1", "--dtype", "bfloat16"]);
        peak(command, &weights)
    };
    let (without, with) = (of(1), of(1 << 12));
    // 256 MiB of them.
    assert!(with < without + (80 << 20), "{with} and {without} bytes");
}
