//! Elements of tensors as numbers, and the few of them that a trace shows.

use half::{bf16, f16};

/// How the bytes of a dtype are read.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    Bool,
    Unsigned,
    Signed(usize),
    Half,
    BFloat,
    Single,
    Double,
}

/// An element. Floats compare as numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element {
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Layout {
    /// The layout of a dtype whose elements are shown.
    pub fn of(dtype: &str) -> Option<Layout> {
        Some(match dtype {
            "bool" => Layout::Bool,
            "uint8" => Layout::Unsigned,
            "int8" => Layout::Signed(1),
            "int16" => Layout::Signed(2),
            "int32" => Layout::Signed(4),
            "int64" => Layout::Signed(8),
            "float16" => Layout::Half,
            "bfloat16" => Layout::BFloat,
            "float32" => Layout::Single,
            "float64" => Layout::Double,
            _ => return None,
        })
    }

    pub fn size(self) -> usize {
        match self {
            Layout::Bool | Layout::Unsigned => 1,
            Layout::Signed(size) => size,
            Layout::Half | Layout::BFloat => 2,
            Layout::Single => 4,
            Layout::Double => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(
            self,
            Layout::Half | Layout::BFloat | Layout::Single | Layout::Double
        )
    }

    /// The element at an index.
    pub fn element(self, elements: &[u8], index: usize) -> Element {
        let size = self.size();
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&elements[index * size..][..size]);
        let word = u64::from_le_bytes(bytes);
        match self {
            Layout::Bool => Element::Bool(word != 0),
            Layout::Unsigned => Element::Int(word as i64),
            Layout::Signed(size) => {
                let shift = 64 - 8 * size as u32;
                Element::Int((word << shift) as i64 >> shift)
            }
            Layout::Half => Element::Float(f16::from_bits(word as u16).to_f64()),
            Layout::BFloat => Element::Float(bf16::from_bits(word as u16).to_f64()),
            Layout::Single => Element::Float(f32::from_bits(word as u32).into()),
            Layout::Double => Element::Float(f64::from_bits(word)),
        }
    }
}

impl Element {
    pub fn as_f64(self) -> f64 {
        match self {
            Element::Bool(value) => f64::from(u8::from(value)),
            Element::Int(value) => value as f64,
            Element::Float(value) => value,
        }
    }

    pub fn json(self) -> String {
        match self {
            Element::Bool(value) => value.to_string(),
            Element::Int(value) => value.to_string(),
            Element::Float(value) => number(value),
        }
    }
}

/// How many elements of a tensor are shown.
const SHOWN: usize = 8;

/// The member of a tensor that shows its elements, name and JSON: `all` if they are copies of one, else a `sample` of a few,
/// evenly spread. `None` if there is no element that can be shown.
pub fn shown(dtype: &str, elements: &[u8]) -> Option<(&'static str, String)> {
    let layout = Layout::of(dtype)?;
    let n = elements.len() / layout.size();
    let k = n.min(SHOWN);
    let at = |i: usize| layout.element(elements, i);
    let picked: Vec<Element> = match k {
        0 => return None,
        1 => vec![at(0)],
        k => (0..k).map(|i| at(i * (n - 1) / (k - 1))).collect(),
    };
    let is_first = |element: &Element| *element == picked[0];
    // Equal bytes, which are compared at the speed of memory, mean equal elements, as the first one is not NaN here. Equal elements may have
    // other bytes: 0 and -0.
    let (first, last) = (layout.size(), (n - 1) * layout.size());
    let all_are_first =
        || elements[first..] == elements[..last] || (0..n).all(|i| is_first(&at(i)));
    if picked.iter().all(is_first) && (n <= k || all_are_first()) {
        return Some(("all", picked[0].json()));
    }
    let picked: Vec<String> = picked.iter().map(|element| element.json()).collect();
    Some(("sample", format!("[{}]", picked.join(","))))
}

/// A float as JSON: a word in an object for what JSON cannot say.
pub fn number(value: f64) -> String {
    if value.is_finite() {
        return serde_json::Value::from(value).to_string();
    }
    let word = match value {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => "nan",
    };
    format!("{{\"float\":\"{word}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_one_element_are_shown_as_one() {
        let bytes = |x: &[f32]| -> Vec<u8> { x.iter().flat_map(|x| x.to_le_bytes()).collect() };
        let mut elements = vec![0.0; 20];
        let all = |elements: &[f32]| shown("float32", &bytes(elements)).map(|(name, _)| name);
        assert_eq!(all(&elements), Some("all"));
        elements[4] = -0.0;
        assert_eq!(all(&elements), Some("all"));
        elements[4] = 1.0;
        assert_eq!(all(&elements), Some("sample"));
        assert_eq!(all(&[f32::NAN; 20]), Some("sample"));
        assert_eq!(all(&[1.5]), Some("all"));
    }

    #[test]
    fn elements_of_all_dtypes_are_read() {
        let read =
            |dtype: &str, bytes: &[u8]| Layout::of(dtype).map(|l| l.element(bytes, 1).json());
        let text = |dtype, bytes| read(dtype, bytes).unwrap_or_default();
        assert_eq!(text("bool", &[0, 1]), "true");
        assert_eq!(text("uint8", &[0, 255]), "255");
        assert_eq!(text("int8", &[0, 255]), "-1");
        assert_eq!(text("int16", &[0, 0, 0xfe, 0xff]), "-2");
        assert_eq!(text("bfloat16", &[0, 0, 0x80, 0x3f]), "1.0");
        assert_eq!(text("float16", &[0, 0, 0, 0xfc]), "{\"float\":\"-inf\"}");
        let doubles: Vec<u8> = [0.0, 1e-5_f64]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        assert_eq!(text("float64", &doubles).parse(), Ok(1e-5));
        assert_eq!(read("complex64", &[0; 16]), None);
    }
}
