//! The traits of rand_core.

use crate::mt19937::Mt19937;
use rand_core::{SeedableRng, TryRng};
use std::convert::Infallible;

/// Draws words as PyTorch does: `next_u64` is [`Mt19937::random64`], whose first word is the high half, and
/// `fill_bytes` stores consecutive words, little-endian. Of the last word only the bytes that are needed
/// are stored.
///
/// ```
/// use rand_core::{Rng, SeedableRng};
/// use torch_rng::Mt19937;
///
/// fn high_word(rng: &mut impl Rng) -> u64 {
///     rng.next_u64() >> 32
/// }
///
/// // C++: std::mt19937(1)
/// assert_eq!(high_word(&mut Mt19937::seed_from_u64(1)), 1791095845);
/// ```
impl TryRng for Mt19937 {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.random64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.next_u32().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A seed is the argument of `torch.manual_seed`, little-endian. Its low 32 bits determine the words.
impl SeedableRng for Mt19937 {
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Mt19937 {
        Mt19937::new(u64::from_le_bytes(seed))
    }

    /// `torch.manual_seed(seed)`, without rand_core's expansion of the seed.
    fn seed_from_u64(seed: u64) -> Mt19937 {
        Mt19937::new(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    #[test]
    fn the_first_word_of_a_u64_is_its_high_half() {
        let (mut words, mut generator) = (Mt19937::new(7), Mt19937::new(7));
        for _ in 0..700 {
            let (high, low) = (words.next_u32(), words.next_u32());
            assert_eq!(
                Rng::next_u64(&mut generator),
                u64::from(high) << 32 | u64::from(low)
            );
        }
        assert_eq!(Rng::next_u32(&mut generator), words.next_u32());
        assert_eq!(generator, words);
    }

    #[test]
    fn bytes_are_those_of_consecutive_words() {
        for len in 0..20 {
            let (mut words, mut generator) = (Mt19937::new(8), Mt19937::new(8));
            let mut bytes = vec![0; len];
            generator.fill_bytes(&mut bytes);
            let expected: Vec<u8> = (0..len.div_ceil(4))
                .flat_map(|_| words.next_u32().to_le_bytes())
                .take(len)
                .collect();
            assert_eq!(bytes, expected);
            assert_eq!(generator, words);
        }
    }

    #[test]
    fn seeds_are_those_of_manual_seed() {
        let seed = 0x1234_5678_9abc_def0;
        let expected = Mt19937::new(seed);
        assert_eq!(Mt19937::seed_from_u64(seed), expected);
        assert_eq!(Mt19937::from_seed(seed.to_le_bytes()), expected);
        assert_eq!(expected.initial_seed(), seed);
    }
}
