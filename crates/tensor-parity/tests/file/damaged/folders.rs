//! Indexes of shards, directories and paths.

use super::{damaged, message, unknown};
use crate::build::{array, safetensors};
use std::path::Path;
use tensor_parity::file::TensorFile;

type Files<'a> = &'a [(&'a str, &'a [u8])];

/// Creates a temporary directory with these files.
fn folder(files: Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Opens a path in a directory and returns the message without the path of the directory.
fn opened(folder: &Path, name: &str) -> String {
    let path = if name.is_empty() {
        folder.to_owned()
    } else {
        folder.join(name)
    };
    let message = message(name, TensorFile::open(path));
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
fn malformed_indexes_return_errors_and_valid_ones_select_tensors() {
    let map = |entries: &str| format!("{{\"weight_map\":{{{entries}}}}}").into_bytes();
    let cases = [
        (
            map("\"w\":\"none.safetensors\""),
            concat!(
                "i.json: ",
                damaged!(
                    "index file: `none.safetensors`: the file does not exist next to the index"
                )
            ),
        ),
        (
            map("\"v\":\"a.safetensors\""),
            concat!(
                "i.json: ",
                damaged!("index file: `v`: `a.safetensors` lacks this tensor of the index")
            ),
        ),
        (
            map("\"w\":\"../a.safetensors\""),
            "i.json: `../a.safetensors`: the path leads out of the directory of the index; put the shards next to the index and list them by name",
        ),
        (
            map("\"w\":\"/etc/passwd\""),
            "i.json: `/etc/passwd`: the path leads out of the directory of the index; put the shards next to the index and list them by name",
        ),
        (
            map("\"w\":\"./a.safetensors\""),
            "i.json: `./a.safetensors`: the path leads out of the directory of the index; put the shards next to the index and list them by name",
        ),
        (
            map("\"w\":\"\""),
            "i.json: ``: the path leads out of the directory of the index; put the shards next to the index and list them by name",
        ),
        (
            map("\"w\":\"a\\u0000b\""),
            "i.json: `a\\u{0}b`: the path leads out of the directory of the index; put the shards next to the index and list them by name",
        ),
        (
            map("\"w\":\"a.safetensors\",\"w\":\"a.safetensors\""),
            "i.json: duplicate tensor name `w`; rename one and write the file again",
        ),
        (
            map("\"w\":\"i.json\""),
            concat!("i.json: ", unknown!("text, but a tensor file is expected")),
        ),
        (
            map("\"w\":\"sub\""),
            concat!("sub: ", unknown!("a directory, device or pipe")),
        ),
        (
            map("\"w\":\"bad.safetensors\""),
            concat!(
                "bad.safetensors: ",
                damaged!("safetensors file: the header claims 53 bytes, but 12 follow")
            ),
        ),
        (
            map("\"w\":1"),
            concat!(
                "i.json: ",
                unknown!(
                    "text, but not an index: invalid type: integer `1`, expected a string at line 1 column 20"
                )
            ),
        ),
        (
            b"{\"weight_map\":{".to_vec(),
            concat!(
                "i.json: ",
                damaged!("index file: EOF while parsing an object at line 1 column 15")
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
    // Each tensor is read from its own file, in the order of the index.
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
    // Tensors that the index does not list are left out.
    let index = map("");
    let folder = folder(&[("i.json", &index), ("a.safetensors", &one_tensor("w"))]);
    assert!(
        TensorFile::open(folder.path().join("i.json"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn ambiguous_directories_return_errors_and_others_are_read_in_order() {
    let (a, b) = (one_tensor("w"), one_tensor("v"));
    let cases: [(Files, &str); 7] = [
        (
            &[],
            ".: no tensor file in this directory; pass the file itself",
        ),
        (
            &[("README.md", b"text"), (".hidden.safetensors", &a)],
            ".: no tensor file in this directory; pass the file itself",
        ),
        (
            &[("a.safetensors", &a), ("b.bin", &a)],
            "`w` is in both a.safetensors and b.bin; pass one of the files instead of the directory",
        ),
        (
            &[("a.safetensors", &a), ("bad.safetensors", &a[..30])],
            concat!(
                "bad.safetensors: ",
                damaged!("safetensors file: the header claims 53 bytes, but 22 follow")
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
            ".: more than one index, x.safetensors.index.json and y.safetensors.index.json; pass the one to read",
        ),
        (
            &[("x.safetensors.index.json", b"{}"), ("a.safetensors", &a)],
            concat!(
                "x.safetensors.index.json: ",
                unknown!("text, but not an index: missing field `weight_map` at line 1 column 2")
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
fn unreadable_paths_return_errors() {
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
        message("/dev/null", TensorFile::open("/dev/null")),
        concat!("/dev/null: ", unknown!("a directory, device or pipe"))
    );
    assert_eq!(
        message("", TensorFile::open("")),
        ": cannot be read: No such file or directory (os error 2)"
    );
}

/// The superuser can read the file regardless of its permissions.
#[test]
#[cfg(unix)]
fn a_file_without_read_permission_returns_an_error() {
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

/// Opening a pipe without a writer would block.
#[test]
#[cfg(unix)]
fn a_pipe_returns_an_error() {
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
