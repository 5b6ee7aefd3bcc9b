//! The table of all benches, printed and saved in `target/bench.json` and `target/bench.svg`.

mod chart;

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub ours_ns: f64,
    /// The time of Python's PyTorch, or of the program that the name mentions; 0 if there is none.
    pub torch_ns: f64,
    pub ratio: f64,
    pub threads: i32,
    /// The most bytes in memory, and the size of the file that was read, if they were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
}

pub fn print_head() {
    println!(
        "{:38} {:>2} {:>10} {:>10} {:>8}",
        "", "th", "ours", "PyTorch", "ratio"
    );
}

/// A time with a unit; nothing for 0.
fn time(ns: f64) -> String {
    if ns == 0.0 {
        return String::new();
    }
    let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let fits = |(_, size): &&(&str, f64)| ns < 1e3 * size;
    let (unit, size) = units.iter().find(fits).unwrap_or(&units[3]);
    format!("{:.2} {unit}", ns / size)
}

/// Makes a line and prints it.
pub fn row(name: impl Into<String>, ours_ns: f64, torch_ns: f64, threads: i32) -> Row {
    let row = Row {
        name: name.into(),
        ours_ns,
        torch_ns,
        ratio: torch_ns / ours_ns,
        threads,
        bytes: None,
    };
    println!(
        "{:38} {:2} {:>10} {:>10} {:>8.2}",
        row.name,
        row.threads,
        time(row.ours_ns),
        time(row.torch_ns),
        row.ratio
    );
    row
}

#[allow(dead_code, reason = "not all benches measure memory")]
pub fn print_memory_head() {
    println!(
        "{:38} {:>2} {:>10} {:>10} {:>10}",
        "", "th", "ours", "peak, MB", "file, MB"
    );
}

/// Makes a line of a program whose memory was measured, and prints it.
#[allow(dead_code, reason = "not all benches measure memory")]
pub fn memory_row(name: &str, ours_ns: f64, bytes: (u64, u64), threads: i32) -> Row {
    let [peak, file] = [bytes.0, bytes.1].map(|bytes| bytes as f64 / 1e6);
    let ours = time(ours_ns);
    println!("{name:38} {threads:2} {ours:>10} {peak:>10.0} {file:>10.0}");
    Row {
        name: name.to_owned(),
        ours_ns,
        torch_ns: 0.0,
        ratio: 0.0,
        threads,
        bytes: Some(bytes),
    }
}

/// Saves the rows in the files, replacing rows of the same name and number of threads.
pub fn save(rows: Vec<Row>) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let json = target.join("bench.json");
    let mut all: Vec<Row> = std::fs::read(&json)
        .ok()
        .and_then(|earlier| serde_json::from_slice(&earlier).ok())
        .unwrap_or_default();
    for row in rows {
        let same = |known: &&mut Row| (&known.name, known.threads) == (&row.name, row.threads);
        match all.iter_mut().find(same) {
            Some(known) => *known = row,
            None => all.push(row),
        }
    }
    let text = serde_json::to_string_pretty(&all).unwrap();
    std::fs::write(json, text + "\n").unwrap();
    std::fs::write(target.join("bench.svg"), chart::svg(&all)).unwrap();
}

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The interpreter of the Python reference.
#[allow(dead_code, reason = "a bench without libtorch is without Python")]
pub fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("TCH_INIT_PYTHON").map_or_else(|| root.join(".venv/bin/python"), PathBuf::from)
}
