//! Reads an index of shards, `*.safetensors.index.json`: a map from tensor names to files.

use super::error::{FileError, Problem};
use super::format::Format;
use super::mapped_tensors::MappedTensors;
use super::single_file;
use crate::escape::Name;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Component, Path};

/// The limit that safetensors sets for its header.
const MAX_LENGTH: usize = 100_000_000;

#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Names and files in the order of the index, including duplicates.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WeightMap, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that maps names of tensors to names of files")
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

/// Parses an index into its names and files.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    if bytes.len() > MAX_LENGTH {
        return Err(Problem::unknown(format!("JSON of {} bytes", bytes.len())));
    }
    match serde_json::from_slice::<Index>(bytes) {
        Ok(index) => Ok(index.weight_map.0),
        Err(error) if error.is_eof() => Err(Problem::damaged(error.to_string())),
        Err(error) => Err(Problem::unknown(format!("text, but not an index: {error}"))),
    }
}

/// Reads the tensors that the index at `path` lists, in its order. Other tensors of its files are
/// left out.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<MappedTensors, FileError> {
    let in_index = |problem: Problem| problem.in_file(path, Format::Index);
    let weight_map = parse(bytes).map_err(in_index)?;
    let mut names = HashSet::new();
    if let Some((duplicate, _)) = weight_map.iter().find(|(name, _)| !names.insert(name)) {
        return Err(in_index(Problem::duplicate(duplicate)));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut shards = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut selection = Vec::new();
    for (name, shard) in &weight_map {
        let number = match numbers.get(shard.as_str()) {
            Some(number) => *number,
            None => {
                shards.push(open_shard(folder, shard, in_index)?);
                numbers.insert(shard, shards.len() - 1);
                shards.len() - 1
            }
        };
        selection.push((number, name.as_str()));
    }
    MappedTensors::selected(shards, &selection).unwrap_or_else(|missing| {
        let (name, shard) = &weight_map[missing];
        let problem = format!("{} lacks this tensor of the index", Name(shard));
        Err(in_index(Problem::damaged(problem).within(name)))
    })
}

fn open_shard(
    folder: &Path,
    shard: &str,
    in_index: impl Fn(Problem) -> FileError,
) -> Result<MappedTensors, FileError> {
    let inside = Path::new(shard)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside || shard.is_empty() || shard.contains('\0') {
        return Err(in_index(
            Problem::unsupported(
                "the path leads out of the directory of the index",
                "put the shards next to the index and list them by name",
            )
            .within(shard),
        ));
    }
    let (tensors, _) = single_file::open(&folder.join(shard)).map_err(|error| match error {
        FileError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            in_index(Problem::damaged("the file does not exist next to the index").within(shard))
        }
        other => other,
    })?;
    Ok(tensors)
}
