//! Width and style of the printed elements of one tensor: `_Formatter` of `torch/_tensor_str.py`,
//! PyTorch 2.13.

use super::number::{push_fixed, push_scientific};
use super::options::PrintOptions;
use super::values::Values;

/// The style in which the numbers of one tensor are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// All finite values are whole: `3.`
    Whole,
    /// `3.1416`
    Fixed,
    /// `3.1416e+00`
    Scientific,
}

/// The floating-point type in which PyTorch weighs the largest against the smallest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighing {
    /// `f64`: on every device but one.
    Double,
    /// `f32`: on MPS, which has no doubles.
    Single,
}

/// Style and width for the floating-point numbers of one tensor.
#[derive(Debug)]
pub(super) struct FloatFormatter {
    style: Style,
    width: usize,
    precision: usize,
}

impl FloatFormatter {
    fn new(values: &[f64], options: &PrintOptions, weighing: Weighing, counts_nan: bool) -> Self {
        let mut formatter = FloatFormatter {
            style: Style::Whole,
            width: 1,
            precision: options.precision,
        };
        // Zeros and what is not finite decide nothing and may be wider than the width.
        let counted = || {
            values.iter().copied().filter(|value| {
                (value.is_finite() && *value != 0.0) || (counts_nan && value.is_nan())
            })
        };
        let (mut min, mut max) = (f64::INFINITY, 0.0_f64);
        let mut whole = true;
        for value in counted() {
            // NaN, if it is counted, is the minimum and the maximum.
            (min, max) = match value.is_nan() || min.is_nan() {
                true => (f64::NAN, f64::NAN),
                false => (min.min(value.abs()), max.max(value.abs())),
            };
            whole = whole && value == value.ceil();
        }
        if max == 0.0 {
            return formatter;
        }
        formatter.style = if options
            .sci_mode
            .unwrap_or_else(|| wants_scientific(min, max, weighing))
        {
            Style::Scientific
        } else if whole {
            Style::Whole
        } else {
            Style::Fixed
        };
        // Reserve one column more for the point that follows a whole number.
        let point = usize::from(formatter.style == Style::Whole);
        let mut text = String::new();
        for value in counted() {
            text.clear();
            formatter.push_number(&mut text, value);
            formatter.width = formatter.width.max(text.len() + point);
        }
        formatter
    }

    fn push_number(&self, out: &mut String, value: f64) {
        match self.style {
            Style::Whole => push_fixed(out, value, 0),
            Style::Fixed => push_fixed(out, value, self.precision),
            Style::Scientific => push_scientific(out, value, self.precision),
        }
    }

    fn text(&self, value: f64) -> String {
        let mut text = String::new();
        self.push_number(&mut text, value);
        if self.style == Style::Whole && value.is_finite() {
            text.push('.');
        }
        text
    }
}

/// Whether magnitudes from `min` to `max` are printed with exponents.
fn wants_scientific(min: f64, max: f64, weighing: Weighing) -> bool {
    match weighing {
        Weighing::Double => max / min > 1000.0 || max > 1.0e8 || min < 1.0e-4,
        Weighing::Single => {
            let (min, max) = (min as f32, max as f32);
            max / min > 1000.0 || max > 1.0e8 || min < 1.0e-4
        }
    }
}

/// The printed elements of one tensor, each padded to the width they share.
#[derive(Debug)]
pub(super) enum Cells {
    /// Text that needs no style: integers and booleans, and their width.
    Words { words: Vec<String>, width: usize },
    /// Floating-point numbers.
    Real {
        values: Vec<f64>,
        formatter: FloatFormatter,
    },
    /// Complex numbers, whose parts have a style each.
    Complex {
        real: Vec<f64>,
        imag: Vec<f64>,
        formatters: (FloatFormatter, FloatFormatter),
    },
}

impl Cells {
    pub(super) fn new(values: Values, options: &PrintOptions, weighing: Weighing) -> Self {
        let formatter = |values: &[f64]| FloatFormatter::new(values, options, weighing, false);
        match values {
            Values::Bool(values) => Cells::words(values.iter().map(|&value| match value {
                0 => "False".to_owned(),
                _ => "True".to_owned(),
            })),
            Values::Signed(values) => Cells::words(values.iter().map(i64::to_string)),
            Values::Unsigned(values) => {
                Cells::words(values.iter().map(|value| value.cast_unsigned().to_string()))
            }
            Values::Real(values) => Cells::Real {
                formatter: formatter(&values),
                values,
            },
            Values::Exponent(values) => Cells::Real {
                formatter: FloatFormatter::new(&values, options, weighing, true),
                values,
            },
            Values::Complex { real, imag } => Cells::Complex {
                formatters: (formatter(&real), formatter(&imag)),
                real,
                imag,
            },
        }
    }

    fn words(words: impl Iterator<Item = String>) -> Self {
        let words: Vec<String> = words.collect();
        let width = words.iter().map(String::len).max().unwrap_or(1);
        Cells::Words { words, width }
    }

    /// The columns that PyTorch counts for one element, its comma and space included. An element
    /// may be wider: `-inf` among whole numbers, or a complex number, whose `+` is not counted.
    pub(super) fn columns(&self) -> usize {
        match self {
            Cells::Words { width, .. } => width + 2,
            Cells::Real { formatter, .. } => formatter.width + 2,
            Cells::Complex { formatters, .. } => formatters.0.width + formatters.1.width + 3,
        }
    }

    /// Writes the element at `index`; nothing if there is none.
    pub(super) fn push(&self, out: &mut String, index: usize) {
        match self {
            Cells::Words { words, width } => {
                if let Some(word) = words.get(index) {
                    push_padded(out, word, *width);
                }
            }
            Cells::Real { values, formatter } => {
                if let Some(&value) = values.get(index) {
                    push_padded(out, &formatter.text(value), formatter.width);
                }
            }
            Cells::Complex {
                real,
                imag,
                formatters,
            } => {
                if let (Some(&real), Some(&imag)) = (real.get(index), imag.get(index)) {
                    push_padded(out, &formatters.0.text(real), formatters.0.width);
                    let imag = formatters.1.text(imag);
                    if !imag.starts_with('-') {
                        out.push('+');
                    }
                    out.push_str(&imag);
                    out.push('j');
                }
            }
        }
    }
}

/// Writes `text`, padded with spaces on the left to `width`.
fn push_padded(out: &mut String, text: &str, width: usize) {
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(text.len())));
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    // f32's 1e-4 is a little less than the double: PyTorch prints it with an exponent where it
    // has doubles, and as 0.0001 on MPS.
    #[test]
    fn the_limits_are_those_of_the_weighing_type() {
        let f32_limit = f64::from(1.0e-4_f32);
        assert!(wants_scientific(f32_limit, 1.0e-3, Weighing::Double));
        assert!(!wants_scientific(f32_limit, 1.0e-3, Weighing::Single));
    }

    #[test]
    fn each_limit_is_exclusive() {
        for weighing in [Weighing::Double, Weighing::Single] {
            assert!(!wants_scientific(1.0, 1000.0, weighing));
            assert!(wants_scientific(1.0, 1001.0, weighing));
            assert!(!wants_scientific(1.0e8, 1.0e8, weighing));
            assert!(wants_scientific(1.0e8, 1.0e8 + 8.0, weighing));
            assert!(!wants_scientific(1.0e-4, 1.0e-4, weighing));
            assert!(wants_scientific(0.99e-4, 1.0e-4, weighing));
        }
    }
}
