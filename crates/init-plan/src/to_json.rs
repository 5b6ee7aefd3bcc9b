//! Writes a plan as JSON, in its one canonical form.

use crate::operator::Argument;
use crate::plan::{InitPlan, Name};
use crate::scalar::Scalar;
use crate::step::{Op, Operand, Reduction, Rounding, Step, StreamChange};
use crate::view::View;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt::Display;

impl InitPlan {
    /// The content of the plan's file, byte for byte as `tch-init record` writes such a plan.
    ///
    /// ```
    /// # use init_plan::InitPlan;
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// let json = plan.to_json();
    /// assert!(json.contains("[\"uniform_\",0,-0.7071067811865475,0.7071067811865475],\n"));
    /// assert_eq!(InitPlan::from_json(json.as_bytes())?.to_json(), json);
    /// # Ok::<(), init_plan::PlanError>(())
    /// ```
    pub fn to_json(&self) -> String {
        let names = |parameters: bool| {
            let names = self.names.iter();
            names.filter(move |name| name.entry.is_parameter == parameters)
        };
        let is_new = |step: &Step| matches!(step.op, Op::Call(_) | Op::Stream(_));
        let version = if self.steps.iter().any(is_new) { 2 } else { 1 };
        let mut parts = vec![
            "\"format\": \"tch-init plan\"".to_owned(),
            format!("\"version\": {version}"),
            format!("\"pytorch\": {}", text(&self.pytorch)),
            format!("\"semantics\": {}", text(self.semantics.name())),
            format!("\"model\": {}", text(&self.model)),
            table("storages", self.storages.iter().map(u64::to_string)),
            table("views", self.views.iter().map(view)),
            table("steps", self.steps.iter().map(step)),
            table("parameters", names(true).map(name)),
            table("buffers", names(false).map(name)),
        ];
        if let Some(data) = &self.data {
            let (name, hash) = (text(&data.name), text(&data.sha256));
            let row = format!("\"data\": [{name},{},{hash}]", data.bytes);
            parts.insert(5, row);
        }
        format!("{{\n{}\n}}\n", parts.join(",\n"))
    }
}

fn table(key: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: Vec<String> = rows.collect();
    match rows.is_empty() {
        true => format!("\"{key}\": []"),
        false => format!("\"{key}\": [\n{}\n]", rows.join(",\n")),
    }
}

fn view(view: &View) -> String {
    let (storage, shape) = (view.storage, list(&view.shape));
    let row = format!("{storage},{},{shape}", text(view.dtype.name()));
    if !view.is_contiguous() {
        format!("[{row},{},{}]", view.offset, list(&view.stride))
    } else if view.offset > 0 {
        format!("[{row},{}]", view.offset)
    } else {
        format!("[{row}]")
    }
}

fn step(step: &Step) -> String {
    let mut row = match (&step.op, &*step.outs) {
        (Op::Call(call), outs) => {
            let dot = if call.overload.is_empty() { "" } else { "." };
            let name = format!("aten::{}{dot}{}", call.operator.name(), call.overload);
            vec![text(&name), list(outs)]
        }
        (op, [out]) => vec![text(op.name()), out.to_string()],
        (op, _) => vec![text(op.name())],
    };
    row.extend(arguments(&step.op));
    list(row)
}

fn name(name: &Name) -> String {
    let mut options = Vec::new();
    for (option, default, value) in [
        ("persistent", true, name.entry.persistent),
        (
            "requires_grad",
            name.entry.is_parameter,
            name.entry.requires_grad,
        ),
        ("unset", false, name.entry.unset),
    ] {
        if value != default {
            options.push(format!("\"{option}\": {value}"));
        }
    }
    let row = format!("{},{}", text(&name.name), name.view);
    match options.is_empty() {
        true => format!("[{row}]"),
        false => format!("[{row},{{{}}}]", options.join(",")),
    }
}

/// The arguments by the table of the format, as `parse_step` reads them.
fn arguments(op: &Op) -> Vec<String> {
    match op {
        Op::Eye => vec![],
        Op::Draw(draw) => draw.args().into_iter().map(float).collect(),
        Op::Fill(value) => vec![scalar(*value)],
        Op::Const(bytes) => vec![text(&BASE64_STANDARD.encode(bytes))],
        Op::Data(name) => vec![text(name)],
        Op::Arange { start, end, step } => [start, end, step].map(|x| scalar(*x)).to_vec(),
        Op::Dirac { groups } => vec![groups.to_string()],
        Op::Copy(a) | Op::Unary(_, a) => vec![tensor(*a)],
        Op::Add {
            a: Operand::Scalar(b),
            b: a,
            alpha,
            ..
        } => vec![operand(*a), scalar(*b), scalar(*alpha)],
        Op::Add { a, b, alpha, .. } => vec![operand(*a), operand(*b), scalar(*alpha)],
        Op::Mul(a, b) | Op::Compare(_, a, b) => vec![tensor(*a), operand(*b)],
        Op::Div(a, b, rounding) => {
            let rounding = match rounding {
                None => "null",
                Some(Rounding::Floor) => "\"floor\"",
                Some(Rounding::Trunc) => "\"trunc\"",
            };
            vec![tensor(*a), operand(*b), rounding.to_owned()]
        }
        Op::Pow(a, b) => vec![operand(*a), operand(*b)],
        Op::Clamp(a, min, max) => {
            let bound = |bound: &Option<Scalar>| bound.map_or_else(|| "null".to_owned(), scalar);
            vec![tensor(*a), bound(min), bound(max)]
        }
        Op::Where(condition, a, b) => vec![tensor(*condition), operand(*a), operand(*b)],
        Op::MaskedFill(a, mask, value) => vec![tensor(*a), tensor(*mask), scalar(*value)],
        Op::Reduce(reduction, a, dims, keepdim) => {
            let mut row = vec![tensor(*a)];
            if let Reduction::Norm(order) | Reduction::VectorNorm(order) = reduction {
                row.push(scalar(*order));
            }
            row.push(dims.as_ref().map_or_else(|| "null".to_owned(), list));
            row.push(keepdim.to_string());
            row
        }
        Op::Mv(a, b) => vec![tensor(*a), tensor(*b)],
        Op::Cat(tensors, dim) | Op::Stack(tensors, dim) => {
            vec![list(tensors.iter().map(|a| tensor(*a))), dim.to_string()]
        }
        Op::Pad(a, pad, value) => vec![tensor(*a), list(pad), scalar(*value)],
        Op::Call(call) => call.args.iter().map(argument).collect(),
        Op::Stream(StreamChange::Seed { stream, seed }) => {
            // In the range of an i64.
            vec![stream.to_string(), (seed.value() as i64).to_string()]
        }
        Op::Stream(StreamChange::Copy { to, from }) => vec![to.to_string(), from.to_string()],
        Op::Stream(StreamChange::Use(stream)) => vec![stream.to_string()],
    }
}

fn argument(argument: &Argument) -> String {
    let null = || "null".to_owned();
    match argument {
        Argument::Null => null(),
        Argument::View(view) => tensor(*view),
        Argument::Scalar(value) => scalar(*value),
        Argument::Text(value) => text(value),
        Argument::Views(views) => list(views.iter().map(|view| view.map_or_else(null, tensor))),
        Argument::Scalars(values) => list(values.iter().map(|value| scalar(*value))),
    }
}

fn operand(operand: Operand) -> String {
    match operand {
        Operand::View(view) => tensor(view),
        Operand::Scalar(value) => scalar(value),
    }
}

fn tensor(view: usize) -> String {
    format!("{{\"view\": {view}}}")
}

fn scalar(value: Scalar) -> String {
    match value {
        Scalar::Int(value) => value.to_string(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Float(value) => float(value),
    }
}

/// As Python's `repr`: without an exponent from 1e-4 to below 1e16.
fn float(value: f64) -> String {
    if value.is_nan() {
        return text("nan");
    }
    if value.is_infinite() {
        return text(if value > 0.0 { "inf" } else { "-inf" });
    }
    let short = format!("{value:e}");
    let (mantissa, exponent) = short.split_once('e').unwrap_or((&short, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match exponent {
        -4..16 => format!("{value:?}"),
        _ if exponent < 0 => format!("{mantissa}e-{:02}", -exponent),
        _ => format!("{mantissa}e+{exponent:02}"),
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(","))
}

/// Text in ASCII, as `json.dumps` of Python escapes it.
fn text(text: &str) -> String {
    let mut escaped = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            ' '..='\u{7e}' => escaped.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    escaped.push('"');
    escaped
}
