//! The state of a CPU generator as libtorch 2.13 lays it out.
//!
//! Follows `CPUGeneratorImpl::get_state` and `set_state` (`ATen/CPUGeneratorImpl.cpp`) and the
//! engine in `ATen/core/MT19937RNGEngine.h`, PyTorch 2.13.

use std::fmt;

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

/// The state of a CPU generator: an MT19937 block, the position in it, and the cached normals.
///
/// [`from_bytes`](Self::from_bytes) accepts every blob that libtorch produces and rejects those that
/// would make libtorch read outside its block.
///
/// # Memory layout
///
/// The struct is also the layout that C and C++ code shares with this crate; offsets in bytes:
///
/// | offset | type | field |
/// |---|---|---|
/// | 0 | `uint32_t[624]` | `words` |
/// | 2496 | `uint64_t` | `initial_seed` |
/// | 2504 | `uint32_t` | `left` |
/// | 2508 | `uint32_t` | `next` |
/// | 2512 | `double`, `uint32_t`, 4 bytes of padding | `next_double_normal` |
/// | 2528 | `float`, `uint32_t` | `next_float_normal` |
///
/// It is 2560 bytes long and aligned to 64 bytes. Every bit pattern is a valid value;
/// [`Mt19937::from_state_mut`](crate::Mt19937::from_state_mut) checks the position and draws from the
/// state in place.
///
/// ```
/// use torch_rng::{STATE_LEN, State, StateError};
///
/// let error = State::from_bytes(&[0; 16]).unwrap_err();
/// assert_eq!(error, StateError::Length(16));
///
/// let error = State::from_bytes(&[0; STATE_LEN]).unwrap_err();
/// assert_eq!(error, StateError::Unseeded(0));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[repr(C, align(64))]
pub struct State {
    /// The block: the words before tempering.
    pub words: [u32; N],
    /// The seed, all 64 bits of it. Only the low 32 bits determine the words.
    pub initial_seed: u64,
    /// Draws until the block is regenerated, counting the one that regenerates it: 1 to 624.
    pub left: u32,
    /// Index of the next word in the block: 0 to 624.
    pub next: u32,
    /// The second of a pair of normals drawn one at a time, cached for the next such draw.
    pub next_double_normal: CachedNormal<f64>,
    /// The same for single precision. libtorch 2.13 stores the field and never draws from it.
    pub next_float_normal: CachedNormal<f32>,
}

/// An optional value with a C layout: the value, then whether there is one.
///
/// ```
/// use torch_rng::CachedNormal;
///
/// assert_eq!(CachedNormal::from(Some(0.5)).get(), Some(0.5));
/// assert_eq!(CachedNormal::<f64>::default().get(), None);
/// ```
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct CachedNormal<T> {
    /// The value; ignored unless cached.
    pub value: T,
    /// Nonzero if there is a value.
    pub is_cached: u32,
}

impl<T: Copy> CachedNormal<T> {
    /// The value, if there is one.
    pub fn get(self) -> Option<T> {
        (self.is_cached != 0).then_some(self.value)
    }
}

impl<T: Default> From<Option<T>> for CachedNormal<T> {
    fn from(value: Option<T>) -> CachedNormal<T> {
        CachedNormal {
            is_cached: u32::from(value.is_some()),
            value: value.unwrap_or_default(),
        }
    }
}

/// Compares the values that are cached.
impl<T: Copy + PartialEq> PartialEq for CachedNormal<T> {
    fn eq(&self, other: &CachedNormal<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for CachedNormal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The bytes are not a valid generator state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The length is not [`STATE_LEN`].
    #[error("a generator state is {STATE_LEN} bytes long, not {0}")]
    Length(usize),
    /// The field `seeded` is not 1.
    #[error("the field `seeded` is {0}, but must be 1")]
    Unseeded(i32),
    /// `left` and `next` do not describe a position in a block.
    #[error(
        "left = {left} and next = {next} are not a position in a block of 624 words \
         (left is 1 to 624, next at most 624, their sum at most 625)"
    )]
    Position {
        /// The field `left`.
        left: i32,
        /// The field `next`.
        next: u64,
    },
    /// A flag is neither 0 nor 1.
    #[error("the flag at byte {offset} is {value}, but must be 0 or 1")]
    Flag {
        /// The offset of the flag.
        offset: usize,
        /// Its value.
        value: i32,
    },
}

impl State {
    /// Reads a blob of [`STATE_LEN`] bytes.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the length, the seeded flag, the position or another flag is invalid.
    /// Positions with `left + next < 625`, which no generator reaches by drawing, are accepted, as
    /// libtorch accepts them; with a larger sum libtorch would read past its block.
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
        let (left, next) = position(left, next)?;
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
            next_double_normal: double_valid
                .then(|| f64::from_le_bytes(array(bytes, NORMAL_F64)))
                .into(),
            next_float_normal: float_valid
                .then(|| f32::from_le_bytes(array(bytes, NORMAL_F32)))
                .into(),
        })
    }

    /// Checks that `left` and `next` are a position in a block.
    pub(crate) fn check_position(&self) -> Result<(), StateError> {
        // A `left` beyond an i32 is not a position.
        let left = i32::try_from(self.left).unwrap_or(i32::MAX);
        position(left, u64::from(self.next)).map(drop)
    }

    /// Writes the blob that libtorch reads; unused fields are zero.
    ///
    /// ```
    /// use torch_rng::{Mt19937, State};
    ///
    /// let state = Mt19937::new(1).to_state();
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
        if let Some(value) = self.next_double_normal.get() {
            put(NORMAL_F64, &value.to_le_bytes());
            put(NORMAL_F64_VALID, &1i32.to_le_bytes());
        }
        if let Some(value) = self.next_float_normal.get() {
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

fn position(left: i32, next: u64) -> Result<(u32, u32), StateError> {
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
            next_double_normal: None.into(),
            next_float_normal: None.into(),
        }
    }

    fn with(offset: usize, field: &[u8]) -> Result<State, StateError> {
        let mut bytes = valid().to_bytes();
        bytes[offset..offset + field.len()].copy_from_slice(field);
        State::from_bytes(&bytes)
    }

    #[test]
    fn round_trip_preserves_every_field() {
        for (double, float) in [(None, None), (Some(-0.0), None), (Some(1.5), Some(-2.5))] {
            let state = State {
                next_double_normal: double.into(),
                next_float_normal: float.into(),
                ..valid()
            };
            assert_eq!(State::from_bytes(&state.to_bytes()), Ok(state));
        }
    }

    #[test]
    fn positions_outside_a_block_are_rejected() {
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
    fn invalid_fields_are_rejected() {
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

    #[test]
    fn the_layout_is_as_documented() {
        use std::mem::offset_of;
        assert_eq!((size_of::<State>(), align_of::<State>()), (2560, 64));
        let offsets = [
            offset_of!(State, words),
            offset_of!(State, initial_seed),
            offset_of!(State, left),
            offset_of!(State, next),
            offset_of!(State, next_double_normal),
            offset_of!(State, next_float_normal),
        ];
        assert_eq!(offsets, [0, 2496, 2504, 2508, 2512, 2528]);
        assert_eq!(size_of::<CachedNormal<f64>>(), 16);
        assert_eq!(offset_of!(CachedNormal<f64>, is_cached), 8);
        assert_eq!(size_of::<CachedNormal<f32>>(), 8);
        assert_eq!(offset_of!(CachedNormal<f32>, is_cached), 4);
    }

    #[test]
    fn a_nonzero_flag_means_cached() {
        for is_cached in [1, 2, u32::MAX] {
            let normal = CachedNormal {
                value: -0.0,
                is_cached,
            };
            assert_eq!(normal.get().map(f64::to_bits), Some((-0f64).to_bits()));
            assert_eq!(normal, Some(0.0).into());
        }
        let stale = CachedNormal {
            value: 7.0,
            is_cached: 0,
        };
        assert_eq!(stale, None.into());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
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
