//! The like of each of the 48 tests of PyTorch's own `test/nn/test_init.py` (2.13), for
//! `tch_init::init`, with oracles that do not come from this library or from PyTorch.
//!
//! Each test names the upstream test that it mirrors; those that name none are additions. The
//! seeds are fixed, so every statistic here is a constant of the machine, and no test is flaky.

mod constant;
mod draws;
mod gain;
mod generator;
mod matrices;
mod second_opinion;
mod statistics;
mod support;
mod trunc_normal;
mod warnings;
