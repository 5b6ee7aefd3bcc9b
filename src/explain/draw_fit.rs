//! Which draws a tensor may be of, from its values alone.
//!
//! Values of f32 and f64 lie on the grid of their draw: about half the values of another one cannot be drawn at all.

use super::known_draws::{KnownDraw, Moments, may_hold};
use super::values::{epsilon, max_abs, range, rng_dtype};
use crate::distribution::erf;
use crate::tensor::{Dtype, TensorView};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::f64::consts::SQRT_2;
use torch_rng::recovery::{
    KnownBits, RecoveryError, agreement, corrected, recover, recover_candidates, shown_words,
};
use torch_rng::{Draw, Mt19937, Normal, TruncNormal, Uniform};

/// The first values of a tensor, in an order in which it may have been drawn.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub dtype: Dtype,
    /// The elements of the tensor.
    pub numel: u64,
    /// The element that `values` begin with: a multiple of 16 after zeros, such as those of a padding row.
    pub first: u64,
    pub values: Vec<f64>,
    /// The bounds that the values were cut at later.
    cut: Option<Cut>,
    moments: Moments,
    middle: Option<Middle>,
}

/// Where the values lie, but for the few that are farthest out, which may have been changed later.
#[derive(Debug, Clone, Copy)]
struct Middle {
    /// All but one in 20 lie between these.
    most: [f64; 2],
    /// As many lie between these as normal values do within one standard deviation.
    within_std: [f64; 2],
}

impl Middle {
    /// `None` if the values are few, so that these bounds say little.
    fn of(values: &[f64]) -> Option<Middle> {
        const LEAST: usize = 1000;
        if values.len() < LEAST {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64) as usize];
        Some(Middle {
            most: [at(0.025), at(0.975)],
            within_std: [at(0.158_655), at(0.841_345)],
        })
    }

    /// Whether a draw has its values there.
    fn may_hold(&self, draw: Draw) -> bool {
        let near = |found: [f64; 2], expected: [f64; 2], error: f64| {
            let mut pairs = found.into_iter().zip(expected);
            pairs.all(|(found, expected)| (found - expected).abs() <= error)
        };
        match draw {
            Draw::Uniform(Uniform { from, to }) => {
                let width = to - from;
                let expected = [from + 0.025 * width, to - 0.025 * width];
                width > 0.0 && near(self.most, expected, 0.03 * width)
            }
            Draw::Normal(Normal { mean, std }) => {
                near(self.within_std, [mean - std, mean + std], 0.15 * std)
            }
            Draw::TruncNormal(TruncNormal { mean, std, a, b }) if b - a > 6.0 * std => {
                self.may_hold(Normal { mean, std }.into())
            }
            _ => false,
        }
    }
}

/// Bounds of values that were cut, as `torch.clamp` does.
#[derive(Debug, Clone)]
struct Cut {
    low: f64,
    high: f64,
    /// The share of the values on each.
    shares: [f64; 2],
    /// The values, with NaN for those on the bounds, which show nothing.
    inner: Vec<f64>,
}

impl Cut {
    /// `None` for values that are not cut. Values of 16 bits are often equal.
    fn of(dtype: Dtype, values: &[f64], moments: &Moments) -> Option<Cut> {
        /// Fewer values than these on a bound may be equal by chance.
        const LEAST: usize = 4;
        let Moments { low, high, .. } = *moments;
        let on = |bound: f64| values.iter().filter(|value| **value == bound).count();
        let counts = [on(low), on(high)].map(|count| if count < LEAST { 0 } else { count });
        if epsilon(dtype) > epsilon(Dtype::Float32) || low >= high || counts == [0, 0] {
            return None;
        }
        let is_cut =
            |value: f64| (value == low && counts[0] > 0) || (value == high && counts[1] > 0);
        let inner = values
            .iter()
            .map(|v| if is_cut(*v) { f64::NAN } else { *v });
        Some(Cut {
            low,
            high,
            shares: counts.map(|count| count as f64 / values.len() as f64),
            inner: inner.collect(),
        })
    }

    /// Whether as many values lie on the bounds as a draw has beyond them.
    fn may_hold(&self, draw: Draw) -> bool {
        let beyond: [f64; 2] = match draw {
            Draw::Uniform(Uniform { from, to }) if to > from => {
                [self.low - from, to - self.high].map(|length| length / (to - from))
            }
            Draw::Normal(Normal { mean, std })
            | Draw::TruncNormal(TruncNormal { mean, std, .. }) => {
                [self.low - mean, mean - self.high]
                    .map(|distance| (1.0 + erf(distance / std / SQRT_2)) / 2.0)
            }
            _ => return false,
        };
        let n = self.inner.len() as f64;
        beyond.iter().zip(self.shares).all(|(beyond, share)| {
            let deviation = (beyond * (1.0 - beyond) / n).sqrt();
            // NaN, of a share that no draw has, is not near.
            (beyond - share).abs() <= 6.0 * deviation + 16.0 / n
        })
    }
}

/// The values that decide whether a draw fits.
const SAMPLE: usize = 512;

/// The values of a tensor that are read to find its draw: more than enough for a state.
pub(super) const HEAD: usize = 8192;

/// Why values do not give a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unrecovered {
    /// The values are too few.
    TooFew,
    /// The values are not those of a stream of MT19937.
    OtherData,
    /// Some words are wrong, and which ones cannot be told.
    WrongWords,
}

/// The known bits of a word from which on three earlier words and a few more show the others.
const MANY_BITS: u32 = 16;

/// About the share of a state that words show. Those of 1 may still be too few, as known bits depend on others.
pub(super) fn share_of_state(known: &[KnownBits]) -> f64 {
    // The words that determine a state, measured with uniform_ and normal_ of each dtype.
    let share = |known: &KnownBits| match known.mask.count_ones() >= MANY_BITS {
        true => 1.0 / 1000.0,
        false => 1.0 / 4200.0,
    };
    known.iter().map(share).sum()
}

/// The generator that draws words of which these bits are known, and the position of the word that it draws next.
pub(super) fn generator(known: Vec<KnownBits>) -> Result<(Mt19937, u64), Unrecovered> {
    let first = |known: &[KnownBits]| known.first().map_or(0, |known| known.word);
    for known in right_words(known)? {
        match recover(&known) {
            Ok(generator) => return Ok((generator, first(&known))),
            Err(RecoveryError::TooFew { .. }) => return Err(Unrecovered::TooFew),
            // A few words are wrong that the sums do not show.
            Err(_) => {}
        }
    }
    Err(Unrecovered::WrongWords)
}

/// The words without those that are probably wrong, and without all that may be.
fn right_words(known: Vec<KnownBits>) -> Result<Vec<Vec<KnownBits>>, Unrecovered> {
    /// The sums that are enough to tell MT19937 from other data, and if none of them disagrees: values of `bfloat16` have few.
    const SUMS: u64 = 64;
    const AGREEING_SUMS: u64 = 6;
    let agreement = agreement(&known);
    if agreement.sums >= SUMS && 4 * agreement.disagreeing > agreement.sums {
        return Err(Unrecovered::OtherData);
    }
    let are_enough = match agreement.disagreeing {
        0 => agreement.sums >= AGREEING_SUMS,
        _ => agreement.sums >= SUMS,
    };
    if share_of_state(&known) < 1.0 || !are_enough {
        return Err(Unrecovered::TooFew);
    }
    let many = known.iter().filter(|k| k.mask.count_ones() >= MANY_BITS);
    // Of words of few bits, the sums are too few to tell which are wrong, and a state costs seconds.
    if 2 * many.count() < known.len() {
        return match agreement.disagreeing {
            0 => Ok(vec![known]),
            _ => Err(Unrecovered::WrongWords),
        };
    }
    let without = |wrong: Vec<u64>| {
        let wrong: BTreeSet<u64> = wrong.into_iter().collect();
        let right = known.iter().filter(|known| !wrong.contains(&known.word));
        right.copied().collect()
    };
    Ok(vec![
        without(agreement.wrong_words),
        without(agreement.suspect_words),
    ])
}

impl Head {
    /// The first values of a tensor, after zeros; `None` if all are zeros.
    pub(super) fn of(view: &TensorView<'_>) -> Option<Head> {
        let numel = view.numel();
        let mut first = 0;
        loop {
            let values = range(view, first..first + HEAD)?;
            let zeros = values.iter().take_while(|value| **value == 0.0).count();
            if zeros < values.len() {
                let skipped = match zeros < 16 {
                    true => 0,
                    false => zeros.next_multiple_of(16),
                };
                let first = (first + skipped).min(numel);
                let values = range(view, first..first + HEAD)?;
                let moments = Moments::of(&values);
                return (!values.is_empty()).then_some(Head {
                    dtype: view.dtype(),
                    numel: numel as u64,
                    first: first as u64,
                    cut: Cut::of(view.dtype(), &values, &moments),
                    middle: Middle::of(&values),
                    moments,
                    values,
                });
            }
            first += values.len();
            if first >= numel {
                return None;
            }
        }
    }

    /// Whether the values lie on the grid of a draw. Always for dtypes of 16 bits, which have too few digits.
    pub(super) fn fits(&self, draw: Draw) -> bool {
        let share = share_changed(draw);
        // Most other draws are rejected by the first values.
        self.fits_sample(draw, 32, share + 0.25) && self.fits_sample(draw, SAMPLE, share)
    }

    fn fits_sample(&self, draw: Draw, count: usize, changed: f64) -> bool {
        let values = self.known_values();
        let values = &values[..values.len().min(count)];
        let shown = shown_words(draw, rng_dtype(self.dtype), self.numel, self.first, values);
        match shown {
            Some(shown) => {
                // NaN marks a value that was cut, and is counted as one that the draw cannot give.
                let unknown = match self.cut {
                    Some(_) => unknown(draw, &values[..shown.values as usize]),
                    None => 0,
                };
                let known = (shown.values - unknown) as f64;
                (shown.impossible - unknown) as f64 <= changed * known
            }
            // Fewer than 16 normal values do not show it.
            None => self.numel < 16,
        }
    }

    /// The values, with NaN for those that were changed later and show nothing.
    pub(super) fn known_values(&self) -> &[f64] {
        self.cut.as_ref().map_or(&self.values, |cut| &cut.inner)
    }

    fn may_hold(&self, draw: Draw) -> bool {
        match &self.cut {
            Some(cut) => cut.may_hold(draw),
            // Elements that were changed later may lie beyond its bounds.
            None => {
                may_hold(draw, &self.moments)
                    || self.middle.is_some_and(|middle| middle.may_hold(draw))
            }
        }
    }

    /// The draws that fit, of the known ones.
    pub(super) fn known_fits(&self, known: &[KnownDraw]) -> Vec<KnownDraw> {
        let fits = known
            .iter()
            .filter(|known| self.may_hold(known.draw) && self.fits(known.draw));
        fits.cloned().collect()
    }

    /// A draw with other arguments that fits: `uniform_` with symmetrical bounds, of which every f32 near the estimate is tried, or
    /// `normal_` with a round standard deviation, or one divided by the square root of an integer.
    pub(super) fn fitted(&self) -> Option<KnownDraw> {
        /// The values that are enough for the estimate.
        const ENOUGH: usize = 1000;
        if self.dtype != Dtype::Float32 || self.values.len() < ENOUGH {
            return None;
        }
        let n = self.values.len() as f64;
        let moment = |power: i32| self.values.iter().map(|v| v.powi(power)).sum::<f64>() / n;
        let (mean, square) = (moment(1), moment(2));
        // The kurtosis is 1.8 or 3. That of n normal values has the standard deviation sqrt(24 / n).
        let kurtosis = moment(4) / (square * square);
        let near = |expected: f64| (kurtosis - expected).abs() <= 8.0 * (24.0 / n).sqrt();
        if mean.abs() > 6.0 * (square / n).sqrt() {
            None
        } else if kurtosis < 2.4 {
            near(1.8).then(|| self.fitted_uniform(n))?
        } else {
            near(3.0).then(|| self.fitted_normal(square.sqrt(), n))?
        }
    }

    fn fitted_uniform(&self, n: f64) -> Option<KnownDraw> {
        let largest = max_abs(&self.values);
        // All values stay below by this with a probability of exp(-25).
        let highest = largest * (1.0 + 25.0 / n);
        let bits = |bound: f64| (bound as f32).to_bits();
        let draw = |bits: u32| {
            let bound = f64::from(f32::from_bits(bits));
            Draw::from(Uniform {
                from: -bound,
                to: bound,
            })
        };
        (bits(largest)..=bits(highest))
            .into_par_iter()
            .map(draw)
            .find_first(|draw| self.fits_sample(*draw, 8, 0.0) && self.fits(*draw))
            .map(|draw| KnownDraw {
                draw,
                name: "the bound found from the values".to_owned(),
            })
    }

    fn fitted_normal(&self, std: f64, n: f64) -> Option<KnownDraw> {
        // The estimate has the relative standard deviation 1 / sqrt(2 n).
        let error = 6.0 / (2.0 * n).sqrt();
        let (low, high) = (std * (1.0 - error), std * (1.0 + error));
        // Three digits.
        let unit = 10f64.powf(low.log10().floor() - 2.0);
        let round = ((low / unit).ceil() as u64..=(high / unit) as u64).map(|digits| {
            let std = format!("{digits}e{}", unit.log10().round());
            (std.parse().unwrap_or(digits as f64 * unit), std)
        });
        let fractions = [1.0, 2.0, 0.02, 0.01, 0.05, 0.1, 2f64.sqrt()];
        let fractions = fractions.into_iter().flat_map(|numerator| {
            /// The greatest integer under the square root.
            const GREATEST: f64 = 65_536.0;
            let integer = |std: f64| (numerator / std).powi(2);
            let integers = integer(high).ceil().max(2.0)..=integer(low).min(GREATEST);
            let (first, last) = (*integers.start() as u64, *integers.end() as u64);
            (first..=last).map(move |integer| (integer, numerator))
        });
        // The simplest first: 0.02 / sqrt(24), not 1 / sqrt(60000).
        let mut fractions: Vec<(u64, f64)> = fractions.collect();
        fractions.sort_by_key(|(integer, _)| *integer);
        let fractions = fractions.into_iter().map(|(integer, numerator)| {
            let std = numerator / (integer as f64).sqrt();
            (std, format!("{numerator} / sqrt({integer})"))
        });
        let candidates: Vec<(f64, String)> = round.chain(fractions).collect();
        candidates
            .into_par_iter()
            .map(|(std, name)| KnownDraw {
                draw: Normal { mean: 0.0, std }.into(),
                name: format!("std {name}"),
            })
            .find_first(|known| self.fits(known.draw))
    }

    /// What the values show of the words of a draw, counted from its first word.
    pub(super) fn shown(&self, draw: Draw) -> Vec<KnownBits> {
        let dtype = rng_dtype(self.dtype);
        let shown = shown_words(draw, dtype, self.numel, self.first, self.known_values());
        shown.map(|shown| shown.known).unwrap_or_default()
    }

    /// The generator that draws the values of a draw, and the word of the draw that it draws next.
    pub(super) fn generator(&self, draw: Draw) -> Result<(Mt19937, u64), Unrecovered> {
        generator(self.shown(draw))
    }

    /// All generators that may draw the values, which are nearly enough: each draws the first word of the draw next.
    pub(super) fn candidates(&self, draw: Draw) -> Vec<Mt19937> {
        /// There are two to the power of these, all of which are tried.
        const OPEN: u32 = 10;
        let Ok(mut choices) = right_words(self.shown(draw)) else {
            return Vec::new();
        };
        let mut known = choices.swap_remove(0);
        known.push(KnownBits {
            word: 0,
            mask: 0,
            bits: 0,
        });
        recover_candidates(&known, OPEN).unwrap_or_default()
    }

    /// The same from many values of a dtype of 16 bits, of which some were changed later. Takes seconds where it succeeds.
    pub(super) fn corrected_generator(
        &self,
        view: &TensorView<'_>,
        draw: Draw,
    ) -> Option<(Mt19937, u64)> {
        /// The values that are read.
        const MANY: usize = 1 << 17;
        if self.shows_grid() {
            return None;
        }
        let first = usize::try_from(self.first).ok()?;
        let values = range(view, first..first + MANY)?;
        let shown = shown_words(draw, rng_dtype(self.dtype), self.numel, self.first, &values);
        let known = corrected(&shown?.known)?;
        let (start, end) = (known.first()?.word, known.last()?.word);
        // Words at the ends may still be wrong: those in the middle first.
        let parts = [4, 6, u64::MAX].map(|part| (end - start) / part);
        parts.into_iter().find_map(|margin| {
            let within = start + margin..=end - margin;
            let known: Vec<KnownBits> = known
                .iter()
                .copied()
                .filter(|known| within.contains(&known.word))
                .collect();
            let next = known.first()?.word;
            Some((recover(&known).ok()?, next))
        })
    }

    /// Whether the digits of the dtype show what a value was drawn from.
    pub(super) fn shows_grid(&self) -> bool {
        epsilon(self.dtype) <= epsilon(Dtype::Float32)
    }
}

/// How many values of a draw do not show their words because they, or those beside them in a block, are NaN.
fn unknown(draw: Draw, values: &[f64]) -> u64 {
    let unknown = match draw {
        Draw::Uniform(_) => values.iter().filter(|value| value.is_nan()).count(),
        _ => {
            let pairs = values.as_chunks::<16>().0.iter().flat_map(|block| {
                let (cos, sin) = block.split_at(8);
                cos.iter().zip(sin)
            });
            2 * pairs
                .filter(|(cos, sin)| cos.is_nan() || sin.is_nan())
                .count()
        }
    };
    unknown as u64
}

/// The largest share of the values of a draw that are impossible, as values are that were changed later.
fn share_changed(draw: Draw) -> f64 {
    const CHANGED: f64 = 0.1;
    match draw {
        // A pair is impossible if one of its values was drawn again.
        Draw::TruncNormal(draw) if draw.b - draw.a < 6.0 * draw.std => 0.35,
        Draw::Normal(_) | Draw::TruncNormal(_) => 2.0 * CHANGED,
        _ => CHANGED,
    }
}
