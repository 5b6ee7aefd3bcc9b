//! What is wrong with a plan, or with what is asked of it.

use crate::error::InitError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a plan cannot be read, or not be materialised. Every message is one line that says where
/// and what; text from a plan is escaped and cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// What is wrong with the plan in a file.
    #[error("{}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: Box<PlanError>,
    },
    /// The operating system refused: no such file, no permission.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// More bytes than a plan may have.
    #[error(
        "{bytes} bytes, a plan has at most {limit}; is this the file that `tch-init record` wrote?"
    )]
    TooLarge {
        /// The size of the file.
        bytes: u64,
        /// The largest size.
        limit: u64,
    },
    /// No JSON, or not that of a plan: cut short, an unknown key, a value of another type.
    #[error("not a plan: {0}; record it again")]
    Json(
        /// What was found, with line and column.
        String,
    ),
    /// Another format, a version or PyTorch semantics that this crate does not know.
    #[error(
        "{key} is {found}, known is {known}; take the tch-init that recorded it, or record it again"
    )]
    Version {
        /// The key of the plan.
        key: &'static str,
        /// Its value.
        found: String,
        /// The value that can be read.
        known: &'static str,
    },
    /// The plan contradicts itself or its format.
    #[error("{place}: {problem}; record it again")]
    Invalid {
        /// The storage, view, step or name.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A step of a kind that this version does not know.
    #[error("step {step}: unknown step `{op}`{}; take a newer tch-init", needed_by(.parameter))]
    UnknownStep {
        /// Number of the step, from 0.
        step: usize,
        /// What it is called.
        op: String,
        /// The first parameter or buffer that depends on it.
        parameter: Option<String>,
    },
    /// A step could not be executed.
    #[error("step {step}: `{op}`{}", needed_by(.parameter))]
    Step {
        /// Number of the step, from 0.
        step: usize,
        /// What it is called.
        op: &'static str,
        /// The first parameter or buffer that depends on it.
        parameter: Option<String>,
        /// What went wrong.
        source: Box<InitError>,
    },
    /// More memory than the machine has.
    #[error(
        "{needed} bytes of tensors are needed at a time, the machine has {available}; materialise fewer at a time"
    )]
    Memory {
        /// What is needed.
        needed: u64,
        /// Memory and swap space of the machine.
        available: u64,
    },
    /// The plan has no tensor of this name.
    #[error("the plan has no parameter or buffer {}", Shown(.0))]
    NoSuchName(
        /// The name.
        String,
    ),
    /// Rows that a tensor has not.
    #[error("{} has {has} rows, asked for were {start} to {end}", Shown(.name))]
    Rows {
        /// The tensor.
        name: String,
        /// The size of its first dimension; 0 for a scalar, which has none.
        has: u64,
        /// The first row asked for.
        start: u64,
        /// The row behind the last.
        end: u64,
    },
    /// A `VarStore` and a plan that do not fit each other.
    #[error("variable {}: {problem}", Shown(.name))]
    Variable {
        /// The variable, or the parameter that no variable takes.
        name: String,
        /// What does not fit.
        problem: String,
    },
    /// What a plan cannot say of a model that is recorded.
    #[error("{}: {problem}", Shown(.name))]
    Record {
        /// The parameter or buffer.
        name: String,
        /// Why it cannot be recorded.
        problem: String,
    },
    /// The tensors could not be written; no file was touched.
    #[error("{}: cannot be written", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// libtorch or the generator failed outside of any step.
    #[error(transparent)]
    Init(#[from] InitError),
}

impl PlanError {
    pub(super) fn invalid(place: impl fmt::Display, problem: impl Into<String>) -> PlanError {
        PlanError::Invalid {
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

/// Text from a plan: quoted, on one line, not endless.
pub(super) struct Shown<'a>(pub(super) &'a str);

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
