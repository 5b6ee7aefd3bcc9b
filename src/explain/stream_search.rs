//! Looks for many traces in one pass over a stream.

use super::word_prediction::{Part, Trace};
use crate::rng::Mt19937;

/// Many traces, ready to be looked for in one pass over a stream.
pub(super) struct Search<'a> {
    traces: &'a [Trace],
    /// By the upper bits of a fraction: which traces may have drawn such a word, and at which
    /// offset. One table for each part of a word.
    single: Vec<Vec<(u32, u64)>>,
    double: Vec<Vec<(u32, u64)>>,
    span: u64,
}

/// Buckets of a table. A power of two, so that the upper bits of a word name the bucket.
const BUCKETS: usize = 1 << 12;

/// Words that are looked at together.
const CHUNK: usize = 1 << 16;

impl<'a> Search<'a> {
    pub(super) fn new(traces: &'a [Trace]) -> Search<'a> {
        let mut search = Search {
            traces,
            single: vec![Vec::new(); BUCKETS],
            double: vec![Vec::new(); BUCKETS],
            span: traces.iter().map(Trace::span).max().unwrap_or(0),
        };
        for (number, trace) in traces.iter().enumerate() {
            for pivot in trace.pivots() {
                let table = match pivot.part {
                    Part::Single => &mut search.single,
                    Part::Double => &mut search.double,
                };
                let bucket = |fraction: f64| (fraction * BUCKETS as f64).floor() as i64;
                let low = bucket(pivot.fraction - pivot.tolerance);
                let high = bucket(pivot.fraction + pivot.tolerance);
                for place in low..=high.min(low + BUCKETS as i64 - 1) {
                    let place = place.rem_euclid(BUCKETS as i64) as usize;
                    table[place].push((number as u32, pivot.offset));
                }
            }
        }
        search
    }

    /// The places among the first `words` of a seed's stream where traces fit: the number of the
    /// trace and its first word, in the order of the stream.
    pub(super) fn scan(&self, seed: u64, words: u64) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        let mut stream = Mt19937::new(seed);
        let mut window: Vec<u32> = Vec::new();
        // Words before the window.
        let mut before = 0u64;
        while before < words {
            let wanted = (words - before).min(CHUNK as u64) + 2 * self.span;
            let have = window.len();
            window.resize(wanted as usize, 0);
            stream.fill_words(&mut window[have.min(wanted as usize)..]);
            let overlap = self.span as usize;
            let end = window.len() - overlap;
            // A pivot may lie `span` words after its trace's start.
            let first = if before == 0 { 0 } else { overlap };
            for at in first..end {
                let word = window[at];
                let single = &self.single[(word & 0x00ff_ffff) as usize >> 12];
                let double = &self.double[(word & 0x001f_ffff) as usize >> 9];
                for (number, offset) in single.iter().chain(double) {
                    let Some(start) = (at as u64).checked_sub(*offset) else {
                        continue;
                    };
                    if before + start < words
                        && self.traces[*number as usize].fits(&window, start as usize)
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
