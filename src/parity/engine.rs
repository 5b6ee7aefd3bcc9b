//! The work, in pieces, on all threads.

use super::tally::{Buffers, Matched, Tally};
use rayon::iter::{ParallelBridge, ParallelIterator};
use std::ops::Range;

/// Bytes of the wider side in a piece: both sides stay in a core's own cache from the comparison
/// of bytes to the count of NaN.
pub(super) const PIECE: usize = 128 << 10;

/// A tally for every pair. `progress` hears of the bytes that were read since it was last called,
/// of both sides, from any thread.
///
/// Pieces are handed out in order, so that files are read from front to end. Tallies add up in any
/// order, so neither threads nor pieces show in the result.
pub(super) fn tallies(
    pairs: &[Matched<'_>],
    piece: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Vec<Tally> {
    let one = |buffers: &mut Buffers, (pair, elements): (usize, Range<usize>)| {
        let matched = &pairs[pair];
        let sizes = matched.views.map(|view| view.dtype().size());
        let bytes = elements.len() * (sizes[0] + sizes[1]);
        let tally = matched.tally(elements, buffers);
        progress(bytes as u64);
        (pair, tally)
    };
    let pieces = || {
        pairs.iter().enumerate().flat_map(|(pair, matched)| {
            let (numel, step) = (matched.views[0].numel(), elements_in(piece, matched));
            (0..numel)
                .step_by(step)
                .map(move |start| (pair, start..(start + step).min(numel)))
        })
    };
    let mut sums = vec![Tally::default(); pairs.len()];
    let mut add = |(pair, tally): (usize, Tally)| sums[pair].add(&tally);
    if pieces().nth(1).is_none() {
        let mut buffers = Buffers::default();
        pieces().map(|next| one(&mut buffers, next)).for_each(add);
        return sums;
    }
    let parts: Vec<(usize, Tally)> = pieces()
        .par_bridge()
        .map_init(Buffers::default, one)
        .collect();
    parts.into_iter().for_each(&mut add);
    sums
}

fn elements_in(piece: usize, matched: &Matched<'_>) -> usize {
    let sizes = matched.views.map(|view| view.dtype().size());
    (piece / sizes[0].max(sizes[1]).max(matched.dtype.size())).max(1)
}
