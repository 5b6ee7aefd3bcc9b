//! The names of keys of dictionaries in a pickle.

use super::pickle::{Element, Global, Heap, Id, Numpy, Object, Value};
use super::pickled_array;

/// The maximum length of a name, the maximum depth of keys in a key, and the maximum number of values
/// in it: a few bytes of pickle may describe a key that contains itself, or the same one many times.
const MAX_LENGTH: usize = 200;
const MAX_DEPTH: usize = 8;
const MAX_VALUES: usize = 400;

/// The name of a key: text as it is, other keys as Python prints them, as far as the pickle shows it.
/// `None` for values without a short name, such as tensors.
pub(super) fn text(heap: &Heap<'_>, key: Id) -> Option<String> {
    match heap.get(key) {
        Value::Str(text) => Some(text.to_string()),
        Value::Numpy(numpy) => pickled_array::scalar_text(heap, numpy),
        _ => code(heap, key),
    }
}

/// The key as Python code, in which text is quoted.
pub(super) fn code(heap: &Heap<'_>, key: Id) -> Option<String> {
    let mut writer = Writer {
        heap,
        text: String::new(),
        depth: 0,
        values: MAX_VALUES,
    };
    writer.value(key)?;
    Some(writer.text)
}

struct Writer<'a> {
    heap: &'a Heap<'a>,
    text: String,
    depth: usize,
    /// How many more values may be written.
    values: usize,
}

impl<'a> Writer<'a> {
    fn push(&mut self, text: &str) -> Option<()> {
        (self.text.len() + text.len() <= MAX_LENGTH).then(|| self.text.push_str(text))
    }

    fn value(&mut self, id: Id) -> Option<()> {
        self.values = self.values.checked_sub(1)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let heap = self.heap;
        match heap.get(id) {
            Value::None => self.push("None"),
            Value::Bool(true) => self.push("True"),
            Value::Bool(false) => self.push("False"),
            Value::Int(value) => self.push(&value.to_string()),
            Value::BigInt(digits) => self.push(digits),
            Value::Float(value) => self.push(&crate::python_repr::float(*value)),
            Value::Str(text) => self.quoted(text.chars()),
            Value::Bytes(_) | Value::Latin1(_) => {
                let bytes = pickled_array::bytes(heap, id)?;
                self.push("b")?;
                self.quoted_bytes(&bytes)
            }
            Value::Tuple(items) => {
                let last = if items.len() == 1 { ",)" } else { ")" };
                self.push("(")?;
                self.list(items)?;
                self.push(last)
            }
            // The only list that is hashable. Its order differs from run to run.
            Value::List(items) => {
                let mut texts = Vec::new();
                for item in items {
                    let before = std::mem::take(&mut self.text);
                    self.value(*item)?;
                    texts.push(std::mem::replace(&mut self.text, before));
                }
                texts.sort();
                match texts.is_empty() {
                    true => self.push("frozenset()"),
                    false => self.push(&format!("frozenset({{{}}})", texts.join(", "))),
                }
            }
            Value::Global(Global::Dtype(element)) => {
                self.push("torch.")?;
                self.push(match element {
                    Element::Known(dtype) => dtype.name(),
                    Element::Unsupported(dtype) => dtype.name,
                    Element::Bytes => return None,
                })
            }
            Value::Unknown(names) => {
                self.push(&names[0])?;
                self.push(".")?;
                self.push(&names[1])
            }
            Value::Device(arguments) => {
                let parts = heap.list(*arguments);
                for (i, part) in parts.iter().enumerate() {
                    match heap.get(*part) {
                        Value::Str(name) => self.push(name)?,
                        Value::Int(index) if i == 1 => self.push(&format!(":{index}"))?,
                        _ => return None,
                    }
                }
                Some(())
            }
            Value::Numpy(numpy) => self.numpy(numpy),
            Value::Object(object) => self.object(object),
            _ => None,
        }?;
        self.depth -= 1;
        Some(())
    }

    fn list(&mut self, items: &[Id]) -> Option<()> {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(", ")?;
            }
            self.value(*item)?;
        }
        Some(())
    }

    fn numpy(&mut self, numpy: &Numpy) -> Option<()> {
        let text = pickled_array::scalar_text(self.heap, numpy)?;
        self.push(&text)
    }

    /// An instance: a member of an enumeration, a named tuple or a frozen dataclass.
    fn object(&mut self, object: &'a Object) -> Option<()> {
        let heap = self.heap;
        let Value::Unknown(names) = heap.get(object.class) else {
            return None;
        };
        let arguments = heap.list(object.arguments);
        match (&*names[0], &*names[1], arguments) {
            ("builtins" | "__builtin__", "getattr", &[class, name]) => {
                let (Value::Unknown(class), Value::Str(name)) = (heap.get(class), heap.get(name))
                else {
                    return None;
                };
                self.push(&class[1])?;
                self.push(".")?;
                return self.push(name);
            }
            _ => self.push(&names[1])?,
        }
        self.push("(")?;
        self.list(arguments)?;
        match heap.get(object.state) {
            Value::None => {}
            Value::Dict(attributes) => {
                for (i, (name, value)) in attributes.iter().enumerate() {
                    if i > 0 || !arguments.is_empty() {
                        self.push(", ")?;
                    }
                    match heap.get(*name) {
                        Value::Str(name) => self.push(name)?,
                        _ => return None,
                    }
                    self.push("=")?;
                    self.value(*value)?;
                }
            }
            // The values of the slots of a frozen dataclass.
            Value::List(values) | Value::Tuple(values) => self.list(values)?,
            _ => return None,
        }
        self.push(")")
    }

    fn quoted(&mut self, characters: impl Iterator<Item = char>) -> Option<()> {
        self.push("'")?;
        for c in characters {
            if matches!(c, '\'' | '\\') {
                self.push("\\")?;
            }
            self.push(c.encode_utf8(&mut [0; 4]))?;
        }
        self.push("'")
    }

    fn quoted_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.push("'")?;
        for byte in bytes {
            match byte {
                b'\'' | b'\\' => self.push(&format!("\\{}", char::from(*byte)))?,
                b' '..=b'~' => self.push(char::from(*byte).encode_utf8(&mut [0; 4]))?,
                _ => self.push(&format!("\\x{byte:02x}"))?,
            }
        }
        self.push("'")
    }
}
