//! How many words of the stream a draw takes, without drawing.

use super::normal::BLOCK;
use crate::Dtype;

/// The words that [`uniform_`](super::uniform_) of `numel` elements takes; `None` for a dtype that
/// is not drawn, or if the count overflows.
///
/// ```
/// use torch_rng::distribution::words_of_uniform;
/// use torch_rng::Dtype;
///
/// assert_eq!(words_of_uniform(Dtype::Bfloat16, 5), Some(5));
/// assert_eq!(words_of_uniform(Dtype::Float64, 5), Some(10));
/// /// ```
pub fn words_of_uniform(dtype: Dtype, numel: u64) -> Option<u64> {
    numel.checked_mul(words_a_value(dtype)?)
}

/// The words that [`normal_`](super::normal_) of `numel` elements takes; `kept` says whether the
/// generator [keeps a normal](crate::Mt19937::next_double_normal) when the draw begins, which
/// counts below 16 elements. `None` as for [`words_of_uniform`].
///
/// ```
/// use torch_rng::distribution::words_of_normal;
/// use torch_rng::Dtype;
///
/// assert_eq!(words_of_normal(Dtype::Float32, 15, false), Some(32));
/// assert_eq!(words_of_normal(Dtype::Float32, 15, true), Some(28));
/// assert_eq!(words_of_normal(Dtype::Float32, 17, true), Some(17 + 16));
/// assert_eq!(words_of_normal(Dtype::Float16, 17, true), Some(16 + 16));
/// ```
pub fn words_of_normal(dtype: Dtype, numel: u64, kept: bool) -> Option<u64> {
    if numel < BLOCK as u64 {
        words_a_value(dtype)?;
        words_of_normal_serial(numel, kept)
    } else {
        words_of_normal_block(dtype, numel)
    }
}

/// The words that [`normal_block_`](super::normal_block_) of `numel` elements takes; `None` below
/// 16 elements too.
pub fn words_of_normal_block(dtype: Dtype, numel: u64) -> Option<u64> {
    let block = BLOCK as u64;
    if numel < block {
        return None;
    }
    let rest = numel % block;
    let drawn = match dtype {
        Dtype::Bfloat16 | Dtype::Float16 => numel - rest,
        _ => numel,
    };
    let again = if rest == 0 { 0 } else { block };
    drawn.checked_add(again)?.checked_mul(words_a_value(dtype)?)
}

/// The words that [`normal_serial_`](super::normal_serial_) of `numel` elements takes, whatever
/// their dtype; `None` if the count overflows.
pub fn words_of_normal_serial(numel: u64, kept: bool) -> Option<u64> {
    numel
        .saturating_sub(u64::from(kept))
        .div_ceil(2)
        .checked_mul(4)
}

/// The words of one uniform value.
fn words_a_value(dtype: Dtype) -> Option<u64> {
    match dtype {
        Dtype::Float32 | Dtype::Bfloat16 | Dtype::Float16 => Some(1),
        Dtype::Float64 => Some(2),
    }
}
