//! The dtypes of tensors.

use half::{bf16, f16};

/// The dtype of a tensor, with PyTorch's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dtype {
    /// `torch.bool`, a byte that is 0 or 1.
    Bool,
    /// `torch.uint8`
    Uint8,
    /// `torch.int8`
    Int8,
    /// `torch.uint16`
    Uint16,
    /// `torch.int16`
    Int16,
    /// `torch.uint32`
    Uint32,
    /// `torch.int32`
    Int32,
    /// `torch.uint64`
    Uint64,
    /// `torch.int64`
    Int64,
    /// `torch.float8_e4m3fn`, without infinities.
    Float8E4m3fn,
    /// `torch.float8_e4m3fnuz`, with a single NaN, without infinities and negative zero.
    Float8E4m3fnuz,
    /// `torch.float8_e5m2`
    Float8E5m2,
    /// `torch.float8_e5m2fnuz`, with a single NaN, without infinities and negative zero.
    Float8E5m2fnuz,
    /// `torch.float8_e8m0fnu`, powers of two, without sign and zero.
    Float8E8m0fnu,
    /// `torch.float16`
    Float16,
    /// `torch.bfloat16`
    Bfloat16,
    /// `torch.float32`
    Float32,
    /// `torch.float64`
    Float64,
    /// `torch.complex32`, two `float16`.
    Complex32,
    /// `torch.complex64`, two `float32`.
    Complex64,
    /// `torch.complex128`, two `float64`.
    Complex128,
}

impl Dtype {
    /// All dtypes in declaration order.
    pub const ALL: [Dtype; 21] = [
        Dtype::Bool,
        Dtype::Uint8,
        Dtype::Int8,
        Dtype::Uint16,
        Dtype::Int16,
        Dtype::Uint32,
        Dtype::Int32,
        Dtype::Uint64,
        Dtype::Int64,
        Dtype::Float8E4m3fn,
        Dtype::Float8E4m3fnuz,
        Dtype::Float8E5m2,
        Dtype::Float8E5m2fnuz,
        Dtype::Float8E8m0fnu,
        Dtype::Float16,
        Dtype::Bfloat16,
        Dtype::Float32,
        Dtype::Float64,
        Dtype::Complex32,
        Dtype::Complex64,
        Dtype::Complex128,
    ];

    /// PyTorch's name without `torch.`.
    ///
    /// ```
    /// assert_eq!(tensor_parity::Dtype::Bfloat16.name(), "bfloat16");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "bool",
            Dtype::Uint8 => "uint8",
            Dtype::Int8 => "int8",
            Dtype::Uint16 => "uint16",
            Dtype::Int16 => "int16",
            Dtype::Uint32 => "uint32",
            Dtype::Int32 => "int32",
            Dtype::Uint64 => "uint64",
            Dtype::Int64 => "int64",
            Dtype::Float8E4m3fn => "float8_e4m3fn",
            Dtype::Float8E4m3fnuz => "float8_e4m3fnuz",
            Dtype::Float8E5m2 => "float8_e5m2",
            Dtype::Float8E5m2fnuz => "float8_e5m2fnuz",
            Dtype::Float8E8m0fnu => "float8_e8m0fnu",
            Dtype::Float16 => "float16",
            Dtype::Bfloat16 => "bfloat16",
            Dtype::Float32 => "float32",
            Dtype::Float64 => "float64",
            Dtype::Complex32 => "complex32",
            Dtype::Complex64 => "complex64",
            Dtype::Complex128 => "complex128",
        }
    }

    /// The name in files of safetensors; `None` if they cannot have the dtype.
    ///
    /// ```
    /// assert_eq!(tensor_parity::Dtype::Bfloat16.safetensors_name(), Some("BF16"));
    /// ```
    pub fn safetensors_name(self) -> Option<&'static str> {
        Some(match self {
            Dtype::Bool => "BOOL",
            Dtype::Uint8 => "U8",
            Dtype::Int8 => "I8",
            Dtype::Uint16 => "U16",
            Dtype::Int16 => "I16",
            Dtype::Uint32 => "U32",
            Dtype::Int32 => "I32",
            Dtype::Uint64 => "U64",
            Dtype::Int64 => "I64",
            Dtype::Float8E4m3fn => "F8_E4M3",
            Dtype::Float8E4m3fnuz => "F8_E4M3FNUZ",
            Dtype::Float8E5m2 => "F8_E5M2",
            Dtype::Float8E5m2fnuz => "F8_E5M2FNUZ",
            Dtype::Float8E8m0fnu => "F8_E8M0",
            Dtype::Float16 => "F16",
            Dtype::Bfloat16 => "BF16",
            Dtype::Float32 => "F32",
            Dtype::Float64 => "F64",
            Dtype::Complex64 => "C64",
            Dtype::Complex32 | Dtype::Complex128 => return None,
        })
    }

    /// The dtype of a name of PyTorch without `torch.`.
    pub fn from_name(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The size of one element in bytes: 1 to 16.
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool
            | Dtype::Uint8
            | Dtype::Int8
            | Dtype::Float8E4m3fn
            | Dtype::Float8E4m3fnuz
            | Dtype::Float8E5m2
            | Dtype::Float8E5m2fnuz
            | Dtype::Float8E8m0fnu => 1,
            Dtype::Uint16 | Dtype::Int16 | Dtype::Float16 | Dtype::Bfloat16 => 2,
            Dtype::Uint32 | Dtype::Int32 | Dtype::Float32 | Dtype::Complex32 => 4,
            Dtype::Uint64 | Dtype::Int64 | Dtype::Float64 | Dtype::Complex64 => 8,
            Dtype::Complex128 => 16,
        }
    }

    /// Whether the dtype is real and floating point, as `torch.dtype.is_floating_point`.
    pub fn is_floating_point(self) -> bool {
        matches!(
            self,
            Dtype::Float16 | Dtype::Bfloat16 | Dtype::Float32 | Dtype::Float64
        ) || self.is_float8()
    }

    /// Whether the dtype is a floating point format of one byte.
    pub fn is_float8(self) -> bool {
        self.float8().is_some()
    }

    /// The dtype of the real and the imaginary part; `None` unless the dtype is complex.
    pub fn part(self) -> Option<Dtype> {
        match self {
            Dtype::Complex32 => Some(Dtype::Float16),
            Dtype::Complex64 => Some(Dtype::Float32),
            Dtype::Complex128 => Some(Dtype::Float64),
            _ => None,
        }
    }

    /// The value of a floating point element from its little-endian bytes, which is exact in `f64`.
    ///
    /// The payload of a NaN is not preserved. `None` for other dtypes, and if there are not
    /// [`size`](Self::size) bytes.
    ///
    /// ```
    /// use tensor_parity::Dtype;
    ///
    /// assert_eq!(Dtype::Bfloat16.to_f64(&[0xc0, 0x3f]), Some(1.5));
    /// assert_eq!(Dtype::Float8E4m3fn.to_f64(&[0x7e]), Some(448.0));
    /// assert_eq!(Dtype::Int32.to_f64(&[0, 0, 0, 0]), None);
    /// ```
    pub fn to_f64(self, bytes: &[u8]) -> Option<f64> {
        match self {
            Dtype::Float16 => Some(f64::from(f16::from_le_bytes(bytes.try_into().ok()?))),
            Dtype::Bfloat16 => Some(f64::from(bf16::from_le_bytes(bytes.try_into().ok()?))),
            Dtype::Float32 => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
            Dtype::Float64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
            _ => match bytes {
                [byte] => self.float8().map(|format| format.to_f64(*byte)),
                _ => None,
            },
        }
    }

    fn float8(self) -> Option<Float8> {
        let (mantissa, bias, special) = match self {
            Dtype::Float8E4m3fn => (3, 7, Special::NanOnly),
            Dtype::Float8E4m3fnuz => (3, 8, Special::NegativeZeroIsNan),
            Dtype::Float8E5m2 => (2, 15, Special::Ieee),
            Dtype::Float8E5m2fnuz => (2, 16, Special::NegativeZeroIsNan),
            Dtype::Float8E8m0fnu => (0, 127, Special::ExponentOnly),
            _ => return None,
        };
        Some(Float8 {
            mantissa,
            bias,
            special,
        })
    }
}

/// Serializes the [`name`](Dtype::name).
#[cfg(feature = "serde")]
impl serde::Serialize for Dtype {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A floating point format of one byte. The values follow `torch/headeronly/util/Float8_*.h`,
/// PyTorch 2.13.
struct Float8 {
    mantissa: u32,
    bias: i32,
    special: Special,
}

enum Special {
    /// The highest exponent is that of infinity and NaN.
    Ieee,
    /// All ones is NaN; all other patterns are numbers.
    NanOnly,
    /// 0x80 is NaN; all other patterns are numbers.
    NegativeZeroIsNan,
    /// Eight exponent bits; all ones is NaN.
    ExponentOnly,
}

impl Float8 {
    fn to_f64(&self, byte: u8) -> f64 {
        if matches!(self.special, Special::ExponentOnly) {
            return match byte {
                0xff => f64::NAN,
                _ => f64::from(i32::from(byte) - self.bias).exp2(),
            };
        }
        let magnitude = byte & 0x7f;
        let exponent = i32::from(magnitude >> self.mantissa);
        let fraction = f64::from(magnitude & ((1 << self.mantissa) - 1));
        let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
        let highest = (0x7f >> self.mantissa) == exponent;
        match self.special {
            Special::Ieee if highest && fraction == 0.0 => return sign * f64::INFINITY,
            Special::Ieee if highest => return f64::NAN,
            Special::NanOnly if magnitude == 0x7f => return f64::NAN,
            Special::NegativeZeroIsNan if byte == 0x80 => return f64::NAN,
            _ => {}
        }
        let scale = f64::from(1u32 << self.mantissa);
        let (significand, exponent) = match exponent {
            0 => (fraction / scale, 1),
            _ => (1.0 + fraction / scale, exponent),
        };
        sign * significand * f64::from(exponent - self.bias).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::Dtype;

    /// The greatest number and the smallest normal one, from `torch.finfo(dtype)` of PyTorch 2.13.
    #[test]
    fn extreme_values_of_float8() {
        for (dtype, greatest, normal) in [
            (Dtype::Float8E4m3fn, (0x7e, 448.0), (0x08, 0.015625)),
            (Dtype::Float8E4m3fnuz, (0x7f, 240.0), (0x08, 0.0078125)),
            (Dtype::Float8E5m2, (0x7b, 57344.0), (0x04, 6.103515625e-05)),
            (
                Dtype::Float8E5m2fnuz,
                (0x7f, 57344.0),
                (0x04, 3.0517578125e-05),
            ),
            (
                Dtype::Float8E8m0fnu,
                (0xfe, 2f64.powi(127)),
                (0x00, 2f64.powi(-127)),
            ),
        ] {
            assert_eq!(dtype.to_f64(&[greatest.0]), Some(greatest.1), "{dtype}");
            assert_eq!(dtype.to_f64(&[normal.0]), Some(normal.1), "{dtype}");
        }
        assert_eq!(Dtype::Float8E5m2.to_f64(&[0xfc]), Some(f64::NEG_INFINITY));
        for (dtype, byte) in [
            (Dtype::Float8E4m3fn, 0xff),
            (Dtype::Float8E5m2, 0x7d),
            (Dtype::Float8E5m2fnuz, 0x80),
            (Dtype::Float8E8m0fnu, 0xff),
        ] {
            assert!(dtype.to_f64(&[byte]).is_some_and(f64::is_nan), "{dtype}");
        }
    }

    #[test]
    fn all_lists_each_dtype_once_in_order() {
        let mut sorted = Dtype::ALL;
        sorted.sort();
        assert_eq!(sorted, Dtype::ALL);
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
