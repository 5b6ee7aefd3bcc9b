//! Runs recorded operations again.
//!
//! A [`Replay`] executes a trace's operations in order through libtorch's dispatcher, with the storages, views, writes and draws that
//! the program had. What no operation made comes from the file beside the trace. Only operations are run that the asked-for one
//! needs, on as many threads as the program had; each result is compared with the trace by its hash.

mod arguments;
mod call;
mod machine;
mod memory;
mod slice;

pub use call::{Call, Computed, GENERATOR};
pub use machine::{Replay, Seen};
pub(crate) use memory::{dtype as dtype_name, read as elements};
pub(crate) use slice::output_tensors;

use thiserror::Error;

/// Why an operation is not run again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotRun {
    /// The trace cannot be read.
    #[error("{0}")]
    Trace(String),
    /// The file of values cannot be read.
    #[error("the file of values cannot be read: {0}")]
    Values(String),
    /// A value is neither made by an operation nor in the file of values.
    #[error("the value of {0} is not in the file of values")]
    MissingValue(String),
    /// An earlier operation gives other bits here.
    #[error("operation {0}, which it needs, gives other bits here than in the trace")]
    OtherBits(usize),
    /// An input is not what earlier operations made of it.
    #[error("its argument {0} was changed by something that is not in the trace")]
    Changed(String),
    /// A tensor without plain elements.
    #[error("{0} tensors are not in a trace")]
    Opaque(String),
    /// A tensor on another device than the CPU.
    #[error("it ran on {0}")]
    Device(String),
    /// An argument that is not in a trace.
    #[error("an argument of type {0} is not in a trace")]
    Argument(String),
    /// The state of the generator is unknown.
    #[error("the state of the generator before operation {0} is not in the file of values")]
    Generator(usize),
    /// The operation failed in the program.
    #[error("it failed in the program")]
    Failed,
    /// The operation returns other tensors than the trace has.
    #[error("operation {0} returns tensors of another number, dtype or shape here")]
    Results(usize),
    /// The trace is too long.
    #[error("the trace has more than {0} operations")]
    TooLong(usize),
    /// libtorch rejects the call.
    #[error("{0}")]
    Libtorch(String),
}

impl NotRun {
    pub(crate) fn libtorch(message: String) -> NotRun {
        NotRun::Libtorch(message.lines().next().unwrap_or_default().to_owned())
    }
}
