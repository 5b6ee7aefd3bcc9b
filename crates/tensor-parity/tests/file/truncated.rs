//! Files that become shorter while they are open. A mapped page beyond the end of its file raises
//! SIGBUS, which would end the test program.
#![cfg(unix)]

use crate::build::safetensors;
use std::error::Error;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use tensor_parity::compare::{Compare, CompareError, Comparison, Criterion};
use tensor_parity::file::{FileError, TensorFile};

/// Elements of more than one piece and many pages.
const BYTES: usize = 1 << 20;

fn write(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let header =
        format!("{{\"w\":{{\"dtype\":\"U8\",\"shape\":[{BYTES}],\"data_offsets\":[0,{BYTES}]}}}}");
    std::fs::write(&path, safetensors(&header, &vec![1; BYTES])).unwrap();
    path
}

fn set_length(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
}

fn truncated(error: &CompareError) -> (u64, u64) {
    let CompareError::Tensor { name, source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(name, "w");
    assert!(error.source().is_some());
    match source.get_ref().downcast_ref() {
        Some(FileError::Truncated { opened, now, .. }) => (*opened, *now),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_truncated_before_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| write(folder.path(), name));
    let [a, b] = paths.each_ref().map(|path| TensorFile::open(path).unwrap());
    let length = std::fs::metadata(&paths[1]).unwrap().len();
    assert!(b.check_length().is_ok());
    set_length(&paths[1], 100);

    let error = Comparison::new(&a, &b, Criterion::Bits).unwrap_err();
    assert_eq!(truncated(&error), (length, 100));
    assert_eq!(error.to_string(), "expected: tensor \"w\" cannot be read");
    let expected = format!(
        "{}: truncated from {length} to 100 bytes while it was open; do not change a file that is \
         being read",
        paths[1].display()
    );
    assert_eq!(error.source().unwrap().to_string(), expected);
    assert_eq!(b.check_length().unwrap_err().to_string(), expected);
}

/// The last page of a truncated file reads as zeros, without a signal: the result is not trusted.
#[test]
fn a_file_truncated_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| write(folder.path(), name));
    let [a, b] = paths.each_ref().map(|path| TensorFile::open(path).unwrap());
    let length = std::fs::metadata(&paths[0]).unwrap().len();
    let error = Compare::new(Criterion::Bits)
        .progress(|_| set_length(&paths[0], length - 1))
        .run(&a, &b)
        .unwrap_err();
    assert_eq!(truncated(&error), (length, length - 1));
}

#[test]
fn a_file_that_grows_or_is_replaced_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| write(folder.path(), name));
    let [a, b] = paths.each_ref().map(|path| TensorFile::open(path).unwrap());
    set_length(&paths[0], 2 * BYTES as u64);
    std::fs::write(folder.path().join("short"), "short").unwrap();
    std::fs::rename(folder.path().join("short"), &paths[1]).unwrap();
    assert!(a.check_length().is_ok());
    assert!(Comparison::new(&a, &b, Criterion::Bits).unwrap().is_same());
}
