//! A layer of a `VarStore`.

use super::error::VisitError;
use super::infer::inferred;
use crate::error::{Context, InitError};
use crate::generator::Generator;
use crate::nn::named_tensors::NamedTensors;
use crate::nn::registry::{Record, identity};
use crate::nn::reset::reset;
use crate::nn::{LayerKind, LayerSpec, VariableShapes};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tch::Tensor;

/// A layer of a `VarStore`: its path, its kind, its parameters and its buffers.
///
/// The tensors are handles: filling them fills the `VarStore`'s.
#[derive(Debug)]
pub struct Layer<'g> {
    path: String,
    /// The path without the number that tells it from others.
    module: String,
    /// Whether other layers have this path.
    shares_path: bool,
    /// The names of its own variables in the `VarStore`.
    full_names: Vec<String>,
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
    /// Whether anything that depends on the kind was asked.
    asked: AtomicBool,
    /// Variables of no layer that a recipe knows nothing of, with their full names.
    unclaimed: Vec<String>,
}

/// What a layer is made of.
pub(super) struct Parts {
    pub(super) path: String,
    pub(super) module: String,
    pub(super) shares_path: bool,
    pub(super) full_names: Vec<String>,
    pub(super) records: Option<[Arc<Record>; 2]>,
    pub(super) parameters: Vec<(String, Tensor)>,
    pub(super) buffers: Vec<(String, Tensor)>,
    pub(super) all: NamedTensors,
}

impl Layer<'_> {
    pub(super) fn new(parts: Parts) -> Self {
        let specs = match &parts.records {
            Some([record, _]) => vec![record.spec.clone()],
            None => inferred(&VariableShapes {
                parameters: &shapes(&parts.parameters),
                buffers: &shapes(&parts.buffers),
            }),
        };
        Layer {
            path: parts.path,
            module: parts.module,
            shares_path: parts.shares_path,
            full_names: parts.full_names,
            candidates: specs.iter().map(LayerSpec::kind).collect(),
            specs,
            records: parts.records,
            parameters: parts.parameters,
            buffers: parts.buffers,
            all: parts.all,
            generator: None,
            asked: AtomicBool::new(false),
            unclaimed: Vec::new(),
        }
    }

    /// The path of the layer, with dots; empty for variables at the root. A layer made at a path
    /// that was taken has the `__N` that tch gave its first variable at the end. Layers at one path
    /// whose variables have different names, such as a recurrent and a linear one, share the path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The kind of the layer, if it is known. In a visitor this is never ambiguous: a layer that
    /// could be of several kinds is [visited](crate::Walk::apply) as each of them.
    pub fn kind(&self) -> Option<LayerKind> {
        self.ask();
        match self.candidates[..] {
            [kind] => Some(kind),
            _ => None,
        }
    }

    /// The kinds that the variables fit: one if the kind is known, none for variables that are not
    /// of a known layer.
    pub fn candidates(&self) -> &[LayerKind] {
        self.ask();
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
    /// initializer it was made with, from the generator of the walk or the default stream.
    ///
    /// # Errors
    ///
    /// [`InitError::UnknownLayer`] for variables that are not of a known layer and for a layer whose
    /// candidates have different initializations; [`InitError`] if a parameter cannot be filled.
    pub fn reset_parameters(&mut self) -> Result<(), InitError> {
        self.ask();
        match self.specs.first() {
            Some(spec) if self.same_init() => reset(spec, &self.all, self.generator.as_deref_mut()),
            _ => Err(InitError::UnknownLayer {
                path: self.path.clone(),
                variables: self.variables_in_words(),
            }),
        }
    }

    /// The row that an embedding keeps zero, if this crate made it with one.
    pub(crate) fn padding_idx(&self) -> Option<i64> {
        self.ask();
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

    /// All own variables, to be filled.
    pub(super) fn variables_mut(&mut self) -> impl Iterator<Item = (&str, &mut Tensor)> {
        let variables = self.parameters.iter_mut().chain(&mut self.buffers);
        variables.map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The path of the module that the layer is or is part of: its path without a number.
    pub(super) fn module(&self) -> &str {
        &self.module
    }

    /// Whether a hint with this address is about the layer.
    pub(super) fn is_at(&self, address: &str) -> bool {
        self.path == address
    }

    /// Whether a variable of this full name is the layer's.
    pub(super) fn has(&self, full_name: &str) -> bool {
        self.full_names.iter().any(|name| name == full_name)
    }

    /// The layer as one of a kind, if it can be that.
    pub(super) fn spec_of(&self, kind: LayerKind) -> Option<LayerSpec> {
        match &self.records {
            Some([record, _]) if record.spec.kind() == kind => Some(record.spec.clone()),
            Some(_) => None,
            None => LayerSpec::infer(
                kind,
                &VariableShapes {
                    parameters: &shapes(&self.parameters),
                    buffers: &shapes(&self.buffers),
                },
            ),
        }
    }

    /// Whether the kind is not known yet, or the variables are of no layer.
    pub(super) fn is_open(&self) -> bool {
        self.specs.len() != 1
    }

    /// Sets the specs that the layer can be.
    pub(super) fn set_specs(&mut self, specs: Vec<LayerSpec>) {
        self.candidates = specs.iter().map(LayerSpec::kind).collect();
        self.specs = specs;
    }

    /// The specs that the layer can be.
    pub(super) fn specs(&self) -> &[LayerSpec] {
        &self.specs
    }

    /// Whether the variables are of no known layer.
    pub(super) fn is_unknown(&self) -> bool {
        self.specs.is_empty()
    }

    /// Notes that something that depends on the kind was asked.
    fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether anything that depends on the kind was asked since the last call.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    /// Reports variables of no known layer, but for those that a recipe knows.
    pub(crate) fn report_unknown(&mut self, known: &[&str]) {
        if !self.is_unknown() {
            return;
        }
        let is_known = |full: &str| known.contains(&full.rsplit('.').next().unwrap_or_default());
        let unknown = self.full_names.iter().filter(|full| !is_known(full));
        let unknown: Vec<String> = unknown.cloned().collect();
        self.unclaimed.extend(unknown);
    }

    /// The variables that were reported, with their shapes.
    pub(super) fn take_unclaimed(&mut self) -> Vec<String> {
        let reported = std::mem::take(&mut self.unclaimed);
        let mut words = self.full_names_with_shapes();
        words.retain(|(name, _)| reported.contains(name));
        words.into_iter().map(|(_, words)| words).collect()
    }

    /// All own variables by their full names, and the same with their shapes.
    pub(super) fn full_names_with_shapes(&self) -> Vec<(String, String)> {
        let shape = |full: &String| {
            let name = full.rsplit('.').next().unwrap_or_default();
            self.variable(name).map(Tensor::size).unwrap_or_default()
        };
        let words = |full: &String| (full.clone(), format!("{full} {:?}", shape(full)));
        self.full_names.iter().map(words).collect()
    }

    /// Lets the initialization write what is tied to an earlier layer to a tensor that is thrown
    /// away, and adds the rest to `seen`.
    pub(super) fn discard_tied(&mut self, seen: &mut BTreeSet<usize>) -> Result<(), InitError> {
        let mut own = Vec::new();
        self.all.replace(|tensor| {
            let id = identity(tensor);
            if !seen.contains(&id) {
                own.push(id);
                return Ok(None);
            }
            let discarded = Tensor::f_empty_like(tensor).context("reset_parameters", tensor)?;
            Ok(Some(discarded))
        })?;
        seen.extend(own);
        Ok(())
    }

    pub(super) fn prefer(&mut self, preferred: &[LayerKind]) {
        if let Some(kind) = preferred.iter().find(|kind| self.candidates.contains(kind)) {
            self.specs.retain(|spec| spec.kind() == *kind);
            self.candidates = vec![*kind];
        }
    }

    pub(super) fn ambiguous(&self) -> VisitError {
        VisitError::Ambiguous {
            path: self.address(),
            candidates: self.candidates.clone(),
        }
    }

    /// What names this layer and no other: its path, or a variable if others have that path.
    pub(super) fn address(&self) -> String {
        let first = self.full_names.first().filter(|_| self.shares_path);
        first.unwrap_or(&self.path).clone()
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
        self.ask();
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
