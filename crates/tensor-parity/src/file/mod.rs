//! Files of tensors, read without libtorch and without running any code.
//!
//! [`TensorFile::open`] takes what people have: safetensors, one file or an index with shards;
//! numpy's `npz` and `npy`; what `torch.save`, TorchScript and `tch` write; or a directory of
//! such files. The content decides what a file is, not its name. Files are mapped into memory, so
//! opening one costs its header, and [`TensorView`]s borrow from the map.
//!
//! A pickle is read as data: containers and tensors, nothing else. One that needs a class or a
//! function of Python is refused.
//!
//! ```
//! use tensor_parity::file::TensorFile;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("bias.npy");
//! # let mut npy = b"\x93NUMPY\x01\x00\x36\x00".to_vec();
//! # npy.extend(b"{'descr':'<f4','fortran_order':False,'shape':(2,),}  \n");
//! # npy.extend([0, 0, 128, 63, 0, 0, 0, 64]);
//! # std::fs::write(&path, npy)?;
//! let file = TensorFile::open(&path)?;
//! for (name, tensor) in file.iter() {
//!     println!("{name}: {} {:?}", tensor.dtype(), tensor.shape());
//! }
//! let bias = file.get("bias").expect("a file bias.npy has the tensor bias");
//! assert_eq!(bias.shape(), [2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod directory;
mod error;
mod index;
mod mapped_tensors;
mod new_file;
mod npy;
mod npz;
mod pickle;
mod safetensors;
mod torch;

use crate::TensorView;
use crate::compare::{self, SourceError, TensorSource};
use archive::Archive;
pub use error::FileError;
use error::Flaw;
use mapped_tensors::{Blob, Contents, Trouble};
pub use new_file::NewFile;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use torch::TorchArchive;

/// What a file of tensors is, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// An index of files: `*.safetensors.index.json`.
    Index,
    /// One array of numpy.
    Npy,
    /// An archive of numpy's arrays.
    Npz,
    /// A zip archive of `torch.save`.
    TorchSave,
    /// A TorchScript archive; tch's `.ot` files are such.
    TorchScript,
    /// Several files.
    Directory,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Safetensors => "safetensors",
            Format::Index => "index",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::TorchSave => "torch.save",
            Format::TorchScript => "TorchScript",
            Format::Directory => "directory",
        })
    }
}

/// A file of tensors, or several; see the [module](self).
///
/// Names are those of the file. A `npy` file has one tensor, called as the file without its
/// extension. In PyTorch's archives containers and modules become dotted names
/// (`model.fc.weight`, `optimizer.state.0.exp_avg`, list items by their number); whatever is no
/// tensor is left out; a tensor that is the whole content is called as the file. A TorchScript
/// module shows tensors that are no parameters too, and a `|` in its names is the dot that tch
/// wrote so.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    format: Format,
    contents: Contents,
}

impl TensorFile {
    /// Opens a file or a directory. Whatever is wrong with any of the tensors is found here.
    ///
    /// Of a directory with an index of shards the index counts; of another one all its files of
    /// tensors, but not those of directories in it. Compressed arrays of an `npz` file are
    /// inflated here, to an unnamed temporary file.
    ///
    /// The file is mapped: nobody should change it while it is open.
    ///
    /// # Errors
    ///
    /// [`FileError`], whose message is one line.
    pub fn open(path: impl AsRef<Path>) -> Result<TensorFile, FileError> {
        let path = path.as_ref();
        let (contents, format) = match path.is_dir() {
            true => directory::open(path)?,
            false => open_file(path)?,
        };
        Ok(TensorFile {
            path: path.to_owned(),
            format,
            contents,
        })
    }

    /// Reads the content of a file from memory. `path` is what messages call it, and a `npy` file
    /// its tensor; it need not exist.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); an index of shards is none that can be read so.
    pub fn from_bytes(
        path: impl AsRef<Path>,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<TensorFile, FileError> {
        let path = path.as_ref();
        let blob = Blob::owned(path, bytes.into());
        if matches!(kind(blob.bytes()), Kind::Json) {
            let flaw = index::parse(blob.bytes()).err().unwrap_or_else(|| {
                Flaw::unsupported("an index of files in its folder", "open it by its path")
            });
            return Err(flaw.in_file(path, Format::Index));
        }
        let (contents, format) = read(path, blob)?;
        Ok(TensorFile {
            path: path.to_owned(),
            format,
            contents,
        })
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many tensors it has.
    pub fn len(&self) -> usize {
        self.contents.entries().len()
    }

    /// Whether it has no tensor.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of all tensors together, one that is stored once and named twice counted twice.
    pub fn bytes(&self) -> u64 {
        self.iter()
            .map(|(_, tensor)| (tensor.numel() * tensor.dtype().size()) as u64)
            .fold(0, u64::saturating_add)
    }

    /// The names, in the order of the file: that of `safetensors.torch.load_file`, which is by
    /// place in the file; that of the index, archive or pickle. Of a directory the files are
    /// sorted by name.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.contents
            .entries()
            .iter()
            .map(|entry| entry.name.as_str())
    }

    /// The tensors with their names, in the order of [`names`](Self::names).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, TensorView<'_>)> {
        let entries = self.contents.entries().iter();
        entries.map(|entry| (entry.name.as_str(), self.contents.view(entry)))
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let entry = self.contents.find(name)?;
        Some(self.contents.view(entry))
    }
}

/// In the order of the file; what was compared does not stay in memory.
impl TensorSource for TensorFile {
    fn entries(&self) -> Result<Vec<compare::Entry<'_>>, SourceError> {
        let entries = self.contents.entries().iter().map(|entry| {
            let view = self.contents.view(entry);
            let size = (view.numel() * view.dtype().size()) as u64;
            compare::Entry::new(&entry.name, size, move || Ok(view.clone().into()))
                .on_release(move || self.contents.release(entry))
        });
        Ok(entries.collect())
    }
}

/// A file that may be an index.
fn open_file(path: &Path) -> Result<(Contents, Format), FileError> {
    let blob = map(path)?;
    match kind(blob.bytes()) {
        Kind::Json => Ok((index::open(path, blob.bytes())?, Format::Index)),
        _ => read(path, blob),
    }
}

/// A file that is not an index.
fn open_one(path: &Path) -> Result<(Contents, Format), FileError> {
    read(path, map(path)?)
}

fn map(path: &Path) -> Result<Blob, FileError> {
    let failed = |error| FileError::Read {
        path: path.to_owned(),
        error,
    };
    let unknown = |found: &str| FileError::Unknown {
        path: path.to_owned(),
        found: found.to_owned(),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    // Opening a pipe would wait for its other end.
    match (metadata.is_file(), metadata.len()) {
        (false, _) => Err(unknown("a directory, device or pipe")),
        (true, 0) => Err(unknown(EMPTY)),
        _ => Blob::map(path, &File::open(path).map_err(failed)?).map_err(failed),
    }
}

const EMPTY: &str = "it is empty";

enum Kind {
    Safetensors,
    Npy,
    Zip,
    Json,
    Unknown(String),
}

/// What the first bytes say.
fn kind(bytes: &[u8]) -> Kind {
    let text = bytes.trim_ascii_start();
    if bytes.starts_with(npy::MAGIC) {
        return Kind::Npy;
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Kind::Zip;
    }
    // safetensors starts with the length of its header, eight bytes with zeros among them.
    if text.starts_with(b"{") && !text.iter().take(8).any(|byte| *byte == 0) {
        return Kind::Json;
    }
    if bytes.get(8) == Some(&b'{') {
        return Kind::Safetensors;
    }
    Kind::Unknown(match bytes {
        [] => EMPTY.to_owned(),
        [b'v', ..] if bytes.starts_with(b"version https://git-lfs") => {
            "a Git LFS pointer: fetch the file itself with git lfs pull".to_owned()
        }
        [0x80, 2, 0x8a, 10, 0x6c, 0xfc, ..] => format!(
            "torch.save of before PyTorch 1.6, a pickle that only Python reads: {}",
            error::SAVE_FILE
        ),
        [0x80, 2..=5, ..] => format!(
            "a pickle outside of an archive, which only Python reads: {}",
            error::SAVE_FILE
        ),
        _ => {
            let start: Vec<_> = bytes
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("it starts with the bytes {}", start.join(" "))
        }
    })
}

fn read(path: &Path, blob: Blob) -> Result<(Contents, Format), FileError> {
    let mut format = Format::Safetensors;
    let contents = read_as(path, blob, &mut format).map_err(|trouble| match trouble {
        Trouble::Flaw(flaw) => flaw.in_file(path, format),
        Trouble::File(error) => error,
    })?;
    Ok((contents, format))
}

/// Sets the format before it reads, so that a flaw can name it.
fn read_as(path: &Path, blob: Blob, format: &mut Format) -> Result<Contents, Trouble> {
    let stem = path
        .file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let mut inflated = None;
    let entries = match kind(blob.bytes()) {
        Kind::Safetensors => {
            *format = Format::Safetensors;
            safetensors::read(blob.bytes())?
        }
        Kind::Npy => {
            *format = Format::Npy;
            vec![npy::read(&stem, blob.bytes())?]
        }
        Kind::Zip => {
            // Until its members are known.
            *format = match extension {
                "pt" | "pth" | "bin" | "ckpt" => Format::TorchSave,
                "ot" => Format::TorchScript,
                _ => Format::Npz,
            };
            let archive = Archive::open(blob.bytes())?;
            if let Some(torch) = TorchArchive::of(blob.bytes(), &archive)? {
                *format = match torch.is_script {
                    true => Format::TorchScript,
                    false => Format::TorchSave,
                };
                torch.read(&stem)?
            } else if archive.is_npz() {
                *format = Format::Npz;
                let arrays = npz::read(path, blob.bytes(), archive)?;
                inflated = arrays.inflated;
                arrays.entries
            } else {
                return Err(Flaw::unknown("a zip archive of neither arrays nor PyTorch's").into());
            }
        }
        Kind::Json => {
            return Err(Flaw::unknown("text, where one file of tensors is expected").into());
        }
        Kind::Unknown(_) if extension == "safetensors" && blob.bytes().len() < 9 => {
            safetensors::read(blob.bytes())?
        }
        Kind::Unknown(found) => return Err(Flaw::unknown(found).into()),
    };
    Contents::new([blob].into_iter().chain(inflated).collect(), entries)
}
