//! What a pickle builds.

use super::global::Global;
use crate::Dtype;
use crate::file::error::Flaw;

/// The number of a value in its [`Heap`].
pub(in crate::file) type Id = u32;

/// A value. Containers hold numbers of others, so nothing here recurses, and a container that
/// contains itself is as harmless as any.
#[derive(Debug)]
pub(in crate::file) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Str(&'a str),
    /// Something no tensor is in.
    Opaque,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An instance of a TorchScript class: its attributes, once they are set.
    Object(Option<Id>),
    Global(Global),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor>),
}

/// A storage that the archive holds as `data/KEY`.
#[derive(Debug, Clone)]
pub(in crate::file) struct Storage<'a> {
    pub(in crate::file) key: &'a str,
    /// `None` for a storage of bytes.
    pub(in crate::file) dtype: Option<Dtype>,
    /// Elements, or bytes.
    pub(in crate::file) numel: u64,
}

/// The arguments of a tensor, none of them looked at yet: a few bytes of pickle may name a long
/// shape again and again.
#[derive(Debug)]
pub(in crate::file) struct Tensor {
    pub(in crate::file) storage: Id,
    /// `None` for the dtype of the storage.
    pub(in crate::file) dtype: Option<Dtype>,
    pub(in crate::file) offset: Id,
    pub(in crate::file) size: Id,
    pub(in crate::file) stride: Id,
}

/// All values of a pickle, at most [`MAX_VALUES`].
#[derive(Debug)]
pub(in crate::file) struct Heap<'a> {
    values: Vec<Value<'a>>,
}

/// Some twenty values stand for a tensor: room for 400,000 of them.
pub(super) const MAX_VALUES: usize = 1 << 23;

impl<'a> Heap<'a> {
    // Values without identity stand once, so that a byte of pickle is not a value of memory.
    pub(super) const NONE: Id = 0;
    pub(super) const TRUE: Id = 1;
    pub(super) const FALSE: Id = 2;
    pub(super) const OPAQUE: Id = 3;
    pub(super) const EMPTY: Id = 4;

    pub(super) fn new() -> Heap<'a> {
        Heap {
            values: vec![
                Value::None,
                Value::Bool(true),
                Value::Bool(false),
                Value::Opaque,
                Value::Tuple(Vec::new()),
            ],
        }
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<Id, Flaw> {
        if self.values.len() >= MAX_VALUES {
            return Err(Flaw::damaged(format!(
                "it builds more than {MAX_VALUES} values"
            )));
        }
        self.values.push(value);
        Ok((self.values.len() - 1) as Id)
    }

    pub(in crate::file) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.values[id as usize]
    }
}
