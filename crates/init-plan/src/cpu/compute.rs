//! The steps that plain IEEE arithmetic computes with libtorch's bits.
//!
//! Everything whose result depends on how libtorch's kernels are written (vectorized functions, fused
//! multiplications, type promotion) needs libtorch.

use super::cast::{self, Cast};
use super::movement;
use super::source::Source;
use crate::elements::{Plain, for_dtype, for_float, gather_broadcast, scatter};
use crate::error::NeedsLibtorch;
use crate::materialize::unallocated;
use crate::scalar::Scalar;
use crate::step::{Op, Operand, Unary};
use crate::storage::Storage;
use crate::stream::{Storages, Stream, StreamError};
use crate::view::View;
use half::{bf16, f16};

/// Computes a step that draws nothing, if plain arithmetic does it with libtorch's bits: as
/// [`Stream::compute`] of a [`CpuStream`](crate::CpuStream), for the memory of any stream.
///
/// # Errors
///
/// [`NeedsLibtorch`], or if memory is exhausted.
pub fn compute_without_libtorch<S: Stream>(
    stream: &S,
    op: &Op,
    out: usize,
    storages: &mut Storages<'_, S>,
) -> Result<(), StreamError> {
    storages.check(op, out)?;
    let view = storages.view(out);
    storages.get_or_allocate(stream, out)?;
    let number = view.storage();
    let mut target = storages.storages[number].take().ok_or_else(unallocated)?;
    let reads = op.reads();
    // Reads of the memory that is written see it as it was before.
    let before = match reads
        .iter()
        .any(|read| storages.view(*read).storage() == number)
    {
        true => Some(copied(stream, &target)?),
        false => None,
    };
    let result = {
        let source = |read: usize| {
            let storage = match storages.view(read).storage() == number {
                true => before.as_ref(),
                false => storages.get(read),
            };
            Source {
                bytes: storage.map_or(&[], Storage::bytes),
                view: storages.view(read),
            }
        };
        compute_into(op, target.bytes_mut(), view, &source)
    };
    storages.storages[number] = Some(target);
    Ok(result?)
}

fn copied<S: Stream>(
    stream: &S,
    storage: &Storage<S::Memory>,
) -> Result<Storage<S::Memory>, StreamError> {
    let bytes = storage.bytes().len() as u64;
    // SAFETY: all bytes are written below.
    let mut copy = unsafe { stream.allocate(bytes, false) }?;
    copy.check_size(bytes)?;
    copy.bytes_mut()[..bytes as usize].copy_from_slice(storage.bytes());
    Ok(copy)
}

fn compute_into<'a>(
    op: &Op,
    target: &mut [u8],
    out: &View,
    source: &impl Fn(usize) -> Source<'a>,
) -> Result<(), NeedsLibtorch> {
    match op {
        Op::Fill(value) => cast::fill(*value, target, out),
        Op::Const(bytes) => {
            let range = out.bytes();
            let target = target.get_mut(range.start as usize..range.end as usize);
            let target = target.filter(|target| target.len() == bytes.len());
            target.ok_or(NeedsLibtorch)?.copy_from_slice(bytes);
            Ok(())
        }
        Op::Arange {
            start: Scalar::Int(start),
            step: Scalar::Int(step),
            ..
        } => arange(*start, *step, target, out),
        Op::Eye => diagonal(1, target, out),
        Op::Dirac { groups } => dirac(*groups, target, out),
        Op::Copy(from) => {
            let from = source(*from);
            cast::copy(from.bytes, from.view, target, out)
        }
        Op::Cat(tensors, dim) => cat(tensors, *dim as usize, target, out, source),
        Op::Stack(tensors, dim) => {
            for (i, tensor) in (0..).zip(tensors) {
                let slot = out.part(*dim as usize, i..i + 1).without(*dim as usize);
                place(source(*tensor), target, &slot)?;
            }
            Ok(())
        }
        Op::Add {
            a,
            b,
            alpha: Scalar::Int(1),
            subtract,
        } => match subtract {
            false => arithmetic(Arithmetic::Add, *a, *b, target, out, source),
            true => arithmetic(Arithmetic::Sub, *a, *b, target, out, source),
        },
        Op::Mul(a, b) => {
            let a = Operand::View(*a);
            arithmetic(Arithmetic::Mul, a, *b, target, out, source)
        }
        Op::Div(a, b, None) => {
            let a = Operand::View(*a);
            arithmetic(Arithmetic::Div, a, *b, target, out, source)
        }
        Op::Unary(Unary::Neg, a) => unary(Sign::Flip, source(*a), target, out),
        Op::Unary(Unary::Abs, a) => unary(Sign::Clear, source(*a), target, out),
        Op::Call(call) => movement::call(call, target, out, source),
        _ => Err(NeedsLibtorch),
    }
}

/// Integers, as far as their dtype holds them exactly: then it does not matter how they are computed.
fn arange(start: i64, step: i64, target: &mut [u8], out: &View) -> Result<(), NeedsLibtorch> {
    fn fill<T: Cast>(start: i64, step: i64, target: &mut [u8], out: &View) -> Option<()> {
        let value = |i: u64| {
            let value = step
                .checked_mul(i64::try_from(i).ok()?)?
                .checked_add(start)?;
            let cast = T::from_scalar(cast::Value::Int(value.into()))?;
            let is_exact = match cast.to_value() {
                cast::Value::Int(cast) => cast == i128::from(value),
                cast::Value::Float(cast) => cast as i64 == value && value.abs() < 1 << 53,
            };
            is_exact.then_some(cast)
        };
        let values = (0..out.numel()).map(value).collect::<Option<Vec<T>>>()?;
        scatter(target, out, &values);
        Some(())
    }
    for_dtype!(out.dtype(), fill(start, step, target, out))
        .flatten()
        .ok_or(NeedsLibtorch)
}

/// Zeros, but ones on the diagonal of each group of rows and the columns, in the middle of all other
/// dimensions.
fn diagonal(groups: u64, target: &mut [u8], out: &View) -> Result<(), NeedsLibtorch> {
    cast::fill(Scalar::Int(0), target, out)?;
    let [rows, columns, kernel @ ..] = out.shape() else {
        return Err(NeedsLibtorch);
    };
    let rows_of_group = rows.checked_div(groups).unwrap_or(0);
    for group in 0..groups {
        for i in 0..rows_of_group.min(*columns) {
            let index = [group * rows_of_group + i, i].into_iter();
            let index = index.chain(kernel.iter().map(|size| size / 2));
            let element = index
                .enumerate()
                .fold(out.clone(), |view, (dim, at)| view.part(dim, at..at + 1));
            cast::fill(Scalar::Int(1), target, &element)?;
        }
    }
    Ok(())
}

fn dirac(groups: i64, target: &mut [u8], out: &View) -> Result<(), NeedsLibtorch> {
    // PyTorch rejects a kernel without a middle.
    if out.numel() == 0 && out.shape()[..2].iter().all(|size| *size > 0) {
        return Err(NeedsLibtorch);
    }
    diagonal(groups.unsigned_abs(), target, out)
}

fn cat<'a>(
    tensors: &[usize],
    dim: usize,
    target: &mut [u8],
    out: &View,
    source: &impl Fn(usize) -> Source<'a>,
) -> Result<(), NeedsLibtorch> {
    let mut start = 0;
    for tensor in tensors {
        let from = source(*tensor);
        let end = start + from.view.shape()[dim];
        place(from, target, &out.part(dim, start..end))?;
        start = end;
    }
    Ok(())
}

/// Copies to a part of a result, without type promotion.
fn place(from: Source<'_>, target: &mut [u8], slot: &View) -> Result<(), NeedsLibtorch> {
    match from.view.dtype() == slot.dtype() {
        true => cast::copy(from.bytes, from.view, target, slot),
        false => Err(NeedsLibtorch),
    }
}

#[derive(Clone, Copy)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

#[derive(Clone, Copy)]
enum Sign {
    Flip,
    Clear,
}

/// `at::opmath_type`: the type that a dtype is computed in.
trait Opmath: Plain + PartialEq {
    fn of(value: f64) -> Self;
    fn of_int(value: i64) -> Self;
    fn apply(arithmetic: Arithmetic, a: Self, b: Self) -> Self;
}

macro_rules! opmath {
    ($($float:ty)*) => {
        $(impl Opmath for $float {
            fn of(value: f64) -> $float {
                value as $float
            }

            fn of_int(value: i64) -> $float {
                value as $float
            }

            fn apply(arithmetic: Arithmetic, a: $float, b: $float) -> $float {
                match arithmetic {
                    Arithmetic::Add => a + b,
                    Arithmetic::Sub => a - b,
                    Arithmetic::Mul => a * b,
                    Arithmetic::Div => a / b,
                }
            }
        })*
    };
}

opmath! { f32 f64 }

/// A floating-point element.
trait Float: Plain {
    type Opmath: Opmath;
    fn widen(self) -> Self::Opmath;
    /// `None` for a NaN of which libtorch's kernels have several.
    fn narrow(value: Self::Opmath) -> Option<Self>;
    fn sign(self, sign: Sign) -> Self;
}

macro_rules! float {
    ($($float:ty, $opmath:ty, $bits:ty: |$value:ident| $narrow:expr;)*) => {
        $(impl Float for $float {
            type Opmath = $opmath;

            fn widen(self) -> $opmath {
                self.into()
            }

            fn narrow($value: $opmath) -> Option<$float> {
                $narrow
            }

            fn sign(self, sign: Sign) -> $float {
                let mask: $bits = 1 << (<$bits>::BITS - 1);
                <$float>::from_bits(match sign {
                    Sign::Flip => self.to_bits() ^ mask,
                    Sign::Clear => self.to_bits() & !mask,
                })
            }
        })*
    };
}

float! {
    f32, f32, u32: |value| Some(value);
    f64, f64, u64: |value| Some(value);
    bf16, f32, u16: |value| (!value.is_nan()).then(|| bf16::from_f32(value));
    f16, f32, u16: |value| (!value.is_nan()).then(|| f16::from_f32(value));
}

/// `a op b`, of views of one dtype and numbers, which is also the dtype of the result.
fn arithmetic<'a>(
    arithmetic: Arithmetic,
    a: Operand,
    b: Operand,
    target: &mut [u8],
    out: &View,
    source: &impl Fn(usize) -> Source<'a>,
) -> Result<(), NeedsLibtorch> {
    let (a, b) = (term(a, source), term(b, source));
    for term in [&a, &b] {
        match term {
            Term::View(source) if source.view.dtype() != out.dtype() => return Err(NeedsLibtorch),
            Term::Number(Scalar::Bool(_)) => return Err(NeedsLibtorch),
            _ => {}
        }
    }
    for_float!(out.dtype(), of_two(arithmetic, a, b, target, out))
        .flatten()
        .ok_or(NeedsLibtorch)
}

#[derive(Clone, Copy)]
enum Term<'a> {
    View(Source<'a>),
    Number(Scalar),
}

fn term<'a>(operand: Operand, source: &impl Fn(usize) -> Source<'a>) -> Term<'a> {
    match operand {
        Operand::View(view) => Term::View(source(view)),
        Operand::Scalar(value) => Term::Number(value),
    }
}

fn of_two<T: Float>(
    arithmetic: Arithmetic,
    a: Term<'_>,
    b: Term<'_>,
    target: &mut [u8],
    out: &View,
) -> Option<()> {
    let number = |scalar: Scalar| {
        let number = match scalar {
            Scalar::Int(value) => T::Opmath::of_int(value),
            Scalar::Float(value) => T::Opmath::of(value),
            Scalar::Bool(value) => T::Opmath::of_int(value.into()),
        };
        // libtorch's kernels of 16-bit sums round it first, or do not.
        let is_exact = T::narrow(number).is_some_and(|narrow| narrow.widen() == number);
        let is_sum = matches!(arithmetic, Arithmetic::Add | Arithmetic::Sub);
        (is_exact || !is_sum).then_some(number)
    };
    let values = |source: Source<'_>| {
        let values = gather_broadcast::<T>(source.bytes, source.view, out.shape());
        values.into_owned()
    };
    let apply = |a: T::Opmath, b: T::Opmath| T::narrow(T::Opmath::apply(arithmetic, a, b));
    let result: Option<Vec<T>> = match (a, b) {
        (Term::View(a), Term::Number(b)) => {
            let b = number(b)?;
            values(a).into_iter().map(|a| apply(a.widen(), b)).collect()
        }
        (Term::Number(a), Term::View(b)) => {
            let a = number(a)?;
            values(b).into_iter().map(|b| apply(a, b.widen())).collect()
        }
        (Term::View(a), Term::View(b)) => {
            let pairs = values(a).into_iter().zip(values(b));
            pairs.map(|(a, b)| apply(a.widen(), b.widen())).collect()
        }
        (Term::Number(_), Term::Number(_)) => None,
    };
    scatter(target, out, &result?);
    Some(())
}

fn unary(sign: Sign, a: Source<'_>, target: &mut [u8], out: &View) -> Result<(), NeedsLibtorch> {
    fn apply<T: Float>(sign: Sign, a: Source<'_>, target: &mut [u8], out: &View) {
        let values = gather_broadcast::<T>(a.bytes, a.view, out.shape());
        let values: Vec<T> = values.iter().map(|value| value.sign(sign)).collect();
        scatter(target, out, &values);
    }
    match a.view.dtype() == out.dtype() {
        true => for_float!(out.dtype(), apply(sign, a, target, out)).ok_or(NeedsLibtorch),
        false => Err(NeedsLibtorch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::PlanError;
    use tensor_parity::Dtype;
    use torch_rng::Mt19937;

    #[test]
    fn views_that_do_not_fit_are_errors() {
        let view = |storage, shape: &[u64]| {
            let stride = crate::view::row_major(shape);
            View::new(storage, Dtype::Float32, 0, shape.to_vec(), stride, 64).unwrap()
        };
        let views = [view(0, &[2, 3]), view(1, &[4, 4])];
        let (cat, stack) = ([0, 1].into(), [0].into());
        for (op, out, problem) in [
            (Op::Copy(0), 2, "copy_: expected one of 2 views, found 2"),
            (Op::Copy(7), 1, "copy_: expected one of 2 views, found 7"),
            (
                Op::Copy(0),
                1,
                "copy_: expected an output of shape [2, 3], found [4, 4]",
            ),
            (
                Op::Cat(cat, -1),
                1,
                "cat: expected a dimension of shape [2, 3], found -1",
            ),
            (
                Op::Stack(stack, 3),
                1,
                "stack: expected a new dimension of shape [2, 3], found 3",
            ),
            (
                Op::Dirac { groups: 1 },
                1,
                "dirac_: expected 3 to 5 dimensions, found shape [4, 4]",
            ),
        ] {
            let mut storages = Storages::new(&views, &[64, 64], vec![true; 2]);
            let error = Mt19937::new(1)
                .compute(&op, out, &mut storages)
                .unwrap_err();
            let error: &PlanError = error.downcast_ref().unwrap();
            assert_eq!(error.to_string(), problem);
        }
        let small = crate::cpu::Memory::zeroed(63).unwrap();
        let mut storages = Storages::<Mt19937>::new(&views, &[64, 64], vec![true; 2]);
        let error = storages.replace(0, small).unwrap_err();
        assert_eq!((error.expected, error.found), (64, 63));
    }
}
