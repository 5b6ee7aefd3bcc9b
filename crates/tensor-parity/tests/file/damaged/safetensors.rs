//! safetensors.

use super::{again, check};
use crate::build::{replaced, safetensors};
use tensor_parity::file::TensorFile;

#[test]
fn safetensors_files() {
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
            again!("safetensors file: it ends within the length of its header"),
        ),
        (
            absurd,
            again!(
                "safetensors file: it claims a header of 18446744073709551615 bytes, the format allows 100000000"
            ),
        ),
        (
            safetensors(&one("[2]", "0", "8"), &[])[..40].to_vec(),
            again!("safetensors file: it claims a header of 54 bytes, 32 follow"),
        ),
        (
            case("{", 0),
            again!("safetensors file: its header: EOF while parsing an object at line 1 column 1"),
        ),
        (
            case("{\"w\":1}", 0),
            again!(
                "safetensors file: its header: `w`: invalid type: integer `1`, expected struct TensorInfo at line 1 column 6"
            ),
        ),
        (
            case("{} {}", 0),
            again!("safetensors file: its header: trailing characters at line 1 column 4"),
        ),
        (
            case(&format!("{{\"w\":{}", "[".repeat(5000)), 0),
            again!("safetensors file: its header: `w`: expected value at line 1 column 7"),
        ),
        (
            case(&dtype("F3"), 8),
            again!(
                "safetensors file: its header: `w`: unknown variant `F3`, expected one of `BOOL`, `F4`, `F6_E2M3`, `F6_E3M2`, `U8`, `I8`, `F8_E5M2`, `F8_E4M3`, `F8_E8M0`, `F8_E4M3FNUZ`, `F8_E5M2FNUZ`, `I16`, `U16`, `F16`, `BF16`, `I32`, `U32`, `F32`, `C64`, `F64`, `I64`, `U64` at line 1 column 18"
            ),
        ),
        (
            case(&dtype("F4"), 8),
            "`w`: PyTorch has no elements of the dtype F4; save it as uint8 or as a wider dtype",
        ),
        (
            case(&one("[2]", "0", "8"), 7),
            again!("safetensors file: `w`: its bytes end at 8, the file has 7 bytes of tensors"),
        ),
        (
            case(&one("[2]", "0", "8"), 9),
            again!("safetensors file: its header describes 8 bytes of tensors, the file has 9"),
        ),
        (
            case(&one("[2]", "4", "12"), 12),
            again!(
                "safetensors file: `w`: its bytes overlap those of another tensor, or leave a gap"
            ),
        ),
        (
            case(&one("[3]", "0", "8"), 8),
            again!(
                "safetensors file: `w`: a float32 tensor of shape [3] needs 12 bytes, there are 8"
            ),
        ),
        (
            case(&one("[2]", "8", "0"), 8),
            again!("safetensors file: `w`: its bytes end at 0, before they start at 8"),
        ),
        (
            case(&one("[-2]", "0", "8"), 8),
            again!(
                "safetensors file: its header: `w`: invalid value: integer `-2`, expected usize at line 1 column 31"
            ),
        ),
        (
            case(&one("[2]", "0", "99999999999999999999"), 8),
            again!(
                "safetensors file: its header: `w`: invalid type: floating point `1e+20`, expected usize at line 1 column 70"
            ),
        ),
        (
            case(&one("[4611686018427387904,4]", "0", "8"), 8),
            again!(
                "safetensors file: `w`: a float32 tensor of shape [4611686018427387904, 4] is larger than any memory"
            ),
        ),
        (
            case(&one("[0,4611686018427387904,4]", "0", "0"), 0),
            again!(
                "safetensors file: `w`: a float32 tensor of shape [0, 4611686018427387904, 4] is larger than any memory"
            ),
        ),
        (
            case(&two(f32("[2]", "0", "8"), f32("[2]", "4", "12")), 12),
            again!(
                "safetensors file: `b`: its bytes overlap those of another tensor, or leave a gap"
            ),
        ),
        (
            case(&two(f32("[2]", "0", "8"), f32("[2]", "12", "20")), 20),
            again!(
                "safetensors file: `b`: its bytes overlap those of another tensor, or leave a gap"
            ),
        ),
        (
            case(
                &two(f32("[]", "0", "4"), f32("[]", "4", "8")).replace("b", "a"),
                8,
            ),
            "two tensors are called `a`; rename one and write the file again",
        ),
        (
            case(
                &one("[3]", "0", "8").replace('w', "w\\n\\u001b[31m\\u202e"),
                8,
            ),
            again!(
                "safetensors file: `w\\n\\u{1b}[31m\\u{202e}`: a float32 tensor of shape [3] needs 12 bytes, there are 8"
            ),
        ),
        (
            case(&one("[3]", "0", "8").replace('w', &"w".repeat(100_000)), 8),
            again!(
                "safetensors file: `wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww...`: a float32 tensor of shape [3] needs 12 bytes, there are 8"
            ),
        ),
        (
            replaced(&case(&one("[2]", "0", "8"), 8), b"w", b"\xff"),
            again!("safetensors file: its header: invalid unicode code point at line 1 column 3"),
        ),
    ];
    check(&cases.map(|(bytes, message)| ("a.safetensors", bytes, message)));
}

/// What is twice in `__metadata__` hurts nobody.
#[test]
fn metadata_twice_is_harmless() {
    let header = "{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"},\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    let file = TensorFile::from_bytes("a.safetensors", safetensors(header, &[9])).unwrap();
    assert_eq!(file.get("w").unwrap().to_bytes(), [9]);
}

/// The order is that of the bytes; among tensors without any, that of the header.
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
