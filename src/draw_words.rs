//! Tensors as the stream sees them.

use tensor_parity::Dtype;
use torch_rng::{Draw, Normal, Target, Uniform};

/// The dtype in torch-rng's words. Of the dtypes that it lacks, only permutations are drawn, which
/// all take the same words.
pub(crate) fn drawn(dtype: Dtype) -> torch_rng::Dtype {
    torch_rng::Dtype::from_name(dtype.name()).unwrap_or(torch_rng::Dtype::Int64)
}

pub(crate) fn words_of_uniform(dtype: Dtype, numel: u64) -> Option<u64> {
    words(Uniform { from: 0.0, to: 1.0 }.into(), dtype, numel, false)
}

pub(crate) fn words_of_normal(dtype: Dtype, numel: u64, cached: bool) -> Option<u64> {
    let normal = Normal {
        mean: 0.0,
        std: 1.0,
    };
    words(normal.into(), dtype, numel, cached)
}

#[cfg(feature = "tch")]
pub(crate) fn words_of_normal_block(dtype: Dtype, numel: u64) -> Option<u64> {
    (numel >= 16)
        .then(|| words_of_normal(dtype, numel, false))
        .flatten()
}

pub(crate) fn words_of_normal_serial(numel: u64, cached: bool) -> Option<u64> {
    let shape = [numel];
    let target = Target {
        contiguous: false,
        ..Target::new(torch_rng::Dtype::Float32, &shape)
    };
    let normal = Normal {
        mean: 0.0,
        std: 1.0,
    };
    Draw::from(normal).consumed(target, Some(cached)).words
}

fn words(draw: Draw, dtype: Dtype, numel: u64, cached: bool) -> Option<u64> {
    draw.consumed(Target::new(drawn(dtype), &[numel]), Some(cached))
        .words
}
