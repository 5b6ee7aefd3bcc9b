//! The message of a tensor comparison: that of `torch.testing.assert_close`, PyTorch 2.13, with
//! ULPs added.

use super::criterion::Criterion;
use super::element::Element;
use super::tensor_comparison::{Extreme, Failure, Sides, Site, TensorComparison};
use crate::{Dtype, python_repr};
use std::fmt;

/// Formats an index as Python prints a tuple.
fn tuple(index: &[usize]) -> String {
    match index {
        [only] => format!("({only},)"),
        _ => format!("({})", list(index)),
    }
}

/// Formats a shape as PyTorch prints it.
fn size(shape: &[usize]) -> String {
    format!("torch.Size([{}])", list(shape))
}

fn list(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

impl fmt::Display for TensorComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sides { actual, expected } = self.dtypes;
        match self.failure {
            None if self.differing == 0 => return write!(f, "{} are equal.", self.subject()),
            None => {
                return write!(
                    f,
                    "{} are the same ({}), but {}",
                    self.subject(),
                    self.criterion,
                    self.in_bits()
                );
            }
            Some(Failure::Shape) => {
                return write!(
                    f,
                    "The values for attribute 'shape' do not match: {} != {}.",
                    size(&self.shapes.actual),
                    size(&self.shapes.expected)
                );
            }
            Some(Failure::Promotion) => {
                return write!(
                    f,
                    "torch.{actual} and torch.{expected} cannot be compared: PyTorch promotes them to no common dtype."
                );
            }
            Some(Failure::Dtype) => {
                write!(
                    f,
                    "The values for attribute 'dtype' do not match: torch.{actual} != torch.{expected}."
                )?;
                let Some(common) = self.compared_in else {
                    return Ok(());
                };
                write!(f, "\n\nAs torch.{common}: ")?;
                if self.mismatched == 0 {
                    return write!(f, "{} are the same.", self.subject());
                }
            }
            Some(Failure::Tolerance) => {
                let (rtol, atol) = self.tolerances.unwrap_or_default();
                write!(
                    f,
                    "Rtol={} and atol={} are not supported for bitwise comparison of low \
                     dimensional floats. Please use rtol=0.0 and atol=0.0.",
                    python_repr::float(rtol),
                    python_repr::float(atol)
                )?;
                if self.mismatched == 0 {
                    return Ok(());
                }
                f.write_str("\n\n")?;
            }
            Some(Failure::Values) => {}
        }
        self.values(f)
    }
}

impl TensorComparison {
    fn subject(&self) -> &'static str {
        if self.shapes.actual.is_empty() {
            "Scalars"
        } else {
            "Tensor-likes"
        }
    }

    /// The difference of the bits, if the criterion is met.
    fn in_bits(&self) -> String {
        let mut text = format!(
            "the bits of {} of {} elements differ",
            self.differing, self.elements
        );
        if let Some(Extreme {
            difference: Some(ulps),
            ..
        }) = self.ulps
        {
            text += &format!(", by up to {ulps} ULP");
        }
        text + "."
    }

    fn values(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scalar = self.shapes.actual.is_empty();
        let close = matches!(self.criterion, Criterion::Close(_));
        let is_float8 = close && !scalar && self.compared_in.is_some_and(Dtype::is_float8);
        let allowed = self
            .tolerances
            .filter(|(rtol, atol)| *rtol != 0.0 || *atol != 0.0);
        let verdict = match self.criterion {
            Criterion::Bits => "equal in their bits".to_owned(),
            Criterion::Ulp(n) => format!("within {n} ULP"),
            Criterion::Close(_) if is_float8 => "'equal'".to_owned(),
            Criterion::Close(_) if allowed.is_none() => "equal".to_owned(),
            Criterion::Close(_) => "close".to_owned(),
        };
        write!(f, "{} are not {verdict}!\n\n", self.subject())?;
        match &self.first_mismatch {
            Some(site) if scalar => write!(
                f,
                "Expected {} but got {}.",
                python_item(&site.values.expected),
                python_item(&site.values.actual)
            )?,
            _ => write!(
                f,
                "Mismatched elements: {} / {} ({:.1}%)",
                self.mismatched,
                self.elements,
                self.mismatched as f64 / self.elements as f64 * 100.0
            )?,
        }
        let location = |site: &Site| match scalar {
            true => String::new(),
            false => format!(" at index {}", tuple(&site.index)),
        };
        let title = |kind: &str| match scalar {
            true => format!("{}{}", kind[..1].to_uppercase(), &kind[1..]),
            false => format!("Greatest {kind}"),
        };
        let up_to = |tolerance: Option<f64>| {
            tolerance.map_or(String::new(), |tolerance| {
                format!(" (up to {} allowed)", python_repr::float(tolerance))
            })
        };
        if is_float8 {
            // assert_close reports no differences of float8.
            if let Some(site) = &self.first_mismatch {
                write!(
                    f,
                    "\nThe first mismatched element is at index {}.",
                    tuple(&site.index)
                )?;
            }
        } else {
            if let Some(extreme) = &self.absolute {
                let tolerance = up_to(allowed.map(|(_, atol)| atol));
                write!(
                    f,
                    "\n{} difference: {}{}{tolerance}",
                    title("absolute"),
                    extreme.difference,
                    location(&extreme.site)
                )?;
            }
            if let Some(extreme) = &self.relative {
                let tolerance = up_to(allowed.map(|(rtol, _)| rtol));
                write!(
                    f,
                    "\n{} difference: {}{}{tolerance}",
                    title("relative"),
                    python_repr::float(extreme.difference),
                    location(&extreme.site)
                )?;
            }
        }
        if let Some(extreme) = &self.ulps {
            let distance = match extreme.difference {
                Some(ulps) => ulps.to_string(),
                None => "only one is NaN".to_owned(),
            };
            let Sides { actual, expected } = extreme.site.values;
            let title = if scalar { "" } else { "Greatest " };
            write!(
                f,
                "\n{title}ULP distance: {distance}{}: {actual} ({}) against {expected} ({})",
                location(&extreme.site),
                actual.hex(),
                expected.hex()
            )?;
        }
        Ok(())
    }
}

/// Formats an element as `print(tensor.item())` does; Python's numbers are doubles.
fn python_item(element: &Element) -> String {
    match (element.to_f64(), element.parts()) {
        (Some(float), _) => python_repr::float(float),
        (_, Some([re, im])) => {
            let [re, im] = [re, im].map(|part| part.to_f64().unwrap_or(f64::NAN));
            // In a complex number, Python prints integral parts without a decimal point.
            let short = |x: f64| python_repr::float(x).trim_end_matches(".0").to_owned();
            if re == 0.0 && re.is_sign_positive() {
                return format!("{}j", short(im));
            }
            let sign = if im.is_sign_negative() && !im.is_nan() {
                ""
            } else {
                "+"
            };
            format!("({}{sign}{}j)", short(re), short(im))
        }
        _ => element.to_string(),
    }
}
