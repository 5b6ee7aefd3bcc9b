//! Makes the variables of a layer from its spec.
//!
//! Variables are allocated in the order of PyTorch's `state_dict`, initialized in the order of its
//! constructor, and put into the `VarStore` last, so that a failure leaves the `VarStore` as it
//! was.

use super::init::Init;
use super::named_tensors::NamedTensors;
use super::registry::{self, Record};
use super::reset::reset;
use super::spec::{LayerSpec, join};
use crate::error::{Context, InitError};
use std::sync::Arc;
use tch::nn::Path;
use tch::{Kind, Tensor};
use tensor_parity::Dtype;

/// Makes a layer at `path`: allocates, initializes and registers its variables.
///
/// `overrides` are the caller's initializers by name;
/// [`PYTORCH_DEFAULT`](super::init::PYTORCH_DEFAULT) overrides nothing.
pub(super) fn build(
    path: &Path<'_>,
    spec: &LayerSpec,
    overrides: &[(&'static str, Init)],
) -> Result<NamedTensors, InitError> {
    let tensors = allocate(path, spec)?;
    initialize(path, spec, tensors, overrides)
}

/// The variables of a layer, without values.
pub(super) fn allocate(path: &Path<'_>, spec: &LayerSpec) -> Result<NamedTensors, InitError> {
    let (kind, device) = (path.kind(), path.device());
    let tensors = spec.variables().map(|(name, variable)| {
        let shape = variable.shape();
        let kind = match variable.dtype() {
            Some(dtype) => fixed_kind(dtype)?,
            None => kind,
        };
        let empty = Tensor::f_empty(shape, (kind, device))
            .map_err(|error| InitError::tch("variable", error).with_shape(shape))?;
        if !variable.is_parameter() {
            return Ok((name, empty));
        }
        let leaf = empty
            .f_set_requires_grad(true)
            .context("parameter", &empty)?;
        Ok((name, leaf))
    });
    let tensors = tensors.collect::<Result<_, InitError>>()?;
    Ok(NamedTensors::new(tensors, (kind, device)))
}

/// Initializes the variables of a layer, notes what they belong to, and puts them into the
/// `VarStore`.
pub(super) fn initialize(
    path: &Path<'_>,
    spec: &LayerSpec,
    tensors: NamedTensors,
    overrides: &[(&'static str, Init)],
) -> Result<NamedTensors, InitError> {
    let tensors = tensors.with_overrides(overrides);
    reset(spec, &tensors, None)?;
    let root = path.components().collect::<Vec<_>>().join(".");
    register(spec, &root, &tensors)?;
    for ((name, tensor), (_, variable)) in tensors.iter().zip(spec.variables()) {
        let mut components: Vec<&str> = name.split('.').collect();
        let name = components.pop().unwrap_or_default();
        let below = components
            .into_iter()
            .fold(path.clone(), |path, component| path / component);
        drop(below.add(name, tensor.shallow_clone(), variable.is_parameter()));
    }
    Ok(tensors)
}

/// Notes which layer each tensor belongs to, children before their parents.
fn register(spec: &LayerSpec, path: &str, tensors: &NamedTensors) -> Result<(), InitError> {
    for (name, child) in spec.children() {
        register(child, &join(path, name), &tensors.child(name))?;
    }
    let record = Arc::new(Record {
        path: path.to_owned(),
        spec: spec.clone(),
    });
    registry::note(tensors.iter().map(|(_, tensor)| tensor), &record)
}

/// The kind of a buffer whose dtype does not depend on the model's.
fn fixed_kind(dtype: Dtype) -> Result<Kind, InitError> {
    dtype
        .kind()
        .ok_or_else(|| InitError::libtorch("variable", &format!("tch has no kind for {dtype}")))
}
