//! The parts of a file, in order. They are known before the elements are.

use crate::piece::Piece;
use crate::torch_archive::Archive;
use serde_json::{Value, json};
use std::io::{self, Write as _};

/// A part of a file.
pub(crate) enum Section<'p> {
    /// Bytes that do not depend on elements.
    Header(Vec<u8>),
    /// The elements of a tensor.
    Elements(Piece<'p>),
    /// The elements of a tensor, in an archive.
    Archive(Archive, Piece<'p>),
}

impl<'p> Section<'p> {
    /// The tensor whose elements it has.
    pub(crate) fn piece(&self) -> Option<&Piece<'p>> {
        match self {
            Section::Header(_) => None,
            Section::Elements(piece) | Section::Archive(_, piece) => Some(piece),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Section::Header(bytes) => bytes.len() as u64,
            Section::Elements(piece) => piece.bytes(),
            Section::Archive(archive, _) => archive.bytes(),
        }
    }
}

/// A safetensors file, in the order of `safetensors.torch.save_file`.
pub(crate) fn safetensors<'p>(
    metadata: &Value,
    mut pieces: Vec<Piece<'p>>,
) -> io::Result<Vec<Section<'p>>> {
    pieces.sort_by(|a, b| b.stored.cmp(&a.stored).then_with(|| a.name.cmp(b.name)));
    let mut sections = vec![Section::Header(header(metadata, &pieces)?)];
    sections.extend(pieces.into_iter().map(Section::Elements));
    Ok(sections)
}

/// What `torch.save` writes for each tensor, one after the other, as the files of torch.distributed.checkpoint have
/// them.
pub(crate) fn archives(pieces: Vec<Piece<'_>>) -> Vec<Section<'_>> {
    let mut start = 0;
    let section = |piece| {
        let section = Section::Archive(Archive::new(&piece, start), piece);
        start += section.bytes();
        section
    };
    pieces.into_iter().map(section).collect()
}

/// The length of the header, then the header.
fn header(metadata: &Value, pieces: &[Piece<'_>]) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    write!(json, "{{\"__metadata__\":{metadata}")?;
    let mut offset = 0;
    for piece in pieces {
        let info = json!({
            "dtype": piece.stored,
            "shape": piece.shape,
            "data_offsets": [offset, offset + piece.bytes()],
        });
        write!(json, ",{}:{info}", json!(piece.name))?;
        offset += piece.bytes();
    }
    json.push(b'}');
    // The tensors begin at a multiple of 8.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    Ok(header)
}
