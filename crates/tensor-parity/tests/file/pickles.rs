//! Pickles with values and opcodes that the stored files of PyTorch do not have.

use crate::build::{pickle::*, torch};
use tensor_parity::file::TensorFile;

fn names(value: &[u8]) -> Vec<String> {
    let bytes = torch(&pickled(value), &[&[0; 8], &[0; 8]]);
    let file = TensorFile::from_bytes("names.pt", bytes).unwrap();
    file.names().map(str::to_owned).collect()
}

#[test]
fn containers_become_dotted_names() {
    let x = || floats("0", 2);
    assert_eq!(names(&x()), ["names"]);
    assert_eq!(
        names(&list(&[x(), int(3), tuple(&[x(), x()])])),
        ["0", "2.0", "2.1"]
    );
    assert_eq!(
        names(&dict(&[("a", dict(&[("b.c", x())])), ("d", b"N".to_vec())])),
        ["a.b.c"]
    );
    assert_eq!(names(b"}"), [""; 0]);
    assert_eq!(names(b"N"), [""; 0]);
    // Keys that are not strings: {1: x, True: x, None: x}.
    let keys = [
        b"}(K\x01".to_vec(),
        x(),
        b"\x88".to_vec(),
        x(),
        b"N".to_vec(),
        x(),
        b"u".to_vec(),
    ];
    assert_eq!(names(&keys.concat()), ["1", "True", "None"]);
    // Only in TorchScript does a | stand for a dot.
    assert_eq!(names(&dict(&[("a|b", x())])), ["a|b"]);
}

#[test]
fn opcodes_of_all_protocols_are_read() {
    let x = || floats("0", 2);
    // SHORT_BINUNICODE, MEMOIZE and STACK_GLOBAL of protocol 4, in a frame.
    let module = b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93";
    let dict4 = [
        b"\x95\x00\x00\x00\x00\x00\x00\x00\x00",
        &module[..],
        b")R(h\x01",
        &x(),
        b"u",
    ]
    .concat();
    assert_eq!(names(&dict4), ["OrderedDict"]);
    // A set, a frozenset, bytes and a long integer, without tensors; DUP, POP and POP_MARK.
    let others = b"\x8f(K\x01\x90(K\x01\x91C\x01aB\x01\x00\x00\x00a\x8a\x01\xff\x8a\x00N200(NN1";
    let list5 = [b"](", &others[..], &x(), b"e"].concat();
    assert_eq!(names(&list5), ["6"]);
    // Memo entries out of order.
    let memo = [&x()[..], b"r\x39\x30\x00\x000]j\x39\x30\x00\x00a"].concat();
    assert_eq!(names(&memo), ["0"]);
}

#[test]
fn a_typed_view_of_an_untyped_storage_is_read() {
    let x = storage_of_bytes("0", 8);
    let v3 = |dtype: &str| {
        let arguments = [
            x.clone(),
            int(1),
            ints(&[2]),
            ints(&[1]),
            b"\x89".to_vec(),
            b"}".to_vec(),
            global("torch", dtype),
        ];
        call(&global("torch._utils", "_rebuild_tensor_v3"), &arguments)
    };
    let bytes = torch(&pickled(&v3("uint16")), &[&[1, 2, 3, 4, 5, 6, 7, 8]]);
    let file = TensorFile::from_bytes("v3.pt", bytes).unwrap();
    assert_eq!(file.get("v3").unwrap().to_bytes(), [3, 4, 5, 6]);
}

fn storage_of_bytes(key: &str, bytes: i64) -> Vec<u8> {
    let class = global("torch.storage", "UntypedStorage");
    let id = [text("storage"), class, text(key), text("cpu"), int(bytes)];
    [&tuple(&id)[..], b"Q"].concat()
}
