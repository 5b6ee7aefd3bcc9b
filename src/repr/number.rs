//! Python's `format(x, ".4f")` and `format(x, ".4e")` for a double.

/// The most digits after the point that Rust's formatter takes, in either style: it counts one more
/// than these in a `u16`, and panics where that overflows.
pub(super) const MAX_PRECISION: usize = u16::MAX as usize - 1;

/// Writes `value` as Python's `format(value, f".{precision}f")` does.
///
/// Rust, like C, rounds the exact decimal expansion half to even.
pub(super) fn push_fixed(out: &mut String, value: f64, precision: usize) {
    match non_finite(value) {
        Some(word) => out.push_str(word),
        None => out.push_str(&format!("{value:.precision$}")),
    }
}

/// Writes `value` as Python's `format(value, f".{precision}e")` does: an exponent with a sign and
/// at least two digits.
pub(super) fn push_scientific(out: &mut String, value: f64, precision: usize) {
    if let Some(word) = non_finite(value) {
        out.push_str(word);
        return;
    }
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    out.push_str(mantissa);
    out.push('e');
    out.push(sign);
    if digits.len() < 2 {
        out.push('0');
    }
    out.push_str(digits);
}

/// Python's word for a value that is not finite; a NaN shows no sign.
fn non_finite(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("nan")
    } else if value == f64::INFINITY {
        Some("inf")
    } else if value == f64::NEG_INFINITY {
        Some("-inf")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(value: f64, precision: usize) -> String {
        let mut out = String::new();
        push_fixed(&mut out, value, precision);
        out
    }

    fn scientific(value: f64, precision: usize) -> String {
        let mut out = String::new();
        push_scientific(&mut out, value, precision);
        out
    }

    // Every expected text here is what CPython 3.11 prints for format(value, ".<precision>f").
    #[test]
    fn ties_go_to_even_as_in_python() {
        for (value, precision, expected) in [
            (0.5, 0, "0"),
            (1.5, 0, "2"),
            (2.5, 0, "2"),
            (-0.5, 0, "-0"),
            (0.25, 1, "0.2"),
            (0.75, 1, "0.8"),
            (0.03125, 4, "0.0312"),
            (0.09375, 4, "0.0938"),
            (0.00005, 4, "0.0001"),
            (-0.0, 4, "-0.0000"),
            (1e23, 0, "99999999999999991611392"),
        ] {
            assert_eq!(fixed(value, precision), expected, "{value:e} .{precision}f");
        }
    }

    #[test]
    fn exponents_have_a_sign_and_two_digits() {
        for (value, precision, expected) in [
            (0.0, 4, "0.0000e+00"),
            (-0.0, 4, "-0.0000e+00"),
            (1.0, 0, "1e+00"),
            (12345.0, 4, "1.2345e+04"),
            (2.5, 0, "2e+00"),
            (9.99995, 4, "1.0000e+01"),
            (9.999949, 4, "9.9999e+00"),
            (1e-5, 4, "1.0000e-05"),
            (5e-324, 4, "4.9407e-324"),
            (f64::MAX, 4, "1.7977e+308"),
        ] {
            assert_eq!(
                scientific(value, precision),
                expected,
                "{value:e} .{precision}e"
            );
        }
    }

    #[test]
    fn words_for_what_is_not_finite() {
        for print in [fixed, scientific] {
            assert_eq!(print(f64::NAN, 4), "nan");
            assert_eq!(print(-f64::NAN, 4), "nan");
            assert_eq!(print(f64::INFINITY, 4), "inf");
            assert_eq!(print(f64::NEG_INFINITY, 4), "-inf");
        }
    }

    #[test]
    fn the_greatest_precision_is_taken() {
        assert_eq!(fixed(1.5, MAX_PRECISION).len(), MAX_PRECISION + 2);
        assert_eq!(scientific(1.5, MAX_PRECISION).len(), MAX_PRECISION + 6);
    }
}
