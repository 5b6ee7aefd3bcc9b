//! Reading tensor files.

mod allocation;
mod build;
mod damaged;
mod pickles;
mod plain_values;
mod properties;
mod stored;
mod truncated;
