//! The file beside a trace: what no operation made, up to a size.

use op_trace::ValueHash;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

/// The elements of tensors, under `dtype:hash`.
pub(super) struct Values {
    path: PathBuf,
    limit: u64,
    /// Made when the first value is kept.
    file: Option<BufWriter<File>>,
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
            file: None,
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
        let Some(stored) = stored(dtype).filter(|_| self.size + length <= self.limit) else {
            self.left_out += 1;
            return Ok(());
        };
        let temporary = self.temporary();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(File::create(temporary)?)),
        };
        // The header is written before them when all are known.
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

    /// Writes the file, by a temporary name.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let mut header = std::mem::take(&mut self.header);
        header += if header.is_empty() { "{}" } else { "}" };
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let part = part(&self.path);
        let mut out = BufWriter::new(File::create(&part)?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        if let Some(file) = self.file.take() {
            drop(file.into_inner().map_err(|error| error.into_error())?);
            let mut elements = File::open(self.temporary())?;
            elements.rewind()?;
            io::copy(&mut elements, &mut out)?;
            std::fs::remove_file(self.temporary())?;
        }
        out.into_inner().map_err(|error| error.into_error())?;
        std::fs::rename(part, &self.path)
    }

    fn temporary(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".elements");
        name.into()
    }
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".part");
    name.into()
}

/// The name of a dtype in safetensors.
fn stored(dtype: &str) -> Option<&'static str> {
    Some(match dtype {
        "bool" => "BOOL",
        "uint8" => "U8",
        "int8" => "I8",
        "uint16" => "U16",
        "int16" => "I16",
        "uint32" => "U32",
        "int32" => "I32",
        "uint64" => "U64",
        "int64" => "I64",
        "float16" => "F16",
        "bfloat16" => "BF16",
        "float32" => "F32",
        "float64" => "F64",
        "complex64" => "C64",
        "float8_e4m3fn" => "F8_E4M3",
        "float8_e5m2" => "F8_E5M2",
        _ => return None,
    })
}
