//! `torch.Tensor.normal_`.

use super::uniform::{skip_values, words_per_value};
use super::{Consumed, Rule, Target, check_std};
use crate::distribution::{DrawError, Element, Engine, normal_serial_};
use crate::{Dtype, Mt19937};
use std::ops::Range;

/// Normal values, as [`normal_`](crate::distribution::normal_) draws them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

/// The elements of a block; the fewest for which libtorch draws blocks.
const BLOCK: u64 = 16;

impl Normal {
    /// Whether libtorch draws the values of `target` one by one.
    pub fn is_serial(target: Target<'_>) -> bool {
        target.numel() < BLOCK || !target.contiguous
    }
}

/// What normal values take from the stream, drawn one by one or in blocks.
pub(super) fn consumed(target: Target<'_>, serial: bool, cached: Option<bool>) -> Consumed {
    let numel = target.numel();
    if !serial {
        return Consumed {
            words: block_words(target.dtype, numel),
            cached,
        };
    }
    let even = numel.is_multiple_of(2);
    let pairs = match cached {
        Some(cached) => Some(numel.saturating_sub(u64::from(cached)).div_ceil(2)),
        // As many pairs either way.
        None if even => Some(numel / 2),
        None => None,
    };
    Consumed {
        words: pairs.and_then(|pairs| pairs.checked_mul(4)),
        cached: cached.map(|cached| cached == even),
    }
}

/// The words of `numel` values in blocks: with a remainder, the last block is drawn once more, and
/// only f32 and f64 draw the remainder before that.
pub(crate) fn block_words(dtype: Dtype, numel: u64) -> Option<u64> {
    let again = match numel % BLOCK {
        0 => 0,
        _ => BLOCK,
    };
    let values = before_last_block(dtype, numel).checked_add(again)?;
    values.checked_mul(words_per_value(dtype)?)
}

/// The values that are drawn before the last block of a draw with a remainder.
fn before_last_block(dtype: Dtype, numel: u64) -> u64 {
    match dtype {
        Dtype::Bfloat16 | Dtype::Float16 => numel - numel % BLOCK,
        _ => numel,
    }
}

/// Skips normals that are drawn one by one, and returns the number of words. The last pair is drawn,
/// since the generator may cache one of it.
pub(super) fn skip_serial(engine: &Engine, generator: &mut Mt19937, mut numel: u64) -> u64 {
    let draw = |generator: &mut Mt19937, count: u64| {
        // A standard deviation of 1 is never refused.
        normal_serial_(generator, &mut [0f64; 2][..count as usize], 0.0, 1.0).unwrap_or_default();
    };
    if numel > 0 && generator.next_double_normal().is_some() {
        draw(generator, 1);
        numel -= 1;
    }
    if numel == 0 {
        return 0;
    }
    let pairs = numel.div_ceil(2);
    engine.skip(generator, 4 * (pairs - 1));
    draw(generator, numel - 2 * (pairs - 1));
    4 * pairs
}

impl Rule for Normal {
    const NAME: &'static str = "normal_";
    const ARITY: usize = 2;

    fn args(&self) -> Vec<f64> {
        vec![self.mean, self.std]
    }

    fn from_args(args: &[f64]) -> Option<Normal> {
        match *args {
            [mean, std] => Some(Normal { mean, std }),
            _ => None,
        }
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        match self.mean.is_nan() {
            true => Err("expected a number as mean, found NaN".to_owned()),
            false => check_std(self.std),
        }
    }

    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        consumed(target, Normal::is_serial(target), cached)
    }

    fn serial_normals(&self, target: Target<'_>) -> u64 {
        match Normal::is_serial(target) {
            true => target.numel(),
            false => 0,
        }
    }

    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        match Normal::is_serial(target) {
            true => normal_serial_(generator, values, self.mean, self.std),
            false => engine.normal_block_(generator, values, self.mean, self.std),
        }
    }

    fn has_ranges(&self, target: Target<'_>) -> bool {
        !Normal::is_serial(target)
    }

    fn fill_range<T: Element>(
        &self,
        engine: &Engine,
        start: &Mt19937,
        target: Target<'_>,
        range: Range<u64>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        if !self.has_ranges(target) {
            return Err(DrawError::Range(Self::NAME));
        }
        let numel = target.numel();
        // The last block is drawn after all others unless it is one of them.
        let last = match numel % BLOCK {
            0 => numel,
            _ => numel - BLOCK,
        };
        let first = range.start.min(last)..range.end.min(last);
        let blocks = first.start / BLOCK * BLOCK..first.end.next_multiple_of(BLOCK);
        let overlapping = range.start.max(last)..range.end.max(last);
        let before_last = before_last_block(T::DTYPE, numel);
        for (drawn, begins, wanted) in [
            (blocks.clone(), blocks.start, first),
            (last..numel, before_last, overlapping),
        ] {
            if wanted.is_empty() {
                continue;
            }
            let mut generator = start.clone();
            skip_values::<T>(engine, &mut generator, begins);
            let into = (wanted.start - range.start) as usize..(wanted.end - range.start) as usize;
            if drawn == wanted {
                engine.normal_block_(&mut generator, &mut values[into], self.mean, self.std)?;
                continue;
            }
            let mut whole = vec![T::from_f64(0.0); (drawn.end - drawn.start) as usize];
            engine.normal_block_(&mut generator, &mut whole, self.mean, self.std)?;
            let from = (wanted.start - drawn.start) as usize..(wanted.end - drawn.start) as usize;
            values[into].copy_from_slice(&whole[from]);
        }
        Ok(())
    }
}
