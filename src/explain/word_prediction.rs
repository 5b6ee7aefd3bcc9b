//! What the words behind a tensor's values must look like.
//!
//! A uniform value gives its word away but for rounding, and a pair of Box-Muller normals both of
//! theirs. So every tensor becomes a few predictions, "the word after so many is about this", which
//! [`search`](super::stream_search) tests. What is found is a lead: [`redraw`](super::replay) decides.

use super::known_draws::Distribution;
use super::replay::Method;
use super::values::epsilon;
use crate::distribution::erf;
use crate::tensor::Dtype;
use std::f64::consts::{SQRT_2, TAU};

/// How a word holds the fraction that was drawn from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A fraction of 24 bits: the low bits of the word.
    Single,
    /// The upper 21 bits of a fraction of 53: the low bits of the first of two words.
    Double,
}

impl Part {
    fn fraction(self, word: u32) -> f64 {
        match self {
            Part::Single => f64::from(word & 0x00ff_ffff) / f64::from(1 << 24),
            Part::Double => f64::from(word & 0x001f_ffff) / f64::from(1 << 21),
        }
    }

    fn resolution(self) -> f64 {
        match self {
            Part::Single => 2f64.powi(-24),
            Part::Double => 2f64.powi(-21),
        }
    }
}

/// The word `offset` words after the first one that the tensor drew holds about this fraction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prediction {
    pub offset: u64,
    pub part: Part,
    pub fraction: f64,
    pub tolerance: f64,
}

impl Prediction {
    fn holds(&self, word: u32) -> bool {
        let distance = (self.part.fraction(word) - self.fraction).abs();
        // Angles wrap around.
        distance.min(1.0 - distance) <= self.tolerance
    }

    /// The chance that a random word fits.
    fn chance(&self) -> f64 {
        (2.0 * self.tolerance).min(1.0)
    }
}

/// What the words of one tensor must look like if it came from one distribution.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    predictions: Vec<Prediction>,
    /// How many predictions must hold: all, or most where elements were redrawn or clamped.
    needed: usize,
}

/// The predictions that a tensor uses at most.
const PREDICTIONS: usize = 48;

/// A lead nobody would believe is not looked at: fewer bits than these are matched by chance.
const BITS: f64 = 16.0;

impl Trace {
    /// Predicts the words of a tensor. `None` if its values cannot have come this way or say too
    /// little about their words.
    pub(super) fn new(
        distribution: Distribution,
        method: Method,
        values: &[f64],
        dtype: Dtype,
    ) -> Option<Trace> {
        let drawn = match method {
            Method::In(drawn) => drawn,
            _ => dtype,
        };
        let precision = epsilon(dtype).max(epsilon(drawn));
        let predictions = match (distribution, method) {
            (Distribution::Uniform { from, to }, _) => uniform(values, from, to, drawn, precision),
            (Distribution::Orthogonal { .. }, _) => return None,
            (Distribution::TruncNormal { mean, std, a, b }, Method::InverseErf) => {
                inverse_erf(values, [mean, std, a, b], drawn, precision)
            }
            (
                Distribution::Normal { mean, std } | Distribution::TruncNormal { mean, std, .. },
                _,
            ) => {
                let normals: Vec<f64> = values.iter().map(|v| (v - mean) / std).collect();
                let precision = precision * (1.0 + mean.abs() / std);
                let serial = match method {
                    Method::Serial => true,
                    Method::Block => false,
                    _ => values.len() < 16,
                };
                match serial {
                    true => serial_normal(&normals, precision),
                    false => block_normal(&normals, drawn, precision),
                }
            }
        };
        let all = predictions.len();
        let needed = match (distribution, method) {
            (Distribution::TruncNormal { .. }, Method::InverseErf) => all,
            // An element outside the bounds was replaced, and its pair with it.
            (Distribution::TruncNormal { .. }, _) => (all * 2).div_ceil(5),
            _ => all,
        };
        let trace = Trace {
            predictions,
            needed,
        };
        (trace.chance() <= 2f64.powf(-BITS)).then_some(trace)
    }

    /// The chance that random words fit.
    pub(super) fn chance(&self) -> f64 {
        let mut chances: Vec<f64> = self.predictions.iter().map(Prediction::chance).collect();
        chances.sort_by(|a, b| b.total_cmp(a));
        let choices = match self.needed == chances.len() {
            true => 1.0,
            false => 2f64.powf(chances.len() as f64),
        };
        choices * chances.iter().take(self.needed).product::<f64>()
    }

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

    pub(super) fn span(&self) -> u64 {
        self.predictions
            .iter()
            .map(|p| p.offset + 1)
            .max()
            .unwrap_or(0)
    }

    /// The predictions by which a scan finds the place: enough that at least one holds.
    pub(super) fn pivots(&self) -> impl Iterator<Item = &Prediction> {
        let spare = self.predictions.len() - self.needed;
        let count = match spare {
            0 => 1,
            _ => (spare + 1).min(6),
        };
        let mut sorted: Vec<&Prediction> = self.predictions.iter().collect();
        sorted.sort_by(|a, b| a.tolerance.total_cmp(&b.tolerance));
        sorted.into_iter().take(count)
    }
}

fn uniform(values: &[f64], from: f64, to: f64, drawn: Dtype, precision: f64) -> Vec<Prediction> {
    let width = to - from;
    if width <= 0.0 || !width.is_finite() {
        return Vec::new();
    }
    let (part, step) = part(drawn);
    let rounding = precision * (from.abs().max(to.abs()) / width);
    values
        .iter()
        .enumerate()
        // Zeros were set: by a padding row, by pruning.
        .filter(|(_, value)| **value != 0.0 || from == 0.0)
        .take(PREDICTIONS)
        .map(|(i, value)| Prediction {
            offset: i as u64 * step,
            part,
            fraction: (value - from) / width,
            tolerance: rounding + part.resolution(),
        })
        .collect()
}

/// Elements j and j + 8 of a block of 16 are a pair. Where a remainder was redrawn, only the
/// blocks before the last 16 elements are as they were drawn, and those 16.
fn block_normal(normals: &[f64], drawn: Dtype, precision: f64) -> Vec<Prediction> {
    /// Blocks that are looked at for one without zeros, such as a padding row has.
    const BLOCKS: usize = 512;
    /// Pairs of a block that must not be zero.
    const PAIRS: usize = 5;
    let (part, step) = part(drawn);
    let numel = normals.len();
    let rest = numel % 16;
    if numel < 16 {
        return cut_block(normals, part, step, precision);
    }
    let whole = match rest {
        0 => numel / 16,
        _ => (numel - 16) / 16,
    };
    // Single and double draw all values first, the 16-bit dtypes only whole blocks.
    let redrawn = match drawn {
        Dtype::Float16 | Dtype::Bfloat16 => numel - rest,
        _ => numel,
    };
    let tail = (rest != 0).then_some((redrawn, numel - 16));
    (0..whole.min(BLOCKS))
        .map(|block| (16 * block, 16 * block))
        .chain(tail)
        .map(|(word, element)| {
            let block = &normals[element..element + 16];
            block_predictions(block, word as u64, part, step, precision)
        })
        .find(|predictions| predictions.len() >= 2 * PAIRS)
        .unwrap_or_default()
}

/// The predictions of the pairs without zeros, for a block that begins at draw number `start`.
fn block_predictions(
    block: &[f64],
    start: u64,
    part: Part,
    step: u64,
    precision: f64,
) -> Vec<Prediction> {
    (0..8)
        .filter(|j| block[*j] != 0.0 && block[*j + 8] != 0.0)
        .flat_map(|j| {
            let (u1, u2) = box_muller(block[j], block[j + 8], part, precision);
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

/// The first elements of a block: those that still have their partner.
fn cut_block(normals: &[f64], part: Part, step: u64, precision: f64) -> Vec<Prediction> {
    (8..normals.len())
        .flat_map(|k| {
            let (u1, u2) = box_muller(normals[k - 8], normals[k], part, precision);
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

/// One pair after the other, four words each, in double precision: first the angle.
fn serial_normal(normals: &[f64], precision: f64) -> Vec<Prediction> {
    normals
        .chunks_exact(2)
        .take(PREDICTIONS / 2)
        .enumerate()
        .flat_map(|(i, pair)| {
            let (u1, u2) = box_muller(pair[0], pair[1], Part::Double, precision);
            // `log1p(-u2)`: the radius comes from the second.
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

/// The uniforms behind a pair of normals `r cos`, `r sin`: first `exp(-r^2 / 2)`, then the angle
/// as a fraction of a turn.
fn box_muller(cos: f64, sin: f64, part: Part, precision: f64) -> (Prediction, Prediction) {
    let square = cos * cos + sin * sin;
    let u1 = (-square / 2.0).exp();
    let turn = sin.atan2(cos) / TAU;
    // A value errs by `precision` of itself; the kernel's polynomials in single precision add to it.
    let error = precision + 16.0 * f64::from(f32::EPSILON);
    let radius = square.sqrt();
    let predicted = |fraction, tolerance| Prediction {
        offset: 0,
        part,
        fraction,
        tolerance,
    };
    (
        predicted(
            u1,
            part.resolution() + error * (1.0 + square) * u1 + precision,
        ),
        predicted(
            turn.rem_euclid(1.0),
            part.resolution() + error * (1.0 + 1.0 / radius.max(1e-6)) / TAU,
        ),
    )
}

/// `erf` takes a value back to its uniform; values that were clamped say nothing.
fn inverse_erf(
    values: &[f64],
    [mean, std, a, b]: [f64; 4],
    drawn: Dtype,
    precision: f64,
) -> Vec<Prediction> {
    let cdf = |x: f64| erf((x - mean) / std / SQRT_2);
    let (low, high) = (cdf(a), cdf(b));
    if high <= low {
        return Vec::new();
    }
    let (part, step) = part(drawn);
    values
        .iter()
        .enumerate()
        .filter(|(_, v)| **v > a && **v < b)
        .take(PREDICTIONS)
        .map(|(i, value)| Prediction {
            offset: i as u64 * step,
            part,
            fraction: (cdf(*value) - low) / (high - low),
            tolerance: part.resolution() + 16.0 * precision / (high - low),
        })
        .collect()
}

/// What a uniform of this dtype takes from the stream: the part of a word, and words.
fn part(drawn: Dtype) -> (Part, u64) {
    match drawn {
        Dtype::Float64 => (Part::Double, 2),
        _ => (Part::Single, 1),
    }
}
