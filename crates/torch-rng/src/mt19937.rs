//! The stream, word by word.
//!
//! Follows `mt19937_engine` (`ATen/core/MT19937RNGEngine.h`) and the draws of `CPUGeneratorImpl`
//! (`ATen/CPUGeneratorImpl.cpp`), PyTorch 2.13.

use super::arch::{Isa, Kernel, Portable};
use super::backend::{Backend, Simd};
use super::jump::{Jump, Passing};
use super::state::{State, StateError};
use super::stream::{Fill, Pass};
use super::words::Words;

/// The words of one block.
pub(crate) const N: usize = 624;
/// How far ahead the word lies that a new word is made from.
pub(crate) const M: usize = 397;
/// What is added where the recurrence shifts out a one.
pub(crate) const MATRIX: u32 = 0x9908_b0df;

/// PyTorch's CPU stream: MT19937 with the normals that libtorch keeps beside it.
///
/// Draws what a `torch.Generator` of the same state draws, and is left where that is left:
/// [`to_state`](Self::to_state) gives the state that `get_state()` would give.
///
/// ```
/// use torch_rng::Mt19937;
///
/// // C++: std::mt19937(1)
/// let mut generator = Mt19937::new(1);
/// assert_eq!([(); 3].map(|()| generator.next_u32()), [1791095845, 4282876139, 3093770124]);
/// ```
///
/// The memory layout is that of [`State`], whose position is known to be valid.
#[derive(Debug, Clone, PartialEq)]
#[repr(transparent)]
pub struct Mt19937 {
    pub(crate) state: State,
}

impl Mt19937 {
    /// The stream after `torch.manual_seed(seed)`. The words depend on the low 32 bits only.
    pub fn new(seed: u64) -> Mt19937 {
        let mut words = [0; N];
        words[0] = seed as u32;
        for i in 1..N {
            let before: u32 = words[i - 1];
            words[i] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
        }
        Mt19937 {
            state: State {
                words,
                initial_seed: seed,
                left: 1,
                next: 0,
                next_double_normal: None.into(),
                next_float_normal: None.into(),
            },
        }
    }

    /// The stream that stands where `state` says.
    ///
    /// # Errors
    ///
    /// [`StateError::Position`] if `left` and `next` are no place in a block.
    ///
    /// ```
    /// use torch_rng::Mt19937;
    ///
    /// let mut generator = Mt19937::new(1);
    /// generator.skip(1000);
    /// let mut same = Mt19937::from_state(&generator.to_state())?;
    /// assert_eq!(same.next_u32(), generator.next_u32());
    /// # Ok::<(), torch_rng::StateError>(())
    /// ```
    pub fn from_state(state: &State) -> Result<Mt19937, StateError> {
        state.check_position()?;
        Ok(Mt19937 {
            state: state.clone(),
        })
    }

    /// Borrows a state as a generator that draws from it in place, without a copy.
    ///
    /// # Errors
    ///
    /// [`StateError::Position`] if `left` and `next` are not a position in a block.
    ///
    /// ```
    /// use torch_rng::Mt19937;
    ///
    /// let mut state = Mt19937::new(1).to_state();
    /// assert_eq!(Mt19937::from_state_mut(&mut state)?.next_u32(), 1791095845);
    /// assert_eq!((state.left, state.next), (624, 1));
    /// # Ok::<(), torch_rng::StateError>(())
    /// ```
    pub fn from_state_mut(state: &mut State) -> Result<&mut Mt19937, StateError> {
        state.check_position()?;
        let state: *mut State = state;
        // SAFETY: `Mt19937` is a transparent wrapper of `State` whose position is valid, as checked
        // above. The state stays borrowed as long as the generator is.
        Ok(unsafe { &mut *state.cast::<Mt19937>() })
    }

    /// The state, as [`to_state`](Self::to_state) copies it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Copies the state: what `get_state()` of a `torch.Generator` at this position returns.
    pub fn to_state(&self) -> State {
        self.state.clone()
    }

    /// The seed that started the stream, all 64 bits of it.
    pub fn initial_seed(&self) -> u64 {
        self.state.initial_seed
    }

    /// The second of a pair of normals drawn one at a time, which the next such draw returns.
    pub fn next_double_normal(&self) -> Option<f64> {
        self.state.next_double_normal.get()
    }

    /// The next word: `CPUGeneratorImpl::random()`.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.state.left == 1 {
            self.regenerate();
        }
        let word = temper(self.state.words[self.state.next as usize]);
        self.state.left -= 1;
        self.state.next += 1;
        word
    }

    /// The next two words, the first of them in the high half: `CPUGeneratorImpl::random64()`.
    #[inline]
    pub fn random64(&mut self) -> u64 {
        let high = self.next_u32();
        u64::from(high) << 32 | u64::from(self.next_u32())
    }

    /// The next `words.len()` words.
    pub fn fill_words(&mut self, words: &mut [u32]) {
        self.fill_words_with(Backend::selected().simd(), words);
    }

    pub(crate) fn fill_words_with(&mut self, simd: Option<Simd>, words: &mut [u32]) {
        let Some(simd) = simd else {
            for word in words {
                *word = self.next_u32();
            }
            return;
        };
        simd.run(Fill {
            generator: self,
            recipe: Words,
            out: words,
        });
    }

    /// Goes on as if `n` words had been drawn.
    ///
    /// Far jumps take a fraction of a millisecond, whatever their distance.
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
        let here = n.min(u64::from(self.state.left - 1));
        self.advance(here as u32);
        n -= here;
        if n == 0 {
            return;
        }
        // Of the words up to here, the last block's are left.
        let blocks = n.div_ceil(N as u64);
        let last = n - (blocks - 1) * N as u64;
        if n >= Passing::with(simd).worth_a_jump {
            let generator = &mut *self;
            run(simd, Jump { generator, blocks });
        } else {
            let words = blocks * N as u64;
            let generator = &mut *self;
            run(simd, Pass { generator, words });
        }
        self.state.left = N as u32 + 1 - last as u32;
        self.state.next = last as u32;
    }

    /// Passes `count` words of the block, which must be there.
    pub(super) fn advance(&mut self, count: u32) {
        self.state.left -= count;
        self.state.next += count;
    }

    /// Makes the next block. libtorch does so when a word of it is asked for, not before.
    pub(super) fn regenerate(&mut self) {
        let x = &mut self.state.words;
        for i in 0..N {
            x[i] = twist(x[i], x[(i + 1) % N], x[(i + M) % N]);
        }
        // One more than the words there are: drawing the first brings it to 624.
        self.state.left = N as u32 + 1;
        self.state.next = 0;
    }
}

/// With or without SIMD.
fn run<K: Kernel>(simd: Option<Simd>, kernel: K) -> K::Output {
    match simd {
        Some(simd) => simd.run(kernel),
        None => Portable::<8>.run(kernel),
    }
}

/// The word that takes the place of `this`, whose neighbour is `next`; `far` is [`M`] ahead.
pub(crate) fn twist(this: u32, next: u32, far: u32) -> u32 {
    let mixed = (this & 0x8000_0000) | (next & 0x7fff_ffff);
    far ^ (mixed >> 1) ^ if next & 1 == 0 { 0 } else { MATRIX }
}

/// What is drawn, from a word of the block.
pub(crate) fn temper(mut word: u32) -> u32 {
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c_5680;
    word ^= (word << 15) & 0xefc6_0000;
    word ^ (word >> 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available() -> impl Iterator<Item = Backend> {
        Backend::ALL.into_iter().filter(|b| b.is_available())
    }

    #[test]
    fn the_standard_word_is_drawn() {
        // ISO C++ [rand.predef]: the 10000th draw of std::mt19937 (seed 5489) is 4123659995.
        let mut generator = Mt19937::new(5489);
        generator.skip(9999);
        assert_eq!(generator.next_u32(), 4_123_659_995);
    }

    #[test]
    fn the_place_is_that_of_libtorch() {
        let place = |generator: &Mt19937| (generator.state.left, generator.state.next);
        let mut generator = Mt19937::new(0);
        assert_eq!(place(&generator), (1, 0));
        for k in 1..=N as u32 {
            generator.next_u32();
            assert_eq!(place(&generator), (N as u32 + 1 - k, k));
        }
        let full = generator.clone();
        generator.next_u32();
        assert_eq!(place(&generator), (624, 1));
        assert_ne!(generator.state.words, full.state.words);
    }

    #[test]
    fn words_and_skips_are_draws() {
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
                for backend in available() {
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

    #[test]
    fn places_that_no_draw_reaches_are_drawn_from() {
        let mut state = Mt19937::new(3).to_state();
        (state.left, state.next) = (3, 7);
        let mut generator = Mt19937::from_state(&state).unwrap();
        let drawn = [(); 3].map(|()| generator.next_u32());
        let mut block = Mt19937::new(3);
        block.regenerate();
        assert_eq!(
            drawn,
            [state.words[7], state.words[8], block.state.words[0]].map(temper)
        );
        (state.left, state.next) = (3, 623);
        assert_eq!(
            Mt19937::from_state(&state).unwrap_err(),
            StateError::Position { left: 3, next: 623 }
        );
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
            StateError::Position {
                left: i32::MAX,
                next: 0
            }
        );
    }
}
