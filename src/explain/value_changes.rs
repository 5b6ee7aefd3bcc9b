//! Causes that the values of two tensors show by themselves, without the random stream.

use super::finding::{Change, Finding, Region, Whose};
use super::values::{epsilon, max_abs, varies};
use crate::tensor::Dtype;

/// The values of a tensor and of its reference, which has the same shape.
pub(super) struct Pair<'a> {
    pub shape: &'a [usize],
    /// The dtype of yours and that of the reference.
    pub dtypes: (Dtype, Dtype),
    pub yours: &'a [f64],
    pub reference: &'a [f64],
    /// Whether the reference was drawn by `normal_`, if known.
    pub normal: Option<bool>,
}

/// The causes that hold for the pair, the strictest first.
pub(super) fn causes(pair: &Pair<'_>) -> Vec<Finding> {
    if let Some(scaled) = scaled(pair) {
        return vec![scaled];
    }
    let differing = differing(pair);
    if let Some(change) = change(pair, &differing) {
        return vec![Finding::Modified {
            change,
            whose: Whose::Yours,
        }];
    }
    last_16(pair, &differing)
        .into_iter()
        .chain(lapack(pair))
        .collect()
}

/// The finding for a tensor of which a part differs: what remains when the stream explains nothing.
pub(super) fn overwritten(pair: &Pair<'_>) -> Option<Finding> {
    let change = partly_overwritten(pair, &differing(pair))?;
    Some(Finding::Modified {
        change,
        whose: Whose::Yours,
    })
}

/// The finding for a reference that was changed after it was drawn, where yours is the plain draw.
pub(super) fn reference_changed(pair: &Pair<'_>) -> Option<Finding> {
    let (yours, reference) = pair.dtypes;
    let swapped = Pair {
        shape: pair.shape,
        dtypes: (reference, yours),
        yours: pair.reference,
        reference: pair.yours,
        normal: None,
    };
    let differing = differing(&swapped);
    let change =
        change(&swapped, &differing).or_else(|| partly_overwritten(&swapped, &differing))?;
    Some(Finding::Modified {
        change,
        whose: Whose::Reference,
    })
}

fn differing(pair: &Pair<'_>) -> Vec<usize> {
    (0..pair.yours.len())
        .filter(|i| pair.yours[*i].to_bits() != pair.reference[*i].to_bits())
        .collect()
}

fn change(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    clamped(pair, differing)
        .or_else(|| zeroed_rows(pair, differing))
        .or_else(|| filled(pair, differing))
        .or_else(|| added(pair, differing))
}

/// A constant factor. Two scales of one draw are rounded separately, so the values agree to a few
/// units in the last place of the largest, not bit for bit.
fn scaled(pair: &Pair<'_>) -> Option<Finding> {
    let magnitude = max_abs(pair.reference);
    let largest = (0..pair.reference.len()).find(|i| pair.reference[*i].abs() == magnitude)?;
    // Least squares over all values gives the factor more digits than a single value has.
    let both = pair.yours.iter().zip(pair.reference);
    let product: f64 = both.map(|(yours, reference)| yours * reference).sum();
    let constant = product / pair.reference.iter().map(|r| r * r).sum::<f64>();
    if !constant.is_finite() || constant == 0.0 || pair.reference.len() < 2 {
        return None;
    }
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    // Both values were rounded, and so may have been the bounds of the draw.
    let allowed = 4.0 * precision * magnitude * constant.abs();
    if (constant - 1.0).abs() <= 8.0 * precision {
        return None;
    }
    // Any two numbers have a ratio: a second value of some size must confirm it.
    let telling = pair
        .reference
        .iter()
        .enumerate()
        .any(|(i, r)| i != largest && r.abs() > magnitude * 0.01 && r.abs() != magnitude);
    let fits = pair
        .yours
        .iter()
        .zip(pair.reference)
        .all(|(yours, reference)| (yours - constant * reference).abs() <= allowed);
    (telling && fits).then_some(Finding::Scaled {
        constant,
        name: None,
        yours: None,
        reference: None,
    })
}

/// All values that differ lie on the minimum or the maximum of yours. The reference lies outside these
/// bounds; if the bounds are symmetric, it may have been redrawn instead, as by `trunc_normal_`.
fn clamped(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    let (min, max) = pair
        .yours
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(*v), high.max(*v))
        });
    let on = |bound: f64| {
        differing
            .iter()
            .filter(|i| pair.yours[**i] == bound)
            .count()
    };
    let (below, above) = (on(min), on(max));
    let beyond = differing.iter().all(|i| {
        let (yours, reference) = (pair.yours[*i], pair.reference[*i]);
        if yours == min {
            reference < yours
        } else {
            reference > yours
        }
    });
    let symmetric = below > 0 && above > 0 && min == -max;
    // A single element on a bound is not evidence unless the bounds are symmetric. If most elements
    // lie on a bound, "set to" is the better description.
    let is_evident =
        differing.len() > 2 || (differing.len() == 2 && (symmetric || below * above == 0));
    let fits = below + above == differing.len() && (beyond || symmetric) && is_evident;
    (fits && differing.len() * 2 < pair.yours.len()).then_some(Change::Clamped {
        low: (below > 0).then_some(min),
        high: (above > 0).then_some(max),
        elements: differing.len(),
    })
}

fn zeroed_rows(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    if differing.is_empty() || differing.iter().any(|i| pair.yours[*i] != 0.0) {
        return None;
    }
    (0..pair.shape.len()).find_map(|dim| {
        let inner: usize = pair.shape[dim + 1..].iter().product();
        let row_of = |i: usize| i / inner % pair.shape[dim];
        let mut rows: Vec<usize> = differing.iter().map(|i| row_of(*i)).collect();
        rows.sort_unstable();
        rows.dedup();
        // Every element of these rows is zero, and not all rows are.
        let whole = (0..pair.yours.len())
            .filter(|i| rows.binary_search(&row_of(*i)).is_ok())
            .all(|i| pair.yours[i] == 0.0);
        (whole && rows.len() < pair.shape[dim]).then_some(Change::ZeroedRows { dim, rows })
    })
}

fn filled(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    let constant = pair.yours[*differing.first()?];
    let same = differing.iter().all(|i| pair.yours[*i] == constant);
    (same && differing.len() >= 2).then(|| Change::Filled {
        constant,
        region: region(pair, differing),
    })
}

fn added(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    let difference = |i: &usize| pair.yours[*i] - pair.reference[*i];
    // The value nearest to zero has the smallest rounding error.
    let smallest = differing.iter().min_by(|a, b| {
        pair.reference[**a]
            .abs()
            .total_cmp(&pair.reference[**b].abs())
    })?;
    let constant = difference(smallest);
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    let fits = differing.iter().all(|i| {
        let size = pair.yours[*i].abs().max(constant.abs());
        (difference(i) - constant).abs() <= precision * size
    });
    let is_evident = differing.len() >= 2 && varies(pair.reference) && constant != 0.0;
    // Rounding alone can make a constant difference.
    let is_large = constant.abs() > 64.0 * precision * max_abs(pair.reference);
    (is_evident && fits && is_large).then(|| {
        let nearby = round_number(constant, precision * (1.0 + max_abs(pair.yours)));
        Change::Added {
            constant: nearby,
            region: region(pair, differing),
        }
    })
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

fn last_16(pair: &Pair<'_>, differing: &[usize]) -> Option<Finding> {
    let numel = pair.yours.len();
    let first = *differing.first()?;
    // Only `normal_` draws blocks. The largest of uniform values is sqrt(3) times their root mean
    // square; that of many normal values is larger.
    let square = pair.reference.iter().map(|v| v * v).sum::<f64>() / numel as f64;
    let looks_normal = max_abs(pair.reference) > 1.9 * square.sqrt();
    let normal = pair.normal.unwrap_or(looks_normal);
    (normal && numel > 16 && !numel.is_multiple_of(16) && first >= numel - 16).then_some(
        Finding::Last16 {
            first,
            differing: differing.len(),
        },
    )
}

fn partly_overwritten(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    let equal = pair.yours.len() - differing.len();
    // Equal zeros, as in a bias, are not evidence.
    let telling = (0..pair.yours.len())
        .filter(|i| pair.yours[*i] == pair.reference[*i] && pair.yours[*i] != 0.0)
        .take(4)
        .count()
        == 4;
    // Values that differ in their last bits were rounded differently, not overwritten.
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    let rounding = 4.0 * precision * max_abs(pair.reference);
    let apart = differing
        .iter()
        .map(|i| (pair.yours[*i] - pair.reference[*i]).abs())
        .any(|distance| distance > rounding || distance.is_nan());
    (telling && apart && equal * 4 >= pair.yours.len()).then(|| Change::PartlyOverwritten {
        region: region(pair, differing),
    })
}

fn region(pair: &Pair<'_>, differing: &[usize]) -> Region {
    Region {
        elements: (
            differing.first().copied().unwrap_or(0),
            differing.last().copied().unwrap_or(0),
        ),
        count: differing.len(),
        of: pair.yours.len(),
    }
}

/// Both are orthogonal, and equal except for LAPACK's rounding.
fn lapack(pair: &Pair<'_>) -> Option<Finding> {
    let [rows, rest @ ..] = pair.shape else {
        return None;
    };
    let cols: usize = rest.iter().product();
    if *rows < 2 || cols < 2 {
        return None;
    }
    let magnitude = max_abs(pair.reference);
    let apart: Vec<f64> = pair
        .yours
        .iter()
        .zip(pair.reference)
        .map(|(yours, reference)| yours - reference)
        .collect();
    // QR is backward stable: its error is a small multiple of the precision, times the condition
    // number of the random matrix. 2^13 units are 1e-3 in single precision.
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    let allowed = 8192.0 * precision * magnitude;
    if max_abs(&apart) > allowed
        || !is_orthogonal(pair.yours, *rows, cols)
        || !is_orthogonal(pair.reference, *rows, cols)
    {
        return None;
    }
    Some(Finding::Lapack {
        greatest: max_abs(&apart),
        magnitude,
    })
}

/// Whether the rows (the columns, if there are more rows than columns) have one length and are
/// perpendicular. Checks the first eight, which cannot be so by chance.
pub(super) fn is_orthogonal(values: &[f64], rows: usize, cols: usize) -> bool {
    const CHECKED: usize = 8;
    let (count, length) = (rows.min(cols), rows.max(cols));
    let at = |vector: usize, i: usize| match rows <= cols {
        true => values[vector * cols + i],
        false => values[i * cols + vector],
    };
    let dot = |a, b| (0..length).map(|i| at(a, i) * at(b, i)).sum::<f64>();
    let square = dot(0, 0);
    let checked = count.min(CHECKED);
    square > 0.0
        && (0..checked).all(|a| {
            (0..=a).all(|b| {
                let expected = if a == b { square } else { 0.0 };
                (dot(a, b) - expected).abs() <= 1e-3 * square
            })
        })
}
