//! Recorded operations, run again here.

use op_trace::{Trace, Value};
use std::path::{Path, PathBuf};
use std::process::Command;
use tch_init::trace::replay::Replay;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> PathBuf {
    std::env::var_os("TCH_INIT_PYTHON")
        .map_or_else(|| root().join(".venv/bin/python"), PathBuf::from)
}

/// All operations of the programs, draws included, give the bits of the trace.
#[test]
#[ignore = "needs PyTorch"]
fn operations_give_the_same_bits_again() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python())
        .arg(root().join("tests/python/trace/plant.py"))
        .arg(folder.path())
        .arg("--originals")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for name in ["mlp", "lenet", "cnn", "lstm", "gpt", "gan", "tiny"] {
        let path = folder.path().join(format!("{name}.trace"));
        let trace = Trace::read(&path).unwrap();
        let mut replay = Replay::new(&path, &trace).unwrap();
        replay.start();
        replay
            .run_before(trace.len())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(replay.other_bits(), [0usize; 0], "{name}");
        // Each alone, with what it needs only.
        for index in (0..trace.len()).step_by(trace.len() / 12 + 1) {
            let call = replay
                .call(index)
                .unwrap_or_else(|error| panic!("{name}: {index}: {error}"));
            let computed = call.run().unwrap();
            let mut results = call.operation.results.iter().flat_map(Value::tensors);
            if results.any(|(_, tensor)| tensor.hash.is_some()) {
                assert!(
                    computed.has_results_of(&call.operation),
                    "{name}: {:?}",
                    call.operation
                );
            }
        }
    }
}
