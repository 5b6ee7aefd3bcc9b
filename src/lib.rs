#![cfg_attr(feature = "tch", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "tch"),
    doc = "PyTorch's weight initialization: the parts that do not need libtorch. The feature `tch` adds the rest."
)]
#![deny(missing_docs)]

mod error;
pub mod init;
pub mod nn;
pub mod plan;

#[cfg(feature = "tch")]
pub mod cuda;
#[cfg(feature = "tch")]
pub mod data;
#[cfg(feature = "tch")]
pub mod explain;
#[cfg(feature = "tch")]
mod ffi;
#[cfg(feature = "tch")]
mod generator;
#[cfg(feature = "tch")]
mod libtorch_info;
#[cfg(feature = "tch")]
pub mod optim;
#[cfg(feature = "tch")]
pub mod recipe;
#[cfg(feature = "tch")]
pub mod repr;
#[cfg(feature = "tch")]
mod scope;
#[cfg(feature = "tch")]
pub mod trace;
#[cfg(feature = "tch")]
mod walk;

pub use error::InitError;
#[doc(inline)]
pub use tensor_parity::compare as parity;
#[doc(inline)]
pub use tensor_parity::file;
#[doc(inline)]
pub use tensor_parity::{assert_bits_eq, assert_ulp_le};
/// PyTorch's draws on the CPU, without libtorch.
pub mod distribution {
    pub use torch_rng::{
        Chunk, DrawError, Element, Engine, normal_, normal_block_, normal_interval_probability,
        normal_serial_, randperm, trunc_normal_, uniform_,
    };
    #[doc(hidden)]
    pub use torch_rng::{Cost, erf};
}
/// Tensors as views of bytes in files and in memory, without libtorch.
pub mod tensor {
    pub use tensor_parity::{
        Dtype, Float8Scale, LeftOut, LeftOutKind, ScaleMatch, TensorView, ViewError,
    };
}
/// PyTorch's CPU random stream, without libtorch.
pub mod rng {
    pub use torch_rng::{
        BACKEND_VARIABLE, Backend, CachedNormal, Consumed, Draw, Dtype, Mt19937, Normal,
        Orthogonal, Randperm, STATE_LEN, Seed, SeedError, Semantics, Sparse, State, StateError,
        Target, TruncNormal, Uniform,
    };
}
#[cfg(feature = "tch")]
pub use generator::{Generator, get_rng_state, initial_seed, manual_seed, set_rng_state};
#[cfg(feature = "tch")]
pub use libtorch_info::{LIBTORCH_VERSION, LibtorchInfo};
#[cfg(feature = "tch")]
pub use walk::{Layer, VisitError, Walk, apply, parameters, reset_parameters};

/// The samples of the pages in docs are tests.
#[cfg(all(doctest, feature = "tch"))]
mod docs {
    #[doc = include_str!("../docs/guide.md")]
    struct Guide;
    #[doc = include_str!("../docs/porting.md")]
    struct Porting;
    #[doc = include_str!("../docs/training.md")]
    struct Training;
    #[doc = include_str!("../docs/cli.md")]
    struct Cli;
}
