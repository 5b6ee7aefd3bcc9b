//! Arrays and scalars of numpy in a pickle, read as tensors.
//!
//! After `__reduce__` and `__setstate__` of `ndarray`, `generic` and `dtype`, and `_frombuffer` of
//! `numpy/_core/numeric.py`, numpy 2.4.

use super::error::Problem;
use super::npy::{self, Header};
use super::pickle::{Element, Global, Heap, Id, Numpy, NumpyKind, Value};
use crate::Dtype;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The maximum number of dimensions of an array in numpy.
const MAX_DIMENSIONS: usize = 64;

/// What an array or a scalar is.
pub(super) enum Content {
    Tensor {
        header: Header,
        /// Its elements in [`Decoded`].
        range: Range<usize>,
    },
    /// It has no numbers.
    Other(&'static str),
}

/// The elements of arrays, little-endian. Each array has them once, however often it is named.
#[derive(Default)]
pub(super) struct Decoded {
    bytes: Vec<u8>,
    ranges: HashMap<(Id, Conversion), Range<usize>>,
}

/// How the bytes of a pickle become elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Conversion {
    /// That many bytes are reversed together.
    Reversed(usize),
    /// From float32, which holds every bfloat16.
    Bfloat16,
}

/// The parts of an array, not yet evaluated.
struct Parts {
    dtype: Id,
    shape: Option<Id>,
    order: Order,
    data: Id,
}

enum Order {
    RowMajor,
    ColumnMajor,
    /// Row-major before this permutation of dimensions.
    Permuted(Id),
}

impl Decoded {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads the elements of an array or a scalar.
    pub(super) fn read(&mut self, heap: &Heap<'_>, numpy: &Numpy) -> Result<Content, Problem> {
        let mut target = None;
        let parts = match numpy.kind {
            NumpyKind::Dtype => return Ok(Content::Other("a dtype of numpy")),
            NumpyKind::Tensor => {
                let (array, dtype) = match heap.list(numpy.arguments) {
                    &[array, dtype, ..] => (heap.get(array), heap.get(dtype)),
                    _ => return Err(unknown()),
                };
                let (Value::Numpy(array), Value::Global(Global::Dtype(Element::Known(dtype)))) =
                    (array, dtype)
                else {
                    return Err(unknown());
                };
                target = Some(*dtype);
                parts(heap, array).ok_or_else(unknown)?
            }
            _ => parts(heap, numpy).ok_or_else(unknown)?,
        };
        if is_structured(heap, parts.dtype) {
            return Err(Problem::unsupported(
                "a structured array",
                "save each of its fields as an array",
            ));
        }
        let descr = descr(heap, parts.dtype).ok_or_else(unknown)?;
        if let Some(what) = not_numbers(&descr, numpy.kind) {
            return Ok(Content::Other(what));
        }
        let (dtype, big_endian) = npy::dtype(&descr)?;
        let mut header = Header {
            dtype,
            shape: match parts.shape {
                Some(shape) => naturals(heap, shape).ok_or_else(unknown)?,
                None => Vec::new(),
            },
            order: match parts.order {
                Order::RowMajor => npy::Order::RowMajor,
                Order::ColumnMajor => npy::Order::ColumnMajor,
                Order::Permuted(axes) => {
                    npy::Order::Permuted(naturals(heap, axes).ok_or_else(unknown)?)
                }
            },
            big_endian,
        };
        let conversion = match target {
            Some(Dtype::Bfloat16) if (dtype, big_endian) == (Dtype::Float32, false) => {
                Conversion::Bfloat16
            }
            Some(target) if target != dtype => {
                return Err(Problem::unsupported(
                    "a tensor of another device, as a numpy array of another dtype",
                    "save x.cpu()",
                ));
            }
            _ => Conversion::Reversed(header.swap_unit()),
        };
        if let npy::Order::Permuted(axes) = &header.order {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..header.shape.len()) {
                return Err(unknown());
            }
        }
        let needed = header.bytes()?;
        let range = self.elements(heap, parts.data, conversion, needed)?;
        if conversion == Conversion::Bfloat16 {
            header.dtype = Dtype::Bfloat16;
        }
        header.big_endian = false;
        Ok(Content::Tensor { header, range })
    }

    /// The range of the elements that the bytes of a value are, of which there must be `needed`.
    fn elements(
        &mut self,
        heap: &Heap<'_>,
        data: Id,
        conversion: Conversion,
        needed: usize,
    ) -> Result<Range<usize>, Problem> {
        let converted = match conversion {
            Conversion::Reversed(_) => needed,
            Conversion::Bfloat16 => needed / 2,
        };
        let wrong = |found: usize| {
            Problem::damaged(format!("its array needs {needed} bytes, found {found}"))
        };
        let key = (source(heap, data), conversion);
        if let Some(range) = self.ranges.get(&key) {
            return match range.len() == converted {
                true => Ok(range.clone()),
                false => Err(wrong(range.len())),
            };
        }
        let bytes = bytes(heap, data)
            .ok_or_else(|| Problem::damaged("its array has no bytes in the pickle"))?;
        if bytes.len() != needed {
            return Err(wrong(bytes.len()));
        }
        let start = self.bytes.len();
        match conversion {
            Conversion::Reversed(unit) => {
                self.bytes.extend_from_slice(&bytes);
                if unit > 1 {
                    npy::swap(&mut self.bytes[start..], unit);
                }
            }
            Conversion::Bfloat16 => {
                let (floats, _) = bytes.as_chunks::<4>();
                if floats.iter().any(|float| float[..2] != [0, 0]) {
                    return Err(Problem::damaged(
                        "a bfloat16 tensor, as float32 numbers that are not of bfloat16",
                    ));
                }
                let halves = floats.iter().flat_map(|float| [float[2], float[3]]);
                self.bytes.extend(halves);
            }
        }
        let range = start..self.bytes.len();
        self.ranges.insert(key, range.clone());
        Ok(range)
    }
}

fn unknown() -> Problem {
    Problem::unsupported(
        "a numpy array that is not described as numpy does",
        "save it as a tensor",
    )
}

/// The parts of an array or a scalar; `None` if numpy does not write it like this.
fn parts(heap: &Heap<'_>, numpy: &Numpy) -> Option<Parts> {
    let arguments = heap.list(numpy.arguments);
    match (numpy.kind, arguments) {
        (NumpyKind::Array, _) => {
            // Before a version was added, the state began with the shape.
            let [shape, dtype, is_fortran, data] = match *heap.list(numpy.state) {
                [_version, shape, dtype, is_fortran, data] => [shape, dtype, is_fortran, data],
                [shape, dtype, is_fortran, data] => [shape, dtype, is_fortran, data],
                _ => return None,
            };
            Some(Parts {
                dtype,
                shape: Some(shape),
                order: match heap.get(is_fortran) {
                    Value::Bool(false) | Value::Int(0) => Order::RowMajor,
                    _ => Order::ColumnMajor,
                },
                data,
            })
        }
        (NumpyKind::FromBuffer, &[data, dtype, shape, order, ref axes @ ..]) => Some(Parts {
            dtype,
            shape: Some(shape),
            order: match (heap.get(order), axes.first()) {
                (Value::Str(order), _) if order == "C" => Order::RowMajor,
                (Value::Str(order), _) if order == "F" => Order::ColumnMajor,
                (Value::Str(order), Some(axes)) if order == "K" => Order::Permuted(*axes),
                _ => return None,
            },
            data,
        }),
        (NumpyKind::Scalar, &[dtype, data]) => Some(Parts {
            dtype,
            shape: None,
            order: Order::RowMajor,
            data,
        }),
        _ => None,
    }
}

/// numpy's type string of a dtype, such as `<f4`.
fn descr(heap: &Heap<'_>, dtype: Id) -> Option<String> {
    let Value::Numpy(dtype) = heap.get(dtype) else {
        return None;
    };
    if dtype.kind != NumpyKind::Dtype {
        return None;
    }
    let name = match heap.get(*heap.list(dtype.arguments).first()?) {
        Value::Str(name) => name,
        _ => return None,
    };
    let order = match heap.list(dtype.state).get(1).map(|id| heap.get(*id)) {
        Some(Value::Str(order)) => order,
        _ => "|",
    };
    // Only dtypes without an order, such as `b1`, have no state.
    (name.len() <= 32 && order.len() == 1).then(|| format!("{order}{name}"))
}

/// Whether a dtype has fields or a shape.
fn is_structured(heap: &Heap<'_>, dtype: Id) -> bool {
    let Value::Numpy(dtype) = heap.get(dtype) else {
        return false;
    };
    let state = heap.list(dtype.state);
    let parts = state.get(2..5).unwrap_or_default();
    parts.iter().any(|id| !matches!(heap.get(*id), Value::None))
}

/// What an array or a scalar without numbers is.
fn not_numbers(descr: &str, kind: NumpyKind) -> Option<&'static str> {
    let is_scalar = kind == NumpyKind::Scalar;
    Some(match descr.get(1..2)? {
        "O" | "U" | "S" | "a" | "M" | "m" if is_scalar => "a numpy scalar",
        "O" => "a numpy array of objects",
        "U" | "S" | "a" => "a numpy array of strings",
        _ => return None,
    })
}

/// The text of a scalar of strings, and the number of another one as Python prints it; `None` if it
/// is neither.
pub(super) fn scalar_text(heap: &Heap<'_>, numpy: &Numpy) -> Option<String> {
    if numpy.kind != NumpyKind::Scalar {
        return None;
    }
    let parts = parts(heap, numpy)?;
    let descr = descr(heap, parts.dtype)?;
    let mut bytes = bytes(heap, parts.data)?.into_owned();
    if bytes.len() > 1024 {
        return None;
    }
    if let (order @ ("<U" | ">U"), _) = descr.split_at_checked(2)? {
        let (characters, _) = bytes.as_chunks::<4>();
        let characters = characters.iter().map(|c| match order {
            "<U" => u32::from_le_bytes(*c),
            _ => u32::from_be_bytes(*c),
        });
        let text: Option<String> = characters.map(char::from_u32).collect();
        return Some(text?.trim_end_matches('\0').to_owned());
    }
    let (dtype, big_endian) = npy::dtype(&descr).ok()?;
    if bytes.len() != dtype.size() {
        return None;
    }
    if big_endian {
        bytes.reverse();
    }
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    let unsigned = u64::from_le_bytes(wide);
    Some(match dtype {
        Dtype::Bool => if unsigned == 0 { "False" } else { "True" }.to_owned(),
        Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 | Dtype::Uint64 => unsigned.to_string(),
        Dtype::Int8 | Dtype::Int16 | Dtype::Int32 | Dtype::Int64 => {
            let unused = 64 - 8 * dtype.size() as u32;
            (unsigned.cast_signed() << unused >> unused).to_string()
        }
        Dtype::Float32 => crate::python_repr::float(f32::from_le_bytes(bytes.try_into().ok()?)),
        _ => crate::python_repr::float(dtype.to_f64(&bytes)?),
    })
}

/// The value that the bytes of a value are made of.
fn source(heap: &Heap<'_>, data: Id) -> Id {
    match heap.get(data) {
        Value::Latin1(text) => *text,
        _ => data,
    }
}

/// The bytes of a value.
pub(super) fn bytes<'h>(heap: &'h Heap<'_>, data: Id) -> Option<Cow<'h, [u8]>> {
    let latin1 = |text: &str| {
        let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).ok());
        bytes.collect::<Option<Vec<u8>>>().map(Cow::Owned)
    };
    match heap.get(data) {
        Value::Bytes(bytes) => Some(Cow::Borrowed(*bytes)),
        Value::Latin1(text) => match heap.get(*text) {
            Value::Str(text) => latin1(text),
            _ => None,
        },
        // Python 2 has bytes only; with escapes they are written as text.
        Value::Str(Cow::Borrowed(text)) => Some(Cow::Borrowed(text.as_bytes())),
        Value::Str(Cow::Owned(text)) => latin1(text),
        _ => None,
    }
}

/// A tuple of sizes.
fn naturals(heap: &Heap<'_>, id: Id) -> Option<Vec<usize>> {
    let items = match heap.get(id) {
        Value::Tuple(items) | Value::List(items) if items.len() <= MAX_DIMENSIONS => items,
        _ => return None,
    };
    let natural = |item: &Id| match heap.get(*item) {
        Value::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    };
    items.iter().map(natural).collect()
}
