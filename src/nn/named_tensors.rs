//! The tensors of a layer by their names.

use super::init::{self, Init};
use super::spec::refused;
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use tch::{Device, Kind, Tensor};

/// The tensors of a layer and of its children, in PyTorch's order, by their names below the layer,
/// with the initializers that the caller set.
#[derive(Debug)]
pub(crate) struct NamedTensors {
    tensors: Vec<(String, Tensor)>,
    overrides: Vec<(&'static str, Init)>,
    /// Kind and device of the model.
    options: (Kind, Device),
}

impl NamedTensors {
    pub(crate) fn new(tensors: Vec<(String, Tensor)>, options: (Kind, Device)) -> NamedTensors {
        NamedTensors {
            tensors,
            overrides: Vec::new(),
            options,
        }
    }

    /// Sets initializers by name, in which a `*` at the end matches any rest;
    /// [`init::PYTORCH_DEFAULT`] sets nothing.
    pub(super) fn with_overrides(mut self, overrides: &[(&'static str, Init)]) -> NamedTensors {
        let set = overrides
            .iter()
            .filter(|(_, init)| !init::is_pytorch_default(*init));
        self.overrides.extend(set);
        self
    }

    /// The initializer that the caller set for a tensor.
    pub(super) fn initializer(&self, name: &str) -> Option<Init> {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => pattern == name,
        };
        let mut overrides = self.overrides.iter();
        overrides.find_map(|(pattern, init)| matches(pattern).then_some(*init))
    }

    /// Replaces the tensors for which `other` has another one.
    pub(crate) fn replace(
        &mut self,
        mut other: impl FnMut(&Tensor) -> Result<Option<Tensor>, InitError>,
    ) -> Result<(), InitError> {
        for (_, tensor) in &mut self.tensors {
            if let Some(replacement) = other(tensor)? {
                *tensor = replacement;
            }
        }
        Ok(())
    }

    /// A handle to a tensor, if there is one of that name.
    pub(super) fn get(&self, name: &str) -> Option<Tensor> {
        self.tensors
            .iter()
            .find_map(|(known, tensor)| (known == name).then(|| tensor.shallow_clone()))
    }

    /// A handle to a tensor that the layer's spec has.
    pub(super) fn required(&self, kind: LayerKind, name: &str) -> Result<Tensor, InitError> {
        self.get(name)
            .ok_or_else(|| refused(kind, "parameters", format!("the layer has no {name}")))
    }

    /// The tensors below `name`, without the initializers that were set.
    pub(super) fn child(&self, name: &str) -> NamedTensors {
        let below = self.tensors.iter().filter_map(|(known, tensor)| {
            let rest = known.strip_prefix(name)?.strip_prefix('.')?;
            Some((rest.to_owned(), tensor.shallow_clone()))
        });
        NamedTensors::new(below.collect(), self.options)
    }

    /// All tensors with their names, in PyTorch's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// Kind and device of the model.
    pub(super) fn options(&self) -> (Kind, Device) {
        self.options
    }
}
