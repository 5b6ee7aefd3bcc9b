//! Causes that the values of two tensors show by themselves, without the random stream.
//!
//! The tensors are read some elements at a time, by all threads.

use super::finding::{Change, Finding, Region, Whose};
use super::values::{CHUNK, Reader, epsilon, tensor_varies};
use crate::tensor::TensorView;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A tensor and its reference, which has the same shape. Both are floating-point.
pub(super) struct Pair<'a> {
    pub yours: &'a TensorView<'a>,
    pub reference: &'a TensorView<'a>,
    /// Whether the reference was drawn by `normal_`, if known.
    pub normal: Option<bool>,
}

/// The causes that hold for the pair, the strictest first.
pub(super) fn causes(pair: &Pair<'_>) -> Vec<Finding> {
    let compared = Compared::new(pair);
    if let Some(scaled) = compared.scaled() {
        return vec![scaled];
    }
    if let Some(change) = compared.change() {
        return vec![Finding::Modified {
            change,
            whose: Whose::Yours,
        }];
    }
    compared
        .last_16()
        .into_iter()
        .chain(compared.lapack())
        .collect()
}

/// The finding for a tensor of which a part differs: what remains when the stream explains nothing.
pub(super) fn overwritten(pair: &Pair<'_>) -> Option<Finding> {
    let change = Compared::new(pair).partly_overwritten()?;
    Some(Finding::Modified {
        change,
        whose: Whose::Yours,
    })
}

/// The finding for a reference that was changed after it was drawn, where yours is the plain draw.
pub(super) fn reference_changed(pair: &Pair<'_>) -> Option<Finding> {
    let swapped = Pair {
        yours: pair.reference,
        reference: pair.yours,
        normal: None,
    };
    let compared = Compared::new(&swapped);
    let change = compared
        .change()
        .or_else(|| compared.partly_overwritten())?;
    Some(Finding::Modified {
        change,
        whose: Whose::Reference,
    })
}

/// What one pass over both tensors tells, from which most causes follow or are excluded.
struct Summary {
    min: f64,
    max: f64,
    /// The largest magnitude of yours.
    greatest_yours: f64,
    /// The largest magnitude of the reference, and the first element that has it.
    greatest: f64,
    at_greatest: Option<usize>,
    /// The sums of `yours * reference` and `reference * reference`.
    product: f64,
    square: f64,
    /// The number of elements with other bits, the first and the last of them, and the first of those whose reference is nearest to
    /// zero.
    differing: usize,
    first: Option<usize>,
    last: Option<usize>,
    nearest_to_zero: Option<(f64, usize)>,
    /// The number of equal elements that are not zero.
    telling: usize,
}

impl Summary {
    fn of(start: usize, yours: &[f64], reference: &[f64]) -> Summary {
        let mut summary = Summary {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            greatest_yours: 0.0,
            greatest: -1.0,
            at_greatest: None,
            product: 0.0,
            square: 0.0,
            differing: 0,
            first: None,
            last: None,
            nearest_to_zero: None,
            telling: 0,
        };
        for (i, (yours, reference)) in (start..).zip(yours.iter().zip(reference)) {
            summary.min = summary.min.min(*yours);
            summary.max = summary.max.max(*yours);
            summary.greatest_yours = summary.greatest_yours.max(yours.abs());
            if reference.abs() > summary.greatest {
                summary.greatest = reference.abs();
                summary.at_greatest = Some(i);
            }
            summary.product += yours * reference;
            summary.square += reference * reference;
            if yours.to_bits() == reference.to_bits() {
                summary.telling += usize::from(*yours != 0.0 && !yours.is_nan());
                continue;
            }
            summary.telling += usize::from(yours == reference && *yours != 0.0);
            summary.differing += 1;
            summary.first = summary.first.or(Some(i));
            summary.last = Some(i);
            let nearest = summary.nearest_to_zero;
            if nearest.is_none_or(|(nearest, _)| reference.abs().total_cmp(&nearest).is_lt()) {
                summary.nearest_to_zero = Some((reference.abs(), i));
            }
        }
        summary
    }

    /// The summary of these elements and of those after them.
    fn and(self, after: Summary) -> Summary {
        let is_greater = after.greatest > self.greatest;
        let is_nearer = match (self.nearest_to_zero, after.nearest_to_zero) {
            (Some((nearest, _)), Some((other, _))) => other.total_cmp(&nearest).is_lt(),
            (nearest, _) => nearest.is_none(),
        };
        Summary {
            min: self.min.min(after.min),
            max: self.max.max(after.max),
            greatest_yours: self.greatest_yours.max(after.greatest_yours),
            greatest: self.greatest.max(after.greatest),
            at_greatest: match is_greater {
                true => after.at_greatest,
                false => self.at_greatest,
            },
            product: self.product + after.product,
            square: self.square + after.square,
            differing: self.differing + after.differing,
            first: self.first.or(after.first),
            last: after.last.or(self.last),
            nearest_to_zero: match is_nearer {
                true => after.nearest_to_zero,
                false => self.nearest_to_zero,
            },
            telling: self.telling + after.telling,
        }
    }
}

/// A pair and the summary of its values.
struct Compared<'a> {
    pair: &'a Pair<'a>,
    numel: usize,
    /// The distance from 1 to the next number of the less precise dtype.
    precision: f64,
    summary: Summary,
}

impl<'a> Compared<'a> {
    fn new(pair: &'a Pair<'a>) -> Compared<'a> {
        let precision = epsilon(pair.yours.dtype()).max(epsilon(pair.reference.dtype()));
        let mut compared = Compared {
            pair,
            numel: pair.yours.numel(),
            precision,
            summary: Summary::of(0, &[], &[]),
        };
        // Added in the order of the elements, so that sums do not depend on the number of threads.
        let parts: Vec<Summary> = compared.pieces(Summary::of).collect();
        compared.summary = parts.into_iter().fold(compared.summary, Summary::and);
        compared.summary.greatest = compared.summary.greatest.max(0.0);
        compared
    }

    /// Calls `f` with the values of both tensors, some at a time, and with the number of the first of them.
    fn pieces<T: Send>(
        &self,
        f: impl Fn(usize, &[f64], &[f64]) -> T + Sync + Send,
    ) -> impl IndexedParallelIterator<Item = T> {
        let Pair {
            yours, reference, ..
        } = self.pair;
        let numel = self.numel;
        (0..numel.div_ceil(CHUNK)).into_par_iter().map_init(
            || [Reader::default(), Reader::default()],
            move |[ours, theirs], piece| {
                let elements = piece * CHUNK..((piece + 1) * CHUNK).min(numel);
                let ours = ours.read(yours, elements.clone());
                f(elements.start, ours, theirs.read(reference, elements))
            },
        )
    }

    /// Whether all elements, each with its number, pass a test. Most tests fail early.
    fn all(&self, test: impl Fn(usize, f64, f64) -> bool + Sync + Send) -> bool {
        let passes = |start, ours: &[f64], theirs: &[f64]| {
            let both = (start..).zip(ours.iter().zip(theirs));
            both.into_iter().all(|(i, (a, b))| test(i, *a, *b))
        };
        let [mut ours, mut theirs] = [Reader::default(), Reader::default()];
        let head = 0..self.numel.min(CHUNK);
        let theirs = theirs.read(self.pair.reference, head.clone());
        passes(0, ours.read(self.pair.yours, head), theirs)
            && self.pieces(passes).all(|passes| passes)
    }

    /// Whether all elements that differ pass a test.
    fn all_differing(&self, test: impl Fn(f64, f64) -> bool + Sync + Send) -> bool {
        self.all(|_, yours, reference| {
            yours.to_bits() == reference.to_bits() || test(yours, reference)
        })
    }

    /// How many elements that differ pass a test.
    fn count_differing(&self, test: impl Fn(f64, f64) -> bool + Sync + Send) -> usize {
        let counts = self.pieces(|_, ours, theirs| {
            let both = ours.iter().zip(theirs);
            both.filter(|(a, b)| a.to_bits() != b.to_bits() && test(**a, **b))
                .count()
        });
        counts.sum()
    }

    /// The values of an element.
    fn element(&self, index: usize) -> Option<(f64, f64)> {
        let value = |view| {
            Reader::default()
                .read(view, index..index + 1)
                .first()
                .copied()
        };
        Some((value(self.pair.yours)?, value(self.pair.reference)?))
    }

    fn change(&self) -> Option<Change> {
        self.clamped()
            .or_else(|| self.zeroed_rows())
            .or_else(|| self.filled())
            .or_else(|| self.added())
    }

    /// A constant factor. Two scales of one draw are rounded separately, so the values agree to a few
    /// units in the last place of the largest, not bit for bit.
    fn scaled(&self) -> Option<Finding> {
        let magnitude = self.summary.greatest;
        let largest = self.summary.at_greatest?;
        // Least squares over all values gives the factor more digits than a single value has.
        let constant = self.summary.product / self.summary.square;
        if !constant.is_finite() || constant == 0.0 || self.numel < 2 {
            return None;
        }
        // Both values were rounded, and so may have been the bounds of the draw.
        let allowed = 4.0 * self.precision * magnitude * constant.abs();
        if (constant - 1.0).abs() <= 8.0 * self.precision {
            return None;
        }
        let fits = self.all(|_, yours, reference| (yours - constant * reference).abs() <= allowed);
        // Any two numbers have a ratio: a second value of some size must confirm it.
        let is_telling =
            |i: usize, r: f64| i != largest && r.abs() > magnitude * 0.01 && r.abs() != magnitude;
        (fits && !self.all(|i, _, reference| !is_telling(i, reference))).then_some(
            Finding::Scaled {
                constant,
                name: None,
                yours: None,
                reference: None,
            },
        )
    }

    /// All values that differ lie on the minimum or the maximum of yours. The reference lies outside these
    /// bounds; if the bounds are symmetric, it may have been redrawn instead, as by `trunc_normal_`.
    fn clamped(&self) -> Option<Change> {
        let Summary {
            min,
            max,
            differing,
            ..
        } = self.summary;
        // If most elements lie on a bound, "set to" is the better description.
        if differing * 2 >= self.numel
            || !self.all_differing(|yours, _| yours == min || yours == max)
        {
            return None;
        }
        let below = self.count_differing(|yours, _| yours == min);
        let above = self.count_differing(|yours, _| yours == max);
        let beyond = || {
            self.all_differing(|yours, reference| match yours == min {
                true => reference < yours,
                false => reference > yours,
            })
        };
        let symmetric = below > 0 && above > 0 && min == -max;
        // A single element on a bound is not evidence unless the bounds are symmetric.
        let is_evident = differing > 2 || (differing == 2 && (symmetric || below * above == 0));
        let fits = below + above == differing && is_evident && (symmetric || beyond());
        fits.then_some(Change::Clamped {
            low: (below > 0).then_some(min),
            high: (above > 0).then_some(max),
            elements: differing,
        })
    }

    fn zeroed_rows(&self) -> Option<Change> {
        if self.summary.differing == 0 || !self.all_differing(|yours, _| yours == 0.0) {
            return None;
        }
        let shape = self.pair.yours.shape();
        (0..shape.len()).find_map(|dim| {
            let inner: usize = shape[dim + 1..].iter().product();
            let row_of = |i: usize| i / inner % shape[dim];
            let has: Vec<AtomicBool> = (0..shape[dim]).map(|_| AtomicBool::new(false)).collect();
            self.pieces(|start, ours, theirs| {
                let both = (start..).zip(ours.iter().zip(theirs));
                for (i, _) in both.filter(|(_, (a, b))| a.to_bits() != b.to_bits()) {
                    has[row_of(i)].store(true, Ordering::Relaxed);
                }
            })
            .for_each(|()| {});
            let has: Vec<bool> = has.into_iter().map(AtomicBool::into_inner).collect();
            // Every element of these rows is zero, and not all rows are.
            let whole = self.all(|i, yours, _| !has[row_of(i)] || yours == 0.0);
            let rows = (0..shape[dim]).filter(|row| has[*row]);
            (whole && !has.iter().all(|has| *has)).then(|| Change::ZeroedRows {
                dim,
                rows: rows.collect(),
            })
        })
    }

    fn filled(&self) -> Option<Change> {
        let (constant, _) = self.element(self.summary.first?)?;
        let same = self.summary.differing >= 2 && self.all_differing(|yours, _| yours == constant);
        same.then(|| Change::Filled {
            constant,
            region: self.region(),
        })
    }

    fn added(&self) -> Option<Change> {
        // The value nearest to zero has the smallest rounding error.
        let (_, nearest) = self.summary.nearest_to_zero?;
        let (yours, reference) = self.element(nearest)?;
        let (constant, precision) = (yours - reference, self.precision);
        // Rounding alone can make a constant difference.
        let is_large = constant.abs() > 64.0 * precision * self.summary.greatest;
        let is_evident = self.summary.differing >= 2 && is_large && constant != 0.0;
        let fits = |yours: f64, reference: f64| {
            let size = yours.abs().max(constant.abs());
            (yours - reference - constant).abs() <= precision * size
        };
        let varies = || tensor_varies(self.pair.reference) == Some(true);
        (is_evident && self.all_differing(fits) && varies()).then(|| {
            let nearby = round_number(constant, precision * (1.0 + self.summary.greatest_yours));
            Change::Added {
                constant: nearby,
                region: self.region(),
            }
        })
    }

    fn last_16(&self) -> Option<Finding> {
        let (numel, first) = (self.numel, self.summary.first?);
        // Only `normal_` draws blocks. The largest of uniform values is sqrt(3) times their root mean
        // square; that of many normal values is larger.
        let square = self.summary.square / numel as f64;
        let looks_normal = self.summary.greatest > 1.9 * square.sqrt();
        let normal = self.pair.normal.unwrap_or(looks_normal);
        (normal && numel > 16 && !numel.is_multiple_of(16) && first >= numel - 16).then_some(
            Finding::Last16 {
                first,
                differing: self.summary.differing,
            },
        )
    }

    fn partly_overwritten(&self) -> Option<Change> {
        let equal = self.numel - self.summary.differing;
        // Equal zeros, as in a bias, are not evidence.
        if self.summary.telling < 4 || equal * 4 < self.numel {
            return None;
        }
        // Values that differ in their last bits were rounded differently, not overwritten.
        let rounding = 4.0 * self.precision * self.summary.greatest;
        let apart = !self.all_differing(|yours, reference| (yours - reference).abs() <= rounding);
        apart.then(|| Change::PartlyOverwritten {
            region: self.region(),
        })
    }

    fn region(&self) -> Region {
        Region {
            elements: (
                self.summary.first.unwrap_or(0),
                self.summary.last.unwrap_or(0),
            ),
            count: self.summary.differing,
            of: self.numel,
        }
    }

    /// Both are orthogonal, and equal except for LAPACK's rounding.
    fn lapack(&self) -> Option<Finding> {
        let [rows, rest @ ..] = self.pair.yours.shape() else {
            return None;
        };
        let cols: usize = rest.iter().product();
        if *rows < 2 || cols < 2 {
            return None;
        }
        let magnitude = self.summary.greatest;
        // QR is backward stable: its error is a small multiple of the precision, times the condition
        // number of the random matrix. 2^13 units are 1e-3 in single precision.
        let allowed = 8192.0 * self.precision * magnitude;
        let is_near = |yours: f64, reference: f64| (yours - reference).abs() <= allowed;
        let is_near_or_nan =
            |yours: f64, reference: f64| is_near(yours, reference) || (yours - reference).is_nan();
        if !self.all_differing(is_near_or_nan)
            || !is_orthogonal(self.pair.yours, *rows, cols)
            || !is_orthogonal(self.pair.reference, *rows, cols)
        {
            return None;
        }
        let greatest = self.pieces(|_, ours, theirs| {
            let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
            apart.fold(0.0, f64::max)
        });
        Some(Finding::Lapack {
            greatest: greatest.reduce(|| 0.0, f64::max),
            magnitude,
        })
    }
}

/// The number with the fewest digits within `tolerance`: people add 1, not 0.99999994.
fn round_number(value: f64, tolerance: f64) -> f64 {
    (0..6)
        .map(|digits| {
            let scale = 10f64.powi(digits);
            (value * scale).round() / scale
        })
        .find(|round| (round - value).abs() <= tolerance)
        .unwrap_or(value)
}

/// Whether the rows (the columns, if there are more rows than columns) have one length and are
/// perpendicular. Checks the first eight, which cannot be so by chance.
pub(super) fn is_orthogonal(view: &TensorView<'_>, rows: usize, cols: usize) -> bool {
    const CHECKED: usize = 8;
    let (count, length) = (rows.min(cols), rows.max(cols));
    let checked = count.min(CHECKED);
    let mut reader = Reader::default();
    // One vector after the other.
    let mut vectors = vec![0.0; checked * length];
    match rows <= cols {
        true => vectors.copy_from_slice(reader.read(view, 0..checked * length)),
        false => {
            for row in 0..rows {
                let values = reader.read(view, row * cols..row * cols + checked);
                for (vector, value) in values.iter().enumerate() {
                    vectors[vector * length + row] = *value;
                }
            }
        }
    }
    let vector = |number: usize| &vectors[number * length..][..length];
    let dot = |a, b| {
        vector(a)
            .iter()
            .zip(vector(b))
            .map(|(a, b)| a * b)
            .sum::<f64>()
    };
    let square = dot(0, 0);
    square > 0.0
        && (0..checked).all(|a| {
            (0..=a).all(|b| {
                let expected = if a == b { square } else { 0.0 };
                (dot(a, b) - expected).abs() <= 1e-3 * square
            })
        })
}
