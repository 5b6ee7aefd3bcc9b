//! Writes tensors to a safetensors file, one after the other, as they are made.

use crate::error::PlanError;
use crate::hexadecimal::hexadecimal;
use crate::layout::Layout;
use crate::piece::Piece;
use crate::plan::{Entry, InitPlan, Name};
use crate::section;
use crate::stream::Stream;
use crate::write::write_sections;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::Path;
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
    /// Whether the files of a folder have tied weights under each of their names; otherwise under the first. The layouts
    /// [`Rows`](Layout::Rows) and [`Dcp`](Layout::Dcp) always have each name.
    pub tied: bool,
    /// What the files of a folder are.
    pub layout: Layout,
}

impl Default for Save {
    fn default() -> Save {
        Save {
            dtype: None,
            non_persistent: false,
            max_shard_size: 5_000_000_000,
            tied: false,
            layout: Layout::Hf,
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

    /// Sets what the files of a folder are.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Save {
        self.layout = layout;
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
    /// existing file stays whole or is replaced by a whole one. The disk is not waited for, as by `cp` and
    /// `torch.save`. The same plan and generator give the same bytes. The metadata say what made the file: `seed`, or `state_sha256` for a generator that
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
        let tensors = self.written(save, |name| wanted(&name.name))?;
        self.check_data_of(tensors.iter().map(|tensor| tensor.root))?;
        let count = tensors.len();
        let sections = section::safetensors(&metadata, tensors).map_err(failed)?;
        let mut places = self.places(generator)?;
        write_sections(&mut places, &sections, &mut file).map_err(|error| error.at(path))?;
        let end = places.end()?;
        let bytes = file.finish_unsynced().map_err(failed)?;
        generator.set_position(&end).map_err(PlanError::Generator)?;
        Ok(Saved {
            tensors: count,
            bytes,
        })
    }

    /// The tensors that are written, in the order of names.
    pub(crate) fn written(
        &self,
        save: Save,
        mut wanted: impl FnMut(&Name) -> bool,
    ) -> Result<Vec<Piece<'_>>, PlanError> {
        let written = |entry: &Entry| entry.persistent || save.non_persistent;
        let names = self.names.iter();
        let names = names.filter(|name| written(&name.entry) && wanted(name));
        names
            .map(|name| Piece::new(&name.name, &self.views[name.view], name.view, save.dtype))
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
