//! The numbers, text and containers of what `torch.save` wrote, beside its tensors.

use super::archive::Archive;
use super::error::{FileError, Problem};
use super::format::Format;
use super::pickle::{self, Heap, Id, Value};
use super::single_file;
use super::torch::TorchArchive;
use std::path::Path;

/// A value of a file of `torch.save`, as plain data: what a checkpoint has beside its tensors, such as the groups of an
/// optimizer.
///
/// Nothing of the file is run. A tensor is only marked as one; its elements are read with
/// [`TensorFile`](super::TensorFile), under the keys of all containers that it is in, joined with dots.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PlainValue {
    /// `None`.
    None,
    /// A `bool`.
    Bool(bool),
    /// An `int` of at most 64 bits.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `str`.
    Text(String),
    /// A `list`, `tuple` or `set`.
    List(Vec<PlainValue>),
    /// A `dict`, in its order.
    Dict(Vec<(PlainValue, PlainValue)>),
    /// A tensor.
    Tensor,
    /// Anything else.
    Other,
}

/// The maximum depth of containers.
const MAX_DEPTH: usize = 32;

/// The maximum number of values, since a few bytes of pickle may refer to one many times.
const MAX_VALUES: usize = 1 << 22;

impl PlainValue {
    /// Reads what `torch.save` of PyTorch 1.6 or later wrote.
    ///
    /// # Errors
    ///
    /// [`FileError`] for a file that cannot be read, is not of `torch.save`, or is nested too deeply.
    pub fn read(path: impl AsRef<Path>) -> Result<PlainValue, FileError> {
        let path = path.as_ref();
        let bytes = single_file::map(path)?;
        let content = bytes.as_slice();
        read(content).map_err(|problem| problem.in_file(path, Format::TorchSave))
    }

    /// The value of a key of a `dict`.
    pub fn get(&self, key: &str) -> Option<&PlainValue> {
        let PlainValue::Dict(items) = self else {
            return None;
        };
        let is_key = |item: &PlainValue| matches!(item, PlainValue::Text(text) if text == key);
        let found = items.iter().find(|(item, _)| is_key(item));
        found.map(|(_, value)| value)
    }
}

fn read(content: &[u8]) -> Result<PlainValue, Problem> {
    let archive = Archive::open(content)?;
    let torch = TorchArchive::of(content, &archive)
        .ok_or_else(|| Problem::unknown("a zip archive that PyTorch did not write"))?;
    let bytes = torch.object()?;
    let pickle = pickle::read(bytes, "data.pkl")?;
    let mut budget = MAX_VALUES;
    plain(&pickle.heap, pickle.root, 0, &mut budget)
}

fn plain(heap: &Heap<'_>, id: Id, depth: usize, budget: &mut usize) -> Result<PlainValue, Problem> {
    if depth > MAX_DEPTH {
        return Err(Problem::damaged(format!(
            "containers that are nested more than {MAX_DEPTH} deep"
        )));
    }
    *budget = budget
        .checked_sub(1)
        .ok_or_else(|| Problem::damaged(format!("more than {MAX_VALUES} values")))?;
    let mut inner = |id: Id| plain(heap, id, depth + 1, budget);
    Ok(match heap.get(id) {
        Value::None => PlainValue::None,
        Value::Bool(value) => PlainValue::Bool(*value),
        Value::Int(value) => PlainValue::Int(*value),
        Value::Float(value) => PlainValue::Float(*value),
        Value::Str(value) => PlainValue::Text(value.to_string()),
        Value::List(items) | Value::Tuple(items) => {
            let items: Result<_, _> = items.iter().map(|item| inner(*item)).collect();
            PlainValue::List(items?)
        }
        Value::Dict(items) => {
            let mut values = Vec::new();
            for (key, value) in items {
                values.push((inner(*key)?, inner(*value)?));
            }
            PlainValue::Dict(values)
        }
        Value::Tensor(_) | Value::Unreadable(_) => PlainValue::Tensor,
        _ => PlainValue::Other,
    })
}
