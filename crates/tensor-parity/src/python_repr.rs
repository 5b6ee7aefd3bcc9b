//! Formats numbers as Python does.

use std::fmt::LowerExp;
use std::str::FromStr;

/// Formats a number as `repr(float)`: with the fewest digits that parse to the same number of the
/// type, and with an exponent below 1e-4 and from 1e16 on. If two such texts are equally close,
/// Python chooses the one with an even last digit.
pub fn float(value: impl Copy + LowerExp + Into<f64> + FromStr + PartialEq) -> String {
    let number: f64 = value.into();
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let shortest = format!("{value:e}");
    // Formatting to a fixed number of digits rounds ties to even; the shortest text does not.
    let precision = digits(&shortest)
        .0
        .bytes()
        .filter(u8::is_ascii_digit)
        .count()
        - 1;
    let even = format!("{value:.precision$e}");
    let round_trips = even.parse().is_ok_and(|read| value == read);
    let (digits, exponent) = digits(if round_trips { &even } else { &shortest });
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    positional(digits, exponent)
}

/// Splits `-1.25e-3`, the form that Rust writes every finite float in, into `-1.25` and -3.
fn digits(scientific: &str) -> (&str, i32) {
    match scientific.split_once('e') {
        Some((digits, exponent)) => (digits, exponent.parse().unwrap_or(0)),
        None => (scientific, 0),
    }
}

/// Formats `-1.25` and -3 as `-0.00125`.
fn positional(digits: &str, exponent: i32) -> String {
    let (sign, magnitude) = match digits.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", digits),
    };
    let bare = magnitude.replace('.', "");
    let (whole, fraction) = match usize::try_from(exponent) {
        Ok(exponent) => {
            let padded = format!("{bare:0<width$}", width = exponent + 2);
            (
                padded[..=exponent].to_owned(),
                padded[exponent + 1..].to_owned(),
            )
        }
        Err(_) => {
            let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
            ("0".to_owned(), zeros + &bare)
        }
    };
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_are_formatted_as_by_python() {
        // python: [repr(x) for x in ...]
        let expected = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-1.25e100, "-1.25e+100"),
            (0.1 + 0.2, "0.30000000000000004"),
            (5e-324, "5e-324"),
            (2.577_827_453_613_281_2, "2.5778274536132812"),
            (0.001_301_765_441_894_531_2, "0.0013017654418945312"),
            (-123456789.0, "-123456789.0"),
            (-0.00125, "-0.00125"),
            (123.456, "123.456"),
            (1e22, "1e+22"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1234567890123456.0, "1234567890123456.0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (value, text) in expected {
            assert_eq!(float(value), text);
        }
        assert_eq!(float(0.1f32), "0.1");
        assert_eq!(float(1e-5f32), "1e-05");
    }
}
