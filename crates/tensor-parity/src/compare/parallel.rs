//! Distributes a comparison over threads.

use super::tally::{Buffers, Matched, Tally};
use rayon::iter::{ParallelBridge, ParallelIterator};
use std::ops::Range;

/// The size of a piece in bytes of the wider dtype. Both sides of a piece stay in the cache of a
/// core between the passes over it.
pub(super) const PIECE_BYTES: usize = 128 << 10;

/// Computes a tally for each pair of tensors. `progress` is called from any thread with the number
/// of bytes of both sides that were read since the last call.
///
/// Pieces are handed out in order, so that files are read sequentially. The result does not depend
/// on the number of threads or the size of the pieces, since tallies can be added in any order.
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

/// The number of elements in a piece of `piece` bytes.
fn elements_in(piece: usize, matched: &Matched<'_>) -> usize {
    let sizes = matched.views.map(|view| view.dtype().size());
    (piece / sizes[0].max(sizes[1]).max(matched.dtype.size())).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::criterion::{Criterion, Rule};
    use crate::compare::promote_types;
    use crate::{Dtype, TensorView};

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Random bits, including NaN and infinities. Some elements are equal, and the greatest
    /// differences occur more than once.
    fn pair(dtype: Dtype, numel: usize) -> [Vec<u8>; 2] {
        let mut state = dtype.size() as u64;
        let size = dtype.size();
        let [mut a, mut b] = [Vec::new(), Vec::new()];
        for element in 0..numel {
            let bytes = |x: u64| [x.to_le_bytes(), x.to_le_bytes()].concat()[..size].to_vec();
            let x = bytes(random(&mut state) % 7 * 0x0101_0101_0101_0101);
            a.extend(&x);
            b.extend(match random(&mut state) % 3 {
                // Long ranges of equal bytes.
                _ if element / 700 % 2 == 1 => x,
                0 => x,
                _ => bytes(random(&mut state)),
            });
        }
        [a, b]
    }

    fn one(pairs: &[Matched<'_>], piece: usize, threads: usize) -> Vec<Tally> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| tallies(pairs, piece, &|_| ()))
    }

    #[test]
    fn results_do_not_depend_on_threads_or_pieces() {
        const NUMEL: usize = 5000;
        let criteria = [Criterion::Bits, Criterion::Ulp(1 << 20), Criterion::close()];
        let dtypes = Dtype::ALL.map(|dtype| (dtype, dtype));
        let mixed = [
            (Dtype::Float16, Dtype::Float32),
            (Dtype::Int8, Dtype::Complex64),
        ];
        for (x, y) in dtypes.into_iter().chain(mixed) {
            let bytes = [&pair(x, NUMEL)[0], &pair(y, NUMEL)[1]];
            let [a, b] = [(x, bytes[0]), (y, bytes[1])]
                .map(|(dtype, bytes)| TensorView::contiguous(dtype, &[50, 100], bytes).unwrap());
            let strided = [a.permute(&[1, 0]).unwrap(), b.permute(&[1, 0]).unwrap()];
            for views in [[&a, &b], [&strided[0], &strided[1]]] {
                for criterion in criteria {
                    let matched = [Matched {
                        views,
                        dtype: promote_types(x, y).unwrap(),
                        rule: Rule::new(criterion, x, y).0,
                    }];
                    let expected = one(&matched, usize::MAX, 1);
                    assert!(expected[0].differing > 1000, "{x} {y}");
                    for (piece, threads) in [(PIECE_BYTES, 3), (1 << 12, 2), (1000, 4), (77, 3)] {
                        assert_eq!(
                            one(&matched, piece, threads),
                            expected,
                            "{x} {y} {criterion} {piece}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_byte_is_reported_once() {
        let bytes = vec![0; 10_000];
        let views = [Dtype::Float32, Dtype::Float64]
            .map(|dtype| TensorView::contiguous(dtype, &[10_000 / dtype.size()], &bytes).unwrap());
        let pairs = views.each_ref().map(|view| Matched {
            views: [view, view],
            dtype: view.dtype(),
            rule: Rule::new(Criterion::Bits, view.dtype(), view.dtype()).0,
        });
        let seen = std::sync::atomic::AtomicU64::new(0);
        let count = |bytes| {
            seen.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        assert_eq!(tallies(&pairs, 512, &count), [Tally::default(); 2]);
        assert_eq!(seen.into_inner(), 4 * 10_000);
    }

    #[test]
    fn the_first_of_equal_differences_is_reported() {
        let zeros = [0u8; 4 * 3000];
        let mut ones = zeros;
        for element in [2999, 1700, 300, 290] {
            ones[4 * element..4 * element + 4].copy_from_slice(&1f32.to_le_bytes());
        }
        let [a, b] = [&ones, &zeros]
            .map(|bytes| TensorView::contiguous(Dtype::Float32, &[3000], bytes).unwrap());
        let matched = [Matched {
            views: [&a, &b],
            dtype: Dtype::Float32,
            rule: Rule::new(Criterion::Bits, Dtype::Float32, Dtype::Float32).0,
        }];
        for piece in [8, 512, PIECE_BYTES] {
            let tally = one(&matched, piece, 3)[0];
            let first = |peak: Option<crate::compare::tally::Peak>| peak.map(|peak| peak.element);
            assert_eq!((tally.differing, tally.first), (4, Some(290)));
            assert_eq!(first(tally.extremes().absolute), Some(290));
            assert_eq!(first(tally.extremes().relative), Some(290));
            assert_eq!(first(tally.extremes().ulps), Some(290));
        }
    }
}
