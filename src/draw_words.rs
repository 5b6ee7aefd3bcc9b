//! How many words of the stream a draw of a dtype takes.

use tensor_parity::Dtype;
use torch_rng::distribution as of;

/// The dtype in torch-rng's words, if it is one that is drawn.
pub(crate) fn drawn(dtype: Dtype) -> Option<torch_rng::Dtype> {
    torch_rng::Dtype::from_name(dtype.name())
}

pub(crate) fn words_of_uniform(dtype: Dtype, numel: u64) -> Option<u64> {
    of::words_of_uniform(drawn(dtype)?, numel)
}

pub(crate) fn words_of_normal(dtype: Dtype, numel: u64, kept: bool) -> Option<u64> {
    of::words_of_normal(drawn(dtype)?, numel, kept)
}

#[cfg(feature = "tch")]
pub(crate) fn words_of_normal_block(dtype: Dtype, numel: u64) -> Option<u64> {
    of::words_of_normal_block(drawn(dtype)?, numel)
}
