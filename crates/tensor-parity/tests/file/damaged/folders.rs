//! Indexes, directories and paths.

use super::{again, message, unknown};
use crate::build::{array, safetensors};
use std::path::Path;
use tensor_parity::file::TensorFile;

type Files<'a> = &'a [(&'a str, &'a [u8])];

/// A file is written where it says, in a folder of its own.
fn folder(files: Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Opens a path in the folder; the message without the folder.
fn opened(folder: &Path, name: &str) -> String {
    let path = if name.is_empty() {
        folder.to_owned()
    } else {
        folder.join(name)
    };
    let message = message(TensorFile::open(path));
    message
        .replace(&format!("{}/", folder.display()), "")
        .replace(&folder.display().to_string(), ".")
}

fn one_tensor(name: &str) -> Vec<u8> {
    let header =
        format!("{{\"{name}\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}}}");
    safetensors(&header, &[1])
}

#[test]
fn indexes() {
    let map = |entries: &str| format!("{{\"weight_map\":{{{entries}}}}}").into_bytes();
    let cases = [
        (
            map("\"w\":\"none.safetensors\""),
            concat!(
                "i.json: ",
                again!(
                    "index file: `none.safetensors`: the file is not in the folder of the index"
                )
            ),
        ),
        (
            map("\"v\":\"a.safetensors\""),
            concat!(
                "i.json: ",
                again!(
                    "index file: `v`: it says that `a.safetensors` has this tensor, and it has not"
                )
            ),
        ),
        (
            map("\"w\":\"../a.safetensors\""),
            "i.json: `../a.safetensors`: it points outside of its own folder; put the files beside the index and name them so",
        ),
        (
            map("\"w\":\"/etc/passwd\""),
            "i.json: `/etc/passwd`: it points outside of its own folder; put the files beside the index and name them so",
        ),
        (
            map("\"w\":\"./a.safetensors\""),
            "i.json: `./a.safetensors`: it points outside of its own folder; put the files beside the index and name them so",
        ),
        (
            map("\"w\":\"\""),
            "i.json: ``: it points outside of its own folder; put the files beside the index and name them so",
        ),
        (
            map("\"w\":\"a\\u0000b\""),
            "i.json: `a\\u{0}b`: it points outside of its own folder; put the files beside the index and name them so",
        ),
        (
            map("\"w\":\"a.safetensors\",\"w\":\"a.safetensors\""),
            "i.json: two tensors are called `w`; rename one and write the file again",
        ),
        (
            map("\"w\":\"i.json\""),
            concat!(
                "i.json: ",
                unknown!("text, where one file of tensors is expected")
            ),
        ),
        (
            map("\"w\":\"sub\""),
            concat!("sub: ", unknown!("a directory, device or pipe")),
        ),
        (
            map("\"w\":\"bad.safetensors\""),
            concat!(
                "bad.safetensors: ",
                again!("safetensors file: it claims a header of 53 bytes, 12 follow")
            ),
        ),
        (
            map("\"w\":1"),
            concat!(
                "i.json: ",
                unknown!(
                    "text, but no index: invalid type: integer `1`, expected a string at line 1 column 20"
                )
            ),
        ),
        (
            b"{\"weight_map\":{".to_vec(),
            concat!(
                "i.json: ",
                again!("index file: EOF while parsing an object at line 1 column 15")
            ),
        ),
    ];
    let mut wrong = Vec::new();
    for (index, expected) in cases {
        let folder = folder(&[
            ("i.json", &index),
            ("a.safetensors", &one_tensor("w")),
            ("bad.safetensors", &one_tensor("w")[..20]),
        ]);
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let message = opened(folder.path(), "i.json");
        if message != expected {
            wrong.push(format!("expected {expected}\n     got {message}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // Each tensor from its own file, in the order of the index.
    let index = map("\"v\":\"b.bin\",\"w\":\"a.safetensors\",\"u\":\"b.bin\"");
    let header = "{\"u\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},\"v\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[1,2]}}";
    let second = safetensors(header, &[8, 9]);
    let shards = folder(&[
        ("i.json", &index),
        ("a.safetensors", &one_tensor("w")),
        ("b.bin", &second),
    ]);
    let file = TensorFile::open(shards.path().join("i.json")).unwrap();
    let read: Vec<_> = file
        .iter()
        .map(|(name, tensor)| (name, tensor.to_bytes()))
        .collect();
    assert_eq!(read, [("v", vec![9]), ("w", vec![1]), ("u", vec![8])]);
    // Tensors that the index does not name stay out.
    let index = map("");
    let folder = folder(&[("i.json", &index), ("a.safetensors", &one_tensor("w"))]);
    assert!(
        TensorFile::open(folder.path().join("i.json"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn directories() {
    let (a, b) = (one_tensor("w"), one_tensor("v"));
    let cases: [(Files, &str); 7] = [
        (
            &[],
            ".: no file of tensors in this directory; name the file itself",
        ),
        (
            &[("README.md", b"text"), (".hidden.safetensors", &a)],
            ".: no file of tensors in this directory; name the file itself",
        ),
        (
            &[("a.safetensors", &a), ("b.bin", &a)],
            "`w` is in a.safetensors and in b.bin; name one of the files instead of their directory",
        ),
        (
            &[("a.safetensors", &a), ("bad.safetensors", &a[..30])],
            concat!(
                "bad.safetensors: ",
                again!("safetensors file: it claims a header of 53 bytes, 22 follow")
            ),
        ),
        (
            &[("a.safetensors", &a), ("bad.npy", b"")],
            concat!("bad.npy: ", unknown!("it is empty")),
        ),
        (
            &[
                ("x.safetensors.index.json", b"{}"),
                ("y.safetensors.index.json", b"{}"),
            ],
            ".: more than one index, x.safetensors.index.json and y.safetensors.index.json; name the one to read",
        ),
        (
            &[("x.safetensors.index.json", b"{}"), ("a.safetensors", &a)],
            concat!(
                "x.safetensors.index.json: ",
                unknown!("text, but no index: missing field `weight_map` at line 1 column 2")
            ),
        ),
    ];
    let mut wrong = Vec::new();
    for (files, expected) in cases {
        let folder = folder(files);
        let message = opened(folder.path(), "");
        if message != expected {
            wrong.push(format!("expected {expected}\n     got {message}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));

    let readme: &[u8] = b"text";
    let folder = folder(&[
        ("b.bin", &a),
        ("a.safetensors", &b),
        ("README.md", readme),
        ("chat.jinja", b"{% if x %}"),
        ("config.json", b"{"),
        ("empty", b""),
    ]);
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let file = TensorFile::open(folder.path()).unwrap();
    assert!(file.names().eq(["v", "w"]), "sorted by file");
}

#[test]
fn paths() {
    let folder = folder(&[
        ("file.npy", &array("'|u1'", "(1,)", &[1])),
        ("empty.npz", b""),
    ]);
    let opened = |name| opened(folder.path(), name);
    assert_eq!(
        opened("none.npy"),
        "none.npy: cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(
        opened("file.npy/x"),
        "file.npy/x: cannot be read: Not a directory (os error 20)"
    );
    assert_eq!(
        opened("empty.npz"),
        concat!("empty.npz: ", unknown!("it is empty"))
    );
    assert_eq!(
        message(TensorFile::open("/dev/null")),
        concat!("/dev/null: ", unknown!("a directory, device or pipe"))
    );
    assert_eq!(
        message(TensorFile::open("")),
        ": cannot be read: No such file or directory (os error 2)"
    );
}

/// The permission is that of the file; the administrator may read it all the same.
#[test]
#[cfg(unix)]
fn a_file_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[("secret.npy", &array("'|u1'", "(1,)", &[1]))]);
    let secret = folder.path().join("secret.npy");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o0)).unwrap();
    match std::fs::File::open(&secret) {
        Ok(_) => assert_eq!(TensorFile::open(&secret).unwrap().len(), 1),
        Err(_) => assert_eq!(
            opened(folder.path(), "secret.npy"),
            "secret.npy: cannot be read: Permission denied (os error 13)"
        ),
    }
}

/// A pipe without a writer: opening it would wait for ever.
#[test]
#[cfg(unix)]
fn a_pipe() {
    let folder = folder(&[]);
    let pipe = folder.path().join("pipe.npy");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        opened(folder.path(), "pipe.npy"),
        concat!("pipe.npy: ", unknown!("a directory, device or pipe"))
    );
}
