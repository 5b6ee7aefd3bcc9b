//! Predicts the words of the stream that a tensor's values were computed from.
//!
//! A uniform value determines its word up to rounding; a pair of Box-Muller normals determines two.
//! So a tensor gives a pattern of words at known distances, which
//! `stream_search` looks for. A match is only a candidate: it counts once
//! `replay` makes the same bits.

use super::replay::{Method, Position};
use super::values::{Sample, epsilon};
use crate::distribution::erf;
use crate::tensor::Dtype;
use std::f64::consts::{SQRT_2, TAU};
use torch_rng::{Draw, Mt19937, Normal, TruncNormal, Uniform};

/// Which bits of a word hold the fraction that a uniform value is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordBits {
    /// The low 24 bits: the whole fraction.
    Single,
    /// The low 21 bits of the first of two words: the upper bits of a fraction of 53 bits.
    Double,
    /// The low 8 bits: the fraction of bf16 up to PyTorch 2.11.
    OldBfloat16,
    /// The low 11 bits: the fraction of f16 up to PyTorch 2.11.
    OldFloat16,
}

impl WordBits {
    /// The number of low bits.
    fn count(self) -> u32 {
        match self {
            WordBits::Single => 24,
            WordBits::Double => 21,
            WordBits::OldBfloat16 => 8,
            WordBits::OldFloat16 => 11,
        }
    }

    /// The fraction as a number of 24 bits.
    pub(super) fn fraction_24(self, word: u32) -> u32 {
        let count = self.count();
        (word & ((1 << count) - 1)) << (24 - count)
    }

    fn fraction(self, word: u32) -> f64 {
        f64::from(self.fraction_24(word)) / f64::from(1 << 24)
    }

    fn resolution(self) -> f64 {
        f64::from(self.count()).exp2().recip()
    }
}

/// A prediction of one word: its fraction, within a tolerance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prediction {
    /// Words after the first word of the tensor.
    pub offset: u64,
    pub bits: WordBits,
    pub fraction: f64,
    pub tolerance: f64,
}

impl Prediction {
    fn holds(&self, word: u32) -> bool {
        let distance = (self.bits.fraction(word) - self.fraction).abs();
        // Angles wrap around.
        distance.min(1.0 - distance) <= self.tolerance
    }

    /// The probability that a random word fits.
    fn probability(&self) -> f64 {
        (2.0 * self.tolerance).min(1.0)
    }
}

/// A range of words that a prediction holds for, and a few more, as integers.
#[derive(Debug, Clone, Copy)]
pub(super) struct WordRange {
    offset: u32,
    bits: WordBits,
    first: u32,
    length: u32,
}

impl WordRange {
    /// Of all words.
    const ANY: WordRange = WordRange {
        offset: 0,
        bits: WordBits::Single,
        first: 0,
        length: u32::MAX,
    };

    fn of(prediction: &Prediction) -> WordRange {
        let units = f64::from(1 << 24);
        let length = 2.0 * prediction.tolerance * units + 4.0;
        if length >= units {
            return WordRange::ANY;
        }
        let first = ((prediction.fraction - prediction.tolerance) * units).floor() as i64 - 1;
        WordRange {
            offset: prediction.offset as u32,
            bits: prediction.bits,
            first: first.rem_euclid(1 << 24) as u32,
            length: length as u32,
        }
    }

    /// Whether the word of the prediction is in the range, if the pattern begins at `start`.
    #[inline(always)]
    pub(super) fn may_hold(&self, words: &[u32], start: usize) -> bool {
        let word = words.get(start + self.offset as usize);
        word.is_some_and(|word| {
            // Angles wrap around.
            let after = self.bits.fraction_24(*word).wrapping_sub(self.first);
            after & 0x00ff_ffff <= self.length
        })
    }
}

/// The words of a tensor, predicted from its values and a draw.
#[derive(Debug, Clone)]
pub(super) struct WordPattern {
    predictions: Vec<Prediction>,
    /// The number of predictions that must hold: fewer than all if elements may have been redrawn.
    needed: usize,
}

/// The maximum number of predictions.
const PREDICTIONS: usize = 48;

/// The number of blocks of a `normal_` among which one with few zeros is looked for; a padding row is all zeros.
const BLOCKS: usize = 512;

/// The minimum evidence, in bits: patterns that match random words more easily are not used.
const BITS: f64 = 16.0;

impl WordPattern {
    /// Predicts the words of a tensor. `None` if its values cannot be drawn this way or determine too
    /// little of their words.
    pub(super) fn new(
        draw: Draw,
        method: Method,
        sample: &Sample,
        dtype: Dtype,
    ) -> Option<WordPattern> {
        let values = &sample.head[..];
        let drawn = match method {
            Method::In(drawn) => drawn,
            _ => dtype,
        };
        let precision = epsilon(dtype).max(epsilon(drawn));
        let predictions = match (draw, method) {
            (Draw::Uniform(Uniform { from, to }), _) => {
                uniform(values, from, to, word_bits(drawn, method), precision)
            }
            (Draw::TruncNormal(TruncNormal { mean, std, a, b }), method)
                if method.is_inverse_erf() =>
            {
                let bits = word_bits(drawn, method);
                inverse_erf(values, [mean, std, a, b], bits, precision)
            }
            (
                Draw::Normal(Normal { mean, std })
                | Draw::TruncNormal(TruncNormal { mean, std, .. }),
                _,
            ) => {
                let normal = |values: &[f64]| values.iter().map(|v| (v - mean) / std).collect();
                let normals = Sample {
                    numel: sample.numel,
                    head: normal(&values[..values.len().min(16 * BLOCKS)]),
                    tail: normal(&sample.tail),
                };
                let precision = precision * (1.0 + mean.abs() / std);
                // Every operation is rounded.
                let precision = match method {
                    method if method.is_up_to_2_11() => 8.0 * precision,
                    _ => precision,
                };
                let serial = match method {
                    Method::Serial => true,
                    Method::Block => false,
                    _ => sample.numel < 16,
                };
                match serial {
                    true => serial_normal(&normals.head, precision),
                    false => {
                        // Some elements of a truncated normal were redrawn.
                        let blocks = if matches!(draw, Draw::Normal(_)) {
                            1
                        } else {
                            3
                        };
                        block_normal(&normals, drawn, method, precision, blocks)
                    }
                }
            }
            _ => return None,
        };
        let all = predictions.len();
        let needed = match (draw, method) {
            (Draw::TruncNormal(_), method) if method.is_inverse_erf() => all,
            // An element outside the bounds was redrawn, so its pair matches no words.
            (Draw::TruncNormal(draw), _) => kept_predictions(draw, all),
            _ => all,
        };
        let pattern = WordPattern {
            predictions,
            needed,
        };
        (pattern.probability() <= 2f64.powf(-BITS)).then_some(pattern)
    }

    /// The probability that random words fit.
    pub(super) fn probability(&self) -> f64 {
        let mut probabilitys: Vec<f64> = self
            .predictions
            .iter()
            .map(Prediction::probability)
            .collect();
        probabilitys.sort_by(|a, b| b.total_cmp(a));
        let all = probabilitys.len();
        let choices: f64 = (0..all - self.needed)
            .map(|i| (all - i) as f64 / (i + 1) as f64)
            .product();
        choices * probabilitys.iter().take(self.needed).product::<f64>()
    }

    /// Whether the words from `start` on fit.
    pub(super) fn fits(&self, words: &[u32], start: usize) -> bool {
        let mut spare = self.predictions.len() - self.needed;
        self.predictions.iter().all(|p| {
            let word = words.get(start + p.offset as usize);
            if word.is_some_and(|word| p.holds(*word)) {
                return true;
            }
            let tolerated = spare > 0;
            spare = spare.saturating_sub(1);
            tolerated
        })
    }

    /// Whether the words at a position fit.
    pub(super) fn fits_at(&self, position: Position) -> bool {
        let mut predictions: Vec<&Prediction> = self.predictions.iter().collect();
        predictions.sort_by_key(|p| p.offset);
        let mut stream = Mt19937::new(position.seed);
        stream.skip(position.word);
        let (mut at, mut spare) = (0, self.predictions.len() - self.needed);
        predictions.into_iter().all(|p| {
            stream.skip(p.offset - at);
            at = p.offset + 1;
            let tolerated = spare > 0;
            if p.holds(stream.next_u32()) {
                return true;
            }
            spare = spare.saturating_sub(1);
            tolerated
        })
    }

    /// The number of words up to the last predicted one.
    pub(super) fn span(&self) -> u64 {
        self.predictions
            .iter()
            .map(|p| p.offset + 1)
            .max()
            .unwrap_or(0)
    }

    /// The predictions that a scan looks for, enough for at least one of them to hold, each with another that then holds too.
    pub(super) fn pivots(&self) -> Vec<(Prediction, WordRange)> {
        /// The most predictions that are looked for.
        const PIVOTS: usize = 6;
        let mut order: Vec<usize> = (0..self.predictions.len()).collect();
        order.sort_by(|a, b| self.tolerance(*a).total_cmp(&self.tolerance(*b)));
        let range = |index: usize| self.predictions.get(index).map(WordRange::of);
        let spare = self.predictions.len() - self.needed;
        if spare == 0 {
            let check = order.get(1).and_then(|index| range(*index));
            let first = order.first().map(|index| self.predictions[*index]);
            let check = check.unwrap_or(WordRange::ANY);
            return first.map(|first| (first, check)).into_iter().collect();
        }
        // The two of a pair follow each other, and hold or do not hold together.
        let mut pairs = Vec::new();
        let is_first_of_pair = |index: &usize| {
            let is_new = !pairs.contains(&(index / 2));
            pairs.push(index / 2);
            is_new
        };
        order
            .into_iter()
            .filter(is_first_of_pair)
            .take((spare.div_ceil(2) + 1).min(PIVOTS))
            .map(|index| {
                let check = range(index ^ 1).unwrap_or(WordRange::ANY);
                (self.predictions[index], check)
            })
            .collect()
    }

    fn tolerance(&self, index: usize) -> f64 {
        self.predictions[index].tolerance
    }
}

/// How many of the predictions of a truncated normal hold, but for four standard deviations. The two of a pair do if both values
/// are within the bounds at first.
fn kept_predictions(TruncNormal { mean, std, a, b }: TruncNormal, all: usize) -> usize {
    let cdf = |x: f64| erf((x - mean) / std / SQRT_2) / 2.0;
    let kept = (cdf(b) - cdf(a)).powi(2);
    let pairs = all as f64 / 2.0;
    let deviation = (pairs * kept * (1.0 - kept)).sqrt();
    let needed = 2.0 * (pairs * kept - 4.0 * deviation);
    // NaN, of a draw that nothing makes, is 0.
    (needed.max(0.0) as usize).min(all)
}

fn uniform(
    values: &[f64],
    from: f64,
    to: f64,
    (bits, step): (WordBits, u64),
    precision: f64,
) -> Vec<Prediction> {
    let width = to - from;
    if width <= 0.0 || !width.is_finite() {
        return Vec::new();
    }
    let rounding = precision * (from.abs().max(to.abs()) / width);
    values
        .iter()
        .enumerate()
        // Zeros may have been set later, as by a padding row or by pruning.
        .filter(|(_, value)| (**value != 0.0 || from == 0.0) && !value.is_nan())
        .take(PREDICTIONS)
        .map(|(i, value)| Prediction {
            offset: i as u64 * step,
            bits,
            fraction: (value - from) / width,
            tolerance: rounding + bits.resolution(),
        })
        .collect()
}

/// Elements j and j + 8 of a block of 16 are a pair. If numel is not a multiple of 16, the last 16
/// elements are one block, drawn last, and only whole blocks before them keep their pairs.
/// Predicts the words of the first `blocks` that are not mostly zeros.
fn block_normal(
    normals: &Sample,
    drawn: Dtype,
    method: Method,
    precision: f64,
    blocks: usize,
) -> Vec<Prediction> {
    /// The number of pairs without zeros that a block must have.
    const PAIRS: usize = 5;
    let (bits, step) = word_bits(drawn, method);
    let numel = normals.numel;
    let rest = numel % 16;
    if numel < 16 {
        return short_block(&normals.head, bits, step, precision);
    }
    let whole_blocks = match rest {
        0 => numel / 16,
        _ => (numel - 16) / 16,
    };
    // f32 and f64 draw all values first, the 16-bit dtypes only whole blocks since PyTorch 2.12.
    let redrawn = match drawn {
        _ if method.is_up_to_2_11() => numel,
        Dtype::Float16 | Dtype::Bfloat16 => numel - rest,
        _ => numel,
    };
    let tail = (rest != 0).then_some((redrawn, numel - 16));
    (0..whole_blocks.min(BLOCKS))
        .map(|block| (16 * block, 16 * block))
        .chain(tail)
        .map(|(word, element)| {
            let block = normals.head.get(element..element + 16);
            let block = block.unwrap_or(&normals.tail);
            block_predictions(block, word as u64, bits, step, precision)
        })
        .filter(|predictions| predictions.len() >= 2 * PAIRS)
        .take(blocks)
        .flatten()
        .collect()
}

/// Whether a value shows its words. Zeros may have been set later; what is known to be changed is NaN.
fn is_known(value: f64) -> bool {
    value != 0.0 && !value.is_nan()
}

/// The predictions from the pairs without zeros of a block whose first value is number `start`.
fn block_predictions(
    block: &[f64],
    start: u64,
    bits: WordBits,
    step: u64,
    precision: f64,
) -> Vec<Prediction> {
    (0..8)
        .filter(|j| is_known(block[*j]) && is_known(block[*j + 8]))
        .flat_map(|j| {
            let (u1, u2) = box_muller(block[j], block[j + 8], bits, precision);
            // `u1 = 1 - u`
            let first = Prediction {
                offset: (start + j as u64) * step,
                fraction: 1.0 - u1.fraction,
                ..u1
            };
            let second = Prediction {
                offset: (start + j as u64 + 8) * step,
                ..u2
            };
            [first, second]
        })
        .collect()
}

/// The first elements of a block of 16, as far as both of a pair are there.
fn short_block(normals: &[f64], bits: WordBits, step: u64, precision: f64) -> Vec<Prediction> {
    (8..normals.len())
        .flat_map(|k| {
            let (u1, u2) = box_muller(normals[k - 8], normals[k], bits, precision);
            let first = Prediction {
                offset: (k as u64 - 8) * step,
                fraction: 1.0 - u1.fraction,
                ..u1
            };
            let second = Prediction {
                offset: k as u64 * step,
                ..u2
            };
            [first, second]
        })
        .collect()
}

/// Pair by pair in double precision, four words each: first the angle, then the radius.
fn serial_normal(normals: &[f64], precision: f64) -> Vec<Prediction> {
    normals
        .chunks_exact(2)
        .take(PREDICTIONS / 2)
        .enumerate()
        .flat_map(|(i, pair)| {
            let (u1, u2) = box_muller(pair[0], pair[1], WordBits::Double, precision);
            // The radius comes from the second uniform: `log1p(-u2)`.
            let angle = Prediction {
                offset: 4 * i as u64,
                ..u2
            };
            let radius = Prediction {
                offset: 4 * i as u64 + 2,
                fraction: 1.0 - u1.fraction,
                ..u1
            };
            [angle, radius]
        })
        .collect()
}

/// The uniforms of a pair of normals `r cos`, `r sin`: `exp(-r^2 / 2)` and the angle as a fraction of
/// a turn.
fn box_muller(cos: f64, sin: f64, bits: WordBits, precision: f64) -> (Prediction, Prediction) {
    let square = cos * cos + sin * sin;
    let u1 = (-square / 2.0).exp();
    let turn = sin.atan2(cos) / TAU;
    // The relative rounding error of a value, plus that of the kernel's f32 polynomials.
    let error = precision + 16.0 * f64::from(f32::EPSILON);
    let radius = square.sqrt();
    let predicted = |fraction, tolerance| Prediction {
        offset: 0,
        bits,
        fraction,
        tolerance,
    };
    (
        predicted(
            u1,
            bits.resolution() + error * (1.0 + square) * u1 + precision,
        ),
        predicted(
            turn.rem_euclid(1.0),
            bits.resolution() + error * (1.0 + 1.0 / radius.max(1e-6)) / TAU,
        ),
    )
}

/// `erf` maps a value back to its uniform. Clamped values are left out.
fn inverse_erf(
    values: &[f64],
    [mean, std, a, b]: [f64; 4],
    (bits, step): (WordBits, u64),
    precision: f64,
) -> Vec<Prediction> {
    let cdf = |x: f64| erf((x - mean) / std / SQRT_2);
    let (low, high) = (cdf(a), cdf(b));
    if high <= low {
        return Vec::new();
    }
    values
        .iter()
        .enumerate()
        .filter(|(_, v)| **v > a && **v < b)
        .take(PREDICTIONS)
        .map(|(i, value)| Prediction {
            offset: i as u64 * step,
            bits,
            fraction: (cdf(*value) - low) / (high - low),
            tolerance: bits.resolution() + 16.0 * precision / (high - low),
        })
        .collect()
}

/// The bits that a uniform of a dtype uses of a word, and its number of words.
fn word_bits(drawn: Dtype, method: Method) -> (WordBits, u64) {
    match drawn {
        Dtype::Float64 => (WordBits::Double, 2),
        Dtype::Bfloat16 if method.is_up_to_2_11() => (WordBits::OldBfloat16, 1),
        Dtype::Float16 if method.is_up_to_2_11() => (WordBits::OldFloat16, 1),
        _ => (WordBits::Single, 1),
    }
}
