//! Reads `safetensors`: a JSON header, followed by the elements of all tensors.

use super::error::Problem;
use super::mapped_tensors::{Members, TensorEntry};
use crate::escape::Name;
use crate::{Dtype, TensorView};
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The limit of the format, after the safetensors crate 0.8.
const MAX_HEADER: u64 = 100_000_000;

/// What the header has of a tensor.
#[derive(Deserialize)]
struct TensorInfo {
    dtype: Stored,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// Reads the tensors, sorted by the position of their elements as `safetensors.torch.load_file`
/// sorts them.
pub(super) fn read(bytes: &[u8]) -> Result<Members, Problem> {
    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| {
        Problem::damaged("it ends within the first eight bytes, the length of its header")
    })?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(Problem::damaged(format!(
            "the header claims {length} bytes; the limit is {MAX_HEADER}"
        )));
    }
    let (header, data) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| {
            Problem::damaged(format!(
                "the header claims {length} bytes, but {} follow",
                rest.len()
            ))
        })?;

    let mut tensors = header_entries(header)?;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    check_layout(&tensors, data)?;
    let start = bytes.len() - data.len();
    let mut members = Members::default();
    for (name, info) in tensors {
        match check(&info, data) {
            Ok(dtype) => members.entries.push(TensorEntry {
                name,
                dtype,
                shape: info.shape,
                strided: None,
                file: 0,
                range: start + info.data_offsets.0..start + info.data_offsets.1,
            }),
            Err(problem) => members.left_out.push(problem.left_out(name)),
        }
    }
    Ok(members)
}

/// Checks that the tensors cover the file without overlaps and gaps, as safetensors requires,
/// beside those whose own description is wrong.
fn check_layout(tensors: &[(String, TensorInfo)], data: &[u8]) -> Result<(), Problem> {
    let mut end = 0;
    let mut wrong = None;
    for (name, info) in tensors {
        let (from, to) = info.data_offsets;
        if from > to {
            return Ok(());
        }
        if from != end && wrong.is_none() {
            wrong = Some(name);
        }
        end = to;
    }
    let damaged = tensors
        .iter()
        .any(|(_, info)| check(info, data).is_err_and(|problem| !problem.is_unsupported()));
    match wrong {
        // One wrong pair of offsets leaves a gap.
        Some(_) if damaged => Ok(()),
        Some(name) => Err(Problem::damaged(
            "its bytes overlap those of another tensor, or leave a gap",
        )
        .within(name)),
        None if end != data.len() => Err(Problem::damaged(format!(
            "the header describes {end} bytes of tensors, but the file has {}",
            data.len()
        ))),
        None => Ok(()),
    }
}

/// Checks that a tensor fits its bytes, and these the file.
fn check(info: &TensorInfo, data: &[u8]) -> Result<Dtype, Problem> {
    let (from, to) = info.data_offsets;
    if from > to {
        return Err(Problem::damaged(format!(
            "its bytes end at {to}, before their start at {from}"
        )));
    }
    let bytes = data.get(from..to).ok_or_else(|| {
        Problem::damaged(format!(
            "its bytes end at {to}, but the file has {} bytes of tensors",
            data.len()
        ))
    })?;
    let dtype = match &info.dtype {
        Stored::Known(dtype) => *dtype,
        Stored::Unsupported(description) => {
            return Err(Problem::unsupported(
                description.clone(),
                "save it as uint8 or a wider dtype",
            ));
        }
    };
    TensorView::contiguous(dtype, &info.shape, bytes)
        .map_err(|error| Problem::damaged(error.to_string()))?;
    Ok(dtype)
}

/// A dtype of the format.
enum Stored {
    Known(Dtype),
    /// What its elements are.
    Unsupported(String),
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Stored, D::Error> {
        let name = String::deserialize(deserializer)?;
        let mut dtypes = Dtype::ALL.into_iter();
        if let Some(dtype) = dtypes.find(|dtype| dtype.safetensors_name() == Some(&name)) {
            return Ok(Stored::Known(dtype));
        }
        Ok(Stored::Unsupported(match name.as_str() {
            "F4" => "4-bit floats".to_owned(),
            "F6_E2M3" | "F6_E3M2" => format!("6-bit floats ({name})"),
            other => format!(
                "elements of the dtype {}, which safetensors 0.8 and PyTorch 2.13 lack",
                other.chars().take(40).collect::<String>()
            ),
        }))
    }
}

/// Parses the header in its own order and with duplicate names, of which the crate's parser keeps
/// the last.
fn header_entries(header: &[u8]) -> Result<Vec<(String, TensorInfo)>, Problem> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, TensorInfo)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object that maps names to tensors")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                if name == "__metadata__" {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                let info = map
                    .next_value()
                    .map_err(|error| A::Error::custom(format!("{}: {error}", Name(&name))))?;
                entries.push((name, info));
            }
            Ok(entries)
        }
    }

    let mut json = serde_json::Deserializer::from_slice(header);
    let entries = json.deserialize_map(Entries);
    entries
        .and_then(|entries| json.end().map(|()| entries))
        .map_err(|error| Problem::damaged(format!("invalid header: {error}")))
}
