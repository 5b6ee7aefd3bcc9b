//! Reads what `torch.save` wrote in PyTorch 0.1: a tar archive of `storages`, `tensors` and `pickle`.
//!
//! After `legacy_load` in `_legacy_load` of `torch/serialization.py`, PyTorch 2.13, which still reads it.

use super::error::Problem;
use super::mapped_tensors::Members;
use super::members::{self, Described, MAX_DIMENSIONS, Origin};
use super::pickle::{self, Element, Global, Heap, Id, Pickle, Value};
use std::collections::HashMap;
use std::ops::Range;

/// The size of the blocks of a tar archive.
const BLOCK: usize = 512;

/// The members of an archive, if it is one that PyTorch wrote.
pub(super) struct TarArchive<'a> {
    bytes: &'a [u8],
    storages: Range<usize>,
    tensors: Range<usize>,
    pickle: Range<usize>,
}

impl<'a> TarArchive<'a> {
    /// `None` if the bytes are not a tar archive with the three members.
    pub(super) fn of(bytes: &'a [u8]) -> Option<TarArchive<'a>> {
        let mut found: [Option<Range<usize>>; 3] = [None, None, None];
        let mut position = 0;
        while let Some(header) = bytes.get(position..).and_then(|rest| rest.get(..BLOCK)) {
            // The checksum takes its own field as spaces.
            let sum: u32 = header
                .iter()
                .enumerate()
                .map(|(i, byte)| u32::from(if (148..156).contains(&i) { b' ' } else { *byte }))
                .sum();
            if header.iter().all(|byte| *byte == 0) || octal(&header[148..156]) != Some(sum.into())
            {
                break;
            }
            let size = usize::try_from(octal(&header[124..136])?).ok()?;
            let start = position + BLOCK;
            let name = header[..100].split(|byte| *byte == 0).next()?;
            let name = name.strip_prefix(b"./").unwrap_or(name);
            let names: [&[u8]; 3] = [b"storages", b"tensors", b"pickle"];
            if let Some(which) = names.iter().position(|known| *known == name) {
                let end = start.checked_add(size)?.min(bytes.len());
                found[which] = Some(start..end);
            }
            position = start.checked_add(size.checked_next_multiple_of(BLOCK)?)?;
        }
        let [storages, tensors, pickle] = found;
        Some(TarArchive {
            bytes,
            storages: storages?,
            tensors: tensors?,
            pickle: pickle?,
        })
    }

    /// Reads the tensors in the order of the pickle. `alone` names a tensor that is the entire
    /// content.
    pub(super) fn read(&self, alone: &str) -> Result<Members, Problem> {
        let storages = self.storages();
        let tensors = self.tensors(&storages);
        let pickle = pickle::read(&self.bytes[self.pickle.clone()], "pickle")?;
        let members = members::read(
            &pickle,
            &Origin {
                alone,
                prefix: "",
                is_script: false,
                storage: &|_| Err(Problem::damaged("a storage without a tensor")),
                reference: &|key| Some(tensors.get(key).cloned().ok_or_else(missing)),
            },
        )?;
        Ok(members.with_unique_names())
    }

    /// The storages by key. Those after a damaged one are missing.
    fn storages(&self) -> HashMap<String, (Element, Range<usize>)> {
        let mut found = HashMap::new();
        let mut input = Input {
            bytes: &self.bytes[..self.storages.end],
            position: self.storages.start,
        };
        let Some(count) = input.count() else {
            return found;
        };
        for _ in 0..count {
            let Some((key, storage)) = input.storage() else {
                return found;
            };
            found.insert(key, storage);
        }
        let Some(views) = input.pickle() else {
            return found;
        };
        for view in views.heap.list(views.root) {
            let part = match views.heap.get(*view) {
                Value::Tuple(items) | Value::List(items) => match items[..] {
                    [target, root, offset, numel] => part(&views.heap, &found, root, offset, numel)
                        .and_then(|part| Some((views.heap.key(target)?, part))),
                    _ => None,
                },
                _ => None,
            };
            if let Some((target, part)) = part {
                found.insert(target, part);
            }
        }
        found
    }

    /// The tensors by key. Those after a damaged one are missing.
    fn tensors(
        &self,
        storages: &HashMap<String, (Element, Range<usize>)>,
    ) -> HashMap<String, Described> {
        let mut found = HashMap::new();
        let mut input = Input {
            bytes: &self.bytes[..self.tensors.end],
            position: self.tensors.start,
        };
        let Some(count) = input.count() else {
            return found;
        };
        for _ in 0..count {
            let Some((key, storage, mut described)) = input.tensor() else {
                break;
            };
            if let Some((element, range)) = storages.get(&storage) {
                described.element = *element;
                described.range = range.clone();
                found.insert(key, described);
            }
        }
        found
    }
}

fn missing() -> Problem {
    Problem::damaged("its description or its storage is not in the file")
}

/// The position in a member.
struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    fn pickle(&mut self) -> Option<Pickle<'a>> {
        let pickle = pickle::read(self.bytes.get(self.position..)?, "").ok()?;
        self.position += pickle.length;
        Some(pickle)
    }

    fn count(&mut self) -> Option<i64> {
        let pickle = self.pickle()?;
        match pickle.heap.get(pickle.root) {
            Value::Int(count) => Some(*count),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<usize> {
        let end = self.position.checked_add(8)?;
        let bytes = self.bytes.get(self.position..end)?;
        self.position = end;
        usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    /// The key, the class and the range of a storage: a pickle of `(key, location, class)`, the
    /// number of elements, and the elements.
    fn storage(&mut self) -> Option<(String, (Element, Range<usize>))> {
        let pickle = self.pickle()?;
        let [name, _, class] = *pickle.heap.list(pickle.root) else {
            return None;
        };
        let Value::Global(Global::Storage(element)) = pickle.heap.get(class) else {
            return None;
        };
        let length = self.number()?.checked_mul(element.size())?;
        let range = self.position..self.position.checked_add(length)?;
        self.bytes.get(range.clone())?;
        self.position = range.end;
        Some((pickle.heap.key(name)?, (*element, range)))
    }

    /// The key, the storage and the strides of a tensor: a pickle of `(key, storage, class)`, the
    /// number of dimensions, sizes, strides and the offset.
    fn tensor(&mut self) -> Option<(String, String, Described)> {
        let pickle = self.pickle()?;
        let [name, storage, _] = *pickle.heap.list(pickle.root) else {
            return None;
        };
        // Four bytes; what follows them was part of the number once.
        let dimensions = self.number()? & 0xffff_ffff;
        if dimensions > MAX_DIMENSIONS {
            return None;
        }
        let mut numbers = || {
            (0..dimensions)
                .map(|_| self.number())
                .collect::<Option<_>>()
        };
        let described = Described {
            element: Element::Bytes,
            shape: numbers()?,
            strides: numbers()?,
            offset: self.number()?,
            range: 0..0,
        };
        Some((pickle.heap.key(name)?, pickle.heap.key(storage)?, described))
    }
}

/// A part of a storage, with offset and length in elements.
fn part(
    heap: &Heap<'_>,
    storages: &HashMap<String, (Element, Range<usize>)>,
    root: Id,
    offset: Id,
    numel: Id,
) -> Option<(Element, Range<usize>)> {
    let (element, range) = storages.get(&heap.key(root)?)?;
    let bytes = |id: Id| match heap.get(id) {
        Value::Int(value) => usize::try_from(*value).ok()?.checked_mul(element.size()),
        _ => None,
    };
    let start = range.start.checked_add(bytes(offset)?)?;
    let end = start.checked_add(bytes(numel)?)?;
    (end <= range.end).then_some((*element, start..end))
}

/// The number in a field of octal digits.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches([' ', '\0']), 8).ok()
}
