//! Reads PyTorch's archives: those of `torch.save`, of TorchScript, and the `.ot` files of `tch`.
//!
//! The member `data.pkl` describes the tensors. The members `data/KEY` are their storages; they are
//! not compressed, so tensors borrow from the file.

use super::archive::{Archive, Content};
use super::error::Problem;
use super::mapped_tensors::TensorEntry;
use super::pickle::{self, Heap, Id, Tensor, Value};
use std::collections::HashMap;
use std::ops::Range;

/// A zip archive that PyTorch wrote.
pub(super) struct TorchArchive<'a> {
    bytes: &'a [u8],
    members: HashMap<&'a str, Range<usize>>,
    /// Whether it is a TorchScript module, as `.ot` files are.
    pub(super) is_script: bool,
}

/// The directory of all members, if it has the pickle that identifies an archive of PyTorch.
fn root<'a>(archive: &'a Archive<'_>) -> Option<&'a str> {
    let (root, _) = archive.members.first()?.name.split_once('/')?;
    let is_pickle = |name: &str| {
        name.strip_prefix(root)
            .is_some_and(|rest| rest == "/data.pkl")
    };
    archive
        .members
        .iter()
        .any(|member| is_pickle(&member.name))
        .then_some(root)
}

impl<'a> TorchArchive<'a> {
    /// `None` if PyTorch did not write the archive.
    pub(super) fn of(
        bytes: &'a [u8],
        archive: &'a Archive<'_>,
    ) -> Result<Option<TorchArchive<'a>>, Problem> {
        let Some(root) = root(archive) else {
            return Ok(None);
        };
        let mut members = HashMap::new();
        let mut is_script = false;
        for member in &archive.members {
            let Some(name) = member
                .name
                .strip_prefix(root)
                .and_then(|rest| rest.strip_prefix('/'))
            else {
                continue;
            };
            is_script |= name == "constants.pkl";
            // Other members are TorchScript code, and compressed.
            if !matches!(name, "data.pkl" | "byteorder") && !name.starts_with("data/") {
                continue;
            }
            let Content::Stored(range) = &member.content else {
                return Err(Problem::unsupported(
                    "compressed, which PyTorch's archives never are",
                    "save it again with torch.save",
                )
                .within(name));
            };
            if members.insert(name, range.clone()).is_some() {
                return Err(Problem::damaged("duplicate member").within(name));
            }
        }
        Ok(Some(TorchArchive {
            bytes,
            members,
            is_script,
        }))
    }

    /// Reads the tensors in the order of the pickle. `alone` names a tensor that is the entire
    /// content.
    pub(super) fn read(&self, alone: &str) -> Result<Vec<TensorEntry>, Problem> {
        let member = |name: &str| {
            self.members
                .get(name)
                .map(|range| &self.bytes[range.clone()])
        };
        if member("byteorder").is_some_and(|order| order != b"little") {
            return Err(Problem::unsupported(
                "big-endian",
                "save it on a little-endian machine",
            ));
        }
        let pickle = member("data.pkl").unwrap_or_default();
        let (heap, root) = pickle::read(pickle)?;
        let mut walk = Walk {
            archive: self,
            heap: &heap,
            name: String::new(),
            alone,
            entries: Vec::new(),
            visits: pickle.len().saturating_mul(16).saturating_add(1 << 16),
            memory: pickle.len().saturating_mul(64).saturating_add(1 << 20),
        };
        walk.value(root, 0)?;
        Ok(walk.entries)
    }
}

/// A walk through nested containers that names the tensors in them.
struct Walk<'a> {
    archive: &'a TorchArchive<'a>,
    heap: &'a Heap<'a>,
    /// The dotted name of the current value.
    name: String,
    alone: &'a str,
    entries: Vec<TensorEntry>,
    /// How many more values may be visited. Containers may be shared, so a short pickle can
    /// describe any number of tensors.
    visits: usize,
    /// How many more bytes names and shapes may take.
    memory: usize,
}

/// The maximum depth of nested containers. A TorchScript module takes two levels.
const MAX_DEPTH: usize = 128;

/// The limit of PyTorch's iterators and of numpy.
const MAX_DIMENSIONS: usize = 64;

impl Walk<'_> {
    fn value(&mut self, id: Id, depth: usize) -> Result<(), Problem> {
        self.visits = self.visits.checked_sub(1).ok_or_else(expands)?;
        if depth > MAX_DEPTH {
            return Err(Problem::damaged(format!(
                "nested deeper than {MAX_DEPTH} levels"
            )));
        }
        match self.heap.get(id) {
            Value::Tensor(tensor) => self.tensor(tensor),
            Value::Dict(items) => items
                .iter()
                .try_for_each(|(key, value)| self.item(*key, *value, depth)),
            Value::Tuple(items) | Value::List(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| self.named(&i.to_string(), *item, depth)),
            Value::Object(Some(attributes)) => self.value(*attributes, depth + 1),
            _ => Ok(()),
        }
    }

    fn item(&mut self, key: Id, value: Id, depth: usize) -> Result<(), Problem> {
        match self.heap.get(key) {
            // tch replaces the dots of a name, which an attribute cannot contain.
            Value::Str(key) if self.archive.is_script && key.contains('|') => {
                self.named(&key.replace('|', "."), value, depth)
            }
            Value::Str(key) => self.named(key, value, depth),
            Value::Int(key) => self.named(&key.to_string(), value, depth),
            Value::Bool(true) => self.named("True", value, depth),
            Value::Bool(false) => self.named("False", value, depth),
            Value::None => self.named("None", value, depth),
            _ => {
                let before = self.entries.len();
                self.named("?", value, depth)?;
                match self.entries.get(before) {
                    None => Ok(()),
                    Some(entry) => Err(Problem::unsupported(
                        "a tensor under a key that is neither a string nor an integer",
                        "save a dict with string keys",
                    )
                    .within(&entry.name)),
                }
            }
        }
    }

    fn named(&mut self, key: &str, value: Id, depth: usize) -> Result<(), Problem> {
        let length = self.name.len();
        if length > 0 {
            self.name.push('.');
        }
        self.name.push_str(key);
        self.value(value, depth + 1)?;
        self.name.truncate(length);
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Problem> {
        let name = match self.name.as_str() {
            "" => self.alone,
            name => name,
        };
        let entry = self
            .entry(name, tensor)
            .map_err(|problem| problem.within(name))?;
        let taken = name.len() + (entry.shape.len() * 2 + 20) * size_of::<usize>();
        self.memory = self.memory.checked_sub(taken).ok_or_else(expands)?;
        self.entries.push(entry);
        Ok(())
    }

    fn entry(&self, name: &str, tensor: &Tensor) -> Result<TensorEntry, Problem> {
        let Value::Storage(storage) = self.heap.get(tensor.storage) else {
            return Err(Problem::damaged("a tensor without a storage"));
        };
        let dtype = tensor
            .dtype
            .or(storage.dtype)
            .ok_or_else(|| Problem::damaged("a tensor without a dtype"))?;
        let range = self
            .archive
            .members
            .get(format!("data/{}", storage.key).as_str())
            .ok_or_else(|| {
                Problem::damaged(format!(
                    "its storage data/{} is not in the archive",
                    storage.key
                ))
            })?;
        let unit = storage.dtype.map_or(1, |dtype| dtype.size());
        let claimed = storage.numel.checked_mul(unit as u64);
        if claimed != Some(range.len() as u64) {
            return Err(Problem::damaged(format!(
                "its storage data/{} has {} bytes, but the pickle claims {} elements of {unit}",
                storage.key,
                range.len(),
                storage.numel
            )));
        }
        let shape = self.naturals(tensor.size)?;
        // A tensor without elements may start after the end of its storage.
        let offset = match shape.contains(&0) {
            true => 0,
            false => self.natural(tensor.offset)?,
        };
        Ok(TensorEntry {
            name: name.to_owned(),
            dtype,
            shape,
            strided: Some((self.naturals(tensor.stride)?, offset)),
            file: 0,
            range: range.clone(),
        })
    }

    fn natural(&self, id: Id) -> Result<usize, Problem> {
        match self.heap.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
        .ok_or_else(|| {
            Problem::damaged("a size, stride or offset that is not a non-negative integer")
        })
    }

    fn naturals(&self, id: Id) -> Result<Vec<usize>, Problem> {
        match self.heap.get(id) {
            Value::Tuple(items) | Value::List(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|item| self.natural(*item)).collect()
            }
            _ => Err(Problem::damaged(format!(
                "a shape or strides that are not a tuple of at most {MAX_DIMENSIONS} integers"
            ))),
        }
    }
}

fn expands() -> Problem {
    Problem::damaged("it refers to the same tensors too many times")
}
