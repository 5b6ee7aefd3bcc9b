//! Going to a far place of the stream without passing the words between.
//!
//! Each bit of the raw words is a linear recurrence over GF(2) whose characteristic polynomial `P`
//! is that of MT19937. So if `x^n mod P = sum g_i x^i`, then word `n` of the sequence is the sum of
//! the words `i` for which `g_i` is 1, and likewise the 624 words from there on. See Haramoto,
//! Matsumoto, Nishimura, Panneton, L'Ecuyer (2008), "Efficient Jump Ahead for F2-Linear Random
//! Number Generators".

use crate::arch::{Isa, Kernel};
use crate::backend::Simd;
#[cfg(target_arch = "x86_64")]
use crate::bit_planes;
use crate::mt19937::{Mt19937, N};
use crate::polynomial::{DEGREE, Polynomial};
use crate::stream::regenerate;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What it takes to go on in the stream, in nanoseconds. No bit depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passing {
    /// By a word, without a jump.
    pub(crate) word: f64,
    /// By a jump over a distance that was jumped before.
    pub(crate) jump: f64,
    /// Words from which on a jump takes less time on average. (The first one over a distance takes
    /// some 0.1 ms more than the others, but few distances are jumped over only once.)
    pub(super) worth_a_jump: u64,
}

impl Passing {
    pub(crate) fn with(simd: Option<Simd>) -> Passing {
        match simd {
            #[cfg(target_arch = "x86_64")]
            Some(Simd::Avx512(isa)) if isa.galois().is_some() => Passing {
                word: 0.1,
                jump: 25_000.0,
                worth_a_jump: 1 << 19,
            },
            _ => Passing {
                word: 0.15,
                jump: 115_000.0,
                worth_a_jump: 1 << 21,
            },
        }
    }
}

/// The words that the polynomial is applied to, a multiple of [`N`], and a little more: it reads
/// `DEGREE + N`, and as far as a window of bits behind them.
const WORDS: usize = (DEGREE + N + WINDOW).next_multiple_of(N);
/// The most bits of the polynomial that are taken at once.
const WINDOW: usize = 3;
/// Sums of words for every window that begins and ends with a 1, and for the single 1: by the bits
/// of the window, lowest first.
const WINDOWS: [u64; 4] = [0b1, 0b11, 0b101, 0b111];

/// Moves by `blocks` whole blocks.
pub(super) struct Jump<'a> {
    pub(super) generator: &'a mut Mt19937,
    pub(super) blocks: u64,
}

impl Kernel for Jump<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Some(distance) = begin(isa, self.generator, self.blocks) else {
            return;
        };
        let block = &mut self.generator.state.words;
        let mut room = rooms().pop().unwrap_or_default();
        if !by_planes(isa, &distance, &mut room, block) {
            by_words(isa, &distance, &mut room, block);
        }
        rooms().push(room);
    }
}

/// Makes one block, and says how far it is from there; nothing if there is no way to go.
#[inline(always)]
fn begin<I: Isa>(isa: I, generator: &mut Mt19937, blocks: u64) -> Option<Arc<Distance>> {
    let after_one = blocks.checked_sub(1)?;
    // The low 31 bits of the first word of a seeded block are not of the recurrence. Those of a block
    // that was made are.
    generator.regenerate();
    Some(distance(isa, after_one))
}

/// What is the same for all jumps over so many words.
struct Distance {
    polynomial: Polynomial,
    terms: OnceLock<Vec<u32>>,
}

impl Distance {
    fn terms(&self) -> &[u32] {
        self.terms.get_or_init(|| terms_of(&self.polynomial))
    }
}

/// The distance of so many blocks. The last ones are kept, as tensors of one shape come in numbers
/// and divide among threads in one way.
#[inline(always)]
fn distance<I: Isa>(isa: I, blocks: u64) -> Arc<Distance> {
    static KEPT: Mutex<VecDeque<(u64, Arc<Distance>)>> = Mutex::new(VecDeque::new());
    const KEEP: usize = 64;
    // What is kept is whole at all times, whoever panicked.
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, distance)) = kept().iter().find(|(b, _)| *b == blocks) {
        return Arc::clone(distance);
    }
    let words = u128::from(blocks) * N as u128;
    let distance = Arc::new(Distance {
        polynomial: Polynomial::power_of_x(isa, words),
        terms: OnceLock::new(),
    });
    let mut kept = kept();
    kept.truncate(KEEP - 1);
    kept.push_front((blocks, Arc::clone(&distance)));
    distance
}

/// Room for what a jump adds, which whoever is done with it leaves to the next. Memory that is new each
/// time would cost about as much to fault in as the sums take.
#[derive(Default)]
struct Room {
    /// Words, and sums of them.
    words: Vec<u32>,
    #[cfg(target_arch = "x86_64")]
    planes: Vec<bit_planes::BytePlanes>,
}

static ROOMS: Mutex<Vec<Room>> = Mutex::new(Vec::new());

fn rooms() -> MutexGuard<'static, Vec<Room>> {
    // What is in there is as good after a panic as before.
    ROOMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The `count` words that begin with the block, more than a block's.
#[inline(always)]
fn unroll<'a, I: Isa>(isa: I, block: &[u32; N], room: &'a mut Vec<u32>, count: usize) -> &'a [u32] {
    let made = (count - N).next_multiple_of(N);
    if room.len() < N + made {
        room.resize(N + made, 0);
    }
    room[..N].copy_from_slice(block);
    // SAFETY: all words of the room are initialised, and there are `N + made`; `made` is a multiple
    // of `N`.
    unsafe { regenerate(isa, room.as_mut_ptr(), made) };
    &room[..count]
}

/// Makes `block` the block that lies so far behind it; `false` if the CPU cannot do that by bit planes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn by_planes<I: Isa>(isa: I, distance: &Distance, room: &mut Room, block: &mut [u32; N]) -> bool {
    let Some(galois) = isa.galois() else {
        return false;
    };
    let words = unroll(isa, block, &mut room.words, bit_planes::WORDS);
    bit_planes::apply(galois, &distance.polynomial, words, &mut room.planes, block);
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn by_planes<I: Isa>(_: I, _: &Distance, _: &mut Room, _: &mut [u32; N]) -> bool {
    false
}

/// Makes `block` the block that lies so far behind it, as [`WINDOWS`] of the polynomial say.
#[inline(always)]
fn by_words<I: Isa>(isa: I, distance: &Distance, room: &mut Room, block: &mut [u32; N]) {
    let (terms, room) = (distance.terms(), &mut room.words);
    unroll(isa, block, room, WORDS);
    room.resize(WORDS * WINDOWS.len(), 0);
    let (words, sums) = room.split_at_mut(WORDS);
    sum(isa, words, sums);
    // As many words as stay in registers while all terms are added; `N` is a multiple.
    let at_once = SUMS * I::LANES;
    for (i, out) in block.chunks_exact_mut(at_once).enumerate() {
        add_terms(isa, terms, &room[i * at_once..], out);
    }
}

/// Vectors in registers at a time: 13 times 8 or 16 words divide a block.
const SUMS: usize = 13;

/// Sums of neighbours, as [`WINDOWS`] says, behind each other.
#[inline(always)]
fn sum<I: Isa>(isa: I, words: &[u32], sums: &mut [u32]) {
    let (pairs, rest) = sums.split_at_mut(WORDS);
    let (ends, triples) = rest.split_at_mut(WORDS);
    for at in (0..WORDS - I::LANES).step_by(I::LANES) {
        let in_reach = &words[at..at + I::LANES + 2];
        // SAFETY: two words more than a vector are in reach, and a vector fits everywhere at `at`.
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

/// Where the words lie that are to be added, in the room for words and sums: for each window of the
/// polynomial that begins with a 1.
fn terms_of(polynomial: &Polynomial) -> Vec<u32> {
    // A window and the zeros behind it are four bits on average.
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
    let mut accumulated = [isa.splat(0); SUMS];
    for term in terms {
        let words = &room[*term as usize..*term as usize + SUMS * I::LANES];
        let mut k = 0;
        while k < SUMS {
            // SAFETY: `SUMS` vectors of `words` are there.
            let word = unsafe { isa.load(words.as_ptr().add(k * I::LANES)) };
            accumulated[k] = isa.xor(accumulated[k], word);
            k += 1;
        }
    }
    assert!(out.len() == SUMS * I::LANES);
    for (k, sum) in accumulated.into_iter().enumerate() {
        // SAFETY: `out` has room for `SUMS` vectors.
        unsafe { isa.store(out.as_mut_ptr().add(k * I::LANES), sum) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use crate::arch::Portable;
    use crate::stream::Pass;

    fn jump(isa: impl Isa, generator: &mut Mt19937, blocks: u64) {
        isa.run(Jump { generator, blocks });
    }

    fn pass(generator: &mut Mt19937, blocks: u64) {
        let words = blocks * N as u64;
        Portable::<8>.run(Pass { generator, words });
    }

    /// A jump as on CPUs that do not add by planes.
    struct ByWords<'a> {
        generator: &'a mut Mt19937,
        blocks: u64,
    }

    impl Kernel for ByWords<'_> {
        type Output = ();

        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            if let Some(distance) = begin(isa, self.generator, self.blocks) {
                let block = &mut self.generator.state.words;
                by_words(isa, &distance, &mut Room::default(), block);
            }
        }
    }

    #[test]
    fn a_jump_is_as_many_steps() {
        #[cfg(target_arch = "x86_64")]
        if crate::arch::Galois::new().is_none() {
            eprintln!("NOT TESTED: this CPU has not what jumps by bit planes need");
        }
        for blocks in [0, 1, 2, 3, 31, 32, 33, 34, 100, 1681] {
            let mut passed = Mt19937::new(blocks);
            let start = passed.clone();
            pass(&mut passed, blocks);
            let (mut eight, mut sixteen) = (start.clone(), start.clone());
            jump(Portable::<8>, &mut eight, blocks);
            jump(Portable::<16>, &mut sixteen, blocks);
            assert_eq!(
                eight.state.words, passed.state.words,
                "{blocks} blocks, 8 lanes"
            );
            assert_eq!(
                sixteen.state.words, passed.state.words,
                "{blocks} blocks, 16 lanes"
            );
            for backend in Backend::ALL {
                let Some(simd) = backend.simd() else { continue };
                let (mut jumped, mut by_words) = (start.clone(), start.clone());
                let generator = &mut jumped;
                simd.run(Jump { generator, blocks });
                assert_eq!(
                    jumped.state.words, passed.state.words,
                    "{blocks} blocks, {backend}"
                );
                let generator = &mut by_words;
                simd.run(ByWords { generator, blocks });
                assert_eq!(
                    by_words.state.words, passed.state.words,
                    "{blocks} blocks, {backend}"
                );
            }
        }
    }

    /// Not by way of the powers that are kept.
    #[test]
    fn powers_are_equal_on_all_instructions() {
        struct Power(u128);
        impl Kernel for Power {
            type Output = Polynomial;

            #[inline(always)]
            fn run<I: Isa>(self, isa: I) -> Polynomial {
                Polynomial::power_of_x(isa, self.0)
            }
        }
        for n in [20_000, (1 << 45) - 1, u128::from(u64::MAX) * 624] {
            let power = Portable::<8>.run(Power(n));
            assert_eq!(Portable::<16>.run(Power(n)), power);
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

    fn far_from(places: impl Iterator<Item = u64>) {
        let start = Mt19937::new(5);
        let far = skip(&start, FAR);
        for place in places {
            let (to, back) = (skip(&start, place), skip(&far, place));
            assert_eq!(skip(&to, FAR), back, "from {place}");
        }
    }

    #[test]
    fn jumps_start_at_any_place() {
        far_from([0, 1, 2, 311, 622, 623, 624].into_iter());
    }

    #[test]
    fn jumps_start_at_every_place() {
        far_from(0..=N as u64);
    }

    #[test]
    fn jumps_add_up() {
        let start = Mt19937::new(5);
        let far = skip(&start, FAR);
        for part in [1, 623, 624, 625, 1 << 21, (1 << 44) + 12345, FAR - 1] {
            let way = skip(&skip(&start, part), FAR - part);
            assert_eq!(way, far, "by way of {part}");
        }
    }

    /// The longest walk on foot that takes a second or so.
    #[test]
    fn a_jump_passes_what_steps_pass() {
        for simd in Backend::ALL.map(Backend::simd) {
            let mut jumped = Mt19937::new(9);
            jumped.skip_with(simd, 100);
            let mut passed = jumped.clone();
            let words = Passing::with(simd).worth_a_jump + 77;
            jumped.skip_with(simd, words);
            for _ in 0..words {
                passed.next_u32();
            }
            assert_eq!(jumped, passed);
        }
    }
}
