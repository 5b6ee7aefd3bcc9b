//! The values that a pickle builds.

use super::global::Global;
use crate::Dtype;
use crate::file::error::Problem;

/// The index of a value in its [`Heap`].
pub(in crate::file) type Id = u32;

/// A value. Containers refer to others by index, so nothing recurses here, and a container may
/// contain itself.
#[derive(Debug)]
pub(in crate::file) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Str(&'a str),
    /// A value without tensors.
    Opaque,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An instance of a TorchScript class, with its attributes once they are set.
    Object(Option<Id>),
    Global(Global),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor>),
}

/// A storage, which is the member `data/KEY` of the archive.
#[derive(Debug, Clone)]
pub(in crate::file) struct Storage<'a> {
    pub(in crate::file) key: &'a str,
    /// `None` for a storage of bytes.
    pub(in crate::file) dtype: Option<Dtype>,
    /// The number of elements, or of bytes.
    pub(in crate::file) numel: u64,
}

/// The arguments of a tensor, not yet evaluated: a few bytes of pickle may refer to a long shape
/// many times.
#[derive(Debug)]
pub(in crate::file) struct Tensor {
    pub(in crate::file) storage: Id,
    /// `None` for the dtype of the storage.
    pub(in crate::file) dtype: Option<Dtype>,
    pub(in crate::file) offset: Id,
    pub(in crate::file) size: Id,
    pub(in crate::file) stride: Id,
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

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.values[id as usize]
    }
}
