//! Bits of words of a stream, as far as they are known.

/// What is known of a word of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownBits {
    /// The position of the word, from any position on.
    pub word: u64,
    /// The bits that are known, as ones.
    pub mask: u32,
    /// Their values. Bits that are not known are ignored.
    pub bits: u32,
}
