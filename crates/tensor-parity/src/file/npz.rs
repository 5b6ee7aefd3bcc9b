//! Reads `npz`, a zip archive of `npy` files.

use super::archive::{Archive, Content};
use super::error::Problem;
use super::mapped_tensors::{FileBytes, Members, TensorEntry};
use super::npy;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::ops::Range;
use std::path::Path;

/// The arrays of an archive.
pub(super) struct Arrays {
    pub(super) members: Members,
    /// The bytes of the arrays that were compressed or big-endian.
    pub(super) inflated: Option<FileBytes>,
}

/// Reads the arrays in the order of the archive. Stored arrays borrow from the archive (file 0);
/// compressed and big-endian ones are copied to an unnamed temporary file (file 1).
pub(super) fn read(path: &Path, bytes: &[u8], mut archive: Archive<'_>) -> Result<Arrays, Problem> {
    let mut scratch = None;
    let mut members = Members::default();
    for member in std::mem::take(&mut archive.members) {
        // numpy ignores other members too.
        let Some(name) = member.name.strip_suffix(".npy") else {
            continue;
        };
        let entry = member
            .content
            .and_then(|content| read_member(name, bytes, &mut archive, content, &mut scratch));
        match entry {
            Ok(entry) => members.entries.push(entry),
            Err(problem) if problem.is_of_file() => return Err(problem.within(name)),
            Err(problem) => members.left_out.push(problem.left_out(name)),
        }
    }
    let inflated = match scratch {
        None => None,
        Some(scratch) => Some(scratch.into_bytes(path).map_err(Problem::temporary)?),
    };
    Ok(Arrays { members, inflated })
}

fn read_member(
    name: &str,
    bytes: &[u8],
    archive: &mut Archive<'_>,
    content: Content,
    scratch: &mut Option<Scratch>,
) -> Result<TensorEntry, Problem> {
    let (index, size) = match content {
        Content::Stored { index, range } => {
            let (header, start) = npy::header(&bytes[range.clone()])?;
            if header.swap_unit() == 1 {
                // As numpy does, which reads the data through the checksum.
                let checked = std::io::copy(&mut archive.reader(index)?, &mut std::io::sink());
                checked.map_err(|error| Problem::damaged(error.to_string()))?;
                return Ok(header.entry(name, 0, range.start + start..range.end));
            }
            (index, range.len() as u64)
        }
        Content::Deflated { index, size } => (index, size),
    };
    let mut reader = archive.reader(index)?;
    let mut head = vec![0; npy::PRELUDE];
    inflate(&mut reader, &mut head)?;
    let start = npy::header_end(&head)?;
    // If the header ends within the prelude, the parser rejects it.
    head.resize(start.max(npy::PRELUDE), 0);
    inflate(&mut reader, &mut head[npy::PRELUDE..])?;
    let header = npy::parse(&head)?;
    let needed = header.bytes()?;
    let file_size = (start as u64).saturating_add(needed as u64);
    if size != file_size {
        return Err(Problem::damaged(format!(
            "a {} array of shape {:?} needs {file_size} bytes, but the archive claims {size}",
            header.dtype, header.shape
        )));
    }
    let scratch = match scratch {
        Some(scratch) => scratch,
        None => scratch.insert(Scratch::new().map_err(Problem::temporary)?),
    };
    let range = scratch.inflate(&mut reader, needed, header.swap_unit())?;
    // At the end of the data the reader compares the checksum, and rejects surplus data.
    let end = reader.read(&mut [0]);
    end.map_err(|error| Problem::damaged(error.to_string()))?;
    Ok(header.entry(name, 1, range))
}

fn inflate(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), Problem> {
    reader
        .read_exact(buffer)
        .map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Problem::damaged("it ends before the end of its array"),
            _ => Problem::damaged(error.to_string()),
        })
}

/// An unnamed temporary file, which the system removes together with its last mapping.
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

    /// Appends the next `length` bytes of `reader`, of which `unit` are reversed together, and returns
    /// their range.
    fn inflate(
        &mut self,
        reader: &mut impl Read,
        length: usize,
        unit: usize,
    ) -> Result<Range<usize>, Problem> {
        let mut buffer = [0; 16384];
        let mut remaining = length;
        while remaining > 0 {
            let piece = &mut buffer[..remaining.min(16384)];
            inflate(reader, piece)?;
            npy::swap(piece, unit);
            self.file.write_all(piece).map_err(Problem::temporary)?;
            remaining -= piece.len();
        }
        let start = self.length;
        self.length += length;
        Ok(start..self.length)
    }

    fn into_bytes(self, path: &Path) -> std::io::Result<FileBytes> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        match self.length {
            // Some systems cannot map an empty file.
            0 => Ok(FileBytes::owned(path, Vec::new())),
            _ => FileBytes::map(path, file),
        }
    }
}
