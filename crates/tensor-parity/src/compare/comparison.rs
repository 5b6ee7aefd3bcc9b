//! Comparison of two sources of tensors, name by name.

use super::criterion::Criterion;
use super::not_compared::{NotCompared, Presence};
use super::parallel;
use super::source::{SourceEntry, SourceError, TensorData, TensorSource};
use super::tensor_comparison::{Side, Sides, TensorComparison};
use crate::{LeftOut, LeftOutKind, TensorView};
use std::collections::{BTreeMap, BTreeSet};

/// The number of bytes, of both sides, that are compared before the next tensors are read.
const BATCH_BYTES: u64 = 64 << 20;

/// The result of comparing two sources of tensors by name.
///
/// ```
/// use tensor_parity::compare::{Comparison, Criterion};
///
/// let ours = [("fc.weight".to_owned(), [1.0f32, 2.0]), ("fc.bias".to_owned(), [0.0, 0.0])];
/// let theirs = [("fc.weight".to_owned(), [1.0f32, 2.5]), ("scale".to_owned(), [0.0, 0.0])];
/// let comparison = Comparison::new(&ours, &theirs, Criterion::Bits)?;
///
/// assert!(!comparison.is_same());
/// assert_eq!(comparison.pairs[0].name, "fc.weight");
/// assert_eq!(comparison.pairs[0].comparison.mismatched, 1);
/// assert_eq!(comparison.only_actual, ["fc.bias"]);
/// assert_eq!(comparison.only_expected, ["scale"]);
/// # Ok::<(), tensor_parity::compare::CompareError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// The criterion that the tensors were compared by.
    pub criterion: Criterion,
    /// The tensors that both sources have, in the order of the first.
    pub pairs: Vec<NamedComparison>,
    /// Names (after renaming) that only the first source has, in its order.
    pub only_actual: Vec<String>,
    /// Names that only the second source has, in its order.
    pub only_expected: Vec<String>,
    /// Tensors that a source has but cannot read, in the order of the sources.
    pub not_compared: Vec<NotCompared>,
    /// The members of each source that are not tensors, with their names (after renaming). They do not
    /// count.
    pub left_out: Sides<Vec<LeftOut>>,
}

/// The comparison of two tensors with the same name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NamedComparison {
    /// The name in the second source, and in the first after renaming.
    pub name: String,
    /// The name in the first source.
    pub original: String,
    /// The comparison.
    pub comparison: TensorComparison,
}

/// An error of comparing two sources of tensors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Two tensors of a source have the same name.
    #[error("{side}: {first:?} and {second:?} both have the name {name:?}{}", after_renaming(.first, .second))]
    Duplicate {
        /// The source.
        side: Side,
        /// The name that both have.
        name: String,
        /// The name of the first before renaming.
        first: String,
        /// The name of the second before renaming.
        second: String,
    },

    /// The tensors of a source cannot be listed.
    #[error("{side}: the tensors cannot be listed")]
    Source {
        /// The source.
        side: Side,
        /// The error of the source.
        source: SourceError,
    },

    /// A tensor cannot be read.
    #[error("{side}: tensor {name:?} cannot be read")]
    Tensor {
        /// The source.
        side: Side,
        /// The name of the tensor in the source.
        name: String,
        /// The error of the source.
        source: SourceError,
    },

    /// A tolerance is negative or NaN (in PyTorch, a `RuntimeError`).
    #[error("{name} must be greater than or equal to zero, but is {value}")]
    Tolerance {
        /// `rtol` or `atol`.
        name: &'static str,
        /// Its value.
        value: f64,
    },
}

fn after_renaming(first: &str, second: &str) -> &'static str {
    if first == second {
        ""
    } else {
        " after renaming"
    }
}

/// The progress of a comparison, in bytes of both sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes compared so far.
    pub done: u64,
    /// The bytes to compare in all.
    pub total: u64,
}

impl Comparison {
    /// Compares the tensors that both sources have. [`Compare`] has more options.
    ///
    /// # Errors
    ///
    /// As [`Compare::run`].
    pub fn new<A, B>(
        actual: &A,
        expected: &B,
        criterion: Criterion,
    ) -> Result<Comparison, CompareError>
    where
        A: TensorSource + ?Sized,
        B: TensorSource + ?Sized,
    {
        Compare::new(criterion).run(actual, expected)
    }

    /// Whether both sources have the same names, and the same tensor under each.
    ///
    /// A tensor that neither source can read is not counted; see [`NotCompared::differs`].
    pub fn is_same(&self) -> bool {
        self.only_actual.is_empty()
            && self.only_expected.is_empty()
            && self.differing() == 0
            && !self.not_compared.iter().any(NotCompared::differs)
    }

    /// The number of pairs that differ.
    pub fn differing(&self) -> usize {
        let differs = |pair: &&NamedComparison| !pair.comparison.is_same();
        self.pairs.iter().filter(differs).count()
    }
}

/// A configurable comparison of two sources.
///
/// ```
/// use tensor_parity::compare::{Compare, Criterion};
///
/// let tch = [("fc.ws".to_owned(), [1.0f32, 2.0]), ("step".to_owned(), [7.0, 0.0])];
/// let torch = [("fc.weight".to_owned(), [1.0f32, 2.0])];
/// let comparison = Compare::new(Criterion::Bits)
///     .rename(|name| name.replace(".ws", ".weight"))
///     .filter(|name| name.starts_with("fc."))
///     .run(&tch, &torch)?;
/// assert!(comparison.is_same());
/// # Ok::<(), tensor_parity::compare::CompareError>(())
/// ```
pub struct Compare<'a> {
    criterion: Criterion,
    rename: Box<dyn Fn(&str) -> String + 'a>,
    filter: Box<dyn Fn(&str) -> bool + 'a>,
    progress: Box<dyn Fn(Progress) + Sync + 'a>,
}

impl<'a> Compare<'a> {
    /// A comparison of all tensors under their own names.
    pub fn new(criterion: Criterion) -> Compare<'a> {
        Compare {
            criterion,
            rename: Box::new(str::to_owned),
            filter: Box::new(|_| true),
            progress: Box::new(|_| ()),
        }
    }

    /// Renames the tensors of the first source.
    #[must_use]
    pub fn rename(mut self, rename: impl Fn(&str) -> String + 'a) -> Compare<'a> {
        self.rename = Box::new(rename);
        self
    }

    /// Compares only the tensors whose name (after renaming) satisfies `filter`.
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(&str) -> bool + 'a) -> Compare<'a> {
        self.filter = Box::new(filter);
        self
    }

    /// Sets a function that is called with the progress, from any thread. [`Progress::done`] never
    /// decreases from one call to the next.
    #[must_use]
    pub fn progress(mut self, progress: impl Fn(Progress) + Sync + 'a) -> Compare<'a> {
        self.progress = Box::new(progress);
        self
    }

    /// Compares two sources, on the threads of rayon's current pool.
    ///
    /// # Errors
    ///
    /// [`CompareError`] if two tensors of a source have the same name, a tensor cannot be read, or a
    /// tolerance is negative or NaN. A difference between tensors is not an error.
    pub fn run<A, B>(&self, actual: &A, expected: &B) -> Result<Comparison, CompareError>
    where
        A: TensorSource + ?Sized,
        B: TensorSource + ?Sized,
    {
        check_tolerances(self.criterion)?;
        let of = |side, source: &dyn Fn() -> Result<Vec<_>, SourceError>| {
            source().map_err(|source| CompareError::Source { side, source })
        };
        let mut left_out = Sides {
            actual: self.left_out(actual.left_out(), &self.rename),
            expected: self.left_out(expected.left_out(), &str::to_owned),
        };
        let actual = self.named(
            Side::Actual,
            of(Side::Actual, &|| actual.entries())?,
            &self.rename,
        )?;
        let expected = of(Side::Expected, &|| expected.entries())?;
        let expected = self.named(Side::Expected, expected, &str::to_owned)?;

        let positions: BTreeMap<&str, usize> = expected
            .iter()
            .enumerate()
            .map(|(position, (name, _))| (name.as_str(), position))
            .collect();
        let mut in_both = vec![false; expected.len()];
        let mut pairs = Vec::new();
        let mut only_actual = Vec::new();
        for (name, entry) in &actual {
            match positions.get(name.as_str()) {
                Some(position) => {
                    in_both[*position] = true;
                    pairs.push(Pair {
                        name,
                        entries: [entry, &expected[*position].1],
                    });
                }
                None => only_actual.push(name.clone()),
            }
        }
        let only_expected = expected.iter().zip(&in_both).filter(|(_, both)| !**both);
        let mut only_expected: Vec<String> =
            only_expected.map(|((name, _), _)| name.clone()).collect();
        let not_compared = not_compared(&mut left_out, &mut only_actual, &mut only_expected);
        Ok(Comparison {
            criterion: self.criterion,
            only_actual,
            only_expected,
            not_compared,
            left_out,
            pairs: self.pairs(&pairs)?,
        })
    }

    /// The members that pass the filter, with their names after renaming.
    fn left_out(&self, members: Vec<LeftOut>, rename: &dyn Fn(&str) -> String) -> Vec<LeftOut> {
        let renamed = members.into_iter().map(|member| LeftOut {
            name: rename(&member.name),
            ..member
        });
        renamed
            .filter(|member| (self.filter)(&member.name))
            .collect()
    }

    /// The entries that pass the filter, with their names after renaming.
    fn named<'e>(
        &self,
        side: Side,
        entries: Vec<SourceEntry<'e>>,
        rename: &dyn Fn(&str) -> String,
    ) -> Result<Vec<(String, SourceEntry<'e>)>, CompareError> {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut named = Vec::new();
        for entry in entries {
            let name = rename(entry.name());
            if let Some(first) = known.insert(name.clone(), entry.name().to_owned()) {
                return Err(CompareError::Duplicate {
                    side,
                    name,
                    first,
                    second: entry.name().to_owned(),
                });
            }
            if (self.filter)(&name) {
                named.push((name, entry));
            }
        }
        Ok(named)
    }

    fn pairs(&self, pairs: &[Pair<'_, '_>]) -> Result<Vec<NamedComparison>, CompareError> {
        let total = pairs.iter().map(Pair::size).sum();
        let done = std::sync::Mutex::new(0);
        let callback = &self.progress;
        let progress = |bytes: u64| {
            // Locked during the callback, so that it sees increasing numbers. A poisoned lock means
            // that the callback panicked, which ends the comparison.
            if let Ok(mut done) = done.lock() {
                *done += bytes;
                callback(Progress { done: *done, total });
            }
        };
        let mut results = Vec::with_capacity(pairs.len());
        let mut remaining = pairs;
        while !remaining.is_empty() {
            let mut bytes = 0;
            let last = remaining.iter().position(|pair| {
                bytes += pair.size();
                bytes >= BATCH_BYTES
            });
            let (batch, others) = remaining.split_at(last.map_or(remaining.len(), |last| last + 1));
            remaining = others;
            self.batch(batch, &progress, &mut results)?;
            batch.iter().try_for_each(Pair::release)?;
        }
        Ok(results)
    }

    fn batch(
        &self,
        pairs: &[Pair<'_, '_>],
        progress: &(dyn Fn(u64) + Sync),
        results: &mut Vec<NamedComparison>,
    ) -> Result<(), CompareError> {
        let load = |side: Side| {
            let tensors = pairs.iter().map(|pair| pair.load(side));
            tensors.collect::<Result<Vec<TensorData<'_>>, _>>()
        };
        let data = [load(Side::Actual)?, load(Side::Expected)?];
        let view = |side: Side| {
            let views = pairs.iter().zip(&data[side as usize]).map(|(pair, data)| {
                let view = data.view();
                view.map_err(|error| pair.error(side, error.into()))
            });
            views.collect::<Result<Vec<TensorView<'_>>, _>>()
        };
        let views = [view(Side::Actual)?, view(Side::Expected)?];
        let begin = |(actual, expected)| TensorComparison::begin(actual, expected, self.criterion);
        let (mut comparisons, matched): (Vec<_>, Vec<_>) =
            views[0].iter().zip(&views[1]).map(begin).unzip();
        let comparable = matched.into_iter().enumerate();
        let (positions, matched): (Vec<usize>, Vec<_>) = comparable
            .filter_map(|(position, matched)| Some((position, matched?)))
            .unzip();
        let tallies = parallel::tallies(&matched, parallel::PIECE_BYTES, progress);
        for ((position, matched), tally) in positions.iter().zip(&matched).zip(&tallies) {
            comparisons[*position].finish(matched, tally);
        }
        let named = pairs.iter().zip(comparisons);
        results.extend(named.map(|(pair, comparison)| NamedComparison {
            name: pair.name.to_owned(),
            original: pair.entries[0].name().to_owned(),
            comparison,
        }));
        Ok(())
    }
}

/// Takes the tensors that are left out of a source, and their counterparts in the other one.
fn not_compared(
    left_out: &mut Sides<Vec<LeftOut>>,
    only_actual: &mut Vec<String>,
    only_expected: &mut Vec<String>,
) -> Vec<NotCompared> {
    let split = |members: &mut Vec<LeftOut>| {
        let (values, tensors): (Vec<_>, Vec<_>) = std::mem::take(members)
            .into_iter()
            .partition(|member| member.kind == LeftOutKind::NotATensor);
        *members = values;
        tensors
    };
    let actual = split(&mut left_out.actual);
    let expected = split(&mut left_out.expected);
    if actual.is_empty() && expected.is_empty() {
        return Vec::new();
    }
    let by_name = |members: &[LeftOut]| -> BTreeMap<String, LeftOut> {
        let named = members
            .iter()
            .map(|member| (member.name.clone(), member.clone()));
        named.collect()
    };
    let mut unpaired = by_name(&expected);
    let of_actual = by_name(&actual);
    let alone = |names: &[String]| -> BTreeSet<String> { names.iter().cloned().collect() };
    let (alone_actual, alone_expected) = (alone(only_actual), alone(only_expected));
    only_actual.retain(|name| !unpaired.contains_key(name));
    only_expected.retain(|name| !of_actual.contains_key(name));
    let tensor = |names: &BTreeSet<String>, name: &str| match names.contains(name) {
        true => Presence::Tensor,
        false => Presence::Absent,
    };
    let mut not_compared = Vec::new();
    for member in actual {
        let other = match unpaired.remove(&member.name) {
            Some(other) => Presence::LeftOut(other),
            None => tensor(&alone_expected, &member.name),
        };
        not_compared.push(NotCompared {
            name: member.name.clone(),
            sides: Sides {
                actual: Presence::LeftOut(member),
                expected: other,
            },
        });
    }
    for member in expected {
        if unpaired.remove(&member.name).is_some() {
            not_compared.push(NotCompared {
                name: member.name.clone(),
                sides: Sides {
                    actual: tensor(&alone_actual, &member.name),
                    expected: Presence::LeftOut(member),
                },
            });
        }
    }
    not_compared
}

/// The entries of both sources with the same name.
struct Pair<'p, 'a> {
    name: &'p str,
    entries: [&'p SourceEntry<'a>; 2],
}

impl<'a> Pair<'_, 'a> {
    fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size()).sum()
    }

    fn load(&self, side: Side) -> Result<TensorData<'a>, CompareError> {
        let tensor = self.entries[side as usize].load();
        tensor.map_err(|error| self.error(side, error))
    }

    fn release(&self) -> Result<(), CompareError> {
        for side in [Side::Actual, Side::Expected] {
            let released = self.entries[side as usize].release();
            released.map_err(|error| self.error(side, error))?;
        }
        Ok(())
    }

    fn error(&self, side: Side, source: SourceError) -> CompareError {
        CompareError::Tensor {
            side,
            name: self.entries[side as usize].name().to_owned(),
            source,
        }
    }
}

fn check_tolerances(criterion: Criterion) -> Result<(), CompareError> {
    if let Criterion::Close(parameters) = criterion {
        for (name, value) in [("rtol", parameters.rtol), ("atol", parameters.atol)] {
            if let Some(value) = value.filter(|value| value.is_nan() || *value < 0.0) {
                return Err(CompareError::Tolerance { name, value });
            }
        }
    }
    Ok(())
}
