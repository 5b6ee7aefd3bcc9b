//! What the tests share: the Python reference, and tensors as bytes.

// Each test target uses its own part of this.
#![allow(dead_code)]

pub mod case;
pub mod reference;

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tch::Tensor;

/// The interpreter of the Python reference.
///
/// # Panics
///
/// If there is none: a live test that cannot run has failed.
pub fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("TCH_INIT_PYTHON")
        .map_or_else(|| root.join(".venv/bin/python"), PathBuf::from);
    assert!(
        python.exists(),
        "the Python reference is missing ({}): run `./setup --reference`",
        python.display()
    );
    python
}

/// A Python process that has torch, and runs scripts in forks of itself.
struct ForkServer {
    socket: PathBuf,
    /// It ends when its input does, and removes the socket and its folder.
    _process: Child,
}

impl ForkServer {
    fn start() -> ForkServer {
        let socket = tempfile::tempdir().unwrap().keep().join("socket");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new(python())
            .arg(root.join("tests/python/fork_server.py"))
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says when it listens.
        let listens = process.stdout.take().unwrap().read_exact(&mut [0]);
        listens.expect("the server of Python scripts starts");
        ForkServer {
            socket,
            _process: process,
        }
    }

    /// Runs a script: whether it ended well, and what it printed.
    fn run(&self, script: &Path, arguments: &[String]) -> (bool, Vec<u8>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let [out, err] = ["out", "err"].map(|name| folder.path().join(name));
        let request = json!({ "script": script, "arguments": arguments, "out": out, "err": err });
        let mut connection = UnixStream::connect(&self.socket).unwrap();
        connection
            .write_all(format!("{request}\n").as_bytes())
            .unwrap();
        let mut status = String::new();
        // Nothing, if it was killed.
        connection.read_to_string(&mut status).unwrap();
        (
            status == "0\n",
            std::fs::read(out).unwrap(),
            std::fs::read(err).unwrap(),
        )
    }
}

/// Runs a Python script of this repository, and returns what it printed.
pub fn run_script<A: AsRef<OsStr>>(
    script: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Vec<u8> {
    static SERVER: OnceLock<ForkServer> = OnceLock::new();
    let arguments = arguments
        .into_iter()
        .map(|argument| argument.as_ref().to_str().unwrap().to_owned());
    let arguments: Vec<String> = arguments.collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let (is_done, out, err) = SERVER.get_or_init(ForkServer::start).run(&path, &arguments);
    assert!(
        is_done,
        "{script} {arguments:?} failed:\n{}",
        String::from_utf8_lossy(&err)
    );
    out
}

/// Runs a script of this repository on `cases` in one Python process, and returns what it wrote:
/// a JSON value and a file of bytes.
pub fn run_reference(script: &str, cases: &Value) -> (Value, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("cases.json"), serde_json::to_vec(cases).unwrap()).unwrap();
    let files = ["cases.json", "results.json", "results.bin"];
    run_script(script, files.map(path));
    let results = serde_json::from_slice(&std::fs::read(path("results.json")).unwrap()).unwrap();
    (results, std::fs::read(path("results.bin")).unwrap())
}

/// Hold this while a test uses the default stream, which all threads of a process share.
pub fn default_stream() -> MutexGuard<'static, ()> {
    static STREAM: Mutex<()> = Mutex::new(());
    // A test that failed while it held the stream leaves no state that the next test relies on.
    STREAM.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The elements of a tensor in logical order, as bytes.
pub fn bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// An error and its causes, as the program prints them: `message: cause: cause of the cause`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let messages: Vec<String> = causes.map(ToString::to_string).collect();
    messages.join(": ")
}
