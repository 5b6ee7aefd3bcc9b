//! Live parity: the same case run here and by PyTorch on this machine, compared bit for bit.
//!
//! Needs the Python reference (`./setup --reference`); `make test` runs these with the rest.

mod assert_close;
mod attention;
mod basic;
#[cfg(feature = "cli")]
mod casts;
mod data_order;
mod defaults;
mod dtype_table;
mod embeddings;
#[cfg(feature = "cli")]
mod explain;
mod family;
mod golden;
mod init;
mod isclose;
mod large_archives;
mod layers;
mod lazy;
#[cfg(feature = "cli")]
mod located;
mod losses;
mod models;
mod norms;
mod odd_files;
mod optim;
mod optim_schedules;
#[cfg(feature = "cli")]
mod plan;
#[cfg(feature = "cli")]
mod plan_constructors;
#[cfg(feature = "cli")]
mod plan_data;
mod porting;
#[cfg(feature = "cli")]
mod program;
mod recipes;
#[cfg(feature = "cli")]
mod record;
mod recurrent;
mod recurrent_options;
mod repr;
mod running_norms;
#[cfg(feature = "cli")]
mod scaled_float8;
mod scope;
mod small_layers;
mod state;
#[cfg(feature = "cli")]
mod state_in;
mod tch_examples;
mod tensor_files;
mod trace_ports;
mod training;
mod transformer;
mod vision_forward;
