//! tch's tensors and variable stores as sources of a comparison.

use super::source::{AsTensor, SourceEntry, SourceError, TensorData, TensorSource, entry};
use crate::Dtype;
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Device, TchError, Tensor};

impl AsTensor for Tensor {
    /// Copies the elements to the CPU. Sparse and quantized tensors are an error.
    fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
        copy(self)
    }

    fn tensor_size(&self) -> u64 {
        match self.f_kind() {
            Ok(kind) if self.defined() => (self.numel() * kind.elt_size_in_bytes()) as u64,
            _ => 0,
        }
    }
}

/// A single tensor, whose name is empty.
impl TensorSource for Tensor {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        Ok(vec![entry("", self)])
    }
}

/// The trainable variables in creation order, as PyTorch's `parameters()`; then the other variables
/// by name, since tch does not record their order. Variables that share a storage, an offset and a
/// shape are one tensor to libtorch; among them, names are sorted.
impl TensorSource for VarStore {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        let entries = in_order(self)?.into_iter().map(|(name, tensor)| {
            SourceEntry::new(name, tensor.tensor_size(), move || copy(&tensor))
        });
        Ok(entries.collect())
    }
}

/// The variables in the order that [`VarStore`]'s `entries` documents.
fn in_order(vs: &VarStore) -> Result<Vec<(String, Tensor)>, SourceError> {
    let mut by_name: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    // tch lists the trainable variables without their names. Candidates have the same shape.
    let mut candidates: BTreeMap<Vec<i64>, Vec<String>> = BTreeMap::new();
    for (name, tensor) in &by_name {
        let same_shape = candidates.entry(tensor.size()).or_default();
        same_shape.push(name.clone());
    }
    let mut ordered = Vec::with_capacity(by_name.len());
    for created in vs.trainable_variables() {
        let Some(names) = candidates.get_mut(&created.size()) else {
            continue;
        };
        for position in 0..names.len() {
            // Compares storages, not addresses: those of all tensors without elements are null.
            let is_same = match by_name.get(&names[position]) {
                Some(tensor) => tensor.f_is_set_to(&created).map_err(refused)?,
                None => false,
            };
            if is_same {
                ordered.extend(by_name.remove_entry(&names.remove(position)));
                break;
            }
        }
    }
    ordered.extend(by_name);
    Ok(ordered)
}

fn copy(tensor: &Tensor) -> Result<TensorData<'static>, SourceError> {
    if !tensor.defined() {
        return Err(SourceError::new("an undefined tensor has no elements"));
    }
    let dtype = Dtype::from_kind(tensor.f_kind().map_err(refused)?).ok_or_else(|| {
        SourceError::new("a quantized tensor cannot be compared; call dequantize() first")
    })?;
    if tensor.is_sparse() {
        return Err(SourceError::new(
            "a sparse tensor cannot be compared; call to_dense() first",
        ));
    }
    let tensor = tensor
        .f_detach()
        .and_then(|tensor| tensor.f_to_device(Device::Cpu))
        .and_then(|tensor| tensor.f_resolve_conj())
        .and_then(|tensor| tensor.f_resolve_neg())
        .and_then(|tensor| tensor.f_contiguous())
        .map_err(refused)?;
    let sizes = tensor.size().into_iter().map(usize::try_from);
    // libtorch's sizes are never negative.
    let shape: Vec<usize> = sizes.map(Result::unwrap_or_default).collect();
    let mut bytes = vec![0; tensor.numel() * dtype.size()];
    tensor
        .f_copy_data_u8(&mut bytes, tensor.numel())
        .map_err(refused)?;
    Ok(TensorData::owned(dtype, &shape, bytes))
}

/// The first line of libtorch's message; a C++ backtrace follows it.
fn refused(error: TchError) -> SourceError {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    SourceError::new(format!("libtorch: {line}"))
}
