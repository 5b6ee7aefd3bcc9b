//! Tensors as the stream sees them.

use tensor_parity::Dtype;
use torch_rng::{Draw, Target, Uniform};

/// The dtype in torch-rng's words. Of the dtypes that it lacks, only permutations are drawn, which
/// all take the same words.
pub(crate) fn drawn(dtype: Dtype) -> torch_rng::Dtype {
    torch_rng::Dtype::from_name(dtype.name()).unwrap_or(torch_rng::Dtype::Int64)
}

pub(crate) fn words_of_uniform(dtype: Dtype, numel: u64) -> Option<u64> {
    words(Uniform { from: 0.0, to: 1.0 }.into(), dtype, numel, false)
}

fn words(draw: Draw, dtype: Dtype, numel: u64, cached: bool) -> Option<u64> {
    draw.consumed(Target::new(drawn(dtype), &[numel]), Some(cached))
        .words
}
