//! Tensors and the bytes they lie in.

use super::error::{FileError, Flaw};
use crate::{Dtype, TensorView, ViewError};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes that tensors borrow from, and the file they belong to.
#[derive(Debug)]
pub(super) struct Blob {
    path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Blob {
    /// Maps a file. `path` is for messages; the file may be an unnamed temporary one.
    pub(super) fn map(path: &Path, file: &File) -> io::Result<Blob> {
        // SAFETY: the map is private and only read. What remains is another process that changes
        // the file underneath: truncating it makes a read fault (SIGBUS), and rewriting it changes
        // bytes that are borrowed as `&[u8]`. No system can rule that out without a copy of the
        // file; nothing here depends on two reads of a byte being equal for its memory safety,
        // since offsets are checked once, when the file is opened, and kept outside of the map.
        let bytes = Bytes::Mapped(unsafe { memmap2::Mmap::map(file)? });
        Ok(Blob {
            path: path.to_owned(),
            bytes,
        })
    }

    pub(super) fn owned(path: &Path, bytes: Vec<u8>) -> Blob {
        Blob {
            path: path.to_owned(),
            bytes: Bytes::Owned(bytes),
        }
    }

    /// Takes a part of a mapped file out of this process's memory; the page cache may keep it.
    fn release(&self, range: Range<usize>) {
        if let Bytes::Mapped(map) = &self.bytes
            && range.end <= map.len()
        {
            // SAFETY: the map is of a file and never written to, so what is dropped is read again
            // from the file when it is next looked at.
            let released = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
            if let Err(error) = released {
                log::debug!("{}: memory is kept: {error}", self.path.display());
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// A tensor and where its elements lie.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Strides and the number of the first element; `None` where the elements fill the range in
    /// logical order.
    pub(super) strided: Option<(Vec<usize>, usize)>,
    /// The number of the blob.
    pub(super) blob: usize,
    /// The storage: a range of the blob.
    pub(super) range: Range<usize>,
}

impl Entry {
    fn view<'a>(&self, blob: &'a Blob) -> Result<TensorView<'a>, ViewError> {
        // A range outside of the blob is reported as a storage without bytes.
        let storage = blob.bytes().get(self.range.clone()).unwrap_or_default();
        match &self.strided {
            None => TensorView::contiguous(self.dtype, &self.shape, storage),
            Some((strides, offset)) => {
                TensorView::strided(self.dtype, &self.shape, strides, *offset, storage)
            }
        }
    }
}

/// What one or several files hold: every tensor checked, and no name twice.
#[derive(Debug, Default)]
pub(super) struct Contents {
    blobs: Vec<Blob>,
    entries: Vec<Entry>,
    /// The numbers of the entries, sorted by name.
    by_name: Vec<usize>,
}

/// An expanded tensor stands for more bytes than it has. Nobody stores one of this size, and
/// whoever goes through its elements would never end.
const EXPANDED: usize = 1 << 30;

impl Contents {
    /// The entries of one file.
    pub(super) fn new(blobs: Vec<Blob>, entries: Vec<Entry>) -> Result<Contents, Trouble> {
        for entry in &entries {
            let view = entry
                .view(&blobs[entry.blob])
                .map_err(|error| Flaw::damaged(error.to_string()).at(&entry.name))?;
            let logical = view.numel().saturating_mul(entry.dtype.size());
            if logical > entry.range.len() && logical > EXPANDED {
                return Err(Flaw::unsupported(
                    format!("expanded to {logical} bytes"),
                    "save it without its expanded dimensions",
                )
                .at(&entry.name)
                .into());
            }
        }
        Contents::named(blobs, entries).map_err(Trouble::File)
    }

    /// The same without a look at the entries, which come from other contents.
    fn named(blobs: Vec<Blob>, entries: Vec<Entry>) -> Result<Contents, FileError> {
        let mut by_name: Vec<usize> = (0..entries.len()).collect();
        by_name.sort_by(|a, b| entries[*a].name.cmp(&entries[*b].name));
        for pair in by_name.windows(2) {
            let (first, second) = (&entries[pair[0]], &entries[pair[1]]);
            if first.name == second.name {
                return Err(FileError::Duplicate {
                    name: first.name.clone(),
                    first: blobs[first.blob].path.clone(),
                    second: blobs[second.blob].path.clone(),
                });
            }
        }
        Ok(Contents {
            blobs,
            entries,
            by_name,
        })
    }

    /// The tensors of several files, one file after the other.
    pub(super) fn joined(parts: Vec<Contents>) -> Result<Contents, FileError> {
        let (mut blobs, mut entries) = (Vec::new(), Vec::new());
        for part in parts {
            let first = blobs.len();
            blobs.extend(part.blobs);
            entries.extend(part.entries.into_iter().map(|entry| Entry {
                blob: first + entry.blob,
                ..entry
            }));
        }
        Contents::named(blobs, entries)
    }

    /// The tensors of several files that `pick` names: the number of the part, and the name.
    /// Fails with the place in `pick` of the first that is not there.
    pub(super) fn picked(
        parts: Vec<Contents>,
        pick: &[(usize, &str)],
    ) -> Result<Result<Contents, FileError>, usize> {
        let starts: Vec<usize> = parts
            .iter()
            .scan(0, |start, part| {
                let first = *start;
                *start += part.blobs.len();
                Some(first)
            })
            .collect();
        let entries = pick
            .iter()
            .enumerate()
            .map(|(place, &(part, name))| {
                let entry = parts[part].find(name).ok_or(place)?;
                Ok(Entry {
                    blob: starts[part] + entry.blob,
                    ..entry.clone()
                })
            })
            .collect::<Result<_, usize>>()?;
        let blobs = parts.into_iter().flat_map(|part| part.blobs).collect();
        Ok(Contents::named(blobs, entries))
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        let place = self
            .by_name
            .binary_search_by(|at| self.entries[*at].name.as_str().cmp(name))
            .ok()?;
        Some(&self.entries[self.by_name[place]])
    }

    /// Gives back the memory that a tensor took while it was read.
    pub(super) fn release(&self, entry: &Entry) {
        self.blobs[entry.blob].release(entry.range.clone());
    }

    /// `new` has tried the same view of the same bytes, and every entry comes from there; what
    /// [`Entry::view`] refuses depends on nothing else.
    pub(super) fn view(&self, entry: &Entry) -> TensorView<'_> {
        entry
            .view(&self.blobs[entry.blob])
            .expect("every entry was checked when the file was opened")
    }
}

/// What a reader returns: a flaw of the file it reads, or an error that already names its file.
#[derive(Debug)]
pub(super) enum Trouble {
    Flaw(Flaw),
    File(FileError),
}

impl From<Flaw> for Trouble {
    fn from(flaw: Flaw) -> Trouble {
        Trouble::Flaw(flaw)
    }
}
