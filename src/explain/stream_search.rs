//! Looks for many word patterns in one pass over a stream.

use super::word_prediction::{WordBits, WordPattern, WordRange};
use crate::rng::Mt19937;

/// An index of word patterns.
pub(super) struct StreamSearch<'a> {
    patterns: &'a [WordPattern],
    /// The predictions of a fraction with these upper bits. One table for each kind of [`WordBits`] that is used.
    tables: Vec<(WordBits, Buckets)>,
    span: u64,
}

/// Predictions by bucket.
type Buckets = Vec<Vec<Pivot>>;

/// A prediction of a pattern.
#[derive(Debug, Clone, Copy)]
struct Pivot {
    pattern: u32,
    /// The words from the start of the pattern to the predicted one.
    offset: u32,
    /// Another prediction that must hold. Few words pass it by chance, and it costs less than all others.
    check: WordRange,
}

/// The number of buckets of a table: a power of two, so that a bucket is the upper bits of a fraction.
const BUCKETS: usize = 1 << 12;

/// The number of words that are read at a time.
const CHUNK: usize = 1 << 16;

impl<'a> StreamSearch<'a> {
    pub(super) fn new(patterns: &'a [WordPattern]) -> StreamSearch<'a> {
        let mut search = StreamSearch {
            patterns,
            tables: Vec::new(),
            span: patterns.iter().map(WordPattern::span).max().unwrap_or(0),
        };
        for (number, pattern) in patterns.iter().enumerate() {
            for (pivot, check) in pattern.pivots() {
                let tables = &mut search.tables;
                let known = tables.iter().position(|(bits, _)| *bits == pivot.bits);
                let known = known.unwrap_or_else(|| {
                    tables.push((pivot.bits, vec![Vec::new(); BUCKETS]));
                    tables.len() - 1
                });
                let (_, table) = &mut tables[known];
                let bucket_of = |fraction: f64| (fraction * BUCKETS as f64).floor() as i64;
                let low = bucket_of(pivot.fraction - pivot.tolerance);
                let high = bucket_of(pivot.fraction + pivot.tolerance);
                for bucket in low..=high.min(low + BUCKETS as i64 - 1) {
                    let bucket = bucket.rem_euclid(BUCKETS as i64) as usize;
                    table[bucket].push(Pivot {
                        pattern: number as u32,
                        offset: pivot.offset as u32,
                        check,
                    });
                }
            }
        }
        search
    }

    /// Finds where patterns fit in the first `words` words of a seed's stream.
    ///
    /// Returns the number of the pattern and its first word, in the order of the stream.
    pub(super) fn scan(&self, seed: u64, words: u64) -> Vec<(usize, u64)> {
        self.scan_from(Mt19937::new(seed), words)
    }

    /// Finds where patterns fit that begin in the next `words` words of a stream.
    ///
    /// Returns the number of the pattern and its first word, counted from the stream's next one.
    pub(super) fn scan_from(&self, mut stream: Mt19937, words: u64) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        if self.patterns.is_empty() {
            return found;
        }
        let mut window: Vec<u32> = Vec::new();
        // The position of the window.
        let mut before = 0u64;
        while before < words {
            let needed = (words - before).min(CHUNK as u64) + 2 * self.span;
            let read = window.len();
            window.resize(needed as usize, 0);
            stream.fill_words(&mut window[read.min(needed as usize)..]);
            let overlap = self.span as usize;
            let end = window.len() - overlap;
            // A pivot may lie up to `span` words after the start of its pattern.
            let first = if before == 0 { 0 } else { overlap };
            for index in first..end {
                let word = window[index];
                let tables = self.tables.iter();
                let buckets =
                    tables.map(|(bits, table)| &table[bits.fraction_24(word) as usize >> 12]);
                for pivot in buckets.flatten() {
                    let Some(start) = index.checked_sub(pivot.offset as usize) else {
                        continue;
                    };
                    let pattern = pivot.pattern as usize;
                    if pivot.check.may_hold(&window, start)
                        && before + (start as u64) < words
                        && self.patterns[pattern].fits(&window, start)
                    {
                        found.push((pattern, before + start as u64));
                    }
                }
            }
            window.drain(..end - overlap.min(end));
            before += (end - overlap.min(end)) as u64;
        }
        found.sort_unstable_by_key(|(number, start)| (*start, *number));
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::replay::Method;
    use crate::explain::values::Sample;
    use crate::tensor::Dtype;
    use half::bf16;
    use torch_rng::{Draw, Element, Engine, Normal, Semantics, Target, TruncNormal, Uniform};

    const SEED: u64 = 5;

    /// Values that are drawn at a word of the stream.
    fn values<T: Element + Default + Into<f64>>(draw: Draw, count: usize, word: u64) -> Vec<f64> {
        let engine = Engine::default();
        let mut stream = Mt19937::new(SEED);
        engine.skip(&mut stream, word);
        let mut values = vec![T::default(); count];
        let shape = [count as u64];
        let target = Target {
            dtype: T::DTYPE,
            shape: &shape,
            contiguous: true,
            semantics: Semantics::NEWEST,
        };
        draw.fill(&engine, &mut stream, target, &mut values)
            .unwrap();
        values.into_iter().map(T::into).collect()
    }

    /// The same matches as of a comparison with all words.
    #[test]
    fn all_matches_are_found() {
        let uniform = Draw::from(Uniform {
            from: -0.5,
            to: 0.5,
        });
        let normal = Draw::from(Normal {
            mean: 0.0,
            std: 0.3,
        });
        let truncated = Draw::from(TruncNormal {
            mean: 0.0,
            std: 0.3,
            a: -0.5,
            b: 0.5,
        });
        let samples = [
            (
                uniform,
                values::<f32>(uniform, 5, 1000),
                1000,
                Dtype::Float32,
            ),
            (
                uniform,
                values::<bf16>(uniform, 4, 70_001),
                70_001,
                Dtype::Bfloat16,
            ),
            (
                normal,
                values::<f32>(normal, 16, 140_000),
                140_000,
                Dtype::Float32,
            ),
            (
                normal,
                values::<bf16>(normal, 32, 200_003),
                200_003,
                Dtype::Bfloat16,
            ),
            (
                truncated,
                values::<bf16>(truncated, 64, 230_000),
                230_000,
                Dtype::Bfloat16,
            ),
            (
                normal,
                values::<f64>(normal, 16, 250_000),
                250_000,
                Dtype::Float64,
            ),
        ];
        let patterns = samples.iter().map(|(draw, values, _, dtype)| {
            WordPattern::new(
                *draw,
                Method::Libtorch,
                &Sample::all(values.clone()),
                *dtype,
            )
        });
        let patterns: Vec<WordPattern> = patterns.collect::<Option<_>>().unwrap();
        let count = 1 << 18;
        let mut words = vec![0; count + 1000];
        Mt19937::new(SEED).fill_words(&mut words);
        let mut expected = Vec::new();
        for start in 0..count {
            let fits = (0..patterns.len()).filter(|number| patterns[*number].fits(&words, start));
            expected.extend(fits.map(|number| (number, start as u64)));
        }
        for (number, (.., word, _)) in samples.iter().enumerate() {
            assert!(
                expected.contains(&(number, *word)),
                "{number}: {expected:?}"
            );
        }
        let found = StreamSearch::new(&patterns).scan(SEED, count as u64);
        assert_eq!(found, expected);
    }
}
