//! The state of a generator from bits of its words, and the seed from a state.
//!
//! MT19937 is linear over GF(2): every bit of every word is a sum of bits of the state. Known bits are therefore linear
//! equations in the unknown ones. The unknowns here are the bits of the first 624 words that are not known, which leaves few of
//! them: 4,992 where 24 bits of each word are known, instead of 19,937.
//!
//! [`shown_words`] tells which bits drawn values show, [`agreement`] whether they are those of MT19937, [`recover`] the state, and
//! [`find_seed`] the seed.

use crate::engine::Engine;
use crate::gf2::{self, Solution, System};
use crate::mt19937::{
    HIGHEST, M, MATRIX, Mt19937, N, mix, seed_step, seed_step_back, temper, unmix, untemper,
};
use crate::simd::{self, FullIsa, Kernel, Simd};
use crate::worker_pool;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::correction::corrected;
pub use crate::known_bits::KnownBits;
pub use crate::word_bits::{ShownWords, shown_words};

/// Why a state cannot be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The bits are too few, or depend on each other.
    #[error(
        "the known bits leave {open} bits of the state open; more words are needed: 1,300 with 16 or more known bits each, \
         5,000 with 4"
    )]
    TooFew {
        /// How many bits of the state they leave open.
        open: usize,
    },
    /// No state of MT19937 gives these bits.
    #[error("the known bits are not those of an MT19937 stream")]
    Contradiction,
    /// The words are too far apart.
    #[error("the known words span {span} words, more than {MAX_SPAN}")]
    Span {
        /// The distance of the first and the last word.
        span: u64,
    },
}

/// The most words from the first known one to the last. Each costs some microseconds.
const MAX_SPAN: u64 = 1 << 18;

/// Recovers the generator that draws words of which some bits are known: the one that draws the word of the lowest position
/// next.
///
/// The words may be in any order and have gaps, as long as they lie within 262,144 words. 19,937 independent bits are needed,
/// and many known bits depend on others: of 24 known bits of a word, 16 follow from those of three earlier ones. So
/// it takes 1,300 words where 16 or more bits of each are known, and 5,000 where 4 are. Surplus bits must agree;
/// [`agreement`] tells which words have wrong bits. Takes 0.1 s in the first case, 5 s at most.
///
/// The generator's words depend on nothing but its state, so its [`initial_seed`](Mt19937::initial_seed), which only
/// [`find_seed`] can tell, is 0.
///
/// # Errors
///
/// [`RecoveryError`].
///
/// ```
/// use torch_rng::recovery::{KnownBits, recover};
/// use torch_rng::Mt19937;
///
/// let mut generator = Mt19937::new(3);
/// generator.skip(123_456);
/// let mut words = generator.clone();
/// // As of f32 values in [0, 1), which show the low 24 bits.
/// let known: Vec<KnownBits> = (0..1300)
///     .map(|word| KnownBits { word, mask: 0xff_ffff, bits: words.next_u32() })
///     .collect();
/// let mut recovered = recover(&known)?;
/// assert_eq!(recovered.next_u32(), generator.next_u32());
/// # Ok::<(), torch_rng::recovery::RecoveryError>(())
/// ```
pub fn recover(known: &[KnownBits]) -> Result<Mt19937, RecoveryError> {
    let known: Vec<KnownBits> = known.iter().copied().filter(|k| k.mask != 0).collect();
    let mut candidates = recover_candidates(&known, 0)?;
    candidates.pop().ok_or(RecoveryError::Contradiction)
}

/// Recovers all generators that draw words of which some bits are known, if these leave at most `open` bits of the state open: two
/// to the power of the open bits. More is known of drawn values than bits of words, so that these tell which one it was.
///
/// As [`recover`] otherwise. A word without known bits counts for the lowest position.
///
/// # Errors
///
/// [`RecoveryError`].
///
/// ```
/// use torch_rng::recovery::{KnownBits, recover_candidates};
/// use torch_rng::Mt19937;
///
/// let generator = Mt19937::new(3);
/// let mut words = generator.clone();
/// let known: Vec<KnownBits> = (0..1245)
///     .map(|word| KnownBits { word, mask: 0xff_ffff, bits: words.next_u32() })
///     .collect();
/// let candidates = recover_candidates(&known, 8)?;
/// assert_eq!(candidates.len(), 256);
/// let next = generator.clone().next_u32();
/// assert!(candidates.into_iter().any(|mut candidate| candidate.next_u32() == next));
/// # Ok::<(), torch_rng::recovery::RecoveryError>(())
/// ```
pub fn recover_candidates(known: &[KnownBits], open: u32) -> Result<Vec<Mt19937>, RecoveryError> {
    let first = known.iter().map(|known| known.word).min();
    let mut known: Vec<KnownBits> = known.iter().copied().filter(|k| k.mask != 0).collect();
    known.sort_by_key(|known| known.word);
    let (Some(first), Some(last)) = (first, known.last()) else {
        return Err(RecoveryError::TooFew { open: 19_937 });
    };
    let span = last.word - first;
    if span > MAX_SPAN {
        return Err(RecoveryError::Span { span });
    }
    for known in &mut known {
        known.word -= first;
    }
    let start = Unknowns::new(&known)?;
    let mut system = System::new(start.count);
    start.constraints(&mut system);
    let mut symbolic = Symbolic::new(&start);
    let mut rest = known.iter();
    let solution = loop {
        // Many equations depend on others, so that nobody knows how many are enough. Surplus bits are compared at the end.
        let enough = system.len() + start.count / 2 + 256;
        while system.len() < enough
            && let Some(known) = rest.next()
        {
            symbolic.equations(known, &mut system);
        }
        match system.solve() {
            Solution::Unique(solution) => break solution,
            Solution::Open(_) if rest.len() > 0 => {}
            Solution::Open(left) if left <= open as usize => {
                // All known bits are among the equations.
                let solutions = system.solutions().into_iter();
                let generators = solutions.map(|solution| Mt19937::before(&start.words(&solution)));
                return Ok(generators.collect());
            }
            Solution::Open(open) => return Err(RecoveryError::TooFew { open }),
            Solution::Contradiction => return Err(RecoveryError::Contradiction),
        }
    };
    let recovered = Mt19937::before(&start.words(&solution));
    let mut words = recovered.clone();
    let mut position = 0;
    for known in &known {
        if known.word > position {
            words.skip(known.word - position);
        }
        // The word of a position may be known in parts.
        let word = words.clone().next_u32();
        position = known.word;
        if (word ^ known.bits) & known.mask != 0 {
            return Err(RecoveryError::Contradiction);
        }
    }
    Ok(vec![recovered])
}

/// The bits of the first block, of which some are unknown.
struct Unknowns {
    /// Of each word of the block, as drawn: the known bits, and which they are.
    known: Vec<(u32, u32)>,
    /// The number of the first unknown bit of each word.
    first: Vec<usize>,
    count: usize,
}

impl Unknowns {
    fn new(sorted: &[KnownBits]) -> Result<Unknowns, RecoveryError> {
        let mut known = vec![(0, 0); N];
        for k in sorted.iter().take_while(|k| k.word < N as u64) {
            let (bits, mask) = &mut known[k.word as usize];
            if (*bits ^ k.bits) & *mask & k.mask != 0 {
                return Err(RecoveryError::Contradiction);
            }
            *bits |= k.bits & k.mask;
            *mask |= k.mask;
        }
        let mut count = 0;
        let first = known.iter().map(|(_, mask)| {
            let first = count;
            count += mask.count_zeros() as usize;
            first
        });
        let first = first.collect();
        Ok(Unknowns {
            known,
            first,
            count,
        })
    }

    /// Calls `f` with each unknown bit of a word: its place in the word and its number.
    fn for_each(&self, word: usize, mut f: impl FnMut(u32, usize)) {
        let mut rest = !self.known[word].1;
        let mut number = self.first[word];
        while rest != 0 {
            f(rest.trailing_zeros(), number);
            rest &= rest - 1;
            number += 1;
        }
    }

    /// Adds what the first word owes to the words before it: its low 31 bits are not part of the recurrence that follows.
    fn constraints(&self, system: &mut System) {
        let block = [0, M - 1, N - 1].map(|word| RawBits::of(self, word));
        // As in `twist`: word N - 1 is the sum of word M - 1 and the mixture of a word before the block and word 0, whose low
        // 31 bits it has, shifted down by one.
        for bit in 0..31_u32 {
            let mut equation = vec![0; gf2::limbs(self.count)];
            let mut add = |word: &RawBits, bit: u32| {
                for (limb, other) in equation.iter_mut().zip(word.bit(bit)) {
                    *limb ^= other;
                }
            };
            // The highest bit of the sum tells whether MATRIX was added, which is the lowest bit of the mixture.
            match bit {
                0 => {
                    add(&block[0], 0);
                    add(&block[1], 31);
                    add(&block[2], 31);
                }
                _ => {
                    add(&block[0], bit);
                    add(&block[1], bit - 1);
                    add(&block[2], bit - 1);
                    if MATRIX >> (bit - 1) & 1 == 1 {
                        add(&block[0], 0);
                    }
                }
            }
            system.push(&equation);
        }
    }

    /// The raw words of the block.
    fn words(&self, solution: &[u64]) -> [u32; N] {
        std::array::from_fn(|word| {
            let mut drawn = self.known[word].0;
            self.for_each(word, |bit, number| {
                drawn |= (solution[number / 64] >> (number % 64) & 1) as u32 * (1 << bit);
            });
            untemper(drawn)
        })
    }
}

/// The 32 bits of a raw word as sums of unknowns.
#[derive(Clone)]
struct RawBits {
    limbs: usize,
    bits: Vec<u64>,
}

impl RawBits {
    fn of(start: &Unknowns, word: usize) -> RawBits {
        let limbs = gf2::limbs(start.count);
        let mut bits = vec![0; 32 * limbs];
        let mut add = |drawn: u32, number: usize| {
            let mut raw = untemper(drawn);
            while raw != 0 {
                let bit = raw.trailing_zeros() as usize;
                bits[bit * limbs + number / 64] ^= 1 << (number % 64);
                raw &= raw - 1;
            }
        };
        add(start.known[word].0, start.count);
        start.for_each(word, |bit, number| add(1 << bit, number));
        RawBits { limbs, bits }
    }

    fn bit(&self, bit: u32) -> &[u64] {
        &self.bits[bit as usize * self.limbs..][..self.limbs]
    }

    fn add(&mut self, bit: u32, other: &[u64]) {
        let limbs = &mut self.bits[bit as usize * self.limbs..][..self.limbs];
        for (limb, other) in limbs.iter_mut().zip(other) {
            *limb ^= other;
        }
    }
}

/// The last [`N`] raw words as sums of unknowns.
struct Symbolic {
    words: VecDeque<RawBits>,
    /// The position of the first of them.
    first: u64,
}

impl Symbolic {
    fn new(start: &Unknowns) -> Symbolic {
        Symbolic {
            words: (0..N).map(|word| RawBits::of(start, word)).collect(),
            first: 0,
        }
    }

    /// Adds the equations of the known bits of a word. Those of the first block hold by construction.
    fn equations(&mut self, known: &KnownBits, system: &mut System) {
        if known.word < N as u64 {
            return;
        }
        while self.first + N as u64 <= known.word {
            self.advance();
        }
        let word = &self.words[(known.word - self.first) as usize];
        let mut rest = known.mask;
        let mut equation = vec![0; word.limbs];
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            equation.fill(0);
            for raw in 0..32 {
                if temper(1 << raw) >> bit & 1 == 1 {
                    for (limb, other) in equation.iter_mut().zip(word.bit(raw)) {
                        *limb ^= other;
                    }
                }
            }
            system.push_with(&mut equation, known.bits >> bit & 1 == 1);
        }
    }

    /// Generates the next word, as [`twist`] does.
    fn advance(&mut self) {
        let mut word = self.words[M].clone();
        let (this, next) = (&self.words[0], &self.words[1]);
        word.add(30, this.bit(31));
        for bit in 1..31 {
            word.add(bit - 1, next.bit(bit));
        }
        for bit in 0..32 {
            if MATRIX >> bit & 1 == 1 {
                word.add(bit, next.bit(0));
            }
        }
        self.words.pop_front();
        self.words.push_back(word);
        self.first += 1;
    }
}

impl Mt19937 {
    /// The generator that draws the raw words of a generated block next.
    fn before(block: &[u32; N]) -> Mt19937 {
        let mut words = [0; 2 * N];
        words[N..].copy_from_slice(block);
        run_back(&mut words, N);
        let mut generator = Mt19937::new(0);
        generator.state.words.copy_from_slice(&words[..N]);
        generator.state.left = 1;
        generator.state.next = N as u32;
        generator
    }
}

/// Computes the raw words below `known` from the [`N`] words from there on.
#[inline(always)]
fn run_back(words: &mut [u32], known: usize) {
    let mut end = known;
    while end > 0 {
        // Words that depend on none of each other.
        let start = end.saturating_sub(M - 1);
        let (made, rest) = words.split_at_mut(end);
        // `rest` begins at `end`; word `k + M - 1` is in it for every `k` from `start` on.
        let far = |k: usize| k - end;
        for k in start..end {
            let sum = rest[far(k + N)] ^ rest[far(k + M)];
            let before = rest[far(k + N - 1)] ^ rest[far(k + M - 1)];
            made[k] = mix(unmix(sum), unmix(before));
        }
        end = start;
    }
}

/// A seed, and how many words were drawn since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The seed; the high 32 bits of a seed do not affect the words.
    pub seed: u32,
    /// The words that were drawn after the generator was seeded.
    pub words: u64,
}

/// Finds the seed that a generator was seeded with, if at most `max_words` words were drawn since, by running it backwards
/// to the block that [`manual_seed`](Mt19937::new) makes, on as many threads as there are CPUs.
///
/// 2^32 words take about half a second of one CPU. What is found is drawn again from the seed, so a seed is never found by chance.
///
/// ```
/// use torch_rng::recovery::{Origin, find_seed};
/// use torch_rng::Mt19937;
///
/// let mut generator = Mt19937::new(42);
/// generator.skip(1_000_000);
/// assert_eq!(find_seed(&generator, 1 << 21), Some(Origin { seed: 42, words: 1_000_000 }));
/// assert_eq!(find_seed(&generator, 1000), None);
/// ```
#[must_use]
pub fn find_seed(generator: &Mt19937, max_words: u64) -> Option<Origin> {
    let engine = Engine::default();
    find_seed_with(
        engine.simd(),
        engine.threads(),
        SEGMENT,
        generator,
        max_words,
    )
}

/// `segment` is a multiple of [`CHUNK`].
fn find_seed_with(
    simd: Option<Simd>,
    threads: usize,
    segment: u64,
    generator: &Mt19937,
    max_words: u64,
) -> Option<Origin> {
    // In the block that the next word is drawn from, and the words of it that were drawn.
    let mut next = generator.clone();
    next.next_u32();
    let drawn = u64::from(next.state.next - 1);
    // A seeded block begins at most so far before that block.
    let range = max_words.saturating_add(N as u64).saturating_sub(drawn);
    let segments = range.div_ceil(segment);
    let threads = segments.min(threads as u64);
    let found_in = AtomicU64::new(u64::MAX);
    let origins = worker_pool::map(threads as usize, (0..threads).collect(), |thread| {
        let mut end = next.clone();
        end.skip_back_with(simd, thread * segment);
        for number in (thread..segments).step_by(threads as usize) {
            if found_in.load(Ordering::Relaxed) < number {
                break;
            }
            if number > thread {
                end.skip_back_with(simd, threads * segment);
            }
            let before = number * segment;
            let scan = SeedScan {
                block: &end.state.words,
                chunks: (range - before).min(segment).div_ceil(CHUNK as u64),
                // `distance` is that of the seeded block from `end`'s.
                confirm: |seed, distance: u64| {
                    let words = (before + distance + drawn).checked_sub(N as u64)?;
                    let origin = Origin { seed, words };
                    (words <= max_words && origin.leads_to(simd, generator)).then_some(origin)
                },
            };
            let origin = simd::run(simd, scan);
            if origin.is_some() {
                found_in.fetch_min(number, Ordering::Relaxed);
                return origin;
            }
        }
        None
    });
    origins
        .into_iter()
        .flatten()
        .min_by_key(|origin| origin.words)
}

impl Origin {
    /// Whether `generator` draws what is drawn after these words.
    fn leads_to(&self, simd: Option<Simd>, generator: &Mt19937) -> bool {
        let (mut this, mut other) = (Mt19937::new(self.seed), generator.clone());
        this.skip_with(simd, self.words);
        (0..N).all(|_| this.next_u32() == other.next_u32())
    }
}

/// The words that are run back at a time: they fit the fastest cache.
const CHUNK: usize = 8 * N;

/// The words that a thread runs back from one jump: some 20 ms.
const SEGMENT: u64 = (CHUNK << 15) as u64;

/// The distance of words that are looked at. In a seeded block, each word but the first two tells its position.
const STRIDE: usize = CHUNK / 12;
const _: () = assert!(STRIDE <= N - 2);

struct SeedScan<'g, F> {
    block: &'g [u32; N],
    chunks: u64,
    /// The origin, if the block of this seed begins that many words before `block`.
    confirm: F,
}

impl<F: Fn(u32, u64) -> Option<Origin>> Kernel for SeedScan<'_, F> {
    type Output = Option<Origin>;

    #[inline(always)]
    fn run<I: FullIsa>(self, isa: I) -> Option<Origin> {
        const { assert!(CHUNK.is_multiple_of(2 * I::LANES) && 2 * I::LANES < M) };
        // Not the words themselves: what `twist` mixes of each and the next one. A word is computed from two of them, so each is
        // unmixed once.
        let mut mixed = vec![0_u32; CHUNK + N];
        for (k, mixed) in mixed[CHUNK..].iter_mut().enumerate() {
            // The low bits of the last one are those of a word that nothing before the block depends on.
            let next = self.block.get(k + 1).copied().unwrap_or(0);
            *mixed = mix(self.block[k], next);
        }
        for chunk in 1..=self.chunks {
            for at in (0..CHUNK).step_by(I::LANES).rev() {
                let later = &mut mixed[at..at + N + I::LANES];
                // SAFETY: `later` has a vector after its first `N` words.
                unsafe {
                    let words = later.as_mut_ptr();
                    let sum =
                        |at| isa.xor(isa.load(words.add(N - at)), isa.load(words.add(M - at)));
                    isa.store(
                        words,
                        unmixed(isa, isa.select_bits(isa.splat(HIGHEST), sum(0), sum(1))),
                    );
                }
            }
            for at in (1..CHUNK).step_by(STRIDE).rev() {
                let word = |at: usize| mix(mixed[at], mixed[at - 1]);
                let position = word(at + 1).wrapping_sub(seed_step(word(at)));
                if !(2..N as u32).contains(&position) {
                    continue;
                }
                let seed = (1..position).rev().fold(word(at), |word, position| {
                    seed_step_back(word.wrapping_sub(position))
                });
                let distance = chunk * CHUNK as u64 - (at as u64 + 1) + u64::from(position);
                if let Some(origin) = (self.confirm)(seed, distance) {
                    return Some(origin);
                }
            }
            let (made, known) = mixed.split_at_mut(CHUNK);
            known.copy_from_slice(&made[..N]);
        }
        None
    }
}

/// [`unmix`], of a vector.
#[inline(always)]
fn unmixed<I: FullIsa>(isa: I, sum: I::U) -> I::U {
    isa.xor_if_odd(
        isa.shl::<1>(sum),
        isa.shr::<31>(sum),
        isa.splat(MATRIX << 1 | 1),
    )
}

/// How far known bits are those of an MT19937 stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreement {
    /// The sums of known bits that are 0 in every MT19937 stream.
    pub sums: u64,
    /// How many of them are not 0. About half of them in other data.
    pub disagreeing: u64,
    /// The positions of words whose bits are probably wrong: most sums of them disagree.
    pub wrong_words: Vec<u64>,
    /// The positions of all words that may be wrong: of sums that disagree, each of which has a wrong one, and of those that no sum checks.
    pub suspect_words: Vec<u64>,
}

/// Compares known bits with what MT19937 relates: word `k + 624` with the words `k`, `k + 1` and `k + 397`.
///
/// Where 24 bits of each word are known, each such four words have 15 sums that must be 0. So some dozens of them tell whether data is
/// drawn from MT19937 at all, and which words do not belong, without any seed or state. A word that none of
/// the sums has is not checked.
///
/// ```
/// use torch_rng::recovery::{KnownBits, agreement};
/// use torch_rng::Mt19937;
///
/// let mut generator = Mt19937::new(3);
/// let mut known: Vec<KnownBits> = (0..2000)
///     .map(|word| KnownBits { word, mask: 0xff_ffff, bits: generator.next_u32() })
///     .collect();
/// assert_eq!(agreement(&known).disagreeing, 0);
/// known[700].bits ^= 1 << 9;
/// assert_eq!(agreement(&known).wrong_words, [700]);
/// ```
#[must_use]
pub fn agreement(known: &[KnownBits]) -> Agreement {
    let mut sorted: Vec<KnownBits> = known.iter().copied().filter(|k| k.mask != 0).collect();
    sorted.sort_by_key(|known| known.word);
    sorted.dedup_by_key(|known| known.word);
    let find = |word: u64| sorted.binary_search_by_key(&word, |known| known.word).ok();
    let mut result = Agreement {
        sums: 0,
        disagreeing: 0,
        wrong_words: Vec::new(),
        suspect_words: Vec::new(),
    };
    let (mut is_suspect, mut is_checked) = (vec![false; sorted.len()], vec![false; sorted.len()]);
    // The words of each relation, and whether all its sums are 0.
    let mut relations = Vec::new();
    let mut last: Option<(FourWords, Vec<FourWords>)> = None;
    for (i, this) in sorted.iter().enumerate() {
        let later = [1, M as u64, N as u64].map(|distance| find(this.word + distance));
        let [Some(next), Some(far), Some(made)] = later else {
            continue;
        };
        let places = [i, next, far, made];
        let masks = places.map(|place| sorted[place].mask);
        let sums = match &mut last {
            Some((of, sums)) if *of == masks => sums,
            last => &mut last.insert((masks, known_sums(masks))).1,
        };
        if sums.is_empty() {
            continue;
        }
        let disagreeing = sums.iter().filter(|sum| {
            let bits = (0..4).map(|i| (sorted[places[i]].bits & sum[i]).count_ones());
            bits.sum::<u32>() % 2 == 1
        });
        let disagreeing = disagreeing.count();
        result.sums += sums.len() as u64;
        result.disagreeing += disagreeing as u64;
        for place in places {
            is_suspect[place] |= disagreeing > 0;
            // Of word `k`, only one bit is in the sums.
            is_checked[place] |= place != i;
        }
        // A few sums hold by chance.
        if sums.len() >= 4 {
            relations.push(([next, far, made], disagreeing == 0));
        }
    }
    // First the words that more than one relation accuses; then others, of the relations that these do not explain.
    let mut is_wrong = vec![false; sorted.len()];
    for least in [2, 1] {
        let mut votes = vec![(0_u32, 0_u32); sorted.len()];
        for (words, holds) in &relations {
            if words.iter().any(|word| is_wrong[*word]) {
                continue;
            }
            for word in words {
                votes[*word].0 += u32::from(*holds);
                votes[*word].1 += 1;
            }
        }
        for (is_wrong, (holding, all)) in is_wrong.iter_mut().zip(votes) {
            *is_wrong |= all >= least && 2 * holding < all;
        }
    }
    let chosen = |is_chosen: &[bool]| {
        let words = sorted.iter().zip(is_chosen);
        let words = words.filter(|(_, is_chosen)| **is_chosen);
        words.map(|(known, _)| known.word).collect()
    };
    result.wrong_words = chosen(&is_wrong);
    let may_be_wrong = is_suspect.iter().zip(&is_checked);
    let may_be_wrong: Vec<bool> = may_be_wrong.map(|(s, checked)| *s || !checked).collect();
    result.suspect_words = chosen(&may_be_wrong);
    result
}

/// Bits of the words `k`, `k + 1`, `k + 397` and `k + 624`.
type FourWords = [u32; 4];

/// The sums of known bits of the words `k`, `k + 1`, `k + 397` and `k + 624` that are 0.
fn known_sums(masks: FourWords) -> Vec<FourWords> {
    // The drawn bits that a raw bit is the sum of.
    let raw: [u32; 32] = std::array::from_fn(|bit| {
        (0..32).fold(0, |sum, drawn| {
            sum | (untemper(1 << drawn) >> bit & 1) << drawn
        })
    });
    let mut sums: Vec<FourWords> = (0..32)
        .map(|bit| {
            let mut sum = [0, 0, raw[bit], raw[bit]];
            match bit {
                31 => {}
                30 => sum[0] ^= raw[31],
                _ => sum[1] ^= raw[bit + 1],
            }
            if MATRIX >> bit & 1 == 1 {
                sum[1] ^= raw[0];
            }
            sum
        })
        .collect();
    // Each unknown bit is eliminated by one of the sums that have it.
    for place in 0..4 {
        for bit in 0..32 {
            if masks[place] >> bit & 1 == 1 {
                continue;
            }
            let has = |sum: &FourWords| sum[place] >> bit & 1 == 1;
            let Some(pivot) = sums.iter().position(has) else {
                continue;
            };
            let pivot = sums.swap_remove(pivot);
            for sum in sums.iter_mut().filter(|sum| has(sum)) {
                for (a, b) in sum.iter_mut().zip(pivot) {
                    *a ^= b;
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;

    fn known(generator: &mut Mt19937, count: u64, mask: impl Fn(u64) -> u32) -> Vec<KnownBits> {
        let known = (0..count).map(|word| KnownBits {
            word,
            mask: mask(word),
            bits: generator.next_u32(),
        });
        known.collect()
    }

    fn at(seed: u64, words: u64) -> Mt19937 {
        let mut generator = Mt19937::new(seed);
        generator.skip(words);
        generator
    }

    #[test]
    fn every_word_is_untempered() {
        let mut words = Mt19937::new(1);
        for word in (0..32)
            .map(|bit| 1 << bit)
            .chain((0..1000).map(|_| words.next_u32()))
        {
            assert_eq!(untemper(temper(word)), word);
            assert_eq!(seed_step_back(seed_step(word)), word);
        }
    }

    #[test]
    fn streams_are_recovered_from_parts_of_their_words() {
        type Mask = fn(u64) -> u32;
        let masks: [(u64, Mask); 7] = [
            (640, |_| u32::MAX),
            (1300, |_| 0xff_ffff),
            (1300, |_| 0xffff_ff00),
            (1400, |_| 0xffff),
            (2600, |word| if word % 3 == 0 { 0 } else { 0xff_ffff }),
            (2000, |word| if word < 900 { 0xf0 } else { u32::MAX }),
            (1500, |word| u32::MAX << (word % 19)),
        ];
        for (i, (count, mask)) in masks.into_iter().enumerate() {
            let all = [100_003, 0, 1, 623, 624, 625];
            // The others take longer.
            let positions = if i == 0 { &all[..] } else { &all[..1] };
            for &words in positions {
                let mut generator = at(i as u64, words);
                let words_known = known(&mut generator.clone(), count, mask);
                // The recovered one draws the first known word next.
                let first = words_known
                    .iter()
                    .position(|known| known.mask != 0)
                    .unwrap();
                generator.skip(first as u64);
                let words = words + first as u64;
                let recovered =
                    recover(&words_known).unwrap_or_else(|error| panic!("mask {i}: {error}"));
                let (mut a, mut b) = (recovered.clone(), generator);
                for _ in 0..2000 {
                    assert_eq!(a.next_u32(), b.next_u32(), "mask {i}, {words} words");
                }
                let seed = i as u32;
                assert_eq!(find_seed(&recovered, 200_000), Some(Origin { seed, words }));
            }
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let generator = at(9, 77);
        let mut words = known(&mut generator.clone(), 1400, |_| 0xff_ffff);
        for known in &mut words {
            known.word += 1 << 60;
        }
        words.reverse();
        words.extend_from_within(..100);
        let mut recovered = recover(&words).unwrap();
        assert_eq!(recovered.next_u32(), generator.clone().next_u32());
    }

    #[test]
    fn too_few_wrong_and_distant_words_are_errors() {
        let generator = at(5, 10);
        let words = known(&mut generator.clone(), 2000, |_| 0xff_ffff);
        assert_eq!(recover(&[]), Err(RecoveryError::TooFew { open: 19_937 }));
        let Err(RecoveryError::TooFew { open }) = recover(&words[..1200]) else {
            panic!("1200 words are too few");
        };
        assert!((300..400).contains(&open), "{open}");
        for wrong in [0, 300, 623, 700, 900, 1999] {
            let mut words = words.clone();
            words[wrong].bits ^= 1 << 23;
            assert_eq!(
                recover(&words),
                Err(RecoveryError::Contradiction),
                "{wrong}"
            );
        }
        let mut far = words;
        far[1999].word = 1 << 40;
        assert_eq!(recover(&far), Err(RecoveryError::Span { span: 1 << 40 }));
    }

    #[test]
    fn seeds_are_found_from_states_of_all_positions() {
        for seed in [0, 1, u32::MAX, 0x8000_0000, 1_234_567] {
            for words in [0, 1, 623, 624, 625, 4992, 4993, 6336, 6337, 7000, 1_000_000] {
                let generator = at(u64::from(seed), words);
                let origin = Some(Origin { seed, words });
                assert_eq!(find_seed(&generator, words), origin, "{seed}, {words}");
                if words > 0 {
                    assert_eq!(find_seed(&generator, words - 1), None, "{seed}, {words}");
                }
            }
        }
    }

    /// Seeded blocks in each place of what is run back at a time.
    #[test]
    fn seeds_are_found_on_all_instruction_sets_and_threads() {
        let mut simds = Backend::ALL.map(Backend::simd).to_vec();
        simds.dedup();
        for (simd, threads) in simds.into_iter().flat_map(|simd| [(simd, 1), (simd, 3)]) {
            let segment = 2 * CHUNK as u64;
            let find = |generator: &Mt19937, words| {
                find_seed_with(simd, threads, segment, generator, words)
            };
            for words in (0..5 * CHUNK as u64).step_by(97).chain([10 * segment]) {
                let generator = at(words, words);
                let origin = Origin {
                    seed: words as u32,
                    words,
                };
                assert_eq!(find(&generator, words), Some(origin), "{words}, {simd:?}");
                assert_eq!(
                    find(&generator, words + segment),
                    Some(origin),
                    "{words}, {simd:?}"
                );
                if words > 0 {
                    assert_eq!(find(&generator, words - 1), None, "{words}, {simd:?}");
                }
            }
        }
    }

    #[test]
    fn other_data_and_wrong_words_disagree() {
        let mut other = 1_u64;
        let random: Vec<KnownBits> = (0..3000)
            .map(|word| {
                other = other
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let bits = (other >> 32) as u32;
                KnownBits {
                    word,
                    mask: 0xff_ffff,
                    bits,
                }
            })
            .collect();
        let result = agreement(&random);
        assert_eq!(result.sums, (3000 - 624) * 15);
        let share = result.disagreeing as f64 / result.sums as f64;
        assert!((0.48..0.52).contains(&share), "{share}");
        // One word in a hundred is wrong.
        let mut words = known(&mut at(2, 3), 5000, |_| 0xff_ffff);
        let wrong: Vec<u64> = (0..50).map(|i| 100 * i + i % 7).collect();
        for word in &wrong {
            words[*word as usize].bits ^= 0x0015_a000;
        }
        let result = agreement(&words);
        let missed = wrong
            .iter()
            .filter(|word| !result.wrong_words.contains(word))
            .count();
        assert!(missed <= 1, "{missed} wrong words were not found");
        assert!(
            result.wrong_words.len() < 120,
            "{}",
            result.wrong_words.len()
        );
        words.retain(|known| !result.wrong_words.contains(&known.word) && known.word < 2000);
        // What is left recovers the stream, unless a wrong word was missed.
        if missed == 0 {
            assert!(recover(&words).is_ok());
        }
    }
}
