//! PyTorch's CPU random stream, without libtorch.
//!
//! So far: the state of a generator as `torch.get_rng_state()` gives it.

mod state;

pub use state::{STATE_LEN, State, StateError};
