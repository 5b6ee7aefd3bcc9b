//! Writes the parts of a file, one after the other, while the next elements are made.

use crate::error::PlanError;
use crate::piece::Piece;
use crate::places::Places;
use crate::section::Section;
use crate::stream::Stream;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use torch_rng::Normal;

/// Why tensors were not written.
pub(crate) enum NotWritten {
    Plan(PlanError),
    Write(io::Error),
}

impl NotWritten {
    /// The error for the file of this path.
    pub(crate) fn at(self, path: &Path) -> PlanError {
        match self {
            NotWritten::Plan(error) => error,
            NotWritten::Write(source) => PlanError::Write {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Writes the parts of a file.
pub(crate) fn write_sections<S: Stream>(
    places: &mut Places<'_, S>,
    sections: &[Section<'_>],
    file: &mut (impl Write + Send),
) -> Result<(), NotWritten> {
    let total = sections.iter().map(Section::bytes).sum();
    write_buffers(total, file, |buffers| {
        for section in sections {
            match section {
                Section::Header(bytes) => buffers.bytes(bytes)?,
                Section::Elements(piece) => buffers.piece(places, piece, |_| ())?,
                Section::Archive(archive, piece) => {
                    buffers.bytes(archive.head())?;
                    let mut crc = crc32fast::Hasher::new();
                    buffers.piece(places, piece, |bytes| crc.update(bytes))?;
                    buffers.bytes(&archive.tail(crc.finalize()))?;
                }
            }
        }
        Ok(())
    })
}

/// The size of each of the two buffers: one is filled while the other is written.
const BUFFER: usize = 8 << 20;

/// Bytes that elements of any dtype are aligned in.
pub(crate) type Buffer = Vec<[u64; 2]>;

pub(crate) fn bytes_mut(buffer: &mut Buffer, length: usize) -> &mut [u8] {
    // SAFETY: numbers, all of whose bytes are initialized and may be any; they are borrowed uniquely.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), size_of_val(&**buffer))
    };
    &mut bytes[..length]
}

/// Writes `total` bytes that `fill` puts into buffers.
fn write_buffers(
    total: u64,
    file: &mut (impl Write + Send),
    fill: impl FnOnce(&mut Buffers) -> Result<(), Stopped>,
) -> Result<(), NotWritten> {
    let (filled, to_write) = mpsc::sync_channel::<(Buffer, usize)>(1);
    let (written, to_fill) = mpsc::channel();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut bytes = 0;
            for (mut buffer, length) in to_write {
                file.write_all(bytes_mut(&mut buffer, length))?;
                bytes += length as u64;
                // Once it has filled the last buffer, which may still wait to be written, the other side takes none back.
                drop(written.send(buffer));
            }
            io::Result::Ok(bytes)
        });
        let mut buffers = Buffers {
            size: total.min(BUFFER as u64) as usize,
            fresh: 2,
            current: None,
            filled,
            to_fill,
        };
        let made = fill(&mut buffers).and_then(|()| buffers.send());
        drop(buffers);
        let result = writer.join();
        let result = result.unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        match made {
            Err(Stopped::Plan(error)) => Err(NotWritten::Plan(error)),
            // If the writer has failed, it says why.
            Ok(()) | Err(Stopped::Writer) => match result {
                Ok(bytes) if bytes == total => Ok(()),
                Ok(bytes) => Err(NotWritten::Write(io::Error::other(format!(
                    "{bytes} of {total} bytes were written"
                )))),
                Err(error) => Err(NotWritten::Write(error)),
            },
        }
    })
}

/// Why no more buffers are filled.
enum Stopped {
    Plan(PlanError),
    /// The writer has failed.
    Writer,
}

/// Two buffers between the side that fills them and the one that writes them.
struct Buffers {
    size: usize,
    /// How many of them do not exist yet.
    fresh: u32,
    /// The one that is being filled, and how far it is.
    current: Option<(Buffer, usize)>,
    filled: mpsc::SyncSender<(Buffer, usize)>,
    to_fill: mpsc::Receiver<Buffer>,
}

impl Buffers {
    /// Room for at least `least` bytes; what the caller has used of it is added to the number beside it.
    fn room(&mut self, least: usize) -> Result<(&mut Buffer, &mut usize), Stopped> {
        let is_full = |(_, used): &(Buffer, usize)| self.size - used < least;
        if self.current.as_ref().is_some_and(is_full) {
            self.send()?;
        }
        let current = match self.current.take() {
            Some(current) => current,
            None if self.fresh > 0 => {
                self.fresh -= 1;
                (vec![[0; 2]; self.size.div_ceil(16)], 0)
            }
            None => (self.to_fill.recv().map_err(|_| Stopped::Writer)?, 0),
        };
        let (buffer, used) = self.current.insert(current);
        Ok((buffer, used))
    }

    /// Hands over what has been filled.
    fn send(&mut self) -> Result<(), Stopped> {
        match self.current.take() {
            Some(current) => self.filled.send(current).map_err(|_| Stopped::Writer),
            None => Ok(()),
        }
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let size = self.size;
            let (buffer, used) = self.room(1)?;
            let length = bytes.len().min(size - *used);
            bytes_mut(buffer, *used + length)[*used..].copy_from_slice(&bytes[..length]);
            *used += length;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// The elements of a piece, which `made` sees too.
    fn piece<S: Stream>(
        &mut self,
        places: &mut Places<'_, S>,
        piece: &Piece<'_>,
        mut made: impl FnMut(&[u8]),
    ) -> Result<(), Stopped> {
        let element = piece.dtype.size();
        let (mut start, last) = (piece.start, piece.start + piece.numel());
        while start < last {
            let size = self.size;
            const BLOCK: u64 = Normal::BLOCK as u64;
            // A range that begins or ends within a block is drawn beside, and copied.
            let block = last.min((start + 1).next_multiple_of(BLOCK)) - start;
            let (buffer, used) = self.room(block as usize * element)?;
            let end = start + ((size - *used) / element) as u64;
            let end = if end < last { end - end % BLOCK } else { last };
            let length = (end - start) as usize * element;
            let target = &mut bytes_mut(buffer, *used + length)[*used..];
            let filled = places.fill(piece.name, start..end, piece.dtype, target);
            filled.map_err(Stopped::Plan)?;
            made(target);
            *used += length;
            start = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that takes longer to write than the next buffer takes to fill.
    #[derive(Default)]
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            thread::sleep(std::time::Duration::from_millis(100));
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_file_has_every_byte() {
        for extra in [0, 1, BUFFER, 2 * BUFFER + 1] {
            let bytes: Vec<u8> = (0..BUFFER + extra).map(|byte| byte as u8).collect();
            let mut file = Slow::default();
            let written = write_buffers(bytes.len() as u64, &mut file, |to| to.bytes(&bytes));
            assert!(written.is_ok() && file.0 == bytes, "{extra}");
        }
    }
}
