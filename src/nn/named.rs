//! The tensors of a layer by their names, and how each is filled.

use super::init::{self, Init};
use crate::error::InitError;
use tch::Tensor;

/// The tensors of a layer and of the layers below it, in PyTorch's order, under names relative to
/// the layer, with the initialisers that the caller set.
#[derive(Debug, Default)]
pub(crate) struct Named {
    tensors: Vec<(String, Tensor)>,
    overrides: Vec<(&'static str, Init)>,
}

impl Named {
    pub(crate) fn new(tensors: Vec<(String, Tensor)>) -> Named {
        Named {
            tensors,
            overrides: Vec::new(),
        }
    }

    /// Sets initialisers by name, a `*` at the end standing for any rest;
    /// [`init::PYTORCH_DEFAULT`] sets nothing.
    pub(super) fn with_overrides(mut self, overrides: &[(&'static str, Init)]) -> Named {
        let set = overrides
            .iter()
            .filter(|(_, init)| !init::is_pytorch_default(*init));
        self.overrides.extend(set);
        self
    }

    /// A handle to a tensor, if there is one of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Tensor> {
        self.tensors
            .iter()
            .find_map(|(known, tensor)| (known == name).then(|| tensor.shallow_clone()))
    }

    /// Fills a tensor, if there is one of that name, by the caller's initialiser or else by
    /// `default`.
    pub(super) fn fill(
        &self,
        name: &str,
        default: impl FnOnce(&mut Tensor) -> Result<(), InitError>,
    ) -> Result<(), InitError> {
        let Some(mut tensor) = self.get(name) else {
            return Ok(());
        };
        let meant = |known: &str| match known.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => known == name,
        };
        match self.overrides.iter().find(|(known, _)| meant(known)) {
            Some((_, init)) => init::fill(&mut tensor, *init),
            None => default(&mut tensor),
        }
    }

    /// The tensors below `name`, without the initialisers that were set.
    pub(super) fn child(&self, name: &str) -> Named {
        let below = self.tensors.iter().filter_map(|(known, tensor)| {
            let rest = known.strip_prefix(name)?.strip_prefix('.')?;
            Some((rest.to_owned(), tensor.shallow_clone()))
        });
        Named::new(below.collect())
    }

    /// All tensors with their names, in PyTorch's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t))
    }
}
