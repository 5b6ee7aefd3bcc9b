//! Normal values between bounds, by redrawing.
//!
//! Follows `_no_grad_trunc_normal_` (`torch/nn/init.py`), PyTorch 2.13: its first method, which
//! draws a whole tensor again as long as an element lies outside, and takes from it what it needs.
//! Here only what is needed is computed, and the rest of each draw passed.

pub(crate) mod kernel;

use super::DrawError;
use super::normal::{self, BLOCK};
use crate::Engine;
use crate::element::{Element, sealed};
use crate::opmath::Opmath;
use crate::parallel::{self, Cost};
use crate::{Mt19937, Simd};

/// Normal values and the bounds outside which they are drawn again.
#[derive(Debug, Clone, Copy)]
pub struct Truncation<T: sealed::Element> {
    pub(crate) mean: T::Opmath,
    pub(crate) std: T::Opmath,
    pub(crate) low: T,
    pub(crate) high: T,
}

/// Whole blocks of values, and for each block a bit for every element that waits for a draw, the
/// lowest for the first.
pub struct Round<'a, T> {
    pub(crate) values: &'a mut [T],
    pub(crate) waiting: &'a mut [u16],
    /// Whether all elements wait.
    pub(crate) is_first: bool,
}

/// Fills with normal values between `a` and `b` as `torch.nn.init.trunc_normal_` does where more
/// than 0.3 of the distribution lies between them.
///
/// A whole draw of [`normal_`](super::normal_) is made; as long as an element is below `a` or above
/// `b`, both rounded to the dtype, another one follows, from which such elements are taken. So the
/// words drawn are a multiple of those of one such draw, which one depends on
/// the values.
///
/// (Where less lies between the bounds, PyTorch accepts uniform values by comparing their density,
/// whose logarithms are its mathematical library's: see `init::trunc_normal_`.)
///
/// # Errors
///
/// [`DrawError::Std`] if `std` is negative or NaN, [`DrawError::Truncation`] unless more than 0.3 of
/// the distribution lies between the bounds. Nothing is drawn then.
///
/// ```
/// use torch_rng::distribution::trunc_normal_;
/// use torch_rng::Mt19937;
///
/// let mut values = [0f32; 3];
/// trunc_normal_(&mut Mt19937::new(1), &mut values, 0.0, 1.0, -0.5, 0.5)?;
/// // python: torch.manual_seed(1); torch.nn.init.trunc_normal_(torch.empty(3), a=-0.5, b=0.5).tolist()
/// assert_eq!(values, [-0.19550958275794983, 0.266924113035202, 0.06167725846171379]);
/// # Ok::<(), torch_rng::distribution::DrawError>(())
/// ```
pub fn trunc_normal_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
    a: f64,
    b: f64,
) -> Result<(), DrawError> {
    Engine::default().trunc_normal_(generator, values, mean, std, a, b)
}

/// The share of a normal distribution that lies between `a` and `b`.
///
/// ```
/// assert_eq!(torch_rng::distribution::normal_share(0.0, 1.0, -2.0, 2.0), 0.9544997361036416);
/// ```
pub fn normal_share(mean: f64, std: f64, a: f64, b: f64) -> f64 {
    let cdf = |x: f64| (1.0 + erf(x / 2f64.sqrt())) / 2.0;
    cdf((b - mean) / std) - cdf((a - mean) / std)
}

/// `math.erf` of CPython, which is the C library's; std has none.
pub fn erf(x: f64) -> f64 {
    unsafe extern "C" {
        safe fn erf(x: f64) -> f64;
    }
    erf(x)
}

/// The share from which on PyTorch draws again what lies outside.
const SHARE: f64 = 0.3;

/// Whether `trunc_normal_` draws again what lies outside, rather than comparing densities.
pub fn redraws(mean: f64, std: f64, a: f64, b: f64) -> bool {
    normal_share(mean, std, a, b) > SHARE
}

pub(crate) fn check(mean: f64, std: f64, a: f64, b: f64) -> Result<(), DrawError> {
    normal::check_std(std)?;
    if redraws(mean, std, a, b) {
        Ok(())
    } else {
        Err(DrawError::Truncation { mean, std, a, b })
    }
}

impl<T: Element> Truncation<T> {
    pub(crate) fn new(mean: f64, std: f64, a: f64, b: f64) -> Self {
        Truncation {
            mean: T::Opmath::from_f64(mean),
            std: T::Opmath::from_f64(std),
            low: T::from_f64(a),
            high: T::from_f64(b),
        }
    }

    /// Of a block's elements, those that wait and those outside.
    fn still_waiting(&self, waiting: u16, values: &[T; BLOCK]) -> u16 {
        let outside = |value: &T| *value < self.low || *value > self.high;
        let bits = values.iter().enumerate();
        waiting & bits.fold(0, |bits, (j, value)| bits | u16::from(outside(value)) << j)
    }

    fn draw_block(&self, generator: &mut Mt19937, values: &mut [T; BLOCK], waiting: u16) -> u16 {
        normal::draw_block(generator, values, waiting, self.mean, self.std);
        self.still_waiting(waiting, values)
    }
}

/// Fewer values than a block, one after the other.
pub(crate) fn fill_serial<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    (mean, std): (f64, f64),
    truncation: &Truncation<T>,
) -> Result<(), DrawError> {
    let mut drawn = [T::from_f64(0.0); BLOCK];
    let mut waiting = u16::MAX >> (BLOCK - values.len());
    while waiting != 0 {
        normal::normal_serial_(generator, &mut drawn[..values.len()], mean, std)?;
        for (j, value) in values.iter_mut().enumerate() {
            if waiting >> j & 1 != 0 {
                *value = drawn[j];
            }
        }
        waiting = truncation.still_waiting(waiting, &drawn);
    }
    Ok(())
}

/// The block path, for at least 16 values.
pub(crate) fn fill<T: Element>(
    engine: &Engine,
    generator: &mut Mt19937,
    values: &mut [T],
    truncation: &Truncation<T>,
) {
    let simd = engine.backend.simd();
    let numel = values.len();
    let words = |numel: usize| T::Opmath::WORDS * numel as u64;
    let rest = numel % BLOCK;
    let between = if normal::draws_remainder::<T>() {
        words(rest)
    } else {
        0
    };
    let again = if rest > 0 { between + words(BLOCK) } else { 0 };
    let words_a_draw = words(numel - rest) + again;

    let cost = Cost {
        words: T::Opmath::WORDS,
        nanoseconds: match simd {
            Some(_) if T::Opmath::WORDS == 1 => 2.5,
            _ => 60.0,
        },
    };
    let parts = parallel::each(
        engine,
        cost,
        generator,
        values,
        |mut generator, part, at_end| {
            let rest = if at_end { rest } else { 0 };
            let whole = part.len() - rest;
            let mut waiting = vec![u16::MAX; whole / BLOCK];
            let mut last_waiting = if rest > 0 { u16::MAX } else { 0 };
            let mut draws = 0u64;
            loop {
                let round = Round {
                    values: &mut part[..whole],
                    waiting: &mut waiting,
                    is_first: draws == 0,
                };
                draw(simd, &mut generator, round, truncation);
                // The last 16 elements are drawn behind the others if those are not whole blocks: of
                // the last whole block, only the elements in front of them count.
                if let Some(last) = waiting.last_mut()
                    && rest > 0
                {
                    *last &= u16::MAX >> (BLOCK - rest);
                }
                if rest > 0 {
                    generator.skip_with(simd, between);
                    let start = part.len() - BLOCK;
                    if let Some(last) = part[start..].first_chunk_mut() {
                        last_waiting = truncation.draw_block(&mut generator, last, last_waiting);
                    }
                }
                draws += 1;
                if last_waiting == 0 && waiting.iter().all(|bits| *bits == 0) {
                    return (draws, generator);
                }
                generator.skip_with(
                    simd,
                    words_a_draw - words(whole) - if rest > 0 { again } else { 0 },
                );
            }
        },
    );
    match <[_; 1]>::try_from(parts) {
        Ok([(_, end)]) => *generator = end,
        Err(parts) => {
            let draws = parts.iter().map(|(draws, _)| *draws).max().unwrap_or(0);
            generator.skip_with(simd, draws * words_a_draw);
        }
    }
}

/// Blocks that are passed together if none of their elements waits.
const PASSED: usize = 1024;

/// One draw: what waits is drawn, and waits on if it is outside.
fn draw<T: Element>(
    simd: Option<Simd>,
    generator: &mut Mt19937,
    round: Round<'_, T>,
    truncation: &Truncation<T>,
) {
    let block_words = T::Opmath::WORDS * BLOCK as u64;
    let mut passed = 0;
    let values = round.values.chunks_mut(PASSED * BLOCK);
    for (values, waiting) in values.zip(round.waiting.chunks_mut(PASSED)) {
        if waiting.iter().all(|bits| *bits == 0) {
            passed += block_words * waiting.len() as u64;
            continue;
        }
        generator.skip_with(simd, std::mem::take(&mut passed));
        let part = Round {
            values,
            waiting,
            is_first: round.is_first,
        };
        draw_some(simd, generator, part, truncation);
    }
    generator.skip_with(simd, passed);
}

fn draw_some<T: Element>(
    simd: Option<Simd>,
    generator: &mut Mt19937,
    round: Round<'_, T>,
    truncation: &Truncation<T>,
) {
    let Round {
        values,
        waiting,
        is_first,
    } = round;
    if let Some(simd) = simd {
        let round = Round {
            values: &mut *values,
            waiting: &mut *waiting,
            is_first,
        };
        if T::truncated(simd, generator, round, truncation) {
            return;
        }
    }
    let block_words = T::Opmath::WORDS * BLOCK as u64;
    if is_first {
        normal::fill_blocks(simd, generator, values, truncation.mean, truncation.std);
        for (block, bits) in values.as_chunks().0.iter().zip(waiting) {
            *bits = truncation.still_waiting(*bits, block);
        }
        return;
    }
    let mut passed = 0;
    for (block, bits) in values.as_chunks_mut().0.iter_mut().zip(waiting) {
        if *bits == 0 {
            passed += block_words;
        } else {
            generator.skip_with(simd, std::mem::take(&mut passed));
            *bits = truncation.draw_block(generator, block, *bits);
        }
    }
    generator.skip_with(simd, passed);
}
