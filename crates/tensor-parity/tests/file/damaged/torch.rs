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
            damaged!("torch.save file: `data.pkl at byte 2`: a string that is not UTF-8"),
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
            damaged!(
                "torch.save file: `data.pkl at byte 5`: SETITEMS of a value that is not a dict"
            ),
        ),
        (
            raw(b"\x80\x02NNb."),
            damaged!("torch.save file: `data.pkl at byte 4`: BUILD of a value without attributes"),
        ),
        (
            raw(b"\x80\x02NN\x81."),
            damaged!(
                "torch.save file: `data.pkl at byte 4`: NEWOBJ of a value that is not a class"
            ),
        ),
        (
            raw(b"\x80\x02NNR."),
            damaged!(
                "torch.save file: `data.pkl at byte 4`: a call of a value that is not a function"
            ),
        ),
        (
            raw(b"\x80\x02NQ."),
            damaged!(
                "torch.save file: `data.pkl at byte 3`: a persistent id that is not a PyTorch storage"
            ),
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
            damaged!(
                "torch.save file: `data.pkl at byte 2`: a name that is not terminated or not UTF-8"
            ),
        ),
        (
            file(os),
            "contains the Python object os.system, but reading a file runs no code; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(global("__builtin__", "eval")),
            "contains the Python object __builtin__.eval, but reading a file runs no code; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(global("torch", "load")),
            "contains the Python object torch.load, but reading a file runs no code; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(global("torch\u{1b}", "QInt8Storage")),
            "contains the Python object torch\\u{1b}.QInt8Storage, but reading a file runs no code; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(call(&global("collections", "OrderedDict"), &[int(1)])),
            damaged!(
                "torch.save file: `data.pkl at byte 39`: a call with arguments that PyTorch never writes"
            ),
        ),
        (
            file(call(
                &global("torch._utils", "_rebuild_tensor_v2"),
                &[int(1)],
            )),
            damaged!(
                "torch.save file: `data.pkl at byte 47`: a call with arguments that PyTorch never writes"
            ),
        ),
        (
            std::fs::read(path("module.pt")).unwrap(),
            "contains the Python object torch.nn.modules.linear.Linear, but reading a file runs no code; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            std::fs::read(path("sparse.pt")).unwrap(),
            "`data.pkl at byte 13`: a tensor that is not a plain dense one (torch._utils._rebuild_sparse_tensor); save dense tensors: x.to_dense(), x.dequantize(), x.cpu()",
        ),
        (
            std::fs::read(path("conjugate.pt")).unwrap(),
            "`data.pkl at byte 180`: a lazily conjugated or negated tensor; save x.resolve_conj().resolve_neg()",
        ),
        (
            file(cycle),
            damaged!("torch.save file: nested deeper than 128 levels"),
        ),
        (
            file(deep),
            damaged!("torch.save file: nested deeper than 128 levels"),
        ),
        (
            file(tuples),
            damaged!("torch.save file: nested deeper than 128 levels"),
        ),
        (
            file(nested(129)),
            damaged!("torch.save file: nested deeper than 128 levels"),
        ),
        (
            file(laughs),
            damaged!("torch.save file: it refers to the same tensors too many times"),
        ),
        (
            file(storage("FloatStorage", "0", -1)),
            damaged!(
                "torch.save file: `data.pkl at byte 60`: a persistent id that is not a PyTorch storage"
            ),
        ),
        (
            file(tensor(storage("FloatStorage", "1", 2), 0, &[2], &[1])),
            damaged!("torch.save file: `a`: its storage data/1 is not in the archive"),
        ),
        (
            file(tensor(storage("FloatStorage", "0", 3), 0, &[2], &[1])),
            damaged!(
                "torch.save file: `a`: its storage data/0 has 8 bytes, but the pickle claims 3 elements of 4"
            ),
        ),
        (
            file(tensor(
                storage("FloatStorage", "0", i64::MAX),
                0,
                &[2],
                &[1],
            )),
            damaged!(
                "torch.save file: `a`: its storage data/0 has 8 bytes, but the pickle claims 9223372036854775807 elements of 4"
            ),
        ),
        (
            file(tensor(int(1), 0, &[2], &[1])),
            damaged!("torch.save file: `a`: a tensor without a storage"),
        ),
        (
            view(0, &[3], &[1]),
            damaged!("torch.save file: `w`: a float32 tensor of shape [3] needs 12 bytes, found 8"),
        ),
        (
            view(1, &[2], &[1]),
            damaged!("torch.save file: `w`: a float32 tensor of shape [2] needs 12 bytes, found 8"),
        ),
        (
            view(0, &[2], &[2]),
            damaged!("torch.save file: `w`: a float32 tensor of shape [2] needs 12 bytes, found 8"),
        ),
        (
            view(0, &[2], &[1, 1]),
            damaged!("torch.save file: `w`: [1, 1] does not fit a tensor of 1 dimensions"),
        ),
        (
            view(-1, &[2], &[1]),
            damaged!(
                "torch.save file: `w`: a size, stride or offset that is not a non-negative integer"
            ),
        ),
        (
            view(0, &[-2], &[1]),
            damaged!(
                "torch.save file: `w`: a size, stride or offset that is not a non-negative integer"
            ),
        ),
        (
            // The shape (-1,), in as few bytes as pickle can.
            replaced(
                &view(0, &[0x1234], &[1]),
                &int(0x1234),
                b"N0N0(N1\x8a\x01\xff",
            ),
            damaged!(
                "torch.save file: `w`: a size, stride or offset that is not a non-negative integer"
            ),
        ),
        (
            view(0, &[2], &[-1]),
            damaged!(
                "torch.save file: `w`: a size, stride or offset that is not a non-negative integer"
            ),
        ),
        (
            view(0, &[i64::MAX, 2], &[0, 0]),
            damaged!(
                "torch.save file: `w`: a float32 tensor of shape [9223372036854775807, 2] is larger than the address space"
            ),
        ),
        (
            view(0, &[1 << 40], &[0]),
            "`w`: expanded to 4398046511104 bytes; save it without its expanded dimensions",
        ),
        (
            view(0, &[1; 65], &[1; 65]),
            damaged!(
                "torch.save file: `w`: a shape or strides that are not a tuple of at most 64 integers"
            ),
        ),
        (
            file(dict(&[("a.b", x()), ("a", dict(&[("b", x())]))])),
            "duplicate tensor name `a.b`; rename one and write the file again",
        ),
        (
            file([&b"}("[..], &tuple(&[int(1)]), &x(), b"u"].concat()),
            "`?`: a tensor under a key that is neither a string nor an integer; save a dict with string keys",
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

/// Short pickles that describe very many values are refused before they take memory or time.
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
            damaged!("torch.save file: `data.pkl at byte 16777208`: more than 8388608 values"),
        ),
        (
            b"N".repeat((1 << 23) + 1),
            damaged!(
                "torch.save file: `data.pkl at byte 8388610`: more than 8388608 values on the stack"
            ),
        ),
        (
            [&b"N"[..], &b"\x94".repeat(1 << 26)].concat(),
            damaged!("torch.save file: a pickle of 67108868 bytes; the limit is 67108864"),
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
