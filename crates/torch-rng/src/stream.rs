//! The word stream, unrolled: several consecutive blocks in one buffer, so that a draw reads words
//! contiguously from any position.

use crate::backend::Backend;
use crate::mt19937::{M, Mt19937, N, twist};
use crate::simd::{FullIsa, Kernel, Simd};
use crate::twist::{regenerate, temper};
use std::mem::MaybeUninit;

/// Blocks that are generated at a time. With the block that they are generated from they fill most of a
/// level-1 cache of 32 KB.
const BLOCKS: usize = 8;

/// The most words, and the most bytes, of one [`Step`].
const STEP_WORDS: usize = 64;
const STEP_BYTES: usize = 256;

/// Words that may be read after the last available one: three steps by [`Step::steps`], otherwise one.
pub(crate) const SLACK: usize = 3 * STEP_WORDS;

/// The most words that a [`WordConsumer`] gets at a time.
pub(crate) const MAX_CONSUMED: usize = N * (BLOCKS + 1);

/// A function from words to items, on any instruction set: each item has its own words.
pub(crate) trait Transform {
    type Item: Copy;
    type Step<I: FullIsa>: Step<I, Item = Self::Item>;

    /// Loads the constants into vectors. Must be `#[inline(always)]`.
    fn prepare<I: FullIsa>(&self, isa: I) -> Self::Step<I>;
}

/// A [`Transform`] on one instruction set, a few vectors at a time.
pub(crate) trait Step<I: FullIsa>: Copy {
    type Item: Copy;

    /// The raw words that a step consumes: at most [`STEP_WORDS`].
    const WORDS: usize;
    /// The items that it makes, at most [`STEP_BYTES`] of them. `WORDS` is a multiple.
    const ITEMS: usize;
    /// Whether its stores bypass the caches and require `out` to be aligned to 64 bytes.
    const NON_TEMPORAL: bool;

    /// Makes the items of one step. Must be `#[inline(always)]`. The words are raw: those of a block,
    /// before tempering.
    ///
    /// # Safety
    ///
    /// `WORDS` words can be read at `raw`, and `ITEMS` items written at `out`, which is aligned to
    /// 64 bytes if the step is non-temporal.
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut Self::Item);

    /// Makes the items of `count` consecutive steps. Must be `#[inline(always)]`.
    ///
    /// # Safety
    ///
    /// As [`step`](Self::step), for the words and items of all steps; and [`SLACK`] words after them
    /// can be read.
    #[inline(always)]
    unsafe fn steps(self, isa: I, raw: *const u32, out: *mut Self::Item, count: usize) {
        for i in 0..count {
            // SAFETY: the caller's promise.
            unsafe { self.step(isa, raw.add(i * Self::WORDS), out.add(i * Self::ITEMS)) }
        }
    }
}

/// Fills `out` from the generator and advances it.
pub(crate) struct Fill<'a, T: Transform> {
    pub(crate) generator: &'a mut Mt19937,
    pub(crate) transform: T,
    pub(crate) out: &'a mut [T::Item],
}

impl<T: Transform> Kernel for Fill<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: FullIsa>(self, isa: I) {
        const {
            let (words, items) = (T::Step::<I>::WORDS, T::Step::<I>::ITEMS);
            assert!(words <= STEP_WORDS && words.is_multiple_of(items));
            let bytes = items * size_of::<T::Item>();
            assert!(bytes <= STEP_BYTES);
            assert!(!T::Step::<I>::NON_TEMPORAL || bytes.is_multiple_of(64));
        }
        let (words, items) = (T::Step::<I>::WORDS, T::Step::<I>::ITEMS);
        let words_per_item = words / items;
        let step = self.transform.prepare(isa);
        let mut buffer = MaybeUninit::uninit();
        let wanted = self.out.len() * words_per_item;
        let mut stream = Stream::new(self.generator, &mut buffer, wanted);
        let mut to = self.out.as_mut_ptr();
        let mut steps = self.out.len() / items;
        let rest = self.out.len() % items;
        if T::Step::<I>::NON_TEMPORAL {
            assert!(to.addr().is_multiple_of(64));
        }
        while steps > 0 {
            if stream.available() < words {
                stream.refill(isa, steps * words + rest * words_per_item);
            }
            let now = steps.min(stream.available() / words);
            // SAFETY: the words of `now` steps are available, and `SLACK` follow. `to` advances by
            // `items` for each of the `out.len() / items` steps, so it stays inside `out`. Its
            // alignment was checked above, and a step preserves it.
            unsafe {
                step.steps(isa, stream.raw(), to, now);
                to = to.add(now * items);
            }
            stream.next += now * words;
            steps -= now;
        }
        if rest > 0 {
            let rest_words = rest * words_per_item;
            if stream.available() < rest_words {
                stream.refill(isa, rest_words);
            }
            let mut last = MaybeUninit::<LastStep>::uninit();
            // SAFETY: `SLACK` words follow the available ones, so `words` can be read; `last` has room
            // for `items` items and the alignment of any of them. The step has written them before
            // `rest` of them are copied to the end of `out`, which the steps above have not reached.
            unsafe {
                step.step(isa, stream.raw(), last.as_mut_ptr().cast());
                to.copy_from_nonoverlapping(last.as_ptr().cast(), rest);
            }
            stream.next += rest_words;
        }
        stream.save();
        if T::Step::<I>::NON_TEMPORAL {
            isa.fence();
        }
    }
}

/// Room for the items of one step.
#[repr(align(64))]
struct LastStep(#[allow(dead_code)] [u8; STEP_BYTES]);

/// Reads raw words in blocks of [`BLOCK`](Self::BLOCK), as many at a time as are contiguous.
pub(crate) trait WordConsumer {
    /// The words of a block, at most [`STEP_WORDS`].
    const BLOCK: usize;

    /// Reads the next blocks. Must be `#[inline(always)]`. The words are raw, as for a [`Step`].
    ///
    /// # Safety
    ///
    /// The words of `blocks` blocks can be read at `raw`, and [`STEP_WORDS`] more. The blocks of all
    /// calls do not exceed [`Consume::blocks`].
    unsafe fn consume<I: FullIsa>(&mut self, isa: I, raw: *const u32, blocks: usize);
}

/// Lets a consumer read `blocks` blocks of words from the generator and advances it.
pub(crate) struct Consume<'a, C: WordConsumer> {
    pub(crate) generator: &'a mut Mt19937,
    pub(crate) consumer: C,
    pub(crate) blocks: usize,
}

impl<C: WordConsumer> Kernel for Consume<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<I: FullIsa>(mut self, isa: I) {
        const { assert!(C::BLOCK <= STEP_WORDS) };
        let mut blocks = self.blocks;
        let mut buffer = MaybeUninit::uninit();
        let mut stream = Stream::new(self.generator, &mut buffer, blocks * C::BLOCK);
        while blocks > 0 {
            if stream.available() < C::BLOCK {
                stream.refill(isa, blocks * C::BLOCK);
            }
            let now = blocks.min(stream.available() / C::BLOCK);
            // SAFETY: the words of `now` blocks are available, and `SLACK` follow; the blocks add up
            // to those of the consumer.
            unsafe { self.consumer.consume(isa, stream.raw(), now) };
            stream.next += now * C::BLOCK;
            blocks -= now;
        }
        stream.save();
    }
}

/// Skips words by generating them, block by block.
pub(crate) struct Skip<'a> {
    pub(crate) generator: &'a mut Mt19937,
    pub(crate) words: u64,
}

impl Kernel for Skip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: FullIsa>(self, isa: I) {
        let mut remaining = self.words;
        let wanted = usize::try_from(remaining).unwrap_or(usize::MAX);
        let mut buffer = MaybeUninit::uninit();
        let mut stream = Stream::new(self.generator, &mut buffer, wanted);
        loop {
            let now = remaining.min(stream.available() as u64);
            stream.next += now as usize;
            remaining -= now;
            if remaining == 0 {
                break;
            }
            stream.refill(isa, usize::try_from(remaining).unwrap_or(usize::MAX));
        }
        stream.save();
    }
}

impl Mt19937 {
    /// Draws the next `words.len()` words.
    pub fn fill_words(&mut self, words: &mut [u32]) {
        self.fill_words_with(Backend::selected().simd(), words);
    }

    pub(crate) fn fill_words_with(&mut self, simd: Option<Simd>, words: &mut [u32]) {
        let Some(simd) = simd else {
            words.fill_with(|| self.next_u32());
            return;
        };
        simd.run(Fill {
            generator: self,
            transform: Temper,
            out: words,
        });
    }
}

/// Tempers raw words and stores them.
#[derive(Clone, Copy)]
struct Temper;

impl Transform for Temper {
    type Item = u32;
    type Step<I: FullIsa> = Temper;

    #[inline(always)]
    fn prepare<I: FullIsa>(&self, _isa: I) -> Temper {
        Temper
    }
}

impl<I: FullIsa> Step<I> for Temper {
    type Item = u32;
    const WORDS: usize = I::LANES;
    const ITEMS: usize = I::LANES;
    const NON_TEMPORAL: bool = false;

    #[inline(always)]
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { isa.store(out, temper(isa, isa.load(raw))) }
    }
}

/// Room for the words of a [`Stream`].
#[repr(align(64))]
struct Buffer(#[allow(dead_code)] [u32; N * (BLOCKS + 1) + SLACK]);

/// The words of a generator from its position on, in a buffer. The generator advances on
/// [`save`](Stream::save).
struct Stream<'a> {
    generator: &'a mut Mt19937,
    /// The words from `start` to `end + SLACK` are initialized. Before a refill the last `N` words
    /// before `end` are too: the next words are generated from them.
    buffer: *mut u32,
    /// The end of the available words.
    end: usize,
    /// The next word to read, and its initial value.
    next: usize,
    start: usize,
    _room: std::marker::PhantomData<&'a mut Buffer>,
}

impl<'a> Stream<'a> {
    /// Opens the stream for `wanted` words in all.
    #[inline(always)]
    fn new(
        generator: &'a mut Mt19937,
        room: &'a mut MaybeUninit<Buffer>,
        wanted: usize,
    ) -> Stream<'a> {
        let buffer: *mut u32 = room.as_mut_ptr().cast();
        let (left, next) = (generator.state.left as usize, generator.state.next as usize);
        let block = &generator.state.words;
        let (start, end) = if wanted < left {
            // The block has all words, so nothing will be generated from it.
            let words = &block[next..next + wanted];
            // SAFETY: the buffer has room for `N` words and `SLACK`.
            unsafe {
                buffer
                    .add(next)
                    .copy_from_nonoverlapping(words.as_ptr(), wanted);
            }
            (next, next + wanted)
        } else {
            // SAFETY: the buffer has room for `N * (BLOCKS + 1) + SLACK` words, and `BLOCKS` is not 0.
            unsafe { buffer.copy_from_nonoverlapping(block.as_ptr(), N) };
            if left == 1 {
                (N, N)
            } else if left + next == N + 1 {
                (next, N)
            } else {
                // A position that libtorch accepts and no draw reaches: the remaining words do not
                // end with the block. They can once the next block is generated.
                for i in 0..N {
                    // SAFETY: the words below `N + i` are initialized, and every index is below that.
                    unsafe {
                        let word = |i: usize| *buffer.add(i);
                        *buffer.add(N + i) = twist(word(i), word(i + 1), word(i + M));
                    }
                }
                let start = N + 1 - left;
                let words = &block[next..next + left - 1];
                // SAFETY: `start + words.len()` is `N`.
                unsafe {
                    buffer
                        .add(start)
                        .copy_from_nonoverlapping(words.as_ptr(), words.len());
                }
                (start, 2 * N)
            }
        };
        let mut stream = Stream {
            generator,
            buffer,
            end,
            next: start,
            start,
            _room: std::marker::PhantomData,
        };
        stream.clear_slack();
        stream
    }

    #[inline(always)]
    fn available(&self) -> usize {
        self.end - self.next
    }

    /// The available words, and `SLACK` more.
    #[inline(always)]
    fn raw(&self) -> *const u32 {
        // SAFETY: `next` never exceeds `end`, which is inside the buffer.
        unsafe { self.buffer.add(self.next) }
    }

    /// Generates words for a draw that still wants `wanted`, more than are available. At most `N` are
    /// available before.
    #[inline(always)]
    fn refill<I: FullIsa>(&mut self, isa: I, wanted: usize) {
        let available = self.available();
        debug_assert!(available < wanted && available <= N);
        if self.end != N {
            // SAFETY: `end` is at least `N` and inside the buffer; the ranges may overlap.
            unsafe { self.buffer.copy_from(self.buffer.add(self.end - N), N) };
        }
        let blocks = (wanted - available).div_ceil(N).min(BLOCKS);
        // SAFETY: the first `N` words are initialized, and there is room for `BLOCKS` more blocks.
        unsafe { regenerate(isa, self.buffer, blocks * N) };
        self.next = N - available;
        self.end = N * (blocks + 1);
        self.clear_slack();
    }

    /// Initializes the words after `end`, which a step may read.
    #[inline(always)]
    fn clear_slack(&mut self) {
        // SAFETY: the buffer has `SLACK` words after every `end`.
        unsafe { self.buffer.add(self.end).write_bytes(0, SLACK) };
    }

    /// Advances the generator to `next`.
    #[inline(always)]
    fn save(self) {
        // A refill is followed by a read of more words than there were, so `next` then exceeds `N`.
        if self.next <= N {
            self.generator.advance((self.next - self.start) as u32);
            return;
        }
        // libtorch stays at the end of a block until it draws the first word of the next.
        let block = (self.next - 1) / N;
        let state = &mut self.generator.state;
        // SAFETY: `next` does not exceed `end`, so all of that block is initialized.
        unsafe {
            let words = self.buffer.add(block * N);
            words.copy_to_nonoverlapping(state.words.as_mut_ptr(), N);
        }
        let next = (self.next - block * N) as u32;
        state.left = N as u32 + 1 - next;
        state.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_drawn_from_every_kind_of_position() {
        for (left, next) in [(1, 0), (1, 624), (624, 1), (25, 600), (3, 7), (40, 500)] {
            let mut state = Mt19937::new(3).to_state();
            (state.left, state.next) = (left, next);
            let start = Mt19937::from_state(&state).unwrap();
            for n in [1, 2, 3, 24, 25, 39, 40, 41, 640, 5000] {
                let mut scalar = start.clone();
                let expected: Vec<u32> = (0..n).map(|_| scalar.next_u32()).collect();
                for simd in Backend::ALL.into_iter().filter_map(Backend::simd) {
                    let (mut filled, mut words) = (start.clone(), vec![0; n]);
                    filled.fill_words_with(Some(simd), &mut words);
                    assert_eq!(words, expected, "{simd:?}: {n} words from {left}, {next}");
                    assert_eq!(filled.next_u32(), scalar.clone().next_u32());
                }
            }
        }
    }

    #[test]
    fn a_borrowed_state_is_advanced_in_place() {
        let mut generator = Mt19937::new(3);
        let mut state = generator.to_state();
        for n in [1, 622, 1, 1, 4000] {
            let (mut expected, mut words) = (vec![0; n], vec![0; n]);
            generator.fill_words(&mut expected);
            let borrowed = Mt19937::from_state_mut(&mut state).unwrap();
            borrowed.fill_words(&mut words);
            assert_eq!(words, expected);
            assert_eq!(state, *generator.state());
        }
        (state.left, state.next) = (u32::MAX, 0);
        assert_eq!(
            Mt19937::from_state_mut(&mut state).unwrap_err(),
            crate::StateError::Position {
                left: i32::MAX,
                next: 0
            }
        );
    }
}
