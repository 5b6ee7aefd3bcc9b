//! A logger may draw: no message is logged while a generator is locked, or while something is initialized once that a
//! draw needs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};
use tch_init::init;

const THIS_TEST: &str = "logging::a_logger_that_draws_from_the_same_generator_does_not_deadlock";
/// Set in the process that draws.
const DRAWS: &str = "TCH_INIT_TEST_DRAWS";

/// Draws from the default generator for each message, and prints it.
struct DrawingLogger;

impl log::Log for DrawingLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut values = Tensor::zeros([20], (Kind::Float, Device::Cpu));
        init::uniform_(&mut values, 0.0, 1.0, None).unwrap();
        eprintln!("logged: {}", record.args());
    }

    fn flush(&self) {}
}

/// Draws that log: a new process has no memory that was used before, unknown values of two variables, and no address
/// space for the stacks of other threads.
fn draws_that_log() {
    log::set_logger(&DrawingLogger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    for _ in 0..2 {
        let mut values = Tensor::empty([1 << 25], (Kind::Float, Device::Cpu));
        init::uniform_(&mut values, 0.0, 1.0, None).unwrap();
        assert!(values.max().double_value(&[]) > 0.0);
    }
    let mut invalid = Tensor::zeros([20], (Kind::Float, Device::Cpu));
    assert!(init::uniform_(&mut invalid, 1.0, 0.0, None).is_err());
}

#[test]
fn a_logger_that_draws_from_the_same_generator_does_not_deadlock() {
    if std::env::var_os(DRAWS).is_some() {
        return draws_that_log();
    }
    // On one thread, since the stacks of others do not fit.
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS_TEST, "--test-threads=1", "--nocapture"])
        .env(DRAWS, "1")
        .env("TCH_INIT_BACKEND", "unknown,scalar,avx2")
        .env("TCH_INIT_HUGE_PAGES", "unknown")
        .env("RUST_MIN_STACK", (1u64 << 46).to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(status.is_some(), "deadlock after:\n{stderr}");
    assert!(output.status.success(), "{stderr}");
    // The other two lines depend on the machine: threads, and the system's text.
    for line in [
        "logged: TCH_INIT_BACKEND: unknown name \"unknown\", use some of scalar, avx2, avx512, libtorch",
        "logged: TCH_INIT_HUGE_PAGES: unknown value \"unknown\", use 0 or 1",
        "logged: left to libtorch: uniform_: from = 1 and to = 0 must be finite float32 values with from <= to and a finite difference",
    ] {
        assert!(
            stderr.lines().any(|found| found == line),
            "{line}\nnot in:\n{stderr}"
        );
    }
    if std::thread::available_parallelism().unwrap().get() > 1 {
        let begin = "logged: cannot start a thread, drawing with fewer: ";
        assert!(
            stderr.lines().any(|found| found.starts_with(begin)),
            "{stderr}"
        );
    }
}
