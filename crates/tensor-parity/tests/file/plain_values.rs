//! What files of `torch.save` hold beside tensors.

use crate::build::{pickle::*, stored, torch};
use tensor_parity::file::{FileError, PlainValue};

fn read_file(bytes: &[u8]) -> Result<PlainValue, FileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.pt");
    std::fs::write(&path, bytes).unwrap();
    PlainValue::read(path)
}

fn read(value: &[u8]) -> Result<PlainValue, String> {
    // With the causes, which say what is wrong.
    read_file(&torch(&pickled(value), &[&[0; 8]])).map_err(|error| {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        causes
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    })
}

fn float(value: f64) -> Vec<u8> {
    [b"G", &value.to_be_bytes()[..]].concat()
}

fn of_text(text: &str) -> PlainValue {
    PlainValue::Text(text.to_owned())
}

#[test]
fn scalars_are_python_s() {
    assert_eq!(read(b"N"), Ok(PlainValue::None));
    assert_eq!(read(b"\x88"), Ok(PlainValue::Bool(true)));
    assert_eq!(read(b"\x89"), Ok(PlainValue::Bool(false)));
    for value in [0, -1, 255, 70_000, i64::MIN, i64::MAX] {
        assert_eq!(read(&int(value)), Ok(PlainValue::Int(value)));
    }
    for value in [0.0, 0.1, -1e300, 5e-324, f64::INFINITY] {
        assert_eq!(read(&float(value)), Ok(PlainValue::Float(value)));
    }
    let Ok(PlainValue::Float(zero)) = read(&float(-0.0)) else {
        panic!("a float");
    };
    assert!(zero.is_sign_negative());
    assert_eq!(read(&text("lr é")), Ok(of_text("lr é")));
    assert_eq!(read(&text("")), Ok(of_text("")));
}

#[test]
fn containers_keep_their_order() {
    let items = vec![PlainValue::Int(2), PlainValue::None, of_text("b")];
    let pickled = [int(2), b"N".to_vec(), text("b")];
    assert_eq!(read(&list(&pickled)), Ok(PlainValue::List(items.clone())));
    assert_eq!(read(&tuple(&pickled)), Ok(PlainValue::List(items)));
    assert_eq!(read(b"]"), Ok(PlainValue::List(Vec::new())));
    assert_eq!(
        read(b"\x8f(K\x01\x90"),
        Ok(PlainValue::List(vec![PlainValue::Int(1)]))
    );
    assert_eq!(read(b"}"), Ok(PlainValue::Dict(Vec::new())));
    let inner = dict(&[("z", int(1)), ("a", float(0.5))]);
    let value = read(&dict(&[("state", inner), ("groups", list(&[]))])).unwrap();
    let inner = vec![
        (of_text("z"), PlainValue::Int(1)),
        (of_text("a"), PlainValue::Float(0.5)),
    ];
    assert_eq!(value.get("state"), Some(&PlainValue::Dict(inner)));
    assert_eq!(value.get("groups"), Some(&PlainValue::List(Vec::new())));
    assert_eq!(value.get("z"), None);
    assert_eq!(PlainValue::Int(1).get("state"), None);
    // A number is not the text that prints alike.
    let numbered = read(b"}(K\x01\x88u").unwrap();
    assert_eq!(
        numbered,
        PlainValue::Dict(vec![(PlainValue::Int(1), PlainValue::Bool(true))])
    );
    assert_eq!(numbered.get("1"), None);
}

#[test]
fn tensors_and_other_objects_are_marked() {
    assert_eq!(read(&floats("0", 2)), Ok(PlainValue::Tensor));
    let value = read(&dict(&[
        ("step", floats("0", 2)),
        ("rule", global("builtins", "print")),
    ]));
    let value = value.unwrap();
    assert_eq!(value.get("step"), Some(&PlainValue::Tensor));
    assert_eq!(value.get("rule"), Some(&PlainValue::Other));
}

#[test]
fn deep_and_repeated_values_are_refused() {
    let nested = |depth: usize| {
        let value = std::iter::repeat_n(&b"]"[..], depth)
            .collect::<Vec<_>>()
            .concat();
        [&value[..], &b"a".repeat(depth - 1)].concat()
    };
    assert!(read(&nested(33)).is_ok());
    let error = read(&nested(34)).unwrap_err();
    assert!(error.contains("nested more than 32 deep"), "{error}");
    // Thirty lists, each of which holds the one before twice: 2^30 values in a few bytes.
    let mut doubling = b"]q\x00".to_vec();
    for level in 0..30u8 {
        doubling.extend([b']', b'(', b'h', level, b'h', level, b'e', b'q', level + 1]);
    }
    let error = read(&doubling).unwrap_err();
    assert!(error.contains("more than 4194304 values"), "{error}");
    // A list in itself.
    let error = read(b"]q\x00h\x00a").unwrap_err();
    assert!(error.contains("nested more than 32 deep"), "{error}");
}

#[test]
fn other_files_are_refused() {
    let error = read_file(b"no archive").unwrap_err();
    assert!(error.to_string().contains("values.pt"), "{error}");
    assert!(read_file(&stored(&[("a.txt", b"text")])).is_err());
    assert!(read_file(&torch(b"\x80\x02](K", &[])).is_err());
    let missing = PlainValue::read("no such file.pt").unwrap_err();
    assert!(missing.to_string().contains("no such file.pt"), "{missing}");
}
