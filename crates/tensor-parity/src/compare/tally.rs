//! Counts and greatest differences over a range of elements.

use super::criterion::Rule;
use super::float::Key;
use super::judge::{ElementLoop, Judgment, Lane, Limits, dispatch};
use super::non_finite::{self, NonFinite};
use super::promote;
use crate::{Dtype, TensorView};
use std::ops::Range;

/// The number of elements that are judged together. Their differences are written to arrays that
/// stay in the cache, so that the loop vectorizes.
const BLOCK: usize = 256;

/// Counts and extremes over some elements. The tallies of disjoint ranges can be added in any
/// order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) differing: usize,
    pub(super) failing: usize,
    pub(super) signed_zeros: usize,
    pub(super) payloads: usize,
    pub(super) non_finite: [NonFinite; 2],
    /// The first element that fails.
    pub(super) first: Option<usize>,
    /// Over the elements that fail.
    failing_extremes: Extremes,
    /// Over the elements that differ; only valid if none fails.
    differing_extremes: Extremes,
}

/// The greatest differences, as keys, and the first element that has each.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Extremes {
    pub(super) absolute: Option<Peak>,
    pub(super) relative: Option<Peak>,
    pub(super) ulps: Option<Peak>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peak {
    pub(super) key: u64,
    pub(super) element: usize,
}

impl Peak {
    /// The greater of two peaks, or the one with the smaller index if they are equal.
    fn max(a: Option<Peak>, b: Option<Peak>) -> Option<Peak> {
        match (a, b) {
            (Some(a), Some(b)) => {
                let b_wins = (b.key, a.element) > (a.key, b.element);
                Some(if b_wins { b } else { a })
            }
            _ => a.or(b),
        }
    }
}

impl Extremes {
    fn add(&mut self, other: &Extremes) {
        self.absolute = Peak::max(self.absolute, other.absolute);
        self.relative = Peak::max(self.relative, other.relative);
        self.ulps = Peak::max(self.ulps, other.ulps);
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.differing += other.differing;
        self.failing += other.failing;
        self.signed_zeros += other.signed_zeros;
        self.payloads += other.payloads;
        for (own, other) in self.non_finite.iter_mut().zip(other.non_finite) {
            own.add(other);
        }
        self.first = match (self.first, other.first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.failing_extremes.add(&other.failing_extremes);
        if self.failing > 0 {
            // These would depend on how the elements are cut into pieces.
            self.differing_extremes = Extremes::default();
        } else {
            self.differing_extremes.add(&other.differing_extremes);
        }
    }

    /// Over the elements that fail; if none does, over those whose bits differ.
    pub(super) fn extremes(&self) -> &Extremes {
        if self.failing > 0 {
            &self.failing_extremes
        } else {
            &self.differing_extremes
        }
    }
}

/// Two tensors of the same shape that can be compared.
pub(super) struct Matched<'a> {
    pub(super) views: [&'a TensorView<'a>; 2],
    /// The dtype in which they are compared.
    pub(super) dtype: Dtype,
    pub(super) rule: Rule,
}

/// Memory that is reused for the next range.
#[derive(Default)]
pub(super) struct Buffers {
    read: [Vec<u8>; 2],
    converted: [Vec<u8>; 2],
}

impl Matched<'_> {
    pub(super) fn tally(&self, elements: Range<usize>, buffers: &mut Buffers) -> Tally {
        let start = elements.start;
        let Buffers { read, converted } = buffers;
        let [read_a, read_b] = read;
        let [converted_a, converted_b] = converted;
        let a = self.promoted(0, elements.clone(), read_a, converted_a);
        let b = self.promoted(1, elements, read_b, converted_b);
        let equal = a == b;
        let non_finite = non_finite::count(self.dtype, a);
        let mut tally = Tally {
            non_finite: match equal {
                true => [non_finite; 2],
                false => [non_finite, non_finite::count(self.dtype, b)],
            },
            ..Tally::default()
        };
        let nan_fails = non_finite.nan > 0 && self.rule.nan_fails();
        if !equal || nan_fails {
            let elements = Elements {
                a,
                b,
                start,
                nan_fails,
                tally: &mut tally,
            };
            dispatch(elements, self.dtype, &self.rule);
        }
        tally
    }

    /// The elements of a tensor in the common dtype.
    fn promoted<'b>(
        &'b self,
        side: usize,
        elements: Range<usize>,
        read: &'b mut Vec<u8>,
        converted: &'b mut Vec<u8>,
    ) -> &'b [u8] {
        let view = self.views[side];
        let bytes = view.read(elements, read);
        if view.dtype() == self.dtype {
            return bytes;
        }
        promote::convert(view.dtype(), self.dtype, bytes, converted);
        converted
    }
}

struct Elements<'a> {
    a: &'a [u8],
    b: &'a [u8],
    /// The index of the first element.
    start: usize,
    /// Whether two NaN with equal bits fail.
    nan_fails: bool,
    tally: &'a mut Tally,
}

impl ElementLoop for Elements<'_> {
    type Output = ();

    fn run<L: Lane, const MODE: u8>(self, limits: &Limits<L::Compute>) {
        let mut block = Block::new();
        let size = BLOCK * L::SIZE;
        for (number, (a, b)) in self.a.chunks(size).zip(self.b.chunks(size)).enumerate() {
            if a != b || self.nan_fails {
                block.judge::<L, MODE>(a, b, limits);
                block.add_to(self.tally, self.start + number * BLOCK);
            }
        }
    }
}

/// The judgments of up to `BLOCK` elements, one array per field.
struct Block<K> {
    differs: [K; BLOCK],
    fails: [K; BLOCK],
    signed_zero: [K; BLOCK],
    payload: [K; BLOCK],
    absolute: [K; BLOCK],
    relative: [K; BLOCK],
    ulps: [K; BLOCK],
    length: usize,
}

impl<K: Key> Block<K> {
    fn new() -> Block<K> {
        let zeros = [K::default(); BLOCK];
        Block {
            differs: zeros,
            fails: zeros,
            signed_zero: zeros,
            payload: zeros,
            absolute: zeros,
            relative: zeros,
            ulps: zeros,
            length: 0,
        }
    }

    #[inline(always)]
    fn judge<L: Lane<Key = K>, const MODE: u8>(
        &mut self,
        a: &[u8],
        b: &[u8],
        limits: &Limits<L::Compute>,
    ) {
        self.length = a.len() / L::SIZE;
        let pairs = a.chunks_exact(L::SIZE).zip(b.chunks_exact(L::SIZE));
        for (i, (a, b)) in pairs.enumerate().take(BLOCK) {
            let Judgment {
                differs,
                fails,
                signed_zero,
                payload,
                absolute,
                relative,
                ulps,
            } = L::judge::<MODE>(L::load(a), L::load(b), limits);
            self.differs[i] = K::from_bool(differs);
            self.fails[i] = K::from_bool(fails);
            self.signed_zero[i] = K::from_bool(signed_zero);
            self.payload[i] = K::from_bool(payload);
            self.absolute[i] = absolute;
            self.relative[i] = relative;
            self.ulps[i] = ulps;
        }
    }

    fn add_to(&self, tally: &mut Tally, start: usize) {
        let count = |flags: &[K; BLOCK]| {
            let ones: u64 = flags[..self.length].iter().map(|flag| (*flag).into()).sum();
            // At most `BLOCK`.
            ones as usize
        };
        tally.differing += count(&self.differs);
        tally.signed_zeros += count(&self.signed_zero);
        tally.payloads += count(&self.payload);
        let failing = count(&self.fails);
        tally.failing += failing;
        let (mask, extremes) = if failing > 0 {
            let first = || {
                self.fails[..self.length]
                    .iter()
                    .position(|x| (*x).into() == 1)
            };
            tally.first = tally.first.or_else(|| first().map(|i| start + i));
            (&self.fails, &mut tally.failing_extremes)
        } else if tally.failing == 0 {
            (&self.differs, &mut tally.differing_extremes)
        } else {
            return;
        };
        self.raise(&mut extremes.absolute, &self.absolute, mask, start);
        self.raise(&mut extremes.relative, &self.relative, mask, start);
        self.raise(&mut extremes.ulps, &self.ulps, mask, start);
    }

    /// Raises a peak to the greatest key in the block, if that is greater.
    fn raise(&self, peak: &mut Option<Peak>, keys: &[K; BLOCK], mask: &[K; BLOCK], start: usize) {
        let masked = || keys[..self.length].iter().zip(&mask[..self.length]);
        let greatest = masked()
            .map(|(key, mask)| key.masked(*mask))
            .fold(K::default(), K::max);
        if peak.is_some_and(|peak| greatest.into() <= peak.key) {
            return;
        }
        let first = masked().position(|(key, mask)| *key == greatest && (*mask).into() == 1);
        if let Some(first) = first {
            *peak = Some(Peak {
                key: greatest.into(),
                element: start + first,
            });
        }
    }
}
