//! The steps that libtorch computes.

use super::scalar_calls;
use super::{Comparison, Op, Operand, Reduction, Rounding, Scalar, Unary};
use tch::{Kind, TchError, Tensor};
use torch_sys::c_generated as aten;

/// Computes the result of a step that reads views or is `arange`; `view` returns the tensors it reads.
pub(super) fn compute(
    op: &Op,
    kind: Kind,
    view: &impl Fn(usize) -> Result<Tensor, TchError>,
) -> Result<Tensor, TchError> {
    let operand = |operand: &Operand| match operand {
        Operand::View(index) => view(*index).map(Value::Tensor),
        // Promotes like a Python bool, which an int does not.
        Operand::Scalar(Scalar::Bool(value)) => Tensor::f_from_slice(&[*value])?
            .f_reshape([])
            .map_or_else(Err, |t| Ok(Value::Tensor(t))),
        Operand::Scalar(scalar) => Ok(Value::Scalar(*scalar)),
    };
    let views = |indices: &[usize]| {
        indices
            .iter()
            .map(|index| view(*index))
            .collect::<Result<Vec<_>, _>>()
    };
    match op {
        Op::Arange { start, end, step } => scalar_calls::arange([*start, *end, *step], kind),
        Op::Copy(a) => view(*a),
        Op::Add {
            a,
            b,
            alpha,
            subtract,
        } => add(operand(a)?, operand(b)?, *alpha, *subtract),
        Op::Mul(a, b) => match operand(b)? {
            // SAFETY: this multiplies.
            Value::Scalar(b) => unsafe {
                scalar_calls::of_scalar(aten::atg_mul_scalar, &view(*a)?, b)
            },
            Value::Tensor(b) => view(*a)?.f_mul(&b),
        },
        Op::Div(a, b, rounding) => div(&view(*a)?, operand(b)?, *rounding),
        Op::Pow(a, b) => match (operand(a)?, operand(b)?) {
            (Value::Tensor(a), Value::Tensor(b)) => a.f_pow(&b),
            (Value::Scalar(a), Value::Tensor(b)) => scalar_calls::power_of(a, &b),
            // SAFETY: this raises to a power.
            (Value::Tensor(a), Value::Scalar(b)) => unsafe {
                scalar_calls::of_scalar(aten::atg_pow_tensor_scalar, &a, b)
            },
            (Value::Scalar(_), Value::Scalar(_)) => Err(no_tensor()),
        },
        Op::Clamp(a, min, max) => match (view(*a)?, *min, *max) {
            (a, Some(min), Some(max)) => scalar_calls::clamp(&a, min, max),
            // SAFETY: this takes the larger.
            (a, Some(min), None) => unsafe {
                scalar_calls::of_scalar(aten::atg_clamp_min, &a, min)
            },
            // SAFETY: this takes the smaller.
            (a, None, Some(max)) => unsafe {
                scalar_calls::of_scalar(aten::atg_clamp_max, &a, max)
            },
            (_, None, None) => Err(no_tensor()),
        },
        Op::Unary(unary, a) => of_one(*unary, &view(*a)?),
        Op::Compare(comparison, a, b) => compare(*comparison, &view(*a)?, operand(b)?),
        Op::Where(condition, a, b) => {
            let condition = view(*condition)?;
            match (operand(a)?, operand(b)?) {
                (Value::Tensor(a), Value::Tensor(b)) => a.f_where_self(&condition, &b),
                (Value::Scalar(a), Value::Tensor(b)) => {
                    scalar_calls::where_scalar_first(&condition, a, &b)
                }
                (Value::Tensor(a), Value::Scalar(b)) => {
                    scalar_calls::where_scalar_second(&condition, &a, b)
                }
                (Value::Scalar(a), Value::Scalar(b)) => {
                    scalar_calls::where_scalars(&condition, a, b)
                }
            }
        }
        Op::MaskedFill(a, mask, value) => {
            scalar_calls::masked_fill(&view(*a)?, &view(*mask)?, *value)
        }
        Op::Reduce(Reduction::Sum, a, dims, keepdim) => {
            view(*a)?.f_sum_dim_intlist(dims.as_deref().unwrap_or_default(), *keepdim, None::<Kind>)
        }
        Op::Reduce(Reduction::Norm(order) | Reduction::VectorNorm(order), a, dims, keepdim) => {
            scalar_calls::norm(
                &view(*a)?,
                *order,
                dims.as_deref().unwrap_or_default(),
                *keepdim,
            )
        }
        Op::Mv(matrix, vector) => view(*matrix)?.f_mv(&view(*vector)?),
        Op::Cat(tensors, dim) => Tensor::f_cat(&views(tensors)?, *dim),
        Op::Stack(tensors, dim) => Tensor::f_stack(&views(tensors)?, *dim),
        Op::Pad(a, pad, value) => {
            let value = match *value {
                Scalar::Int(value) => value as f64,
                Scalar::Float(value) => value,
                Scalar::Bool(value) => value.into(),
            };
            view(*a)?.f_pad(&**pad, "constant", value)
        }
        _ => Err(unsupported()),
    }
}

enum Value {
    Tensor(Tensor),
    Scalar(Scalar),
}

/// A step that validation excludes.
fn no_tensor() -> TchError {
    TchError::Torch("a step without a tensor".to_owned())
}

/// A step or a function that a newer plan may have.
fn unsupported() -> TchError {
    TchError::Torch("this version does not compute this".to_owned())
}

fn add(a: Value, b: Value, alpha: Scalar, subtract: bool) -> Result<Tensor, TchError> {
    match (a, b, subtract) {
        (Value::Tensor(a), Value::Tensor(b), false) => {
            scalar_calls::add(scalar_calls::Sum::Plus, &a, &b, alpha)
        }
        (Value::Tensor(a), Value::Tensor(b), true) => {
            scalar_calls::add(scalar_calls::Sum::Minus, &a, &b, alpha)
        }
        (Value::Tensor(a), Value::Scalar(b), false) => {
            scalar_calls::add_scalar(scalar_calls::Sum::Plus, &a, b, alpha)
        }
        (Value::Tensor(a), Value::Scalar(b), true) => {
            scalar_calls::add_scalar(scalar_calls::Sum::Minus, &a, b, alpha)
        }
        (Value::Scalar(b), Value::Tensor(a), true) => {
            scalar_calls::add_scalar(scalar_calls::Sum::MinusFirst, &a, b, alpha)
        }
        (Value::Scalar(_), _, _) => Err(no_tensor()),
    }
}

fn div(a: &Tensor, b: Value, rounding: Option<Rounding>) -> Result<Tensor, TchError> {
    let mode = rounding.map(|rounding| match rounding {
        Rounding::Floor => "floor",
        Rounding::Trunc => "trunc",
    });
    match (b, mode) {
        // SAFETY: this divides.
        (Value::Scalar(b), None) => unsafe { scalar_calls::of_scalar(aten::atg_div_scalar, a, b) },
        (Value::Scalar(b), Some(mode)) => scalar_calls::div(a, b, mode),
        (Value::Tensor(b), None) => a.f_div(&b),
        (Value::Tensor(b), Some(mode)) => a.f_div_tensor_mode(&b, mode),
    }
}

fn of_one(unary: Unary, a: &Tensor) -> Result<Tensor, TchError> {
    match unary {
        Unary::Neg => a.f_neg(),
        Unary::Abs => a.f_abs(),
        Unary::Sign => a.f_sign(),
        Unary::Reciprocal => a.f_reciprocal(),
        Unary::Exp => a.f_exp(),
        Unary::Expm1 => a.f_expm1(),
        Unary::Log => a.f_log(),
        Unary::Sin => a.f_sin(),
        Unary::Cos => a.f_cos(),
        Unary::Erfinv => a.f_erfinv(),
        Unary::BitwiseNot => a.f_bitwise_not(),
        _ => Err(TchError::Torch(format!(
            "unknown function {}",
            unary.name()
        ))),
    }
}

fn compare(comparison: Comparison, a: &Tensor, b: Value) -> Result<Tensor, TchError> {
    let (of_scalar, of_tensor): (scalar_calls::OfScalar, scalar_calls::OfTensor) = match comparison
    {
        Comparison::Eq => (aten::atg_eq, aten::atg_eq_tensor),
        Comparison::Ne => (aten::atg_ne, aten::atg_ne_tensor),
        Comparison::Lt => (aten::atg_lt, aten::atg_lt_tensor),
        Comparison::Le => (aten::atg_le, aten::atg_le_tensor),
        Comparison::Gt => (aten::atg_gt, aten::atg_gt_tensor),
        Comparison::Ge => (aten::atg_ge, aten::atg_ge_tensor),
    };
    // SAFETY: these compare.
    unsafe {
        match b {
            Value::Scalar(b) => scalar_calls::of_scalar(of_scalar, a, b),
            Value::Tensor(b) => scalar_calls::of_tensor(of_tensor, a, &b),
        }
    }
}

/// Fills a tensor with one value.
pub(super) fn fill(out: &Tensor, value: Scalar) -> Result<(), TchError> {
    // SAFETY: this fills its first argument, which the caller owns.
    unsafe { scalar_calls::of_scalar(aten::atg_fill_, out, value) }.map(drop)
}
