//! Builders of files.

use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

pub fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

/// An `npy` file with a header as numpy writes it.
pub fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy(
        &format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"),
        data,
    )
}

pub fn zip(members: &[(&str, &[u8])], compression: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(compression);
    for (name, bytes) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip(members, CompressionMethod::Stored)
}

pub fn deflated(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip(members, CompressionMethod::Deflated)
}

/// Replaces every occurrence of `from`.
pub fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut found = false;
    for at in 0..=bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + from.len()].copy_from_slice(to);
            found = true;
        }
    }
    assert!(found);
    bytes
}

/// An archive of `torch.save`, with a pickle and storages with the keys 0, 1, ...
pub fn torch(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let names: Vec<_> = (0..storages.len()).map(|i| format!("m/data/{i}")).collect();
    let mut members: Vec<(&str, &[u8])> = vec![("m/data.pkl", pickle), ("m/byteorder", b"little")];
    members.extend(
        names
            .iter()
            .map(String::as_str)
            .zip(storages.iter().copied()),
    );
    stored(&members)
}

/// Opcodes of pickles, each of which pushes a single value.
pub mod pickle {
    pub fn pickled(value: &[u8]) -> Vec<u8> {
        [b"\x80\x02", value, b"."].concat()
    }

    pub fn text(text: &str) -> Vec<u8> {
        [
            b"X",
            &(text.len() as u32).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    }

    pub fn int(value: i64) -> Vec<u8> {
        [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
    }

    pub fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(", &items.concat()[..], b"t"].concat()
    }

    pub fn ints(values: &[i64]) -> Vec<u8> {
        tuple(&values.iter().map(|value| int(*value)).collect::<Vec<_>>())
    }

    pub fn list(items: &[Vec<u8>]) -> Vec<u8> {
        [b"](", &items.concat()[..], b"e"].concat()
    }

    pub fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let items: Vec<_> = items
            .iter()
            .map(|(key, value)| [&text(key)[..], value].concat())
            .collect();
        [b"}(", &items.concat()[..], b"u"].concat()
    }

    pub fn call(function: &[u8], arguments: &[Vec<u8>]) -> Vec<u8> {
        [function, &tuple(arguments), b"R"].concat()
    }

    pub fn storage(class: &str, key: &str, numel: i64) -> Vec<u8> {
        let id = [
            text("storage"),
            global("torch", class),
            text(key),
            text("cpu"),
            int(numel),
        ];
        [&tuple(&id)[..], b"Q"].concat()
    }

    pub fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
        let hooks = call(&global("collections", "OrderedDict"), &[]);
        let arguments = [
            storage,
            int(offset),
            ints(size),
            ints(stride),
            b"\x89".to_vec(),
            hooks,
        ];
        call(&global("torch._utils", "_rebuild_tensor_v2"), &arguments)
    }

    /// An array of numpy; `fortran` is the opcode that pushes whether the first dimension varies fastest.
    pub fn numpy_array(
        shape: Vec<u8>,
        kind: &str,
        endian: &str,
        fortran: &[u8],
        data: &[u8],
    ) -> Vec<u8> {
        let state = tuple(&[
            int(1),
            shape,
            numpy_dtype(kind, endian),
            fortran.to_vec(),
            bytes(data),
        ]);
        let made = call(&global("numpy._core.multiarray", "_reconstruct"), &[]);
        [&made[..], &state, b"b"].concat()
    }

    pub fn numpy_dtype(kind: &str, endian: &str) -> Vec<u8> {
        let none = || b"N".to_vec();
        let made = call(&global("numpy", "dtype"), &[text(kind)]);
        let state = tuple(&[int(3), text(endian), none(), none(), none(), int(-1)]);
        [&made[..], &state, b"b"].concat()
    }

    pub fn bytes(data: &[u8]) -> Vec<u8> {
        [b"B", &(data.len() as u32).to_le_bytes()[..], data].concat()
    }

    /// An array of bytes of numpy 2.4 whose axes are permuted.
    pub fn from_buffer(shape: &[i64], axes: &[i64]) -> Vec<u8> {
        let arguments = [
            bytes(&[0, 1, 2, 3, 4, 5, 6, 7]),
            numpy_dtype("u1", "|"),
            ints(shape),
            text("K"),
            ints(axes),
        ];
        call(&global("numpy._core.numeric", "_frombuffer"), &arguments)
    }

    /// A tensor of `float32` that fills its storage.
    pub fn floats(key: &str, count: i64) -> Vec<u8> {
        tensor(storage("FloatStorage", key, count), 0, &[count], &[1])
    }
}
