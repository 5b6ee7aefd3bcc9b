//! Reads one tensor file: detects its format and calls the reader of that format.

use super::archive::Archive;
use super::error::{FileError, Problem, SAVE_FILE};
use super::format::Format;
use super::legacy_tar::TarArchive;
use super::mapped_tensors::{FileBytes, MappedTensors, Members};
use super::torch::TorchArchive;
use super::{legacy, npy, npz, safetensors};
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

/// Maps a file.
pub(super) fn map(path: &Path) -> Result<FileBytes, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let unknown = |found: &str| FileError::Unknown {
        path: path.to_owned(),
        found: found.to_owned(),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    // Opening a pipe would wait for its writer.
    match (metadata.is_file(), metadata.len()) {
        (false, _) => Err(unknown("a directory, device or pipe")),
        (true, 0) => Err(unknown(EMPTY)),
        _ => {
            let file = File::open(path).map_err(failed)?;
            FileBytes::map(path, file).map_err(failed)
        }
    }
}

const EMPTY: &str = "it is empty";

/// What the first bytes of a file show.
pub(super) enum Content {
    Safetensors,
    Npy,
    Zip,
    /// What `torch.save` wrote before PyTorch 1.6.
    Legacy,
    Json,
    /// None of these; what it is instead.
    Unknown(String),
}

impl Content {
    pub(super) fn detect(bytes: &[u8]) -> Content {
        let text = bytes.trim_ascii_start();
        if legacy::is_legacy(bytes) {
            return Content::Legacy;
        }
        if bytes.starts_with(npy::MAGIC) {
            return Content::Npy;
        }
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
            return Content::Zip;
        }
        // A safetensors file starts with the length of its header: eight bytes, some of them zero.
        if text.starts_with(b"{") && !text.iter().take(8).any(|byte| *byte == 0) {
            return Content::Json;
        }
        if bytes.get(8) == Some(&b'{') {
            return Content::Safetensors;
        }
        Content::Unknown(match bytes {
            [] => EMPTY.to_owned(),
            [b'v', ..] if bytes.starts_with(b"version https://git-lfs") => {
                "a Git LFS pointer: fetch the file itself with git lfs pull".to_owned()
            }
            [0x1f, 0x8b, ..] => "compressed with gzip: decompress it first".to_owned(),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                "compressed with Zstandard: decompress it first".to_owned()
            }
            _ if bytes.starts_with(b"\xfd7zXZ\0") => {
                "compressed with xz: decompress it first".to_owned()
            }
            _ if text.starts_with(b"<") => {
                "an HTML or XML page, as a server sends instead of a file: download it again"
                    .to_owned()
            }
            _ if bytes.starts_with(b"GGUF") => "a GGUF file".to_owned(),
            _ if bytes.starts_with(b"\x89HDF\r\n\x1a\n") => "an HDF5 file".to_owned(),
            [0x80, 2..=5, ..] => {
                format!("a pickle without an archive, which only Python can read: {SAVE_FILE}")
            }
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
}

/// Reads a file that is not an index of shards.
pub(super) fn open(path: &Path) -> Result<(MappedTensors, Format), FileError> {
    read(path, map(path)?)
}

/// As [`open`], from bytes.
pub(super) fn read(path: &Path, bytes: FileBytes) -> Result<(MappedTensors, Format), FileError> {
    let mut format = Format::Safetensors;
    let tensors =
        read_as(path, bytes, &mut format).map_err(|problem| problem.in_file(path, format))?;
    Ok((tensors, format))
}

/// Sets `format` before it reads, so that the error can name the format.
fn read_as(path: &Path, bytes: FileBytes, format: &mut Format) -> Result<MappedTensors, Problem> {
    let stem = path
        .file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let content = bytes.as_slice();
    // Its items are files of torch.save one after another, which only its metadata tells apart.
    if extension == "distcp" {
        return Err(Problem::unknown(
            "a part of a folder of torch.distributed.checkpoint: write it as one file with python -m \
             torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt",
        ));
    }
    let mut inflated = None;
    let mut members = match Content::detect(content) {
        Content::Safetensors => {
            *format = Format::Safetensors;
            safetensors::read(content)?
        }
        Content::Npy => {
            *format = Format::Npy;
            let mut members = Members::default();
            match npy::read(&stem, content, &mut members.decoded) {
                Ok(entry) => members.entries.push(entry),
                Err(problem) if problem.is_unsupported() => {
                    members.left_out.push(problem.left_out(stem));
                }
                Err(problem) => return Err(problem),
            }
            members
        }
        Content::Legacy => {
            *format = Format::LegacyTorchSave;
            legacy::read(content, &stem)?
        }
        Content::Zip => {
            // A guess, for an error before the members are known.
            *format = match extension {
                "pt" | "pth" | "bin" | "ckpt" => Format::TorchSave,
                "ot" => Format::TorchScript,
                _ => Format::Npz,
            };
            let archive = Archive::open(content)?;
            if let Some(torch) = TorchArchive::of(content, &archive) {
                *format = match torch.is_script {
                    true => Format::TorchScript,
                    false => Format::TorchSave,
                };
                torch.read(&stem)?
            } else if archive.is_npz() {
                *format = Format::Npz;
                let arrays = npz::read(path, content, archive)?;
                inflated = arrays.inflated;
                arrays.members
            } else {
                return Err(Problem::unknown(
                    "a zip archive that neither numpy nor PyTorch wrote",
                ));
            }
        }
        Content::Json => {
            return Err(Problem::unknown("text, but a tensor file is expected"));
        }
        Content::Unknown(_) if extension == "safetensors" && content.len() < 9 => {
            safetensors::read(content)?
        }
        Content::Unknown(found) => {
            let archive = TarArchive::of(content).ok_or_else(|| Problem::unknown(found))?;
            *format = Format::LegacyTorchSave;
            archive.read(&stem)?
        }
    };
    if members.entries.iter().any(|entry| entry.file == 1) && inflated.is_none() {
        let decoded = std::mem::take(&mut members.decoded);
        inflated = Some(FileBytes::owned(path, decoded));
    }
    MappedTensors::new([bytes].into_iter().chain(inflated).collect(), members)
}
