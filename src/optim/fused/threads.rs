//! Work on chunks of elements over several threads.

use crate::ffi::SingleThreadedMkl;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The chunks that a thread takes at a time.
const CHUNKS_AT_ONCE: usize = 8;

/// Calls `work` for each chunk of `0..numel`, in `threads` threads, of which this is one. Returns the ranges for which it
/// was `false`, in order.
pub(super) fn in_chunks(
    numel: usize,
    chunk: usize,
    threads: usize,
    work: impl Fn(Range<usize>) -> bool + Sync,
) -> Vec<Range<usize>> {
    let block = chunk * CHUNKS_AT_ONCE;
    let blocks = numel.div_ceil(block);
    let refused = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let take = || {
        let _single = SingleThreadedMkl::begin();
        loop {
            let start = next.fetch_add(1, Ordering::Relaxed) * block;
            if start >= numel {
                return;
            }
            let end = numel.min(start + block);
            for start in (start..end).step_by(chunk) {
                let range = start..end.min(start + chunk);
                if !work(range.clone()) {
                    let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                    refused.push(range);
                }
            }
        }
    };
    // A thread that has one block to do costs more than it does.
    match threads.min(blocks / 2) {
        0 | 1 => take(),
        threads => rayon::in_place_scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|_| take());
            }
            take();
        }),
    }
    let mut refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    refused.sort_unstable_by_key(|range: &Range<usize>| range.start);
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element is in one chunk, and those that were refused come back in order.
    #[test]
    fn chunks_cover_all() {
        for threads in [1, 2, 3] {
            for numel in [0, 1, 9, 10, 11, 79, 80, 81, 160, 161, 10_000] {
                let seen: Vec<AtomicUsize> = (0..numel).map(|_| AtomicUsize::new(0)).collect();
                let refused = in_chunks(numel, 10, threads, |range| {
                    assert!(range.len() <= 10);
                    seen[range.clone()].iter().for_each(|n| {
                        n.fetch_add(1, Ordering::Relaxed);
                    });
                    range.start % 30 != 0
                });
                assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
                let due: Vec<_> = (0..numel)
                    .step_by(30)
                    .map(|s| s..numel.min(s + 10))
                    .collect();
                assert_eq!(refused, due);
            }
        }
    }
}
