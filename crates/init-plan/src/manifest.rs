//! What the files of a folder are: the same for all processes that make them.

use crate::dcp_metadata::METADATA;
use crate::files::Files;
use crate::folder::{self, FolderError};
use crate::layout::Layout;
use crate::save::Save;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::Path;
use tensor_parity::Dtype;

/// The name of the manifest.
pub(crate) const MANIFEST: &str = "tch-init.manifest.json";
/// What the files of a folder are: the same for all processes that make them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: String,
    pub(crate) version: u64,
    pub(crate) layout: String,
    pub(crate) shards: Option<u32>,
    pub(crate) metadata: Value,
    pub(crate) kernels: String,
    pub(crate) dtype: Option<String>,
    pub(crate) max_shard_size: u64,
    pub(crate) tied: bool,
    pub(crate) non_persistent: bool,
    /// The tensors, in the order of the `state_dict`, if they are not all of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) names: Option<Vec<String>>,
    /// Names, and the bytes of the tensors.
    pub(crate) files: Vec<(String, u64)>,
    /// The bytes of each file, once all are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sizes: Option<Vec<u64>>,
}

impl Manifest {
    pub(crate) fn new(
        files: &Files<'_>,
        metadata: &Value,
        kernels: String,
        save: Save,
    ) -> Manifest {
        let shards = (0..files.count()).map(|file| files.shard(file));
        Manifest {
            format: "tch-init manifest".to_owned(),
            version: 1,
            layout: save.layout.name().to_owned(),
            shards: save.layout.shards().map(NonZero::get),
            metadata: metadata.clone(),
            kernels,
            dtype: save.dtype.map(|dtype| dtype.name().to_owned()),
            max_shard_size: save.max_shard_size,
            tied: save.tied,
            non_persistent: save.non_persistent,
            names: files.chosen_names(),
            files: shards.map(|shard| (shard.file, shard.bytes)).collect(),
            sizes: None,
        }
    }

    /// How these files are written.
    pub(crate) fn save(&self, path: &Path) -> Result<Save, FolderError> {
        let invalid = |problem: String| FolderError::Manifest {
            path: path.to_owned(),
            problem,
        };
        let unknown_layout = || invalid(format!("unexpected layout {:?}", self.layout));
        let shards = self
            .shards
            .map(|shards| NonZero::new(shards).ok_or_else(unknown_layout));
        let layout = match (&*self.layout, shards.transpose()?) {
            ("hf", None) => Layout::Hf,
            ("rows", Some(shards)) => Layout::Rows { shards },
            ("dcp", shards) => Layout::Dcp { shards },
            _ => return Err(unknown_layout()),
        };
        let dtype = self.dtype.as_ref().map(|name| {
            Dtype::from_name(name).ok_or_else(|| invalid(format!("unexpected dtype {name:?}")))
        });
        Ok(Save::default()
            .layout(layout)
            .dtype(dtype.transpose()?)
            .max_shard_size(self.max_shard_size)
            .tied(self.tied)
            .non_persistent(self.non_persistent))
    }

    pub(crate) fn read(path: &Path) -> Result<Manifest, FolderError> {
        let text = fs::read(path).map_err(folder::io("read", path))?;
        let invalid = |problem: String| FolderError::Manifest {
            path: path.to_owned(),
            problem,
        };
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        let known = ("tch-init manifest", 1);
        let found = (&*manifest.format, manifest.version);
        if found != known {
            return Err(invalid(format!("expected {known:?}, found {found:?}")));
        }
        if let Some((file, _)) = manifest.files.iter().find(|(file, _)| !is_name(file)) {
            return Err(invalid(format!("unexpected file {file:?}")));
        }
        match &manifest.sizes {
            Some(sizes) if sizes.len() != manifest.files.len() => Err(invalid(format!(
                "{} sizes of {} files",
                sizes.len(),
                manifest.files.len()
            ))),
            _ => Ok(manifest),
        }
    }

    pub(crate) fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Rejects the manifest of other files.
    pub(crate) fn check(&self, there: &Manifest, path: &Path) -> Result<(), FolderError> {
        match self.other(there) {
            None => Ok(()),
            Some((key, there, here)) => Err(FolderError::OtherRun {
                path: path.to_owned(),
                key,
                there,
                here,
            }),
        }
    }

    /// What differs, its value there and here. Sizes follow from the rest.
    pub(crate) fn other(&self, there: &Manifest) -> Option<(String, String, String)> {
        let keys = |manifest: &Manifest| {
            let mut keys = BTreeMap::new();
            for (key, value) in json!(manifest).as_object().into_iter().flatten() {
                match value {
                    _ if key == "sizes" => {}
                    Value::Object(object) if key == "metadata" => keys.extend(object.clone()),
                    _ => drop(keys.insert(key.clone(), value.clone())),
                }
            }
            keys
        };
        let (here, there) = (keys(self), keys(there));
        let all = here.keys().chain(there.keys());
        let mut other = all.filter(|key| here.get(*key) != there.get(*key));
        // The files follow from what else differs.
        let key = other.clone().find(|key| *key != "files").or(other.next())?;
        let shown = |keys: &BTreeMap<String, Value>| match keys.get(key) {
            None | Some(Value::Null) => "not given".to_owned(),
            Some(Value::Array(list)) => format!("a list of {}", list.len()),
            Some(Value::Object(_)) => "another one".to_owned(),
            Some(value) => value.to_string(),
        };
        Some((key.clone(), shown(&there), shown(&here)))
    }
}

/// Whether a file is one of a folder: what a manifest names becomes a path.
pub(crate) fn is_name(file: &str) -> bool {
    let known = ["model", "shard-", "__", METADATA];
    known.iter().any(|start| file.starts_with(start)) && !file.contains(['/', '\\'])
}
