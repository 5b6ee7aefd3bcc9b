//! Archives of PyTorch and their pickles.

use super::{check, damaged};
use crate::allocation::most_held;
use crate::build::{pickle::*, replaced, stored, torch, zip};
use crate::stored::path;
use ::zip::CompressionMethod;
use tensor_parity::file::TensorFile;

#[test]
fn malformed_torch_archives_return_errors() {
    let zeros = [0u8; 8];
    let file = |value: Vec<u8>| torch(&pickled(&value), &[&zeros]);
    let raw = |pickle: &[u8]| torch(pickle, &[&zeros]);
    let view = |offset, size: &[i64], stride: &[i64]| {
        file(dict(&[(
            "w",
            tensor(storage("FloatStorage", "0", 2), offset, size, stride),
        )]))
    };
    let good = torch(&pickled(&floats("0", 2)), &[&zeros]);
    let x = || floats("0", 2);
    let mut laughs = x();
    for _ in 0..40 {
        laughs = list(&[[&laughs[..], b"q\x00"].concat(), b"h\x00".to_vec()]);
    }
    let cycle = b"]q\x00h\x00a".to_vec();
    let deep = [&b"]".repeat(100_000)[..], &b"a".repeat(99_999)].concat();
    let tuples = [b"N".to_vec(), b"\x85".repeat(1_000_000)].concat();
    let nested = |depth: usize| [&b"]".repeat(depth)[..], &x(), &b"a".repeat(depth)].concat();
    let compressed = zip(
        &[("m/data.pkl", &pickled(b"}"))],
        CompressionMethod::Deflated,
    );
    let os = call(&global("os", "system"), &[text("echo")]);
    let cases = [
        (
            good[..good.len() - 1].to_vec(),
            damaged!(
                "torch.save file: the zip directory at the end of the file is truncated or damaged"
            ),
        ),
        (
            [&good[..], &good].concat(),
            damaged!(
                "torch.save file: several zip archives one after another, of which only the first can be read"
            ),
        ),
        (
            compressed,
            "`data.pkl`: compressed, which PyTorch's archives never are; save it again with torch.save",
        ),
        (
            replaced(&good, b"little", b"big en"),
            "big-endian; save it on a little-endian machine",
        ),
        (
            stored(&[("m/data.pkl", b""), ("m/version", b"3")]),
            damaged!(
                "torch.save file: `data.pkl at byte 0`: the pickle is truncated: 1 bytes needed, 0 remain"
            ),
        ),
        (
            raw(b"\x80\x02}"),
            damaged!(
                "torch.save file: `data.pkl at byte 3`: the pickle is truncated: 1 bytes needed, 0 remain"
            ),
        ),
        (
            raw(b"\x80\x02X\xff\xff\xff\xffa."),
            damaged!(
                "torch.save file: `data.pkl at byte 2`: the pickle is truncated: 4294967295 bytes needed, 2 remain"
            ),
        ),
        (
            raw(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa."),
            damaged!(
                "torch.save file: `data.pkl at byte 2`: the pickle is truncated: 18446744073709551615 bytes needed, 2 remain"
            ),
        ),
        (
            raw(b"\x80\x02X\x01\x00\x00\x00\xff."),
            "not compared: a, a value that is not a tensor",
        ),
        (
            raw(b"\x80\x02."),
            damaged!("torch.save file: `data.pkl at byte 2`: an opcode that lacks its operands"),
        ),
        (
            raw(b"\x80\x02\xfe."),
            damaged!("torch.save file: `data.pkl at byte 2`: unknown opcode 0xfe"),
        ),
        (
            raw(b"\x80\x02t."),
            damaged!("torch.save file: `data.pkl at byte 2`: an opcode that lacks its operands"),
        ),
        (
            raw(b"\x80\x02N(a."),
            damaged!("torch.save file: `data.pkl at byte 4`: an opcode that lacks its operands"),
        ),
        (
            raw(b"\x80\x02NNa."),
            damaged!("torch.save file: `data.pkl at byte 4`: APPEND to a value that is not a list"),
        ),
        (
            raw(b"\x80\x02NNNs."),
            damaged!(
                "torch.save file: `data.pkl at byte 5`: SETITEMS of a value that is not a dict"
            ),
        ),
        (
            raw(b"\x80\x02}(Nu."),
            damaged!("torch.save file: `data.pkl at byte 5`: SETITEMS of an odd number"),
        ),
        (raw(b"\x80\x02NNb."), "not compared: "),
        (raw(b"\x80\x02NN\x81."), "not compared: a, a Python object"),
        (raw(b"\x80\x02NNR."), "not compared: a, a Python object"),
        (
            raw(b"\x80\x02NQ."),
            "not compared: a, a value that is not a tensor",
        ),
        (
            raw(b"\x80\x02h\x07."),
            damaged!("torch.save file: `data.pkl at byte 2`: memo entry 7 was never stored"),
        ),
        (
            raw(b"\x80\x02j\xff\xff\xff\xff."),
            damaged!(
                "torch.save file: `data.pkl at byte 2`: memo entry 4294967295 was never stored"
            ),
        ),
        (
            raw(b"\x80\x02NN\x93."),
            damaged!("torch.save file: `data.pkl at byte 4`: STACK_GLOBAL without two strings"),
        ),
        (
            raw(b"\x80\x02cos"),
            damaged!("torch.save file: `data.pkl at byte 2`: a line that is not terminated"),
        ),
        (file(os), "not compared: a, a Python object (os.system)"),
        (
            file(global("__builtin__", "eval")),
            "not compared: a, the Python object __builtin__.eval",
        ),
        (
            file(global("torch", "load")),
            "not compared: a, the Python object torch.load",
        ),
        (
            file(global("torch\u{1b}", "QInt8Storage")),
            "not compared: a, the Python object torch\\u{1b}.QInt8Storage",
        ),
        (
            file(call(&global("collections", "OrderedDict"), &[int(1)])),
            "not compared: a, a dict",
        ),
        (
            file(call(
                &global("torch._utils", "_rebuild_tensor_v2"),
                &[int(1)],
            )),
            "not compared: a, damaged: a tensor without a storage",
        ),
        (
            std::fs::read(path("module.pt")).unwrap(),
            "reads weight; reads bias; not compared: ",
        ),
        (
            std::fs::read(path("sparse.pt")).unwrap(),
            "not compared: x, a sparse tensor; save x.to_dense()",
        ),
        (
            std::fs::read(path("conjugate.pt")).unwrap(),
            "not compared: x, a lazily conjugated or negated tensor; save x.resolve_conj().resolve_neg()",
        ),
        (file(cycle), "not compared: "),
        (
            file(deep),
            "not compared: 0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0...., nested deeper than 128 levels; save a dict of tensors",
        ),
        (
            file(tuples),
            "not compared: 0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0...., nested deeper than 128 levels; save a dict of tensors",
        ),
        (
            file(nested(129)),
            "not compared: 0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0...., nested deeper than 128 levels; save a dict of tensors",
        ),
        (
            file(laughs),
            damaged!("torch.save file: it refers to the same tensors too many times"),
        ),
        (
            file(storage("FloatStorage", "0", -1)),
            "not compared: a, a value that is not a tensor",
        ),
        (
            file(tensor(storage("FloatStorage", "1", 2), 0, &[2], &[1])),
            "not compared: a, damaged: its storage data/1 is not in the archive",
        ),
        (
            file(tensor(storage("FloatStorage", "0", 3), 0, &[2], &[1])),
            "not compared: a, damaged: its storage data/0 has 8 bytes, but the pickle claims 3 elements of 4",
        ),
        (
            file(tensor(
                storage("FloatStorage", "0", i64::MAX),
                0,
                &[2],
                &[1],
            )),
            "not compared: a, damaged: its storage data/0 has 8 bytes, but the pickle claims 9223372036854775807 elements of 4",
        ),
        (
            file(tensor(int(1), 0, &[2], &[1])),
            "not compared: a, damaged: a tensor without a storage",
        ),
        (
            view(0, &[3], &[1]),
            "not compared: w, damaged: a float32 tensor of shape [3] needs 12 bytes, found 8",
        ),
        (
            view(1, &[2], &[1]),
            "not compared: w, damaged: a float32 tensor of shape [2] needs 12 bytes, found 8",
        ),
        (
            view(0, &[2], &[2]),
            "not compared: w, damaged: a float32 tensor of shape [2] needs 12 bytes, found 8",
        ),
        (
            view(0, &[2], &[1, 1]),
            "not compared: w, damaged: [1, 1] does not fit a tensor of 1 dimensions",
        ),
        (
            view(-1, &[2], &[1]),
            "not compared: w, damaged: a size, stride or offset that is not a non-negative integer",
        ),
        (
            view(0, &[-2], &[1]),
            "not compared: w, damaged: a size, stride or offset that is not a non-negative integer",
        ),
        (
            // The shape (-1,), in as few bytes as pickle can.
            replaced(
                &view(0, &[0x1234], &[1]),
                &int(0x1234),
                b"N0N0(N1\x8a\x01\xff",
            ),
            "not compared: w, damaged: a size, stride or offset that is not a non-negative integer",
        ),
        (
            view(0, &[2], &[-1]),
            "not compared: w, damaged: a size, stride or offset that is not a non-negative integer",
        ),
        (
            view(0, &[i64::MAX, 2], &[0, 0]),
            "not compared: w, damaged: a float32 tensor of shape [9223372036854775807, 2] is larger than the address space",
        ),
        (
            view(0, &[1 << 40], &[0]),
            "not compared: w, expanded to 4398046511104 bytes; save it without its expanded dimensions",
        ),
        (
            view(0, &[1; 65], &[1; 65]),
            "not compared: w, damaged: a shape or strides that are not a tuple of at most 64 integers",
        ),
        (
            file(dict(&[("a", x()), ("a", x())])),
            "not compared: ['a'], several tensors have this name; rename one and write the file again",
        ),
        (
            file(numpy_array(ints(&[3]), "f4", "<", b"\x89", &[0; 8])),
            "not compared: a, damaged: its array needs 12 bytes, found 8",
        ),
        (
            file(numpy_array(ints(&[-1]), "f4", "<", b"\x89", &[0; 8])),
            "not compared: a, a numpy array that is not described as numpy does; save it as a tensor",
        ),
        (
            file(numpy_array(int(2), "f4", "<", b"\x89", &[0; 8])),
            "not compared: a, a numpy array that is not described as numpy does; save it as a tensor",
        ),
        (
            file(numpy_array(ints(&[1]), "M8", "<", b"\x89", &[0; 8])),
            "not compared: a, an array of dates or times (numpy's '<M8'); save it as int64",
        ),
        (
            file(numpy_array(
                ints(&[1 << 40, 1 << 40]),
                "f4",
                "<",
                b"\x89",
                &[0; 8],
            )),
            "not compared: a, damaged: a float32 array of shape [1099511627776, 1099511627776] is larger than the address space",
        ),
        (
            file(call(&global("numpy.core.multiarray", "_reconstruct"), &[])),
            "not compared: a, a numpy array that is not described as numpy does; save it as a tensor",
        ),
        (
            file(from_buffer(&[4, 2], &[0, 0])),
            "not compared: a, a numpy array that is not described as numpy does; save it as a tensor",
        ),
        (
            file(from_buffer(&[4, 2], &[0, 2])),
            "not compared: a, a numpy array that is not described as numpy does; save it as a tensor",
        ),
        (
            stored(&[
                ("m/data.pkl", b"\x80\x02}."),
                ("m/constants.pkl", b""),
                ("m/byteorder", b"big"),
            ]),
            "big-endian; save it on a little-endian machine",
        ),
    ];
    check(&cases.map(|(bytes, message)| ("a.pt", bytes, message)));
    // The maximum depth.
    assert_eq!(
        TensorFile::from_bytes("a.pt", file(nested(128)))
            .unwrap()
            .len(),
        1
    );
}

/// Short pickles that describe very many values are rejected before they take memory or time.
#[test]
fn exponential_pickles_return_errors_in_bounded_memory() {
    let x = || [&floats("0", 2)[..], b"q\x00"].concat();
    let again = b"h\x00".to_vec();
    // Each level contains the previous one twice, without any tensor.
    let mut empty = b"]q\x00".to_vec();
    for _ in 0..60 {
        empty = [&list(&[empty, again.clone()])[..], b"q\x00"].concat();
    }
    // A long name for each of many references to one tensor.
    let key = "k".repeat(100_000);
    let references = list(&[vec![x()], vec![again; 100_000]].concat());
    let cases = [
        (
            empty,
            damaged!("torch.save file: it refers to the same tensors too many times"),
        ),
        (
            dict(&[(&key, references)]),
            damaged!("torch.save file: it refers to the same tensors too many times"),
        ),
        (
            b"]0".repeat((1 << 23) + 1),
            damaged!("torch.save file: `data.pkl at byte 16777204`: more than 8388608 values"),
        ),
        (
            b"N".repeat((1 << 23) + 1),
            damaged!(
                "torch.save file: `data.pkl at byte 8388610`: more than 8388608 values on the stack"
            ),
        ),
        (
            b"(".repeat((1 << 23) + 1),
            damaged!("torch.save file: `data.pkl at byte 8388610`: more than 8388608 marks"),
        ),
        (
            // Tuples of a million items each.
            [
                &b"("[..],
                &[&b"("[..], &b"N".repeat(1 << 20), b"t0"]
                    .concat()
                    .repeat(65),
            ]
            .concat(),
            damaged!("torch.save file: `data.pkl at byte 68157636`: more than 67108864 items"),
        ),
        (
            [&b"N"[..], &b"\x94".repeat(1 << 26)].concat(),
            damaged!("torch.save file: `data.pkl at byte 8388611`: more than 8388608 memo entries"),
        ),
    ];
    for (pickle, expected) in cases {
        let bytes = torch(&pickled(&pickle), &[&[0; 8]]);
        let length = bytes.len();
        let case = [("a.pt", bytes, expected)];
        let ((), held) = most_held(|| check(&case));
        assert!(held < (2 << 20) + 80 * length, "{held} held for {length}");
    }
}
