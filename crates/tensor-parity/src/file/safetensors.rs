//! Reads `safetensors`: a JSON header, followed by the elements of all tensors.

use super::error::{Name, Problem};
use super::mapped_tensors::TensorEntry;
use crate::{Dtype, TensorView};
use ::safetensors::SafeTensorError;
use ::safetensors::tensor::{Dtype as Stored, Metadata, TensorInfo};
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The limit of the format, after the safetensors crate 0.8.
const MAX_HEADER: u64 = 100_000_000;

/// Reads the tensors, sorted by the position of their elements as `safetensors.torch.load_file`
/// sorts them.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<TensorEntry>, Problem> {
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
    let start = bytes.len() - data.len();
    let entries = tensors
        .iter()
        .map(|(name, info)| entry(name, info, start, data).map_err(|problem| problem.within(name)))
        .collect::<Result<_, _>>()?;

    let end = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
    // Each tensor fits its own range; the crate checks that the ranges cover the file.
    Metadata::new(None, tensors).map_err(|error| match error {
        SafeTensorError::InvalidOffset(name) => {
            Problem::damaged("its bytes overlap those of another tensor, or leave a gap")
                .within(&name)
        }
        other => Problem::damaged(other.to_string()),
    })?;
    if end != data.len() {
        return Err(Problem::damaged(format!(
            "the header describes {end} bytes of tensors, but the file has {}",
            data.len()
        )));
    }
    Ok(entries)
}

fn entry(name: &str, info: &TensorInfo, start: usize, data: &[u8]) -> Result<TensorEntry, Problem> {
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
    // The crate's error for this does not name the tensor.
    TensorView::contiguous(dtype(info.dtype)?, &info.shape, bytes)
        .map_err(|error| Problem::damaged(error.to_string()))?;
    Ok(TensorEntry {
        name: name.to_owned(),
        dtype: dtype(info.dtype)?,
        shape: info.shape.clone(),
        strided: None,
        file: 0,
        range: start + from..start + to,
    })
}

fn dtype(stored: Stored) -> Result<Dtype, Problem> {
    Ok(match stored {
        Stored::BOOL => Dtype::Bool,
        Stored::U8 => Dtype::Uint8,
        Stored::I8 => Dtype::Int8,
        Stored::F8_E4M3 => Dtype::Float8E4m3fn,
        Stored::F8_E4M3FNUZ => Dtype::Float8E4m3fnuz,
        Stored::F8_E5M2 => Dtype::Float8E5m2,
        Stored::F8_E5M2FNUZ => Dtype::Float8E5m2fnuz,
        Stored::F8_E8M0 => Dtype::Float8E8m0fnu,
        Stored::I16 => Dtype::Int16,
        Stored::U16 => Dtype::Uint16,
        Stored::F16 => Dtype::Float16,
        Stored::BF16 => Dtype::Bfloat16,
        Stored::I32 => Dtype::Int32,
        Stored::U32 => Dtype::Uint32,
        Stored::F32 => Dtype::Float32,
        Stored::C64 => Dtype::Complex64,
        Stored::F64 => Dtype::Float64,
        Stored::I64 => Dtype::Int64,
        Stored::U64 => Dtype::Uint64,
        other => {
            return Err(Problem::unsupported(
                format!("PyTorch lacks the dtype {other:?}"),
                "save it as uint8 or a wider dtype",
            ));
        }
    })
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
