//! The bytes of a pickle, opcode by opcode.

use crate::file::error::Flaw;

pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the current opcode stands.
    opcode: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input {
            bytes,
            at: 0,
            opcode: 0,
        }
    }

    /// A flaw of the current opcode.
    pub(super) fn place(&self, flaw: Flaw) -> Flaw {
        flaw.at(&format!("data.pkl at byte {}", self.opcode))
    }

    pub(super) fn opcode(&mut self) -> Result<u8, Flaw> {
        self.opcode = self.at;
        self.array().map(|[opcode]| opcode)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or_else(|| {
            Flaw::damaged(format!(
                "the pickle ends: {length} bytes needed, {} left",
                rest.len()
            ))
        })?;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Bytes after their length, a number of `N` bytes.
    pub(super) fn sized<const N: usize>(&mut self) -> Result<&'a [u8], Flaw> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(self.take(N)?);
        self.take(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    /// Text up to the end of a line, without it.
    pub(super) fn line(&mut self) -> Result<&'a str, Flaw> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = length
            .and_then(|length| std::str::from_utf8(&rest[..length]).ok())
            .ok_or_else(|| Flaw::damaged("a name without an end, or not of text"))?;
        self.at += line.len() + 1;
        Ok(line)
    }
}
