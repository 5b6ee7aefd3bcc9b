//! What can be wrong with a trace.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A trace cannot be read.
#[derive(Debug, Error)]
#[error("{}{}", path.display(), line.map_or_else(String::new, |line| format!(": line {line}")))]
#[non_exhaustive]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, if a line is damaged.
    pub line: Option<usize>,
    /// What is wrong.
    #[source]
    pub problem: TraceProblem,
}

/// Why a trace cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceProblem {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file does not begin with the header of a trace.
    #[error("not a trace: its first line is not a header that `tch-init trace python` writes")]
    NotATrace,
    /// The file ends within its first line: the program was killed before it did anything.
    #[error("the trace is empty: its header is incomplete")]
    Empty,
    /// The version of the format is unknown.
    #[error("version {0} of the format is unknown; this program reads version 1")]
    Version(u64),
    /// The values are hashed by a function that this version does not know.
    #[error("the hash {0:?} is unknown")]
    Hash(String),
    /// A line is longer than any that is written.
    #[error("the line has more than {0} bytes")]
    LineTooLong(usize),
    /// The trace has more operations, or operations with more tensors, than are counted.
    #[error("more than {0} operations or tensors; record fewer steps")]
    TooMany(usize),
    /// The line is not JSON, or lacks a field.
    #[error("{}", without_line(.0))]
    Json(serde_json::Error),
    /// The line is none that a trace has.
    #[error("neither an operation nor the names of a model nor the end of a trace")]
    UnknownLine,
    /// A line is missing.
    #[error("operation {found} follows operation {}: lines are missing", expected.wrapping_sub(1) as isize)]
    Missing {
        /// The number that was expected.
        expected: usize,
        /// The number that was found.
        found: usize,
    },
    /// An operation belongs to one that is not before it.
    #[error("operation {index} is the backward of operation {forward}, which is not before it")]
    NotBefore {
        /// The operation.
        index: usize,
        /// What it names.
        forward: usize,
    },
    /// A second header: two programs wrote to one file, or two traces were joined.
    #[error("a second header: the file has more than one trace")]
    SecondHeader,
    /// The last line counts other operations than there are.
    #[error("the last line says {said} operations, the trace has {found}")]
    Count {
        /// What the last line says.
        said: usize,
        /// What was found.
        found: usize,
    },
    /// There is no such operation.
    #[error("there is no operation {0}")]
    NoOperation(usize),
    /// An operation was read before and is not there any more.
    #[error("operation {0} is not where it was: the file was changed while it was read")]
    Changed(usize),
    /// Lines follow the last line.
    #[error("a line follows the end of the trace")]
    AfterEnd,
}

impl From<serde_json::Error> for TraceProblem {
    fn from(error: serde_json::Error) -> TraceProblem {
        TraceProblem::Json(error)
    }
}

/// The message with the column only, since each line is parsed by itself.
fn without_line(error: &serde_json::Error) -> String {
    let line = format!(" at line {} column", error.line());
    error.to_string().replacen(&line, " at column", 1)
}
