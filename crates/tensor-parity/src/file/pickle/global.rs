//! The classes and functions in a pickle that have a meaning here. None of them is ever called, and
//! those without a meaning become placeholders.
//!
//! The list follows `_get_allowed_globals` of `torch/_weights_only_unpickler.py`, the functions
//! `_rebuild_*` of `torch/_utils.py`, and the names that
//! `torch/csrc/jit/serialization/pickler.cpp` writes, PyTorch 2.13.

use crate::Dtype;

/// The meaning of a class or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum Global {
    /// `OrderedDict`, or another class of dictionaries that a list of pairs initializes.
    Dictionary,
    /// A call that evaluates to its first argument: a set of a list, a counter of a dict, a
    /// parameter of a tensor, a typed list of a list.
    FirstArgument,
    /// A call that evaluates to a value without tensors.
    Opaque(&'static str),
    /// `bytes`, `bytearray`, and `_codecs.encode`, which protocols before 3 make bytes with.
    Bytes,
    Device,
    Numpy(NumpyKind),
    /// `copyreg._reconstructor(class, base, state)` and the like: an instance of the first argument.
    Instance,
    RebuildTensor,
    RebuildTensorV2,
    RebuildTensorV3,
    /// `func(*args)`, followed by attributes.
    RebuildFromType,
    /// A tensor on another device, of a tensor and a dtype.
    RebuildFromCpu,
    /// A tensor that cannot be read.
    Rebuild(Rebuild),
    /// A tensor class without data of its own. A call evaluates to its first argument, as those of
    /// `Parameter` did before PyTorch 0.4.
    TensorClass,
    /// A storage.
    Storage(Element),
    Dtype(Element),
    /// A class of a TorchScript module.
    ScriptClass,
}

/// The kinds of tensors that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum Rebuild {
    Sparse,
    Quantized,
    Meta,
    Nested,
    Wrapper,
    Other,
}

/// The kinds of values that numpy makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum NumpyKind {
    Dtype,
    /// An array, which its state describes.
    Array,
    /// An array of a buffer, its dtype, shape and order.
    FromBuffer,
    /// A scalar of its dtype and bytes.
    Scalar,
    /// A tensor of another device, of an array and a dtype.
    Tensor,
}

/// The elements of a storage or a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum Element {
    /// Bytes, which the dtype of the tensor interprets.
    Bytes,
    Known(Dtype),
    /// A dtype that is not supported.
    Unsupported(&'static Unsupported),
}

/// A dtype of PyTorch that is not supported.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::file) struct Unsupported {
    /// PyTorch's name without `torch.`.
    pub(in crate::file) name: &'static str,
    /// The name of its storages, without the suffix.
    storage: &'static str,
    /// The size of an element in bytes.
    size: usize,
    /// What its elements are.
    pub(in crate::file) description: &'static str,
}

const fn unsupported(
    name: &'static str,
    storage: &'static str,
    size: usize,
    description: &'static str,
) -> Unsupported {
    Unsupported {
        name,
        storage,
        size,
        description,
    }
}

/// The dtypes of PyTorch 2.13 that [`Dtype`] lacks: `torch/headeronly/core/ScalarType.h`.
static UNSUPPORTED: [Unsupported; 25] = [
    unsupported("float4_e2m1fn_x2", "Float4_e2m1fn_x2", 1, "4-bit floats"),
    unsupported("qint8", "QInt8", 1, "quantized 8-bit integers (qint8)"),
    unsupported("quint8", "QUInt8", 1, "quantized 8-bit integers (quint8)"),
    unsupported("qint32", "QInt32", 4, "quantized 32-bit integers (qint32)"),
    unsupported(
        "quint4x2",
        "QUInt4x2",
        1,
        "quantized 4-bit integers (quint4x2)",
    ),
    unsupported(
        "quint2x4",
        "QUInt2x4",
        1,
        "quantized 2-bit integers (quint2x4)",
    ),
    unsupported("bits1x8", "Bits1x8", 1, "raw bits (bits1x8)"),
    unsupported("bits2x4", "Bits2x4", 1, "raw bits (bits2x4)"),
    unsupported("bits4x2", "Bits4x2", 1, "raw bits (bits4x2)"),
    unsupported("bits8", "Bits8", 1, "raw bits (bits8)"),
    unsupported("bits16", "Bits16", 2, "raw bits (bits16)"),
    unsupported("uint1", "UInt1", 1, "1-bit integers (uint1)"),
    unsupported("uint2", "UInt2", 1, "2-bit integers (uint2)"),
    unsupported("uint3", "UInt3", 1, "3-bit integers (uint3)"),
    unsupported("uint4", "UInt4", 1, "4-bit integers (uint4)"),
    unsupported("uint5", "UInt5", 1, "5-bit integers (uint5)"),
    unsupported("uint6", "UInt6", 1, "6-bit integers (uint6)"),
    unsupported("uint7", "UInt7", 1, "7-bit integers (uint7)"),
    unsupported("int1", "Int1", 1, "1-bit integers (int1)"),
    unsupported("int2", "Int2", 1, "2-bit integers (int2)"),
    unsupported("int3", "Int3", 1, "3-bit integers (int3)"),
    unsupported("int4", "Int4", 1, "4-bit integers (int4)"),
    unsupported("int5", "Int5", 1, "5-bit integers (int5)"),
    unsupported("int6", "Int6", 1, "6-bit integers (int6)"),
    unsupported("int7", "Int7", 1, "7-bit integers (int7)"),
];

impl Element {
    /// The size in bytes.
    pub(in crate::file) fn size(self) -> usize {
        match self {
            Element::Bytes => 1,
            Element::Known(dtype) => dtype.size(),
            Element::Unsupported(dtype) => dtype.size,
        }
    }

    /// The element of a dtype, by PyTorch's name.
    fn of_dtype(name: &str) -> Option<Element> {
        let known = Dtype::from_name(name);
        known.map(Element::Known).or_else(|| {
            let unsupported = UNSUPPORTED.iter().find(|dtype| dtype.name == name);
            unsupported.map(Element::Unsupported)
        })
    }

    /// The element of a storage class such as `FloatStorage`. Besides Python's classes there are
    /// the names of `c10::ScalarType`, which TorchScript writes for dtypes without a class.
    fn of_storage(class: &str) -> Option<Element> {
        let name = class.strip_suffix("Storage")?;
        let dtype = match name {
            "Untyped" | "_Untyped" => return Some(Element::Bytes),
            "Bool" => Dtype::Bool,
            "Byte" => Dtype::Uint8,
            "Char" => Dtype::Int8,
            "UInt16" => Dtype::Uint16,
            "Short" => Dtype::Int16,
            "UInt32" => Dtype::Uint32,
            "Int" => Dtype::Int32,
            "UInt64" => Dtype::Uint64,
            "Long" => Dtype::Int64,
            "Float8_e4m3fn" => Dtype::Float8E4m3fn,
            "Float8_e4m3fnuz" => Dtype::Float8E4m3fnuz,
            "Float8_e5m2" => Dtype::Float8E5m2,
            "Float8_e5m2fnuz" => Dtype::Float8E5m2fnuz,
            "Float8_e8m0fnu" => Dtype::Float8E8m0fnu,
            "Half" => Dtype::Float16,
            "BFloat16" => Dtype::Bfloat16,
            "Float" => Dtype::Float32,
            "Double" => Dtype::Float64,
            "ComplexHalf" => Dtype::Complex32,
            "ComplexFloat" => Dtype::Complex64,
            "ComplexDouble" => Dtype::Complex128,
            _ => {
                let unsupported = UNSUPPORTED.iter().find(|dtype| dtype.storage == name);
                return unsupported.map(Element::Unsupported);
            }
        };
        Some(Element::Known(dtype))
    }
}

/// Looks up a class or function by its module and name. `None` if it has no meaning here.
pub(super) fn find(module: &str, name: &str) -> Option<Global> {
    // Protocol 2 uses the module names of Python 2.
    let module = match module {
        "__builtin__" => "builtins",
        "copy_reg" => "copyreg",
        other => other,
    };
    Some(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict") | ("builtins", "dict") => Global::Dictionary,
        ("collections", "Counter") | ("builtins", "set" | "frozenset" | "list" | "tuple") => {
            Global::FirstArgument
        }
        ("builtins", "complex") => Global::Opaque("a number"),
        ("builtins", "bytearray" | "bytes") | ("_codecs", "encode") => Global::Bytes,
        ("builtins", "slice" | "range") => Global::Opaque("a range"),
        ("copyreg", "_reconstructor" | "__newobj__" | "__newobj_ex__") => Global::Instance,
        ("torch", "Size") => Global::FirstArgument,
        ("torch", "device") => Global::Device,
        ("torch.serialization", "_get_layout") => Global::Opaque("a layout"),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
            Global::Numpy(NumpyKind::Array)
        }
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
            Global::Numpy(NumpyKind::FromBuffer)
        }
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => {
            Global::Numpy(NumpyKind::Scalar)
        }
        ("numpy", "dtype") => Global::Numpy(NumpyKind::Dtype),
        ("torch._utils", "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor") => {
            Global::Numpy(NumpyKind::Tensor)
        }
        ("torch.nn.parameter", "Parameter" | "Buffer")
        | ("torch.autograd.variable", "Variable") => Global::TensorClass,
        ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensorV2,
        ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTensorV3,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            Global::FirstArgument
        }
        ("torch._tensor" | "torch.tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => {
            Global::RebuildFromType
        }
        ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor") => Global::RebuildFromCpu,
        ("torch._utils", name) if name.starts_with("_rebuild_") => Global::Rebuild(match name {
            "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => Rebuild::Sparse,
            "_rebuild_qtensor" => Rebuild::Quantized,
            "_rebuild_meta_tensor_no_storage" => Rebuild::Meta,
            "_rebuild_nested_tensor" => Rebuild::Nested,
            "_rebuild_wrapper_subclass" => Rebuild::Wrapper,
            _ => Rebuild::Other,
        }),
        (
            "torch.jit._pickle",
            "build_tensorlist" | "build_intlist" | "build_doublelist" | "build_boollist"
            | "restore_type_tag",
        ) => Global::FirstArgument,
        // Of any device; `torch/serialization.py` looks at the name alone.
        ("torch" | "torch.storage" | "torch.cuda" | "torch.sparse", name)
            if name.ends_with("Storage") =>
        {
            Global::Storage(Element::of_storage(name)?)
        }
        ("torch" | "torch.cuda", name) if name.ends_with("Tensor") => Global::TensorClass,
        (
            "torch",
            "per_tensor_affine"
            | "per_channel_affine"
            | "per_tensor_symmetric"
            | "per_channel_symmetric"
            | "per_channel_affine_float_qparams",
        ) => Global::Opaque("a quantization scheme"),
        ("torch", name) => Global::Dtype(Element::of_dtype(name)?),
        ("__torch__", _) => Global::ScriptClass,
        (module, _) if module.starts_with("__torch__.") => Global::ScriptClass,
        _ => return None,
    })
}
