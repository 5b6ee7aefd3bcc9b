//! One element of a tensor.

use super::criterion::Criterion;
use super::promote::integer;
use super::tensor_comparison::TensorComparison;
use crate::python_repr;
use crate::{Dtype, TensorView};
use std::fmt;

/// One element of a tensor: its dtype and its bits.
///
/// Prints as the shortest decimal number that reads back to it in its dtype.
///
/// ```
/// use tensor_parity::compare::Element;
/// use tensor_parity::Dtype;
///
/// let element = Element::new(Dtype::Float32, &0.1f32.to_le_bytes()).unwrap();
/// assert_eq!(element.to_string(), "0.1");
/// assert_eq!(element.hex(), "0x3dcccccd");
/// assert_eq!(element.to_f64(), Some(0.10000000149011612));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    dtype: Dtype,
    bytes: [u8; 16],
}

impl Element {
    /// An element from its little-endian bytes; `None` unless there are
    /// [`Dtype::size`] of them.
    pub fn new(dtype: Dtype, bytes: &[u8]) -> Option<Element> {
        if bytes.len() != dtype.size() {
            return None;
        }
        let mut padded = [0; 16];
        padded[..bytes.len()].copy_from_slice(bytes);
        Some(Element {
            dtype,
            bytes: padded,
        })
    }

    /// The element of a tensor with this number in logical order.
    pub(super) fn of(view: &TensorView<'_>, number: usize) -> Option<Element> {
        let mut buffer = Vec::new();
        Element::new(view.dtype(), view.read(number..number + 1, &mut buffer))
    }

    /// The dtype.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.dtype.size()]
    }

    /// The value of a real floating point element, which `f64` holds exactly; `None` for other
    /// dtypes.
    pub fn to_f64(&self) -> Option<f64> {
        self.dtype.to_f64(self.bytes())
    }

    /// The value of an integer or `bool` element; `None` for other dtypes.
    pub fn to_integer(&self) -> Option<i128> {
        let is_integer = !self.dtype.is_floating_point() && self.dtype.part().is_none();
        is_integer.then(|| integer(self.dtype, self.bytes()))
    }

    /// Real and imaginary part of a complex element; `None` for other dtypes.
    pub fn parts(&self) -> Option<[Element; 2]> {
        let part = self.dtype.part()?;
        let (re, im) = self.bytes().split_at(part.size());
        Some([Element::new(part, re)?, Element::new(part, im)?])
    }

    /// The bits in hexadecimal, of a complex element by parts.
    pub fn hex(&self) -> String {
        match self.parts() {
            Some([re, im]) => format!("({}, {})", re.hex(), im.hex()),
            None => {
                let digits: Vec<String> = self
                    .bytes()
                    .iter()
                    .rev()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                format!("0x{}", digits.concat())
            }
        }
    }

    /// Units in the last place between two elements of one floating point dtype, by parts if
    /// complex; `None` if exactly one is NaN, or for other dtypes.
    ///
    /// ```
    /// use tensor_parity::compare::Element;
    /// use tensor_parity::Dtype;
    ///
    /// let element = |byte| Element::new(Dtype::Float8E4m3fn, &[byte]).unwrap();
    /// assert_eq!(element(0x01).ulp_distance(&element(0x83)), Some(4));
    /// ```
    pub fn ulp_distance(&self, other: &Element) -> Option<u64> {
        let view = |element: &'_ Element| {
            let bytes = element.bytes().to_vec();
            (element.dtype, bytes)
        };
        if self.dtype != other.dtype {
            return None;
        }
        let (a, b) = (view(self), view(other));
        let a = TensorView::contiguous(a.0, &[], &a.1).ok()?;
        let b = TensorView::contiguous(b.0, &[], &b.1).ok()?;
        let comparison = TensorComparison::new(&a, &b, Criterion::Bits);
        match comparison.ulps {
            Some(extreme) => extreme.difference,
            None if self.to_integer().is_none() => Some(0),
            None => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some([re, im]) = self.parts() {
            let im = im.to_string();
            let sign = if im.starts_with('-') { "" } else { "+" };
            return f.pad(&format!("({re}{sign}{im}j)"));
        }
        let text = match (self.dtype, self.to_integer(), self.to_f64()) {
            (Dtype::Bool, Some(0), _) => "False".to_owned(),
            (Dtype::Bool, ..) => "True".to_owned(),
            (_, Some(integer), _) => integer.to_string(),
            (Dtype::Float64, _, Some(float)) => python_repr::float(float),
            // Of the narrower dtypes, f32 tells all apart.
            (_, _, Some(float)) => python_repr::float(float as f32),
            (_, None, None) => "?".to_owned(),
        };
        f.pad(&text)
    }
}
