//! The draws of torch-rng, against those of libtorch. Some change the number of threads.

mod case;
mod exhaustive;
mod init;
mod libtorch;
