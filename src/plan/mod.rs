//! Plans with libtorch: recording models of [`nn`](crate::nn), filling a `VarStore`.
//!
//! A plan is how PyTorch initializes one model, recorded once: see [`InitPlan`]. With the feature
//! `tch`, a [`Generator`](crate::Generator) materializes plans into libtorch's tensors, and has
//! libtorch compute what [`init_plan`] alone does not.

#[doc(inline)]
pub use init_plan::*;

#[cfg(feature = "tch")]
mod compute;
#[cfg(feature = "tch")]
mod operators;
#[cfg(feature = "tch")]
mod record;
#[cfg(feature = "tch")]
mod scalar_calls;
#[cfg(feature = "tch")]
mod stream;
#[cfg(feature = "tch")]
mod var_store;

#[cfg(feature = "tch")]
pub use record::record;
#[cfg(feature = "tch")]
pub use var_store::{materialize_into, materialize_into_renamed};

impl From<crate::InitError> for PlanError {
    fn from(error: crate::InitError) -> PlanError {
        PlanError::Generator(error.into())
    }
}
