//! A tensor file of any format, or a directory of them.

use super::error::{FileError, Problem};
use super::format::Format;
use super::mapped_tensors::{FileBytes, MappedTensors};
use super::single_file::{self, Content};
use super::{directory, index};
use crate::compare::{SourceEntry, SourceError, TensorSource};
use crate::{LeftOut, TensorView};
use std::path::{Path, PathBuf};

/// A tensor file, or a directory of tensor files; see the [module](super).
///
/// Tensors have the names that the file gives them. The tensor of an `npy` file has the name of the
/// file without its extension. In PyTorch's archives, containers and modules become dotted names
/// (`model.fc.weight`, `optimizer.state.0.exp_avg`; items of a list by their index), a module that was
/// saved as a whole has the names of its `state_dict`, and a tensor that is the entire content has the name of the file
/// without its extension. A TorchScript module also lists tensors that are not parameters, and a
/// `|` in its names becomes the dot that tch replaced by it.
///
/// # Files that change while they are open
///
/// A file is mapped, not copied, so its tensors show what another process writes to it. If the file
/// becomes shorter, an access beyond its new end raises SIGBUS on Unix, which ends the process;
/// Windows refuses to shorten a mapped file. A [`Comparison`](crate::compare::Comparison) checks
/// the length of the file before and after it reads each tensor, and returns an error if the file
/// was truncated; only a truncation while the tensor is being read can still raise SIGBUS. A
/// program that reads views itself can call [`check_length`](Self::check_length), or read the file
/// into memory and use [`from_bytes`](Self::from_bytes). Replacing a file by renaming another one
/// over it, as [`NewFile`](super::NewFile) does, is always safe.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    format: Format,
    tensors: MappedTensors,
}

impl TensorFile {
    /// Opens a file or a directory, and checks every tensor in it. Those that cannot be read are
    /// [left out](Self::left_out).
    ///
    /// If a directory has an index of shards, the tensors of the index are read; otherwise those of
    /// all tensor files in it, but not of its subdirectories. Compressed arrays of an `npz` file
    /// are inflated to an unnamed temporary file.
    ///
    /// # Errors
    ///
    /// [`FileError`], whose message is one line.
    pub fn open(path: impl AsRef<Path>) -> Result<TensorFile, FileError> {
        let path = path.as_ref();
        let (tensors, format) = match path.is_dir() {
            true => directory::open(path)?,
            false => open_file(path)?,
        };
        Ok(TensorFile {
            path: path.to_owned(),
            format,
            tensors,
        })
    }

    /// Reads the content of a file from memory.
    ///
    /// `path` names the file in messages, and the tensor of an `npy` file; it need not exist.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). An index of shards cannot be read from memory.
    pub fn from_bytes(
        path: impl AsRef<Path>,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<TensorFile, FileError> {
        let path = path.as_ref();
        let bytes = FileBytes::owned(path, bytes.into());
        if matches!(Content::detect(bytes.as_slice()), Content::Json) {
            let problem = index::parse(bytes.as_slice()).err().unwrap_or_else(|| {
                Problem::unsupported(
                    "an index of shards cannot be read from memory",
                    "open it by its path",
                )
            });
            return Err(problem.in_file(path, Format::Index));
        }
        let (tensors, format) = single_file::read(path, bytes)?;
        Ok(TensorFile {
            path: path.to_owned(),
            format,
            tensors,
        })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.entries().len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of all tensors in bytes. A storage that two names share counts twice.
    pub fn total_bytes(&self) -> u64 {
        self.iter()
            .map(|(_, tensor)| (tensor.numel() * tensor.dtype().size()) as u64)
            .fold(0, u64::saturating_add)
    }

    /// The names in the order of the file.
    ///
    /// A safetensors file is ordered by the position of its elements, as
    /// `safetensors.torch.load_file` orders it; other files as the index, archive or pickle is. The
    /// files of a directory are sorted by name.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors
            .entries()
            .iter()
            .map(|entry| entry.name.as_str())
    }

    /// The tensors with their names, in the order of [`names`](Self::names).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, TensorView<'_>)> {
        let entries = self.tensors.entries().iter();
        entries.map(|entry| (entry.name.as_str(), self.tensors.view(entry)))
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let entry = self.tensors.find(name)?;
        Some(self.tensors.view(entry))
    }

    /// The members that are not among the tensors: values of pickles that are not tensors, tensors of
    /// a kind that is not supported, and damaged ones.
    ///
    /// A container or an instance without tensors is one member. The attributes of modules, `None` and
    /// empty containers are not listed.
    pub fn left_out(&self) -> &[LeftOut] {
        self.tensors.left_out()
    }

    /// Fails if a file became shorter after it was opened, in which case reading a tensor may raise
    /// SIGBUS.
    ///
    /// # Errors
    ///
    /// [`FileError::Truncated`] for the first such file; [`FileError::Read`] if the operating
    /// system does not report a length.
    pub fn check_length(&self) -> Result<(), FileError> {
        self.tensors.check_lengths()
    }
}

/// The tensors in the order of the file. Tensors that were compared do not stay in memory.
impl TensorSource for TensorFile {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        let entries = self.tensors.entries().iter().map(|entry| {
            let view = self.tensors.view(entry);
            let size = (view.numel() * view.dtype().size()) as u64;
            let check = move || self.tensors.check_length(entry).map_err(SourceError::new);
            SourceEntry::new(&entry.name, size, move || {
                check()?;
                Ok(view.clone().into())
            })
            .on_release(move || {
                self.tensors.release(entry);
                check()
            })
        });
        Ok(entries.collect())
    }

    fn left_out(&self) -> Vec<LeftOut> {
        self.tensors.left_out().to_vec()
    }
}

/// Opens a file that may be an index.
fn open_file(path: &Path) -> Result<(MappedTensors, Format), FileError> {
    let bytes = single_file::map(path)?;
    match Content::detect(bytes.as_slice()) {
        Content::Json => Ok((index::read(path, bytes.as_slice())?, Format::Index)),
        _ => single_file::read(path, bytes),
    }
}
