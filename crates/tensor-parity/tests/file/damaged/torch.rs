//! Archives of PyTorch, and their pickles.

use super::{again, check};
use crate::allocation::most_held;
use crate::build::{pickle::*, replaced, stored, torch, zip};
use crate::stored::path;
use ::zip::CompressionMethod;
use tensor_parity::file::TensorFile;

#[test]
fn torch_archives() {
    let zeros = [0u8; 8];
    let file = |value: Vec<u8>| torch(&whole(&value), &[&zeros]);
    let raw = |pickle: &[u8]| torch(pickle, &[&zeros]);
    let view = |offset, size: &[i64], stride: &[i64]| {
        file(dict(&[(
            "w",
            tensor(storage("FloatStorage", "0", 2), offset, size, stride),
        )]))
    };
    let good = torch(&whole(&floats("0", 2)), &[&zeros]);
    let x = || floats("0", 2);
    let mut laughs = x();
    for _ in 0..40 {
        laughs = list(&[[&laughs[..], b"q\x00"].concat(), b"h\x00".to_vec()]);
    }
    let cycle = b"]q\x00h\x00a".to_vec();
    let deep = [&b"]".repeat(100_000)[..], &b"a".repeat(99_999)].concat();
    let tuples = [b"N".to_vec(), b"\x85".repeat(1_000_000)].concat();
    let nested = |depth: usize| [&b"]".repeat(depth)[..], &x(), &b"a".repeat(depth)].concat();
    let compressed = zip(&[("m/data.pkl", &whole(b"}"))], CompressionMethod::Deflated);
    let os = call(&global("os", "system"), &[text("echo")]);
    let cases = [
        (
            good[..good.len() - 1].to_vec(),
            again!(
                "torch.save file: its zip directory, at the end of the file, is cut off or damaged"
            ),
        ),
        (
            compressed,
            "`data.pkl`: compressed, which PyTorch's archives are not; write it again with torch.save",
        ),
        (
            replaced(&good, b"little", b"big en"),
            "big-endian; save it on a little-endian machine",
        ),
        (
            stored(&[("m/data.pkl", b""), ("m/version", b"3")]),
            again!(
                "torch.save file: `data.pkl at byte 0`: the pickle ends: 1 bytes needed, 0 left"
            ),
        ),
        (
            raw(b"\x80\x02}"),
            again!(
                "torch.save file: `data.pkl at byte 3`: the pickle ends: 1 bytes needed, 0 left"
            ),
        ),
        (
            raw(b"\x80\x02X\xff\xff\xff\xffa."),
            again!(
                "torch.save file: `data.pkl at byte 2`: the pickle ends: 4294967295 bytes needed, 2 left"
            ),
        ),
        (
            raw(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa."),
            again!(
                "torch.save file: `data.pkl at byte 2`: the pickle ends: 18446744073709551615 bytes needed, 2 left"
            ),
        ),
        (
            raw(b"\x80\x02X\x01\x00\x00\x00\xff."),
            again!("torch.save file: `data.pkl at byte 2`: a string that is not UTF-8"),
        ),
        (
            raw(b"\x80\x02."),
            again!("torch.save file: `data.pkl at byte 2`: an opcode without the values it takes"),
        ),
        (
            raw(b"\x80\x02\xfe."),
            again!("torch.save file: `data.pkl at byte 2`: unknown opcode 0xfe"),
        ),
        (
            raw(b"\x80\x02t."),
            again!("torch.save file: `data.pkl at byte 2`: an opcode without the values it takes"),
        ),
        (
            raw(b"\x80\x02N(a."),
            again!("torch.save file: `data.pkl at byte 4`: an opcode without the values it takes"),
        ),
        (
            raw(b"\x80\x02NNa."),
            again!("torch.save file: `data.pkl at byte 4`: APPEND to something that is no list"),
        ),
        (
            raw(b"\x80\x02NNNs."),
            again!("torch.save file: `data.pkl at byte 5`: SETITEMS of something that is no dict"),
        ),
        (
            raw(b"\x80\x02}(Nu."),
            again!("torch.save file: `data.pkl at byte 5`: SETITEMS of something that is no dict"),
        ),
        (
            raw(b"\x80\x02NNb."),
            again!("torch.save file: `data.pkl at byte 4`: BUILD of something without attributes"),
        ),
        (
            raw(b"\x80\x02NN\x81."),
            again!("torch.save file: `data.pkl at byte 4`: NEWOBJ of something that is no class"),
        ),
        (
            raw(b"\x80\x02NNR."),
            again!(
                "torch.save file: `data.pkl at byte 4`: a call of something that is no function"
            ),
        ),
        (
            raw(b"\x80\x02NQ."),
            again!(
                "torch.save file: `data.pkl at byte 3`: a persistent id that is no storage of PyTorch's"
            ),
        ),
        (
            raw(b"\x80\x02h\x07."),
            again!("torch.save file: `data.pkl at byte 2`: it recalls value 7, which it never put"),
        ),
        (
            raw(b"\x80\x02j\xff\xff\xff\xff."),
            again!(
                "torch.save file: `data.pkl at byte 2`: it recalls value 4294967295, which it never put"
            ),
        ),
        (
            raw(b"\x80\x02NN\x93."),
            again!("torch.save file: `data.pkl at byte 4`: STACK_GLOBAL without two strings"),
        ),
        (
            raw(b"\x80\x02cos"),
            again!("torch.save file: `data.pkl at byte 2`: a name without an end, or not of text"),
        ),
        (
            file(os),
            "holds the Python object os.system, and no code is run to read a file; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(global("__builtin__", "eval")),
            "holds the Python object __builtin__.eval, and no code is run to read a file; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(global("torch", "load")),
            "holds the Python object torch.load, and no code is run to read a file; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(global("torch\u{1b}", "QInt8Storage")),
            "holds the Python object torch\\u{1b}.QInt8Storage, and no code is run to read a file; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            file(call(&global("collections", "OrderedDict"), &[int(1)])),
            again!(
                "torch.save file: `data.pkl at byte 39`: a call with other arguments than PyTorch writes"
            ),
        ),
        (
            file(call(
                &global("torch._utils", "_rebuild_tensor_v2"),
                &[int(1)],
            )),
            again!(
                "torch.save file: `data.pkl at byte 47`: a call with other arguments than PyTorch writes"
            ),
        ),
        (
            std::fs::read(path("module.pt")).unwrap(),
            "holds the Python object torch.nn.modules.linear.Linear, and no code is run to read a file; save the tensors from Python: from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")",
        ),
        (
            std::fs::read(path("sparse.pt")).unwrap(),
            "`data.pkl at byte 13`: a tensor that is not dense and plain (torch._utils._rebuild_sparse_tensor); save dense tensors: x.to_dense(), x.dequantize(), x.cpu()",
        ),
        (
            std::fs::read(path("conjugate.pt")).unwrap(),
            "`data.pkl at byte 180`: a tensor that is conjugated or negated only when it is read; save x.resolve_conj().resolve_neg()",
        ),
        (
            file(cycle),
            again!("torch.save file: it nests deeper than 128 levels"),
        ),
        (
            file(deep),
            again!("torch.save file: it nests deeper than 128 levels"),
        ),
        (
            file(tuples),
            again!("torch.save file: it nests deeper than 128 levels"),
        ),
        (
            file(nested(129)),
            again!("torch.save file: it nests deeper than 128 levels"),
        ),
        (
            file(laughs),
            again!("torch.save file: it names the same tensors again and again"),
        ),
        (
            file(storage("FloatStorage", "0", -1)),
            again!(
                "torch.save file: `data.pkl at byte 60`: a persistent id that is no storage of PyTorch's"
            ),
        ),
        (
            file(tensor(storage("FloatStorage", "1", 2), 0, &[2], &[1])),
            again!("torch.save file: `a`: its storage data/1 is not in the archive"),
        ),
        (
            file(tensor(storage("FloatStorage", "0", 3), 0, &[2], &[1])),
            again!(
                "torch.save file: `a`: its storage data/0 has 8 bytes, the pickle claims 3 elements of 4"
            ),
        ),
        (
            file(tensor(
                storage("FloatStorage", "0", i64::MAX),
                0,
                &[2],
                &[1],
            )),
            again!(
                "torch.save file: `a`: its storage data/0 has 8 bytes, the pickle claims 9223372036854775807 elements of 4"
            ),
        ),
        (
            file(tensor(int(1), 0, &[2], &[1])),
            again!("torch.save file: `a`: a tensor without a storage"),
        ),
        (
            view(0, &[3], &[1]),
            again!(
                "torch.save file: `w`: a float32 tensor of shape [3] needs 12 bytes, there are 8"
            ),
        ),
        (
            view(1, &[2], &[1]),
            again!(
                "torch.save file: `w`: a float32 tensor of shape [2] needs 12 bytes, there are 8"
            ),
        ),
        (
            view(0, &[2], &[2]),
            again!(
                "torch.save file: `w`: a float32 tensor of shape [2] needs 12 bytes, there are 8"
            ),
        ),
        (
            view(0, &[2], &[1, 1]),
            again!("torch.save file: `w`: [1, 1] does not fit a tensor of 1 dimensions"),
        ),
        (
            view(-1, &[2], &[1]),
            again!("torch.save file: `w`: a size, stride or offset that is no natural number"),
        ),
        (
            view(0, &[-2], &[1]),
            again!("torch.save file: `w`: a size, stride or offset that is no natural number"),
        ),
        (
            // The shape (-1,), in as few bytes as pickle can.
            replaced(
                &view(0, &[0x1234], &[1]),
                &int(0x1234),
                b"N0N0(N1\x8a\x01\xff",
            ),
            again!("torch.save file: `w`: a size, stride or offset that is no natural number"),
        ),
        (
            view(0, &[2], &[-1]),
            again!("torch.save file: `w`: a size, stride or offset that is no natural number"),
        ),
        (
            view(0, &[i64::MAX, 2], &[0, 0]),
            again!(
                "torch.save file: `w`: a float32 tensor of shape [9223372036854775807, 2] is larger than any memory"
            ),
        ),
        (
            view(0, &[1 << 40], &[0]),
            "`w`: expanded to 4398046511104 bytes; save it without its expanded dimensions",
        ),
        (
            view(0, &[1; 65], &[1; 65]),
            again!("torch.save file: `w`: a shape or strides that are no tuple of at most 64"),
        ),
        (
            file(dict(&[("a.b", x()), ("a", dict(&[("b", x())]))])),
            "two tensors are called `a.b`; rename one and write the file again",
        ),
        (
            file([&b"}("[..], &tuple(&[int(1)]), &x(), b"u"].concat()),
            "`?`: a tensor under a key that is neither text nor an integer; save a dict with names",
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
    // As deep as it may be.
    assert_eq!(
        TensorFile::from_bytes("a.pt", file(nested(128)))
            .unwrap()
            .len(),
        1
    );
}

/// Short pickles that stand for very much: found before the memory or the time is spent.
#[test]
fn pickles_that_explode() {
    let x = || [&floats("0", 2)[..], b"q\x00"].concat();
    let again = b"h\x00".to_vec();
    // Each level twice the one below, and no tensor in any.
    let mut empty = b"]q\x00".to_vec();
    for _ in 0..60 {
        empty = [&list(&[empty, again.clone()])[..], b"q\x00"].concat();
    }
    // A long name before each of many references to one tensor.
    let key = "k".repeat(100_000);
    let references = list(&[vec![x()], vec![again; 100_000]].concat());
    let cases = [
        (
            empty,
            again!("torch.save file: it names the same tensors again and again"),
        ),
        (
            dict(&[(&key, references)]),
            again!("torch.save file: it names the same tensors again and again"),
        ),
        (
            b"]0".repeat((1 << 23) + 1),
            again!(
                "torch.save file: `data.pkl at byte 16777208`: it builds more than 8388608 values"
            ),
        ),
        (
            b"N".repeat((1 << 23) + 1),
            again!(
                "torch.save file: `data.pkl at byte 8388610`: more than 8388608 values on the stack"
            ),
        ),
        (
            [&b"N"[..], &b"\x94".repeat(1 << 26)].concat(),
            again!("torch.save file: a pickle of 67108868 bytes, more than 67108864 are not read"),
        ),
    ];
    for (pickle, expected) in cases {
        let bytes = torch(&whole(&pickle), &[&[0; 8]]);
        let length = bytes.len();
        let case = [("a.pt", bytes, expected)];
        let ((), held) = most_held(|| check(&case));
        assert!(held < (2 << 20) + 80 * length, "{held} held for {length}");
    }
}
