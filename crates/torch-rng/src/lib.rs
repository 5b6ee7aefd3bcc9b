//! PyTorch's CPU random stream and its draws, bit for bit, in pure Rust.
//!
//! [`Mt19937`] is the stream, [`State`] what `torch.get_rng_state()` gives of it; each makes the
//! other. [`distribution`] turns words of the stream into values.
#![deny(missing_docs)]

mod arch;
mod backend;
#[cfg(target_arch = "x86_64")]
mod bit_planes;
mod box_muller;
mod cephes;
pub mod distribution;
mod draw;
mod dtype;
mod element;
mod engine;
mod jump;
mod mt19937;
mod opmath;
mod parallel;
mod polynomial;
mod prefault;
mod state;
mod stream;
mod words;
mod worker_pool;

pub use backend::{BACKEND_VARIABLE, Backend};
pub use draw::{
    ArgumentError, Consumed, Draw, Normal, Orthogonal, Randperm, Sparse, Target, TruncNormal,
    Uniform,
};
pub use dtype::Dtype;
pub use mt19937::Mt19937;
pub use state::{CachedNormal, STATE_LEN, State, StateError};

pub(crate) use backend::Simd;
pub(crate) use engine::Engine;
pub(crate) use jump::Passing;
