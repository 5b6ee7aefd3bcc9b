//! Reads `npy`, a single numpy array.
//!
//! The header is a Python literal. Only the grammar that numpy writes is accepted, after
//! `numpy/lib/_format_impl.py` of numpy 2.4: a parser of arbitrary Python literals backtracks or
//! recurses, which a hostile header can exploit.

use super::error::Problem;
use super::mapped_tensors::TensorEntry;
use crate::Dtype;
use crate::escape::Escaped;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The maximum length of what precedes the header: the magic bytes, the version and the length.
pub(super) const PRELUDE: usize = 12;

/// The limit of version 1 of the format. numpy itself writes about 120 bytes.
const MAX_HEADER: usize = 65535;

/// The description of the elements.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) order: Order,
    /// Whether the bytes of each number are in big-endian order.
    pub(super) big_endian: bool,
}

/// The order of the elements.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// The last dimension varies fastest.
    RowMajor,
    /// The first dimension varies fastest.
    ColumnMajor,
    /// Row-major, of a shape whose dimensions are then permuted like this.
    Permuted(Vec<usize>),
}

/// Reads a file with a single array. The elements of a big-endian one are appended to `swapped`,
/// which is file 1.
pub(super) fn read(
    name: &str,
    bytes: &[u8],
    swapped: &mut Vec<u8>,
) -> Result<TensorEntry, Problem> {
    let (header, start) = header(bytes)?;
    let unit = header.swap_unit();
    if unit == 1 {
        return Ok(header.entry(name, 0, start..bytes.len()));
    }
    let first = swapped.len();
    swapped.extend_from_slice(&bytes[start..]);
    swap(&mut swapped[first..], unit);
    Ok(header.entry(name, 1, first..swapped.len()))
}

/// Reverses the bytes of each number of `unit` bytes.
pub(super) fn swap(bytes: &mut [u8], unit: usize) {
    for number in bytes.chunks_exact_mut(unit) {
        number.reverse();
    }
}

/// The header of a file with a single array, and the position of the first element.
pub(super) fn header(bytes: &[u8]) -> Result<(Header, usize), Problem> {
    let start = header_end(bytes)?;
    let text = bytes.get(..start).ok_or_else(|| {
        Problem::damaged(format!(
            "the header ends at byte {start}, but the file has {} bytes",
            bytes.len()
        ))
    })?;
    let header = parse(text)?;
    let (needed, available) = (header.bytes()?, bytes.len() - start);
    if needed != available {
        return Err(Problem::damaged(format!(
            "a {} array of shape {:?} needs {needed} bytes, found {available}",
            header.dtype, header.shape
        )));
    }
    Ok((header, start))
}

/// The position of the first element, from the first [`PRELUDE`] bytes.
pub(super) fn header_end(prelude: &[u8]) -> Result<usize, Problem> {
    let short = || Problem::damaged("it ends before its header");
    let rest = prelude
        .strip_prefix(MAGIC)
        .ok_or_else(|| Problem::damaged("it does not start with the magic bytes of npy"))?;
    let (length, before) = match rest {
        [1, 0, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, 0, a, b, c, d, ..] => {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            (usize::try_from(length).unwrap_or(usize::MAX), 12)
        }
        [] | [_] | [1, 0, ..] | [2 | 3, 0, ..] => return Err(short()),
        [major, minor, ..] => {
            return Err(Problem::unsupported(
                format!("version {major}.{minor} of the npy format"),
                "write it with numpy.save of numpy 2",
            ));
        }
    };
    if length > MAX_HEADER {
        return Err(Problem::damaged(format!(
            "the header claims {length} bytes; the limit is {MAX_HEADER}"
        )));
    }
    Ok(before + length)
}

/// Parses the header from all bytes before the elements.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, Problem> {
    let text = bytes
        .get(if bytes.get(6) == Some(&1) { 10 } else { 12 }..)
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(|| Problem::damaged("the header is not UTF-8"))?;
    let mut literal = Literal { text, rest: text };
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    literal.expect("{")?;
    while !literal.take("}") {
        match literal.string()? {
            "descr" if descr.is_none() => descr = Some(literal.value(Literal::dtype)?),
            "fortran_order" if fortran_order.is_none() => {
                fortran_order = Some(literal.value(Literal::boolean)?);
            }
            "shape" if shape.is_none() => shape = Some(literal.value(Literal::shape)?),
            _ => return Err(literal.problem()),
        }
        if !literal.take(",") {
            literal.expect("}")?;
            break;
        }
    }
    match (descr, fortran_order, shape, literal.rest.trim()) {
        (Some((dtype, big_endian)), Some(fortran_order), Some(shape), "") => Ok(Header {
            dtype,
            shape,
            order: match fortran_order {
                true => Order::ColumnMajor,
                false => Order::RowMajor,
            },
            big_endian,
        }),
        _ => Err(literal.problem()),
    }
}

impl Header {
    /// The number of bytes that are reversed together to make the elements little-endian.
    pub(super) fn swap_unit(&self) -> usize {
        match self.big_endian {
            true => self.dtype.part().unwrap_or(self.dtype).size(),
            false => 1,
        }
    }

    /// The size of all elements in bytes.
    pub(super) fn bytes(&self) -> Result<usize, Problem> {
        // Zero sizes count as one, so that no product of other sizes overflows later.
        let all = self
            .shape
            .iter()
            .try_fold(self.dtype.size(), |bytes, size| {
                bytes.checked_mul((*size).max(1))
            });
        let bytes = all
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or_else(|| {
                Problem::damaged(format!(
                    "a {} array of shape {:?} is larger than the address space",
                    self.dtype, self.shape
                ))
            })?;
        Ok(if self.shape.contains(&0) { 0 } else { bytes })
    }

    /// The tensor whose elements are the bytes `range` of a file.
    pub(super) fn entry(
        self,
        name: &str,
        file: usize,
        range: std::ops::Range<usize>,
    ) -> TensorEntry {
        let mut shape = self.shape;
        let strides = |sizes: &mut dyn Iterator<Item = &usize>| -> Vec<usize> {
            let strides = sizes.scan(1, |stride, size| {
                let this = *stride;
                *stride *= *size;
                Some(this)
            });
            strides.collect()
        };
        let strided = match self.order {
            Order::RowMajor => None,
            Order::ColumnMajor => Some((strides(&mut shape.iter()), 0)),
            Order::Permuted(axes) => {
                let mut stored = strides(&mut shape.iter().rev());
                stored.reverse();
                shape = axes.iter().map(|axis| shape[*axis]).collect();
                Some((axes.iter().map(|axis| stored[*axis]).collect(), 0))
            }
        };
        TensorEntry {
            name: name.to_owned(),
            dtype: self.dtype,
            shape,
            strided,
            file,
            range,
        }
    }
}

/// A parser of the literals that a header contains.
struct Literal<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn problem(&self) -> Problem {
        Problem::damaged(format!(
            "the header is not one that numpy writes: {:.200} (at byte {})",
            Escaped(self.text.trim_end()),
            self.text.len() - self.rest.len()
        ))
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        self.rest = rest.strip_prefix(token).unwrap_or(rest);
        self.rest.len() < rest.len()
    }

    fn expect(&mut self, token: &str) -> Result<(), Problem> {
        match self.take(token) {
            true => Ok(()),
            false => Err(self.problem()),
        }
    }

    fn value<T>(&mut self, read: fn(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        self.expect(":")?;
        read(self)
    }

    fn string(&mut self) -> Result<&'a str, Problem> {
        let quote = if self.take("'") { '\'' } else { '"' };
        if quote == '"' {
            self.expect("\"")?;
        }
        let (string, rest) = self.rest.split_once(quote).ok_or_else(|| self.problem())?;
        self.rest = rest;
        Ok(string)
    }

    fn boolean(&mut self) -> Result<bool, Problem> {
        match self.take("True") {
            true => Ok(true),
            false => self.expect("False").map(|()| false),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Problem> {
        self.expect("(")?;
        let mut shape = Vec::new();
        while !self.take(")") {
            let rest = self.rest.trim_start();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            shape.push(rest[..digits].parse().map_err(|_| self.problem())?);
            self.rest = &rest[digits..];
            // Python 2 wrote the suffix of a long integer.
            self.take("L");
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }

    fn dtype(&mut self) -> Result<(Dtype, bool), Problem> {
        if self.rest.trim_start().starts_with(['[', '(']) {
            return Err(Problem::unsupported(
                "a structured array",
                "save each of its fields as an array",
            ));
        }
        dtype(self.string()?)
    }
}

/// The dtype of a numpy type string such as `<f4`, and whether it is big-endian.
pub(super) fn dtype(descr: &str) -> Result<(Dtype, bool), Problem> {
    let unsupported = |what: &str, advice| {
        Err(Problem::unsupported(
            format!("{what} (numpy's '{:.200}')", Escaped(descr)),
            advice,
        ))
    };
    let order = descr.get(..1).unwrap_or_default();
    let dtype = match (order, descr.get(1..).unwrap_or_default()) {
        ("|" | "<" | ">", "b1") => Dtype::Bool,
        ("|" | "<" | ">", "u1") => Dtype::Uint8,
        ("|" | "<" | ">", "i1") => Dtype::Int8,
        ("<" | ">", "u2") => Dtype::Uint16,
        ("<" | ">", "i2") => Dtype::Int16,
        ("<" | ">", "u4") => Dtype::Uint32,
        ("<" | ">", "i4") => Dtype::Int32,
        ("<" | ">", "u8") => Dtype::Uint64,
        ("<" | ">", "i8") => Dtype::Int64,
        ("<" | ">", "f2") => Dtype::Float16,
        ("<" | ">", "f4") => Dtype::Float32,
        ("<" | ">", "f8") => Dtype::Float64,
        ("<" | ">", "c8") => Dtype::Complex64,
        ("<" | ">", "c16") => Dtype::Complex128,
        (_, kind) if kind.starts_with('O') => {
            return unsupported(
                "an array of Python objects, which is a pickle",
                "save arrays of numbers, since reading a file runs no code",
            );
        }
        (_, kind) if kind.starts_with(['U', 'S', 'a']) => {
            return unsupported("an array of strings", "leave it out of the file");
        }
        (_, kind) if kind.starts_with(['M', 'm']) => {
            return unsupported("an array of dates or times", "save it as int64");
        }
        (_, kind) if kind.starts_with('V') => {
            return unsupported(
                "an array of raw bytes, as numpy stores bfloat16 and other dtypes that it lacks",
                "save it with safetensors, or as float32",
            );
        }
        _ => {
            return unsupported("a dtype that PyTorch lacks", "convert it to another dtype");
        }
    };
    Ok((dtype, order == ">" && dtype.size() > 1))
}

#[cfg(test)]
mod tests {
    use super::{Dtype, Header, Order, parse};

    fn header(text: &str) -> Result<Header, String> {
        let mut bytes = b"\x93NUMPY\x01\x00\x00\x00".to_vec();
        bytes.extend_from_slice(text.as_bytes());
        parse(&bytes).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn headers_that_numpy_writes_are_parsed_and_others_rejected() {
        let expected = |shape: &[usize], fortran_order| {
            Ok(Header {
                dtype: Dtype::Float32,
                shape: shape.to_vec(),
                order: match fortran_order {
                    true => Order::ColumnMajor,
                    false => Order::RowMajor,
                },
                big_endian: false,
            })
        };
        for (text, shape, fortran) in [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (), }  \n",
                &[][..],
                false,
            ),
            (
                "{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }\n",
                &[3],
                true,
            ),
            (
                "{'shape': (3, 0), 'fortran_order': False, \"descr\": \"<f4\"}",
                &[3, 0],
                false,
            ),
            (
                "{'shape':(3L,2L),'fortran_order':False,'descr':'<f4',}",
                &[3, 2],
                false,
            ),
        ] {
            assert_eq!(header(text), expected(shape, fortran), "{text}");
        }
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
            "{'descr': '<f4' 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4",
        ] {
            let error = header(text).unwrap_err();
            assert!(
                error.contains("the header is not one that numpy writes"),
                "{text}: {error}"
            );
        }
    }
}
