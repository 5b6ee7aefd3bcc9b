//! The hash of a tensor's bytes.
//!
//! Up to 8192 bytes, the first 16 bytes of the SHA-256 of the length (8 bytes, little endian) and the bytes. Above, each row of 8192
//! bytes is first replaced by two sums modulo 2^64 of its words times odd keys, so that Python computes it with torch at the speed
//! of memory. The second sums are of the string with 4 zeros before it: a change of the upper half of a word, whose highest bits
//! a product loses, is a change of a lower half there.

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};
use std::fmt;

const ROW: usize = 8192;
const WORDS: usize = ROW / 8;

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
    /// Hashes bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> ValueHash {
        ValueHash::with_row_sums(bytes, |rows, keys| {
            let starts = (4..rows.len()).step_by(ROW);
            let both = |start| {
                [
                    sum(&rows[start..][..ROW], &keys[0]),
                    sum(&rows[start - 4..][..ROW], &keys[1]),
                ]
            };
            starts.map(both).collect()
        })
    }

    /// As [`ValueHash::of`], where the caller computes what takes the time. It gets 4 bytes and rows of 8192 bytes, and gives two sums
    /// modulo 2^64 for each row: of its 1024 words (little endian, not aligned) times the first keys, and of the 1024 words that
    /// begin 4 bytes before it times the second keys.
    ///
    /// ```
    /// use op_trace::ValueHash;
    ///
    /// let bytes = vec![7; 40_000];
    /// let sum = |row: &[u8], keys: &[u64; 1024]| {
    ///     let words = row.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    ///     let products = words.zip(keys).map(|(word, key)| word.wrapping_mul(*key));
    ///     products.fold(0, u64::wrapping_add)
    /// };
    /// let hash = ValueHash::with_row_sums(&bytes, |rows, keys| {
    ///     let firsts = rows[4..].chunks(8192).map(|row| sum(row, &keys[0]));
    ///     let seconds = rows.chunks_exact(8192).map(|row| sum(row, &keys[1]));
    ///     firsts.zip(seconds).map(|(first, second)| [first, second]).collect()
    /// });
    /// assert_eq!(hash, ValueHash::of(&bytes));
    /// ```
    #[must_use]
    pub fn with_row_sums(
        bytes: &[u8],
        row_sums: impl FnOnce(&[u8], &[[u64; WORDS]; 2]) -> Vec<[u64; 2]>,
    ) -> ValueHash {
        let mut sha = Sha256::new();
        sha.update((bytes.len() as u64).to_le_bytes());
        if bytes.len() <= ROW {
            sha.update(bytes);
        } else {
            let rows = bytes.len() / ROW * ROW;
            let mut start = vec![0; 4];
            start.extend_from_slice(&bytes[..ROW - 4]);
            let mut sums = vec![[sum(&bytes[..ROW], &KEYS[0]), sum(&start, &KEYS[1])]];
            sums.extend(row_sums(&bytes[ROW - 4..rows], &KEYS));
            for (index, keys) in KEYS.iter().enumerate() {
                let mut text: Vec<u8> = sums
                    .iter()
                    .flat_map(|both| both[index].to_le_bytes())
                    .collect();
                let rest = bytes[rows - 4 * index..].chunks(ROW);
                text.extend(rest.flat_map(|row| sum(row, keys).to_le_bytes()));
                sha.update(text);
            }
        }
        let digest = sha.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        ValueHash(u128::from_be_bytes(half))
    }
}

/// The sum of the words of a row times the keys. Missing bytes are zeros.
fn sum(row: &[u8], keys: &[u64; WORDS]) -> u64 {
    let (words, rest) = row.as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut sum = 0_u64;
    for (word, key) in words.iter().chain([&last]).zip(keys) {
        sum = sum.wrapping_add(u64::from_le_bytes(*word).wrapping_mul(*key));
    }
    sum
}

static KEYS: [[u64; WORDS]; 2] = [keys(1), keys(2)];

/// Odd numbers from SplitMix64.
const fn keys(seed: u64) -> [u64; WORDS] {
    let mut keys = [0; WORDS];
    let (mut state, mut index) = (seed, 0);
    while index < WORDS {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        keys[index] = (z ^ (z >> 31)) | 1;
        index += 1;
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
            (8193, "ca6b3da6de53ddd85c6d2d5d57c0b4da"),
            (20000, "49299bc1202992feb3d1d7f2542ea318"),
            (16380, "48b7b4788256be36ea37f8035caf8ea8"),
            (600000, "4da6eb751a5dca3c6781cb21b86fdf63"),
        ] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            assert_eq!(ValueHash::of(&bytes).to_string(), expected, "{size}");
        }
    }
}
