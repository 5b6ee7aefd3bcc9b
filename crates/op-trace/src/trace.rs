//! A trace in memory.

use crate::value::Ordered;
use crate::{Environment, Operation, SharedStr, TensorValue};
use serde::Deserialize;

/// A trace: what a program ran in, the models it has, and its operations in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Trace {
    /// `python` or `rust`.
    pub language: String,
    /// The file beside the trace that has what no operation made.
    pub values: Option<String>,
    /// What the program ran in.
    pub environment: Environment,
    /// The models in the order in which they are met.
    pub models: Vec<Model>,
    /// The operations.
    pub operations: Vec<Operation>,
    /// The last line; `None` if the program was killed.
    pub end: Option<End>,
}

/// A model's parameters and buffers, when it is met first.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Model {
    /// The prefix of its names.
    #[serde(rename = "model")]
    pub prefix: String,
    /// Its class.
    pub class: String,
    /// Its parameters and buffers in order.
    pub names: Vec<NamedTensor>,
}

/// A parameter or buffer.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct NamedTensor {
    /// Its name.
    pub name: SharedStr,
    /// Its value.
    pub tensor: TensorValue,
    /// Whether a parameter has a gradient; `None` for a buffer.
    #[serde(default)]
    pub requires_grad: Option<bool>,
}

/// The last line of a trace.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct End {
    /// Why the recording ended: `finished`, `steps`, or `error: ` and the exception.
    #[serde(rename = "end")]
    pub reason: String,
    /// The number of completed steps.
    pub steps: u32,
    #[serde(rename = "final")]
    outcome: Ordered<TensorValue>,
}

impl End {
    /// The parameters and buffers at the end.
    pub fn outcome(&self) -> impl Iterator<Item = (&str, &TensorValue)> {
        self.outcome.0.iter().map(|(name, value)| (&**name, value))
    }
}
