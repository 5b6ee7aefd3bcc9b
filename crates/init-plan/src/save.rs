//! Writes tensors to a safetensors file, one after the other, as they are made.

use crate::error::PlanError;
use crate::hexadecimal::hexadecimal;
use crate::places::Places;
use crate::plan::{Entry, InitPlan, Name};
use crate::stored_dtype::stored;
use crate::stream::Stream;
use crate::view::View;
use safetensors::Dtype as Stored;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use tensor_parity::Dtype;
use tensor_parity::file::NewFile;
use torch_rng::Mt19937;

/// How [`InitPlan::save`] and [`InitPlan::save_part`] write.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Save {
    /// The dtype that floating-point tensors are cast to, as `Module.to(dtype)` casts them.
    pub dtype: Option<Dtype>,
    /// Whether to write buffers that are not in the `state_dict` too.
    pub non_persistent: bool,
    /// The bytes of tensors that a file of a folder has at most, unless one tensor is larger: 5 GB, as in
    /// huggingface_hub.
    pub max_shard_size: u64,
    /// Whether the files of a folder have tied weights under each of their names; otherwise under the first.
    pub tied: bool,
}

impl Default for Save {
    fn default() -> Save {
        Save {
            dtype: None,
            non_persistent: false,
            max_shard_size: 5_000_000_000,
            tied: false,
        }
    }
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

    /// Sets the bytes of tensors that a file of a folder has at most.
    #[must_use]
    pub fn max_shard_size(mut self, bytes: u64) -> Save {
        self.max_shard_size = bytes;
        self
    }

    /// Sets whether the files of a folder have tied weights under each of their names.
    #[must_use]
    pub fn tied(mut self, tied: bool) -> Save {
        self.tied = tied;
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
        let mut tensors = self.written(save, |name| wanted(&name.name))?;
        self.check_data_of(tensors.iter().map(|tensor| tensor.root))?;
        let mut places = self.places(generator)?;
        write_tensors(&mut places, &metadata, &mut tensors, &mut file)
            .map_err(|error| error.at(path))?;
        let end = places.end()?;
        let bytes = file.finish().map_err(failed)?;
        generator.set_position(&end).map_err(PlanError::Generator)?;
        Ok(Saved {
            tensors: tensors.len(),
            bytes,
        })
    }

    /// The tensors that are written, in the order of names.
    pub(crate) fn written(
        &self,
        save: Save,
        mut wanted: impl FnMut(&Name) -> bool,
    ) -> Result<Vec<Written<'_>>, PlanError> {
        let written = |entry: &Entry| entry.persistent || save.non_persistent;
        let names = self.names.iter();
        let names = names.filter(|name| written(&name.entry) && wanted(name));
        names
            .map(|name| Written::new(&name.name, &self.views[name.view], name.view, save.dtype))
            .collect()
    }

    /// What made the file; keys are sorted.
    pub(crate) fn metadata<S: Stream>(
        &self,
        generator: &S,
    ) -> Result<serde_json::Value, PlanError> {
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

/// A tensor of a file.
pub(crate) struct Written<'a> {
    pub(crate) name: &'a str,
    view: &'a View,
    /// The number of the view.
    pub(crate) root: usize,
    dtype: Dtype,
    stored: Stored,
    pub(crate) bytes: u64,
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

    /// The number of elements.
    pub(crate) fn numel(&self) -> u64 {
        self.view.numel()
    }
}

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

/// The size of each of the two buffers: one is filled while the other is written.
const BUFFER: usize = 8 << 20;

/// Bytes that elements of any dtype are aligned in.
type Buffer = Vec<[u64; 2]>;

fn bytes_mut(buffer: &mut Buffer, length: usize) -> &mut [u8] {
    // SAFETY: numbers, all of whose bytes are initialized and may be any; they are borrowed uniquely.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), size_of_val(&**buffer))
    };
    &mut bytes[..length]
}

/// Writes a safetensors file of some tensors, in the order of `safetensors.torch.save_file`, which they then have.
pub(crate) fn write_tensors<S: Stream>(
    places: &mut Places<'_, S>,
    metadata: &serde_json::Value,
    tensors: &mut [Written<'_>],
    file: &mut (impl Write + Send),
) -> Result<(), NotWritten> {
    tensors.sort_by(|a, b| b.stored.cmp(&a.stored).then_with(|| a.name.cmp(b.name)));
    let header = header(metadata, tensors).map_err(NotWritten::Write)?;
    file.write_all(&header).map_err(NotWritten::Write)?;
    let (filled, to_write) = mpsc::sync_channel::<(Buffer, usize)>(1);
    let (written, to_fill) = mpsc::channel();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for (mut buffer, length) in to_write {
                file.write_all(bytes_mut(&mut buffer, length))?;
                // The other side is gone if it failed.
                if written.send(buffer).is_err() {
                    break;
                }
            }
            io::Result::Ok(())
        });
        let made = fill_buffers(places, tensors, &filled, &to_fill);
        drop(filled);
        let result = writer.join();
        let result = result.unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        made.map_err(NotWritten::Plan)?;
        result.map_err(NotWritten::Write)
    })
}

/// Fills buffers with tensors, one after the other, and sends them; stops early if the writer has failed.
fn fill_buffers<S: Stream>(
    places: &mut Places<'_, S>,
    tensors: &[Written<'_>],
    filled: &mpsc::SyncSender<(Buffer, usize)>,
    to_fill: &mpsc::Receiver<Buffer>,
) -> Result<(), PlanError> {
    let total: u64 = tensors.iter().map(|tensor| tensor.bytes).sum();
    let size = total.min(BUFFER as u64) as usize;
    let mut fresh = vec![(); 2];
    let mut next = || match fresh.pop() {
        Some(()) => Some(vec![[0; 2]; size.div_ceil(16)]),
        None => to_fill.recv().ok(),
    };
    let Some(mut buffer) = next() else {
        return Ok(());
    };
    let mut used = 0;
    for tensor in tensors {
        let element = tensor.dtype.size();
        let mut start = 0;
        while start < tensor.numel() {
            if size - used < element {
                if filled.send((buffer, used)).is_err() {
                    return Ok(());
                }
                let Some(again) = next() else {
                    return Ok(());
                };
                (buffer, used) = (again, 0);
            }
            let room = ((size - used) / element) as u64;
            let end = tensor.numel().min(start + room);
            let length = (end - start) as usize * element;
            let target = &mut bytes_mut(&mut buffer, used + length)[used..];
            places.fill(tensor.name, start..end, tensor.dtype, target)?;
            (start, used) = (end, used + length);
        }
    }
    // If the writer has failed, it says why.
    if filled.send((buffer, used)).is_err() {
        return Ok(());
    }
    Ok(())
}

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
