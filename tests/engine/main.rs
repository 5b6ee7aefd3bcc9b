//! The draws without libtorch, against libtorch's own and against stored ones.

mod case;
#[cfg(feature = "tch")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "tch")]
mod exhaustive;
#[cfg(feature = "tch")]
mod init;
#[cfg(feature = "tch")]
mod libtorch;
mod stored;
