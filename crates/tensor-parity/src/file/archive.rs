//! zip archives, as numpy and PyTorch write them.

use super::error::Flaw;
use std::io::{Cursor, Read};
use std::ops::Range;
use zip::read::{ArchiveOffset, Config, ZipFile};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// How much a byte of deflate can stand for at most: 258 bytes for two bits.
const DEFLATE_RATIO: u64 = 1032;

/// An archive in memory.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// In the order of the directory; no name twice.
    pub(super) members: Vec<Member>,
}

pub(super) struct Member {
    pub(super) name: String,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// Where the bytes lie.
    Stored(Range<usize>),
    Deflated {
        /// The number of the member in the archive.
        index: usize,
        /// The size once inflated, as the archive claims it.
        size: u64,
    },
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Archive<'a>, Flaw> {
        // An archive of tensors starts the file: no search for one behind other data.
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        // Reserves memory for as many members as the file has room for.
        let mut zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|_| {
            Flaw::damaged("its zip directory, at the end of the file, is cut off or damaged")
        })?;
        if zip.has_duplicate_names() {
            return Err(Flaw::damaged("two of its members have one name"));
        }
        let mut members = Vec::new();
        let mut total = 0u64;
        for index in 0..zip.len() {
            let part = |error| zip_flaw(error).at(&format!("member {index}"));
            let file = zip.by_index_raw(index).map_err(part)?;
            let name = file.name().map_err(part)?.into_owned();
            if file.is_dir() {
                continue;
            }
            total = total.saturating_add(file.compressed_size());
            let content = content(bytes, index, &file).map_err(|flaw| flaw.at(&name))?;
            members.push(Member { name, content });
        }
        // Members that share compressed bytes inflate to the square of the archive's size.
        if total > bytes.len() as u64 {
            return Err(Flaw::damaged(format!(
                "its members claim {total} bytes, it has {}",
                bytes.len()
            )));
        }
        Ok(Archive { zip, members })
    }

    /// Whether there is an array, or nothing at all, which numpy writes too.
    pub(super) fn is_npz(&self) -> bool {
        self.members.is_empty()
            || self
                .members
                .iter()
                .any(|member| member.name.ends_with(".npy"))
    }

    /// The bytes of a deflated member. At their end the checksum is compared.
    pub(super) fn inflate(&mut self, index: usize) -> Result<impl Read, Flaw> {
        self.zip.by_index(index).map_err(zip_flaw)
    }
}

fn content<R: Read>(bytes: &[u8], index: usize, file: &ZipFile<'_, R>) -> Result<Content, Flaw> {
    if file.encrypted() {
        return Err(Flaw::unsupported(
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
            Flaw::damaged(format!(
                "its {compressed} bytes go beyond the end of the file"
            ))
        })?;
    match file.compression() {
        CompressionMethod::Stored if size != compressed => Err(Flaw::damaged(format!(
            "stored as it is, yet {compressed} bytes stand for {size}"
        ))),
        CompressionMethod::Stored => Ok(Content::Stored(range)),
        CompressionMethod::Deflated if size > compressed.saturating_mul(DEFLATE_RATIO) => {
            Err(Flaw::damaged(format!(
                "{compressed} compressed bytes cannot stand for {size}"
            )))
        }
        CompressionMethod::Deflated => Ok(Content::Deflated { index, size }),
        other => Err(Flaw::unsupported(
            format!("compressed with {other}"),
            "store it, or deflate it as numpy.savez_compressed does",
        )),
    }
}

fn zip_flaw(error: ZipError) -> Flaw {
    Flaw::damaged(error.to_string())
}
