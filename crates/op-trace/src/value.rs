//! Arguments and results.

use crate::{SharedStr, ValueHash};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::mem;

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
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TensorValue {
    /// PyTorch's name of the dtype, without `torch.`.
    pub dtype: SharedStr,
    /// The shape.
    pub shape: Vec<i64>,
    /// The strides, unless contiguous.
    pub strides: Option<Vec<i64>>,
    /// The number of the storage, in the order in which storages are met.
    pub storage: Option<u64>,
    /// The offset in the storage, in elements.
    pub offset: u64,
    /// The device, unless `cpu`.
    pub device: Option<String>,
    /// The parameter, buffer or gradient that has this storage.
    pub name: Option<SharedStr>,
    /// The hash of the logical bytes; `None` if uninitialized or opaque.
    pub hash: Option<ValueHash>,
    /// Whether the memory has no value yet.
    pub uninitialized: bool,
    /// What the tensor is, if it has no bytes that could be hashed: a sparse layout or a subclass.
    pub opaque: Option<String>,
    /// The one value that all elements have. Only where the value is met first.
    pub all: Option<f64>,
    /// Up to eight elements: the first, the last, and others at equal distances. Only where the value is met first.
    pub sample: Vec<f64>,
    /// Statistics of the elements, of a result, if they were recorded.
    pub stats: Option<Stats>,
}

/// Statistics of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// The mean.
    #[serde(deserialize_with = "plain_number")]
    pub mean: f64,
    /// The standard deviation, without Bessel's correction.
    #[serde(deserialize_with = "plain_number")]
    pub std: f64,
    /// How many elements are zero.
    pub zeros: u64,
    /// The largest magnitude.
    #[serde(deserialize_with = "plain_number")]
    pub absmax: f64,
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

    /// Whether the value is a tensor or a list that has one.
    pub(crate) fn has_tensors(&self) -> bool {
        match self {
            Value::Tensor(_) => true,
            Value::List(list) => list.iter().any(Value::has_tensors),
            _ => false,
        }
    }

    /// Whether both are the same to the last bit.
    pub(crate) fn is_identical(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Complex(a, b), Value::Complex(c, d)) => {
                a.to_bits() == c.to_bits() && b.to_bits() == d.to_bits()
            }
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_identical(b))
            }
            _ => self == other,
        }
    }

    /// Hashes what `is_identical` compares.
    pub(crate) fn hash_bits(&self, state: &mut impl Hasher) {
        mem::discriminant(self).hash(state);
        match self {
            Value::None => {}
            Value::Bool(value) => value.hash(state),
            Value::Int(value) => value.hash(state),
            Value::Float(value) => value.to_bits().hash(state),
            Value::Complex(re, im) => (re.to_bits(), im.to_bits()).hash(state),
            Value::Text(text) | Value::Generator(text) | Value::Object(text) => text.hash(state),
            Value::List(list) => {
                list.len().hash(state);
                for value in list {
                    value.hash_bits(state);
                }
            }
            Value::Tensor(tensor) => tensor.hash.hash(state),
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
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a trace")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        let members = Members::deserialize(MapAccessDeserializer::new(map))?;
        members.value().map_err(de::Error::custom)
    }
}

/// The members of an object: those of a tensor, or one that says what else it is.
#[derive(Deserialize)]
struct Members {
    dtype: Option<SharedStr>,
    shape: Option<Vec<i64>>,
    strides: Option<Vec<i64>>,
    storage: Option<u64>,
    #[serde(default)]
    offset: u64,
    device: Option<String>,
    name: Option<SharedStr>,
    hash: Option<ValueHash>,
    #[serde(default)]
    uninitialized: bool,
    opaque: Option<String>,
    #[serde(default, deserialize_with = "optional_number")]
    all: Option<f64>,
    #[serde(default, deserialize_with = "numbers")]
    sample: Vec<f64>,
    stats: Option<Stats>,
    float: Option<String>,
    #[serde(default, deserialize_with = "numbers")]
    complex: Vec<f64>,
    generator: Option<String>,
    object: Option<String>,
}

impl Members {
    fn value(self) -> Result<Value, String> {
        if self.dtype.is_some() {
            return self.tensor().map(|tensor| Value::Tensor(Box::new(tensor)));
        }
        match (self.float, self.generator, self.object, &self.complex[..]) {
            (Some(word), None, None, []) => word
                .parse()
                .map(Value::Float)
                .map_err(|_| format!("{word:?} is not a float")),
            (None, Some(device), None, []) => Ok(Value::Generator(device)),
            (None, None, Some(name), []) => Ok(Value::Object(name)),
            (None, None, None, [re, im]) => Ok(Value::Complex(*re, *im)),
            (None, None, None, [_, ..]) => Err("a complex number has two parts".to_owned()),
            _ => Err("an object that is not a value of a trace".to_owned()),
        }
    }

    fn tensor(self) -> Result<TensorValue, String> {
        let (Some(dtype), Some(shape)) = (self.dtype, self.shape) else {
            return Err("a tensor has a dtype and a shape".to_owned());
        };
        if let Some(size) = shape.iter().find(|size| **size < 0) {
            return Err(format!("a tensor has a size of {size}"));
        }
        let sizes = shape.iter().filter(|size| **size > 0);
        if sizes.copied().try_fold(1, i64::checked_mul).is_none() {
            return Err(format!("a tensor of shape {shape:?} has too many elements"));
        }
        if let Some(strides) = self.strides.as_ref().filter(|s| s.len() != shape.len()) {
            return Err(format!(
                "a tensor has {} sizes and {} strides",
                shape.len(),
                strides.len()
            ));
        }
        Ok(TensorValue {
            dtype,
            shape,
            strides: self.strides,
            storage: self.storage,
            offset: self.offset,
            device: self.device,
            name: self.name,
            hash: self.hash,
            uninitialized: self.uninitialized,
            opaque: self.opaque,
            all: self.all,
            sample: self.sample,
            stats: self.stats,
        })
    }
}

impl<'de> Deserialize<'de> for TensorValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TensorValue, D::Error> {
        let members = Members::deserialize(deserializer)?;
        members.tensor().map_err(de::Error::custom)
    }
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

fn plain_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(&Json::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    plain_number(deserializer).map(Some)
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
                let mut members: Vec<(SharedStr, T)> = Vec::new();
                let mut names = HashSet::new();
                while let Some((name, value)) = map.next_entry::<SharedStr, T>()? {
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format!("`{name}` is there twice")));
                    }
                    members.push((name, value));
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
