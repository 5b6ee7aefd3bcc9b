//! Promotion of two dtypes to a common one.

use crate::Dtype;
use half::{bf16, f16};

/// The dtype in which `assert_close(..., check_dtype=False)` compares two dtypes.
///
/// It is that of `torch.promote_types`, except that `uint16`, `uint32` and `uint64` count as
/// `int64`. `None` if PyTorch has no common dtype, which is the case for a `float8` and any other
/// dtype.
///
/// Follows `_equalize_attributes` of `torch/testing/_comparison.py` and
/// `c10/core/ScalarType.cpp`, PyTorch 2.13.
///
/// ```
/// use tensor_parity::compare::promote_types;
/// use tensor_parity::Dtype;
///
/// let promoted = promote_types(Dtype::Float16, Dtype::Bfloat16);
/// assert_eq!(promoted, Some(Dtype::Float32));
/// assert_eq!(promote_types(Dtype::Float32, Dtype::Float8E5m2), None);
/// ```
pub fn promote_types(a: Dtype, b: Dtype) -> Option<Dtype> {
    if a == b {
        return Some(a);
    }
    if a.is_float8() || b.is_float8() {
        return None;
    }
    let signed = |dtype| match dtype {
        Dtype::Uint16 | Dtype::Uint32 | Dtype::Uint64 => Dtype::Int64,
        _ => dtype,
    };
    let (a, b) = (signed(a), signed(b));
    // The higher of two categories wins. Only a float can widen a complex dtype.
    let part = |dtype: Dtype| dtype.part().unwrap_or(dtype);
    Some(match (class(a), class(b)) {
        (x, y) if x == Class::Complex || y == Class::Complex => {
            let floats = [a, b].map(|dtype| match class(dtype) {
                Class::Float | Class::Complex => part(dtype),
                _ => Dtype::Float16,
            });
            match wider_float(floats[0], floats[1]) {
                Dtype::Float16 => Dtype::Complex32,
                Dtype::Float64 => Dtype::Complex128,
                _ => Dtype::Complex64,
            }
        }
        (Class::Float, Class::Float) => wider_float(a, b),
        (Class::Float, _) => a,
        (_, Class::Float) => b,
        (Class::Bool, _) => b,
        (_, Class::Bool) => a,
        _ => match (a.size(), b.size()) {
            _ if a == b => a,
            // uint8 and int8
            (1, 1) => Dtype::Int16,
            (x, y) if x > y => a,
            _ => b,
        },
    })
}

#[derive(PartialEq, Clone, Copy)]
enum Class {
    Bool,
    Integer,
    Float,
    Complex,
}

fn class(dtype: Dtype) -> Class {
    if dtype == Dtype::Bool {
        Class::Bool
    } else if dtype.part().is_some() {
        Class::Complex
    } else if dtype.is_floating_point() {
        Class::Float
    } else {
        Class::Integer
    }
}

fn wider_float(a: Dtype, b: Dtype) -> Dtype {
    match a.size().cmp(&b.size()) {
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Less => b,
        _ if a == b => a,
        // float16 and bfloat16
        _ => Dtype::Float32,
    }
}

/// The value of an element, independent of its dtype.
enum Value {
    /// Of any integer dtype or `bool`.
    Integer(i128),
    /// Of any real floating point dtype, all of which are exact in `f64`.
    Float(f64),
    Complex(f64, f64),
}

/// Converts the elements in `bytes` to the dtype `to`, as `Tensor.to` does, and stores them in
/// `out`.
///
/// `to` must be the result of [`promote_types`] for `from` and another dtype.
pub(super) fn convert(from: Dtype, to: Dtype, bytes: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(bytes.len() / from.size() * to.size());
    for element in bytes.chunks_exact(from.size()) {
        let value = decode(from, element);
        encode(to, &value, out);
    }
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Value {
    if let Some(part) = dtype.part() {
        let (re, im) = bytes.split_at(part.size());
        return match (decode(part, re), decode(part, im)) {
            (Value::Float(re), Value::Float(im)) => Value::Complex(re, im),
            (other, _) => other,
        };
    }
    match dtype.to_f64(bytes) {
        Some(float) => Value::Float(float),
        None => Value::Integer(integer(dtype, bytes)),
    }
}

/// The value of an integer or `bool` element.
pub(super) fn integer(dtype: Dtype, bytes: &[u8]) -> i128 {
    let mut word = [0; 16];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    let unsigned = i128::from_le_bytes(word);
    let spare = 128 - 8 * bytes.len();
    match dtype {
        Dtype::Bool => i128::from(unsigned != 0),
        Dtype::Int8 | Dtype::Int16 | Dtype::Int32 | Dtype::Int64 => unsigned << spare >> spare,
        _ => unsigned,
    }
}

fn encode(dtype: Dtype, value: &Value, out: &mut Vec<u8>) {
    if let Some(part) = dtype.part() {
        let (re, im) = match value {
            Value::Complex(re, im) => (Value::Float(*re), Value::Float(*im)),
            Value::Float(re) => (Value::Float(*re), Value::Float(0.0)),
            Value::Integer(re) => (Value::Integer(*re), Value::Integer(0)),
        };
        encode(part, &re, out);
        encode(part, &im, out);
        return;
    }
    match (dtype, value) {
        (Dtype::Float64, Value::Integer(x)) => out.extend((*x as f64).to_le_bytes()),
        (Dtype::Float64, Value::Float(x)) => out.extend(x.to_le_bytes()),
        (Dtype::Float32, value) => out.extend(to_f32(value).to_le_bytes()),
        (Dtype::Float16, value) => {
            out.extend(f16::from_f32(to_f32(value)).to_le_bytes());
        }
        (Dtype::Bfloat16, value) => {
            out.extend(bf16::from_f32(to_f32(value)).to_le_bytes());
        }
        // uint64 wraps around in int64, as in PyTorch.
        (_, Value::Integer(x)) => out.extend(&x.to_le_bytes()[..dtype.size()]),
        // Promotion never converts a float to an integer.
        (_, Value::Float(_) | Value::Complex(..)) => out.extend(vec![0; dtype.size()]),
    }
}

/// Converts to `float`, through which PyTorch also converts integers to half precision.
fn to_f32(value: &Value) -> f32 {
    match value {
        Value::Integer(x) => *x as f32,
        Value::Float(x) | Value::Complex(x, _) => *x as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_is_symmetric_and_keeps_a_dtype() {
        for a in Dtype::ALL {
            assert_eq!(promote_types(a, a), Some(a));
            for b in Dtype::ALL {
                assert_eq!(promote_types(a, b), promote_types(b, a), "{a} {b}");
            }
        }
    }

    /// From `torch.promote_types` of PyTorch 2.13; a live test of tch-init has the full table.
    #[test]
    fn promotions_equal_those_of_pytorch() {
        use Dtype::*;
        for (a, b, expected) in [
            (Uint8, Int8, Int16),
            (Uint16, Uint8, Int64),
            (Int32, Float16, Float16),
            (Float32, Complex32, Complex64),
            (Bfloat16, Complex32, Complex64),
            (Int64, Complex32, Complex32),
            (Float64, Complex64, Complex128),
        ] {
            assert_eq!(promote_types(a, b), Some(expected), "{a} {b}");
        }
    }

    #[test]
    fn conversions_wrap_and_round_as_in_pytorch() {
        let mut out = Vec::new();
        convert(
            Dtype::Uint64,
            Dtype::Int64,
            &u64::MAX.to_le_bytes(),
            &mut out,
        );
        assert_eq!(out, (-1i64).to_le_bytes());
        convert(
            Dtype::Int8,
            Dtype::Complex64,
            &(-3i8).to_le_bytes(),
            &mut out,
        );
        assert_eq!(out[..4], (-3f32).to_le_bytes());
        assert_eq!(out[4..], 0f32.to_le_bytes());
        // torch.tensor(2049).half() ties to even.
        convert(
            Dtype::Int32,
            Dtype::Float16,
            &2049i32.to_le_bytes(),
            &mut out,
        );
        assert_eq!(out, f16::from_f32(2048.0).to_le_bytes());
    }
}
