//! Damaged and hostile files: each error is one line that names the file, the problem and what to
//! do.

mod arrays;
mod folders;
mod safetensors;
mod torch;

use crate::build::stored;
use crate::stored::path;
use tensor_parity::file::{FileError, TensorFile};

/// The line that the program prints: the error and its sources, or the members that are left out.
fn message(path: &str, result: Result<TensorFile, FileError>) -> String {
    let error = match result {
        Ok(file) => {
            let members: Vec<_> = file
                .left_out()
                .iter()
                .map(|member| member.to_string())
                .collect();
            let names: String = file.names().map(|name| format!("reads {name}; ")).collect();
            let message = format!("{path}: {names}not compared: {}", members.join(" | "));
            assert!(!message.contains(char::is_control), "{message:?}");
            return message;
        }
        Err(error) => error,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        message += &format!(": {error}");
        source = error.source();
    }
    assert!(!message.contains(char::is_control), "{message:?}");
    message
}

/// Checks the messages of cases: the name of a file, its content, and the message after the name.
fn check(cases: &[(&str, Vec<u8>, &str)]) {
    let mut wrong = Vec::new();
    for (name, bytes, expected) in cases {
        let message = message(name, TensorFile::from_bytes(name, &bytes[..]));
        let expected = format!("{name}: {expected}");
        if message != expected {
            wrong.push(format!("expected {expected}\n     got {message}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The message of a damaged file.
macro_rules! damaged {
    ($text:literal) => {
        concat!("damaged ", $text, "; write or download it again")
    };
}

/// The message of a file that is not a tensor file.
macro_rules! unknown {
    ($text:literal) => {
        concat!(
            "not a tensor file (",
            $text,
            "); supported formats are safetensors, an index of shards, npz, npy, .ot, TorchScript \
             and torch.save"
        )
    };
}

use {damaged, unknown};

#[test]
fn files_without_tensors_are_refused() {
    let png = b"\x89PNG\r\n\x1a\n....".to_vec();
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid".to_vec();
    check(&[
        ("a.pt", vec![], unknown!("it is empty")),
        (
            "a.npy",
            png,
            unknown!("it starts with the bytes 89 50 4e 47 0d 0a 1a 0a"),
        ),
        ("a.bin", vec![7], unknown!("it starts with the bytes 07")),
        (
            "a.pt",
            b"<!DOCTYPE html><title>404</title>".to_vec(),
            unknown!("an HTML or XML page, as a server sends instead of a file: download it again"),
        ),
        (
            "a.pt.gz",
            b"\x1f\x8b\x08\0".to_vec(),
            unknown!("compressed with gzip: decompress it first"),
        ),
        (
            "a.pt.zst",
            b"\x28\xb5\x2f\xfd\0".to_vec(),
            unknown!("compressed with Zstandard: decompress it first"),
        ),
        (
            "a.npz.xz",
            b"\xfd7zXZ\0".to_vec(),
            unknown!("compressed with xz: decompress it first"),
        ),
        (
            "a.gguf",
            b"GGUF\x03\0\0\0".to_vec(),
            unknown!("a GGUF file"),
        ),
        (
            "a.h5",
            b"\x89HDF\r\n\x1a\n".to_vec(),
            unknown!("an HDF5 file"),
        ),
        (
            "__0_0.distcp",
            stored(&[("a/data.pkl", b"N.")]),
            unknown!(
                "a part of a folder of torch.distributed.checkpoint: write it as one file with \
                 python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt"
            ),
        ),
        (
            "a.safetensors",
            lfs.clone(),
            unknown!("a Git LFS pointer: fetch the file itself with git lfs pull"),
        ),
        (
            "a.pt",
            lfs,
            unknown!("a Git LFS pointer: fetch the file itself with git lfs pull"),
        ),
        (
            "a.zip",
            stored(&[("a.txt", b"text")]),
            unknown!("a zip archive that neither numpy nor PyTorch wrote"),
        ),
        (
            "a.json",
            b"{\"a\": 1}".to_vec(),
            unknown!("text, but not an index: missing field `weight_map` at line 1 column 8"),
        ),
        (
            "a.json",
            b" [1]".to_vec(),
            unknown!("it starts with the bytes 20 5b 31 5d"),
        ),
        (
            "a.pkl",
            b"\x80\x04\x95\x00".to_vec(),
            unknown!(
                "a pickle without an archive, which only Python can read: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")"
            ),
        ),
        (
            "a.pt",
            std::fs::read(path("legacy.pt")).unwrap(),
            "reads fc.weight; reads fc.tied; reads norm.steps; not compared: ",
        ),
    ]);
}
