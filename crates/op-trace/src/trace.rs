//! A trace: a small part of each line in memory, the rest in the file.

use crate::calls::Calls;
use crate::lines::{Lines, operation};
use crate::source::Source;
use crate::value::Ordered;
use crate::{Environment, Operation, SharedStr, TensorValue, TraceError, TraceProblem};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

/// A trace: what a program ran in, the models it has, and its operations in order.
///
/// Of an operation, what a comparison needs is in memory, about 100 bytes. The rest is read from the file when it is asked for.
#[derive(Clone)]
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
    /// The last line; `None` if the program was killed.
    pub end: Option<End>,
    pub(crate) calls: Calls,
    pub(crate) lines: Places,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("path", &self.lines.path)
            .field("language", &self.language)
            .field("environment", &self.environment)
            .field("operations", &self.len())
            .field("end", &self.end.as_ref().map(|end| &end.reason))
            .finish_non_exhaustive()
    }
}

/// Where each operation is.
#[derive(Clone)]
pub(crate) struct Places {
    pub path: PathBuf,
    pub source: Source,
    pub offsets: Vec<u64>,
}

impl Trace {
    /// The number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads an operation.
    ///
    /// # Errors
    ///
    /// There is no such operation, or the file was changed after [`Trace::read`].
    pub fn operation(&self, index: usize) -> Result<Operation, TraceError> {
        let Some(offset) = self.lines.offsets.get(index) else {
            return Err(self.failed(TraceProblem::NoOperation(index)));
        };
        // Most lines are shorter.
        let mut lines = Lines::new(self.lines.source.from(*offset), 2048);
        self.read_next(&mut lines, index)
    }

    /// Reads the operations one after another. Each may fail as [`Trace::operation`] does.
    pub fn operations(&self) -> impl Iterator<Item = Result<Operation, TraceError>> {
        let first = self.lines.offsets.first().copied().unwrap_or(0);
        let mut lines = Lines::new(self.lines.source.from(first), 1 << 16);
        let mut next = first;
        self.lines
            .offsets
            .iter()
            .enumerate()
            .map(move |(index, offset)| {
                // A line of a model lies between.
                while next < *offset {
                    match lines.next() {
                        Ok(Some(_)) => next += lines.buffer.len() as u64,
                        Ok(None) => return Err(self.failed(TraceProblem::Changed(index))),
                        Err(problem) => return Err(self.failed(problem)),
                    }
                }
                let operation = self.read_next(&mut lines, index);
                next += lines.buffer.len() as u64;
                operation
            })
    }

    fn read_next(
        &self,
        lines: &mut Lines<impl std::io::Read>,
        index: usize,
    ) -> Result<Operation, TraceError> {
        match lines.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Err(self.failed(TraceProblem::Changed(index))),
            Err(problem) => return Err(self.failed(problem)),
        }
        match operation(&lines.buffer) {
            Ok(operation) if operation.index == index => Ok(operation),
            _ => Err(self.failed(TraceProblem::Changed(index))),
        }
    }

    fn failed(&self, problem: TraceProblem) -> TraceError {
        TraceError {
            path: self.lines.path.clone(),
            line: None,
            problem,
        }
    }
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
    /// The number of operations.
    #[serde(default)]
    pub operations: Option<usize>,
    #[serde(rename = "final")]
    outcome: Ordered<TensorValue>,
}

impl End {
    /// The parameters and buffers at the end.
    pub fn outcome(&self) -> impl Iterator<Item = (&str, &TensorValue)> {
        self.outcome
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }
}
