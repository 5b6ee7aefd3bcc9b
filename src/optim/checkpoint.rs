//! The state of an optimizer in files: those of `torch.save`, and safetensors files.

use super::error::OptimError;
use super::rule::OptionValue;
use super::state_dict::{GroupState, StateDict};
use crate::file::{Format, NewFile, PlainValue, TensorFile};
use crate::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use tch::{Device, Tensor};

/// The key of the groups in the metadata of a safetensors file.
const GROUPS: &str = "param_groups";

impl StateDict {
    /// Reads a state from a file: of [`save`](StateDict::save), or of `torch.save(optimizer.state_dict(), path)` in PyTorch
    /// 1.6 and later. No code of the file is run.
    ///
    /// `key` names the state in a checkpoint that has more, such as `torch.save({"model": .., "optimizer": ..}, path)`;
    /// a dot separates the keys of nested dictionaries.
    ///
    /// # Errors
    ///
    /// [`OptimError::File`] for a file that cannot be read or is not such a state, and for tensors in it that cannot be
    /// read, such as sparse ones.
    pub fn read(path: impl AsRef<Path>, key: Option<&str>) -> Result<StateDict, OptimError> {
        let path = path.as_ref();
        let file = TensorFile::open(path).map_err(|error| refuse(path, "", &error))?;
        if matches!(file.format(), Format::Safetensors) {
            return read_safetensors(path, &file);
        }
        let root = PlainValue::read(path).map_err(|error| refuse(path, "", &error))?;
        let mut dict = Some(&root);
        for part in key.into_iter().flat_map(|key| key.split('.')) {
            dict = dict.and_then(|dict| dict.get(part));
        }
        let prefix = key.map(|key| format!("{key}.")).unwrap_or_default();
        let entry = |name: &str| dict.and_then(|dict| dict.get(name));
        let (Some(PlainValue::Dict(state)), Some(PlainValue::List(groups))) =
            (entry("state"), entry(GROUPS))
        else {
            let place = key.map(|key| format!(" at {key:?}")).unwrap_or_default();
            let reason = format!("it has no state_dict of an optimizer{place}");
            return Err(refuse(path, &reason, &""));
        };
        let mut read = StateDict::default();
        for (number, entries) in state {
            let (PlainValue::Int(number), PlainValue::Dict(entries)) = (number, entries) else {
                return Err(refuse(
                    path,
                    "its state is not one of numbered parameters",
                    &"",
                ));
            };
            let mut tensors = Vec::new();
            for (name, value) in entries {
                let PlainValue::Text(name) = name else {
                    return Err(refuse(path, "its state has a name that is not text", &""));
                };
                let full = format!("{prefix}state.{number}.{name}");
                let tensor = match value {
                    PlainValue::Tensor => tensor(path, &file, &full)?,
                    // `step` in checkpoints of before PyTorch 1.12.
                    PlainValue::Int(step) => Tensor::from(*step as f32),
                    PlainValue::Float(step) => Tensor::from(*step as f32),
                    // SGD without momentum, in older versions.
                    PlainValue::None => continue,
                    _ => return Err(refuse(path, &format!("{full} is not a tensor"), &"")),
                };
                tensors.push((name.clone(), tensor));
            }
            let number = usize::try_from(*number)
                .map_err(|error| refuse(path, "its state has a negative number", &error))?;
            read.state.push((number, tensors));
        }
        for group in groups {
            let group = option(group);
            let unreadable = || refuse(path, "a group has a value that is not plain data", &"");
            match group {
                Some(OptionValue::Dict(entries)) => {
                    read.param_groups
                        .push(group_of(entries).ok_or_else(unreadable)?);
                }
                _ => return Err(unreadable()),
            }
        }
        Ok(read)
    }

    /// Writes the state to a safetensors file, with the groups as JSON in its metadata. Five lines of Python read it:
    /// see the page `docs/training.md`.
    ///
    /// The file is written under a temporary name and renamed.
    ///
    /// # Errors
    ///
    /// [`OptimError::File`] if it cannot be written, and for options that JSON lacks: infinities and NaN.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), OptimError> {
        let path = path.as_ref();
        let mut groups = Vec::new();
        for group in &self.param_groups {
            let mut object = serde_json::Map::new();
            for (name, value) in &group.options {
                let reason = format!("{name} = {value:?} cannot be written as JSON");
                let value = json(value).ok_or_else(|| refuse(path, &reason, &""))?;
                object.insert(name.clone(), value);
            }
            object.insert("params".to_owned(), Value::from(group.params.clone()));
            groups.push(Value::Object(object));
        }
        let metadata = BTreeMap::from([
            ("format", "pt".to_owned()),
            (GROUPS, Value::from(groups).to_string()),
        ]);
        let mut tensors = Vec::new();
        for (number, entries) in &self.state {
            for (name, tensor) in entries {
                let full = format!("{number}.{name}");
                let tensor = dense(path, &full, tensor)?;
                tensors.push((full, tensor));
            }
        }
        // The largest elements first, so that all are aligned.
        tensors.sort_by_key(|(_, (dtype, _, _))| std::cmp::Reverse(dtype.size()));
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
        let mut offset = 0;
        for (name, (dtype, shape, bytes)) in &tensors {
            let dtype = dtype.safetensors_name().ok_or_else(|| {
                refuse(
                    path,
                    &format!("{name} has a dtype that safetensors lacks"),
                    &"",
                )
            })?;
            let end = offset + bytes.len();
            let entry =
                serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
            header.insert(name.clone(), entry);
            offset = end;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let write = || -> std::io::Result<u64> {
            let mut file = NewFile::create(path)?;
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            for (_, (_, _, bytes)) in &tensors {
                file.write_all(bytes)?;
            }
            file.finish()
        };
        write().map_err(|error| refuse(path, "", &error))?;
        Ok(())
    }
}

fn refuse(path: &Path, reason: &str, cause: &dyn Display) -> OptimError {
    let cause = cause.to_string();
    let message = match (reason.is_empty(), cause.is_empty()) {
        (true, _) => cause,
        (false, true) => reason.to_owned(),
        (false, false) => format!("{reason}: {cause}"),
    };
    OptimError::File {
        path: path.to_owned(),
        message,
    }
}

fn tensor(path: &Path, file: &TensorFile, name: &str) -> Result<Tensor, OptimError> {
    let Some(view) = file.get(name) else {
        let mut left_out = file.left_out().iter();
        let reason = match left_out.find(|left| left.name == name) {
            Some(left) => left.to_string(),
            None => format!("{name} is not in the file"),
        };
        return Err(refuse(path, &reason, &""));
    };
    from_view(path, name, &view)
}

fn from_view(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Tensor, OptimError> {
    let unreadable = || refuse(path, &format!("{name} has a dtype that tch lacks"), &"");
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    let kind = view.dtype().kind().ok_or_else(unreadable)?;
    Ok(Tensor::f_from_data_size(&view.to_bytes(), &shape, kind)?)
}

fn read_safetensors(path: &Path, file: &TensorFile) -> Result<StateDict, OptimError> {
    let missing = || {
        refuse(
            path,
            "its metadata has no param_groups: it is not the state of an optimizer",
            &"",
        )
    };
    let groups = metadata(path).map_err(|error| refuse(path, "", &error))?;
    let groups: Value = groups
        .and_then(|groups| serde_json::from_str(&groups).ok())
        .ok_or_else(missing)?;
    let mut read = StateDict::default();
    for group in groups.as_array().ok_or_else(missing)? {
        match option_of_json(group) {
            OptionValue::Dict(entries) => read
                .param_groups
                .push(group_of(entries).ok_or_else(missing)?),
            _ => return Err(missing()),
        }
    }
    let mut state: BTreeMap<usize, Vec<(String, Tensor)>> = BTreeMap::new();
    for (name, view) in file.iter() {
        let parts = name.split_once('.');
        let Some((Ok(number), entry)) = parts.map(|(number, entry)| (number.parse(), entry)) else {
            return Err(refuse(
                path,
                &format!("{name:?} is not a number and a name"),
                &"",
            ));
        };
        let tensor = from_view(path, name, &view)?;
        state
            .entry(number)
            .or_default()
            .push((entry.to_owned(), tensor));
    }
    read.state = state.into_iter().collect();
    Ok(read)
}

/// The groups in the metadata of a safetensors file whose header is valid.
fn metadata(path: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length))
        .read_to_end(&mut header)?;
    let header: Value = serde_json::from_slice(&header)?;
    Ok(header["__metadata__"][GROUPS].as_str().map(str::to_owned))
}

/// The dtype, shape and elements of a tensor.
fn dense(
    path: &Path,
    name: &str,
    tensor: &Tensor,
) -> Result<(Dtype, Vec<i64>, Vec<u8>), OptimError> {
    if tensor.is_sparse() {
        return Err(refuse(
            path,
            &format!("{name} is sparse, which safetensors lacks"),
            &"",
        ));
    }
    let tensor = tensor
        .f_detach()?
        .f_to_device(Device::Cpu)?
        .f_contiguous()?;
    let dtype = Dtype::from_kind(tensor.kind()).ok_or_else(|| {
        refuse(
            path,
            &format!("{name} has a dtype that safetensors lacks"),
            &"",
        )
    })?;
    let mut bytes = vec![0; tensor.numel() * dtype.size()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok((dtype, tensor.size(), bytes))
}

fn group_of(entries: Vec<(String, OptionValue)>) -> Option<GroupState> {
    let mut group = GroupState::default();
    for (name, value) in entries {
        if name == "params" {
            let OptionValue::List(numbers) = value else {
                return None;
            };
            let number = |value: OptionValue| match value {
                OptionValue::Int(number) => usize::try_from(number).ok(),
                _ => None,
            };
            group.params = numbers.into_iter().map(number).collect::<Option<_>>()?;
        } else {
            group.options.push((name, value));
        }
    }
    Some(group)
}

fn option(value: &PlainValue) -> Option<OptionValue> {
    Some(match value {
        PlainValue::None => OptionValue::None,
        PlainValue::Bool(value) => OptionValue::Bool(*value),
        PlainValue::Int(value) => OptionValue::Int(*value),
        PlainValue::Float(value) => OptionValue::Float(*value),
        PlainValue::Text(value) => OptionValue::Text(value.clone()),
        PlainValue::List(values) => {
            OptionValue::List(values.iter().map(option).collect::<Option<_>>()?)
        }
        PlainValue::Dict(items) => {
            let entry = |(key, value): &(PlainValue, PlainValue)| match key {
                PlainValue::Text(key) => Some((key.clone(), option(value)?)),
                _ => None,
            };
            OptionValue::Dict(items.iter().map(entry).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn option_of_json(value: &Value) -> OptionValue {
    match value {
        Value::Null => OptionValue::None,
        Value::Bool(value) => OptionValue::Bool(*value),
        Value::Number(value) => match value.as_i64() {
            Some(value) => OptionValue::Int(value),
            None => OptionValue::Float(value.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(value) => OptionValue::Text(value.clone()),
        Value::Array(values) => OptionValue::List(values.iter().map(option_of_json).collect()),
        Value::Object(entries) => {
            let entries = entries.iter();
            OptionValue::Dict(
                entries
                    .map(|(key, value)| (key.clone(), option_of_json(value)))
                    .collect(),
            )
        }
    }
}

fn json(value: &OptionValue) -> Option<Value> {
    Some(match value {
        OptionValue::None => Value::Null,
        OptionValue::Bool(value) => (*value).into(),
        OptionValue::Int(value) => (*value).into(),
        OptionValue::Float(value) => Value::Number(serde_json::Number::from_f64(*value)?),
        OptionValue::Text(value) => value.clone().into(),
        OptionValue::List(values) => Value::Array(values.iter().map(json).collect::<Option<_>>()?),
        OptionValue::Dict(entries) => {
            let entry = |(name, value): &(String, OptionValue)| Some((name.clone(), json(value)?));
            Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}
