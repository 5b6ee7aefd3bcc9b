//! Draws of normal values between bounds, a vector at a time.

use super::{Round, Truncation};
use crate::arch::Isa;
use crate::distribution::kernel::{Normal, Sink};
use crate::distribution::normal::BLOCK;
use crate::element::Element;
use crate::stream::{READ_WORDS, Read, Reading};
use crate::{Mt19937, Simd};
use std::mem::MaybeUninit;

/// Draws one round; `true`.
pub(crate) fn run<T, S>(
    simd: Simd,
    generator: &mut Mt19937,
    round: Round<'_, T>,
    truncation: &Truncation<T>,
    sink: S,
) -> bool
where
    T: Element<Opmath = f32> + Into<f32>,
    S: Sink<Item = T>,
{
    let blocks = round.waiting.len();
    assert!(round.values.len() == blocks * BLOCK);
    let normal = Normal {
        mean: truncation.mean,
        std: truncation.std,
        sink,
    };
    let bounds = (truncation.low.into(), truncation.high.into());
    let place = Place {
        values: round.values.as_mut_ptr(),
        waiting: round.waiting.as_mut_ptr(),
        _round: std::marker::PhantomData,
    };
    if round.is_first {
        let reader = First {
            normal,
            bounds,
            place,
        };
        simd.run(Reading {
            generator,
            reader,
            blocks,
        });
    } else {
        let reader = Again {
            normal,
            bounds,
            place,
            list: [0; LIST],
        };
        simd.run(Reading {
            generator,
            reader,
            blocks,
        });
    }
    true
}

/// The next block of a round.
struct Place<'a, T> {
    values: *mut T,
    waiting: *mut u16,
    _round: std::marker::PhantomData<&'a mut T>,
}

/// The most lanes of a vector, and of a wide one.
const LANES: usize = 16;
const WIDE_LANES: usize = 32;

/// Every block, with who is outside.
struct First<'a, S: Sink> {
    normal: Normal<S>,
    bounds: (f32, f32),
    place: Place<'a, S::Item>,
}

impl<S: Sink> Read for First<'_, S> {
    const BLOCK: usize = BLOCK;

    #[inline(always)]
    unsafe fn read<I: Isa>(&mut self, isa: I, raw: *const u32, blocks: usize) {
        const { assert!(I::Wide::LANES <= WIDE_LANES && (2 * I::Wide::LANES).is_multiple_of(BLOCK)) };
        let isa = isa.wide();
        let lanes = I::Wide::LANES;
        let step = self.normal.with(isa);
        let (low, high) = (isa.splat_f32(self.bounds.0), isa.splat_f32(self.bounds.1));
        let at_once = 2 * lanes / BLOCK;
        let mut block = 0;
        while block < blocks {
            // SAFETY: behind the words of the blocks more can be read than a step takes. Blocks
            // of the round are written, of the last step only as many as are left.
            unsafe {
                let (values, more) = step.values(isa, raw.add(block * BLOCK));
                let outside = isa.outside(S::round(isa, values), low, high)
                    | isa.outside(S::round(isa, more), low, high) << lanes;
                let now = at_once.min(blocks - block);
                if now == at_once {
                    S::store(isa, self.place.values, values, more);
                } else {
                    let mut items = MaybeUninit::<[S::Item; 2 * WIDE_LANES]>::uninit();
                    let items: *mut S::Item = items.as_mut_ptr().cast();
                    S::store(isa, items, values, more);
                    self.place
                        .values
                        .copy_from_nonoverlapping(items, now * BLOCK);
                }
                for i in 0..now {
                    self.place
                        .waiting
                        .add(i)
                        .write((outside >> (i * BLOCK)) as u16);
                }
                self.place.values = self.place.values.add(now * BLOCK);
                self.place.waiting = self.place.waiting.add(now);
                block += now;
            }
        }
    }
}

/// All elements of a run, and a vector more.
const LIST: usize = READ_WORDS + LANES;

/// Only what waits.
struct Again<'a, S: Sink> {
    normal: Normal<S>,
    bounds: (f32, f32),
    place: Place<'a, S::Item>,
    /// Who waits, by place in the run.
    list: [u16; LIST],
}

impl<S: Sink> Read for Again<'_, S> {
    const BLOCK: usize = BLOCK;

    #[inline(always)]
    unsafe fn read<I: Isa>(&mut self, isa: I, raw: *const u32, blocks: usize) {
        const { assert!(READ_WORDS <= u16::MAX as usize) };
        // SAFETY: a bit for every element of the blocks, which are the round's.
        let waiting = unsafe { std::slice::from_raw_parts_mut(self.place.waiting, blocks) };
        let mut count = 0;
        let mut add = |block: usize, mut bits: u64| {
            while bits != 0 {
                self.list[count] = (block * BLOCK) as u16 + bits.trailing_zeros() as u16;
                count += 1;
                bits &= bits - 1;
            }
        };
        let (fours, rest) = waiting.as_chunks::<4>();
        for (i, [a, b, c, d]) in fours.iter().enumerate() {
            let [a, b, c, d] = [a, b, c, d].map(|bits| u64::from(*bits));
            add(4 * i, a | b << 16 | c << 32 | d << 48);
        }
        for (i, bits) in rest.iter().enumerate() {
            add(4 * fours.len() + i, u64::from(*bits));
        }
        // The last vector is filled up with whatever can be drawn.
        self.list[count..count + LANES].fill(0);
        let step = self.normal.with(isa);
        let (low, high) = (isa.splat_f32(self.bounds.0), isa.splat_f32(self.bounds.1));
        for from in (0..count).step_by(I::LANES) {
            let list = &self.list[from..from + I::LANES];
            let (mut first, mut second, mut which) = ([0u32; LANES], [0u32; LANES], [0u32; LANES]);
            for (lane, element) in list.iter().enumerate() {
                // Elements 8 apart in a block share its words 8 apart.
                let word = usize::from(*element) & !8;
                // SAFETY: the word of an element of the run, and one of the same block. A run has
                // a block at least, so 0 is one.
                unsafe {
                    first[lane] = *raw.add(word);
                    second[lane] = *raw.add(word + 8);
                }
                which[lane] = u32::from(*element & 8) << 28;
            }
            let mut items = MaybeUninit::<[S::Item; 2 * LANES]>::uninit();
            let items: *mut S::Item = items.as_mut_ptr().cast();
            // SAFETY: the arrays and the items are at least as long as the vectors.
            let outside = unsafe {
                let words = (isa.load(first.as_ptr()), isa.load(second.as_ptr()));
                let values = step.either(isa, words, isa.load(which.as_ptr()));
                S::store(isa, items, values, values);
                isa.outside(S::round(isa, values), low, high)
            };
            for (lane, element) in list[..I::LANES.min(count - from)].iter().enumerate() {
                let element = usize::from(*element);
                let inside = !outside >> lane & 1;
                waiting[element / BLOCK] &= !((inside as u16) << (element % BLOCK));
                // SAFETY: `items` was stored to; the element is one of the round's.
                unsafe { *self.place.values.add(element) = *items.add(lane) };
            }
        }
        // SAFETY: the next blocks, or the end of the round.
        unsafe {
            self.place.values = self.place.values.add(blocks * BLOCK);
            self.place.waiting = self.place.waiting.add(blocks);
        }
    }
}
