//! The operators that move elements, or that are exact whatever computes them.

use super::cast;
use super::source::Source;
use crate::elements::{Plain, for_size, gather, gather_broadcast, scatter};
use crate::error::NeedsLibtorch;
use crate::operator::{Argument, OperatorCall};
use crate::scalar::Scalar;
use crate::view::View;
use tensor_parity::Dtype;

/// Computes the only output of a call.
pub(super) fn call<'a>(
    call: &OperatorCall,
    target: &mut [u8],
    out: &View,
    source: &impl Fn(usize) -> Source<'a>,
) -> Result<(), NeedsLibtorch> {
    let view = |number: usize| match call.args.get(number) {
        Some(Argument::View(view)) => Ok(source(*view)),
        _ => Err(NeedsLibtorch),
    };
    // The elements to take from `from`, for each element of the output in row-major order.
    let mut take = |from: Source<'_>, index: Option<Vec<Option<u64>>>| {
        if from.view.dtype() != out.dtype() {
            return Err(NeedsLibtorch);
        }
        let index = index.filter(|index| index.len() as u64 == out.numel());
        let index = index.ok_or(NeedsLibtorch)?;
        for_size!(out.dtype(), taken(from, &index, target, out)).ok_or(NeedsLibtorch)
    };
    match (call.operator.name(), &*call.overload) {
        (name @ ("tril" | "triu"), "") => {
            let from = view(0)?;
            let diagonal = match call.args.get(1) {
                None => 0,
                Some(_) => call.int(1).ok_or(NeedsLibtorch)?,
            };
            let index = triangle(from.view.shape(), diagonal, name == "triu");
            take(from, index)
        }
        ("flip", "") => {
            let from = view(0)?;
            let index = flipped(from.view.shape(), &call.ints().ok_or(NeedsLibtorch)?);
            take(from, index)
        }
        ("roll", "") => {
            let from = view(0)?;
            let index = rolled(from.view.shape(), &ints(call, 1)?, &ints(call, 2)?);
            take(from, index)
        }
        ("index_select", "") => {
            let (from, indices) = (view(0)?, integers(view(2)?)?);
            let dims = from.view.shape().len();
            let dim = call.dim(1, dims).ok_or(NeedsLibtorch)?;
            let index = selected(from.view.shape(), dim, &indices);
            take(from, index)
        }
        ("gather", "") => {
            let (from, by) = (view(0)?, view(2)?);
            let dims = from.view.shape().len();
            let dim = call.dim(1, dims).ok_or(NeedsLibtorch)?;
            let index = gathered(from.view.shape(), dim, by.view.shape(), &integers(by)?);
            take(from, index)
        }
        ("index", "Tensor") => {
            let Some(Argument::Views(views)) = call.args.get(1) else {
                return Err(NeedsLibtorch);
            };
            let from = view(0)?;
            let mut indices = Vec::new();
            for view in views {
                indices.push(match view {
                    None => None,
                    Some(view) => {
                        let by = source(*view);
                        Some((by.view.shape().to_vec(), integers(by)?))
                    }
                });
            }
            let index = indexed(from.view.shape(), &indices);
            take(from, index)
        }
        ("repeat_interleave", "Tensor") => repetitions(&integers(view(0)?)?, target, out),
        (name @ ("bitwise_and" | "bitwise_or" | "bitwise_xor"), "Tensor") => {
            bitwise(name, view(0)?, view(1)?, target, out)
        }
        ("clone", "") => {
            let from = view(0)?;
            cast::copy(from.bytes, from.view, target, out)
        }
        _ => Err(NeedsLibtorch),
    }
}

fn taken<T: Plain + Default>(
    from: Source<'_>,
    index: &[Option<u64>],
    target: &mut [u8],
    out: &View,
) -> Option<()> {
    let values = gather::<T>(from.bytes, from.view);
    let value = |index: &Option<u64>| match index {
        None => Some(T::default()),
        Some(index) => values.get(usize::try_from(*index).ok()?).copied(),
    };
    scatter(
        target,
        out,
        &index.iter().map(value).collect::<Option<Vec<T>>>()?,
    );
    Some(())
}

/// The integers of a tensor.
fn integers(of: Source<'_>) -> Result<Vec<i64>, NeedsLibtorch> {
    match of.view.dtype() {
        Dtype::Int64 => Ok(gather::<i64>(of.bytes, of.view).into_owned()),
        Dtype::Int32 => {
            let values = gather::<i32>(of.bytes, of.view);
            Ok(values.iter().map(|value| i64::from(*value)).collect())
        }
        _ => Err(NeedsLibtorch),
    }
}

fn ints(call: &OperatorCall, argument: usize) -> Result<Vec<i64>, NeedsLibtorch> {
    let int = |value: &Scalar| match value {
        Scalar::Int(value) => Ok(*value),
        _ => Err(NeedsLibtorch),
    };
    match call.args.get(argument) {
        None => Ok(Vec::new()),
        Some(Argument::Scalar(value)) => int(value).map(|value| vec![value]),
        Some(Argument::Scalars(list)) => list.iter().map(int).collect(),
        Some(_) => Err(NeedsLibtorch),
    }
}

/// Calls a function with the index of each element in row-major order.
fn for_each_index(shape: &[u64], f: &mut impl FnMut(&[u64])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        f(&index);
        let mut dim = shape.len();
        loop {
            let Some(next) = dim.checked_sub(1) else {
                return;
            };
            dim = next;
            index[dim] += 1;
            if index[dim] < shape[dim] {
                break;
            }
            index[dim] = 0;
        }
    }
}

/// The number of an element in row-major order.
fn number(shape: &[u64], index: &[u64]) -> u64 {
    let dims = shape.iter().zip(index);
    dims.fold(0, |number, (size, at)| number * size + at)
}

/// The numbers of the elements that a function of each index of the output gives.
fn numbers(
    out: &[u64],
    mut f: impl FnMut(&[u64]) -> Option<Option<u64>>,
) -> Option<Vec<Option<u64>>> {
    let (mut all, mut is_known) = (Vec::new(), true);
    for_each_index(out, &mut |index| match f(index) {
        Some(number) => all.push(number),
        None => is_known = false,
    });
    is_known.then_some(all)
}

fn triangle(shape: &[u64], diagonal: i64, upper: bool) -> Option<Vec<Option<u64>>> {
    let [.., _, _] = shape else { return None };
    numbers(shape, |index| {
        let [.., row, column] = *index else {
            return None;
        };
        let above = i128::from(column) - i128::from(row) - i128::from(diagonal);
        let is_kept = if upper { above >= 0 } else { above <= 0 };
        Some(is_kept.then(|| number(shape, index)))
    })
}

fn place(dim: i64, dims: usize) -> Option<usize> {
    let dims = i64::try_from(dims).ok()?;
    let dim = if dim < 0 { dim.checked_add(dims)? } else { dim };
    usize::try_from(dim).ok().filter(|_| dim < dims)
}

fn flipped(shape: &[u64], dims: &[i64]) -> Option<Vec<Option<u64>>> {
    let mut flips = vec![false; shape.len()];
    for dim in dims {
        flips[place(*dim, shape.len())?] = true;
    }
    numbers(shape, |index| {
        let index: Vec<u64> = (0..shape.len())
            .map(|dim| match flips[dim] {
                true => shape[dim] - 1 - index[dim],
                false => index[dim],
            })
            .collect();
        Some(Some(number(shape, &index)))
    })
}

fn rolled(shape: &[u64], shifts: &[i64], dims: &[i64]) -> Option<Vec<Option<u64>>> {
    let from = |at: u64, shift: i64, size: u64| {
        let size = i128::from(size);
        u64::try_from((i128::from(at) - i128::from(shift)).rem_euclid(size)).ok()
    };
    let numel = crate::view::product(shape)?;
    if let ([], [shift]) = (dims, shifts) {
        return numbers(shape, |index| {
            Some(Some(from(number(shape, index), *shift, numel)?))
        });
    }
    if dims.len() != shifts.len() {
        return None;
    }
    let mut by = vec![0i64; shape.len()];
    for (dim, shift) in dims.iter().zip(shifts) {
        let by = &mut by[place(*dim, shape.len())?];
        *by = by.checked_add(*shift)?;
    }
    numbers(shape, |index| {
        let index: Option<Vec<u64>> = (0..shape.len())
            .map(|dim| from(index[dim], by[dim], shape[dim]))
            .collect();
        Some(Some(number(shape, &index?)))
    })
}

fn selected(shape: &[u64], dim: usize, indices: &[i64]) -> Option<Vec<Option<u64>>> {
    let mut out = shape.to_vec();
    // A tensor without dimensions has one element.
    if let Some(size) = out.get_mut(dim) {
        *size = indices.len() as u64;
    }
    numbers(&out, |index| {
        let mut index = index.to_vec();
        if let (Some(at), Some(size)) = (index.get_mut(dim), shape.get(dim)) {
            let wanted = indices.get(usize::try_from(*at).ok()?)?;
            *at = u64::try_from(*wanted).ok().filter(|wanted| wanted < size)?;
        }
        Some(Some(number(shape, &index)))
    })
}

fn gathered(shape: &[u64], dim: usize, out: &[u64], indices: &[i64]) -> Option<Vec<Option<u64>>> {
    if out.len() != shape.len() || shape.is_empty() {
        return None;
    }
    let mut indices = indices.iter();
    numbers(out, |index| {
        let mut index = index.to_vec();
        index[dim] = u64::try_from(*indices.next()?).ok()?;
        let is_inside = index.iter().zip(shape).all(|(at, size)| at < size);
        is_inside.then(|| Some(number(shape, &index)))
    })
}

/// Indices for some dimensions: their shape and values.
type Indices = [Option<(Vec<u64>, Vec<i64>)>];

fn indexed(shape: &[u64], indices: &Indices) -> Option<Vec<Option<u64>>> {
    let mut by = Vec::new();
    for (of, _) in indices.iter().flatten() {
        by = crate::shape::joined(&by, of).ok()?;
    }
    let at: Vec<usize> = (0..indices.len())
        .filter(|dim| indices[*dim].is_some())
        .collect();
    let (first, last) = (*at.first()?, *at.last()?);
    // The dimensions of the indices replace adjacent ones, else they come first.
    let before = if last - first + 1 == at.len() {
        first
    } else {
        0
    };
    let rest: Vec<usize> = (0..shape.len())
        .filter(|dim| indices.get(*dim).is_none_or(Option::is_none))
        .collect();
    let mut out: Vec<u64> = rest[..before].iter().map(|dim| shape[*dim]).collect();
    out.extend(&by);
    out.extend(rest[before..].iter().map(|dim| shape[*dim]));
    numbers(&out, |index| {
        let (lead, tail) = index.split_at(before);
        let (here, tail) = tail.split_at(by.len());
        let mut kept = lead.iter().chain(tail);
        let mut from = Vec::with_capacity(shape.len());
        for (dim, size) in shape.iter().enumerate() {
            from.push(match indices.get(dim).and_then(Option::as_ref) {
                None => *kept.next()?,
                Some((of, values)) => {
                    let here = &here[by.len() - of.len()..];
                    let here: Vec<u64> = here
                        .iter()
                        .zip(of)
                        .map(|(at, size)| if *size == 1 { 0 } else { *at })
                        .collect();
                    let value = *values.get(usize::try_from(number(of, &here)).ok()?)?;
                    let size_of = i64::try_from(*size).ok()?;
                    let value = if value < 0 {
                        value.checked_add(size_of)?
                    } else {
                        value
                    };
                    u64::try_from(value).ok().filter(|value| value < size)?
                }
            });
        }
        Some(Some(number(shape, &from)))
    })
}

/// Each number as often as it is repeated.
fn repetitions(repeats: &[i64], target: &mut [u8], out: &View) -> Result<(), NeedsLibtorch> {
    let mut values: Vec<i64> = Vec::new();
    for (i, times) in (0i64..).zip(repeats) {
        let times = usize::try_from(*times).map_err(|_| NeedsLibtorch)?;
        if times as u64 > out.numel() - values.len() as u64 {
            return Err(NeedsLibtorch);
        }
        values.extend(std::iter::repeat_n(i, times));
    }
    if values.len() as u64 != out.numel() {
        return Err(NeedsLibtorch);
    }
    match out.dtype() {
        Dtype::Int64 => scatter(target, out, &values),
        Dtype::Int32 => {
            let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
            scatter(target, out, &values);
        }
        _ => return Err(NeedsLibtorch),
    }
    Ok(())
}

/// Of bools and integers of one dtype.
fn bitwise(
    name: &str,
    a: Source<'_>,
    b: Source<'_>,
    target: &mut [u8],
    out: &View,
) -> Result<(), NeedsLibtorch> {
    let dtype = out.dtype();
    let is_whole = !dtype.is_floating_point() && !dtype.name().starts_with("complex");
    if !is_whole || a.view.dtype() != dtype || b.view.dtype() != dtype {
        return Err(NeedsLibtorch);
    }
    macro_rules! apply {
        ($type:ty) => {{
            let a = gather_broadcast::<$type>(a.bytes, a.view, out.shape());
            let b = gather_broadcast::<$type>(b.bytes, b.view, out.shape());
            let values = a.iter().zip(b.iter()).map(|(a, b)| match name {
                "bitwise_and" => a & b,
                "bitwise_or" => a | b,
                _ => a ^ b,
            });
            scatter(target, out, &values.collect::<Vec<$type>>());
        }};
    }
    match dtype.size() {
        1 => apply!(u8),
        2 => apply!(u16),
        4 => apply!(u32),
        8 => apply!(u64),
        _ => return Err(NeedsLibtorch),
    }
    Ok(())
}
