//! Parameters and buffers in a `VarStore`.

use super::LayerKind;
use super::registry::{self, Record};
use crate::error::{Context, InitError};
use tch::nn::{Path, VarStore};
use tch::{Device, Kind, Tensor};

/// A layer under construction: makes its variables in order and notes them when done.
pub(super) struct Variables<'a> {
    path: &'a Path<'a>,
    function: &'static str,
    made: Vec<Tensor>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(path: &'a Path<'a>, function: &'static str) -> Variables<'a> {
        Variables {
            path,
            function,
            made: Vec::new(),
        }
    }

    /// A trainable parameter, not yet initialised, of the `VarStore`'s kind.
    pub(super) fn parameter(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, InitError> {
        let empty = self.empty(shape, self.path.kind())?;
        let leaf = empty
            .f_set_requires_grad(true)
            .context(self.function, &empty)?;
        Ok(self.add(name, leaf, true))
    }

    /// A parameter that the layer may do without.
    pub(super) fn optional_parameter(
        &mut self,
        wanted: bool,
        name: &str,
        shape: &[i64],
    ) -> Result<Option<Tensor>, InitError> {
        wanted.then(|| self.parameter(name, shape)).transpose()
    }

    /// A buffer, not yet initialised.
    pub(super) fn buffer(
        &mut self,
        name: &str,
        shape: &[i64],
        kind: Kind,
    ) -> Result<Tensor, InitError> {
        let empty = self.empty(shape, kind)?;
        Ok(self.add(name, empty, false))
    }

    fn empty(&self, shape: &[i64], kind: Kind) -> Result<Tensor, InitError> {
        Tensor::f_empty(shape, (kind, self.path.device())).map_err(|error| {
            InitError::libtorch(
                self.function,
                &format!("{error} (variable of shape {shape:?})"),
            )
        })
    }

    fn add(&mut self, name: &str, tensor: Tensor, trainable: bool) -> Tensor {
        let added = self.path.add(name, tensor, trainable);
        self.made.push(added.shallow_clone());
        added
    }

    /// Notes the layer for the walk of its `VarStore`.
    pub(super) fn done(self, kind: LayerKind, extra_repr: String) -> Result<(), InitError> {
        let path = self.path.components().collect::<Vec<_>>().join(".");
        let record = Record {
            kind,
            path,
            extra_repr,
        };
        registry::record(&self.made, record)
    }
}

/// A layer of tch's type with placeholder tensors, which the caller replaces.
///
/// tch's layer types have private fields, so only tch's constructors make them; given this
/// `VarStore` and a constant initialisation they draw nothing and leave the user's alone.
pub(super) fn placeholder<L>(make: impl FnOnce(&Path<'_>) -> L) -> L {
    let scratch = VarStore::new(Device::Cpu);
    make(&scratch.root())
}

/// `True` or `False`.
pub(super) fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// `(3, 3)`.
pub(super) fn python_tuple(values: &[i64]) -> String {
    match values {
        [one] => format!("({one},)"),
        many => {
            let many: Vec<String> = many.iter().map(i64::to_string).collect();
            format!("({})", many.join(", "))
        }
    }
}

/// What `_ConvNd.__init__` demands of channels and groups.
pub(super) fn check_channels(
    kind: LayerKind,
    in_channels: i64,
    out_channels: i64,
    groups: i64,
) -> Result<(), InitError> {
    if groups > 0 && in_channels % groups == 0 && out_channels % groups == 0 {
        return Ok(());
    }
    Err(InitError::Channels {
        kind: kind.name(),
        in_channels,
        out_channels,
        groups,
    })
}
