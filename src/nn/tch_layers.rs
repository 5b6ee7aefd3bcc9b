//! Helpers of constructors that tch has too.

use crate::error::InitError;
use tch::Device;
use tch::nn::{Path, VarStore};

/// A layer of tch's type with placeholder tensors, which the caller replaces.
///
/// tch's layer types have private fields, so only tch's constructors make them; given this
/// `VarStore` and a constant initializer, they draw nothing and do not touch the user's
/// `VarStore`.
pub(super) fn placeholder<L>(make: impl FnOnce(&Path<'_>) -> L) -> L {
    let scratch = VarStore::new(Device::Cpu);
    make(&scratch.root())
}

/// Panics on an error, as tch's constructors do.
#[track_caller]
pub(super) fn or_panic<L>(layer: Result<L, InitError>) -> L {
    match layer {
        Ok(layer) => layer,
        Err(error) => panic!("{error}"),
    }
}
