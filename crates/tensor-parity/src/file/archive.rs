//! Zip archives as numpy and PyTorch write them.

use super::error::Problem;
use std::io::{Cursor, Read};
use std::ops::Range;
use zip::read::{ArchiveOffset, Config, ZipFile};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// The maximum ratio of inflated to deflated size: 258 bytes for two bits.
const DEFLATE_RATIO: u64 = 1032;

/// An archive in memory.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// In the order of the zip directory; names are unique.
    pub(super) members: Vec<Member>,
}

pub(super) struct Member {
    pub(super) name: String,
    /// A problem is that of this member alone.
    pub(super) content: Result<Content, Problem>,
}

pub(super) enum Content {
    Stored {
        /// The index of the member in the archive.
        index: usize,
        /// The range of the bytes.
        range: Range<usize>,
    },
    Deflated {
        /// The index of the member in the archive.
        index: usize,
        /// The inflated size that the archive claims.
        size: u64,
    },
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Archive<'a>, Problem> {
        // An archive of tensors starts at the first byte: do not search for one after other data.
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        // Allocates memory for at most as many members as fit into the file.
        let mut zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|_| {
            Problem::damaged("the zip directory at the end of the file is truncated or damaged")
        })?;
        if follows_another(bytes) {
            return Err(Problem::damaged(
                "several zip archives one after another, of which only the first can be read",
            ));
        }
        if zip.has_duplicate_names() {
            return Err(Problem::damaged("two members have the same name"));
        }
        let mut members = Vec::new();
        let mut total = 0u64;
        for index in 0..zip.len() {
            // The directory has the name of a member whose own header is damaged.
            let name = match zip.name_for_index(index) {
                Some(Ok(name)) => name.into_owned(),
                _ => format!("member {index}"),
            };
            let content = match zip.by_index_raw(index) {
                Ok(file) if file.is_dir() => continue,
                Ok(file) => {
                    let content = content(bytes, index, &file);
                    if content.is_ok() {
                        total = total.saturating_add(file.compressed_size());
                    }
                    content
                }
                Err(error) => Err(zip_problem(error)),
            };
            members.push(Member { name, content });
        }
        // If members share compressed bytes, the inflated size can grow with the square of the
        // archive's size.
        if total > bytes.len() as u64 {
            return Err(Problem::damaged(format!(
                "its members claim {total} bytes, but it has {}",
                bytes.len()
            )));
        }
        Ok(Archive { zip, members })
    }

    /// Whether it has an array, or no member at all, which numpy also writes.
    pub(super) fn is_npz(&self) -> bool {
        self.members.is_empty()
            || self
                .members
                .iter()
                .any(|member| member.name.ends_with(".npy"))
    }

    /// Reads a member, and inflates it. The reader compares the checksum at the end of the data.
    pub(super) fn reader(&mut self, index: usize) -> Result<impl Read, Problem> {
        self.zip.by_index(index).map_err(zip_problem)
    }
}

/// Whether the archive at the end of the file starts after other data, such as another archive, which
/// would otherwise be read as if it were alone.
fn follows_another(bytes: &[u8]) -> bool {
    const END: &[u8] = b"PK\x05\x06";
    const END_LENGTH: usize = 22;
    const LOCATOR_LENGTH: usize = 20;
    const RECORD_LENGTH: usize = 56;
    let starts = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|b| b.starts_with(magic));
    let number = |at: usize, length: usize| {
        let digits = bytes.get(at..at + length).unwrap_or_default();
        let digits = digits.iter().rev();
        digits.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let ends = bytes.windows(END_LENGTH);
    let Some(end) = ends.rev().position(|window| window.starts_with(END)) else {
        return false;
    };
    let end = bytes.len() - END_LENGTH - end;
    // PyTorch always writes the zip64 record and its locator.
    let (at, magic, claimed) = match end.checked_sub(LOCATOR_LENGTH) {
        Some(locator) if starts(locator, b"PK\x06\x07") => (
            locator.checked_sub(RECORD_LENGTH),
            b"PK\x06\x06",
            number(locator + 8, 8),
        ),
        _ => {
            let size = usize::try_from(number(end + 12, 4)).unwrap_or(usize::MAX);
            (end.checked_sub(size), b"PK\x01\x02", number(end + 16, 4))
        }
    };
    at.is_some_and(|at| starts(at, magic) && at as u64 != claimed)
}

fn content<R: Read>(bytes: &[u8], index: usize, file: &ZipFile<'_, R>) -> Result<Content, Problem> {
    if file.encrypted() {
        return Err(Problem::unsupported(
            "encrypted",
            "write it without a password",
        ));
    }
    let (size, compressed) = (file.size(), file.compressed_size());
    let start = file.data_start().unwrap_or(u64::MAX);
    let range = start
        .checked_add(compressed)
        .and_then(|end| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?));
    let range = range
        .filter(|range| range.end <= bytes.len())
        .ok_or_else(|| {
            Problem::damaged(format!(
                "its {compressed} bytes extend past the end of the file"
            ))
        })?;
    match file.compression() {
        CompressionMethod::Stored if size != compressed => Err(Problem::damaged(format!(
            "stored uncompressed, but its sizes {compressed} and {size} differ"
        ))),
        CompressionMethod::Stored => Ok(Content::Stored { index, range }),
        CompressionMethod::Deflated if size > compressed.saturating_mul(DEFLATE_RATIO) => {
            Err(Problem::damaged(format!(
                "{compressed} compressed bytes cannot inflate to {size}"
            )))
        }
        CompressionMethod::Deflated => Ok(Content::Deflated { index, size }),
        other => Err(Problem::unsupported(
            format!("compressed with {other}"),
            "store or deflate it, as numpy.savez_compressed does",
        )),
    }
}

fn zip_problem(error: ZipError) -> Problem {
    Problem::damaged(error.to_string())
}
