//! A layer of a `VarStore`.

use super::error::VisitError;
use super::infer::inferred;
use crate::error::InitError;
use crate::generator::Generator;
use crate::nn::named_tensors::NamedTensors;
use crate::nn::registry::Record;
use crate::nn::reset::reset;
use crate::nn::{LayerKind, LayerSpec, VariableShapes};
use std::sync::Arc;
use tch::Tensor;

/// A layer of a `VarStore`: its path, its kind, its parameters and its buffers.
///
/// The tensors are handles: filling them fills the `VarStore`'s.
#[derive(Debug)]
pub struct Layer<'g> {
    path: String,
    /// One spec if the layer is known, several if it is ambiguous, none for other variables.
    specs: Vec<LayerSpec>,
    /// The kinds of the specs.
    candidates: Vec<LayerKind>,
    /// The record of a layer that this crate made, and of the outermost layer that contains it.
    records: Option<[Arc<Record>; 2]>,
    parameters: Vec<(String, Tensor)>,
    buffers: Vec<(String, Tensor)>,
    /// Its tensors and those of the layers below it.
    all: NamedTensors,
    /// The generator of the walk.
    pub(super) generator: Option<&'g mut Generator>,
}

impl Layer<'_> {
    pub(super) fn new(
        path: String,
        records: Option<[Arc<Record>; 2]>,
        parameters: Vec<(String, Tensor)>,
        buffers: Vec<(String, Tensor)>,
        all: NamedTensors,
    ) -> Self {
        let specs = match &records {
            Some([record, _]) => vec![record.spec.clone()],
            None => inferred(&VariableShapes {
                parameters: &shapes(&parameters),
                buffers: &shapes(&buffers),
            }),
        };
        Layer {
            path,
            candidates: specs.iter().map(LayerSpec::kind).collect(),
            specs,
            records,
            parameters,
            buffers,
            all,
            generator: None,
        }
    }

    /// The path of the layer, with dots; empty for variables at the root. A layer made at a path
    /// that was taken has the `__N` that tch gave its first variable at the end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The kind of the layer, if it is known.
    pub fn kind(&self) -> Option<LayerKind> {
        match self.candidates[..] {
            [kind] => Some(kind),
            _ => None,
        }
    }

    /// The kinds that the variables fit: one if the kind is known, none for variables that are not
    /// of a known layer.
    pub fn candidates(&self) -> &[LayerKind] {
        &self.candidates
    }

    /// The layer's own trainable variables with their names, in PyTorch's order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// The same, to be filled.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = (&str, &mut Tensor)> {
        self.parameters
            .iter_mut()
            .map(|(name, t)| (name.as_str(), t))
    }

    /// The layer's own other variables with their names, in PyTorch's order.
    pub fn buffers(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.buffers.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// A parameter or buffer by its name.
    pub fn variable(&self, name: &str) -> Option<&Tensor> {
        self.parameters
            .iter()
            .chain(&self.buffers)
            .find_map(|(known, tensor)| (known == name).then_some(tensor))
    }

    /// A parameter or buffer by its name, to be filled.
    pub fn variable_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        self.parameters
            .iter_mut()
            .chain(&mut self.buffers)
            .find_map(|(known, tensor)| (known == name).then_some(tensor))
    }

    /// Fills a parameter or buffer, if the layer has one of that name. `fill` gets the generator of
    /// the walk, or `None` for the default stream.
    ///
    /// # Errors
    ///
    /// The error of `fill`.
    ///
    /// ```
    /// use tch_init::{Generator, Walk, init, nn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vs = nn::VarStore::new(tch::Device::Cpu);
    /// nn::f_linear(vs.root() / "fc", 4, 2, Default::default())?;
    /// let mut generator = Generator::new(tch::Device::Cpu)?;
    /// Walk::new().generator(&mut generator).apply(&vs, |layer| {
    ///     layer.fill("weight", |weight, generator| {
    ///         init::xavier_uniform_(weight, 1.0, generator)
    ///     })
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fill(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut Tensor, Option<&mut Generator>) -> Result<(), InitError>,
    ) -> Result<(), InitError> {
        let mut variables = self.parameters.iter_mut().chain(&mut self.buffers);
        match variables.find(|(known, _)| known == name) {
            Some((_, tensor)) => fill(tensor, self.generator.as_deref_mut()),
            None => Ok(()),
        }
    }

    /// Fills every parameter of the layer, in PyTorch's order. `fill` gets its name and the
    /// generator of the walk, or `None` for the default stream.
    ///
    /// # Errors
    ///
    /// The first error of `fill`.
    pub fn fill_parameters(
        &mut self,
        mut fill: impl FnMut(&str, &mut Tensor, Option<&mut Generator>) -> Result<(), InitError>,
    ) -> Result<(), InitError> {
        self.parameters
            .iter_mut()
            .try_for_each(|(name, tensor)| fill(name, tensor, self.generator.as_deref_mut()))
    }

    /// The parameter `weight`, to be filled.
    pub fn weight_mut(&mut self) -> Option<&mut Tensor> {
        self.variable_mut("weight")
    }

    /// The parameter `bias`, to be filled.
    pub fn bias_mut(&mut self) -> Option<&mut Tensor> {
        self.variable_mut("bias")
    }

    /// Initializes the layer and its children again as PyTorch's constructor does, whatever
    /// initializer it was made with, from the generator of the walk or the default stream. A layer
    /// of unknown kind is left alone.
    ///
    /// # Errors
    ///
    /// [`InitError`] if a parameter cannot be filled.
    pub fn reset_parameters(&mut self) -> Result<(), InitError> {
        match self.specs.first() {
            Some(spec) => reset(spec, &self.all, self.generator.as_deref_mut()),
            None => Ok(()),
        }
    }

    /// The row that an embedding keeps zero, if this crate made it with one.
    pub(crate) fn padding_idx(&self) -> Option<i64> {
        self.specs.first()?.padding_idx()
    }

    /// Whether all candidates have the same initialization.
    pub(super) fn same_init(&self) -> bool {
        let mut pairs = self.specs.windows(2);
        pairs.all(|pair| pair[0].init() == pair[1].init())
    }

    /// Whether another layer contains this one, and initializes and prints it.
    pub(crate) fn is_within_another(&self) -> bool {
        self.records
            .as_ref()
            .is_some_and(|[own, outermost]| !Arc::ptr_eq(own, outermost))
    }

    pub(super) fn settle(&mut self, kind: LayerKind) -> Result<(), VisitError> {
        let spec = match &self.records {
            Some([record, _]) if record.spec.kind() == kind => Some(record.spec.clone()),
            Some(_) => None,
            None => LayerSpec::infer(
                kind,
                &VariableShapes {
                    parameters: &shapes(&self.parameters),
                    buffers: &shapes(&self.buffers),
                },
            ),
        };
        if let Some(spec) = spec {
            self.specs = vec![spec];
            self.candidates = vec![kind];
            return Ok(());
        }
        Err(VisitError::Contradiction {
            path: self.path.clone(),
            kind,
            variables: self.variables_in_words(),
        })
    }

    pub(super) fn prefer(&mut self, preferred: &[LayerKind]) {
        if let Some(kind) = preferred.iter().find(|kind| self.candidates.contains(kind)) {
            self.specs.retain(|spec| spec.kind() == *kind);
            self.candidates = vec![*kind];
        }
    }

    pub(super) fn ambiguous(&self) -> VisitError {
        VisitError::Ambiguous {
            path: self.path.clone(),
            candidates: self.candidates.clone(),
        }
    }

    pub(super) fn variables_in_words(&self) -> String {
        let words: Vec<String> = self
            .parameters()
            .chain(self.buffers())
            .map(|(name, tensor)| format!("{name} {:?}", tensor.size()))
            .collect();
        words.join(", ")
    }

    /// The module as Python prints it, if its kind is known.
    pub(crate) fn repr(&self) -> Option<&str> {
        match &self.specs[..] {
            [spec] => Some(spec.repr()),
            _ => None,
        }
    }
}

fn shapes(variables: &[(String, Tensor)]) -> Vec<(&str, Vec<i64>)> {
    variables
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.size()))
        .collect()
}
