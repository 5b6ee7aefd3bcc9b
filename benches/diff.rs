//! The speed of comparing large files, and of reading them from the page cache.
//!
//! `cargo bench --bench diff` writes two files of `TCH_INIT_BENCH_MB` (512) MB each to the folder
//! for temporary files, which differ in their last element, and prints both speeds, their ratio
//! and the peak memory of the process.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch_init::file::TensorFile;
use tch_init::parity::{Comparison, Criterion};

/// Tensors in a file.
const TENSORS: usize = 16;

/// Rounds, of which the median is taken.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: usize = match std::env::var("TCH_INIT_BENCH_MB") {
        Ok(size) => size.parse()?,
        Err(_) => 512,
    };
    let folder = tempfile::tempdir()?;
    let elements = megabytes * 1_000_000 / 4 / TENSORS;
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let a = write(&a, elements, 0.0)?;
    let b = write(&b, elements, 1.0)?;
    let bytes = (2 * elements * 4 * TENSORS) as f64;

    let (mut reading, mut comparing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        read(&a)?;
        read(&b)?;
        reading.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let (a, b) = (TensorFile::open(&a)?, TensorFile::open(&b)?);
        let comparison = Comparison::new(&a, &b, Criterion::Bits)?;
        comparing.push(start.elapsed().as_secs_f64());
        assert_eq!(comparison.differing(), 1, "one element differs");
    }
    let (reading, comparing) = (median(reading), median(comparing));
    println!("two files of {megabytes} MB, median of {ROUNDS}");
    println!("read   {:6.2} GB/s", bytes / reading / 1e9);
    println!(
        "diff   {:6.2} GB/s, {:.2} of reading",
        bytes / comparing / 1e9,
        reading / comparing
    );
    if let Some(memory) = greatest_memory() {
        println!("memory {memory}");
    }
    Ok(())
}

/// Writes safetensors piece by piece, since the files are too large for memory.
fn write(path: &Path, elements: usize, last: f32) -> std::io::Result<PathBuf> {
    let path = path.with_extension("safetensors");
    let entries: Vec<String> = (0..TENSORS)
        .map(|i| {
            let (start, end) = (i * elements * 4, (i + 1) * elements * 4);
            format!(
                r#""t{i:02}":{{"dtype":"F32","shape":[{elements}],"data_offsets":[{start},{end}]}}"#
            )
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let total = elements * TENSORS;
    for i in 0..total {
        let value = if i + 1 == total { last } else { i as f32 };
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()?;
    Ok(path)
}

/// Reads sequentially through a small buffer.
fn read(path: &Path) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut file = File::open(path)?;
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// `VmHWM` of Linux.
fn greatest_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.trim_start_matches("VmHWM:").trim().to_owned())
}
