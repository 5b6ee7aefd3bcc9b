//! Where the lines of a trace are.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// The bytes of a trace, read again when an operation is asked for.
#[derive(Clone)]
pub enum Source {
    /// A file that is still open: a deleted or replaced one stays readable.
    File(Arc<Mutex<File>>),
    /// What came from a pipe, which can be read only once.
    Bytes(Arc<[u8]>),
}

impl Source {
    pub fn open(file: File) -> io::Result<Source> {
        if file.metadata()?.is_file() {
            return Ok(Source::File(Arc::new(Mutex::new(file))));
        }
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        Ok(Source::Bytes(bytes.into()))
    }

    pub fn from(&self, position: u64) -> Reader<'_> {
        Reader {
            source: self,
            position,
        }
    }
}

/// Reads on from a position. Others may read at other positions meanwhile.
pub struct Reader<'a> {
    source: &'a Source,
    position: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.source {
            Source::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(self.position))?;
                file.read(buffer)?
            }
            Source::Bytes(bytes) => {
                let start = bytes.len().min(self.position as usize);
                let read = buffer.len().min(bytes.len() - start);
                buffer[..read].copy_from_slice(&bytes[start..start + read]);
                read
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}
