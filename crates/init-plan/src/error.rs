//! Errors of plans.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use tensor_parity::Dtype;
use tensor_parity::file::FileError;

/// An error of a [`Stream`](crate::Stream).
pub type StreamError = Box<dyn Error + Send + Sync>;

/// Why a plan cannot be read or materialized. Every message is one line; text from a plan is escaped
/// and cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A file is not a plan.
    #[error("{}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: Box<PlanError>,
    },
    /// The operating system refused: no such file, no permission.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// The file is larger than a plan may be.
    #[error(
        "expected at most {limit} bytes, found {bytes}; is this the file that `tch-init record` wrote?"
    )]
    TooLarge {
        /// The size of the file.
        bytes: u64,
        /// The largest size.
        limit: u64,
    },
    /// The bytes are not JSON, or not the JSON of a plan: cut short, an unknown key, a value of
    /// another type.
    #[error("not a plan: {0}; record it again")]
    Json(
        /// What was found, with line and column.
        String,
    ),
    /// The format, its version or the PyTorch semantics are unknown to this version of the crate.
    #[error(
        "expected {key} {known}, found {found}; use the tch-init that recorded the plan, or record it again"
    )]
    Version {
        /// The key of the plan.
        key: &'static str,
        /// Its value.
        found: String,
        /// The supported value.
        known: &'static str,
    },
    /// A plan that was read contradicts itself or its format.
    #[error("{place}: {problem}; record it again")]
    Invalid {
        /// The storage, view, step or name.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What code adds to a plan contradicts itself or the format: a size, a dtype, an argument or a name.
    #[error("{place}: {problem}")]
    Build {
        /// The tensor, step or name.
        place: String,
        /// What was expected, and what was found.
        problem: String,
    },
    /// A step is of a kind that this version does not know.
    #[error("step {step}: unknown step `{op}`{}; use a newer tch-init", needed_by(.parameter))]
    UnknownStep {
        /// Number of the step, from 0.
        step: usize,
        /// Its name.
        op: String,
        /// The first parameter or buffer that depends on it.
        parameter: Option<String>,
    },
    /// A step could not be executed.
    #[error("step {step}: `{op}`{}", needed_by(.parameter))]
    Step {
        /// Number of the step, from 0.
        step: usize,
        /// Its name.
        op: &'static str,
        /// The first parameter or buffer that depends on it.
        parameter: Option<String>,
        /// What went wrong.
        source: StreamError,
    },
    /// The file of the plan's data, which lies beside the plan, cannot be used.
    #[error("{}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DataError,
    },
    /// The tensors need more memory than the machine has.
    #[error(
        "{needed} bytes of tensors are needed at a time, but the machine has {available}; materialize fewer tensors at a time"
    )]
    Memory {
        /// What is needed.
        needed: u64,
        /// Memory and swap space of the machine.
        available: u64,
    },
    /// The plan lacks a tensor of this name.
    #[error("the plan lacks a parameter or buffer {}", Shown(.0))]
    NoSuchName(
        /// The name.
        String,
    ),
    /// The tensor lacks these rows.
    #[error("{} has {has} rows, but rows {start} to {end} were requested", Shown(.name))]
    Rows {
        /// The tensor.
        name: String,
        /// The size of its first dimension; 0 for a scalar.
        has: u64,
        /// The first requested row.
        start: u64,
        /// The row after the last.
        end: u64,
    },
    /// The tensor lacks these elements, or they have another size than the memory for them.
    #[error(
        "{} has {has} elements, but elements {start} to {end} were requested into {bytes} bytes", Shown(.name)
    )]
    Range {
        /// The tensor.
        name: String,
        /// The number of its elements.
        has: u64,
        /// The first requested element.
        start: u64,
        /// The element after the last.
        end: u64,
        /// The size of the memory.
        bytes: usize,
    },
    /// A `VarStore` and a plan do not match.
    #[error("variable {}: {problem}", Shown(.name))]
    Variable {
        /// The variable, or the parameter that matches no variable.
        name: String,
        /// What does not match.
        problem: String,
    },
    /// A plan cannot express how a tensor is initialized.
    #[error("{}: {problem}", Shown(.name))]
    Record {
        /// The parameter or buffer.
        name: String,
        /// Why it cannot be recorded.
        problem: String,
    },
    /// Safetensors lacks the dtype of a tensor, as it does in Python.
    #[error("{}: safetensors lacks the dtype {dtype}; choose other tensors with --only", Shown(.name))]
    NotStored {
        /// The parameter or buffer.
        name: String,
        /// Its dtype.
        dtype: Dtype,
    },
    /// The tensors could not be written; no file was changed.
    #[error("{}: cannot be written", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The generator failed, or memory could not be allocated, outside of any step.
    #[error(transparent)]
    Generator(StreamError),
}

impl PlanError {
    pub(crate) fn invalid(place: impl fmt::Display, problem: impl Into<String>) -> PlanError {
        PlanError::Invalid {
            place: place.to_string(),
            problem: problem.into(),
        }
    }

    pub(crate) fn build(place: impl fmt::Display, problem: impl Into<String>) -> PlanError {
        PlanError::Build {
            place: place.to_string(),
            problem: problem.into(),
        }
    }
}

fn needed_by(parameter: &Option<String>) -> String {
    match parameter {
        Some(name) => format!(" (needed by {})", Shown(name)),
        None => String::new(),
    }
}

/// Text from a plan: quoted, on one line, cut at 100 characters.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LENGTH: usize = 100;
        let mut text: String = self.0.chars().take(LENGTH).collect();
        if text.len() < self.0.len() {
            text += "...";
        }
        write!(f, "{text:?}")
    }
}

/// What is wrong with the file of a plan's data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The plan was read from memory, so that nothing lies beside it.
    #[error("the plan was not read from a file beside which its data lies; use InitPlan::load")]
    NoFolder,
    /// The operating system refused: no such file, no permission.
    #[error("the data of the plan cannot be read; keep it in the folder of the plan")]
    Read(#[source] io::Error),
    /// The file has another size.
    #[error(
        "expected the {expected} bytes that were recorded with the plan, found {found}; copy the file again, or record the plan again"
    )]
    Size {
        /// The size of the file.
        found: u64,
        /// The size that the plan names.
        expected: u64,
    },
    /// The file has the right size and other content.
    #[error(
        "the content is not what was recorded with the plan (its SHA-256 differs); copy the file again, or record the plan again"
    )]
    Hash,
    /// The file is not of safetensors.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file lacks a tensor, or has another one.
    #[error("tensor {}: {problem}; record the plan again", Shown(.name))]
    Tensor {
        /// The tensor of the file.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A step that only libtorch computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only libtorch computes this; use a tch-init that is built with the feature `tch`")]
pub struct NeedsLibtorch;
