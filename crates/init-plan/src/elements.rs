//! Elements of views as values.

use crate::view::View;
use half::{bf16, f16};
use std::borrow::Cow;

/// A type of elements, every bit pattern of which is a value.
///
/// # Safety
///
/// The type has no padding and no invalid bit patterns, and is aligned to at most 8 bytes.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: plain numbers.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for i16 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for i64 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: two numbers without padding between them.
unsafe impl Plain for [u64; 2] {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}
// SAFETY: a transparent u16.
unsafe impl Plain for bf16 {}
// SAFETY: a transparent u16.
unsafe impl Plain for f16 {}

/// The bytes as elements; `None` unless they are aligned and end with one.
pub(crate) fn typed<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    let start = bytes.as_ptr().cast::<T>();
    let is_typed = start.is_aligned() && bytes.len().is_multiple_of(size_of::<T>());
    // SAFETY: aligned, of this length, and every bit pattern is a value.
    is_typed.then(|| unsafe { std::slice::from_raw_parts(start, bytes.len() / size_of::<T>()) })
}

/// As [`typed`], to be written.
pub(crate) fn typed_mut<T: Plain>(bytes: &mut [u8]) -> Option<&mut [T]> {
    let (start, length) = (bytes.as_mut_ptr().cast::<T>(), bytes.len());
    let is_typed = start.is_aligned() && length.is_multiple_of(size_of::<T>());
    // SAFETY: as above; no value has padding, so that all of it is bytes.
    is_typed.then(|| unsafe { std::slice::from_raw_parts_mut(start, length / size_of::<T>()) })
}

/// The elements of a contiguous view, in its storage's bytes.
pub(crate) fn contiguous_mut<'a, T: Plain>(
    bytes: &'a mut [u8],
    view: &View,
) -> Option<&'a mut [T]> {
    let range = view.bytes();
    typed_mut(bytes.get_mut(range.start as usize..range.end as usize)?)
}

/// Calls a function with the offset of each element, the last dimension running fastest.
pub(crate) fn for_each_offset(
    shape: &[u64],
    stride: &[u64],
    offset: u64,
    f: &mut impl FnMut(usize),
) {
    match (shape, stride) {
        ([size, shape @ ..], [step, stride @ ..]) => {
            for i in 0..*size {
                for_each_offset(shape, stride, offset + i * step, f);
            }
        }
        _ => f(offset as usize),
    }
}

/// The elements of a view in row-major order.
pub(crate) fn gather<'a, T: Plain>(bytes: &'a [u8], view: &View) -> Cow<'a, [T]> {
    gather_as(bytes, view, view.shape(), view.stride())
}

/// The elements of a view that is broadcast to another shape, in row-major order.
pub(crate) fn gather_broadcast<'a, T: Plain>(
    bytes: &'a [u8],
    view: &View,
    shape: &[u64],
) -> Cow<'a, [T]> {
    let missing = shape.len() - view.shape().len().min(shape.len());
    let mut stride = vec![0; missing];
    let sizes = view.shape().iter().zip(view.stride());
    stride.extend(sizes.map(|(size, stride)| if *size == 1 { 0 } else { *stride }));
    gather_as(bytes, view, shape, &stride)
}

fn gather_as<'a, T: Plain>(
    bytes: &'a [u8],
    view: &View,
    shape: &[u64],
    stride: &[u64],
) -> Cow<'a, [T]> {
    let range = view.bytes();
    if view.is_contiguous() && view.shape() == shape {
        let elements = bytes.get(range.start as usize..range.end as usize);
        return Cow::Borrowed(elements.and_then(typed).unwrap_or_default());
    }
    // Whole elements; a storage may end with a part of one.
    let elements = bytes.get(..range.end as usize).and_then(typed::<T>);
    let elements = elements.unwrap_or_default();
    let mut values = Vec::new();
    if !shape.contains(&0) {
        for_each_offset(shape, stride, view.offset(), &mut |offset| {
            values.push(elements[offset]);
        });
    }
    Cow::Owned(values)
}

/// Writes values, in row-major order, to the elements of a view.
pub(crate) fn scatter<T: Plain>(bytes: &mut [u8], view: &View, values: &[T]) {
    if view.is_contiguous()
        && let Some(elements) = contiguous_mut(bytes, view)
    {
        return elements.copy_from_slice(values);
    }
    scatter_in(bytes, view, view.shape(), view.stride(), values);
}

/// Writes values, in the order in which libtorch goes through memory, to the elements of a view.
pub(crate) fn scatter_in_memory_order<T: Plain>(bytes: &mut [u8], view: &View, values: &[T]) {
    let (shape, stride) = memory_order(view);
    scatter_in(bytes, view, &shape, &stride, values);
}

fn scatter_in<T: Plain>(
    bytes: &mut [u8],
    view: &View,
    shape: &[u64],
    stride: &[u64],
    values: &[T],
) {
    if shape.contains(&0) {
        return;
    }
    let end = view.bytes().end as usize;
    let elements = bytes.get_mut(..end).and_then(typed_mut::<T>);
    let elements = elements.unwrap_or_default();
    let mut values = values.iter();
    for_each_offset(shape, stride, view.offset(), &mut |offset| {
        if let Some(value) = values.next() {
            elements[offset] = *value;
        }
    });
}

/// The dimensions in the order of their strides, the largest first: `reorder_dimensions` of
/// `ATen/TensorIterator.cpp`, PyTorch 2.13.
fn memory_order(view: &View) -> (Vec<u64>, Vec<u64>) {
    let dims = view
        .shape()
        .iter()
        .copied()
        .zip(view.stride().iter().copied());
    // A dimension of one element is in no place.
    let mut dims: Vec<(u64, u64)> = dims.filter(|(size, _)| *size != 1).collect();
    dims.sort_by_key(|(_, stride)| std::cmp::Reverse(*stride));
    dims.into_iter().unzip()
}

/// Runs a generic function for a type of the size of a dtype, for elements that are only moved.
macro_rules! for_size {
    ($dtype:expr, $function:ident ( $($argument:expr),* )) => {
        match $dtype.size() {
            1 => $function::<u8>($($argument),*),
            2 => $function::<u16>($($argument),*),
            4 => $function::<u32>($($argument),*),
            8 => $function::<u64>($($argument),*),
            _ => $function::<[u64; 2]>($($argument),*),
        }
    };
}
pub(crate) use for_size;

/// Runs a generic function for the type of a dtype; `None` for floats of 8 bits and complex numbers.
macro_rules! for_dtype {
    ($dtype:expr, $function:ident ( $($argument:expr),* )) => {
        match $dtype {
            tensor_parity::Dtype::Bool | tensor_parity::Dtype::Uint8 => Some($function::<u8>($($argument),*)),
            tensor_parity::Dtype::Int8 => Some($function::<i8>($($argument),*)),
            tensor_parity::Dtype::Uint16 => Some($function::<u16>($($argument),*)),
            tensor_parity::Dtype::Uint32 => Some($function::<u32>($($argument),*)),
            tensor_parity::Dtype::Uint64 => Some($function::<u64>($($argument),*)),
            tensor_parity::Dtype::Int16 => Some($function::<i16>($($argument),*)),
            tensor_parity::Dtype::Int32 => Some($function::<i32>($($argument),*)),
            tensor_parity::Dtype::Int64 => Some($function::<i64>($($argument),*)),
            tensor_parity::Dtype::Float16 => Some($function::<half::f16>($($argument),*)),
            tensor_parity::Dtype::Bfloat16 => Some($function::<half::bf16>($($argument),*)),
            tensor_parity::Dtype::Float32 => Some($function::<f32>($($argument),*)),
            tensor_parity::Dtype::Float64 => Some($function::<f64>($($argument),*)),
            _ => None,
        }
    };
}
pub(crate) use for_dtype;

/// Runs a generic function for the type of a floating-point dtype; `None` for others.
macro_rules! for_float {
    ($dtype:expr, $function:ident ( $($argument:expr),* )) => {
        match $dtype {
            tensor_parity::Dtype::Float16 => Some($function::<half::f16>($($argument),*)),
            tensor_parity::Dtype::Bfloat16 => Some($function::<half::bf16>($($argument),*)),
            tensor_parity::Dtype::Float32 => Some($function::<f32>($($argument),*)),
            tensor_parity::Dtype::Float64 => Some($function::<f64>($($argument),*)),
            _ => None,
        }
    };
}
pub(crate) use for_float;
