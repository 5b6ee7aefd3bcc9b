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

#[test]
fn arrays_of_numpy_are_tensors() {
    let array = |order: &[u8], endian, data: &[u8]| {
        let pickle = numpy_array(ints(&[2, 2]), "i2", endian, order, data);
        let bytes = torch(&pickled(&pickle), &[]);
        let file = TensorFile::from_bytes("x.pt", bytes).unwrap();
        file.get("x").unwrap().to_bytes()
    };
    let data = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(array(b"\x89", "<", &data), data);
    assert_eq!(array(b"\x88", "<", &data), [1, 2, 5, 6, 3, 4, 7, 8]);
    assert_eq!(array(b"\x89", ">", &data), [2, 1, 4, 3, 6, 5, 8, 7]);
    let permuted = torch(&pickled(&from_buffer(&[4, 2], &[1, 0])), &[]);
    let file = TensorFile::from_bytes("x.pt", permuted).unwrap();
    assert_eq!(file.get("x").unwrap().to_bytes(), [0, 2, 4, 6, 1, 3, 5, 7]);
    // One array under several names, beside another one and a scalar.
    let one = [
        &numpy_array(ints(&[2]), "i2", ">", b"\x89", &[0, 1, 0, 2])[..],
        b"q\x07",
    ];
    let scalar = call(
        &global("numpy.core.multiarray", "scalar"),
        &[numpy_dtype("i2", ">"), bytes(&[0, 9])],
    );
    let other = numpy_array(ints(&[1]), "u1", "|", b"\x89", &[5]);
    let all = list(&[one.concat(), b"h\x07".to_vec(), other, scalar]);
    let file = TensorFile::from_bytes("x.pt", torch(&pickled(&all), &[])).unwrap();
    let read: Vec<_> = file.iter().map(|(_, tensor)| tensor.to_bytes()).collect();
    assert_eq!(
        read,
        [vec![1, 0, 2, 0], vec![1, 0, 2, 0], vec![5], vec![9, 0]]
    );
}

#[test]
fn keys_that_would_be_one_name_are_told_apart() {
    let x = || floats("0", 2);
    let keys = |keys: &[Vec<u8>]| {
        let items: Vec<u8> = keys
            .iter()
            .flat_map(|key| [&key[..], &x()].concat())
            .collect();
        names(&[&b"}("[..], &items, b"u"].concat())
    };
    let pair = || tuple(&[int(1), text("a")]);
    assert_eq!(
        keys(&[pair(), int(1), text("1.5")]),
        ["(1, 'a')", "1", "1.5"]
    );
    assert_eq!(keys(&[int(1), text("1"), text("b")]), ["[1]", "['1']", "b"]);
    assert_eq!(
        keys(&[pair(), text("(1, 'a')")]),
        ["[(1, 'a')]", "['(1, \\'a\\')']"]
    );
    assert_eq!(
        names(&dict(&[
            ("a.b", x()),
            ("a", dict(&[("b", x()), ("c", x())]))
        ])),
        ["['a.b']", "['a']['b']", "a.c"]
    );
    // Tensors have no name: their positions are it.
    assert_eq!(keys(&[x(), x(), text("1")]), ["0", "[key 1]", "['1']"]);
    // A key that contains itself twice, twenty times.
    let mut deep = tuple(&[int(1)]);
    for _ in 0..20 {
        deep = [&deep[..], b"q\x00h\x00\x86"].concat();
    }
    assert_eq!(keys(&[deep]), ["0"]);
    // A set that contains itself, and sets of the same sets, forty levels deep.
    let cycle = b"]q\x00h\x00a".to_vec();
    assert_eq!(keys(&[cycle]), ["0"]);
    let mut wide = int(1);
    for _ in 0..40 {
        wide = [&b"]("[..], &wide, b"q\x00", &b"h\x00".repeat(100), b"e"].concat();
    }
    assert_eq!(keys(&[wide]), ["0"]);
    let sets = list(&[int(3), list(&[]), int(2)]);
    assert_eq!(keys(&[sets]), ["frozenset({2, 3, frozenset()})"]);
}
