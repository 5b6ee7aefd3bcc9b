//! A single element of a tensor.

use super::criterion::{Criterion, Rule};
use super::float::Key;
use super::judge::{ElementLoop, Lane, Limits, dispatch};
use super::promote::integer;
use crate::{Dtype, TensorView, python_repr};
use std::fmt;

/// A single element of a tensor: its dtype and its bits.
///
/// It is displayed as the shortest decimal number that parses to the same value in its dtype.
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
    /// Creates an element from its little-endian bytes; `None` unless there are [`Dtype::size`]
    /// bytes.
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

    /// The element of a tensor at a position in logical order.
    pub(super) fn of(view: &TensorView<'_>, position: usize) -> Option<Element> {
        let mut buffer = Vec::new();
        Element::new(view.dtype(), view.read(position..position + 1, &mut buffer))
    }

    /// The dtype.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.dtype.size()]
    }

    /// The value of a real floating point element, which is exact in `f64`; `None` for other
    /// dtypes.
    pub fn to_f64(&self) -> Option<f64> {
        self.dtype.to_f64(self.bytes())
    }

    /// The value of an integer or `bool` element; `None` for other dtypes.
    pub fn to_integer(&self) -> Option<i128> {
        let is_integer = !self.dtype.is_floating_point() && self.dtype.part().is_none();
        is_integer.then(|| integer(self.dtype, self.bytes()))
    }

    /// The real and the imaginary part of a complex element; `None` for other dtypes.
    pub fn parts(&self) -> Option<[Element; 2]> {
        let part = self.dtype.part()?;
        let (re, im) = self.bytes().split_at(part.size());
        Some([Element::new(part, re)?, Element::new(part, im)?])
    }

    /// The bits in hexadecimal, such as `0x3f800000`; both parts of a complex element in
    /// parentheses.
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

    /// The distance to another element in units in the last place.
    ///
    /// For complex elements it is the greater distance of both parts. `None` if exactly one element
    /// is NaN, if the dtypes differ, or if they are not floating point.
    ///
    /// ```
    /// use tensor_parity::compare::Element;
    /// use tensor_parity::Dtype;
    ///
    /// let element = |byte| Element::new(Dtype::Float8E4m3fn, &[byte]).unwrap();
    /// assert_eq!(element(0x01).ulp_distance(&element(0x83)), Some(4));
    /// ```
    pub fn ulp_distance(&self, other: &Element) -> Option<u64> {
        if self.dtype != other.dtype || self.to_integer().is_some() {
            return None;
        }
        let pair = UlpDistance([self.bytes(), other.bytes()]);
        let (rule, _) = Rule::new(Criterion::Bits, self.dtype, self.dtype);
        dispatch(pair, self.dtype, &rule)
    }
}

/// The ULP distance of two elements.
struct UlpDistance<'a>([&'a [u8]; 2]);

impl ElementLoop for UlpDistance<'_> {
    type Output = Option<u64>;

    fn run<L: Lane, const MODE: u8>(self, limits: &Limits<L::Compute>) -> Option<u64> {
        let [a, b] = self.0.map(L::load);
        let ulps = L::judge::<MODE>(a, b, limits).ulps;
        (ulps != L::Key::MAX).then(|| ulps.into())
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
            // f32 distinguishes all values of the narrower dtypes.
            (_, _, Some(float)) => python_repr::float(float as f32),
            (_, None, None) => "?".to_owned(),
        };
        f.pad(&text)
    }
}
