//! The dtypes of safetensors.

use safetensors::Dtype as Stored;
use tensor_parity::Dtype;

/// The dtype of the safetensors format; `None` if it has none.
pub(crate) fn stored(dtype: Dtype) -> Option<Stored> {
    Some(match dtype {
        Dtype::Bool => Stored::BOOL,
        Dtype::Uint8 => Stored::U8,
        Dtype::Int8 => Stored::I8,
        Dtype::Uint16 => Stored::U16,
        Dtype::Int16 => Stored::I16,
        Dtype::Uint32 => Stored::U32,
        Dtype::Int32 => Stored::I32,
        Dtype::Uint64 => Stored::U64,
        Dtype::Int64 => Stored::I64,
        Dtype::Float8E4m3fn => Stored::F8_E4M3,
        Dtype::Float8E4m3fnuz => Stored::F8_E4M3FNUZ,
        Dtype::Float8E5m2 => Stored::F8_E5M2,
        Dtype::Float8E5m2fnuz => Stored::F8_E5M2FNUZ,
        Dtype::Float8E8m0fnu => Stored::F8_E8M0,
        Dtype::Float16 => Stored::F16,
        Dtype::Bfloat16 => Stored::BF16,
        Dtype::Float32 => Stored::F32,
        Dtype::Float64 => Stored::F64,
        Dtype::Complex64 => Stored::C64,
        _ => return None,
    })
}
