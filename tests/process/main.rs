//! Tests that cannot share a process with the others: they count allocations with a global allocator, read the memory of
//! the process, or change libtorch's number of threads, which live tests pass on to PyTorch.

#![cfg(feature = "tch")]

#[path = "../../crates/tensor-parity/tests/file/allocation.rs"]
mod alloc;
// The tests of `tests/plan` use the rest of it.
#[allow(dead_code)]
#[path = "../plan/build.rs"]
mod build;
#[path = "../common/mod.rs"]
mod common;
mod engine;
mod logging;
mod memory;
mod properties;
mod replay;
mod semantics;
mod together;
