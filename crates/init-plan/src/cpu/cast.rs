//! Values of one dtype as those of another, as `Tensor.to(dtype)` casts them.

use crate::elements::{Plain, contiguous_mut, for_dtype, gather, scatter};
use crate::error::NeedsLibtorch;
use crate::step::Scalar;
use crate::view::View;
use half::{bf16, f16};
use tensor_parity::Dtype;

/// A value before it is cast.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Float(f64),
    Int(i64),
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Value {
        match scalar {
            Scalar::Int(value) => Value::Int(value),
            Scalar::Float(value) => Value::Float(value),
            Scalar::Bool(value) => Value::Int(value.into()),
        }
    }
}

/// A type that is cast.
pub(super) trait Cast: Plain {
    fn to_value(self) -> Value;

    /// `None` where C++ leaves the result undefined, or libtorch's kernels disagree on it.
    fn from_value(value: Value) -> Option<Self>;

    /// The value of a `fill_`, which refuses what is out of range.
    fn from_scalar(value: Value) -> Option<Self> {
        Self::from_value(value)
    }
}

macro_rules! ints {
    ($($int:ty)*) => {
        $(impl Cast for $int {
            fn to_value(self) -> Value {
                Value::Int(self.into())
            }

            fn from_value(value: Value) -> Option<$int> {
                match value {
                    Value::Int(value) => Some(value as $int),
                    Value::Float(value) => {
                        let value = value.trunc();
                        (value >= <$int>::MIN as f64 && value < <$int>::MAX as f64)
                            .then_some(value as $int)
                    }
                }
            }

            fn from_scalar(value: Value) -> Option<$int> {
                match value {
                    Value::Int(value) => value.try_into().ok(),
                    value => Self::from_value(value),
                }
            }
        })*
    };
}

ints! { u8 i8 i16 i32 i64 }

macro_rules! floats {
    ($($float:ty, $bits:literal: |$value:ident| $narrow:expr, |$int:ident| $from_int:expr;)*) => {
        $(impl Cast for $float {
            fn to_value(self) -> Value {
                Value::Float(self.into())
            }

            fn from_value(value: Value) -> Option<$float> {
                match value {
                    // libtorch's vectorized kernels and its scalar ones have different NaNs.
                    Value::Float($value) if $value.is_nan() && $bits == 16 => None,
                    Value::Float($value) => Some($narrow),
                    Value::Int($int) => Some($from_int),
                }
            }

            fn from_scalar(value: Value) -> Option<$float> {
                if let Value::Float(value) = value
                    && value.is_finite()
                    && value.abs() > <$float>::MAX.into()
                {
                    return None;
                }
                Self::from_value(value)
            }
        })*
    };
}

floats! {
    f32, 32: |value| value as f32, |int| int as f32;
    f64, 64: |value| value, |int| int as f64;
    // By way of f32 and so rounded twice, as in C++.
    bf16, 16: |value| bf16::from_f32(value as f32), |int| bf16::from_f32(int as f32);
    f16, 16: |value| f16::from_f32(value as f32), |int| f16::from_f32(int as f32);
}

/// Copies a view to another one of its shape, and casts it to that one's dtype.
pub(super) fn copy(
    source: &[u8],
    view: &View,
    target: &mut [u8],
    out: &View,
) -> Result<(), NeedsLibtorch> {
    let copied = match (view.dtype(), out.dtype()) {
        (from, to) if from == to => for_dtype!(from, copy_same(source, view, target, out)),
        (from, Dtype::Bool) => for_dtype!(from, copy_truth(source, view, target, out)),
        (from, _) => for_dtype!(from, copy_from(source, view, target, out)),
    };
    copied.flatten().ok_or(NeedsLibtorch)
}

fn copy_same<T: Plain>(source: &[u8], view: &View, target: &mut [u8], out: &View) -> Option<()> {
    scatter(target, out, &gather::<T>(source, view));
    Some(())
}

fn copy_truth<T: Cast>(source: &[u8], view: &View, target: &mut [u8], out: &View) -> Option<()> {
    let values = gather::<T>(source, view);
    let truths = values.iter().map(|value| match value.to_value() {
        Value::Float(value) => u8::from(value != 0.0),
        Value::Int(value) => u8::from(value != 0),
    });
    scatter(target, out, &truths.collect::<Vec<u8>>());
    Some(())
}

fn copy_from<T: Cast>(source: &[u8], view: &View, target: &mut [u8], out: &View) -> Option<()> {
    let values = gather::<T>(source, view);
    for_dtype!(out.dtype(), copy_to(&values, target, out)).flatten()
}

fn copy_to<T: Cast>(values: &[impl Cast], target: &mut [u8], out: &View) -> Option<()> {
    if out.is_contiguous()
        && let Some(elements) = contiguous_mut::<T>(target, out)
    {
        for (element, value) in elements.iter_mut().zip(values) {
            *element = T::from_value(value.to_value())?;
        }
        return Some(());
    }
    let values = values.iter().map(|value| T::from_value(value.to_value()));
    scatter(target, out, &values.collect::<Option<Vec<T>>>()?);
    Some(())
}

/// Writes one value to all elements, as `fill_` does.
pub(super) fn fill(value: Scalar, target: &mut [u8], out: &View) -> Result<(), NeedsLibtorch> {
    let value = match (value, out.dtype()) {
        (Scalar::Int(value), Dtype::Bool) => Scalar::Bool(value != 0),
        (Scalar::Float(value), Dtype::Bool) => Scalar::Bool(value != 0.0),
        (value, _) => value,
    };
    let filled = for_dtype!(out.dtype(), fill_with(value.into(), target, out));
    filled.flatten().ok_or(NeedsLibtorch)
}

fn fill_with<T: Cast>(value: Value, target: &mut [u8], out: &View) -> Option<()> {
    let value = T::from_scalar(value)?;
    if out.is_contiguous()
        && let Some(elements) = contiguous_mut::<T>(target, out)
    {
        elements.fill(value);
    } else {
        scatter(target, out, &vec![value; out.numel() as usize]);
    }
    Some(())
}
