//! `safetensors`: a JSON header, then the tensors one after the other.

use super::error::{Flaw, Name};
use super::mapped_tensors::Entry;
use crate::{Dtype, TensorView};
use ::safetensors::SafeTensorError;
use ::safetensors::tensor::{Dtype as Stored, Metadata, TensorInfo};
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The limit of the format, as the safetensors crate 0.8 has it.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors, sorted by their place in the file, as `safetensors.torch.load_file` yields them.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, Flaw> {
    let (length, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| Flaw::damaged("it ends within the length of its header"))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(Flaw::damaged(format!(
            "it claims a header of {length} bytes, the format allows {MAX_HEADER}"
        )));
    }
    let (header, data) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| {
            Flaw::damaged(format!(
                "it claims a header of {length} bytes, {} follow",
                rest.len()
            ))
        })?;

    let mut tensors = header_entries(header)?;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let start = bytes.len() - data.len();
    let entries = tensors
        .iter()
        .map(|(name, info)| entry(name, info, start, data).map_err(|flaw| flaw.at(name)))
        .collect::<Result<_, _>>()?;

    let end = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
    // Now that every tensor fits its own bytes, the crate says whether they fill the file.
    Metadata::new(None, tensors).map_err(|error| match error {
        SafeTensorError::InvalidOffset(name) => {
            Flaw::damaged("its bytes overlap those of another tensor, or leave a gap").at(&name)
        }
        other => Flaw::damaged(other.to_string()),
    })?;
    if end != data.len() {
        return Err(Flaw::damaged(format!(
            "its header describes {end} bytes of tensors, the file has {}",
            data.len()
        )));
    }
    Ok(entries)
}

fn entry(name: &str, info: &TensorInfo, start: usize, data: &[u8]) -> Result<Entry, Flaw> {
    let (from, to) = info.data_offsets;
    if from > to {
        return Err(Flaw::damaged(format!(
            "its bytes end at {to}, before they start at {from}"
        )));
    }
    let bytes = data.get(from..to).ok_or_else(|| {
        Flaw::damaged(format!(
            "its bytes end at {to}, the file has {} bytes of tensors",
            data.len()
        ))
    })?;
    // The crate would say the same without a name.
    TensorView::contiguous(dtype(info.dtype)?, &info.shape, bytes)
        .map_err(|error| Flaw::damaged(error.to_string()))?;
    Ok(Entry {
        name: name.to_owned(),
        dtype: dtype(info.dtype)?,
        shape: info.shape.clone(),
        strided: None,
        blob: 0,
        range: start + from..start + to,
    })
}

fn dtype(stored: Stored) -> Result<Dtype, Flaw> {
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
            return Err(Flaw::unsupported(
                format!("PyTorch has no elements of the dtype {other:?}"),
                "save it as uint8 or as a wider dtype",
            ));
        }
    })
}

/// The header in its own order, with every name, where the crate's map keeps the last of two.
fn header_entries(header: &[u8]) -> Result<Vec<(String, TensorInfo)>, Flaw> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, TensorInfo)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with a tensor under each name")
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
        .map_err(|error| Flaw::damaged(format!("its header: {error}")))
}
