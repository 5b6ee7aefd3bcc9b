//! Reads a directory of tensor files.

use super::error::FileError;
use super::format::Format;
use super::mapped_tensors::MappedTensors;
use super::{index, single_file};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Reads the index of the directory if it has one, otherwise all tensor files in it.
pub(super) fn open(path: &Path) -> Result<(MappedTensors, Format), FileError> {
    let files = files(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    for suffix in [".safetensors.index.json", ".bin.index.json"] {
        let is_index = |file: &&PathBuf| file.to_string_lossy().ends_with(suffix);
        let indexes: Vec<_> = files.iter().filter(is_index).collect();
        match indexes.as_slice() {
            [] => {}
            [index] => {
                let bytes = single_file::map(index)?;
                return Ok((index::read(index, bytes.as_slice())?, Format::Index));
            }
            [first, second, ..] => {
                return Err(FileError::Unsupported {
                    path: path.to_owned(),
                    tensor: None,
                    problem: format!(
                        "more than one index, {} and {}",
                        name_of(first),
                        name_of(second)
                    ),
                    advice: "pass the one to read",
                });
            }
        }
    }
    let mut parts = Vec::new();
    for file in files {
        match single_file::open(&file) {
            Ok((tensors, _)) => parts.push(tensors),
            // Such as a README or a configuration.
            Err(FileError::Unknown { .. }) if !has_tensor_extension(&file) => {}
            Err(error) => return Err(error),
        }
    }
    if parts.is_empty() {
        return Err(FileError::NoTensorFile {
            path: path.to_owned(),
        });
    }
    Ok((MappedTensors::joined(parts)?, Format::Directory))
}

/// The files of a directory, sorted, without hidden files and subdirectories.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if !name_of(&file).starts_with('.') && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Whether the extension says that the file has tensors, so that another content is an error.
fn has_tensor_extension(file: &Path) -> bool {
    let extension = file.extension().and_then(OsStr::to_str).unwrap_or_default();
    matches!(
        extension,
        "safetensors" | "npz" | "npy" | "ot" | "pt" | "pth" | "ckpt" | "distcp"
    )
}
