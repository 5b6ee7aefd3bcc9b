//! Reading tensor files.

mod allocation;
mod build;
mod damaged;
mod pickles;
mod properties;
mod stored;
mod truncated;
