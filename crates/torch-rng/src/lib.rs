//! PyTorch's CPU random stream and its draws, bit for bit, in pure Rust.
//!
//! [`Mt19937`] is the stream, [`State`] what `torch.get_rng_state()` gives of it; each makes the
//! other. [`distribution`] turns words of the stream into values.
#![deny(missing_docs)]

mod arch;
mod backend;
pub mod distribution;
mod draw;
mod dtype;
mod jump;
mod mt19937;
mod state;
mod stream;
mod words;

pub use backend::{BACKEND_VARIABLE, Backend};
pub use draw::{
    ArgumentError, Consumed, Draw, Normal, Orthogonal, Randperm, Sparse, Target, TruncNormal,
    Uniform,
};
pub use dtype::Dtype;
pub use mt19937::Mt19937;
pub use state::{CachedNormal, STATE_LEN, State, StateError};

pub(crate) use backend::Simd;
pub(crate) use jump::Passing;
