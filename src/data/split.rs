//! `torch.utils.data.random_split`.

use super::error::DataError;
use super::sampler::permutation;
use crate::Generator;

/// Splits the samples of a dataset at random into parts of these lengths, and returns the indices of each part:
/// `torch.utils.data.random_split(dataset, lengths)`. Draws a permutation: `len - 1` words.
///
/// As in Python, lengths that add up to 1 are fractions: `[1, 0]` is all samples and none.
///
/// # Errors
///
/// [`DataError::SplitLengths`] if the lengths do not add up to `len`, [`DataError::Draw`] if the draw fails.
///
/// ```
/// use tch::Device;
/// use tch_init::{Generator, data::random_split};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut generator = Generator::new(Device::Cpu)?;
/// generator.manual_seed(42)?;
/// let parts = random_split(10, &[3, 7], Some(&mut generator))?;
/// // [s.indices for s in random_split(range(10), [3, 7], generator=torch.Generator().manual_seed(42))]
/// assert_eq!(parts, [vec![2, 6, 1], vec![8, 4, 5, 0, 9, 3, 7]]);
/// # Ok(())
/// # }
/// ```
pub fn random_split(
    len: usize,
    lengths: &[usize],
    generator: Option<&mut Generator>,
) -> Result<Vec<Vec<usize>>, DataError> {
    let sum = lengths
        .iter()
        .try_fold(0_usize, |sum, n| sum.checked_add(*n));
    if sum == Some(1) {
        let fractions: Vec<f64> = lengths.iter().map(|n| *n as f64).collect();
        return random_split_fractions(len, &fractions, generator);
    }
    if sum != Some(len) {
        let sum = sum.map_or_else(|| "more than usize::MAX".to_owned(), |sum| sum.to_string());
        return Err(DataError::SplitLengths { sum, len });
    }
    split(len, lengths, generator)
}

/// Splits the samples of a dataset at random into parts of these fractions: `random_split` with fractions.
///
/// Each part has `floor(len * fraction)` samples, and the samples that remain go to the parts in turn.
/// Draws a permutation: `len - 1` words.
///
/// # Errors
///
/// [`DataError::Argument`] for a fraction that is not between 0 and 1, [`DataError::SplitLengths`] if they do not add up
/// to 1 (1e-9 less is accepted, as in Python), [`DataError::Draw`] if the draw fails.
///
/// ```
/// use tch::Device;
/// use tch_init::{Generator, data::random_split_fractions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut generator = Generator::new(Device::Cpu)?;
/// let parts = random_split_fractions(31, &[0.3, 0.3, 0.4], Some(&mut generator))?;
/// assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [10, 9, 12]);
/// # Ok(())
/// # }
/// ```
pub fn random_split_fractions(
    len: usize,
    fractions: &[f64],
    generator: Option<&mut Generator>,
) -> Result<Vec<Vec<usize>>, DataError> {
    let sum: f64 = fractions.iter().sum();
    // `math.isclose(sum, 1) and sum <= 1`. From Python 3.12 on, `sum` compensates for rounding, so that more sums are 1.
    let is_one = |sum: f64| (sum - 1.0).abs() <= 1e-9 && sum <= 1.0;
    if !is_one(sum) && !is_one(compensated_sum(fractions)) {
        let sum = format!("{sum:?}");
        return Err(DataError::SplitLengths { sum, len });
    }
    let mut lengths = Vec::with_capacity(fractions.len());
    for fraction in fractions {
        if !(0.0..=1.0).contains(fraction) {
            return Err(DataError::Argument {
                function: "random_split",
                argument: "fraction",
                value: format!("{fraction:?}"),
                reason: "must be between 0 and 1",
            });
        }
        lengths.push((len as f64 * fraction).floor() as usize);
    }
    let sum: usize = lengths.iter().sum();
    let Some(remainder) = len.checked_sub(sum) else {
        let sum = sum.to_string();
        return Err(DataError::SplitLengths { sum, len });
    };
    let parts = lengths.len();
    for i in 0..remainder {
        lengths[i % parts] += 1;
    }
    if let Some(empty) = lengths.iter().position(|length| *length == 0) {
        log::warn!("random_split: part {empty} has no samples");
    }
    split(len, &lengths, generator)
}

fn split(
    len: usize,
    lengths: &[usize],
    generator: Option<&mut Generator>,
) -> Result<Vec<Vec<usize>>, DataError> {
    let order = permutation(len, generator.as_deref()).map_err(|source| DataError::Draw {
        function: "random_split",
        source,
    })?;
    let mut rest = &order[..];
    let parts = lengths.iter().map(|length| {
        let (part, after) = rest.split_at(*length);
        rest = after;
        part.to_vec()
    });
    Ok(parts.collect())
}

/// Neumaier's sum, as Python's `sum` of floats from 3.12 on (`Python/bltinmodule.c`).
fn compensated_sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for &value in values {
        let next = sum + value;
        lost += match sum.abs() >= value.abs() {
            true => (sum - next) + value,
            false => (value - next) + sum,
        };
        sum = next;
    }
    sum + lost
}
