//! Reads what `torch.save` wrote before PyTorch 1.6: no archive, but pickles and storages one after
//! another. `torch.save(x, path, _use_new_zipfile_serialization=False)` still writes it.
//!
//! After `_legacy_save` and `_legacy_load` of `torch/serialization.py`, PyTorch 2.13: the pickles of a
//! magic number, of the version, of what is known of the machine, of the object, and of the list of
//! the keys of its storages; then, in the order of that list, the number of elements and the
//! elements of each storage.

use super::error::Problem;
use super::mapped_tensors::Members;
use super::members::{self, Origin};
use super::pickle::{self, Pickle, Storage, Value};
use std::collections::HashMap;
use std::ops::Range;

/// The magic number as pickles have it: in binary, and as the text of protocols 0 and 1.
const MAGIC: [&[u8]; 2] = [
    b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
    b"L119547037146038801333356L\n.",
];

/// Whether the bytes start with the pickle of the magic number.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(32)];
    MAGIC
        .iter()
        .any(|magic| start.windows(magic.len()).any(|window| window == *magic))
}

/// The position in the bytes.
struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    fn pickle(&mut self, name: &str) -> Result<Pickle<'a>, Problem> {
        let pickle = pickle::read(&self.bytes[self.position..], name)?;
        self.position += pickle.length;
        Ok(pickle)
    }
}

/// Reads the tensors in the order of the pickle. `alone` names a tensor that is the entire content.
pub(super) fn read(bytes: &[u8], alone: &str) -> Result<Members, Problem> {
    let mut input = Input { bytes, position: 0 };
    input.pickle("the magic number")?;
    let version = input.pickle("the version of the format")?;
    if !matches!(version.heap.get(version.root), Value::Int(1001)) {
        return Err(Problem::unsupported(
            "a version of the format of torch.save that is not 1001",
            "save it again with PyTorch 1.6 or later",
        ));
    }
    let system = input.pickle("the description of the system")?;
    if is_big_endian(&system) {
        return Err(Problem::unsupported(
            "big-endian",
            "save it on a little-endian machine",
        ));
    }
    let object = input.pickle("the pickle of the object")?;
    let keys = input.pickle("the list of storages")?;
    let storages = storages(&mut input, &object, &keys);
    let members = members::read(
        &object,
        &Origin {
            alone,
            prefix: "",
            is_script: false,
            storage: &|storage| storages.range(storage),
            reference: &|_| None,
        },
    )?;
    Ok(members.with_unique_names())
}

fn is_big_endian(system: &Pickle<'_>) -> bool {
    let Value::Dict(items) = system.heap.get(system.root) else {
        return false;
    };
    items.iter().any(|(key, value)| {
        let is_it = matches!(system.heap.get(*key), Value::Str(key) if key == "little_endian");
        is_it && matches!(system.heap.get(*value), Value::Bool(false))
    })
}

/// The bytes of each storage, by its key.
struct Storages {
    ranges: HashMap<String, Range<usize>>,
    /// The storages before this one are complete.
    truncated: bool,
}

/// Locates the storages. Their sizes are those of the elements of the classes that the object has.
fn storages(input: &mut Input<'_>, object: &Pickle<'_>, keys: &Pickle<'_>) -> Storages {
    let mut units: HashMap<&str, usize> = HashMap::new();
    for value in object.heap.values() {
        if let Value::Storage(storage) = value {
            units.entry(&storage.key).or_insert(storage.element.size());
        }
    }
    let mut found = Storages {
        ranges: HashMap::new(),
        truncated: false,
    };
    for id in keys.heap.list(keys.root) {
        let key = keys.heap.key(*id).unwrap_or_default();
        // Without its class a storage has no end.
        let range = units.get(key.as_str()).and_then(|unit| {
            let start = input.position.checked_add(8)?;
            let numel = input.bytes.get(input.position..start)?;
            let numel = u64::from_le_bytes(numel.try_into().ok()?);
            let length = usize::try_from(numel).ok()?.checked_mul(*unit)?;
            let end = start.checked_add(length)?;
            (end <= input.bytes.len()).then_some(start..end)
        });
        match range {
            Some(range) => {
                input.position = range.end;
                found.ranges.insert(key, range);
            }
            None => {
                found.truncated = true;
                break;
            }
        }
    }
    found
}

impl Storages {
    fn range(&self, storage: &Storage<'_>) -> Result<Range<usize>, Problem> {
        let key = &storage.key;
        let range = self.ranges.get(&**key).ok_or_else(|| {
            Problem::damaged(match self.truncated {
                true => format!("the file ends before the end of its storage {key}"),
                false => format!("its storage {key} is not in the file"),
            })
        })?;
        storage.check_length(range.len(), key)?;
        Ok(range.clone())
    }
}
