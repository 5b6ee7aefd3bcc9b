//! A layer of a `VarStore`.

use super::{VisitError, infer};
use crate::error::InitError;
use crate::nn::LayerKind;
use crate::nn::registry::Record;
use crate::nn::reset;
use std::sync::Arc;
use tch::Tensor;

/// A layer of a `VarStore`: its path, its kind, its parameters and its buffers.
///
/// The tensors are handles: filling them fills the `VarStore`'s.
#[derive(Debug)]
pub struct Layer {
    path: String,
    /// One kind when it is known, several when it is ambiguous, none for other variables.
    candidates: Vec<LayerKind>,
    record: Option<Arc<Record>>,
    parameters: Vec<(String, Tensor)>,
    buffers: Vec<(String, Tensor)>,
}

impl Layer {
    pub(super) fn new(
        path: String,
        record: Option<Arc<Record>>,
        parameters: Vec<(String, Tensor)>,
        buffers: Vec<(String, Tensor)>,
    ) -> Layer {
        let candidates = match &record {
            Some(record) => vec![record.kind],
            None => infer::candidates(&shapes(&parameters), &shapes(&buffers)),
        };
        Layer {
            path,
            candidates,
            record,
            parameters,
            buffers,
        }
    }

    /// Where the layer is, with dots; empty for variables at the root. A layer made at a path
    /// that was taken has the `__N` that tch gave its first variable at the end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the layer is, if that is settled.
    pub fn kind(&self) -> Option<LayerKind> {
        match self.candidates[..] {
            [kind] => Some(kind),
            _ => None,
        }
    }

    /// The kinds that the variables fit: one when the kind is settled, none for variables that
    /// make up no known layer.
    pub fn candidates(&self) -> &[LayerKind] {
        &self.candidates
    }

    /// The trainable variables with their names, in PyTorch's order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// The other variables with their names, in PyTorch's order.
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

    /// The parameter `weight`, to be filled.
    pub fn weight_mut(&mut self) -> Option<&mut Tensor> {
        self.variable_mut("weight")
    }

    /// The parameter `bias`, to be filled.
    pub fn bias_mut(&mut self) -> Option<&mut Tensor> {
        self.variable_mut("bias")
    }

    /// Starts the layer anew as PyTorch's layer of that kind starts; a layer of no known kind is
    /// left as it is.
    ///
    /// # Errors
    ///
    /// [`InitError`] if a parameter cannot be filled.
    pub fn reset_parameters(&mut self) -> Result<(), InitError> {
        // Ambiguous layers whose candidates start differently are refused by the walk.
        let Some(&kind) = self.candidates.first() else {
            return Ok(());
        };
        let take = |name: &str| self.variable(name).map(Tensor::shallow_clone);
        let (mut weight, mut bias) = (take("weight"), take("bias"));
        match (Start::of(kind), &mut weight) {
            (Start::Linear, Some(weight)) => reset::linear_(weight, bias.as_mut()),
            (Start::Conv, Some(weight)) => reset::conv_(weight, bias.as_mut()),
            (Start::BatchNorm, weight) => {
                reset::running_stats_(
                    take("running_mean").as_mut(),
                    take("running_var").as_mut(),
                    take("num_batches_tracked").as_mut(),
                )?;
                reset::norm_(weight.as_mut(), bias.as_mut())
            }
            (Start::Linear | Start::Conv, None) => Ok(()),
        }
    }

    /// Whether all candidates draw and fill alike.
    pub(super) fn starts_one_way(&self) -> bool {
        self.candidates
            .windows(2)
            .all(|pair| Start::of(pair[0]) == Start::of(pair[1]))
    }

    pub(super) fn settle(&mut self, kind: LayerKind) -> Result<(), VisitError> {
        if self.candidates.contains(&kind) {
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

    /// What Python prints for the module, if its kind is settled.
    pub(crate) fn repr(&self) -> Option<String> {
        let kind = self.kind()?;
        Some(match &self.record {
            Some(record) => format!("{kind}({})", record.extra_repr),
            None => format!(
                "{kind}({})",
                infer::extra_repr(kind, &shapes(&self.parameters))
            ),
        })
    }
}

/// The ways in which layers start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Linear,
    Conv,
    BatchNorm,
}

impl Start {
    fn of(kind: LayerKind) -> Start {
        match kind {
            LayerKind::Linear => Start::Linear,
            LayerKind::Conv1d
            | LayerKind::Conv2d
            | LayerKind::Conv3d
            | LayerKind::ConvTranspose1d
            | LayerKind::ConvTranspose2d
            | LayerKind::ConvTranspose3d => Start::Conv,
            LayerKind::BatchNorm1d | LayerKind::BatchNorm2d | LayerKind::BatchNorm3d => {
                Start::BatchNorm
            }
        }
    }
}

fn shapes(variables: &[(String, Tensor)]) -> Vec<(&str, Vec<i64>)> {
    variables
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.size()))
        .collect()
}
