//! Writes `tests/data/golden.json`, or checks that PyTorch still fills as it did when the file was written.

use crate::common::case::Case;
use crate::common::reference;
use crate::golden::{FILE, cases, digest, hex};
use serde_json::{Value, json};

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn write_the_golden_file() {
    let cases = cases();
    let requests: Vec<Value> = cases.iter().map(Case::json).collect();
    let lines: Vec<String> = requests
        .iter()
        .zip(reference::expected(&requests))
        .map(|(request, expected)| {
            let chunks = &expected.chunks;
            let entry = json!({
                "case": request,
                "error": expected.error.map(|(kind, _)| kind),
                "values": hex(&chunks[0]),
                "state": format!("{:016x}", digest(&chunks[1])),
            });
            entry.to_string()
        })
        .collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var_os("TCH_INIT_WRITE_GOLDEN").is_some() {
        std::fs::write(FILE, text).unwrap();
    } else {
        // PyTorch still fills as it did when the file was written, LAPACK's last bits apart.
        let lapack = |line: &&str| !line.contains("orthogonal_");
        let stored = std::fs::read_to_string(FILE).unwrap();
        assert!(
            stored
                .lines()
                .filter(lapack)
                .eq(text.lines().filter(lapack))
        );
    }
}
