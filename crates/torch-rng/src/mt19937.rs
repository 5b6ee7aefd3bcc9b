//! MT19937 with libtorch's state, one word at a time.
//!
//! Follows `mt19937_engine` (`ATen/core/MT19937RNGEngine.h`) and `CPUGeneratorImpl`
//! (`ATen/CPUGeneratorImpl.cpp`), PyTorch 2.13.

use crate::seed::Seed;
use crate::state::{State, StateError};

/// The words of a block.
pub(crate) const N: usize = 624;
/// The distance to the other word that a new word is computed from.
pub(crate) const M: usize = 397;
/// Added where the recurrence shifts out a one.
pub(crate) const MATRIX: u32 = 0x9908_b0df;
/// The bit of a word that is mixed with the low bits of the next one.
pub(crate) const HIGHEST: u32 = 0x8000_0000;

/// PyTorch's CPU generator: MT19937 with libtorch's cached normals.
///
/// Draws the words that a `torch.Generator` with the same state draws and ends in the same state.
///
/// The memory layout is that of [`State`], whose position is known to be valid.
///
/// ```
/// use torch_rng::Mt19937;
///
/// // C++: std::mt19937(1)
/// let mut generator = Mt19937::new(1);
/// assert_eq!([(); 3].map(|()| generator.next_u32()), [1791095845, 4282876139, 3093770124]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[repr(transparent)]
pub struct Mt19937 {
    /// Always a valid position.
    pub(crate) state: State,
}

impl Mt19937 {
    /// The generator after `torch.manual_seed(seed)`. The words depend only on the low 32 bits.
    pub fn new(seed: impl Into<Seed>) -> Mt19937 {
        let seed = seed.into().value();
        let mut words = [0_u32; N];
        words[0] = seed as u32;
        for i in 1..N {
            words[i] = seed_step(words[i - 1]).wrapping_add(i as u32);
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

    /// A generator with this state.
    ///
    /// # Errors
    ///
    /// [`StateError::Position`] if `left` and `next` are not a position in a block.
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

    /// The seed, all 64 bits of it.
    pub fn initial_seed(&self) -> u64 {
        self.state.initial_seed
    }

    /// The cached second value of a pair of normals, which the next serial draw returns.
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

    /// Skips `count` words of the block, which must have them.
    pub(crate) fn advance(&mut self, count: u32) {
        self.state.left -= count;
        self.state.next += count;
    }

    /// Generates the next block. libtorch does so when the first word of it is drawn, not before.
    pub(crate) fn regenerate(&mut self) {
        let x = &mut self.state.words;
        for i in 0..N {
            x[i] = twist(x[i], x[(i + 1) % N], x[(i + M) % N]);
        }
        // One more than the number of words: drawing the first one makes it 624.
        self.state.left = N as u32 + 1;
        self.state.next = 0;
    }
}

/// The word of a seeded block after `word`, less its position.
#[inline(always)]
pub(crate) fn seed_step(word: u32) -> u32 {
    (word ^ (word >> 30)).wrapping_mul(1_812_433_253)
}

/// The word before a step: the inverse of [`seed_step`].
pub(crate) fn seed_step_back(word: u32) -> u32 {
    // The inverse of 1812433253 modulo 2^32.
    let product = word.wrapping_mul(2_520_285_293);
    product ^ (product >> 30)
}

/// The highest bit of a word and the low bits of the next one.
#[inline(always)]
pub(crate) fn mix(this: u32, next: u32) -> u32 {
    (this & HIGHEST) | (next & !HIGHEST)
}

/// The word that replaces `this`: `next` is its successor and `far` the word [`M`] later.
pub(crate) fn twist(this: u32, next: u32, far: u32) -> u32 {
    let mixed = mix(this, next);
    far ^ (mixed >> 1) ^ if next & 1 == 0 { 0 } else { MATRIX }
}

/// What `twist` [mixed](mix). `sum` is the word that it
/// made, plus the far one.
#[inline(always)]
pub(crate) fn unmix(sum: u32) -> u32 {
    let lowest = sum >> 31;
    (sum ^ (lowest * MATRIX)) << 1 | lowest
}

/// Tempers a raw word of a block, which gives the word that is drawn.
pub(crate) fn temper(mut word: u32) -> u32 {
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c_5680;
    word ^= (word << 15) & 0xefc6_0000;
    word ^ (word >> 18)
}

/// The raw word that [`temper`] makes this word of.
pub(crate) fn untemper(mut word: u32) -> u32 {
    word ^= word >> 18;
    word ^= (word << 15) & 0xefc6_0000;
    let mut low = word;
    for _ in 0..4 {
        low = word ^ ((low << 7) & 0x9d2c_5680);
    }
    low ^ (low >> 11) ^ (low >> 22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_10000th_word_is_that_of_the_cpp_standard() {
        // ISO C++ [rand.predef]: the 10000th draw of std::mt19937 (seed 5489) is 4123659995.
        let mut generator = Mt19937::new(5489);
        for _ in 0..9999 {
            generator.next_u32();
        }
        assert_eq!(generator.next_u32(), 4_123_659_995);
    }

    #[test]
    fn the_position_is_libtorchs() {
        let position = |generator: &Mt19937| (generator.state.left, generator.state.next);
        let mut generator = Mt19937::new(0);
        assert_eq!(position(&generator), (1, 0));
        for k in 1..=N as u32 {
            generator.next_u32();
            assert_eq!(position(&generator), (N as u32 + 1 - k, k));
        }
        let full = generator.clone();
        generator.next_u32();
        assert_eq!(position(&generator), (624, 1));
        assert_ne!(generator.state.words, full.state.words);
    }

    #[test]
    fn positions_that_no_draw_reaches_are_valid() {
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
}
