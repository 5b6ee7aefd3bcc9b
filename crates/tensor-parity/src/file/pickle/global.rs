//! The classes and functions that a pickle of tensors may refer to. None of them is ever called:
//! the reader has its own meaning for each.
//!
//! The list follows `_get_allowed_globals` of `torch/_weights_only_unpickler.py` and the names
//! that `torch/csrc/jit/serialization/pickler.cpp` writes, PyTorch 2.13.

use crate::Dtype;
use crate::file::error::Problem;

/// The meaning of a class or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum Global {
    OrderedDict,
    /// A call that evaluates to its first argument: a set of a list, a counter of a dict, a
    /// parameter of a tensor, a typed list of a list.
    FirstArgument,
    /// A call that evaluates to a value without tensors: bytes, a complex number, a device.
    Opaque,
    RebuildTensor,
    RebuildTensorV2,
    RebuildTensorV3,
    /// `func(*args)`, followed by attributes.
    RebuildFromType,
    /// A tensor class without data of its own.
    TensorClass,
    /// A storage of elements.
    Storage(Dtype),
    /// A storage of bytes.
    UntypedStorage,
    Dtype(Dtype),
    /// A class of a TorchScript module.
    ScriptClass,
}

/// Looks up a class or function by its module and name.
pub(super) fn find(module: &str, name: &str) -> Result<Global, Problem> {
    let unknown = || Problem::global(format!("{module}.{name}"));
    // Protocol 2 uses the module names of Python 2.
    let module = if module == "__builtin__" {
        "builtins"
    } else {
        module
    };
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("collections", "Counter") | ("builtins", "set" | "frozenset") => Global::FirstArgument,
        ("builtins", "complex" | "bytearray") | ("_codecs", "encode") => Global::Opaque,
        ("torch", "Size") => Global::FirstArgument,
        ("torch", "device") | ("torch.serialization", "_get_layout") => Global::Opaque,
        ("torch", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer") => Global::TensorClass,
        ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensorV2,
        ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTensorV3,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            Global::FirstArgument
        }
        ("torch._tensor", "_rebuild_from_type_v2") => Global::RebuildFromType,
        ("torch._utils", name) if name.starts_with("_rebuild_") => {
            return Err(Problem::unsupported(
                format!("a tensor that is not a plain dense one (torch._utils.{name})"),
                "save dense tensors: x.to_dense(), x.dequantize(), x.cpu()",
            ));
        }
        (
            "torch.jit._pickle",
            "build_tensorlist" | "build_intlist" | "build_doublelist" | "build_boollist"
            | "restore_type_tag",
        ) => Global::FirstArgument,
        ("torch.storage" | "torch", "UntypedStorage" | "_UntypedStorage") => Global::UntypedStorage,
        ("torch", "per_tensor_affine" | "per_channel_affine" | "per_tensor_symmetric") => {
            Global::Opaque
        }
        ("torch", name) => match name.strip_suffix("Storage") {
            Some(element) => Global::Storage(element_of(element).ok_or_else(unknown)?),
            None => Global::Dtype(dtype(name).ok_or_else(unknown)?),
        },
        ("__torch__", _) => Global::ScriptClass,
        (module, _) if module.starts_with("__torch__.") => Global::ScriptClass,
        _ => return Err(unknown()),
    })
}

fn dtype(name: &str) -> Option<Dtype> {
    Dtype::ALL.into_iter().find(|dtype| dtype.name() == name)
}

/// The dtype of a storage class such as `torch.FloatStorage`. Besides Python's classes there are
/// the names of `c10::ScalarType`, which TorchScript writes for dtypes without a class.
fn element_of(storage: &str) -> Option<Dtype> {
    Some(match storage {
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
        _ => return None,
    })
}
