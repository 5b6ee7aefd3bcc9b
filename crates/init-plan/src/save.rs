//! Writes materialized tensors to a safetensors file, one after the other.

use crate::error::PlanError;
use crate::hexadecimal::hexadecimal;
use crate::materialize::unallocated;
use crate::plan::{Entry, InitPlan};
use crate::step::Op;
use crate::stored_dtype::stored;
use crate::stream::{Storages, Stream, StreamError};
use crate::view::View;
use safetensors::Dtype as Stored;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{self, Write as _};
use std::path::Path;
use tensor_parity::Dtype;
use tensor_parity::file::NewFile;
use torch_rng::Mt19937;

/// How [`InitPlan::save`] writes.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Save {
    /// The dtype that floating-point tensors are cast to, as `Module.to(dtype)` casts them.
    pub dtype: Option<Dtype>,
    /// Whether to write buffers that are not in the `state_dict` too.
    pub non_persistent: bool,
}

impl Save {
    /// Sets the dtype that floating-point tensors are cast to.
    #[must_use]
    pub fn dtype(mut self, dtype: Option<Dtype>) -> Save {
        self.dtype = dtype;
        self
    }

    /// Sets whether to write buffers that are not in the `state_dict`.
    #[must_use]
    pub fn non_persistent(mut self, non_persistent: bool) -> Save {
        self.non_persistent = non_persistent;
        self
    }
}

/// What [`InitPlan::save`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The number of tensors.
    pub tensors: usize,
    /// The size of the file.
    pub bytes: u64,
}

impl InitPlan {
    /// Materializes the names for which `wanted` returns `true` to a safetensors file, if they are in
    /// the `state_dict` (or regardless, see [`Save::non_persistent`]). Tied weights are written under
    /// each of their names.
    ///
    /// The file is written under a temporary name in the same folder and then renamed, so that an
    /// existing file stays whole or is replaced by a whole one. The same plan and generator give the
    /// same bytes. The metadata say what made the file: `seed`, or `state_sha256` for a generator that
    /// had been drawn from; `plan_sha256`; versions.
    ///
    /// # Errors
    ///
    /// [`PlanError::Write`] if the file cannot be written (a missing folder is found before anything
    /// is drawn); otherwise as [`materialize`](Self::materialize).
    ///
    /// ```
    /// # use init_plan::{InitPlan, Save};
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("weights.safetensors");
    /// let mut generator = torch_rng::Mt19937::new(1);
    /// let saved = plan.save(&path, &mut generator, Save::default(), |name| name != "bias")?;
    /// assert_eq!(saved.tensors, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save<S: Stream>(
        &self,
        path: impl AsRef<Path>,
        generator: &mut S,
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
        let names = self.names.iter();
        let names = names.filter(|name| written(&name.entry) && wanted(&name.name));
        let tensors: Result<Vec<Written>, PlanError> = names
            .map(|name| Written::new(&name.name, &self.views[name.view], name.view, save.dtype))
            .collect();
        let mut tensors = tensors?;
        let roots: Vec<usize> = tensors.iter().map(|tensor| tensor.root).collect();
        let mut storages = self.execute(generator, &roots)?;
        // The order of `safetensors.torch.save_file`.
        tensors.sort_by(|a, b| b.stored.cmp(&a.stored).then_with(|| a.name.cmp(b.name)));

        let header = header(&metadata, &tensors).map_err(failed)?;
        file.write_all(&header).map_err(failed)?;
        let mut uses = vec![0usize; self.storages.len()];
        for tensor in &tensors {
            uses[tensor.view.storage] += 1;
        }
        for tensor in &tensors {
            tensor
                .write(generator, &mut storages, &mut file)
                .map_err(|error| match error {
                    Failed::Write(source) => failed(source),
                    Failed::Cast(source) => PlanError::Generator(source),
                })?;
            // Memory is freed when the last of its tensors has been written.
            let storage = tensor.view.storage;
            uses[storage] -= 1;
            if uses[storage] == 0 {
                storages.storages[storage] = None;
            }
        }
        let bytes = file.finish().map_err(failed)?;
        Ok(Saved {
            tensors: tensors.len(),
            bytes,
        })
    }

    /// What made the file; keys are sorted.
    fn metadata<S: Stream>(&self, generator: &S) -> Result<serde_json::Value, PlanError> {
        let position = generator.position().map_err(PlanError::Generator)?;
        let seed = position.initial_seed();
        let (key, start) = match position == Mt19937::new(seed) {
            true => ("seed", seed.to_string()),
            false => {
                let state = position.to_state().to_bytes();
                ("state_sha256", hexadecimal(&Sha256::digest(state)))
            }
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

/// A tensor of the file.
struct Written<'a> {
    name: &'a str,
    view: &'a View,
    /// The number of the view.
    root: usize,
    dtype: Dtype,
    stored: Stored,
    bytes: u64,
}

enum Failed {
    Write(io::Error),
    Cast(StreamError),
}

impl<'a> Written<'a> {
    fn new(
        name: &'a str,
        view: &'a View,
        root: usize,
        dtype: Option<Dtype>,
    ) -> Result<Written<'a>, PlanError> {
        // `Module.to(dtype)` discards imaginary parts.
        let is_cast = view.dtype.is_floating_point() || view.dtype.part().is_some();
        let dtype = dtype.filter(|_| is_cast).unwrap_or(view.dtype);
        let stored = stored(dtype).ok_or_else(|| PlanError::NotStored {
            name: name.to_owned(),
            dtype,
        })?;
        Ok(Written {
            name,
            view,
            root,
            dtype,
            stored,
            bytes: view.numel() * dtype.size() as u64,
        })
    }

    /// Writes the elements, by rows if they are cast, so that no second tensor of the size is needed.
    fn write<S: Stream>(
        &self,
        stream: &S,
        storages: &mut Storages<'_, S>,
        file: &mut NewFile,
    ) -> Result<(), Failed> {
        if self.bytes == 0 {
            return Ok(());
        }
        if self.view.dtype == self.dtype && self.view.is_contiguous() {
            let storage = storages.get(self.root).ok_or_else(unallocated);
            let bytes = storage.map_err(Failed::Cast)?.bytes();
            let range = self.view.bytes();
            let bytes = &bytes[range.start as usize..range.end as usize];
            return file.write_all(bytes).map_err(Failed::Write);
        }
        let rows = self.view.shape.first().copied().unwrap_or(1);
        let at_once = (PART / (self.bytes / rows).max(1)).max(1);
        for start in (0..rows).step_by(at_once as usize) {
            let part = self.view.part(0, start..rows.min(start + at_once));
            self.write_part(part, stream, storages, file)?;
        }
        Ok(())
    }

    fn write_part<S: Stream>(
        &self,
        part: View,
        stream: &S,
        storages: &mut Storages<'_, S>,
        file: &mut NewFile,
    ) -> Result<(), Failed> {
        let source = self.view.storage;
        let cast = part.alone(1, self.dtype);
        let size = storages
            .get(self.root)
            .map_or(0, |storage| storage.bytes().len());
        let sizes = [size as u64, cast.bytes().end];
        let views = [part.in_storage(0), cast];
        let mut both = Storages::new(&views, &sizes, vec![false; 2]);
        both.storages[0] = storages.storages[source].take();
        let copied = stream.compute(&Op::Copy(0), 1, &mut both);
        storages.storages[source] = both.storages[0].take();
        copied.map_err(Failed::Cast)?;
        let cast = both.get(1).ok_or_else(unallocated).map_err(Failed::Cast)?;
        file.write_all(cast.bytes()).map_err(Failed::Write)
    }
}

/// Bytes that are cast together, unless rows are longer. The C library's allocator retains a few times
/// as much of what is freed.
const PART: u64 = 1 << 20;

/// The length of the header, then the header.
fn header(metadata: &serde_json::Value, tensors: &[Written<'_>]) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    write!(json, "{{\"__metadata__\":{metadata}")?;
    let mut offset = 0;
    for tensor in tensors {
        let info = json!({
            "dtype": tensor.stored,
            "shape": tensor.view.shape,
            "data_offsets": [offset, offset + tensor.bytes],
        });
        write!(json, ",{}:{info}", json!(tensor.name))?;
        offset += tensor.bytes;
    }
    json.push(b'}');
    // The tensors begin at a multiple of 8.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    Ok(header)
}
