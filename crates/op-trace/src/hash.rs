//! The hash of a tensor's bytes.
//!
//! Up to 8192 bytes, the first 16 bytes of the SHA-256 of the length (8 bytes, little endian) and the bytes. Above, each row of 8192
//! bytes, the last one filled up with zeros, is replaced by four sums modulo 2^32 of its words of 32 bits times odd keys: sum `j` is
//! that of the words that begin at byte `j`, `j + 4`, ... and lie within the row. A product loses the highest bits of a word; they are
//! lower bits of words of the other sums. A word is the sum of its signed bytes times 2^0, 2^8, 2^16 and 2^24, so that Python computes
//! all sums as one product of `int8` matrices, at the speed of memory.

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};
use std::fmt;

const ROW: usize = 8192;
const WORDS: usize = ROW / 4;
/// The highest bits of the bytes of a word. To change them and to subtract this makes the bytes signed.
const HIGHEST: u32 = 0x8080_8080;

/// The keys of the four sums, each as many as a row has words.
pub type RowKeys = [[u32; WORDS]; 4];

/// The hash of the logical bytes of a tensor: contiguous, little endian.
///
/// ```
/// use op_trace::ValueHash;
///
/// let hash = ValueHash::of(&1.5f32.to_le_bytes());
/// assert_eq!(hash.to_string().parse(), Ok(hash));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueHash(u128);

impl ValueHash {
    /// The name of the hash in a trace.
    pub const NAME: &str = "rows32-sha256-128";

    /// Hashes bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> ValueHash {
        ValueHash::with_row_sums(bytes, |rows, keys| {
            let (rows, _) = rows.as_chunks();
            rows.iter().map(|row| sums(row, keys)).collect()
        })
    }

    /// As [`ValueHash::of`], where the caller computes what takes the time. It gets rows of 8192 bytes, and gives four sums modulo 2^32
    /// for each: sum `j` of the words that begin at byte `j`, `j + 4`, ... times the keys `j`. The bytes of a word are signed,
    /// and the last key is 0 where the word would not lie within the row.
    ///
    /// ```
    /// use op_trace::ValueHash;
    ///
    /// let bytes = vec![200; 40_000];
    /// let sum = |row: &[u8], keys: &[u32]| {
    ///     let words = row.chunks_exact(4).map(|word| {
    ///         let places = word.iter().zip([0, 8, 16, 24]);
    ///         places.fold(0_u32, |sum, (byte, place)| sum.wrapping_add((*byte as i8 as u32) << place))
    ///     });
    ///     words.zip(keys).fold(0_u32, |sum, (word, key)| sum.wrapping_add(word.wrapping_mul(*key)))
    /// };
    /// let hash = ValueHash::with_row_sums(&bytes, |rows, keys| {
    ///     let rows = rows.chunks(8192);
    ///     rows.map(|row| [0, 1, 2, 3].map(|j| sum(&row[j..], &keys[j]))).collect()
    /// });
    /// assert_eq!(hash, ValueHash::of(&bytes));
    /// ```
    #[must_use]
    pub fn with_row_sums(
        bytes: &[u8],
        mut row_sums: impl FnMut(&[u8], &RowKeys) -> Vec<[u32; 4]>,
    ) -> ValueHash {
        let mut sha = Sha256::new();
        sha.update((bytes.len() as u64).to_le_bytes());
        if bytes.len() <= ROW {
            sha.update(bytes);
        } else {
            let (rows, rest) = bytes.split_at(bytes.len() / ROW * ROW);
            let mut sums = row_sums(rows, &KEYS);
            if !rest.is_empty() {
                let mut last = [0; ROW];
                last[..rest.len()].copy_from_slice(rest);
                sums.extend(row_sums(&last, &KEYS));
            }
            let text: Vec<u8> = sums
                .iter()
                .flatten()
                .flat_map(|sum| sum.to_le_bytes())
                .collect();
            sha.update(text);
        }
        let digest = sha.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        ValueHash(u128::from_be_bytes(half))
    }
}

/// The sums of the words of a row times the keys.
fn sums(row: &[u8; ROW], keys: &RowKeys) -> [u32; 4] {
    [0, 1, 2, 3].map(|start| {
        let (words, _) = row[start..].as_chunks();
        let mut sum = 0_u32;
        for (word, key) in words.iter().zip(&keys[start]) {
            let word = (u32::from_le_bytes(*word) ^ HIGHEST).wrapping_sub(HIGHEST);
            sum = sum.wrapping_add(word.wrapping_mul(*key));
        }
        sum
    })
}

static KEYS: RowKeys = keys();

/// Odd halves of numbers from SplitMix64, the lower one first. Of all sums but the first, the last word does not lie within the row.
const fn keys() -> RowKeys {
    let mut keys = [[0; WORDS]; 4];
    let (mut state, mut index) = (1_u64, 0);
    while index < 4 * WORDS {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        keys[index / WORDS][index % WORDS] = z as u32 | 1;
        keys[index / WORDS][index % WORDS + 1] = (z >> 32) as u32 | 1;
        index += 2;
    }
    let mut sum = 1;
    while sum < 4 {
        keys[sum][WORDS - 1] = 0;
        sum += 1;
    }
    keys
}

impl fmt::Display for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for ValueHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ValueHash, &'static str> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(hash) if digits => Ok(ValueHash(hash)),
            _ => Err("a hash has 32 hexadecimal digits"),
        }
    }
}

impl<'de> Deserialize<'de> for ValueHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ValueHash, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::ValueHash;

    /// tests/python/trace/test_recorder.py has the same.
    #[test]
    fn hashes_are_those_of_python() {
        for (size, expected) in [
            (0, "af5570f5a1810b7af78caf4bc70a660f"),
            (1, "a536aa3cede6ea3c1f3e0357c3c60e0f"),
            (8192, "9b52ac4acd902be248e8e1f30bf58b4b"),
            (8193, "e6e3168fb6b0c6a0daf7c0ebdbf3b05f"),
            (20000, "9cb42b04ee3c010fa08957f260d55998"),
            (16380, "6a1ff5f4934c36610c7b8fc0bbd21df4"),
            (600000, "92ececc9190b3d5b103622a7ec31ad0a"),
        ] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            assert_eq!(ValueHash::of(&bytes).to_string(), expected, "{size}");
        }
    }
}
