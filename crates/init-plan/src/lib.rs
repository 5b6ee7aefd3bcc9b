#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod batch;
mod builder;
mod cpu;
mod data_file;
mod display;
mod draw_positions;
mod elements;
mod error;
mod hexadecimal;
mod interval_set;
mod json;
mod limits;
mod liveness;
mod materialize;
mod materialize_rows;
mod operator;
mod parse_step;
mod plan;
mod save;
mod scalar;
mod shape;
mod step;
mod storage;
mod storage_lifetimes;
mod stored_dtype;
mod stream;
mod stream_cursor;
mod stream_offset;
mod to_json;
mod validate;
mod view;

pub use builder::{PlanBuilder, StorageId, TensorId};
pub use cpu::{CpuStream, CpuTensor, compute_without_libtorch};
pub use draw_positions::DrawPosition;
pub use error::{DataError, NeedsLibtorch, PlanError};
pub use operator::{Argument, Operator, OperatorCall};
pub use plan::{Entry, InitPlan};
pub use save::{Save, Saved};
pub use scalar::Scalar;
pub use step::{Comparison, Op, Operand, Reduction, Rounding, Step, StreamChange, Unary};
pub use storage::{Storage, StorageTooSmall};
pub use stream::{Storages, Stream, StreamError};
pub use view::View;
