//! Validates steps: the result must have the shape of the output, and the arguments of a draw must
//! be valid. So the views of the plan determine the size of every computation.

use crate::operator::OperatorCall;
use crate::scalar::Scalar;
use crate::shape::{joined, padded};
use crate::step::{Op, Operand, Step};
use crate::view::View;
use tensor_parity::Dtype;
use torch_rng::Semantics;

/// Checks a step whose arguments have the right types; an error says what is wrong.
pub(crate) fn validate_step(step: &Step, views: &[View]) -> Result<(), String> {
    match (&step.op, &*step.outs) {
        (Op::Stream(_), _) => Ok(()),
        (Op::Call(call), outs) => validate_call(call, outs, views),
        (op, [out]) => validate(op, *out, views),
        (_, outs) => Err(format!("expected one output, found {}", outs.len())),
    }
}

/// Checks a call of an operator; an error says what is wrong.
pub(crate) fn validate_call(
    call: &OperatorCall,
    outs: &[usize],
    views: &[View],
) -> Result<(), String> {
    match outs.iter().find(|out| views[**out].overlaps_itself()) {
        None => call.check(outs, views),
        Some(out) => Err(format!(
            "expected an output without overlaps, found view {out}"
        )),
    }
}

/// Checks an operation with one output; an error says what is wrong.
pub(crate) fn validate(op: &Op, out: usize, views: &[View]) -> Result<(), String> {
    if let Op::Call(call) = op {
        return validate_call(call, &[out], views);
    }
    let number = out;
    let out = &views[out];
    if out.overlaps_itself() {
        return Err(format!(
            "expected an output without overlaps, found view {number}"
        ));
    }
    numbers(op, out)?;
    dtypes(op, views)?;
    let shape = match shape(op, out, views)? {
        Some(shape) => shape,
        None => return Ok(()),
    };
    match shape == out.shape {
        true => Ok(()),
        false => Err(format!(
            "expected an output of shape {shape:?}, found {:?}",
            out.shape
        )),
    }
}

/// Rejects arguments that PyTorch rejects, or for which a draw would not end.
fn numbers(op: &Op, out: &View) -> Result<(), String> {
    match *op {
        Op::Draw(draw) => match out.target(Semantics::NEWEST) {
            Some(target) => draw.check(target).map_err(|error| error.to_string()),
            None => Err(format!(
                "expected a dtype of {}, found {}",
                draw.name(),
                out.dtype
            )),
        },
        Op::Dirac { groups } => match out.shape.first() {
            Some(channels) if groups > 0 && channels % groups as u64 == 0 => Ok(()),
            _ => Err(format!(
                "expected groups that divide the first size, found {groups}"
            )),
        },
        _ => Ok(()),
    }
}

fn dtypes(op: &Op, views: &[View]) -> Result<(), String> {
    let is_bool = |view: usize| match views[view].dtype {
        Dtype::Bool => Ok(()),
        dtype => Err(format!("expected a mask of dtype bool, found {dtype}")),
    };
    match op {
        Op::Where(condition, ..) => is_bool(*condition),
        Op::MaskedFill(_, mask, _) => is_bool(*mask),
        _ => Ok(()),
    }
}

/// The shape of the result; `None` if the result takes the shape of `out`.
fn shape(op: &Op, out: &View, views: &[View]) -> Result<Option<Vec<u64>>, String> {
    let of = |view: usize| &views[view].shape;
    let dims = |wanted: std::ops::RangeInclusive<usize>| match wanted.contains(&out.shape.len()) {
        true => Ok(None),
        false => {
            let dims = match (*wanted.start(), *wanted.end()) {
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            let shape = &out.shape;
            Err(format!("expected {dims} dimensions, found shape {shape:?}"))
        }
    };
    let broadcast = |operands: &[Operand]| {
        let mut shape = Vec::new();
        for operand in operands {
            if let Operand::View(view) = operand {
                shape = joined(&shape, of(*view))?;
            }
        }
        Ok(Some(shape))
    };
    match op {
        Op::Draw(_) | Op::Fill(_) | Op::Call(_) | Op::Stream(_) => Ok(None),
        Op::Eye => dims(2..=2),
        Op::Dirac { .. } => dims(3..=5),
        Op::Const(bytes) => {
            let needed = out.numel() * out.dtype.size() as u64;
            if bytes.len() as u64 != needed {
                return Err(format!("expected {needed} bytes, found {}", bytes.len()));
            }
            match out.is_contiguous() {
                true => Ok(None),
                false => Err("expected a contiguous output".to_owned()),
            }
        }
        Op::Data(_) if !out.is_contiguous() => Err("expected a contiguous output".to_owned()),
        Op::Data(_) => Ok(None),
        Op::Arange { start, end, step } => {
            dims(1..=1)?;
            Ok(Some(vec![steps(*start, *end, *step)?]))
        }
        Op::Copy(view) | Op::Clamp(view, ..) | Op::Unary(_, view) => Ok(Some(of(*view).clone())),
        Op::Add { a, b, .. } | Op::Pow(a, b) => broadcast(&[*a, *b]),
        Op::Mul(a, b) | Op::Div(a, b, _) | Op::Compare(_, a, b) => {
            broadcast(&[Operand::View(*a), *b])
        }
        Op::Where(condition, a, b) => broadcast(&[Operand::View(*condition), *a, *b]),
        Op::MaskedFill(view, mask, _) => broadcast(&[Operand::View(*view), Operand::View(*mask)]),
        Op::Reduce(_, view, dims, keepdim) => {
            reduced(of(*view), dims.as_deref(), *keepdim).map(Some)
        }
        Op::Mv(matrix, vector) => match (of(*matrix).as_slice(), of(*vector).as_slice()) {
            ([rows, columns], [length]) if columns == length => Ok(Some(vec![*rows])),
            (matrix, vector) => Err(format!(
                "expected shapes that multiply, found {matrix:?} and {vector:?}"
            )),
        },
        Op::Cat(tensors, dim) => cat(tensors, *dim, &of).map(Some),
        Op::Stack(tensors, dim) => stack(tensors, *dim, &of).map(Some),
        Op::Pad(view, pad, _) => padded(of(*view), pad).map(Some),
    }
}

/// The number of elements of `arange`.
fn steps(start: Scalar, end: Scalar, step: Scalar) -> Result<u64, String> {
    let number = |scalar| match scalar {
        Scalar::Int(value) => Ok(value as f64),
        Scalar::Float(value) => Ok(value),
        Scalar::Bool(_) => Err("expected numbers as bounds, found a bool".to_owned()),
    };
    let (from, to, by) = (number(start)?, number(end)?, number(step)?);
    let steps = match (start, end, step) {
        (Scalar::Int(from), Scalar::Int(to), Scalar::Int(by)) if by != 0 => {
            let (span, by) = (i128::from(to) - i128::from(from), i128::from(by));
            // Rounded up, also where both are negative.
            ((span + by - by.signum()) / by) as f64
        }
        _ => ((to - from) / by).ceil(),
    };
    let limit = crate::limits::SIZE as f64;
    match (0.0..=limit).contains(&steps) {
        true => Ok(steps as u64),
        false => Err(format!("expected a range, found {from} to {to} by {by}")),
    }
}

fn reduced(shape: &[u64], dims: Option<&[i64]>, keepdim: bool) -> Result<Vec<u64>, String> {
    let mut gone = vec![dims.is_none_or(<[i64]>::is_empty); shape.len()];
    for dim in dims.unwrap_or_default() {
        let place = usize::try_from(*dim).ok().and_then(|dim| gone.get_mut(dim));
        match place {
            Some(gone) if !*gone => *gone = true,
            _ => {
                return Err(format!(
                    "expected a dimension of shape {shape:?} to reduce, found {dim}"
                ));
            }
        }
    }
    let kept = shape
        .iter()
        .zip(gone)
        .filter_map(|(size, gone)| match gone {
            true => keepdim.then_some(1),
            false => Some(*size),
        });
    Ok(kept.collect())
}

fn cat<'a>(
    tensors: &[usize],
    dim: i64,
    of: &impl Fn(usize) -> &'a Vec<u64>,
) -> Result<Vec<u64>, String> {
    let (first, rest) = tensors.split_first().ok_or("no tensors")?;
    let mut shape = of(*first).clone();
    let at = usize::try_from(dim).ok().filter(|dim| *dim < shape.len());
    let at = at.ok_or_else(|| format!("expected a dimension of shape {shape:?}, found {dim}"))?;
    for tensor in rest {
        let other = of(*tensor);
        let fits = other.len() == shape.len()
            && (0..shape.len()).all(|dim| dim == at || other[dim] == shape[dim]);
        if !fits {
            return Err(format!(
                "expected shapes that differ only in dimension {dim}, found {shape:?} and {other:?}"
            ));
        }
        shape[at] = shape[at].saturating_add(other[at]);
    }
    Ok(shape)
}

fn stack<'a>(
    tensors: &[usize],
    dim: i64,
    of: &impl Fn(usize) -> &'a Vec<u64>,
) -> Result<Vec<u64>, String> {
    let (first, rest) = tensors.split_first().ok_or("no tensors")?;
    let mut shape = of(*first).clone();
    if let Some(other) = rest.iter().find(|other| *of(**other) != shape) {
        return Err(format!(
            "expected equal shapes, found {shape:?} and {:?}",
            of(*other)
        ));
    }
    let at = usize::try_from(dim).ok().filter(|dim| *dim <= shape.len());
    let at =
        at.ok_or_else(|| format!("expected a new dimension of shape {shape:?}, found {dim}"))?;
    shape.insert(at, tensors.len() as u64);
    Ok(shape)
}
