//! Making a layer: its variables, its start, what is noted of it.

use super::LayerKind;
use super::init::Init;
use super::named::Named;
use super::registry::{self, Record};
use super::start::Start;
use crate::error::{Context, InitError};
use std::ops::Range;
use std::sync::Arc;
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

/// A layer under construction, with the layers below it.
///
/// Variables are declared in the order of PyTorch's `state_dict`, started in the order of its
/// constructor, and put into the `VarStore` last: what fails leaves none behind.
pub(super) struct Build<'a> {
    root: &'a Path<'a>,
    /// The path below `root` at which variables are declared now.
    below: Vec<String>,
    declared: Vec<Declared>,
    layers: Vec<(Record, Range<usize>)>,
}

struct Declared {
    below: Vec<String>,
    name: String,
    tensor: Tensor,
    trainable: bool,
}

/// Declares a layer at `path`, starts it, and puts its variables into the `VarStore`.
///
/// `overrides` are the caller's initialisers by name; [`PYTORCH_DEFAULT`](super::init::PYTORCH_DEFAULT)
/// overrides nothing.
pub(super) fn make<'a, L>(
    path: &'a Path<'a>,
    overrides: &[(&'static str, Init)],
    declare: impl FnOnce(&mut Build<'a>) -> Result<L, InitError>,
) -> Result<L, InitError> {
    let mut build = Build {
        root: path,
        below: Vec::new(),
        declared: Vec::new(),
        layers: Vec::new(),
    };
    let layer = declare(&mut build)?;
    build.finish(overrides)?;
    Ok(layer)
}

impl<'a> Build<'a> {
    /// The kind of the `VarStore`.
    pub(super) fn kind(&self) -> Kind {
        self.root.kind()
    }

    /// The device of the `VarStore`.
    pub(super) fn device(&self) -> Device {
        self.root.device()
    }

    /// Declares a trainable parameter.
    pub(super) fn parameter(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, InitError> {
        let empty = self.empty(shape, self.kind())?;
        let leaf = empty
            .f_set_requires_grad(true)
            .context("parameter", &empty)?;
        Ok(self.declare(name, leaf, true))
    }

    /// Declares a parameter that the layer may do without.
    pub(super) fn optional_parameter(
        &mut self,
        wanted: bool,
        name: &str,
        shape: &[i64],
    ) -> Result<Option<Tensor>, InitError> {
        wanted.then(|| self.parameter(name, shape)).transpose()
    }

    /// Declares a buffer.
    pub(super) fn buffer(
        &mut self,
        name: &str,
        shape: &[i64],
        kind: Kind,
    ) -> Result<Tensor, InitError> {
        let empty = self.empty(shape, kind)?;
        Ok(self.declare(name, empty, false))
    }

    /// Declares a tensor that exists already, such as one inside a layer of tch's.
    pub(super) fn adopt(&mut self, name: &str, tensor: &Tensor, trainable: bool) -> Tensor {
        self.declare(name, tensor.shallow_clone(), trainable)
    }

    /// Declares the layer here: what `declare` declares is its own, and it returns with the layer
    /// what Python prints of the module.
    pub(super) fn layer<L>(
        &mut self,
        kind: LayerKind,
        start: Start,
        declare: impl FnOnce(&mut Build<'a>) -> Result<(L, String), InitError>,
    ) -> Result<L, InitError> {
        let first = self.declared.len();
        let (layer, repr) = declare(self)?;
        let path: Vec<&str> = self
            .root
            .components()
            .chain(self.below.iter().map(String::as_str))
            .collect();
        let record = Record {
            kind,
            path: path.join("."),
            repr,
            start,
        };
        self.layers.push((record, first..self.declared.len()));
        Ok(layer)
    }

    /// Declares what is below `name`.
    pub(super) fn child<L>(
        &mut self,
        name: impl Into<String>,
        declare: impl FnOnce(&mut Build<'a>) -> Result<L, InitError>,
    ) -> Result<L, InitError> {
        self.below.push(name.into());
        let child = declare(self);
        self.below.pop();
        child
    }

    /// What Python prints of the layer that was declared last.
    pub(super) fn last_repr(&self) -> &str {
        self.layers
            .last()
            .map_or("", |(record, _)| record.repr.as_str())
    }

    fn empty(&self, shape: &[i64], kind: Kind) -> Result<Tensor, InitError> {
        Tensor::f_empty(shape, (kind, self.root.device()))
            .map_err(|error| InitError::tch("variable", error).with_shape(shape))
    }

    fn declare(&mut self, name: &str, tensor: Tensor, trainable: bool) -> Tensor {
        self.declared.push(Declared {
            below: self.below.clone(),
            name: name.to_owned(),
            tensor: tensor.shallow_clone(),
            trainable,
        });
        tensor
    }

    fn finish(self, overrides: &[(&'static str, Init)]) -> Result<(), InitError> {
        let full_name = |declared: &Declared| {
            let parts = declared.below.iter().chain([&declared.name]);
            parts.map(String::as_str).collect::<Vec<_>>().join(".")
        };
        let named = Named::new(
            self.declared
                .iter()
                .map(|declared| (full_name(declared), declared.tensor.shallow_clone()))
                .collect(),
        )
        .with_overrides(overrides);
        // The outermost layer was declared last, and starts those below it.
        if let Some((outermost, _)) = self.layers.last() {
            outermost.start.run(&named)?;
        }
        for (record, range) in self.layers {
            let record = Arc::new(record);
            let tensors = self.declared[range].iter().map(|declared| &declared.tensor);
            registry::note(tensors, &record)?;
        }
        for declared in self.declared {
            let path = declared
                .below
                .iter()
                .fold(self.root.clone(), |path, name| path / name);
            drop(path.add(&declared.name, declared.tensor, declared.trainable));
        }
        Ok(())
    }
}

/// `True` or `False`.
pub(crate) fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// `(3, 3)`.
pub(crate) fn python_tuple(values: &[i64]) -> String {
    match values {
        [one] => format!("({one},)"),
        many => {
            let many: Vec<String> = many.iter().map(i64::to_string).collect();
            format!("({})", many.join(", "))
        }
    }
}

/// What Python prints of a module with children: their names and what it prints of them.
pub(crate) fn python_module(class: &str, children: &[(&str, &str)]) -> String {
    let mut text = format!("{class}(\n");
    for (name, child) in children {
        text.push_str(&format!("  ({name}): {}\n", child.replace('\n', "\n  ")));
    }
    text.push(')');
    text
}
