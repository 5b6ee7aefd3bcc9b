//! `*.safetensors.index.json`: which file of a folder has which tensor.

use super::error::{FileError, Flaw, Name};
use super::mapped_tensors::Contents;
use super::{Format, map, open_one};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Component, Path};

/// As safetensors has it for its header.
const MAX_LENGTH: usize = 100_000_000;

#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Names and files in the order of the index, a name as often as it stands there.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WeightMap, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the name of a file under each name of a tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(WeightMap(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// The names and files of an index.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, String)>, Flaw> {
    if bytes.len() > MAX_LENGTH {
        return Err(Flaw::unknown(format!("JSON of {} bytes", bytes.len())));
    }
    match serde_json::from_slice::<Index>(bytes) {
        Ok(index) => Ok(index.weight_map.0),
        Err(error) if error.is_eof() => Err(Flaw::damaged(error.to_string())),
        Err(error) => Err(Flaw::unknown(format!("text, but no index: {error}"))),
    }
}

/// The index at `path`.
pub(super) fn read(path: &Path) -> Result<Contents, FileError> {
    open(path, map(path)?.bytes())
}

/// The tensors that the index at `path` names, in its order; others of its files stay out.
pub(super) fn open(path: &Path, bytes: &[u8]) -> Result<Contents, FileError> {
    let flaw = |flaw: Flaw| flaw.in_file(path, Format::Index);
    let weight_map = parse(bytes).map_err(flaw)?;
    let mut names = HashSet::new();
    if let Some((twice, _)) = weight_map.iter().find(|(name, _)| !names.insert(name)) {
        return Err(FileError::Duplicate {
            name: twice.clone(),
            first: path.to_owned(),
            second: path.to_owned(),
        });
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut shards = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut pick = Vec::new();
    for (name, shard) in &weight_map {
        let number = match numbers.get(shard.as_str()) {
            Some(number) => *number,
            None => {
                shards.push(open_shard(folder, shard, flaw)?);
                numbers.insert(shard, shards.len() - 1);
                shards.len() - 1
            }
        };
        pick.push((number, name.as_str()));
    }
    Contents::picked(shards, &pick).unwrap_or_else(|place| {
        let (name, shard) = &weight_map[place];
        let problem = format!(
            "it says that {} has this tensor, and it has not",
            Name(shard)
        );
        Err(flaw(Flaw::damaged(problem).at(name)))
    })
}

fn open_shard(
    folder: &Path,
    shard: &str,
    flaw: impl Fn(Flaw) -> FileError,
) -> Result<Contents, FileError> {
    let inside = Path::new(shard)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || shard.is_empty() || shard.contains('\0') {
        return Err(flaw(
            Flaw::unsupported(
                "it points outside of its own folder",
                "put the files beside the index and name them so",
            )
            .at(shard),
        ));
    }
    let (contents, _) = open_one(&folder.join(shard)).map_err(|error| match error {
        FileError::Read { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            flaw(Flaw::damaged("the file is not in the folder of the index").at(shard))
        }
        other => other,
    })?;
    Ok(contents)
}
