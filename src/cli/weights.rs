//! Tensors by name: those of a file, or what the parameters and buffers of a traced program have at its start.

use anyhow::{Result, bail};
use op_trace::Trace;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use tch_init::explain::NamedView;
use tch_init::file::TensorFile;
use tch_init::tensor::{Dtype, TensorView};

/// A file of tensors, or a trace with the file of values beside it.
pub struct Weights {
    /// The file of tensors, or of values.
    pub file: TensorFile,
    start: Option<Vec<Value>>,
}

struct Value {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Weights {
    pub fn open(path: &Path) -> Result<Weights> {
        if !begins_with(path, "\"tch-init trace\"") {
            return Ok(Weights {
                file: TensorFile::open(path)?,
                start: None,
            });
        }
        let trace = Trace::read(path)?;
        let Some(values) = &trace.values else {
            bail!("{}: the trace has no file of values", path.display());
        };
        let file = TensorFile::open(path.with_file_name(values))?;
        let mut start: Vec<Value> = Vec::new();
        for named in trace.models.iter().flat_map(|model| &model.names) {
            let (name, tensor) = (named.name.to_string(), &named.tensor);
            let dtype = tensor.dtype.as_str();
            let known = Dtype::from_name(dtype);
            let shape: Option<Vec<usize>> = tensor
                .shape
                .iter()
                .map(|n| usize::try_from(*n).ok())
                .collect();
            let key = tensor.hash.map(|hash| format!("{dtype}:{hash}"));
            let value = key.and_then(|key| file.get(&key));
            // A value above the limit of the recording is not in the file.
            if let (Some(dtype), Some(shape), Some(value)) = (known, shape, value)
                && !start.iter().any(|known| known.name == name)
            {
                start.push(Value {
                    name,
                    dtype,
                    shape,
                    bytes: value.to_bytes(),
                });
            }
        }
        if start.is_empty() {
            bail!(
                "{}: its file of values has no parameter; record with a model",
                path.display()
            );
        }
        Ok(Weights {
            file,
            start: Some(start),
        })
    }

    /// The tensors by name.
    pub fn named(&self) -> Result<Vec<NamedView<'_>>> {
        let Some(start) = &self.start else {
            let tensors = self.file.iter().map(|(name, view)| NamedView {
                name: name.to_owned(),
                view,
            });
            return Ok(tensors.collect());
        };
        let tensors = start.iter().map(|value| {
            let Value {
                name,
                dtype,
                shape,
                bytes,
            } = value;
            Ok(NamedView {
                name: name.clone(),
                view: TensorView::contiguous(*dtype, shape, bytes)?,
            })
        });
        tensors.collect()
    }
}

/// Whether a file is a JSON object that has a text at its start.
pub fn begins_with(path: &Path, text: &str) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut start));
    let start = String::from_utf8_lossy(&start);
    read.is_ok() && start.trim_start().starts_with('{') && start.contains(text)
}
