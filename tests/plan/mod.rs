//! Plans: what is made has PyTorch's bits, with libtorch and without.

pub mod build;
mod draws;
mod explain;
mod interrupted;
mod into;
mod program;
mod record;
mod values;
mod without_libtorch;
