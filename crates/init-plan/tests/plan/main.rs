//! Plans: what is read, shown and written, and what is rejected.

#[path = "../../../tensor-parity/tests/file/allocation.rs"]
mod allocation;
#[allow(dead_code)]
mod build;
mod builder;
mod cpu;
mod fill;
mod folder;
mod malformed;
mod operators;
mod show;
mod to_json;
