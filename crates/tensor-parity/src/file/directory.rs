//! A directory of files of tensors.

use super::error::FileError;
use super::mapped_tensors::Contents;
use super::{Format, index, open_one};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The index of the directory if it has one, else all tensors of its files.
pub(super) fn open(path: &Path) -> Result<(Contents, Format), FileError> {
    let files = files(path).map_err(|error| FileError::Read {
        path: path.to_owned(),
        error,
    })?;
    for kind in [".safetensors.index.json", ".bin.index.json"] {
        let named = |file: &&PathBuf| file.to_string_lossy().ends_with(kind);
        let indexes: Vec<_> = files.iter().filter(named).collect();
        match indexes.as_slice() {
            [] => {}
            [one] => return index::read(one).map(|contents| (contents, Format::Index)),
            [first, second, ..] => {
                return Err(FileError::Unsupported {
                    path: path.to_owned(),
                    tensor: None,
                    problem: format!(
                        "more than one index, {} and {}",
                        name_of(first),
                        name_of(second)
                    ),
                    advice: "name the one to read",
                });
            }
        }
    }
    let mut parts = Vec::new();
    for file in files {
        match open_one(&file) {
            Ok((contents, _)) => parts.push(contents),
            // A README, a configuration.
            Err(FileError::Unknown { .. }) if !has_known_extension(&file) => {}
            Err(error) => return Err(error),
        }
    }
    if parts.is_empty() {
        return Err(FileError::NoTensorFile {
            path: path.to_owned(),
        });
    }
    Ok((Contents::joined(parts)?, Format::Directory))
}

/// The files of a directory, sorted; hidden ones and other directories left out.
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

/// Whether a file that has no known content ought to have one.
fn has_known_extension(file: &Path) -> bool {
    let extension = file.extension().and_then(OsStr::to_str).unwrap_or_default();
    matches!(
        extension,
        "safetensors" | "npz" | "npy" | "ot" | "pt" | "pth" | "ckpt"
    )
}
