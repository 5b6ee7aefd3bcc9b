//! Damaged and hostile files: one line each, that says where, what, and what to do.

mod arrays;
mod folders;
mod safetensors;
mod torch;

use crate::build::stored;
use crate::stored::path;
use tensor_parity::file::{FileError, TensorFile};

fn message(result: Result<TensorFile, FileError>) -> String {
    let message = result.map(|file| file.len()).unwrap_err().to_string();
    assert!(!message.contains(char::is_control), "{message:?}");
    message
}

/// Each case: the file's name, its content, and what is said after the name.
fn check(cases: &[(&str, Vec<u8>, &str)]) {
    let mut wrong = Vec::new();
    for (name, bytes, expected) in cases {
        let message = message(TensorFile::from_bytes(name, &bytes[..]));
        let expected = format!("{name}: {expected}");
        if message != expected {
            wrong.push(format!("expected {expected}\n     got {message}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What most messages end with.
macro_rules! again {
    ($text:literal) => {
        concat!("damaged ", $text, "; write it again or fetch it again")
    };
}

macro_rules! unknown {
    ($text:literal) => {
        concat!(
            "not a file of tensors (",
            $text,
            "); readable are safetensors, an index of shards, npz, npy, .ot, TorchScript and \
             torch.save files"
        )
    };
}

use {again, unknown};

#[test]
fn contents_that_are_no_tensors() {
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
            unknown!("a zip archive of neither arrays nor PyTorch's"),
        ),
        (
            "a.json",
            b"{\"a\": 1}".to_vec(),
            unknown!("text, but no index: missing field `weight_map` at line 1 column 8"),
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
                "a pickle outside of an archive, which only Python reads: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")"
            ),
        ),
        (
            "a.pt",
            std::fs::read(path("legacy.pt")).unwrap(),
            unknown!(
                "torch.save of before PyTorch 1.6, a pickle that only Python reads: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")"
            ),
        ),
    ]);
}
