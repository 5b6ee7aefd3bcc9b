//! Reading any bytes returns tensors or an error of one line, without a panic, in memory that is
//! bounded by the size of the file.

use crate::allocation::most_held;
use crate::build::pickle::{dict, floats, list, pickled};
use crate::build::{array, deflated, safetensors, stored, torch};
use crate::stored::path;
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;
use tensor_parity::file::TensorFile;

/// A valid file of every format, so small that most mutations matter.
static VALID: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let array = array("'<f4'", "(2,)", &[7; 8]);
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}"#;
    let value = list(&[floats("0", 2), dict(&[("w", floats("0", 2))])]);
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    vec![
        ("a.safetensors", safetensors(header, &[0; 9])),
        ("a.npy", array.clone()),
        (
            "stored.npz",
            stored(&[("x.npy", &array), ("y.npy", &array)]),
        ),
        (
            "deflated.npz",
            deflated(&[("x.npy", &array), ("y.npy", &array)]),
        ),
        ("a.pt", torch(&pickled(&value), &[&[0; 8]])),
        ("checkpoint.pt", read("checkpoint.pt")),
        ("script.pt", read("script.pt")),
        ("named.ot", read("named.ot")),
        (
            "a.json",
            br#"{"weight_map": {"w": "none.safetensors"}}"#.to_vec(),
        ),
    ]
});

/// The maximum memory for a file of this length: names and shapes may be repeated within a bound,
/// and zlib needs its tables.
fn allowed(length: usize) -> usize {
    (2 << 20) + 80 * length
}

/// Reads the bytes as a file, and the start and end of each tensor in it.
fn read(name: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let (file, held) = most_held(|| TensorFile::from_bytes(Path::new(name), bytes));
    prop_assert!(
        held <= allowed(bytes.len()),
        "{held} bytes held for {}",
        bytes.len()
    );
    match file {
        Err(error) => {
            let message = error.to_string();
            prop_assert!(!message.contains(char::is_control), "{message:?}");
            prop_assert!(message.len() < 1000, "{message}");
        }
        Ok(file) => {
            let mut buffer = Vec::new();
            for (name, tensor) in file.iter() {
                prop_assert!(file.get(name).is_some());
                let (numel, size) = (tensor.numel(), tensor.dtype().size());
                for start in [0, numel.saturating_sub(100)] {
                    let piece = tensor.read(start..start + 100, &mut buffer);
                    prop_assert_eq!(piece.len(), (numel - start).min(100) * size);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn valid_files_are_accepted() {
    for (name, bytes) in VALID.iter() {
        match TensorFile::from_bytes(name, &bytes[..]) {
            Ok(file) => assert!(!file.is_empty(), "{name}"),
            Err(error) => assert!(error.to_string().contains("an index of shards"), "{error}"),
        }
    }
}

#[test]
fn files_truncated_at_any_length_return_errors() {
    for (name, bytes) in VALID.iter() {
        for length in 0..bytes.len() {
            let (file, held) = most_held(|| TensorFile::from_bytes(name, &bytes[..length]));
            let message = file.map(|file| file.len()).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("{name}: ")),
                "{length}: {message}"
            );
            assert!(!message.contains(char::is_control), "{length}: {message}");
            assert!(held <= allowed(length), "{name} to {length}: {held} held");
        }
    }
}

/// A mutation of a file: a byte, a number that is typical of hostile files, or a moved piece.
#[derive(Debug, Clone)]
enum Change {
    Byte(usize, u8),
    Number(usize, Vec<u8>),
    Copy(usize, usize, usize),
    Remove(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let numbers = prop_oneof![
        Just(vec![0xff; 8]),
        Just(vec![0xff, 0xff, 0xff, 0x7f]),
        Just(vec![0; 4]),
        Just(b"9999999999".to_vec()),
        Just(b"PK\x01\x02".to_vec()),
    ];
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        2 => (any::<usize>(), numbers).prop_map(|(at, bytes)| Change::Number(at, bytes)),
        1 => (any::<usize>(), any::<usize>(), 1..60usize).prop_map(|(a, b, n)| Change::Copy(a, b, n)),
        1 => (any::<usize>(), 1..60usize).prop_map(|(at, n)| Change::Remove(at, n)),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let length = bytes.len().max(1);
        let piece = |at: usize, n: usize| at % length..(at % length + n).min(bytes.len());
        match change {
            Change::Byte(at, byte) => bytes[at % length] = *byte,
            Change::Number(at, number) => {
                let range = piece(*at, number.len());
                let n = range.len();
                bytes[range].copy_from_slice(&number[..n]);
            }
            Change::Copy(from, to, n) => {
                let copied = bytes[piece(*from, *n)].to_vec();
                bytes.splice(to % length..to % length, copied);
            }
            Change::Remove(at, n) => {
                let range = piece(*at, *n);
                if range.len() < bytes.len() {
                    bytes.drain(range);
                }
            }
        }
    }
    bytes
}

/// Opcodes of pickles with their operands, and a few other bytes.
fn opcodes() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&[u8]] = &[
        b"(",
        b")",
        b"}",
        b"]",
        b"N",
        b"\x88",
        b"K\x02",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"a",
        b"e",
        b"s",
        b"u",
        b"R",
        b"b",
        b"\x81",
        b"q\x00",
        b"q\x01",
        b"h\x00",
        b"h\x01",
        b"\x94",
        b"\x93",
        b"0",
        b"1",
        b"2",
        b"Q",
        b".",
        b"\x8f",
        b"\x90",
        b"\x91",
        b"X\x01\x00\x00\x00w",
        b"\x8c\x010",
        b"\x8a\x01\xff",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nFloatStorage\n",
        b"c__torch__\nM\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
    ];
    let tensor = floats("0", 2);
    let storage = crate::build::pickle::storage("FloatStorage", "0", 2);
    let op = prop_oneof![
        8 => (0..known.len()).prop_map(move |i| known[i].to_vec()),
        2 => Just(tensor),
        1 => Just(storage),
        1 => vec(any::<u8>(), 1..4),
    ];
    vec(op, 0..60).prop_map(|ops| ops.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_return_tensors_or_errors(which in 0..9usize, changes in vec(change(), 1..6)) {
        let (name, bytes) = &VALID[which];
        read(name, &changed(bytes, &changes))?;
    }

    #[test]
    fn mutated_pickles_return_tensors_or_errors(changes in vec(change(), 1..6)) {
        let value = list(&[floats("0", 2), dict(&[("w", floats("0", 2)), ("v", list(&[floats("0", 2)]))])]);
        read("a.pt", &torch(&changed(&pickled(&value), &changes), &[&[0; 8]]))?;
    }

    #[test]
    fn malformed_pickles_return_errors(pickle in opcodes()) {
        read("a.pt", &torch(&pickled(&pickle), &[&[0; 8]]))?;
    }

    #[test]
    fn mutated_npy_headers_return_tensors_or_errors(changes in vec(change(), 1..4)) {
        let header = changed(b"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", &changes);
        let npy = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), &header, &[0; 8]].concat();
        read("a.npy", &npy)?;
        read("a.npz", &deflated(&[("x.npy", &npy)]))?;
    }

    #[test]
    fn mutated_safetensors_headers_return_tensors_or_errors(changes in vec(change(), 1..4)) {
        let header = changed(br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, &changes);
        read("a.safetensors", &[&(header.len() as u64).to_le_bytes()[..], &header, &[0; 8]].concat())?;
    }

    #[test]
    fn arbitrary_bytes_return_tensors_or_errors(start in 0..5usize, bytes in vec(any::<u8>(), 0..300)) {
        let magic = [&b""[..], b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"{", b"\x02\0\0\0\0\0\0\0{"][start];
        read("a", &[magic, &bytes].concat())?;
    }
}
