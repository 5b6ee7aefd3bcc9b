//! The seeds that PyTorch takes.

use std::fmt;
use std::str::FromStr;

/// A seed as `torch.manual_seed` takes it: an integer from -2^63 to 2^64 - 1.
///
/// A negative seed is the same as its two's complement: -1 is 2^64 - 1, which is what `initial_seed`
/// then returns. Functions that take a seed accept every integer of 32 or 64 bits (a literal beyond 32 bits
/// needs a suffix, such as `_u64`), and a string can be parsed. Follows `THPGenerator_manualSeed` (`torch/csrc/Generator.cpp`), PyTorch 2.13.
///
/// ```
/// use torch_rng::{Mt19937, Seed};
///
/// assert_eq!(Seed::from(-1).value(), u64::MAX);
/// assert_eq!("-1".parse(), Ok(Seed::from(u64::MAX)));
/// assert_eq!(Mt19937::new(-1), Mt19937::new(u64::MAX));
/// assert!("18446744073709551616".parse::<Seed>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seed(u64);

impl Seed {
    /// The 64 bits of the seed, as `initial_seed` returns them.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl From<i32> for Seed {
    fn from(seed: i32) -> Seed {
        Seed::from(i64::from(seed))
    }
}

impl From<i64> for Seed {
    fn from(seed: i64) -> Seed {
        Seed(seed as u64)
    }
}

impl From<u32> for Seed {
    fn from(seed: u32) -> Seed {
        Seed(seed.into())
    }
}

impl From<u64> for Seed {
    fn from(seed: u64) -> Seed {
        Seed(seed)
    }
}

/// The text is not a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a seed is -2^63 to 2^64 - 1")]
#[non_exhaustive]
pub struct SeedError;

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Seed, SeedError> {
        let unsigned = text.parse::<u64>().map(Seed::from);
        let signed = || text.parse::<i64>().map(Seed::from);
        unsigned.or_else(|_| signed()).map_err(|_| SeedError)
    }
}

/// The [value](Seed::value).
impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_those_that_python_takes() {
        // python: torch.manual_seed(seed).initial_seed(), which raises for the last two
        for (text, value) in [
            ("0", Some(0)),
            ("-9223372036854775808", Some(9_223_372_036_854_775_808)),
            ("-1", Some(18_446_744_073_709_551_615)),
            ("18446744073709551615", Some(18_446_744_073_709_551_615)),
            ("9223372036854775808", Some(9_223_372_036_854_775_808)),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(text.parse().ok().map(Seed::value), value, "{text}");
        }
        assert_eq!(Seed::from(-1i32), Seed::from(-1i64));
        assert_eq!(Seed::from(u32::MAX).value(), 4_294_967_295);
    }
}
