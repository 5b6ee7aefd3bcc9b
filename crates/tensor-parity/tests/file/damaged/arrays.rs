//! Files of numpy.

use super::{check, damaged};
use crate::build::{array, deflated, npy, replaced, stored};
use crate::stored::path;

#[test]
fn malformed_npy_files_return_errors() {
    let good = array("'<f4'", "(2,)", &[0; 8]);
    let with = |descr: &str| array(descr, "(2,)", &[0; 8]);
    let deep = format!("{{'descr': {}", "(".repeat(60_000));
    let cases = [
        (
            good[..7].to_vec(),
            damaged!("npy file: it ends before its header"),
        ),
        (
            good[..9].to_vec(),
            damaged!("npy file: it ends before its header"),
        ),
        (
            good[..20].to_vec(),
            damaged!("npy file: the header ends at byte 68, but the file has 20 bytes"),
        ),
        (
            good[..good.len() - 1].to_vec(),
            damaged!("npy file: a float32 array of shape [2] needs 8 bytes, found 7"),
        ),
        (
            [&good[..], &[0]].concat(),
            damaged!("npy file: a float32 array of shape [2] needs 8 bytes, found 9"),
        ),
        (
            b"\x93NUMPY\x09\x00....".to_vec(),
            "not compared: a, version 9.0 of the npy format; write it with numpy.save of numpy 2",
        ),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
            damaged!("npy file: the header claims 4294967295 bytes; the limit is 65535"),
        ),
        (
            npy("{'descr': [1], 'shape'", &[]),
            "not compared: a, a structured array; save each of its fields as an array",
        ),
        (
            npy(&deep, &[]),
            "not compared: a, a structured array; save each of its fields as an array",
        ),
        (
            npy("\u{1b}[31m", &[]),
            damaged!("npy file: the header is not one that numpy writes: \\u{1b}[31m (at byte 0)"),
        ),
        (
            replaced(&good, b"f4", b"\xff\xff"),
            damaged!("npy file: the header is not UTF-8"),
        ),
        (
            with("'|O'"),
            "not compared: a, an array of Python objects, which is a pickle (numpy's '|O'); save arrays of numbers, since reading a file runs no code",
        ),
        (
            with("'<U5'"),
            "not compared: a, an array of strings (numpy's '<U5'); leave it out of the file",
        ),
        (
            with("'|S5'"),
            "not compared: a, an array of strings (numpy's '|S5'); leave it out of the file",
        ),
        (
            with("'<M8[ns]'"),
            "not compared: a, an array of dates or times (numpy's '<M8[ns]'); save it as int64",
        ),
        (
            with("'|V2'"),
            "not compared: a, an array of raw bytes, as numpy stores bfloat16 and other dtypes that it lacks (numpy's '|V2'); save it with safetensors, or as float32",
        ),
        (
            with("'>f16'"),
            "not compared: a, a dtype that PyTorch lacks (numpy's '>f16'); convert it to another dtype",
        ),
        (
            with("'<f16'"),
            "not compared: a, a dtype that PyTorch lacks (numpy's '<f16'); convert it to another dtype",
        ),
        (
            with("''"),
            "not compared: a, a dtype that PyTorch lacks (numpy's ''); convert it to another dtype",
        ),
        (
            with("[('a', '<f4'), ('b', '<i4')]"),
            "not compared: a, a structured array; save each of its fields as an array",
        ),
        (
            array("'<f4'", "(4611686018427387904, 4)", &[0; 8]),
            damaged!(
                "npy file: a float32 array of shape [4611686018427387904, 4] is larger than the address space"
            ),
        ),
        (
            array("'<f4'", "(0, 4611686018427387904, 4)", &[]),
            damaged!(
                "npy file: a float32 array of shape [0, 4611686018427387904, 4] is larger than the address space"
            ),
        ),
        (
            array("'>f4'", "(3,)", &[0; 8]),
            damaged!("npy file: a float32 array of shape [3] needs 12 bytes, found 8"),
        ),
        (
            array("'<f4'", "(1000000000000,)", &[0; 8]),
            damaged!(
                "npy file: a float32 array of shape [1000000000000] needs 4000000000000 bytes, found 8"
            ),
        ),
    ];
    check(&cases.map(|(bytes, message)| ("a.npy", bytes, message)));
}

#[test]
fn malformed_npz_files_return_errors() {
    let good = array("'<f4'", "(2,)", &[7; 8]);
    let big = array("'|u1'", "(100000,)", &[0; 100_000]);
    let packed = deflated(&[("big.npy", &big)]);
    let twice = replaced(
        &stored(&[("a.npy", &good), ("b.npy", &good)]),
        b"b.npy",
        b"a.npy",
    );
    // In the headers: flags (bit 0 says encrypted), the method, the sizes.
    let local = |bytes: &[u8]| u32::from_le_bytes(bytes[22..26].try_into().unwrap());
    let size = local(&packed).to_le_bytes();
    let central = |bytes: &[u8], at: usize, value: &[u8]| {
        let mut bytes = bytes.to_vec();
        let start = bytes
            .windows(4)
            .rposition(|four| four == b"PK\x01\x02")
            .unwrap();
        bytes[start + at..start + at + value.len()].copy_from_slice(value);
        bytes
    };
    let plain = stored(&[("a.npy", &good)]);
    let mut checksum = packed.clone();
    let start = 30 + "big.npy".len();
    checksum[start + 80] ^= 1;
    let short = array("'|u1'", "(100000,)", &[0; 99_999]);
    let long = array("'|u1'", "(100000,)", &[0; 100_001]);
    let bomb = array("'|u1'", "(100000000000,)", &[0; 100]);
    let cases = [
        (
            packed[..packed.len() - 1].to_vec(),
            damaged!("npz file: the zip directory at the end of the file is truncated or damaged"),
        ),
        (
            plain[..plain.len() - 1].to_vec(),
            damaged!("npz file: the zip directory at the end of the file is truncated or damaged"),
        ),
        (twice, damaged!("npz file: two members have the same name")),
        (
            central(&plain, 8, &[1]),
            "not compared: a, encrypted; write it without a password",
        ),
        (
            central(&plain, 10, &[12]),
            "not compared: a, compressed with Bzip2; store or deflate it, as numpy.savez_compressed does",
        ),
        (
            central(&plain, 10, &[99]),
            "not compared: a, compressed with Aes; store or deflate it, as numpy.savez_compressed does",
        ),
        (
            central(&plain, 20, &[1]),
            "not compared: a, damaged: stored uncompressed, but its sizes 1 and 76 differ",
        ),
        (
            central(&plain, 20, &[0, 9, 0, 0, 0, 9, 0, 0]),
            "not compared: a, damaged: its 2304 bytes extend past the end of the file",
        ),
        (
            central(&packed, 24, &(100_000_000u32).to_le_bytes()),
            "not compared: big, damaged: 191 compressed bytes cannot inflate to 100000000",
        ),
        (
            central(&packed, 24, &(u32::from_le_bytes(size) - 1).to_le_bytes()),
            "not compared: big, damaged: a uint8 array of shape [100000] needs 100073 bytes, but the archive claims 100072",
        ),
        (
            central(&packed, 42, &[1]),
            "not compared: big, damaged: invalid Zip archive: Invalid local file header",
        ),
        (
            checksum,
            "not compared: big, damaged: the header is not one that numpy writes: {'descr': '|u1', 'fortran_order': False, 'shap\\u{0}': (100000,), } (at byte 48)",
        ),
        (
            central(&packed, 16, &[0, 1, 2, 3]),
            "not compared: big, damaged: Invalid checksum",
        ),
        (
            // Of 100001 elements, where archive and header agree on 100000.
            central(&deflated(&[("long.npy", &long)]), 24, &size),
            "not compared: long, damaged: File is larger than its declared uncompressed size",
        ),
        (
            deflated(&[("short.npy", &short)]),
            "not compared: short, damaged: a uint8 array of shape [100000] needs 100073 bytes, but the archive claims 100072",
        ),
        (
            deflated(&[("long.npy", &long)]),
            "not compared: long, damaged: a uint8 array of shape [100000] needs 100073 bytes, but the archive claims 100074",
        ),
        (
            deflated(&[("bomb.npy", &bomb)]),
            "not compared: bomb, damaged: a uint8 array of shape [100000000000] needs 100000000079 bytes, but the archive claims 179",
        ),
        (
            deflated(&[("text.npy", b"text of more than twelve bytes")]),
            "not compared: text, damaged: it does not start with the magic bytes of npy",
        ),
        (
            deflated(&[("tiny.npy", b"text")]),
            "not compared: tiny, damaged: it ends before the end of its array",
        ),
        (
            stored(&[("bad.npy", &good[..20])]),
            "not compared: bad, damaged: the header ends at byte 68, but the file has 20 bytes",
        ),
        (
            std::fs::read(path("objects.npz")).unwrap(),
            "reads good; not compared: bad, an array of Python objects, which is a pickle (numpy's '|O'); save arrays of numbers, since reading a file runs no code",
        ),
    ];
    check(&cases.map(|(bytes, message)| ("a.npz", bytes, message)));
}

/// Members that share compressed bytes could inflate to any size.
#[test]
fn npz_members_that_share_bytes_return_an_error() {
    let big = array("'|u1'", "(100000,)", &[0; 100_000]);
    let names: Vec<_> = (0..9).map(|i| format!("{i}.npy")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &big[..])).collect();
    let bytes = deflated(&members);
    // Every entry of the directory points at the first member.
    let mut shared = bytes.clone();
    let directory = bytes
        .windows(4)
        .position(|four| four == b"PK\x01\x02")
        .unwrap();
    let second = bytes[4..]
        .windows(4)
        .position(|four| four == b"PK\x03\x04")
        .unwrap()
        + 4;
    let end = bytes.len() - 22;
    let mut at = directory;
    while at < end {
        shared[at + 42..at + 46].fill(0);
        at += 46 + "0.npy".len();
    }
    shared.drain(second..directory);
    let end = shared.len() - 22;
    shared[end + 16..end + 20].copy_from_slice(&(second as u32).to_le_bytes());
    check(&[(
        "a.npz",
        shared,
        damaged!("npz file: its members claim 1719 bytes, but it has 707"),
    )]);
}
