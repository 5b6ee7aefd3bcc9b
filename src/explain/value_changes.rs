//! Causes that two sets of values show by themselves, without a stream.

use super::finding::{Change, Finding, Region, Whose};
use super::values::{epsilon, greatest, round_to, varies};
use crate::tensor::Dtype;

/// A tensor to be explained beside what it ought to be, equal in shape.
pub(super) struct Pair<'a> {
    pub shape: &'a [usize],
    pub dtypes: (Dtype, Dtype),
    pub yours: &'a [f64],
    pub reference: &'a [f64],
    /// Whether the reference came from `normal_`, if that is known.
    pub normal: Option<bool>,
}

/// Every cause that holds for the pair, the strictest first. Empty if none does.
pub(super) fn causes(pair: &Pair<'_>) -> Vec<Finding> {
    if let Some(rounded) = rounded(pair) {
        return vec![rounded];
    }
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

/// The last resort, after the stream was asked too: part of the values is other.
pub(super) fn overwritten(pair: &Pair<'_>) -> Option<Finding> {
    let change = partly_overwritten(pair, &differing(pair))?;
    Some(Finding::Modified {
        change,
        whose: Whose::Yours,
    })
}

/// Yours is the plain draw: what was done to the reference.
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

fn rounded(pair: &Pair<'_>) -> Option<Finding> {
    let (yours, reference) = pair.dtypes;
    let is = |from: &[f64], through: Dtype, dtype: Dtype, to: &[f64]| {
        from.iter().zip(to).all(|(from, to)| {
            round_to(through, *from)
                .and_then(|value| round_to(dtype, value))
                .is_some_and(|value| value == *to)
        })
    };
    if !varies(pair.yours) || !varies(pair.reference) {
        return None;
    }
    // The coarsest first: it fits least by chance.
    [Dtype::Bfloat16, Dtype::Float16, Dtype::Float32]
        .into_iter()
        .find_map(|through| {
            let whose = if is(pair.reference, through, yours, pair.yours) {
                Whose::Yours
            } else if is(pair.yours, through, reference, pair.reference) {
                Whose::Reference
            } else {
                return None;
            };
            Some(Finding::Rounded {
                through,
                whose,
                drawn: false,
            })
        })
}

/// A constant factor. The values of one draw at two scales were rounded separately, so they agree
/// to a few units in the last place of the greatest, not bit for bit.
fn scaled(pair: &Pair<'_>) -> Option<Finding> {
    let magnitude = greatest(pair.reference);
    let at = (0..pair.reference.len()).find(|i| pair.reference[*i].abs() == magnitude)?;
    // Least squares: every value says a little more of the factor than its digits.
    let both = pair.yours.iter().zip(pair.reference);
    let product: f64 = both.map(|(yours, reference)| yours * reference).sum();
    let constant = product / pair.reference.iter().map(|r| r * r).sum::<f64>();
    if !constant.is_finite() || constant == 0.0 || pair.reference.len() < 2 {
        return None;
    }
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    // Both values were rounded, and the bounds of a draw may have been.
    let allowed = 4.0 * precision * magnitude * constant.abs();
    if (constant - 1.0).abs() <= 8.0 * precision {
        return None;
    }
    // Without a second value of some size, any two numbers have a ratio.
    let telling = pair
        .reference
        .iter()
        .enumerate()
        .any(|(i, r)| i != at && r.abs() > magnitude * 0.01 && r.abs() != magnitude);
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

/// Everything that differs lies on the least or the greatest value. The reference lies beyond it,
/// or, where both bounds mirror each other, was drawn again there as `trunc_normal_` does.
fn clamped(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    let (least, most) = pair
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
    let (below, above) = (on(least), on(most));
    let beyond = differing.iter().all(|i| {
        let (yours, reference) = (pair.yours[*i], pair.reference[*i]);
        if yours == least {
            reference < yours
        } else {
            reference > yours
        }
    });
    let symmetric = below > 0 && above > 0 && least == -most;
    // One element that was replaced is not yet a bound, unless it mirrors the other; and where
    // most lies on a bound, "set to" says it better.
    let told = differing.len() > 2 || (differing.len() == 2 && (symmetric || below * above == 0));
    let fits = below + above == differing.len() && (beyond || symmetric) && told;
    (fits && differing.len() * 2 < pair.yours.len()).then_some(Change::Clamped {
        low: (below > 0).then_some(least),
        high: (above > 0).then_some(most),
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
    // The value nearest to zero was rounded least.
    let at = differing.iter().min_by(|a, b| {
        pair.reference[**a]
            .abs()
            .total_cmp(&pair.reference[**b].abs())
    })?;
    let constant = difference(at);
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    let fits = differing.iter().all(|i| {
        let size = pair.yours[*i].abs().max(constant.abs());
        (difference(i) - constant).abs() <= precision * size
    });
    let told = differing.len() >= 2 && varies(pair.reference) && constant != 0.0;
    // A difference of rounding alone is not a constant that somebody added.
    let visible = constant.abs() > 64.0 * precision * greatest(pair.reference);
    (told && fits && visible).then(|| {
        let nearby = round_number(constant, precision * (1.0 + greatest(pair.yours)));
        Change::Added {
            constant: nearby,
            region: region(pair, differing),
        }
    })
}

/// The number of few digits within `slack`, if there is one: people add 1, not 0.99999994.
fn round_number(value: f64, slack: f64) -> f64 {
    (0..6)
        .map(|digits| {
            let scale = 10f64.powi(digits);
            (value * scale).round() / scale
        })
        .find(|round| (round - value).abs() <= slack)
        .unwrap_or(value)
}

fn last_16(pair: &Pair<'_>, differing: &[usize]) -> Option<Finding> {
    let numel = pair.yours.len();
    let first = *differing.first()?;
    // Uniform values have no blocks. Up to about twice their root mean square, a greatest value is
    // likelier for them than for normals.
    let square = pair.reference.iter().map(|v| v * v).sum::<f64>() / numel as f64;
    let likely = greatest(pair.reference) > 1.9 * square.sqrt();
    let normal = pair.normal.unwrap_or(likely);
    (normal && numel > 16 && !numel.is_multiple_of(16) && first >= numel - 16).then_some(
        Finding::Last16 {
            first,
            differing: differing.len(),
        },
    )
}

fn partly_overwritten(pair: &Pair<'_>, differing: &[usize]) -> Option<Change> {
    let equal = pair.yours.len() - differing.len();
    // Equal zeros, as of a bias, say nothing.
    let telling = (0..pair.yours.len())
        .filter(|i| pair.yours[*i] == pair.reference[*i] && pair.yours[*i] != 0.0)
        .take(4)
        .count()
        == 4;
    // Values that differ in their last bits were rounded otherwise, not overwritten.
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    let slack = 4.0 * precision * greatest(pair.reference);
    let apart = differing
        .iter()
        .map(|i| (pair.yours[*i] - pair.reference[*i]).abs())
        .any(|distance| distance > slack || distance.is_nan());
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

/// Both are orthogonal to some digits, and equal to nearly as many.
fn lapack(pair: &Pair<'_>) -> Option<Finding> {
    let [rows, rest @ ..] = pair.shape else {
        return None;
    };
    let cols: usize = rest.iter().product();
    if *rows < 2 || cols < 2 {
        return None;
    }
    let magnitude = greatest(pair.reference);
    let apart: Vec<f64> = pair
        .yours
        .iter()
        .zip(pair.reference)
        .map(|(yours, reference)| yours - reference)
        .collect();
    // QR is backward stable: its results move by a small multiple of the precision, which the
    // condition of the random matrix magnifies. 2^13 units is 1e-3 in single precision.
    let precision = epsilon(pair.dtypes.0).max(epsilon(pair.dtypes.1));
    let allowed = 8192.0 * precision * magnitude;
    if greatest(&apart) > allowed
        || !orthogonal(pair.yours, *rows, cols)
        || !orthogonal(pair.reference, *rows, cols)
    {
        return None;
    }
    Some(Finding::Lapack {
        greatest: greatest(&apart),
        magnitude,
    })
}

/// Whether the rows, or if there are more rows than columns the columns, have one length and are
/// perpendicular. Looks at the first few: a chance agreement of these is out of question.
pub(super) fn orthogonal(values: &[f64], rows: usize, cols: usize) -> bool {
    const LOOKED_AT: usize = 8;
    let (count, length) = (rows.min(cols), rows.max(cols));
    let at = |vector: usize, i: usize| match rows <= cols {
        true => values[vector * cols + i],
        false => values[i * cols + vector],
    };
    let dot = |a, b| (0..length).map(|i| at(a, i) * at(b, i)).sum::<f64>();
    let square = dot(0, 0);
    let looked_at = count.min(LOOKED_AT);
    square > 0.0
        && (0..looked_at).all(|a| {
            (0..=a).all(|b| {
                let expected = if a == b { square } else { 0.0 };
                (dot(a, b) - expected).abs() <= 1e-3 * square
            })
        })
}
