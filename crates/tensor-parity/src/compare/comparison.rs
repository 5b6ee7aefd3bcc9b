//! Two sources of tensors, compared name by name.

use super::criterion::Criterion;
use super::parallel;
use super::source::{Entry, SourceError, TensorData, TensorSource};
use super::tensor_comparison::TensorComparison;
use crate::TensorView;
use std::collections::BTreeMap;

/// Bytes of both sides that are compared before the next tensors are read.
const BATCH: u64 = 64 << 20;

/// Two sources, compared.
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
    /// What makes two tensors the same.
    pub criterion: Criterion,
    /// The tensors of both sources, in the order of the first.
    pub pairs: Vec<NamedComparison>,
    /// Names (after renaming) that only the first source has, in its order.
    pub only_actual: Vec<String>,
    /// Names that only the second source has, in its order.
    pub only_expected: Vec<String>,
}

/// Two tensors of one name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NamedComparison {
    /// The name in the second source, and in the first after renaming.
    pub name: String,
    /// The name in the first source.
    pub original: String,
    /// What was found.
    pub comparison: TensorComparison,
}

/// Why sources cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Two tensors of one source have one name.
    #[error("{side}: {first:?} and {second:?} both have the name {name:?}{}", after_renaming(.first, .second))]
    Duplicate {
        /// The source: "actual" or "expected".
        side: &'static str,
        /// The name that both have.
        name: String,
        /// What the first was called before renaming.
        first: String,
        /// What the second was called before renaming.
        second: String,
    },

    /// A source cannot be listed.
    #[error("{side}: {error}")]
    Source {
        /// The source: "actual" or "expected".
        side: &'static str,
        /// What is wrong with it.
        error: SourceError,
    },

    /// A tensor cannot be read.
    #[error("{side}: tensor {name:?}: {error}")]
    Tensor {
        /// The source: "actual" or "expected".
        side: &'static str,
        /// The tensor's name in it.
        name: String,
        /// What is wrong with it.
        error: SourceError,
    },

    /// A tolerance that is negative or NaN (PyTorch: `RuntimeError`).
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

/// How far a comparison has come: bytes of both sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Compared so far.
    pub done: u64,
    /// All that is to be compared.
    pub total: u64,
}

impl Comparison {
    /// Compares the tensors that both sources have. [`Compare`] has more to set.
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

    /// Whether both sources have the same names, and under each the same tensors.
    pub fn is_same(&self) -> bool {
        self.only_actual.is_empty() && self.only_expected.is_empty() && self.differing() == 0
    }

    /// The number of pairs that are not the same.
    pub fn differing(&self) -> usize {
        let differs = |pair: &&NamedComparison| !pair.comparison.is_same();
        self.pairs.iter().filter(differs).count()
    }
}

/// How to compare two sources.
///
/// ```
/// use tensor_parity::compare::{Compare, Criterion};
///
/// let tch = [("fc.ws".to_owned(), [1.0f32, 2.0]), ("step".to_owned(), [7.0, 0.0])];
/// let torch = [("fc.weight".to_owned(), [1.0f32, 2.0])];
/// let comparison = Compare::new(Criterion::Bits)
///     .rename(|name| name.replace(".ws", ".weight"))
///     .keep(|name| name.starts_with("fc."))
///     .run(&tch, &torch)?;
/// assert!(comparison.is_same());
/// # Ok::<(), tensor_parity::compare::CompareError>(())
/// ```
pub struct Compare<'a> {
    criterion: Criterion,
    rename: Box<dyn Fn(&str) -> String + 'a>,
    keep: Box<dyn Fn(&str) -> bool + 'a>,
    progress: Box<dyn Fn(Progress) + Sync + 'a>,
}

impl<'a> Compare<'a> {
    /// Compares all tensors, under their own names.
    pub fn new(criterion: Criterion) -> Compare<'a> {
        Compare {
            criterion,
            rename: Box::new(str::to_owned),
            keep: Box::new(|_| true),
            progress: Box::new(|_| ()),
        }
    }

    /// Sets what the tensors of the first source are called.
    #[must_use]
    pub fn rename(mut self, rename: impl Fn(&str) -> String + 'a) -> Compare<'a> {
        self.rename = Box::new(rename);
        self
    }

    /// Leaves out the tensors of both sources whose name (after renaming) `keep` refuses.
    #[must_use]
    pub fn keep(mut self, keep: impl Fn(&str) -> bool + 'a) -> Compare<'a> {
        self.keep = Box::new(keep);
        self
    }

    /// Has `progress` called now and then, from any thread; what was done never decreases.
    #[must_use]
    pub fn progress(mut self, progress: impl Fn(Progress) + Sync + 'a) -> Compare<'a> {
        self.progress = Box::new(progress);
        self
    }

    /// Compares, on the threads of rayon's current pool.
    ///
    /// # Errors
    ///
    /// [`CompareError`] if two tensors of a source have one name, a tensor cannot be read, or a
    /// tolerance is negative or NaN. That tensors differ is no error.
    pub fn run<A, B>(&self, actual: &A, expected: &B) -> Result<Comparison, CompareError>
    where
        A: TensorSource + ?Sized,
        B: TensorSource + ?Sized,
    {
        check(self.criterion)?;
        let of = |side, source: &dyn Fn() -> Result<Vec<_>, SourceError>| {
            source().map_err(|error| CompareError::Source { side, error })
        };
        let actual = self.named("actual", of("actual", &|| actual.entries())?, &self.rename)?;
        let expected = of("expected", &|| expected.entries())?;
        let expected = self.named("expected", expected, &str::to_owned)?;

        let places: BTreeMap<&str, usize> = expected
            .iter()
            .enumerate()
            .map(|(place, (name, _))| (name.as_str(), place))
            .collect();
        let mut in_both = vec![false; expected.len()];
        let mut pairs = Vec::new();
        let mut only_actual = Vec::new();
        for (name, entry) in &actual {
            match places.get(name.as_str()) {
                Some(place) => {
                    in_both[*place] = true;
                    pairs.push(Pair {
                        name,
                        entries: [entry, &expected[*place].1],
                    });
                }
                None => only_actual.push(name.clone()),
            }
        }
        let only_expected = expected.iter().zip(&in_both).filter(|(_, both)| !**both);
        Ok(Comparison {
            criterion: self.criterion,
            only_actual,
            only_expected: only_expected.map(|((name, _), _)| name.clone()).collect(),
            pairs: self.pairs(&pairs)?,
        })
    }

    /// The entries that are kept, with their names after renaming.
    fn named<'e>(
        &self,
        side: &'static str,
        entries: Vec<Entry<'e>>,
        rename: &dyn Fn(&str) -> String,
    ) -> Result<Vec<(String, Entry<'e>)>, CompareError> {
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
            if (self.keep)(&name) {
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
            // Held while the callback runs, so that it sees no number after a greater one. A
            // callback that panicked has ended the comparison.
            if let Ok(mut done) = done.lock() {
                *done += bytes;
                callback(Progress { done: *done, total });
            }
        };
        let mut results = Vec::with_capacity(pairs.len());
        let mut rest = pairs;
        while !rest.is_empty() {
            let mut bytes = 0;
            let reached = rest.iter().position(|pair| {
                bytes += pair.size();
                bytes >= BATCH
            });
            let (batch, others) = rest.split_at(reached.map_or(rest.len(), |last| last + 1));
            rest = others;
            self.batch(batch, &progress, &mut results)?;
            batch.iter().for_each(Pair::release);
        }
        Ok(results)
    }

    fn batch(
        &self,
        pairs: &[Pair<'_, '_>],
        progress: &(dyn Fn(u64) + Sync),
        results: &mut Vec<NamedComparison>,
    ) -> Result<(), CompareError> {
        let load = |side: usize| {
            let tensors = pairs.iter().map(|pair| pair.load(side));
            tensors.collect::<Result<Vec<TensorData<'_>>, _>>()
        };
        let data = [load(0)?, load(1)?];
        let view = |side: usize| {
            let views = pairs.iter().zip(&data[side]).map(|(pair, data)| {
                let view = data.view();
                view.map_err(|error| pair.error(side, error.into()))
            });
            views.collect::<Result<Vec<TensorView<'_>>, _>>()
        };
        let views = [view(0)?, view(1)?];
        let begin = |(actual, expected)| TensorComparison::begin(actual, expected, self.criterion);
        let (mut comparisons, matched): (Vec<_>, Vec<_>) =
            views[0].iter().zip(&views[1]).map(begin).unzip();
        let comparable = matched.into_iter().enumerate();
        let (places, matched): (Vec<usize>, Vec<_>) = comparable
            .filter_map(|(place, matched)| Some((place, matched?)))
            .unzip();
        let tallies = parallel::tallies(&matched, parallel::PIECE, progress);
        for ((place, matched), tally) in places.iter().zip(&matched).zip(&tallies) {
            comparisons[*place].finish(matched, tally);
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

struct Pair<'p, 'a> {
    name: &'p str,
    entries: [&'p Entry<'a>; 2],
}

impl<'a> Pair<'_, 'a> {
    fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size()).sum()
    }

    fn load(&self, side: usize) -> Result<TensorData<'a>, CompareError> {
        let tensor = self.entries[side].load();
        tensor.map_err(|error| self.error(side, error))
    }

    fn release(&self) {
        self.entries.iter().for_each(|entry| entry.release());
    }

    fn error(&self, side: usize, error: SourceError) -> CompareError {
        CompareError::Tensor {
            side: ["actual", "expected"][side],
            name: self.entries[side].name().to_owned(),
            error,
        }
    }
}

fn check(criterion: Criterion) -> Result<(), CompareError> {
    if let Criterion::Close { rtol, atol, .. } = criterion {
        for (name, value) in [("rtol", rtol), ("atol", atol)] {
            if let Some(value) = value.filter(|value| value.is_nan() || *value < 0.0) {
                return Err(CompareError::Tolerance { name, value });
            }
        }
    }
    Ok(())
}
