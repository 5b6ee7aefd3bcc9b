//! Jumps: skipping any number of words, or going back, in a fraction of a millisecond.
//!
//! Each bit of the raw words is a linear recurrence over GF(2) whose characteristic polynomial is that
//! of MT19937, `P`. If `x^n mod P = sum g_i x^i`, then word `n` of the sequence is the sum of the words
//! `i` for which `g_i` is 1, and likewise for the 624 words from there on. See Haramoto, Matsumoto,
//! Nishimura, Panneton, L'Ecuyer (2008), "Efficient Jump Ahead for F2-Linear Random Number Generators".

use crate::arch::Isa;
use crate::backend::Backend;
#[cfg(target_arch = "x86_64")]
use crate::bit_planes;
use crate::mt19937::{Mt19937, N};
use crate::polynomial::{DEGREE, Gf2Isa, Polynomial};
use crate::simd::{FullIsa, Kernel, Simd, run};
use crate::stream::Skip;
use crate::twist::{TwistIsa, regenerate};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What skipping words costs, in nanoseconds. It does not affect the bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkipCost {
    /// Per word, by generating them.
    pub(crate) word: f64,
    /// Per jump over a cached distance.
    pub(crate) jump: f64,
    /// The number of words from which a jump is faster on average. (The first jump over a distance
    /// takes about 0.1 ms longer, but few distances occur only once.)
    min_jump: u64,
}

impl SkipCost {
    pub(crate) fn new(simd: Option<Simd>) -> SkipCost {
        match simd {
            #[cfg(target_arch = "x86_64")]
            Some(Simd::Avx512(isa)) if isa.gfni().is_some() => SkipCost {
                word: 0.1,
                jump: 25_000.0,
                min_jump: 1 << 19,
            },
            _ => SkipCost {
                word: 0.15,
                jump: 115_000.0,
                min_jump: 1 << 21,
            },
        }
    }
}

impl Mt19937 {
    /// Skips the next `n` words, as if they had been drawn.
    ///
    /// Takes a fraction of a millisecond, whatever the distance.
    ///
    /// ```
    /// use torch_rng::Mt19937;
    ///
    /// let (mut once, mut twice) = (Mt19937::new(1), Mt19937::new(1));
    /// once.skip(1 << 45);
    /// twice.skip(1 << 44);
    /// twice.skip(1 << 44);
    /// assert_eq!(once, twice);
    /// ```
    pub fn skip(&mut self, n: u64) {
        self.skip_with(Backend::selected().simd(), n);
    }

    pub(crate) fn skip_with(&mut self, simd: Option<Simd>, mut n: u64) {
        let in_block = n.min(u64::from(self.state.left - 1));
        self.advance(in_block as u32);
        n -= in_block;
        if n == 0 {
            return;
        }
        let blocks = n.div_ceil(N as u64);
        let in_last = n - (blocks - 1) * N as u64;
        let generator = &mut *self;
        if n >= SkipCost::new(simd).min_jump {
            let blocks = blocks as i64;
            run(simd, Jump { generator, blocks });
        } else {
            let words = blocks * N as u64;
            run(simd, Skip { generator, words });
        }
        self.state.left = N as u32 + 1 - in_last as u32;
        self.state.next = in_last as u32;
    }
}

impl Mt19937 {
    /// Goes back by `n` words: [`skip`](Self::skip) by as many returns to the same place.
    ///
    /// Takes a fraction of a millisecond, whatever the distance. The words before the first one of a seed are those of the same
    /// sequence, which has a period of 2^19937 - 1. A [cached normal](Self::next_double_normal) stays.
    ///
    /// After going back to the first word of a seed, the same words are drawn as after [`new`](Self::new), but the state differs: the
    /// recurrence does not determine 31 bits of the seeded block, which no word depends on.
    ///
    /// ```
    /// use torch_rng::Mt19937;
    ///
    /// let mut generator = Mt19937::new(1);
    /// let first = generator.next_u32();
    /// generator.skip(1 << 45);
    /// generator.skip_back((1 << 45) + 1);
    /// assert_eq!(generator.next_u32(), first);
    /// ```
    pub fn skip_back(&mut self, n: u64) {
        self.skip_back_with(Backend::selected().simd(), n);
    }

    pub(crate) fn skip_back_with(&mut self, simd: Option<Simd>, n: u64) {
        if n == 0 {
            return;
        }
        // The words that are drawn of the block: of one that a jump ends in, at least one.
        let drawn = u64::from(N as u32 + 1 - self.state.left);
        let (blocks, drawn) = match drawn.checked_sub(n) {
            Some(drawn @ 1..) => (0, drawn),
            _ => {
                let before = n - drawn;
                (before / N as u64 + 1, N as u64 - before % N as u64)
            }
        };
        let generator = &mut *self;
        let blocks = -(blocks as i64);
        run(simd, Jump { generator, blocks });
        self.state.left = N as u32 + 1 - drawn as u32;
        self.state.next = drawn as u32;
    }
}

/// The words that the polynomial is applied to: `DEGREE + N` and a window of bits, rounded up to a
/// multiple of [`N`].
const WORDS: usize = (DEGREE + N + WINDOW).next_multiple_of(N);
/// The most bits of the polynomial that are handled at once.
const WINDOW: usize = 3;
/// The windows that begin and end with a 1, and the single 1, lowest bit first. There is a table of sums
/// of words for each.
const WINDOWS: [u64; 4] = [0b1, 0b11, 0b101, 0b111];

/// Advances the generator by whole blocks, or goes back.
struct Jump<'a> {
    generator: &'a mut Mt19937,
    blocks: i64,
}

impl Kernel for Jump<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: FullIsa>(self, isa: I) {
        let Some(distance) = prepare(isa, self.generator, self.blocks) else {
            return;
        };
        let block = &mut self.generator.state.words;
        let mut scratch = scratch_pool().pop().unwrap_or_default();
        if !by_bit_planes(isa, &distance, &mut scratch, block) {
            by_words(isa, &distance, &mut scratch, block);
        }
        scratch_pool().push(scratch);
    }
}

/// Generates one block and returns the remaining distance; `None` for a jump of 0 blocks.
#[inline(always)]
fn prepare<I: FullIsa>(isa: I, generator: &mut Mt19937, blocks: i64) -> Option<Arc<Distance>> {
    if blocks == 0 {
        return None;
    }
    // The low 31 bits of the first word of a seeded block are not part of the recurrence, those of a
    // generated block are.
    generator.regenerate();
    Some(distance(isa, blocks - 1))
}

/// What all jumps over the same number of words share.
struct Distance {
    polynomial: Polynomial,
    terms: OnceLock<Vec<u32>>,
}

impl Distance {
    fn terms(&self) -> &[u32] {
        self.terms.get_or_init(|| terms_of(&self.polynomial))
    }
}

/// The distance of `blocks` blocks. The last ones are cached, since tensors of the same shape recur and
/// are divided among threads in the same way.
#[inline(always)]
fn distance<I: Gf2Isa>(isa: I, blocks: i64) -> Arc<Distance> {
    static CACHE: Mutex<VecDeque<(i64, Arc<Distance>)>> = Mutex::new(VecDeque::new());
    const CAPACITY: usize = 64;
    // The entries are consistent at all times, even after a panic.
    let cache = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, distance)) = cache().iter().find(|(b, _)| *b == blocks) {
        return Arc::clone(distance);
    }
    let words = i128::from(blocks) * N as i128;
    let distance = Arc::new(Distance {
        polynomial: Polynomial::power_of_x(isa, words),
        terms: OnceLock::new(),
    });
    let mut cache = cache();
    cache.truncate(CAPACITY - 1);
    cache.push_front((blocks, Arc::clone(&distance)));
    distance
}

/// The memory of a jump, reused by later jumps. Faulting in new memory each time would take about as
/// long as the sums.
#[derive(Default)]
struct Scratch {
    /// Words, and sums of them.
    words: Vec<u32>,
    #[cfg(target_arch = "x86_64")]
    planes: Vec<bit_planes::BytePlanes>,
}

static SCRATCH_POOL: Mutex<Vec<Scratch>> = Mutex::new(Vec::new());

fn scratch_pool() -> MutexGuard<'static, Vec<Scratch>> {
    // The contents do not matter, even after a panic.
    SCRATCH_POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first `count` words from the start of the block on; `count` exceeds `N`.
#[inline(always)]
fn unroll<'a, I: TwistIsa>(
    isa: I,
    block: &[u32; N],
    words: &'a mut Vec<u32>,
    count: usize,
) -> &'a [u32] {
    let generated = (count - N).next_multiple_of(N);
    if words.len() < N + generated {
        words.resize(N + generated, 0);
    }
    words[..N].copy_from_slice(block);
    // SAFETY: `words` has at least `N + generated` initialized words, and `generated` is a multiple of
    // `N`.
    unsafe { regenerate(isa, words.as_mut_ptr(), generated) };
    &words[..count]
}

/// Replaces `block` by the block at this distance; `false`, with nothing done, if the CPU lacks the
/// instructions.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn by_bit_planes<I: FullIsa>(
    isa: I,
    distance: &Distance,
    scratch: &mut Scratch,
    block: &mut [u32; N],
) -> bool {
    let Some(gfni) = isa.gfni() else {
        return false;
    };
    let words = unroll(isa, block, &mut scratch.words, bit_planes::WORDS);
    bit_planes::apply(
        gfni,
        &distance.polynomial,
        words,
        &mut scratch.planes,
        block,
    );
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn by_bit_planes<I: FullIsa>(_: I, _: &Distance, _: &mut Scratch, _: &mut [u32; N]) -> bool {
    false
}

/// Replaces `block` by the block at this distance, by the polynomial's windows.
#[inline(always)]
fn by_words<I: FullIsa>(isa: I, distance: &Distance, scratch: &mut Scratch, block: &mut [u32; N]) {
    let (terms, room) = (distance.terms(), &mut scratch.words);
    unroll(isa, block, room, WORDS);
    room.resize(WORDS * WINDOWS.len(), 0);
    let (words, sums) = room.split_at_mut(WORDS);
    sum(isa, words, sums);
    // The words that stay in registers while all terms are added; `N` is a multiple.
    let at_once = SUMS * I::LANES;
    for (i, out) in block.chunks_exact_mut(at_once).enumerate() {
        add_terms(isa, terms, &room[i * at_once..], out);
    }
}

/// Vectors in registers at a time: a block is a multiple of 13 vectors of 8 or 16 words.
const SUMS: usize = 13;

/// Computes the sums of neighbors for the [`WINDOWS`] of more than one bit, one table after the other.
#[inline(always)]
fn sum<I: Isa>(isa: I, words: &[u32], sums: &mut [u32]) {
    let (pairs, rest) = sums.split_at_mut(WORDS);
    let (ends, triples) = rest.split_at_mut(WORDS);
    for at in (0..WORDS - I::LANES).step_by(I::LANES) {
        let in_reach = &words[at..at + I::LANES + 2];
        // SAFETY: `in_reach` has two words more than a vector, and the tables have a vector at `at`.
        unsafe {
            let from = in_reach.as_ptr();
            let (a, b, c) = (isa.load(from), isa.load(from.add(1)), isa.load(from.add(2)));
            isa.store(pairs[at..at + I::LANES].as_mut_ptr(), isa.xor(a, b));
            isa.store(ends[at..at + I::LANES].as_mut_ptr(), isa.xor(a, c));
            let triple = isa.xor(isa.xor(a, b), c);
            isa.store(triples[at..at + I::LANES].as_mut_ptr(), triple);
        }
    }
}

/// The indices, into the words and the tables of sums, of the words to add: one for each window of the
/// polynomial that begins with a 1.
fn terms_of(polynomial: &Polynomial) -> Vec<u32> {
    // A window and the zeros after it are four bits on average.
    let mut terms = Vec::with_capacity(DEGREE / 3);
    let mut at = 0;
    while let Some(one) = polynomial.next_one(at) {
        let window = polynomial.bits(one) & 0b111;
        let which = WINDOWS.iter().position(|bits| *bits == window).unwrap_or(0);
        terms.push((which * WORDS + one) as u32);
        at = one + WINDOW;
    }
    terms
}

#[inline(always)]
fn add_terms<I: Isa>(isa: I, terms: &[u32], room: &[u32], out: &mut [u32]) {
    let mut sums = [isa.splat(0); SUMS];
    for term in terms {
        let words = &room[*term as usize..*term as usize + SUMS * I::LANES];
        let mut k = 0;
        while k < SUMS {
            // SAFETY: `words` has `SUMS` vectors.
            let word = unsafe { isa.load(words.as_ptr().add(k * I::LANES)) };
            sums[k] = isa.xor(sums[k], word);
            k += 1;
        }
    }
    assert!(out.len() == SUMS * I::LANES);
    for (k, sum) in sums.into_iter().enumerate() {
        // SAFETY: `out` has room for `SUMS` vectors.
        unsafe { isa.store(out.as_mut_ptr().add(k * I::LANES), sum) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Portable;

    fn jump(isa: impl FullIsa, generator: &mut Mt19937, blocks: i64) {
        Jump { generator, blocks }.run(isa);
    }

    fn skip_by_generating(generator: &mut Mt19937, blocks: u64) {
        let words = blocks * N as u64;
        Skip { generator, words }.run(Portable::<8>);
    }

    /// A jump as on CPUs without the instructions for bit planes.
    struct ByWords<'a> {
        generator: &'a mut Mt19937,
        blocks: i64,
    }

    impl Kernel for ByWords<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: FullIsa>(self, isa: I) {
            if let Some(distance) = prepare(isa, self.generator, self.blocks) {
                let block = &mut self.generator.state.words;
                by_words(isa, &distance, &mut Scratch::default(), block);
            }
        }
    }

    #[test]
    fn jumps_equal_generated_blocks() {
        #[cfg(target_arch = "x86_64")]
        if crate::arch::Gfni::new().is_none() {
            eprintln!("NOT TESTED: this CPU lacks the instructions for jumps by bit planes");
        }
        for blocks in [0, 1, 2, 3, 31, 32, 33, 34, 100, 1681] {
            let start = Mt19937::new(blocks);
            let mut generated = start.clone();
            skip_by_generating(&mut generated, blocks);
            let blocks = blocks as i64;
            let (mut eight, mut sixteen) = (start.clone(), start.clone());
            jump(Portable::<8>, &mut eight, blocks);
            jump(Portable::<16>, &mut sixteen, blocks);
            assert_eq!(
                eight.state.words, generated.state.words,
                "{blocks} blocks, 8 lanes"
            );
            assert_eq!(
                sixteen.state.words, generated.state.words,
                "{blocks} blocks, 16 lanes"
            );
            for backend in Backend::ALL {
                let Some(simd) = backend.simd() else { continue };
                let (mut jumped, mut by_words) = (start.clone(), start.clone());
                let generator = &mut jumped;
                simd.run(Jump { generator, blocks });
                assert_eq!(
                    jumped.state.words, generated.state.words,
                    "{blocks} blocks, {backend}"
                );
                let generator = &mut by_words;
                simd.run(ByWords { generator, blocks });
                assert_eq!(
                    by_words.state.words, generated.state.words,
                    "{blocks} blocks, {backend}"
                );
            }
        }
    }

    /// Bypasses the cache of distances.
    #[test]
    fn powers_are_equal_on_all_instruction_sets() {
        struct Power(i128);
        impl Kernel for Power {
            type Output = Polynomial;

            #[inline(always)]
            fn run<I: FullIsa>(self, isa: I) -> Polynomial {
                Polynomial::power_of_x(isa, self.0)
            }
        }
        for n in [
            -1,
            -624,
            -(1 << 45),
            20_000,
            (1 << 45) - 1,
            i128::from(i64::MAX) * 624,
        ] {
            let power = Power(n).run(Portable::<8>);
            assert_eq!(Power(n).run(Portable::<16>), power);
            for simd in Backend::ALL.into_iter().filter_map(Backend::simd) {
                assert_eq!(simd.run(Power(n)), power, "{simd:?}");
            }
        }
    }

    const FAR: u64 = 1 << 45;

    fn skip(generator: &Mt19937, n: u64) -> Mt19937 {
        let mut generator = generator.clone();
        generator.skip(n);
        generator
    }

    fn check_jumps_from(positions: impl Iterator<Item = u64>) {
        let start = Mt19937::new(5);
        let far = skip(&start, FAR);
        for n in positions {
            let (near, expected) = (skip(&start, n), skip(&far, n));
            assert_eq!(skip(&near, FAR), expected, "from {n}");
        }
    }

    #[test]
    fn jumps_work_from_any_position() {
        check_jumps_from([0, 1, 2, 311, 622, 623, 624].into_iter());
    }

    #[test]
    fn jumps_work_from_every_position() {
        check_jumps_from(0..=N as u64);
    }

    #[test]
    fn jumps_add_up() {
        let start = Mt19937::new(5);
        let far = skip(&start, FAR);
        for part in [1, 623, 624, 625, 1 << 21, (1 << 44) + 12345, FAR - 1] {
            let end = skip(&skip(&start, part), FAR - part);
            assert_eq!(end, far, "in {part} words and the rest");
        }
    }

    #[test]
    fn going_back_is_the_inverse_of_skipping() {
        let simds = Backend::ALL.map(Backend::simd);
        for (simd, seed) in simds.into_iter().zip(1..) {
            for start in [0, 1, 2, 311, 623, 624, 625, 1247, 1248, 1249, 5000] {
                let start = skip(&Mt19937::new(seed), start);
                for n in [
                    0,
                    1,
                    2,
                    311,
                    622,
                    623,
                    624,
                    625,
                    1248,
                    100_000,
                    FAR,
                    u64::MAX,
                ] {
                    let mut there = start.clone();
                    there.skip_with(simd, n);
                    there.skip_back_with(simd, n);
                    let mut back = start.clone();
                    back.skip_back_with(simd, n);
                    back.skip_with(simd, n);
                    for mut end in [there, back] {
                        let mut start = start.clone();
                        for word in 0..2 * N {
                            assert_eq!(end.next_u32(), start.next_u32(), "{n}, word {word}");
                        }
                        // But for the bits of a seeded block that no word depends on.
                        assert_eq!(end, start, "{n}");
                    }
                }
            }
        }
    }

    /// The longest distance that draws one by one cover in about a second.
    #[test]
    fn jumps_equal_draws() {
        for simd in Backend::ALL.map(Backend::simd) {
            let mut jumped = Mt19937::new(9);
            jumped.skip_with(simd, 100);
            let mut drawn = jumped.clone();
            let words = SkipCost::new(simd).min_jump + 77;
            jumped.skip_with(simd, words);
            for _ in 0..words {
                drawn.next_u32();
            }
            assert_eq!(jumped, drawn);
        }
    }

    #[test]
    fn filled_words_and_skips_equal_draws() {
        for n in [
            0, 1, 2, 15, 33, 623, 624, 625, 1247, 1248, 1249, 4992, 4993, 12000,
        ] {
            for start in [0, 1, 100, 623, 624, 625] {
                let mut drawn = Mt19937::new(u64::MAX);
                for _ in 0..start {
                    drawn.next_u32();
                }
                let before = drawn.clone();
                let expected: Vec<u32> = (0..n).map(|_| drawn.next_u32()).collect();
                for backend in Backend::ALL.into_iter().filter(|b| b.is_available()) {
                    let (mut filled, mut skipped) = (before.clone(), before.clone());
                    let mut words = vec![0; n];
                    filled.fill_words_with(backend.simd(), &mut words);
                    skipped.skip_with(backend.simd(), n as u64);
                    assert_eq!(words, expected, "{backend}: words of {n} from {start}");
                    assert_eq!(filled, drawn, "{backend}: after {n} from {start}");
                    assert_eq!(skipped, drawn, "{backend}: skip of {n} from {start}");
                }
            }
        }
    }
}
