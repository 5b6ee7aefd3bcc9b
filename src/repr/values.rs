//! The elements that are shown, copied out of libtorch once.

use tch::{Device, Kind, TchError, Tensor};

use super::error::ReprError;

/// The class of numbers that an element belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bool,
    Signed,
    Unsigned,
    Real,
    /// Powers of two, of which PyTorch takes NaN for a finite number.
    Exponent,
    /// Pairs of 4-bit floats, which PyTorch prints as their bytes.
    Pair,
    /// PyTorch prints a tensor without elements only.
    Unprintable,
    Complex,
}

/// An element type as PyTorch names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dtype {
    /// As in `torch.float32`.
    pub(super) name: &'static str,
    class: Class,
}

impl Dtype {
    /// The element type of `tensor`, those included for which tch has no [`Kind`].
    pub(super) fn of(tensor: &Tensor) -> Result<Self, ReprError> {
        let (name, class) = match tensor.f_kind() {
            Ok(Kind::Uint8) => ("torch.uint8", Class::Signed),
            Ok(Kind::Int8) => ("torch.int8", Class::Signed),
            Ok(Kind::Int16) => ("torch.int16", Class::Signed),
            Ok(Kind::Int) => ("torch.int32", Class::Signed),
            Ok(Kind::Int64) => ("torch.int64", Class::Signed),
            Ok(Kind::Half) => ("torch.float16", Class::Real),
            Ok(Kind::Float) => ("torch.float32", Class::Real),
            Ok(Kind::Double) => ("torch.float64", Class::Real),
            Ok(Kind::ComplexHalf) => ("torch.complex32", Class::Complex),
            Ok(Kind::ComplexFloat) => ("torch.complex64", Class::Complex),
            Ok(Kind::ComplexDouble) => ("torch.complex128", Class::Complex),
            Ok(Kind::Bool) => ("torch.bool", Class::Bool),
            Ok(Kind::BFloat16) => ("torch.bfloat16", Class::Real),
            Ok(Kind::Float8e5m2) => ("torch.float8_e5m2", Class::Real),
            Ok(Kind::Float8e4m3fn) => ("torch.float8_e4m3fn", Class::Real),
            Ok(Kind::Float8e5m2fnuz) => ("torch.float8_e5m2fnuz", Class::Real),
            Ok(Kind::Float8e4m3fnuz) => ("torch.float8_e4m3fnuz", Class::Real),
            Ok(kind @ (Kind::QInt8 | Kind::QUInt8 | Kind::QInt32)) => {
                let name = format!("{kind:?}").to_lowercase();
                return Err(ReprError::Unsupported(format!(
                    "quantized tensors ({name}): dequantize it first"
                )));
            }
            // c10/core/ScalarType.h, PyTorch 2.13.
            Err(TchError::UnknownKind(27)) => ("torch.uint16", Class::Signed),
            Err(TchError::UnknownKind(28)) => ("torch.uint32", Class::Signed),
            Err(TchError::UnknownKind(29)) => ("torch.uint64", Class::Unsigned),
            Err(TchError::UnknownKind(44)) => ("torch.float8_e8m0fnu", Class::Exponent),
            Err(TchError::UnknownKind(45)) => ("torch.float4_e2m1fn_x2", Class::Pair),
            Err(TchError::UnknownKind(number)) => {
                let known = UNPRINTABLE.iter().find(|(known, _)| *known == number);
                let (_, name) = known.ok_or_else(|| {
                    ReprError::Unsupported(format!("element type number {number} of libtorch"))
                })?;
                (*name, Class::Unprintable)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Dtype { name, class })
    }

    /// Whether PyTorch reads this type off the printed elements.
    pub(super) fn is_evident(&self) -> bool {
        self.is_default() || ["torch.complex64", "torch.int64", "torch.bool"].contains(&self.name)
    }

    /// Whether this is PyTorch's default element type.
    pub(super) fn is_default(&self) -> bool {
        self.name == "torch.float32"
    }
}

/// The element types of `c10/core/ScalarType.h`, PyTorch 2.13, without printable elements, by number.
const UNPRINTABLE: [(i32, &str); 21] = [
    (16, "torch.quint4x2"),
    (17, "torch.quint2x4"),
    (18, "torch.bits1x8"),
    (19, "torch.bits2x4"),
    (20, "torch.bits4x2"),
    (21, "torch.bits8"),
    (22, "torch.bits16"),
    (30, "torch.uint1"),
    (31, "torch.uint2"),
    (32, "torch.uint3"),
    (33, "torch.uint4"),
    (34, "torch.uint5"),
    (35, "torch.uint6"),
    (36, "torch.uint7"),
    (37, "torch.int1"),
    (38, "torch.int2"),
    (39, "torch.int3"),
    (40, "torch.int4"),
    (41, "torch.int5"),
    (42, "torch.int6"),
    (43, "torch.int7"),
];

/// The shown part of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    /// Elements shown, from both ends together if some are left out.
    pub(super) shown: usize,
    /// Whether those in the middle are left out.
    pub(super) elided: bool,
}

/// Elements in row-major order.
#[derive(Debug)]
pub(super) enum Values {
    /// 0 is false.
    Bool(Vec<i64>),
    Signed(Vec<i64>),
    /// The bits of `u64`.
    Unsigned(Vec<i64>),
    Real(Vec<f64>),
    /// As `Real`, but NaN counts as a finite number.
    Exponent(Vec<f64>),
    Complex {
        real: Vec<f64>,
        imag: Vec<f64>,
    },
}

impl Values {
    /// Copies what `axes` show of a strided tensor; nothing else of it is read.
    pub(super) fn read(tensor: &Tensor, dtype: Dtype, axes: &[Axis]) -> Result<Self, ReprError> {
        Ok(match dtype.class {
            Class::Bool => Values::Bool(read(tensor, axes, Kind::Int64)?),
            Class::Signed => Values::Signed(read(tensor, axes, Kind::Int64)?),
            Class::Unsigned => Values::Unsigned(read(tensor, axes, Kind::Int64)?),
            Class::Real => Values::Real(read(tensor, axes, Kind::Double)?),
            Class::Exponent => Values::Exponent(read(tensor, axes, Kind::Double)?),
            Class::Unprintable => {
                return Err(ReprError::Unsupported(format!(
                    "elements of {}, as PyTorch cannot: view them as another dtype",
                    dtype.name
                )));
            }
            Class::Pair if axes.is_empty() => {
                return Err(ReprError::Unsupported(
                    "float4_e2m1fn_x2 tensors without dimensions, as in PyTorch".to_owned(),
                ));
            }
            Class::Pair => {
                let bytes = tensor.f_view_dtype(Kind::Uint8)?;
                Values::Real(read(&bytes, axes, Kind::Double)?)
            }
            Class::Complex if tensor.f_internal_is_zerotensor()? => Values::Complex {
                real: read(tensor, axes, Kind::Double)?,
                imag: read(tensor, axes, Kind::Double)?,
            },
            Class::Complex => Values::Complex {
                real: read(&tensor.f_real()?, axes, Kind::Double)?,
                imag: read(&tensor.f_imag()?, axes, Kind::Double)?,
            },
        })
    }
}

/// Copies what is shown, as `T`, which is the Rust type of `kind`.
fn read<T: tch::kind::Element + Copy>(
    tensor: &Tensor,
    axes: &[Axis],
    kind: Kind,
) -> Result<Vec<T>, ReprError> {
    let count = axes
        .iter()
        .fold(1_usize, |count, axis| count.saturating_mul(axis.shown));
    let mut values = vec![T::ZERO; count];
    // Zeros that libtorch holds no memory for.
    if !tensor.f_internal_is_zerotensor()? {
        gather(tensor, axes, 0, kind)?.f_copy_data(&mut values, count)?;
    }
    Ok(values)
}

/// The shown parts of `tensor` side by side, from dimension `from` on, converted to `kind` on the
/// CPU. Every part is cut out before anything is copied.
fn gather(tensor: &Tensor, axes: &[Axis], from: usize, kind: Kind) -> Result<Tensor, ReprError> {
    let cut = axes
        .iter()
        .enumerate()
        .skip(from)
        .find(|(_, axis)| axis.elided);
    let Some((dim, axis)) = cut else {
        return Ok(tensor
            .f_to_device(Device::Cpu)?
            .f_to_kind(kind)?
            .f_resolve_neg()?);
    };
    let length = tensor.size().get(dim).copied().unwrap_or(0);
    // Less than half of `length`, so it fits; so does the dimension.
    let edge = (axis.shown / 2) as i64;
    let parts = [
        gather(&tensor.f_narrow(dim as i64, 0, edge)?, axes, dim + 1, kind)?,
        gather(
            &tensor.f_narrow(dim as i64, length - edge, edge)?,
            axes,
            dim + 1,
            kind,
        )?,
    ];
    Ok(Tensor::f_cat(&parts, dim as i64)?)
}

/// A size as Python prints a tuple.
pub(super) fn size_suffix(shape: &[i64]) -> String {
    match shape {
        [size] => format!("size=({size},)"),
        _ => {
            let sizes: Vec<String> = shape.iter().map(i64::to_string).collect();
            format!("size=({})", sizes.join(", "))
        }
    }
}
