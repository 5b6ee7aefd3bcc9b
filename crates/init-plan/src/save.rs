//! Tensors to a safetensors file, one after the other.

use super::{Entry, InitPlan, PlanError};
use crate::error::InitError;
use crate::file::NewFile;
use crate::generator::Generator;
use crate::rng::{Mt19937, State};
use crate::tensor::Dtype;
use safetensors::Dtype as Stored;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{self, Write as _};
use std::path::Path;
use tch::{Kind, Tensor};

/// How [`InitPlan::save`] writes.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Save {
    /// What floating point tensors are cast to, as `Module.to(dtype)` casts them.
    pub dtype: Option<Dtype>,
    /// Whether buffers that a `state_dict` lacks are written too.
    pub non_persistent: bool,
}

impl Save {
    /// Casts floating point tensors.
    #[must_use]
    pub fn dtype(mut self, dtype: Option<Dtype>) -> Save {
        self.dtype = dtype;
        self
    }

    /// Writes the buffers that a `state_dict` lacks too.
    #[must_use]
    pub fn non_persistent(mut self, non_persistent: bool) -> Save {
        self.non_persistent = non_persistent;
        self
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// How many tensors.
    pub tensors: usize,
    /// The size of the file.
    pub bytes: u64,
}

impl InitPlan {
    /// Materialises the names that `wanted` says, and that a `state_dict` has (or all, see
    /// [`Save::non_persistent`]), to a safetensors file. Tied weights are written under each of their names.
    ///
    /// The file is written under another name in its folder and then renamed: whatever happens,
    /// a file that was there before is whole, or replaced by a whole one. The same plan and
    /// generator give the same bytes; the metadata say which (`seed`, or `state_sha256` of a
    /// generator that had been drawn from; `plan_sha256`; versions).
    ///
    /// # Errors
    ///
    /// [`PlanError::Write`] if the file cannot be written, of which a missing folder is found
    /// before anything is drawn; otherwise as [`materialize`](Self::materialize).
    ///
    /// ```
    /// # use tch_init::plan::{InitPlan, Save};
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("weights.safetensors");
    /// let mut generator = tch_init::Generator::new(tch::Device::Cpu)?;
    /// generator.manual_seed(1)?;
    /// let saved = plan.save(&path, &mut generator, Save::default(), |name| name != "bias")?;
    /// assert_eq!(saved.tensors, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(
        &self,
        path: impl AsRef<Path>,
        generator: &mut Generator,
        save: Save,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Saved, PlanError> {
        let path = path.as_ref();
        let failed = |source| PlanError::Write {
            path: path.to_owned(),
            source,
        };
        let mut file = NewFile::create(path).map_err(failed)?;
        let metadata = self.metadata(generator)?;

        let written = |entry: &Entry| entry.persistent || save.non_persistent;
        let chosen = |name: &str| wanted(name) && self.get(name).is_some_and(written);
        let tensors = self.materialize_only(generator, chosen)?;
        let mut tensors: Vec<Written> = tensors
            .into_iter()
            .map(|(name, tensor)| Written::new(name, tensor, save.dtype))
            .collect::<Result<_, _>>()?;
        // The order of `safetensors.torch.save_file`.
        tensors.sort_by(|a, b| b.stored.cmp(&a.stored).then_with(|| a.name.cmp(&b.name)));

        let count = tensors.len();
        let header = header(&metadata, &tensors).map_err(failed)?;
        file.write_all(&header).map_err(failed)?;
        for tensor in tensors {
            // Each goes when it is written.
            tensor.write(&mut file).map_err(|error| match error {
                Failed::Write(source) => failed(source),
                Failed::Cast(error) => error.into(),
            })?;
        }
        let bytes = file.finish().map_err(failed)?;
        Ok(Saved {
            tensors: count,
            bytes,
        })
    }

    /// What made the file, each key once and sorted.
    fn metadata(&self, generator: &Generator) -> Result<serde_json::Value, PlanError> {
        let state = generator.get_state()?;
        let seed = generator.initial_seed()?;
        let fresh =
            State::from_bytes(&state).is_ok_and(|state| state == Mt19937::new(seed).to_state());
        let (key, start) = match fresh {
            true => ("seed", seed.to_string()),
            false => ("state_sha256", super::hexadecimal(&Sha256::digest(&state))),
        };
        Ok(json!({
            "format": "pt",
            "plan_sha256": self.sha256,
            "pytorch": self.pytorch,
            key: start,
            "tch_init": env!("CARGO_PKG_VERSION"),
        }))
    }
}

/// A tensor on its way to the file.
struct Written {
    name: String,
    tensor: Tensor,
    kind: Kind,
    stored: Stored,
    bytes: u64,
}

enum Failed {
    Write(io::Error),
    Cast(InitError),
}

impl Written {
    fn new(name: String, tensor: Tensor, dtype: Option<Dtype>) -> Result<Written, PlanError> {
        let kind = match dtype {
            Some(dtype) if super::run::is_floating(tensor.kind()) => super::run::kind(dtype),
            _ => tensor.kind(),
        };
        let stored = match kind {
            Kind::Bool => Stored::BOOL,
            Kind::Uint8 => Stored::U8,
            Kind::Int8 => Stored::I8,
            Kind::Int16 => Stored::I16,
            Kind::Int => Stored::I32,
            Kind::Int64 => Stored::I64,
            Kind::Half => Stored::F16,
            Kind::BFloat16 => Stored::BF16,
            Kind::Double => Stored::F64,
            _ => Stored::F32,
        };
        let bytes = (tensor.numel() * kind.elt_size_in_bytes()) as u64;
        Ok(Written {
            name,
            tensor,
            kind,
            stored,
            bytes,
        })
    }

    /// By rows, so that a cast needs no second tensor of its size.
    fn write(self, file: &mut NewFile) -> Result<(), Failed> {
        let cast = |error| Failed::Cast(InitError::tch("save", error));
        if self.bytes == 0 {
            return Ok(());
        }
        let rows = self.tensor.size().first().copied().unwrap_or(0);
        if self.tensor.kind() == self.kind && self.tensor.is_contiguous() || rows == 0 {
            return self.write_part(&self.tensor, file);
        }
        let at_once = (PART / (self.bytes / rows as u64).max(1)).max(1) as i64;
        for start in (0..rows).step_by(at_once as usize) {
            let length = at_once.min(rows - start);
            let part = self.tensor.f_narrow(0, start, length).map_err(cast)?;
            self.write_part(&part, file)?;
        }
        Ok(())
    }

    fn write_part(&self, part: &Tensor, file: &mut NewFile) -> Result<(), Failed> {
        let part = part
            .f_to_kind(self.kind)
            .and_then(|part| part.f_contiguous())
            .map_err(|error| Failed::Cast(InitError::tch("save", error)))?;
        let length = part.numel() * self.kind.elt_size_in_bytes();
        // SAFETY: a contiguous tensor of the CPU that lives until the end of this function and
        // that nobody writes to meanwhile; it has `numel` elements of its kind, and not none.
        let bytes = unsafe { std::slice::from_raw_parts(part.data_ptr().cast::<u8>(), length) };
        file.write_all(bytes).map_err(Failed::Write)
    }
}

/// Bytes that are cast together, where rows are not longer. C's `malloc` keeps some times as much of
/// what is freed.
const PART: u64 = 1 << 20;

/// The length of the header, then the header.
fn header(metadata: &serde_json::Value, tensors: &[Written]) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    write!(json, "{{\"__metadata__\":{metadata}")?;
    let mut at = 0;
    for tensor in tensors {
        let info = json!({
            "dtype": tensor.stored,
            "shape": tensor.tensor.size(),
            "data_offsets": [at, at + tensor.bytes],
        });
        write!(json, ",{}:{info}", json!(tensor.name))?;
        at += tensor.bytes;
    }
    json.push(b'}');
    // The tensors begin at a multiple of 8.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    Ok(header)
}
