//! One call of an ATen operator.

use crate::value::Ordered;
use crate::{SharedStr, TensorValue, Value, ValueHash};
use serde::Deserialize;
use std::fmt;

/// One call of an ATen operator.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// The number of the operation in the trace, from 0.
    #[serde(rename = "i")]
    pub index: usize,
    /// The schema's name, with its namespace: `aten::addmm`.
    #[serde(rename = "op")]
    pub name: SharedStr,
    /// The overload's name, if it has one.
    #[serde(default)]
    pub overload: Option<SharedStr>,
    /// The training step, from 1.
    pub step: u32,
    /// The phase of the step.
    pub phase: Phase,
    /// Whether gradients are recorded.
    #[serde(default)]
    pub grad: Grad,
    /// The innermost module whose forward is running.
    #[serde(default)]
    pub module: Option<SharedStr>,
    /// Whether that module is in evaluation mode.
    #[serde(default)]
    pub eval: bool,
    /// The user's line: `train.py:12`.
    #[serde(default)]
    pub at: Option<SharedStr>,
    /// The node of the autograd graph that a backward pass is in.
    #[serde(default)]
    pub node: Option<SharedStr>,
    /// The operation whose backward this is.
    #[serde(default)]
    pub forward: Option<usize>,
    /// The parameter whose gradient is accumulated.
    #[serde(default)]
    pub parameter: Option<SharedStr>,
    #[serde(rename = "args")]
    arguments: Ordered<Value>,
    /// The generator's state before and after a draw.
    #[serde(default)]
    pub generator: Option<Vec<GeneratorState>>,
    /// The results.
    #[serde(default)]
    pub results: Vec<Value>,
    #[serde(default)]
    writes: Ordered<TensorValue>,
    /// The exception, if the operation failed.
    #[serde(default)]
    pub error: Option<String>,
}

impl Operation {
    /// The arguments by name, in the schema's order, with defaults filled in.
    pub fn arguments(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.arguments
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// An argument.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&Value> {
        self.arguments()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// The arguments that the operation writes, as they are afterwards.
    pub fn writes(&self) -> impl Iterator<Item = (&str, &TensorValue)> {
        self.writes
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The schema's name without its namespace, with the overload: `addmm`, `add_.Tensor`.
    #[must_use]
    pub fn schema(&self) -> String {
        schema(&self.name, self.overload.as_ref())
    }
}

/// `addmm`, `add_.Tensor`.
pub(crate) fn schema(name: &SharedStr, overload: Option<&SharedStr>) -> String {
    let name = name.as_str().rsplit("::").next().unwrap_or(name.as_str());
    match overload {
        Some(overload) => format!("{name}.{overload}"),
        None => name.to_owned(),
    }
}

/// The part of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// Neither of the others.
    Forward,
    /// Within a backward pass.
    Backward,
    /// Within an optimizer.
    Optimizer,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::Optimizer => "optimizer",
        })
    }
}

/// The gradient mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Grad {
    /// Gradients are recorded.
    #[default]
    On,
    /// `torch.no_grad`.
    Off,
    /// `torch.inference_mode`.
    Inference,
}

/// The state of a random number generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub struct GeneratorState {
    /// The seed that the state came from.
    pub seed: u64,
    /// The hash of the state's bytes.
    pub state: ValueHash,
}
