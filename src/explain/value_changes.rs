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
    /// The least and the greatest value of yours.
    min: f64,
    max: f64,
    /// The largest magnitude of the reference.
    greatest: f64,
    /// The sums of `yours * reference` and `reference * reference`.
    product: f64,
    square: f64,
    /// The number of elements with other bits.
    differing: usize,
    /// The number of equal elements that are not zero.
    telling: usize,
}

impl Summary {
    const EMPTY: Summary = Summary {
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        greatest: 0.0,
        product: 0.0,
        square: 0.0,
        differing: 0,
        telling: 0,
    };

    /// Of some values; in lanes, which become vectors.
    fn of(yours: &[f64], reference: &[f64]) -> Summary {
        const LANES: usize = 8;
        let mut lanes = [Summary::EMPTY; LANES];
        let (ours, rest) = yours.as_chunks::<LANES>();
        let (theirs, other_rest) = reference.as_chunks::<LANES>();
        for (ours, theirs) in ours.iter().zip(theirs) {
            for lane in 0..LANES {
                lanes[lane].add(ours[lane], theirs[lane]);
            }
        }
        for (lane, (yours, reference)) in lanes.iter_mut().zip(rest.iter().zip(other_rest)) {
            lane.add(*yours, *reference);
        }
        lanes.into_iter().fold(Summary::EMPTY, Summary::and)
    }

    #[inline(always)]
    fn add(&mut self, yours: f64, reference: f64) {
        // Without what `f64::min` does for NaN, which is never less.
        let select = |first: bool, a: f64, b: f64| if first { a } else { b };
        self.min = select(yours < self.min, yours, self.min);
        self.max = select(yours > self.max, yours, self.max);
        let magnitude = reference.abs();
        self.greatest = select(magnitude > self.greatest, magnitude, self.greatest);
        self.product += yours * reference;
        self.square += reference * reference;
        self.differing += usize::from(yours.to_bits() != reference.to_bits());
        self.telling += usize::from(yours == reference) & usize::from(yours != 0.0);
    }

    /// The summary of these elements and of others.
    fn and(self, other: Summary) -> Summary {
        Summary {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            greatest: self.greatest.max(other.greatest),
            product: self.product + other.product,
            square: self.square + other.square,
            differing: self.differing + other.differing,
            telling: self.telling + other.telling,
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
            summary: Summary::EMPTY,
        };
        // Added in the order of the elements, so that sums do not depend on the number of threads.
        let pieces = compared.pieces(|_, yours, reference| Summary::of(yours, reference));
        let pieces: Vec<Summary> = pieces.collect();
        compared.summary = pieces.into_iter().fold(Summary::EMPTY, Summary::and);
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

    /// The first element that passes a test, and the last.
    fn ends(&self, test: impl Fn(f64, f64) -> bool + Sync + Send) -> Option<(usize, usize)> {
        let ends = self.pieces(|start, ours, theirs| {
            let mut both = ours.iter().zip(theirs);
            let first = both.position(|(a, b)| test(*a, *b))?;
            let both = ours.iter().zip(theirs);
            let last = both.rev().position(|(a, b)| test(*a, *b))?;
            Some((start + first, start + ours.len() - 1 - last))
        });
        ends.flatten()
            .reduce_with(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The first element with other bits, and the last.
    fn differing_ends(&self) -> Option<(usize, usize)> {
        self.ends(|yours, reference| yours.to_bits() != reference.to_bits())
    }

    /// The first element with other bits, which almost always is among the first.
    fn first_differing(&self) -> Option<usize> {
        let [mut ours, mut theirs] = [Reader::default(), Reader::default()];
        (0..self.numel).step_by(CHUNK).find_map(|start| {
            let elements = start..(start + CHUNK).min(self.numel);
            let ours = ours.read(self.pair.yours, elements.clone());
            let theirs = theirs.read(self.pair.reference, elements);
            let mut both = ours.iter().zip(theirs);
            let first = both.position(|(a, b)| a.to_bits() != b.to_bits())?;
            Some(start + first)
        })
    }

    /// Whether the differences of the first values are about the same, as those of all values are if a number was added.
    fn may_be_added(&self) -> bool {
        let [mut ours, mut theirs] = [Reader::default(), Reader::default()];
        let head = 0..self.numel.min(CHUNK);
        let theirs = theirs.read(self.pair.reference, head.clone());
        let both = ours.read(self.pair.yours, head).iter().zip(theirs);
        let (mut least, mut most, mut size) = (f64::INFINITY, f64::NEG_INFINITY, 0_f64);
        for (yours, reference) in both.filter(|(a, b)| a.to_bits() != b.to_bits()) {
            let difference = yours - reference;
            least = least.min(difference);
            most = most.max(difference);
            size = size.max(yours.abs()).max(difference.abs());
        }
        // Each is near the number by its own rounding.
        least >= most || most - least <= 8.0 * self.precision * size
    }

    /// The element, of those with other bits, whose reference is nearest to zero: the first such one.
    fn nearest_to_zero(&self) -> Option<usize> {
        let nearest = self.pieces(|start, ours, theirs| {
            let both = (start..).zip(ours.iter().zip(theirs));
            let differing = both.filter(|(_, (a, b))| a.to_bits() != b.to_bits());
            differing
                .map(|(i, (_, reference))| (reference.abs(), i))
                .min_by(|(a, _), (b, _)| a.total_cmp(b))
        });
        let nearest: Vec<(f64, usize)> = nearest.flatten().collect();
        let nearest = nearest.into_iter().min_by(|(a, _), (b, _)| a.total_cmp(b));
        nearest.map(|(_, index)| index)
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
        if !fits {
            return None;
        }
        let (largest, _) = self.ends(|_, reference| reference.abs() == magnitude)?;
        // Any two numbers have a ratio: a second value of some size must confirm it.
        let is_telling =
            |i: usize, r: f64| i != largest && r.abs() > magnitude * 0.01 && r.abs() != magnitude;
        let is_confirmed = !self.all(|i, _, reference| !is_telling(i, reference));
        is_confirmed.then_some(Finding::Scaled {
            constant,
            name: None,
            yours: None,
            reference: None,
        })
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
        let (constant, _) = self.element(self.first_differing()?)?;
        let same = self.summary.differing >= 2 && self.all_differing(|yours, _| yours == constant);
        same.then(|| Change::Filled {
            constant,
            region: self.region(),
        })
    }

    fn added(&self) -> Option<Change> {
        // The value nearest to zero has the smallest rounding error.
        if !self.may_be_added() {
            return None;
        }
        let (yours, reference) = self.element(self.nearest_to_zero()?)?;
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
            let greatest = self.summary.min.abs().max(self.summary.max.abs());
            let nearby = round_number(constant, precision * (1.0 + greatest));
            Change::Added {
                constant: nearby,
                region: self.region(),
            }
        })
    }

    fn last_16(&self) -> Option<Finding> {
        let numel = self.numel;
        // Only `normal_` draws blocks. The largest of uniform values is sqrt(3) times their root mean
        // square; that of many normal values is larger.
        let square = self.summary.square / numel as f64;
        let looks_normal = self.summary.greatest > 1.9 * square.sqrt();
        let normal = self.pair.normal.unwrap_or(looks_normal);
        let is_last = |i: usize| i + 16 >= numel;
        let is_equal =
            |i, yours: f64, reference: f64| is_last(i) || yours.to_bits() == reference.to_bits();
        if !normal || numel <= 16 || numel.is_multiple_of(16) || !self.all(is_equal) {
            return None;
        }
        let (first, _) = self.differing_ends()?;
        Some(Finding::Last16 {
            first,
            differing: self.summary.differing,
        })
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
            elements: self.differing_ends().unwrap_or_default(),
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
