#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod calls;
mod compare;
mod distinct;
mod environment;
mod error;
mod hash;
mod lines;
mod operation;
mod read;
mod shared_str;
mod source;
mod trace;
mod value;

pub use compare::{Class, Comparison, Departure, Outcome, Place, Sides, Verdict, Verdicts};
pub use environment::{Environment, EnvironmentDifference};
pub use error::{TraceError, TraceProblem};
pub use hash::{RowKeys, ValueHash};
pub use operation::{GeneratorState, Grad, Operation, Phase};
pub use shared_str::SharedStr;
pub use trace::{End, Model, NamedTensor, Trace};
pub use value::{Stats, TensorValue, Value};
