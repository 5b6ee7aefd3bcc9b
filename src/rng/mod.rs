//! PyTorch's CPU random stream, without libtorch.
//!
//! [`Mt19937`] is the stream itself and [`State`] what `torch.get_rng_state()` gives of it; each
//! makes the other.

pub(crate) mod arch;
mod backend;
mod jump;
mod mt19937;
mod state;
pub(crate) mod stream;
mod words;

pub(crate) use backend::Simd;
pub use backend::{BACKEND_VARIABLE, Backend};
pub(crate) use jump::Passing;
pub use mt19937::Mt19937;
pub use state::{STATE_LEN, State, StateError};
