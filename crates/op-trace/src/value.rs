//! Arguments and results.

use crate::{SharedStr, ValueHash};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use std::fmt;
use std::marker::PhantomData;

/// An argument or a result of an operation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A complex number.
    Complex(f64, f64),
    /// A string, a dtype, a layout, a memory format or a device.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A tensor.
    Tensor(Box<TensorValue>),
    /// A generator, by its device.
    Generator(String),
    /// Something else, by its Python type.
    Object(String),
}

/// A tensor, by its contents.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TensorValue {
    /// PyTorch's name of the dtype, without `torch.`.
    pub dtype: SharedStr,
    /// The shape.
    pub shape: Vec<i64>,
    /// The strides, unless contiguous.
    #[serde(default)]
    pub strides: Option<Vec<i64>>,
    /// The number of the storage, in the order in which storages are met.
    #[serde(default)]
    pub storage: Option<u64>,
    /// The offset in the storage, in elements.
    #[serde(default)]
    pub offset: u64,
    /// The device, unless `cpu`.
    #[serde(default)]
    pub device: Option<String>,
    /// The parameter, buffer or gradient that has this storage.
    #[serde(default)]
    pub name: Option<SharedStr>,
    /// The hash of the logical bytes; `None` if uninitialized or opaque.
    #[serde(default)]
    pub hash: Option<ValueHash>,
    /// Whether the memory has no value yet.
    #[serde(default)]
    pub uninitialized: bool,
    /// What the tensor is, if it has no bytes that could be hashed: a sparse layout or a subclass.
    #[serde(default)]
    pub opaque: Option<String>,
    /// The one value that all elements have. Only where the value is met first.
    #[serde(default, deserialize_with = "optional_number")]
    pub all: Option<f64>,
    /// Up to eight elements: the first, the last, and others at equal distances. Only where the value is met first.
    #[serde(default, deserialize_with = "numbers")]
    pub sample: Vec<f64>,
}

impl TensorValue {
    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> i64 {
        self.shape.iter().fold(1, |n, size| n.saturating_mul(*size))
    }
}

impl Value {
    /// The tensors of the value, with the suffix `[i]` of each that is in a list.
    pub fn tensors(&self) -> Vec<(String, &TensorValue)> {
        let mut found = Vec::new();
        self.collect("", &mut found);
        found
    }

    fn collect<'a>(&'a self, suffix: &str, found: &mut Vec<(String, &'a TensorValue)>) {
        match self {
            Value::Tensor(tensor) => found.push((suffix.to_owned(), tensor)),
            Value::List(list) => {
                for (index, value) in list.iter().enumerate() {
                    value.collect(&format!("{suffix}[{index}]"), found);
                }
            }
            _ => {}
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether both mean the same: an integer equals a float of its value, NaN equals NaN.
    #[must_use]
    pub fn means(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.means(b))
            }
            _ => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()),
                _ => self == other,
            },
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{}", Number(*value)),
            Value::Complex(re, im) => write!(f, "{re}{im:+}j"),
            Value::Text(text) => f.write_str(text),
            Value::Tensor(tensor) => write!(f, "{}{:?}", tensor.dtype, tensor.shape),
            Value::Generator(device) => write!(f, "generator on {device}"),
            Value::Object(name) => f.write_str(name),
            Value::List(list) => {
                f.write_str("[")?;
                for (index, value) in list.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A float as Python prints it, nearly: `1e-05`, `0.1`, `3.0`.
pub(crate) struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if !self.0.is_finite() || magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
            return write!(f, "{:?}", self.0);
        }
        // Python writes a sign and two digits of the exponent.
        let text = format!("{:e}", self.0);
        match text.split_once('e') {
            Some((mantissa, exponent)) => {
                let (sign, digits) = match exponent.strip_prefix('-') {
                    Some(digits) => ('-', digits),
                    None => ('+', exponent),
                };
                write!(f, "{mantissa}e{sign}{digits:0>2}")
            }
            None => f.write_str(&text),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        from_json(Json::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn from_json(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(value),
        Json::String(text) => Value::Text(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) if number.is_f64() => Value::Float(value),
            _ => Value::Text(number.to_string()),
        },
        Json::Array(list) => {
            Value::List(list.into_iter().map(from_json).collect::<Result<_, _>>()?)
        }
        Json::Object(map) => {
            if map.contains_key("dtype") {
                let tensor = serde_json::from_value(Json::Object(map));
                return Ok(Value::Tensor(Box::new(tensor.map_err(|e| e.to_string())?)));
            }
            let field = |name: &str| map.get(name).and_then(Json::as_str).map(str::to_owned);
            match (
                field("float"),
                field("generator"),
                field("object"),
                map.get("complex"),
            ) {
                (Some(word), ..) => Value::Float(
                    word.parse()
                        .map_err(|_| format!("{word:?} is not a float"))?,
                ),
                (_, Some(device), ..) => Value::Generator(device),
                (_, _, Some(name), _) => Value::Object(name),
                (_, _, _, Some(Json::Array(parts))) => {
                    match &parts.iter().map(number).collect::<Result<Vec<f64>, _>>()?[..] {
                        [re, im] => Value::Complex(*re, *im),
                        _ => return Err("a complex number has two parts".to_owned()),
                    }
                }
                _ => return Err("an object that is not a value of a trace".to_owned()),
            }
        }
    })
}

fn number(json: &Json) -> Result<f64, String> {
    match json {
        Json::Bool(value) => Ok(f64::from(u8::from(*value))),
        Json::Object(map) => match map.get("float").and_then(Json::as_str).map(str::parse) {
            Some(Ok(value)) => Ok(value),
            _ => Err("an object that is not a number".to_owned()),
        },
        other => other
            .as_f64()
            .ok_or_else(|| format!("{other} is not a number")),
    }
}

fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    number(&Json::deserialize(deserializer)?)
        .map(Some)
        .map_err(de::Error::custom)
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let list = Vec::<Json>::deserialize(deserializer)?;
    list.iter()
        .map(number)
        .collect::<Result<_, _>>()
        .map_err(de::Error::custom)
}

/// The members of a JSON object, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ordered<T>(pub Vec<(SharedStr, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ordered<T>, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::{Number, Value};

    #[test]
    fn values_are_read_and_printed() {
        for (json, text) in [
            ("null", "None"),
            ("[1,2.0,{\"float\":\"-inf\"}]", "[1, 2.0, -inf]"),
            ("{\"complex\":[1.0,-2.5]}", "1-2.5j"),
            ("\"float32\"", "float32"),
            ("{\"dtype\":\"float32\",\"shape\":[2,3]}", "float32[2, 3]"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(value.to_string(), text);
        }
        for json in ["{}", "{\"dtype\":\"float32\"}", "{\"float\":\"x\"}"] {
            assert!(serde_json::from_str::<Value>(json).is_err(), "{json}");
        }
        assert_eq!(Number(1e-5).to_string(), "1e-05");
        assert_eq!(Number(0.1).to_string(), "0.1");
        assert!(Value::Int(1).means(&Value::Float(1.0)));
        assert!(!Value::Bool(true).means(&Value::Int(1)));
    }
}
