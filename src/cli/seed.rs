//! `--seed`.

/// Parses a seed as `torch.manual_seed` takes it: -2^63 to 2^64 - 1, where a negative seed and its 64 bits as an unsigned
/// number are the same seed.
pub fn parse_seed(text: &str) -> Result<i64, String> {
    let unsigned = || text.parse().map(|seed: u64| seed as i64);
    let seed = text.parse().or_else(|_| unsigned());
    seed.map_err(|_| "a seed is -2^63 to 2^64 - 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_seed;

    #[test]
    fn seeds_of_python_are_64_bits() {
        for (text, seed) in [
            ("1", 1),
            ("-1", -1),
            ("18446744073709551615", -1),
            ("9223372036854775808", i64::MIN),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_seed(text), Ok(seed));
        }
        for text in ["", "x", "18446744073709551616", "-9223372036854775809"] {
            assert!(parse_seed(text).is_err(), "{text}");
        }
    }
}
