//! The files of a folder. They are a function of the plan and of [`Save`] alone, not of the process that makes them.

use crate::dcp_metadata::{self, Chunk, Described};
use crate::error::PlanError;
use crate::layout::Layout;
use crate::piece::Piece;
use crate::places::Places;
use crate::plan::{InitPlan, Name};
use crate::save::Save;
use crate::section::{self, Section};
use crate::shards::{in_state_dict_order, split};
use crate::stream::Stream;
use crate::torch_archive::Archive;
use crate::write::{NotWritten, write_sections};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shard {
    /// The name of the file.
    pub file: String,
    /// The tensors of which it has elements, in the order of the `state_dict`; none for an index.
    pub names: Vec<String>,
    /// The bytes of these elements.
    pub bytes: u64,
}

/// The files of a folder.
pub(crate) struct Files<'p> {
    layout: Layout,
    /// The tensors that are written, in the order of the `state_dict`.
    tensors: Vec<Piece<'p>>,
    /// The tensors of each file; `None` where each file has a piece of each tensor.
    split: Option<Vec<Vec<usize>>>,
    /// The number of files with tensors.
    shards: u64,
    /// All names and their tensors, in the order of the `state_dict`.
    names: Vec<(&'p str, usize)>,
    /// Whether these are all names of the plan that are written.
    is_all: bool,
    /// The total of parameters.
    parameters: u64,
}

impl InitPlan {
    /// The files that [`save_part`](Self::save_part) makes of the names for which `wanted` returns `true`, the index last.
    ///
    /// Whole tensors are in files as huggingface_hub splits a `state_dict` (`split_torch_state_dict_into_shards`), by
    /// [`Save::max_shard_size`]. They are in the order of the `state_dict`: a module's parameters, its buffers, then its
    /// children. A plan does not say where among its siblings a module without parameters is: it comes last.
    ///
    /// # Errors
    ///
    /// [`PlanError::NotStored`] for a dtype that safetensors lacks.
    ///
    /// ```
    /// use init_plan::{PlanBuilder, Save};
    /// use tensor_parity::Dtype;
    ///
    /// let mut plan = PlanBuilder::new();
    /// for name in ["a", "b", "c"] {
    ///     plan.parameter(name, Dtype::Float32, &[100])?;
    /// }
    /// let plan = plan.finish("three vectors")?;
    /// let shards = plan.shards(Save::default().max_shard_size(1000), |_| true)?;
    /// assert_eq!(shards[1].file, "model-00002-of-00002.safetensors");
    /// assert_eq!(shards[1].names, ["c"]);
    /// # Ok::<(), init_plan::PlanError>(())
    /// ```
    pub fn shards(
        &self,
        save: Save,
        wanted: impl FnMut(&str) -> bool,
    ) -> Result<Vec<Shard>, PlanError> {
        let files = self.files(save, wanted)?;
        Ok((0..files.count()).map(|file| files.shard(file)).collect())
    }

    /// Writes file number `number` of [`shards`](Self::shards) to anything, such as the client of an object store, with
    /// the bytes that it has in a folder. The generator is not moved.
    ///
    /// # Errors
    ///
    /// [`PlanError::Write`] if it cannot be written, or the layout has fewer files; otherwise as [`save`](Self::save).
    ///
    /// ```
    /// use init_plan::{PlanBuilder, Save};
    /// use tensor_parity::Dtype;
    /// use torch_rng::{Mt19937, Uniform};
    ///
    /// let mut plan = PlanBuilder::new();
    /// let weight = plan.parameter("weight", Dtype::Float32, &[300])?;
    /// plan.draw(weight, Uniform { from: 0.0, to: 1.0 })?;
    /// let plan = plan.finish("a vector")?;
    /// let mut bytes = Vec::new();
    /// plan.write_shard(&Mt19937::new(1), Save::default(), |_| true, 0, &mut bytes)?;
    /// assert!(bytes.len() > 1200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_shard<S: Stream>(
        &self,
        generator: &S,
        save: Save,
        wanted: impl FnMut(&str) -> bool,
        number: usize,
        out: &mut (impl Write + Send),
    ) -> Result<(), PlanError> {
        let files = self.files(save, wanted)?;
        let failed = |error: NotWritten| error.at(Path::new(&files.file_name(number)));
        if number >= files.count() {
            let none = io::Error::new(io::ErrorKind::NotFound, "no such file in this layout");
            return Err(failed(NotWritten::Write(none)));
        }
        let metadata = self.metadata(generator)?;
        let mut places = self.places(generator)?;
        let written = files.write(number, &mut places, &metadata, out);
        written.map_err(failed)
    }

    pub(crate) fn files(
        &self,
        save: Save,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Files<'_>, PlanError> {
        let mut is_all = true;
        let all = self.written(save, |name: &Name| {
            let is_wanted = wanted(&name.name);
            is_all &= is_wanted;
            is_wanted
        })?;
        let (mut tensors, mut names, mut numbers) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut parameters = 0;
        // What reads rows asks for every name.
        let has_copies = save.tied || matches!(save.layout, Layout::Rows { .. });
        for tensor in in_state_dict_order(all) {
            let view = tensor.view;
            let place = (view.storage, view.offset, &view.shape, &view.stride);
            let next = tensors.len();
            let number = match has_copies {
                true => next,
                false => *numbers.entry(place).or_insert(next),
            };
            names.push((tensor.name, number));
            if number == next {
                let entry = self.get(tensor.name);
                if entry.is_some_and(|entry| entry.is_parameter) {
                    parameters += tensor.numel();
                }
                tensors.push(tensor);
            }
        }
        let split = match save.layout.shards() {
            Some(_) => None,
            None => Some(split(&tensors, save.max_shard_size)),
        };
        let shards = match (&split, save.layout.shards()) {
            (None, Some(shards)) => u64::from(shards.get()),
            (split, _) => split.as_ref().map_or(0, Vec::len) as u64,
        };
        Ok(Files {
            layout: save.layout,
            tensors,
            split,
            shards,
            names,
            is_all,
            parameters,
        })
    }
}

impl<'p> Files<'p> {
    /// The number of files, with the index.
    pub(crate) fn count(&self) -> usize {
        self.shards as usize + usize::from(self.index().is_some())
    }

    /// The names, if they are not all of the plan.
    pub(crate) fn chosen_names(&self) -> Option<Vec<String>> {
        let names = self.names.iter().map(|(name, _)| (*name).to_owned());
        (!self.is_all).then(|| names.collect())
    }

    /// The views of all tensors.
    pub(crate) fn roots(&self) -> Vec<usize> {
        self.tensors.iter().map(|tensor| tensor.root).collect()
    }

    /// The number of tensors, of which tied ones are written once or under each name, as the layout has them.
    pub(crate) fn tensors(&self) -> usize {
        self.tensors.len()
    }

    /// The name of the index.
    fn index(&self) -> Option<&'static str> {
        match self.layout {
            Layout::Hf => (self.shards > 1).then_some("model.safetensors.index.json"),
            Layout::Rows { .. } => None,
            Layout::Dcp { .. } => Some(dcp_metadata::METADATA),
        }
    }

    pub(crate) fn file_name(&self, file: usize) -> String {
        let (file, count) = (file as u64, self.shards);
        match self.index().filter(|_| file == count) {
            Some(index) => index.to_owned(),
            None => match self.layout {
                Layout::Hf if count == 1 => "model.safetensors".to_owned(),
                Layout::Hf => format!("model-{:05}-of-{count:05}.safetensors", file + 1),
                Layout::Rows { .. } => {
                    format!("shard-{:05}-model-00001-of-00001.safetensors", file + 1)
                }
                Layout::Dcp { .. } => dcp_metadata::file_name(file),
            },
        }
    }

    pub(crate) fn shard(&self, file: usize) -> Shard {
        let pieces = self.pieces(file);
        Shard {
            file: self.file_name(file),
            names: pieces.iter().map(|piece| piece.name.to_owned()).collect(),
            bytes: pieces.iter().map(Piece::bytes).sum(),
        }
    }

    /// What a file has of the tensors, in the order of the `state_dict`.
    pub(crate) fn pieces(&self, file: usize) -> Vec<Piece<'p>> {
        match &self.split {
            Some(split) => {
                let numbers = split.get(file).into_iter().flatten();
                numbers
                    .map(|number| self.tensors[*number].clone())
                    .collect()
            }
            None if file as u64 == self.shards => Vec::new(),
            None => {
                let tensors = self.tensors.iter();
                let pieces = tensors.map(|tensor| tensor.of_file(file as u64, self.shards));
                let mut pieces: Vec<_> = pieces.flatten().collect();
                // PyTorch's consolidation refuses a file without tensors; it writes empty rows itself.
                if pieces.is_empty() {
                    pieces.extend(self.tensors.iter().find_map(Piece::no_rows));
                }
                pieces
            }
        }
    }

    /// The parts of a file.
    pub(crate) fn sections(&self, file: usize, metadata: &Value) -> io::Result<Vec<Section<'p>>> {
        if file as u64 == self.shards {
            let mut index = Vec::new();
            self.write_index(&mut index)?;
            return Ok(vec![Section::Header(index)]);
        }
        let pieces = self.pieces(file);
        match self.layout {
            Layout::Hf => section::safetensors(metadata, pieces),
            Layout::Rows { .. } => section::safetensors(&with_offsets(metadata, &pieces), pieces),
            Layout::Dcp { .. } => Ok(section::archives(pieces)),
        }
    }

    /// Writes a file.
    pub(crate) fn write<S: Stream>(
        &self,
        file: usize,
        places: &mut Places<'_, S>,
        metadata: &Value,
        out: &mut (impl Write + Send),
    ) -> Result<(), NotWritten> {
        let sections = self.sections(file, metadata).map_err(NotWritten::Write)?;
        let roots = sections.iter().filter_map(Section::piece);
        let checked = places.plan().check_data_of(roots.map(|piece| piece.root));
        checked.map_err(NotWritten::Plan)?;
        write_sections(places, &sections, out)
    }

    fn write_index(&self, out: &mut impl Write) -> io::Result<()> {
        match self.layout {
            Layout::Dcp { .. } => self.write_dcp_metadata(out),
            _ => {
                let bytes: u64 = self.tensors.iter().map(Piece::bytes).sum();
                let files = (0..self.shards as usize).flat_map(|file| {
                    let pieces = self.pieces(file).into_iter();
                    pieces.map(move |piece| (piece.name, self.file_name(file)))
                });
                let index = json!({
                    "metadata": {"total_parameters": self.parameters, "total_size": bytes},
                    "weight_map": files.collect::<BTreeMap<_, _>>(),
                });
                let text = serde_json::to_string_pretty(&index)?;
                out.write_all((text + "\n").as_bytes())
            }
        }
    }

    fn write_dcp_metadata(&self, out: &mut impl Write) -> io::Result<()> {
        let mut chunks: Vec<Vec<Chunk>> = self.tensors.iter().map(|_| Vec::new()).collect();
        let numbers = self.tensors.iter().enumerate();
        let numbers: BTreeMap<&str, usize> = numbers.map(|(i, tensor)| (tensor.name, i)).collect();
        for file in 0..self.shards {
            let mut start = 0;
            for piece in self.pieces(file as usize) {
                let bytes = Archive::new(&piece, start).bytes();
                let chunk = Chunk {
                    offsets: piece.offsets,
                    shape: piece.shape,
                    file,
                    start,
                    bytes,
                };
                if let Some(number) = numbers.get(piece.name) {
                    chunks[*number].push(chunk);
                }
                start += bytes;
            }
        }
        let described = self.names.iter().map(|(name, number)| Described {
            name,
            dtype: self.tensors[*number].dtype,
            shape: &self.tensors[*number].shape,
            chunks: &chunks[*number],
        });
        let described: Vec<Described<'_>> = described.collect();
        dcp_metadata::write(&described, out)
    }
}

/// What a file was made of, and where in its tensor each of its pieces begins, as `HuggingFaceStorageWriter` says it.
fn with_offsets(metadata: &Value, pieces: &[Piece<'_>]) -> Value {
    let offsets = pieces
        .iter()
        .map(|piece| (piece.name, json!({"saved_offsets": piece.offsets})));
    let offsets: BTreeMap<&str, Value> = offsets.collect();
    let mut metadata = metadata.clone();
    metadata["DCP_SHARDING_INFO"] = json!(json!(offsets).to_string());
    metadata["DCP_VERSION"] = json!("1.0");
    metadata
}
