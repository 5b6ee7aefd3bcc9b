//! Files of safetensors.

use super::{check, damaged};
use crate::build::{replaced, safetensors};
use tensor_parity::file::TensorFile;

#[test]
fn malformed_safetensors_files_return_errors() {
    let f32 = |shape: &str, from: &str, to: &str| {
        format!("{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let one = |shape: &str, from: &str, to: &str| format!("{{\"w\":{}}}", f32(shape, from, to));
    let two = |a: String, b: String| format!("{{\"a\":{a},\"b\":{b}}}");
    let case = |header: &str, data: usize| safetensors(header, &vec![0; data]);
    let absurd = [&[0xff; 8][..], b"{}"].concat();
    let dtype = |name: &str| one("[2]", "0", "8").replace("F32", name);
    let cases = [
        (
            vec![1, 2],
            damaged!(
                "safetensors file: it ends within the first eight bytes, the length of its header"
            ),
        ),
        (
            absurd,
            damaged!(
                "safetensors file: the header claims 18446744073709551615 bytes; the limit is 100000000"
            ),
        ),
        (
            safetensors(&one("[2]", "0", "8"), &[])[..40].to_vec(),
            damaged!("safetensors file: the header claims 54 bytes, but 32 follow"),
        ),
        (
            case("{", 0),
            damaged!(
                "safetensors file: invalid header: EOF while parsing an object at line 1 column 1"
            ),
        ),
        (
            case("{\"w\":1}", 0),
            damaged!(
                "safetensors file: invalid header: `w`: invalid type: integer `1`, expected struct TensorInfo at line 1 column 6"
            ),
        ),
        (
            case("{} {}", 0),
            damaged!("safetensors file: invalid header: trailing characters at line 1 column 4"),
        ),
        (
            case(&format!("{{\"w\":{}", "[".repeat(5000)), 0),
            damaged!(
                "safetensors file: invalid header: `w`: invalid type: sequence, expected a string at line 1 column 6"
            ),
        ),
        (
            case(&dtype("F3"), 8),
            "not compared: w, elements of the dtype F3, which safetensors 0.8 and PyTorch 2.13 lack; save it as uint8 or a wider dtype",
        ),
        (
            case(&dtype("F4"), 8),
            "not compared: w, 4-bit floats; save it as uint8 or a wider dtype",
        ),
        (
            case(&one("[2]", "0", "8"), 7),
            damaged!(
                "safetensors file: the header describes 8 bytes of tensors, but the file has 7"
            ),
        ),
        (
            case(&one("[2]", "0", "8"), 9),
            damaged!(
                "safetensors file: the header describes 8 bytes of tensors, but the file has 9"
            ),
        ),
        (
            case(&one("[2]", "4", "12"), 12),
            damaged!(
                "safetensors file: `w`: its bytes overlap those of another tensor, or leave a gap"
            ),
        ),
        (
            case(&one("[3]", "0", "8"), 8),
            "not compared: w, damaged: a float32 tensor of shape [3] needs 12 bytes, found 8",
        ),
        (
            case(&one("[2]", "8", "0"), 8),
            "not compared: w, damaged: its bytes end at 0, before their start at 8",
        ),
        (
            case(&one("[-2]", "0", "8"), 8),
            damaged!(
                "safetensors file: invalid header: `w`: invalid value: integer `-2`, expected usize at line 1 column 31"
            ),
        ),
        (
            case(&one("[2]", "0", "99999999999999999999"), 8),
            damaged!(
                "safetensors file: invalid header: `w`: invalid type: floating point `1e+20`, expected usize at line 1 column 70"
            ),
        ),
        (
            case(&one("[4611686018427387904,4]", "0", "8"), 8),
            "not compared: w, damaged: a float32 tensor of shape [4611686018427387904, 4] is larger than the address space",
        ),
        (
            case(&one("[0,4611686018427387904,4]", "0", "0"), 0),
            "not compared: w, damaged: a float32 tensor of shape [0, 4611686018427387904, 4] is larger than the address space",
        ),
        (
            case(&two(f32("[2]", "0", "8"), f32("[2]", "4", "12")), 12),
            damaged!(
                "safetensors file: `b`: its bytes overlap those of another tensor, or leave a gap"
            ),
        ),
        (
            case(&two(f32("[2]", "0", "8"), f32("[2]", "12", "20")), 20),
            damaged!(
                "safetensors file: `b`: its bytes overlap those of another tensor, or leave a gap"
            ),
        ),
        (
            case(
                &two(f32("[]", "0", "4"), f32("[]", "4", "8")).replace("b", "a"),
                8,
            ),
            "duplicate tensor name `a`; rename one and write the file again",
        ),
        (
            case(
                &one("[3]", "0", "8").replace('w', "w\\n\\u001b[31m\\u202e"),
                8,
            ),
            "not compared: w\\n\\u{1b}[31m\\u{202e}, damaged: a float32 tensor of shape [3] needs 12 bytes, found 8",
        ),
        (
            case(&one("[3]", "0", "8").replace('w', &"w".repeat(100_000)), 8),
            "not compared: wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww..., damaged: a float32 tensor of shape [3] needs 12 bytes, found 8",
        ),
        (
            replaced(&case(&one("[2]", "0", "8"), 8), b"w", b"\xff"),
            damaged!(
                "safetensors file: invalid header: invalid unicode code point at line 1 column 3"
            ),
        ),
    ];
    check(&cases.map(|(bytes, message)| ("a.safetensors", bytes, message)));
}

#[test]
fn duplicate_keys_of_metadata_are_ignored() {
    let header = "{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"},\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    let file = TensorFile::from_bytes("a.safetensors", safetensors(header, &[9])).unwrap();
    assert_eq!(file.get("w").unwrap().to_bytes(), [9]);
}

/// Tensors are ordered by their bytes, and those without bytes as in the header.
#[test]
fn tensors_without_elements_keep_the_order_of_the_header() {
    let names: Vec<_> = (0..100).map(|i| (i * 37 % 100).to_string()).collect();
    let none =
        |name| format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[1,1]}}");
    let mut entries: Vec<_> = names.iter().map(none).collect();
    entries.push("\"first\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}".to_owned());
    let bytes = safetensors(&format!("{{{}}}", entries.join(",")), &[5]);
    let file = TensorFile::from_bytes("a.safetensors", bytes).unwrap();
    let expected = ["first"]
        .into_iter()
        .chain(names.iter().map(String::as_str));
    assert!(file.names().eq(expected));
}
