//! Plans: what is read, what is refused, and that what is made has PyTorch's bits.

pub mod build;
mod draws;
mod explain;
mod interrupted;
mod into;
mod program;
mod record;
mod show;
mod values;
mod written;
