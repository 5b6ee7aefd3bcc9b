//! Looks for many word patterns in one pass over a stream.

use super::word_prediction::{WordBits, WordPattern};
use crate::rng::Mt19937;

/// An index of word patterns.
pub(super) struct StreamSearch<'a> {
    patterns: &'a [WordPattern],
    /// The patterns that predict a fraction with these upper bits, each with the offset of the
    /// prediction. One table for each kind of [`WordBits`] that is used.
    tables: Vec<(WordBits, Buckets)>,
    span: u64,
}

/// Numbers of patterns, each with the offset of its prediction, by bucket.
type Buckets = Vec<Vec<(u32, u64)>>;

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
            for pivot in pattern.pivots() {
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
                    table[bucket].push((number as u32, pivot.offset));
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
                for (number, offset) in buckets.flatten() {
                    let Some(start) = (index as u64).checked_sub(*offset) else {
                        continue;
                    };
                    if before + start < words
                        && self.patterns[*number as usize].fits(&window, start as usize)
                    {
                        found.push((*number as usize, before + start));
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
