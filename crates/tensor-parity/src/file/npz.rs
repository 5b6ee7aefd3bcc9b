//! `npz`: a zip archive of `npy` files.

use super::archive::{Archive, Content};
use super::error::Flaw;
use super::mapped_tensors::{Blob, Entry};
use super::npy;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::ops::Range;
use std::path::Path;

/// What the reader returns: the arrays, and a second blob if some had to be inflated.
pub(super) struct Arrays {
    pub(super) entries: Vec<Entry>,
    pub(super) inflated: Option<Blob>,
}

/// The arrays in the order of the archive. Stored ones stay where they are (blob 0), compressed
/// ones are inflated to an unnamed temporary file (blob 1).
pub(super) fn read(path: &Path, bytes: &[u8], mut archive: Archive<'_>) -> Result<Arrays, Flaw> {
    let mut scratch = None;
    let mut entries = Vec::new();
    for member in std::mem::take(&mut archive.members) {
        // Everything else that lies in the archive is no array, for numpy too.
        let Some(name) = member.name.strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        let entry = read_member(&name, bytes, &mut archive, member.content, &mut scratch);
        entries.push(entry.map_err(|flaw| flaw.at(&name))?);
    }
    let inflated = match scratch {
        None => None,
        Some(scratch) => Some(scratch.into_blob(path).map_err(Flaw::temporary)?),
    };
    Ok(Arrays { entries, inflated })
}

fn read_member(
    name: &str,
    bytes: &[u8],
    archive: &mut Archive<'_>,
    content: Content,
    scratch: &mut Option<Scratch>,
) -> Result<Entry, Flaw> {
    let (index, size) = match content {
        Content::Stored(range) => {
            let mut entry = npy::read(name, &bytes[range.clone()])?;
            entry.range = range.start + entry.range.start..range.start + entry.range.end;
            return Ok(entry);
        }
        Content::Deflated { index, size } => (index, size),
    };
    let mut reader = archive.inflate(index)?;
    let mut head = vec![0; npy::PRELUDE];
    inflate(&mut reader, &mut head)?;
    let start = npy::header_end(&head)?;
    // A header that ends within the prelude is not numpy's, as the parser finds.
    head.resize(start.max(npy::PRELUDE), 0);
    inflate(&mut reader, &mut head[npy::PRELUDE..])?;
    let header = npy::parse(&head)?;
    let needed = header.bytes()?;
    let whole = (start as u64).saturating_add(needed as u64);
    if size != whole {
        return Err(Flaw::damaged(format!(
            "a {} array of shape {:?} needs {whole} bytes, the archive claims {size}",
            header.dtype, header.shape
        )));
    }
    let scratch = match scratch {
        Some(scratch) => scratch,
        None => scratch.insert(Scratch::new().map_err(Flaw::temporary)?),
    };
    let range = scratch.inflate(&mut reader, needed)?;
    // At the end of the data the checksum is compared, and more data than the archive claims refused.
    let end = reader.read(&mut [0]);
    end.map_err(|error| Flaw::damaged(error.to_string()))?;
    Ok(header.entry(name, 1, range))
}

fn inflate(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), Flaw> {
    reader
        .read_exact(buffer)
        .map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Flaw::damaged("it ends before its array does"),
            _ => Flaw::damaged(error.to_string()),
        })
}

/// An unnamed temporary file: gone with its last map, whatever happens.
struct Scratch {
    file: BufWriter<File>,
    length: usize,
}

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        Ok(Scratch {
            file: BufWriter::new(tempfile::tempfile()?),
            length: 0,
        })
    }

    /// Appends `length` bytes of what `reader` yields, and returns where they are.
    fn inflate(&mut self, reader: &mut impl Read, length: usize) -> Result<Range<usize>, Flaw> {
        let mut buffer = [0; 16384];
        let mut left = length;
        while left > 0 {
            let piece = &mut buffer[..left.min(16384)];
            inflate(reader, piece)?;
            self.file.write_all(piece).map_err(Flaw::temporary)?;
            left -= piece.len();
        }
        let start = self.length;
        self.length += length;
        Ok(start..self.length)
    }

    fn into_blob(self, path: &Path) -> std::io::Result<Blob> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        match self.length {
            // Not every system maps a file without bytes.
            0 => Ok(Blob::owned(path, Vec::new())),
            _ => Blob::map(path, &file),
        }
    }
}
