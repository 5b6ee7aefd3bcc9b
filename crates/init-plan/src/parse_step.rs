//! Reads a step from its row, by the table of the format.

use crate::json::{Arg, Item, RawOut, RawStep};
use crate::limits;
use crate::operator::{Argument, Operator, OperatorCall};
use crate::scalar::Scalar;
use crate::step::{Comparison, Op, Operand, Reduction, Rounding, Step, StreamChange, Unary};
use crate::view::View;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use torch_rng::{Draw, Seed};

/// Why a row is not a step.
pub(crate) enum NoStep {
    /// No step has this name.
    Unknown(String),
    /// What is wrong with its arguments.
    Invalid(String),
}

impl From<String> for NoStep {
    fn from(problem: String) -> NoStep {
        NoStep::Invalid(problem)
    }
}

/// Reads a step whose views exist and whose arguments have the right types.
pub(crate) fn parse_step(row: RawStep, views: &[View]) -> Result<Step, NoStep> {
    let mut args = Args {
        rest: row.args.into_iter(),
        views,
    };
    let out = match (row.out, row.op.starts_with("aten::")) {
        (RawOut::Many(outs), true) => return parse_call(&row.op, outs, args),
        (RawOut::One(stream), _)
            if row.op == "manual_seed" || row.op.ends_with("_state") || row.op == "use_stream" =>
        {
            if let Some(change) = parse_change(&row.op, stream, &mut args)? {
                return args.end(Step {
                    op: Op::Stream(change),
                    outs: Box::new([]),
                });
            }
            return Err(NoStep::Unknown(row.op));
        }
        (RawOut::One(out), false) => index(out, views)?,
        (RawOut::One(_), true) => return Err("expected a list of outputs".to_owned().into()),
        (RawOut::Many(_), false) => {
            return Err("expected one output, found a list".to_owned().into());
        }
    };
    let op = match row.op.as_str() {
        "fill_" => Op::Fill(args.scalar()?),
        "const" => Op::Const(args.bytes()?),
        "data" => Op::Data(args.tensor_name()?),
        "arange" => Op::Arange {
            start: args.scalar()?,
            end: args.scalar()?,
            step: args.scalar()?,
        },
        "eye" => Op::Eye,
        "dirac_" => Op::Dirac {
            groups: args.int()?,
        },
        "copy_" => Op::Copy(args.view()?),
        "add" | "sub" => Op::Add {
            a: Operand::View(args.view()?),
            b: args.operand()?,
            alpha: args.scalar()?,
            subtract: row.op == "sub",
        },
        "rsub" => {
            let b = Operand::View(args.view()?);
            let a = Operand::Scalar(args.scalar()?);
            Op::Add {
                a,
                b,
                alpha: args.scalar()?,
                subtract: true,
            }
        }
        "mul" => Op::Mul(args.view()?, args.operand()?),
        "div" => Op::Div(args.view()?, args.operand()?, args.rounding()?),
        "pow" => match (args.operand()?, args.operand()?) {
            (Operand::Scalar(_), Operand::Scalar(_)) => {
                return Err("expected a view among the arguments, found two numbers"
                    .to_owned()
                    .into());
            }
            (base, exponent) => Op::Pow(base, exponent),
        },
        "clamp" => match (
            args.view()?,
            args.optional_scalar()?,
            args.optional_scalar()?,
        ) {
            (_, None, None) => {
                return Err("expected at least one bound, found none".to_owned().into());
            }
            (view, min, max) => Op::Clamp(view, min, max),
        },
        "where" => Op::Where(args.view()?, args.operand()?, args.operand()?),
        "masked_fill" => Op::MaskedFill(args.view()?, args.view()?, args.scalar()?),
        "sum" => Op::Reduce(Reduction::Sum, args.view()?, args.dims()?, args.bool()?),
        "norm" | "linalg_vector_norm" => {
            let (view, order) = (args.view()?, args.scalar()?);
            let norm = match row.op == "norm" {
                true => Reduction::Norm(order),
                false => Reduction::VectorNorm(order),
            };
            Op::Reduce(norm, view, args.dims()?, args.bool()?)
        }
        "mv" => Op::Mv(args.view()?, args.view()?),
        "cat" => Op::Cat(args.views()?, args.int()?),
        "stack" => Op::Stack(args.views()?, args.int()?),
        "constant_pad_nd" => Op::Pad(args.view()?, args.ints()?, args.scalar()?),
        name => {
            let draw = Draw::arity(name).map(|arity| args.draw(name, arity));
            let unary = Unary::ALL.into_iter().find(|unary| unary.name() == name);
            let comparison = Comparison::ALL
                .into_iter()
                .find(|comparison| comparison.name() == name);
            match (draw, unary, comparison) {
                (Some(draw), ..) => Op::Draw(draw?),
                (_, Some(unary), _) => Op::Unary(unary, args.view()?),
                (_, _, Some(comparison)) => Op::Compare(comparison, args.view()?, args.operand()?),
                (None, None, None) => return Err(NoStep::Unknown(row.op)),
            }
        }
    };
    args.end(Step::new(op, out))
}

/// A change of streams, whose first entry is not a view; `None` for another name.
fn parse_change(
    op: &str,
    stream: u64,
    args: &mut Args<'_>,
) -> Result<Option<StreamChange>, String> {
    Ok(Some(match op {
        "manual_seed" => StreamChange::Seed {
            stream,
            seed: Seed::from(args.int()?),
        },
        "copy_state" => {
            let from = args.int()?;
            let from =
                u64::try_from(from).map_err(|_| format!("expected a stream, found {from}"))?;
            StreamChange::Copy { to: stream, from }
        }
        "use_stream" => StreamChange::Use(stream),
        _ => return Ok(None),
    }))
}

/// A call of an operator, as `aten::sort.stable`.
fn parse_call(op: &str, outs: Vec<u64>, mut args: Args<'_>) -> Result<Step, NoStep> {
    let (name, overload) = op.split_once('.').unwrap_or((op, ""));
    let operator = Operator::find(name).ok_or_else(|| NoStep::Unknown(op.to_owned()))?;
    let outs = outs.into_iter().map(|out| index(out, args.views));
    let outs = outs.collect::<Result<_, _>>()?;
    let mut arguments = Vec::new();
    while let Some(argument) = args.rest.next() {
        arguments.push(args.argument(argument)?);
    }
    let op = Op::Call(OperatorCall {
        operator,
        overload: overload.into(),
        args: arguments.into(),
    });
    Ok(Step { op, outs })
}

fn index(view: u64, views: &[View]) -> Result<usize, String> {
    usize::try_from(view)
        .ok()
        .filter(|view| *view < views.len())
        .ok_or_else(|| format!("expected one of {} views, found {view}", views.len()))
}

struct Args<'a> {
    rest: std::vec::IntoIter<Arg>,
    views: &'a [View],
}

impl Args<'_> {
    /// The step, if all arguments have been read.
    fn end(mut self, step: Step) -> Result<Step, NoStep> {
        match self.rest.next() {
            None => Ok(step),
            Some(_) => Err("too many arguments".to_owned().into()),
        }
    }

    /// An argument of an operator.
    fn argument(&self, argument: Arg) -> Result<Argument, String> {
        let view = |view: u64| index(view, self.views);
        Ok(match argument {
            Arg::Null => Argument::Null,
            Arg::View(of) => Argument::View(view(of)?),
            Arg::Views(views) => {
                let views = views.into_iter().map(|of| view(of).map(Some));
                Argument::Views(views.collect::<Result<_, _>>()?)
            }
            Arg::Ints(ints) => Argument::Scalars(ints.into_iter().map(Scalar::Int).collect()),
            Arg::Items(items) => {
                let of_views = |item: &Item| matches!(item, Item::View(_) | Item::Null);
                match items.iter().all(of_views) {
                    true => Argument::Views(
                        items
                            .into_iter()
                            .map(|item| match item {
                                Item::View(of) => view(of).map(Some),
                                _ => Ok(None),
                            })
                            .collect::<Result<_, _>>()?,
                    ),
                    false => {
                        Argument::Scalars(items.into_iter().map(number).collect::<Result<_, _>>()?)
                    }
                }
            }
            Arg::Text(text) => match scalar(Arg::Text(text.clone())) {
                Ok(number) => Argument::Scalar(number),
                Err(_) if text.len() <= 100 => Argument::Text(text.into()),
                Err(_) => return Err("expected a shorter text".to_owned()),
            },
            number => Argument::Scalar(scalar(number)?),
        })
    }

    fn next(&mut self) -> Result<Arg, String> {
        self.rest
            .next()
            .ok_or_else(|| "too few arguments".to_owned())
    }

    fn view(&mut self) -> Result<usize, String> {
        match self.next()? {
            Arg::View(view) => index(view, self.views),
            other => Err(expected("a view", &other)),
        }
    }

    fn float(&mut self) -> Result<f64, String> {
        match self.scalar()? {
            Scalar::Float(value) => Ok(value),
            _ => Err("expected a float, found an int or a bool".to_owned()),
        }
    }

    fn draw(&mut self, name: &str, arity: usize) -> Result<Draw, String> {
        let args: Vec<f64> = (0..arity).map(|_| self.float()).collect::<Result<_, _>>()?;
        Draw::new(name, &args).ok_or_else(|| format!("expected the arguments of {name}"))
    }

    fn int(&mut self) -> Result<i64, String> {
        match self.next()? {
            Arg::Int(value) => Ok(value),
            other => Err(expected("an int", &other)),
        }
    }

    fn bool(&mut self) -> Result<bool, String> {
        match self.next()? {
            Arg::Bool(value) => Ok(value),
            other => Err(expected("a bool", &other)),
        }
    }

    fn scalar(&mut self) -> Result<Scalar, String> {
        scalar(self.next()?)
    }

    fn optional_scalar(&mut self) -> Result<Option<Scalar>, String> {
        match self.next()? {
            Arg::Null => Ok(None),
            other => scalar(other).map(Some),
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.next()? {
            Arg::View(view) => index(view, self.views).map(Operand::View),
            other => scalar(other).map(Operand::Scalar),
        }
    }

    fn rounding(&mut self) -> Result<Option<Rounding>, String> {
        match self.next()? {
            Arg::Null => Ok(None),
            Arg::Text(mode) if mode == "floor" => Ok(Some(Rounding::Floor)),
            Arg::Text(mode) if mode == "trunc" => Ok(Some(Rounding::Trunc)),
            other => Err(expected("\"floor\", \"trunc\" or null", &other)),
        }
    }

    fn ints(&mut self) -> Result<Box<[i64]>, String> {
        match self.next()? {
            Arg::Ints(ints) => Ok(ints.into()),
            other => Err(expected("a list of ints", &other)),
        }
    }

    fn dims(&mut self) -> Result<Option<Box<[i64]>>, String> {
        match self.next()? {
            Arg::Null => Ok(None),
            Arg::Ints(ints) => Ok(Some(ints.into())),
            other => Err(expected("a list of ints or null", &other)),
        }
    }

    fn views(&mut self) -> Result<Box<[usize]>, String> {
        match self.next()? {
            Arg::Views(views) => views
                .into_iter()
                .map(|view| index(view, self.views))
                .collect(),
            other => Err(expected("a list of views", &other)),
        }
    }

    /// The name of a tensor in the file beside the plan.
    fn tensor_name(&mut self) -> Result<Box<str>, String> {
        match self.next()? {
            Arg::Text(name) if (1..=limits::NAME).contains(&name.len()) => Ok(name.into()),
            Arg::Text(name) => Err(format!(
                "expected a name of 1 to {} bytes, found {}",
                limits::NAME,
                name.len()
            )),
            other => Err(expected("the name of a tensor", &other)),
        }
    }

    fn bytes(&mut self) -> Result<Box<[u8]>, String> {
        let Arg::Text(text) = self.next()? else {
            return Err("expected base64".to_owned());
        };
        let bytes = BASE64_STANDARD.decode(text);
        let bytes = bytes.map_err(|error| format!("expected base64: {error}"))?;
        match bytes.len() > limits::CONST {
            true => Err(format!(
                "expected at most {} bytes, found {}",
                limits::CONST,
                bytes.len()
            )),
            false => Ok(bytes.into()),
        }
    }
}

fn number(item: Item) -> Result<Scalar, String> {
    match item {
        Item::Int(value) => Ok(Scalar::Int(value)),
        Item::Float(value) => Ok(Scalar::Float(value)),
        Item::Bool(value) => Ok(Scalar::Bool(value)),
        Item::View(_) | Item::Null => {
            Err("expected only numbers or only views in a list".to_owned())
        }
    }
}

fn scalar(arg: Arg) -> Result<Scalar, String> {
    match arg {
        Arg::Int(value) => Ok(Scalar::Int(value)),
        Arg::Float(value) => Ok(Scalar::Float(value)),
        Arg::Bool(value) => Ok(Scalar::Bool(value)),
        Arg::Text(text) if text == "inf" => Ok(Scalar::Float(f64::INFINITY)),
        Arg::Text(text) if text == "-inf" => Ok(Scalar::Float(f64::NEG_INFINITY)),
        Arg::Text(text) if text == "nan" => Ok(Scalar::Float(f64::NAN)),
        other => Err(expected("a number", &other)),
    }
}

fn expected(what: &str, found: &Arg) -> String {
    let found = match found {
        Arg::View(_) => "a view",
        Arg::Int(_) => "an int",
        Arg::Float(_) => "a float",
        Arg::Bool(_) => "a bool",
        Arg::Null => "null",
        Arg::Text(_) => "text",
        Arg::Views(_) => "a list of views",
        Arg::Ints(ints) if ints.is_empty() => "an empty list",
        Arg::Ints(_) => "a list of ints",
        Arg::Items(_) => "a list of other items",
    };
    format!("expected {what}, found {found}")
}
