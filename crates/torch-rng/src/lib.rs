#![doc = include_str!("../README.md")]
//!
//! # What is drawn
//!
//! [`Mt19937`] is the generator and [`State`] its state, which [`State::from_bytes`] reads from
//! `torch.get_rng_state()` and [`State::to_bytes`] writes for `torch.set_rng_state`.
//!
//! [`Draw`] lists all draws with their arguments, the words that they consume, and how they fill a slice or
//! any range of it. [`uniform_`], [`normal_`], [`trunc_normal_`] and [`randperm`] are shorthands. They use
//! the fastest [`Backend`] of this CPU and all of its threads; an [`Engine`] uses others. Neither affects the
//! bits.
//!
//! # Which bits
//!
//! Every draw fills a slice with the bits that libtorch 2.13 puts into a CPU tensor on x86-64 with AVX2 or
//! AVX-512, and leaves the generator in the state in which libtorch leaves its own. With
//! `ATEN_CPU_CAPABILITY=default`, and on other architectures, libtorch rounds differently.
//!
//! [`Semantics`] name older versions. A [`Target`] that has them is drawn with the bits of those, for which
//! the same holds.
//!
//! The logarithm, sine and cosine of f64 normals and of [`normal_serial_`] come from the C library, as in
//! libtorch: those bits are equal where both use the same C library.
//!
//! # Features
//!
//! `rand_core` implements the traits of [rand_core](https://docs.rs/rand_core) for [`Mt19937`].
#![deny(missing_docs)]

mod arch;
mod backend;
#[cfg(target_arch = "x86_64")]
mod bit_planes;
mod box_muller;
mod box_muller_simd;
mod correction;
mod draw;
mod dtype;
mod element;
mod engine;
mod error;
mod gf2;
mod held_log;
mod jump;
mod known_bits;
mod mt19937;
mod opmath;
mod parallel;
mod polynomial;
mod prefault;
#[cfg(feature = "rand_core")]
mod rand_traits;
pub mod recovery;
mod seed;
mod semantics;
mod simd;
mod state;
mod stream;
mod twist;
mod word_bits;
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
#[doc(hidden)]
pub use held_log::HeldLog;
pub use mt19937::Mt19937;
pub use parallel::Chunk;
#[doc(hidden)]
pub use parallel::Cost;
pub use seed::{Seed, SeedError};
pub use semantics::Semantics;
pub use state::{CachedNormal, STATE_LEN, State, StateError};
