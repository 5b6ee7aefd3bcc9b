//! The archives of PyTorch: `torch.save`, TorchScript, and what `tch` saves as `.ot`.
//!
//! `data.pkl` says which tensors there are; the storages are the members `data/KEY`, stored as
//! they are, so they stay in the file.

use super::archive::{Archive, Content};
use super::error::Flaw;
use super::mapped_tensors::Entry;
use super::pickle::{self, Heap, Id, Tensor, Value};
use std::collections::HashMap;
use std::ops::Range;

/// The archive of PyTorch that a zip archive may be.
pub(super) struct TorchArchive<'a> {
    bytes: &'a [u8],
    members: HashMap<&'a str, Range<usize>>,
    /// Whether it holds a TorchScript module, as `.ot` files do.
    pub(super) is_script: bool,
}

/// The folder of all members, if it has the pickle that makes it PyTorch's.
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
    /// `None` if the archive is another one.
    pub(super) fn of(
        bytes: &'a [u8],
        archive: &'a Archive<'_>,
    ) -> Result<Option<TorchArchive<'a>>, Flaw> {
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
            // The rest is code of TorchScript, whose members are compressed.
            if !matches!(name, "data.pkl" | "byteorder") && !name.starts_with("data/") {
                continue;
            }
            let Content::Stored(range) = &member.content else {
                return Err(Flaw::unsupported(
                    "compressed, which PyTorch's archives are not",
                    "write it again with torch.save",
                )
                .at(name));
            };
            if members.insert(name, range.clone()).is_some() {
                return Err(Flaw::damaged("it is in the archive twice").at(name));
            }
        }
        Ok(Some(TorchArchive {
            bytes,
            members,
            is_script,
        }))
    }

    /// The tensors in the order of the pickle. `alone` names one that is the whole content.
    pub(super) fn read(&self, alone: &str) -> Result<Vec<Entry>, Flaw> {
        let member = |name: &str| {
            self.members
                .get(name)
                .map(|range| &self.bytes[range.clone()])
        };
        if member("byteorder").is_some_and(|order| order != b"little") {
            return Err(Flaw::unsupported(
                "big-endian",
                "save it on a little-endian machine",
            ));
        }
        let pickle = member("data.pkl").unwrap_or_default();
        let (heap, whole) = pickle::read(pickle)?;
        let mut walk = Walk {
            archive: self,
            heap: &heap,
            name: String::new(),
            alone,
            entries: Vec::new(),
            visits: pickle.len().saturating_mul(16).saturating_add(1 << 16),
            memory: pickle.len().saturating_mul(64).saturating_add(1 << 20),
        };
        walk.value(whole, 0)?;
        Ok(walk.entries)
    }
}

/// Goes through nested containers and names the tensors in them.
struct Walk<'a> {
    archive: &'a TorchArchive<'a>,
    heap: &'a Heap<'a>,
    /// The dotted name of where it is.
    name: String,
    alone: &'a str,
    entries: Vec<Entry>,
    /// Containers may be shared, so a short pickle can stand for any number of tensors: how many
    /// values it may still visit, and how many bytes of names and shapes it may still keep.
    visits: usize,
    memory: usize,
}

/// Containers within containers; a TorchScript module takes two.
const MAX_DEPTH: usize = 128;

/// As PyTorch's iterators and numpy have it.
const MAX_DIMENSIONS: usize = 64;

impl Walk<'_> {
    fn value(&mut self, id: Id, depth: usize) -> Result<(), Flaw> {
        self.visits = self.visits.checked_sub(1).ok_or_else(expands)?;
        if depth > MAX_DEPTH {
            return Err(Flaw::damaged(format!(
                "it nests deeper than {MAX_DEPTH} levels"
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

    fn item(&mut self, key: Id, value: Id, depth: usize) -> Result<(), Flaw> {
        match self.heap.get(key) {
            // tch writes the dots of a name so, since an attribute has none.
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
                    Some(entry) => Err(Flaw::unsupported(
                        "a tensor under a key that is neither text nor an integer",
                        "save a dict with names",
                    )
                    .at(&entry.name)),
                }
            }
        }
    }

    fn named(&mut self, key: &str, value: Id, depth: usize) -> Result<(), Flaw> {
        let length = self.name.len();
        if length > 0 {
            self.name.push('.');
        }
        self.name.push_str(key);
        self.value(value, depth + 1)?;
        self.name.truncate(length);
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Flaw> {
        let name = match self.name.as_str() {
            "" => self.alone,
            name => name,
        };
        let entry = self.entry(name, tensor).map_err(|flaw| flaw.at(name))?;
        let kept = name.len() + (entry.shape.len() * 2 + 20) * size_of::<usize>();
        self.memory = self.memory.checked_sub(kept).ok_or_else(expands)?;
        self.entries.push(entry);
        Ok(())
    }

    fn entry(&self, name: &str, tensor: &Tensor) -> Result<Entry, Flaw> {
        let Value::Storage(storage) = self.heap.get(tensor.storage) else {
            return Err(Flaw::damaged("a tensor without a storage"));
        };
        let dtype = tensor
            .dtype
            .or(storage.dtype)
            .ok_or_else(|| Flaw::damaged("a tensor without a dtype"))?;
        let range = self
            .archive
            .members
            .get(format!("data/{}", storage.key).as_str())
            .ok_or_else(|| {
                Flaw::damaged(format!(
                    "its storage data/{} is not in the archive",
                    storage.key
                ))
            })?;
        let unit = storage.dtype.map_or(1, |dtype| dtype.size());
        let claimed = storage.numel.checked_mul(unit as u64);
        if claimed != Some(range.len() as u64) {
            return Err(Flaw::damaged(format!(
                "its storage data/{} has {} bytes, the pickle claims {} elements of {unit}",
                storage.key,
                range.len(),
                storage.numel
            )));
        }
        let shape = self.naturals(tensor.size)?;
        // Without elements, a column of no rows may start behind its storage.
        let offset = match shape.contains(&0) {
            true => 0,
            false => self.natural(tensor.offset)?,
        };
        Ok(Entry {
            name: name.to_owned(),
            dtype,
            shape,
            strided: Some((self.naturals(tensor.stride)?, offset)),
            blob: 0,
            range: range.clone(),
        })
    }

    fn natural(&self, id: Id) -> Result<usize, Flaw> {
        match self.heap.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
        .ok_or_else(|| Flaw::damaged("a size, stride or offset that is no natural number"))
    }

    fn naturals(&self, id: Id) -> Result<Vec<usize>, Flaw> {
        match self.heap.get(id) {
            Value::Tuple(items) | Value::List(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|item| self.natural(*item)).collect()
            }
            _ => Err(Flaw::damaged(format!(
                "a shape or strides that are no tuple of at most {MAX_DIMENSIONS}"
            ))),
        }
    }
}

fn expands() -> Flaw {
    Flaw::damaged("it names the same tensors again and again")
}
