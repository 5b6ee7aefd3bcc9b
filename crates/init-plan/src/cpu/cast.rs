//! Values of one dtype as those of another, as `Tensor.to(dtype)` casts them.

use crate::elements::{Plain, contiguous_mut, for_dtype, for_size, gather, scatter};
use crate::error::NeedsLibtorch;
use crate::scalar::Scalar;
use crate::view::View;
use half::{bf16, f16};
use tensor_parity::Dtype;

/// A value before it is cast.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Float(f64),
    Int(i128),
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Value {
        match scalar {
            Scalar::Int(value) => Value::Int(value.into()),
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

    /// The value of a `fill_`, which rejects what is out of range.
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

ints! { u8 i8 u16 i16 u32 i32 u64 i64 }

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
    if view.dtype() == out.dtype() {
        for_size!(view.dtype(), copy_same(source, view, target, out));
        return Ok(());
    }
    match (view.parts(), out.parts()) {
        (None, None) => {}
        (Some([real, imaginary]), Some([to_real, to_imaginary])) => {
            copy(source, &real, target, &to_real)?;
            return copy(source, &imaginary, target, &to_imaginary);
        }
        (None, Some([to_real, to_imaginary])) => {
            copy(source, view, target, &to_real)?;
            return fill(Scalar::Int(0), target, &to_imaginary);
        }
        // A bool is true also for the imaginary part.
        (Some(_), None) if out.dtype() == Dtype::Bool => return Err(NeedsLibtorch),
        // The imaginary part is discarded.
        (Some([real, _]), None) => return copy(source, &real, target, out),
    }
    if (view.dtype(), out.dtype()) == (Dtype::Float32, Dtype::Bfloat16)
        && out.is_contiguous()
        && let Some(elements) = contiguous_mut(target, out)
    {
        return round_to_bf16(&gather(source, view), elements).ok_or(NeedsLibtorch);
    }
    let copied = match (view.dtype(), out.dtype()) {
        (from, Dtype::Bool) => for_dtype!(from, copy_truth(source, view, target, out)),
        (from, _) => for_dtype!(from, copy_from(source, view, target, out)),
    };
    copied.flatten().ok_or(NeedsLibtorch)
}

/// The cast of most large models. As [`Cast::from_value`], without an exit from the loop, so that it becomes vector instructions.
fn round_to_bf16(values: &[f32], elements: &mut [bf16]) -> Option<()> {
    let mut has_nan = false;
    for (element, value) in elements.iter_mut().zip(values) {
        has_nan |= value.is_nan();
        *element = bf16::from_f32(*value);
    }
    (!has_nan).then_some(())
}

fn copy_same<T: Plain>(source: &[u8], view: &View, target: &mut [u8], out: &View) {
    scatter(target, out, &gather::<T>(source, view));
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

/// The byte of a float of 8 bits that has exactly this value.
fn float8(value: Scalar, dtype: Dtype) -> Option<u8> {
    let value = match value {
        Scalar::Int(value) => value as f64,
        Scalar::Float(value) => value,
        Scalar::Bool(value) => f64::from(u8::from(value)),
    };
    let same = |byte: &u8| dtype.to_f64(&[*byte]).map(f64::to_bits) == Some(value.to_bits());
    (0..=u8::MAX).find(same)
}

/// Writes one value to all elements, as `fill_` does.
pub(super) fn fill(value: Scalar, target: &mut [u8], out: &View) -> Result<(), NeedsLibtorch> {
    if let Some([real, imaginary]) = out.parts() {
        fill(value, target, &real)?;
        return fill(Scalar::Int(0), target, &imaginary);
    }
    if out.dtype().is_float8() {
        let byte = float8(value, out.dtype()).ok_or(NeedsLibtorch)?;
        scatter(target, out, &vec![byte; out.numel() as usize]);
        return Ok(());
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_rounded_to_bf16() {
        // Each upper half, with lower halves around what rounds up.
        for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
            for upper in 0..=u16::MAX {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                let mut rounded = [bf16::ZERO; 3];
                let all = round_to_bf16(&[1.0, value, 2.0], &mut rounded);
                let expected = bf16::from_value(value.to_value());
                assert_eq!(all.is_some(), expected.is_some(), "{value:e}");
                let bits = expected.map(bf16::to_bits);
                assert!(
                    bits.is_none_or(|bits| bits == rounded[1].to_bits()),
                    "{value:e}"
                );
            }
        }
    }
}
