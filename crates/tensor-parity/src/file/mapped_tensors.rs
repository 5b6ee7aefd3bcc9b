//! Tensors and the mapped bytes that hold their elements.

use super::error::{FileError, Problem};
use crate::{Dtype, LeftOut, LeftOutKind, TensorView, ViewError};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The bytes of a file, from which tensors borrow.
#[derive(Debug)]
pub(super) struct FileBytes {
    path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped {
        map: memmap2::Mmap,
        /// Kept open to ask for its present length.
        file: File,
    },
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps a file. `path` is for messages; the file may be an unnamed temporary one.
    pub(super) fn map(path: &Path, file: File) -> io::Result<FileBytes> {
        // SAFETY: this process never writes to the mapping and never truncates the file, and bytes
        // are read as `u8`, of which every pattern is valid. The mapping is shared, so a change
        // that another process makes to the file shows in it: an overwrite changes bytes that are
        // borrowed as `&[u8]`, and an access beyond a new, smaller end of the file raises SIGBUS.
        // A private mapping would not help: pages that were not yet read come from the changed file
        // too. Only a copy of the file would rule this out. Memory safety here does not depend on
        // reading the same byte twice: offsets and shapes are checked once, at opening, and stored
        // outside of the mapping. `check_length` reports a truncation before an access.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(FileBytes {
            path: path.to_owned(),
            bytes: Bytes::Mapped { map, file },
        })
    }

    pub(super) fn owned(path: &Path, bytes: Vec<u8>) -> FileBytes {
        FileBytes {
            path: path.to_owned(),
            bytes: Bytes::Owned(bytes),
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped { map, .. } => map,
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// Fails if the file is now shorter than its mapping.
    fn check_length(&self) -> Result<(), FileError> {
        let Bytes::Mapped { map, file } = &self.bytes else {
            return Ok(());
        };
        let metadata = file.metadata().map_err(|source| FileError::Read {
            path: self.path.clone(),
            source,
        })?;
        let (opened, now) = (map.len() as u64, metadata.len());
        if now < opened {
            return Err(FileError::Truncated {
                path: self.path.clone(),
                opened,
                now,
            });
        }
        Ok(())
    }

    /// Drops pages of a mapped file from this process's memory; the page cache may keep them.
    fn release(&self, range: Range<usize>) {
        if let Bytes::Mapped { map, .. } = &self.bytes
            && range.end <= map.len()
        {
            // SAFETY: the mapping is of a file and never written to, so a dropped page is read from
            // the file again at its next access.
            let released = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
            if let Err(error) = released {
                log::debug!("{}: pages are not released: {error}", self.path.display());
            }
        }
    }
}

/// A tensor and the location of its elements.
#[derive(Debug, Clone)]
pub(super) struct TensorEntry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Strides and the number of the first element, both in elements; `None` if the elements fill
    /// the range in logical order.
    pub(super) strided: Option<(Vec<usize>, usize)>,
    /// The index of the file.
    pub(super) file: usize,
    /// The storage: a range of the file's bytes.
    pub(super) range: Range<usize>,
}

impl TensorEntry {
    fn view<'a>(&self, bytes: &'a FileBytes) -> Result<TensorView<'a>, ViewError> {
        // A range outside of the file is reported as a storage without bytes.
        let storage = bytes.as_slice().get(self.range.clone()).unwrap_or_default();
        match &self.strided {
            None => TensorView::contiguous(self.dtype, &self.shape, storage),
            Some((strides, offset)) => {
                TensorView::strided(self.dtype, &self.shape, strides, *offset, storage)
            }
        }
    }
}

/// The tensors of a file, and the members that are not among them.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) entries: Vec<TensorEntry>,
    pub(super) left_out: Vec<LeftOut>,
    /// Elements that are not in the file as they are read: file 1 of the entries.
    pub(super) decoded: Vec<u8>,
}

impl Members {
    /// Appends the members of another part of the same file.
    pub(super) fn extend(&mut self, part: Members) {
        let first = self.decoded.len();
        self.decoded.extend(part.decoded);
        self.left_out.extend(part.left_out);
        self.entries
            .extend(part.entries.into_iter().map(|entry| match entry.file {
                0 => entry,
                _ => TensorEntry {
                    range: first + entry.range.start..first + entry.range.end,
                    ..entry
                },
            }));
    }

    /// The names that several tensors have, sorted.
    pub(super) fn duplicates(&self) -> Vec<String> {
        let mut names: Vec<&str> = self
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        let left_out = self.left_out.iter().filter(|member| is_tensor(member));
        names.extend(left_out.map(|member| member.name.as_str()));
        names.sort_unstable();
        let mut duplicates: Vec<String> = names
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0].to_owned())
            .collect();
        duplicates.dedup();
        duplicates
    }

    /// Leaves out tensors that have the same name.
    pub(super) fn with_unique_names(mut self) -> Members {
        let duplicates = self.duplicates();
        if duplicates.is_empty() {
            return self;
        }
        let is_unique = |name: &String| duplicates.binary_search(name).is_err();
        self.entries.retain(|entry| is_unique(&entry.name));
        self.left_out
            .retain(|member| !is_tensor(member) || is_unique(&member.name));
        self.left_out
            .extend(duplicates.into_iter().map(|name| LeftOut {
                advice: Some("rename one and write the file again"),
                ..LeftOut::new(
                    name,
                    LeftOutKind::Unsupported,
                    "several tensors have this name",
                )
            }));
        self
    }
}

fn is_tensor(member: &LeftOut) -> bool {
    member.kind != LeftOutKind::NotATensor
}

/// The tensors of one or several files: every tensor is checked, and names are unique.
#[derive(Debug, Default)]
pub(super) struct MappedTensors {
    files: Vec<FileBytes>,
    entries: Vec<TensorEntry>,
    left_out: Vec<LeftOut>,
    /// The indices of the entries, sorted by name.
    by_name: Vec<usize>,
}

/// The maximum size of an expanded tensor, whose elements take more bytes than its storage. A few
/// bytes of a hostile file can claim a tensor that takes years to iterate over.
const MAX_EXPANDED: usize = 1 << 30;

impl MappedTensors {
    /// The tensors of one file. `files` are its bytes, and those inflated from it. A tensor that does
    /// not fit its bytes is left out.
    pub(super) fn new(files: Vec<FileBytes>, members: Members) -> Result<MappedTensors, Problem> {
        let Members {
            entries: described,
            mut left_out,
            ..
        } = members;
        let mut entries = Vec::with_capacity(described.len());
        for entry in described {
            match check(&entry, &files[entry.file]) {
                Ok(()) => entries.push(entry),
                Err(problem) => left_out.push(problem.left_out(entry.name)),
            }
        }
        let by_name = sorted_by_name(&entries)
            .map_err(|[first, _]| Problem::duplicate(&entries[first].name))?;
        Ok(MappedTensors {
            files,
            entries,
            left_out,
            by_name,
        })
    }

    /// Combines tensors that were checked before.
    fn combined(
        files: Vec<FileBytes>,
        Members {
            entries, left_out, ..
        }: Members,
    ) -> Result<MappedTensors, FileError> {
        let path = |entry: usize| files[entries[entry].file].path.clone();
        let by_name = sorted_by_name(&entries).map_err(|[first, second]| FileError::Duplicate {
            name: entries[first].name.clone(),
            first: path(first),
            second: path(second),
        })?;
        Ok(MappedTensors {
            files,
            entries,
            left_out,
            by_name,
        })
    }

    /// The tensors of several files, file by file.
    pub(super) fn joined(parts: Vec<MappedTensors>) -> Result<MappedTensors, FileError> {
        let (mut files, mut members) = (Vec::new(), Members::default());
        for part in parts {
            let first = files.len();
            files.extend(part.files);
            members.left_out.extend(part.left_out);
            members
                .entries
                .extend(part.entries.into_iter().map(|entry| TensorEntry {
                    file: first + entry.file,
                    ..entry
                }));
        }
        MappedTensors::combined(files, members)
    }

    /// Selected tensors of several files: `selection` has, for each, the index of its part and its
    /// name. Fails with the index in `selection` of the first that its part does not have.
    pub(super) fn selected(
        parts: Vec<MappedTensors>,
        selection: &[(usize, &str)],
    ) -> Result<Result<MappedTensors, FileError>, usize> {
        let starts: Vec<usize> = parts
            .iter()
            .scan(0, |start, part| {
                let first = *start;
                *start += part.files.len();
                Some(first)
            })
            .collect();
        let mut members = Members::default();
        for (position, &(part, name)) in selection.iter().enumerate() {
            if let Some(entry) = parts[part].find(name) {
                members.entries.push(TensorEntry {
                    file: starts[part] + entry.file,
                    ..entry.clone()
                });
                continue;
            }
            let left_out = parts[part]
                .left_out
                .iter()
                .find(|member| member.name == name);
            members.left_out.push(left_out.ok_or(position)?.clone());
        }
        let files = parts.into_iter().flat_map(|part| part.files).collect();
        Ok(MappedTensors::combined(files, members))
    }

    pub(super) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    pub(super) fn entries(&self) -> &[TensorEntry] {
        &self.entries
    }

    pub(super) fn find(&self, name: &str) -> Option<&TensorEntry> {
        let position = self
            .by_name
            .binary_search_by(|entry| self.entries[*entry].name.as_str().cmp(name))
            .ok()?;
        Some(&self.entries[self.by_name[position]])
    }

    pub(super) fn view(&self, entry: &TensorEntry) -> TensorView<'_> {
        // `new` created a view of the same range of the same mapping, whose length is constant.
        entry
            .view(&self.files[entry.file])
            .expect("every entry was checked when the file was opened")
    }

    /// Fails if the file of a tensor is now shorter than when it was opened.
    pub(super) fn check_length(&self, entry: &TensorEntry) -> Result<(), FileError> {
        self.files[entry.file].check_length()
    }

    /// As [`check_length`](Self::check_length), for all files.
    pub(super) fn check_lengths(&self) -> Result<(), FileError> {
        self.files.iter().try_for_each(FileBytes::check_length)
    }

    /// Releases the memory that a tensor took while it was read.
    pub(super) fn release(&self, entry: &TensorEntry) {
        self.files[entry.file].release(entry.range.clone());
    }
}

/// Checks that a tensor lies in its bytes.
fn check(entry: &TensorEntry, bytes: &FileBytes) -> Result<(), Problem> {
    let view = entry
        .view(bytes)
        .map_err(|error| Problem::damaged(error.to_string()))?;
    let logical = view.numel().saturating_mul(entry.dtype.size());
    if logical > entry.range.len() && logical > MAX_EXPANDED {
        return Err(Problem::unsupported(
            format!("expanded to {logical} bytes"),
            "save it without its expanded dimensions",
        ));
    }
    Ok(())
}

/// The indices of the entries sorted by name, or those of two entries with the same name.
fn sorted_by_name(entries: &[TensorEntry]) -> Result<Vec<usize>, [usize; 2]> {
    let mut sorted: Vec<usize> = (0..entries.len()).collect();
    sorted.sort_by(|a, b| entries[*a].name.cmp(&entries[*b].name));
    let duplicate = sorted
        .windows(2)
        .find(|pair| entries[pair[0]].name == entries[pair[1]].name);
    match duplicate {
        Some(pair) => Err([pair[0], pair[1]]),
        None => Ok(sorted),
    }
}
