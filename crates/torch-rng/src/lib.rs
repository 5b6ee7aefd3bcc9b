//! PyTorch's CPU random numbers in pure Rust, bit for bit.
#![deny(missing_docs)]

mod arch;
mod backend;
#[cfg(target_arch = "x86_64")]
mod bit_planes;
mod box_muller;
mod box_muller_simd;
mod draw;
mod dtype;
mod element;
mod engine;
mod error;
mod jump;
mod mt19937;
mod opmath;
mod parallel;
mod polynomial;
mod prefault;
mod simd;
mod state;
mod stream;
mod twist;
mod worker_pool;

pub use backend::{BACKEND_VARIABLE, Backend};
#[doc(hidden)]
pub use draw::erf;
pub use draw::{
    ArgumentError, Consumed, Draw, Normal, Orthogonal, Randperm, Sparse, Target, TruncNormal,
    Uniform, normal_, normal_block_, normal_interval_probability, normal_serial_, randperm,
    trunc_normal_, uniform_,
};
pub use dtype::Dtype;
pub use element::Element;
pub use engine::Engine;
pub use error::DrawError;
pub use mt19937::Mt19937;
pub use parallel::Chunk;
#[doc(hidden)]
pub use parallel::Cost;
pub use state::{CachedNormal, STATE_LEN, State, StateError};
