//! A generator unrolled: several blocks one behind the other, so that a draw reads words in one
//! line whatever its place in a block.

use super::arch::{Isa, Kernel};
use super::mt19937::{M, MATRIX, Mt19937, N, twist};
use std::mem::MaybeUninit;

/// Blocks that are made at a time. With the block they are made from they fill most of a level-1
/// cache of 32 KB.
const BLOCKS: usize = 8;

/// The most words and the most bytes of one [`Step`].
const STEP_WORDS: usize = 64;
const STEP_BYTES: usize = 256;

/// Words that can be read behind the last one: by [`Step::steps`] three steps, by others one.
pub(crate) const SLACK: usize = 3 * STEP_WORDS;

/// What turns words into items, a few vectors at a time.
pub(crate) trait Step<I: Isa>: Copy {
    type Item: Copy;

    /// The raw words that a step takes: at most [`STEP_WORDS`].
    const WORDS: usize;
    /// The items that it makes, of [`STEP_BYTES`] at most. `WORDS` is a multiple of it.
    const ITEMS: usize;
    /// Whether it stores past the caches, and so needs `out` aligned to 64 bytes.
    const STREAMS: bool;

    /// Must be `#[inline(always)]`. The words are raw: as they lie in a block, not tempered.
    ///
    /// # Safety
    ///
    /// `WORDS` words can be read at `raw`, and `ITEMS` items written at `out`, which is aligned to
    /// 64 bytes if the step streams.
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut Self::Item);

    /// So many steps, one behind the other. Must be `#[inline(always)]`.
    ///
    /// # Safety
    ///
    /// As [`step`](Self::step), for the words and items of all steps; and [`SLACK`] words behind
    /// those can be read.
    #[inline(always)]
    unsafe fn steps(self, isa: I, raw: *const u32, out: *mut Self::Item, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { one_by_one(self, isa, raw, out, count) }
    }
}

/// [`Step::steps`], of which each ends before the next begins.
///
/// # Safety
///
/// As there.
#[inline(always)]
pub(crate) unsafe fn one_by_one<I: Isa, S: Step<I>>(
    step: S,
    isa: I,
    raw: *const u32,
    out: *mut S::Item,
    count: usize,
) {
    for i in 0..count {
        // SAFETY: the caller's promise.
        unsafe { step.step(isa, raw.add(i * S::WORDS), out.add(i * S::ITEMS)) }
    }
}

/// Something that is made of words in the same way all along, on any instruction set.
pub(crate) trait Recipe {
    type Item: Copy;
    type Step<I: Isa>: Step<I, Item = Self::Item>;

    /// Must be `#[inline(always)]`.
    fn step<I: Isa>(&self, isa: I) -> Self::Step<I>;
}

/// Fills `out` from the generator, and moves that.
pub(crate) struct Fill<'a, R: Recipe> {
    pub(crate) generator: &'a mut Mt19937,
    pub(crate) recipe: R,
    pub(crate) out: &'a mut [R::Item],
}

impl<R: Recipe> Kernel for Fill<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        fill(isa, self.generator, self.recipe.step(isa), self.out);
    }
}

/// What reads raw words in blocks of [`BLOCK`](Self::BLOCK), as many at a time as lie in one line.
pub(crate) trait Read {
    /// The words of a block, at most [`STEP_WORDS`].
    const BLOCK: usize;

    /// Must be `#[inline(always)]`. The words are raw, as for a [`Step`].
    ///
    /// # Safety
    ///
    /// The words of `blocks` blocks can be read at `raw`, and [`STEP_WORDS`] more. No more blocks
    /// come in all than the reader was told of.
    unsafe fn read<I: Isa>(&mut self, isa: I, raw: *const u32, blocks: usize);
}

/// The most words that a [`Read`] gets at a time.
pub(crate) const READ_WORDS: usize = N * (BLOCKS + 1);

/// Lets `blocks` blocks of the generator be read, and moves it.
pub(crate) struct Reading<'a, R: Read> {
    pub(crate) generator: &'a mut Mt19937,
    pub(crate) reader: R,
    pub(crate) blocks: usize,
}

impl<R: Read> Kernel for Reading<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) {
        const { assert!(R::BLOCK <= STEP_WORDS) };
        let mut buffer = MaybeUninit::uninit();
        let mut stream = Stream::new(self.generator, &mut buffer);
        let mut blocks = self.blocks;
        while blocks > 0 {
            if stream.available() < R::BLOCK {
                stream.refill(isa, blocks * R::BLOCK);
            }
            let now = blocks.min(stream.available() / R::BLOCK);
            // SAFETY: so many words are available, and `SLACK` follow; the blocks add up to those
            // of the reader.
            unsafe { self.reader.read(isa, stream.raw(), now) };
            stream.next += now * R::BLOCK;
            blocks -= now;
        }
        stream.save();
    }
}

/// Passes words without drawing them, block by block.
pub(crate) struct Pass<'a> {
    pub(crate) generator: &'a mut Mt19937,
    pub(crate) words: u64,
}

impl Kernel for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let mut buffer = MaybeUninit::uninit();
        let mut stream = Stream::new(self.generator, &mut buffer);
        let mut left = self.words;
        loop {
            let now = left.min(stream.available() as u64);
            stream.next += now as usize;
            left -= now;
            if left == 0 {
                break;
            }
            stream.refill(isa, usize::try_from(left).unwrap_or(usize::MAX));
        }
        stream.save();
    }
}

#[inline(always)]
fn fill<I: Isa, S: Step<I>>(isa: I, generator: &mut Mt19937, step: S, out: &mut [S::Item]) {
    const {
        assert!(S::WORDS <= STEP_WORDS && S::WORDS % S::ITEMS == 0);
        let bytes = S::ITEMS * size_of::<S::Item>();
        assert!(bytes <= STEP_BYTES && (!S::STREAMS || bytes.is_multiple_of(64)));
    }
    let mut buffer = MaybeUninit::uninit();
    let mut stream = Stream::new(generator, &mut buffer);
    let words_an_item = S::WORDS / S::ITEMS;
    let mut at = out.as_mut_ptr();
    let mut steps = out.len() / S::ITEMS;
    let rest = out.len() % S::ITEMS;
    if S::STREAMS {
        assert!(at.addr().is_multiple_of(64));
    }
    while steps > 0 {
        if stream.available() < S::WORDS {
            stream.refill(isa, steps * S::WORDS + rest * words_an_item);
        }
        let now = steps.min(stream.available() / S::WORDS);
        // SAFETY: that many steps' words are available, and `SLACK` follow; as `at` moves by `ITEMS`
        // for each of the `out.len() / ITEMS` steps, it stays inside `out`. The alignment was checked
        // above and a step keeps it.
        unsafe {
            step.steps(isa, stream.raw(), at, now);
            at = at.add(now * S::ITEMS);
        }
        stream.next += now * S::WORDS;
        steps -= now;
    }
    if rest > 0 {
        let words = rest * words_an_item;
        if stream.available() < words {
            stream.refill(isa, words);
        }
        let mut last = MaybeUninit::<Last>::uninit();
        // SAFETY: `SLACK` words follow the available ones, so `WORDS` can be read; `last` has room
        // for `ITEMS` items and is aligned for all of them. The step has written them before `rest`
        // of them are copied, and `rest` items are left in `out` behind the steps above.
        unsafe {
            step.step(isa, stream.raw(), last.as_mut_ptr().cast());
            at.copy_from_nonoverlapping(last.as_ptr().cast(), rest);
        }
        stream.next += words;
    }
    stream.save();
    if S::STREAMS {
        isa.fence();
    }
}

/// Room for the items of one step.
#[repr(align(64))]
struct Last(#[allow(dead_code)] [u8; STEP_BYTES]);

/// Room for the words of a [`Stream`].
#[repr(align(64))]
struct Buffer(#[allow(dead_code)] [u32; N * (BLOCKS + 1) + SLACK]);

struct Stream<'a> {
    generator: &'a mut Mt19937,
    /// Up to `end + SLACK` the words of `buffer` are initialised. The last `N` before `end` are
    /// what the next ones are made from.
    buffer: *mut u32,
    end: usize,
    /// The next word to draw, and where it stood first.
    next: usize,
    start: usize,
    _room: std::marker::PhantomData<&'a mut Buffer>,
}

impl<'a> Stream<'a> {
    #[inline(always)]
    fn new(generator: &'a mut Mt19937, room: &'a mut MaybeUninit<Buffer>) -> Stream<'a> {
        let buffer: *mut u32 = room.as_mut_ptr().cast();
        let (left, next) = (generator.state.left as usize, generator.state.next as usize);
        let block = &generator.state.words;
        // SAFETY: the buffer has room for `N * (BLOCKS + 1) + SLACK` words, and `BLOCKS` is not 0.
        unsafe { buffer.copy_from_nonoverlapping(block.as_ptr(), N) };
        let (start, end) = if left == 1 {
            (N, N)
        } else if left + next == N + 1 {
            (next, N)
        } else {
            // A place that libtorch accepts and no draw reaches: the words that are left do not
            // end with the block. They can stand there all the same once the next block is made.
            for i in 0..N {
                // SAFETY: the words up to `N + i` are initialised, as is every index before that.
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

    /// Where the available words are, and `SLACK` more.
    #[inline(always)]
    fn raw(&self) -> *const u32 {
        // SAFETY: `next` never exceeds `end`, which is inside the buffer.
        unsafe { self.buffer.add(self.next) }
    }

    /// Makes more words available, for a draw that needs `wanted`, more than are available. At most
    /// `N` may be available before.
    #[inline(always)]
    fn refill<I: Isa>(&mut self, isa: I, wanted: usize) {
        let available = self.available();
        debug_assert!(available < wanted && available <= N);
        if self.end != N {
            // SAFETY: `end` is at least `N` and inside the buffer; the ranges may overlap.
            unsafe { self.buffer.copy_from(self.buffer.add(self.end - N), N) };
        }
        let blocks = (wanted - available).div_ceil(N).min(BLOCKS);
        // SAFETY: the first `N` words are initialised, and there is room for `BLOCKS` more blocks.
        unsafe { regenerate(isa, self.buffer, blocks * N) };
        self.next = N - available;
        self.end = N * (blocks + 1);
        self.clear_slack();
    }

    /// A step may read behind `end`, and what it reads must be something.
    #[inline(always)]
    fn clear_slack(&mut self) {
        // SAFETY: the buffer has `SLACK` words behind every `end`.
        unsafe { self.buffer.add(self.end).write_bytes(0, SLACK) };
    }

    /// Puts the generator where the words stand.
    #[inline(always)]
    fn save(self) {
        // Whoever refills draws more than there was, and so goes beyond the first block.
        if self.next <= N {
            self.generator.advance((self.next - self.start) as u32);
            return;
        }
        // libtorch stays at the end of a block until it draws the first word of the next.
        let block = (self.next - 1) / N;
        // SAFETY: `next` does not exceed `end`, so that whole block is initialised.
        unsafe {
            let words = self.buffer.add(block * N);
            words.copy_to_nonoverlapping(self.generator.state.words.as_mut_ptr(), N);
        }
        let next = (self.next - block * N) as u32;
        self.generator.state.left = N as u32 + 1 - next;
        self.generator.state.next = next;
    }
}

/// Makes `count` words behind the first `N`.
///
/// # Safety
///
/// The first `N` of `words` are initialised, and there is room for `count` more, a multiple of
/// [`N`].
#[inline(always)]
pub(super) unsafe fn regenerate<I: Isa>(isa: I, words: *mut u32, count: usize) {
    const { assert!(N.is_multiple_of(I::LANES)) };
    let far = M / I::LANES * I::LANES;
    let upper = isa.splat(0x8000_0000);
    let matrix = isa.splat(MATRIX);
    // SAFETY: a vector is made from words before `at + N`, which are initialised.
    unsafe {
        let mut this = isa.load(words);
        let mut far_low = isa.load(words.add(far));
        for at in (0..count).step_by(I::LANES) {
            let at = words.add(at);
            let after = isa.load(at.add(I::LANES));
            let far_high = isa.load(at.add(far + I::LANES));
            let next = isa.load_next(this, after, at.add(1));
            let mixed = isa.select_bits(upper, this, next);
            let twisted = isa.xor(
                isa.load_far(far_low, far_high, at.add(M)),
                isa.shr::<1>(mixed),
            );
            isa.store(at.add(N), isa.xor_if_odd(twisted, next, matrix));
            (this, far_low) = (after, far_high);
        }
    }
}

/// What is drawn, from raw words.
#[inline(always)]
pub(crate) fn temper<I: Isa>(isa: I, word: I::U) -> I::U {
    let word = isa.xor(word, isa.shr::<11>(word));
    let word = isa.xor(word, isa.and(isa.shl::<7>(word), isa.splat(0x9d2c_5680)));
    let word = isa.xor(word, isa.and(isa.shl::<15>(word), isa.splat(0xefc6_0000)));
    isa.xor(word, isa.shr::<18>(word))
}
