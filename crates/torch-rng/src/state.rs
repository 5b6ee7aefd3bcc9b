//! The state of a CPU generator as libtorch 2.13 lays it out.
//!
//! Follows `CPUGeneratorImpl::get_state` and `set_state` (`ATen/CPUGeneratorImpl.cpp`) and the
//! engine in `ATen/core/MT19937RNGEngine.h`, PyTorch 2.13.

/// The length in bytes of what `torch.get_rng_state()` returns.
pub const STATE_LEN: usize = 5056;

/// The words of one block of MT19937.
const N: usize = 624;

// Offsets of the fields in the blob. All numbers are little-endian.
const SEED: usize = 0;
const LEFT: usize = 8;
const SEEDED: usize = 12;
const NEXT: usize = 16;
const WORDS: usize = 24;
const NORMAL_F64: usize = 5024;
const NORMAL_F64_VALID: usize = 5040;
const NORMAL_F32: usize = 5048;
const NORMAL_F32_VALID: usize = 5052;

/// A CPU generator's state: an MT19937 block, the place in it, and the normals kept for later.
///
/// Reading draws nothing and never fails on bytes that libtorch itself produced; bytes that would
/// make libtorch read outside its block are refused.
///
/// ```
/// use torch_rng::{STATE_LEN, State, StateError};
///
/// let refused = State::from_bytes(&[0; 16]);
/// assert_eq!(refused.unwrap_err(), StateError::Length(16));
///
/// let unseeded = State::from_bytes(&[0; STATE_LEN]);
/// assert_eq!(unseeded.unwrap_err(), StateError::Unseeded(0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The seed that started the stream, all 64 bits of it. Only the low 32 bits set the words.
    pub initial_seed: u64,
    /// Draws until the block is regenerated, counting the one that regenerates it: 1 to 624.
    pub left: u32,
    /// Index of the next word in the block: 0 to 624.
    pub next: u32,
    /// The block.
    pub words: [u32; N],
    /// The second of a pair of normals drawn one at a time, kept for the next such draw.
    pub next_double_normal: Option<f64>,
    /// The same for single precision. libtorch 2.13 keeps the field and does not draw from it.
    pub next_float_normal: Option<f32>,
}

/// Why bytes are not the state of a CPU generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The blob has another length.
    #[error("{0} bytes, a state has {STATE_LEN}")]
    Length(usize),
    /// The `seeded` field is not 1.
    #[error("the field `seeded` is {0}, a usable state has 1")]
    Unseeded(i32),
    /// `left` and `next` do not describe a place in a block.
    #[error(
        "left = {left} and next = {next} is no place in a block of 624 words \
         (left is 1 to 624, next at most 624, their sum at most 625)"
    )]
    Position {
        /// The field `left`.
        left: i32,
        /// The field `next`.
        next: u64,
    },
    /// A flag that is neither 0 nor 1.
    #[error("the flag at byte {offset} is {value}, it can only be 0 or 1")]
    Flag {
        /// Where the flag is.
        offset: usize,
        /// What it holds.
        value: i32,
    },
}

impl State {
    /// Reads a blob of [`STATE_LEN`] bytes.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the length is wrong, the state is unseeded, the place is none, or a flag
    /// is not a flag. libtorch accepts places with `left + next < 625`, which no generator
    /// reaches by drawing, and so does this; a larger sum would let libtorch read past its block.
    pub fn from_bytes(bytes: &[u8]) -> Result<State, StateError> {
        let bytes: &[u8; STATE_LEN] = bytes
            .try_into()
            .map_err(|_| StateError::Length(bytes.len()))?;
        let seeded = i32::from_le_bytes(array(bytes, SEEDED));
        if seeded != 1 {
            return Err(StateError::Unseeded(seeded));
        }
        let left = i32::from_le_bytes(array(bytes, LEFT));
        let next = u64::from_le_bytes(array(bytes, NEXT));
        let (left, next) = place(left, next)?;
        let double_valid = flag(
            NORMAL_F64_VALID,
            i32::from_le_bytes(array(bytes, NORMAL_F64_VALID)),
        )?;
        let float_valid = flag(NORMAL_F32_VALID, i32::from(bytes[NORMAL_F32_VALID]))?;
        let mut words = [0; N];
        for (word, chunk) in words.iter_mut().zip(bytes[WORDS..].chunks_exact(8)) {
            // 64-bit slots for 32-bit words; libtorch ignores the high halves.
            *word = u32::from_le_bytes(array(chunk, 0));
        }
        Ok(State {
            initial_seed: u64::from_le_bytes(array(bytes, SEED)),
            left,
            next,
            words,
            next_double_normal: double_valid.then(|| f64::from_le_bytes(array(bytes, NORMAL_F64))),
            next_float_normal: float_valid.then(|| f32::from_le_bytes(array(bytes, NORMAL_F32))),
        })
    }

    /// Whether `left` and `next` are a place in a block.
    pub(crate) fn check_position(&self) -> Result<(), StateError> {
        // No `left` beyond an i32 is a place.
        let left = i32::try_from(self.left).unwrap_or(i32::MAX);
        place(left, u64::from(self.next)).map(drop)
    }

    /// Writes the blob that libtorch reads; fields that hold nothing are zero.
    ///
    /// ```
    /// # use torch_rng::State;
    /// let state = State {
    ///     initial_seed: 1,
    ///     left: 1,
    ///     next: 0,
    ///     words: [7; 624],
    ///     next_double_normal: Some(0.5),
    ///     next_float_normal: None,
    /// };
    /// assert_eq!(State::from_bytes(&state.to_bytes()), Ok(state));
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; STATE_LEN];
        let mut put = |offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        put(SEED, &self.initial_seed.to_le_bytes());
        put(LEFT, &self.left.to_le_bytes());
        put(SEEDED, &1i32.to_le_bytes());
        put(NEXT, &u64::from(self.next).to_le_bytes());
        for (i, word) in self.words.iter().enumerate() {
            put(WORDS + 8 * i, &u64::from(*word).to_le_bytes());
        }
        if let Some(value) = self.next_double_normal {
            put(NORMAL_F64, &value.to_le_bytes());
            put(NORMAL_F64_VALID, &1i32.to_le_bytes());
        }
        if let Some(value) = self.next_float_normal {
            put(NORMAL_F32, &value.to_le_bytes());
            put(NORMAL_F32_VALID, &[1]);
        }
        bytes
    }
}

/// The `L` bytes from `offset`. Every caller's offset is a constant inside its slice.
fn array<const L: usize>(bytes: &[u8], offset: usize) -> [u8; L] {
    let mut out = [0; L];
    out.copy_from_slice(&bytes[offset..offset + L]);
    out
}

fn place(left: i32, next: u64) -> Result<(u32, u32), StateError> {
    match (u32::try_from(left), u32::try_from(next)) {
        (Ok(l @ 1..=624), Ok(n @ 0..=624)) if l + n <= 625 => Ok((l, n)),
        _ => Err(StateError::Position { left, next }),
    }
}

fn flag(offset: usize, value: i32) -> Result<bool, StateError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StateError::Flag { offset, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn valid() -> State {
        State {
            initial_seed: u64::MAX,
            left: 600,
            next: 25,
            words: std::array::from_fn(|i| i as u32 ^ 0xdead_beef),
            next_double_normal: None,
            next_float_normal: None,
        }
    }

    fn with(offset: usize, field: &[u8]) -> Result<State, StateError> {
        let mut bytes = valid().to_bytes();
        bytes[offset..offset + field.len()].copy_from_slice(field);
        State::from_bytes(&bytes)
    }

    #[test]
    fn round_trip_keeps_every_field() {
        for (double, float) in [(None, None), (Some(-0.0), None), (Some(1.5), Some(-2.5))] {
            let state = State {
                next_double_normal: double,
                next_float_normal: float,
                ..valid()
            };
            assert_eq!(State::from_bytes(&state.to_bytes()), Ok(state));
        }
    }

    #[test]
    fn places_outside_a_block_are_refused() {
        for (left, next) in [
            (0, 0),
            (-1, 0),
            (625, 0),
            (1, 625),
            (2, 624),
            (624, 2),
            (1, 1 << 32),
        ] {
            let mut bytes = valid().to_bytes();
            bytes[LEFT..LEFT + 4].copy_from_slice(&i32::to_le_bytes(left));
            bytes[NEXT..NEXT + 8].copy_from_slice(&u64::to_le_bytes(next));
            assert_eq!(
                State::from_bytes(&bytes),
                Err(StateError::Position { left, next }),
            );
        }
        // Not reachable by drawing, and harmless.
        assert!(with(LEFT, &1i32.to_le_bytes()).is_ok());
    }

    #[test]
    fn other_damage_is_refused() {
        assert_eq!(State::from_bytes(&[]), Err(StateError::Length(0)));
        assert_eq!(
            State::from_bytes(&[0; STATE_LEN + 1]),
            Err(StateError::Length(STATE_LEN + 1)),
        );
        assert_eq!(with(SEEDED, &[2]), Err(StateError::Unseeded(2)));
        for offset in [NORMAL_F64_VALID, NORMAL_F32_VALID] {
            assert_eq!(
                with(offset, &[2]),
                Err(StateError::Flag { offset, value: 2 })
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            mut bytes in prop::collection::vec(any::<u8>(), STATE_LEN),
            left in 0i32..700,
            next in 0u64..700,
        ) {
            bytes[LEFT..LEFT + 4].copy_from_slice(&left.to_le_bytes());
            bytes[SEEDED..SEEDED + 4].copy_from_slice(&1i32.to_le_bytes());
            bytes[NEXT..NEXT + 8].copy_from_slice(&next.to_le_bytes());
            if let Ok(state) = State::from_bytes(&bytes) {
                prop_assert!(state.left + state.next <= 625);
            }
        }
    }
}
