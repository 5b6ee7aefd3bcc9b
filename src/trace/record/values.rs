//! The file beside a trace: what no operation made, up to a size.

use op_trace::ValueHash;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use tensor_parity::Dtype;
use tensor_parity::file::NewFile;

/// The elements of tensors, under `dtype:hash`.
pub(super) struct Values {
    path: PathBuf,
    limit: u64,
    /// A file without a name, made when the first value is kept: the header, which precedes the elements, is known last.
    elements: Option<BufWriter<File>>,
    header: String,
    known: HashSet<(String, ValueHash)>,
    size: u64,
    pub(super) left_out: u64,
}

impl Values {
    pub(super) fn new(path: PathBuf, limit: u64) -> Values {
        Values {
            path,
            limit,
            elements: None,
            header: String::new(),
            known: HashSet::new(),
            size: 0,
            left_out: 0,
        }
    }

    pub(super) fn kept(&self) -> usize {
        self.known.len()
    }

    /// Keeps a value, unless that takes more space than there is.
    pub(super) fn keep(
        &mut self,
        dtype: &str,
        shape: &[i64],
        hash: ValueHash,
        elements: &[u8],
    ) -> io::Result<()> {
        let key = (dtype.to_owned(), hash);
        if self.known.contains(&key) {
            return Ok(());
        }
        let length = elements.len() as u64;
        let stored = Dtype::from_name(dtype).and_then(Dtype::safetensors_name);
        let Some(stored) = stored.filter(|_| self.size + length <= self.limit) else {
            self.left_out += 1;
            return Ok(());
        };
        let file = match &mut self.elements {
            Some(file) => file,
            none => {
                let folder = self.path.parent().filter(|f| !f.as_os_str().is_empty());
                let file = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")))?;
                none.insert(BufWriter::new(file))
            }
        };
        file.write_all(elements)?;
        let separator = if self.header.is_empty() { '{' } else { ',' };
        let end = self.size + length;
        // Writing to a string does not fail.
        write!(
            self.header,
            "{separator}\"{dtype}:{hash}\":{{\"dtype\":\"{stored}\",\"shape\":{shape:?},\"data_offsets\":[{},{end}]}}",
            self.size
        )
        .map_err(io::Error::other)?;
        self.size = end;
        self.known.insert(key);
        Ok(())
    }

    /// Writes the file.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let mut header = std::mem::take(&mut self.header);
        header += if header.is_empty() { "{}" } else { "}" };
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut out = BufWriter::new(NewFile::create(&self.path)?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        if let Some(elements) = self.elements.take() {
            let mut elements = elements.into_inner().map_err(|error| error.into_error())?;
            elements.rewind()?;
            io::copy(&mut elements, &mut out)?;
        }
        let file = out.into_inner().map_err(|error| error.into_error())?;
        file.finish()?;
        Ok(())
    }
}
