//! The values that a pickle builds.

use super::global::{Element, Global, NumpyKind};
use crate::Dtype;
use crate::file::error::Problem;
use std::borrow::Cow;

/// The index of a value in its [`Heap`].
pub(in crate::file) type Id = u32;

/// A value. Containers refer to others by index, so nothing recurses here, and a container may
/// contain itself.
#[derive(Debug)]
pub(in crate::file) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, in decimal.
    BigInt(Cow<'a, str>),
    Float(f64),
    Str(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// Bytes as text in Latin-1, which is how protocols before 3 write them.
    Latin1(Id),
    /// A value without parts, described.
    Opaque(&'static str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A class or function without a meaning here: its module and name.
    Unknown(Box<[Cow<'a, str>; 2]>),
    /// The result of a call that was not made, or an instance.
    Object(Box<Object>),
    Storage(Box<Storage<'a>>),
    /// The arguments of `torch.device`.
    Device(Id),
    Numpy(Box<Numpy>),
    /// A persistent id that is a number or text: a tensor of PyTorch 0.1.
    Persistent(Id),
    Tensor(Box<Tensor>),
    /// A tensor that cannot be read.
    Unreadable(Box<Unreadable>),
}

/// An instance of any class: nothing is known but what the pickle gives it.
#[derive(Debug)]
pub(in crate::file) struct Object {
    /// The class, or the function that would return the instance.
    pub(in crate::file) class: Id,
    pub(in crate::file) arguments: Id,
    /// What BUILD passes to `__setstate__`.
    pub(in crate::file) state: Id,
    /// Items with their keys; the key [`NO_KEY`] is that of an item of a list.
    pub(in crate::file) items: Vec<(Id, Id)>,
}

/// The key of an item that was appended.
pub(in crate::file) const NO_KEY: Id = Id::MAX;

/// A value that numpy makes, and what it is made of.
#[derive(Debug)]
pub(in crate::file) struct Numpy {
    pub(in crate::file) kind: NumpyKind,
    pub(in crate::file) arguments: Id,
    /// What BUILD passes to `__setstate__`.
    pub(in crate::file) state: Id,
}

/// A storage, which the file has under a key.
#[derive(Debug, Clone)]
pub(in crate::file) struct Storage<'a> {
    pub(in crate::file) key: Cow<'a, str>,
    pub(in crate::file) element: Element,
    /// The number of elements, or of bytes.
    pub(in crate::file) numel: u64,
    /// The offset and the number of elements, of a part of a storage (before PyTorch 0.4).
    pub(in crate::file) view: Option<(u64, u64)>,
}

impl Storage<'_> {
    /// Checks that the file has as many bytes as the pickle claims, under a name that messages show.
    pub(in crate::file) fn check_length(&self, bytes: usize, name: &str) -> Result<(), Problem> {
        let unit = self.element.size();
        match self.numel.checked_mul(unit as u64) == Some(bytes as u64) {
            true => Ok(()),
            false => Err(Problem::damaged(format!(
                "its storage {name} has {bytes} bytes, but the pickle claims {} elements of {unit}",
                self.numel
            ))),
        }
    }
}

/// The arguments of a tensor, not yet evaluated: a few bytes of pickle may refer to a long shape
/// many times.
#[derive(Debug)]
pub(in crate::file) struct Tensor {
    pub(in crate::file) storage: Id,
    /// `None` for the dtype of the storage.
    pub(in crate::file) element: Option<Element>,
    pub(in crate::file) offset: Id,
    pub(in crate::file) size: Id,
    pub(in crate::file) stride: Id,
}

/// A tensor that cannot be read, and why.
#[derive(Debug)]
pub(in crate::file) struct Unreadable {
    pub(in crate::file) reason: &'static str,
    pub(in crate::file) advice: &'static str,
    /// A dtype or a storage, whose dtype is mentioned, or a class.
    pub(in crate::file) detail: Id,
    /// The attributes of an instance of a subclass.
    pub(in crate::file) state: Id,
}

impl Tensor {
    /// The dtype, if it is one that is supported.
    pub(in crate::file) fn dtype(&self, heap: &Heap<'_>) -> Option<Dtype> {
        let element = match (self.element, heap.get(self.storage)) {
            (Some(element), _) => element,
            (None, Value::Storage(storage)) => storage.element,
            _ => return None,
        };
        match element {
            Element::Known(dtype) => Some(dtype),
            _ => None,
        }
    }
}

/// All values of a pickle, at most [`MAX_VALUES`] of them.
#[derive(Debug)]
pub(in crate::file) struct Heap<'a> {
    values: Vec<Value<'a>>,
}

/// The maximum number of values. A tensor takes about twenty, so this allows 400,000 tensors.
pub(super) const MAX_VALUES: usize = 1 << 23;

impl<'a> Heap<'a> {
    // Values without identity are shared, so that an opcode of one byte does not allocate a value.
    pub(in crate::file) const NONE: Id = 0;
    pub(super) const TRUE: Id = 1;
    pub(super) const FALSE: Id = 2;
    pub(in crate::file) const EMPTY: Id = 3;
    pub(super) const BYTES: Id = 4;
    pub(super) const INT: Id = 5;
    pub(super) const OTHER: Id = 6;

    pub(super) fn new() -> Heap<'a> {
        Heap {
            values: vec![
                Value::None,
                Value::Bool(true),
                Value::Bool(false),
                Value::Tuple(Vec::new()),
                Value::Opaque("bytes"),
                Value::Opaque("an integer"),
                Value::Opaque("a value that is not a tensor"),
            ],
        }
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<Id, Problem> {
        if self.values.len() >= MAX_VALUES {
            return Err(Problem::damaged(format!("more than {MAX_VALUES} values")));
        }
        self.values.push(value);
        Ok((self.values.len() - 1) as Id)
    }

    pub(in crate::file) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// The items of a list or a tuple; none of another value.
    pub(in crate::file) fn list(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Value::List(items) | Value::Tuple(items) => items,
            _ => &[],
        }
    }

    /// The key of a storage or a tensor: an address, or text.
    pub(in crate::file) fn key(&self, id: Id) -> Option<String> {
        match self.get(id) {
            Value::Int(key) => Some(key.to_string()),
            Value::Str(key) => Some(key.to_string()),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.values[id as usize]
    }

    /// All values in the order in which the pickle built them.
    pub(in crate::file) fn values(&self) -> &[Value<'a>] {
        &self.values
    }
}
