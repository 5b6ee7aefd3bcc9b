//! Prints a comparison as JSON. Fields keep their order; numbers are exact, and numbers that JSON cannot represent are
//! strings.

use super::RenameHint;
use super::scaled_pair::ScaledPair;
use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use tch_init::parity::{
    Comparison, Criterion, Difference, Element, Extreme, Failure, NamedComparison, NotCompared,
    Presence,
};
use tch_init::tensor::{LeftOut, ScaleMatch};

#[derive(Serialize)]
struct Output<'a> {
    same: bool,
    criterion: Value,
    tensors: Vec<Tensor<'a>>,
    only_a: &'a [String],
    only_b: &'a [String],
    not_compared: Vec<Value>,
    left_out_a: Vec<Value>,
    left_out_b: Vec<Value>,
    /// The arguments of `--rename` that pair most of these.
    rename: &'a [String],
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    name_in_a: &'a str,
    same: bool,
    failure: Option<&'static str>,
    dtype_a: &'static str,
    dtype_b: &'static str,
    shape_a: &'a [usize],
    shape_b: &'a [usize],
    elements: usize,
    bits_differ: usize,
    mismatched: usize,
    max_abs: Option<Worst<'a>>,
    max_rel: Option<Worst<'a>>,
    max_ulp: Option<Worst<'a>>,
    nan_a: usize,
    nan_b: usize,
    inf_a: usize,
    inf_b: usize,
    signed_zeros: usize,
    nan_payloads: usize,
    /// The scale that makes one side the other.
    scaled: Option<Value>,
}

#[derive(Serialize)]
struct Worst<'a> {
    difference: Value,
    index: &'a [usize],
    a: Value,
    b: Value,
}

pub fn text(
    comparison: &Comparison,
    scaled: &[ScaledPair],
    hint: Option<&RenameHint>,
) -> Result<String> {
    let output = Output {
        same: comparison.is_same(),
        criterion: match comparison.criterion {
            Criterion::Bits => json!("bits"),
            Criterion::Ulp(ulps) => json!({ "ulp": ulps }),
            Criterion::Close(parameters) => {
                json!({ "rtol": parameters.rtol, "atol": parameters.atol })
            }
            other => json!(other.to_string()),
        },
        tensors: comparison
            .pairs
            .iter()
            .map(|pair| Tensor {
                scaled: scaled.iter().find(|s| s.name == pair.name).map(scale),
                ..tensor(pair)
            })
            .collect(),
        only_a: &comparison.only_actual,
        only_b: &comparison.only_expected,
        not_compared: comparison.not_compared.iter().map(not_compared).collect(),
        left_out_a: comparison.left_out.actual.iter().map(left_out).collect(),
        left_out_b: comparison.left_out.expected.iter().map(left_out).collect(),
        rename: hint.map_or(&[], |hint| &hint.expressions),
    };
    Ok(serde_json::to_string_pretty(&output)? + "\n")
}

pub fn not_compared(member: &NotCompared) -> Value {
    let side = |presence: &Presence| match presence {
        Presence::LeftOut(member) => json!(member.description()),
        Presence::Tensor => json!("a tensor"),
        _ => Value::Null,
    };
    json!({
        "name": member.name,
        "differs": member.differs(),
        "a": side(&member.sides.actual),
        "b": side(&member.sides.expected),
    })
}

pub fn left_out(member: &LeftOut) -> Value {
    json!({ "name": member.name, "what": member.description() })
}

fn scale(scaled: &ScaledPair) -> Value {
    let greatest = match scaled.matches {
        ScaleMatch::Quantized { greatest } => number(greatest),
        _ => Value::Null,
    };
    json!({
        "side": scaled.sides[0].to_lowercase(),
        "scale": scaled.scale,
        "layout": scaled.layout,
        "bit_for_bit": greatest.is_null(),
        "max_abs": greatest,
    })
}

fn tensor(pair: &NamedComparison) -> Tensor<'_> {
    let comparison = &pair.comparison;
    Tensor {
        name: &pair.name,
        name_in_a: &pair.original,
        same: comparison.is_same(),
        failure: comparison.failure.map(|failure| match failure {
            Failure::Shape => "shape",
            Failure::Dtype => "dtype",
            Failure::Promotion => "promotion",
            Failure::Tolerance => "tolerance",
            _ => "values",
        }),
        dtype_a: comparison.dtypes.actual.name(),
        dtype_b: comparison.dtypes.expected.name(),
        shape_a: &comparison.shapes.actual,
        shape_b: &comparison.shapes.expected,
        elements: comparison.elements,
        bits_differ: comparison.differing,
        mismatched: comparison.mismatched,
        max_abs: worst(&comparison.absolute, |difference| match difference {
            Difference::Integer(integer) => json!(integer),
            other => number(other.to_f64()),
        }),
        max_rel: worst(&comparison.relative, |difference| number(*difference)),
        max_ulp: worst(&comparison.ulps, |ulps| {
            ulps.map_or(json!("nan"), |ulps| json!(ulps))
        }),
        nan_a: comparison.non_finite.actual.nan,
        nan_b: comparison.non_finite.expected.nan,
        inf_a: comparison.non_finite.actual.inf,
        inf_b: comparison.non_finite.expected.inf,
        signed_zeros: comparison.signed_zeros,
        nan_payloads: comparison.nan_payloads,
        scaled: None,
    }
}

fn worst<D>(extreme: &Option<Extreme<D>>, say: impl Fn(&D) -> Value) -> Option<Worst<'_>> {
    extreme.as_ref().map(|extreme| Worst {
        difference: say(&extreme.difference),
        index: &extreme.site.index,
        a: value(&extreme.site.values.actual),
        b: value(&extreme.site.values.expected),
    })
}

/// Floats and integers as exact numbers, complex numbers as text, as PyTorch prints them.
fn value(element: &Element) -> Value {
    match (element.to_f64(), element.to_integer()) {
        (Some(float), _) => number(float),
        (None, Some(integer)) => match (i64::try_from(integer), u64::try_from(integer)) {
            (Ok(integer), _) => json!(integer),
            (_, Ok(integer)) => json!(integer),
            _ => json!(integer.to_string()),
        },
        (None, None) => json!(element.to_string()),
    }
}

fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("nan"),
        value if value.is_infinite() => json!(if value > 0.0 { "inf" } else { "-inf" }),
        value => json!(value),
    }
}
