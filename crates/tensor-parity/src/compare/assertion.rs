//! Assertions for tests.

use super::criterion::Criterion;
use super::source::{AsTensor, SourceError};
use super::tensor_comparison::TensorComparison;
use std::fmt;

/// Panics unless two tensors have the same bits.
///
/// The first argument is `actual`, the second `expected`. Each is a value that implements
/// [`AsTensor`](crate::compare::AsTensor): a `tch::Tensor`, a [`TensorView`](crate::TensorView), or a
/// slice, array or vector of `f32` or `f64`. A message may follow, as in `assert_eq!`. The panic
/// message shows the greatest difference.
///
/// ```
/// use tensor_parity::assert_bits_eq;
///
/// let doubled: Vec<f32> = [0.1f32, 0.2].iter().map(|x| x + x).collect();
/// assert_bits_eq!(doubled, [0.2f32, 0.4]);
/// assert_bits_eq!(&doubled[1..], &[0.4f32][..], "the last of {}", doubled.len());
/// ```
///
/// ```should_panic
/// tensor_parity::assert_bits_eq!([0.0f32], [-0.0f32]);
/// ```
#[macro_export]
macro_rules! assert_bits_eq {
    ($actual:expr, $expected:expr $(,)?) => {
        $crate::compare::assert_same(
            &$actual,
            &$expected,
            $crate::compare::Criterion::Bits,
            ::std::option::Option::None,
        )
    };
    ($actual:expr, $expected:expr, $($message:tt)+) => {
        $crate::compare::assert_same(
            &$actual,
            &$expected,
            $crate::compare::Criterion::Bits,
            ::std::option::Option::Some(::std::format_args!($($message)+)),
        )
    };
}

/// Panics unless the elements of two floating point tensors are at most a number of units in the
/// last place apart.
///
/// The arguments are those of [`assert_bits_eq!`](crate::assert_bits_eq), with the number of ULPs
/// as the third.
///
/// ```
/// use tensor_parity::assert_ulp_le;
///
/// assert_ulp_le!([0.1f64 + 0.2], [0.3], 1);
/// assert_ulp_le!([0.1f64 + 0.2], [0.3], 1, "in {}", "f64");
/// ```
///
/// ```should_panic
/// tensor_parity::assert_ulp_le!([1.0f32 + 4.0 * f32::EPSILON], [1.0f32], 3);
/// ```
#[macro_export]
macro_rules! assert_ulp_le {
    ($actual:expr, $expected:expr, $ulps:expr $(,)?) => {
        $crate::compare::assert_same(
            &$actual,
            &$expected,
            $crate::compare::Criterion::Ulp($ulps),
            ::std::option::Option::None,
        )
    };
    ($actual:expr, $expected:expr, $ulps:expr, $($message:tt)+) => {
        $crate::compare::assert_same(
            &$actual,
            &$expected,
            $crate::compare::Criterion::Ulp($ulps),
            ::std::option::Option::Some(::std::format_args!($($message)+)),
        )
    };
}

/// Panics unless two tensors are the same under a criterion.
///
/// [`assert_bits_eq!`](crate::assert_bits_eq) and [`assert_ulp_le!`](crate::assert_ulp_le) call it.
///
/// ```
/// use tensor_parity::compare::{Criterion, assert_same};
///
/// assert_same(&[1.0f32], &[1.0f32 + 1e-7], Criterion::close(), None);
/// ```
///
/// # Panics
///
/// If the tensors differ, or if one cannot be read.
#[track_caller]
pub fn assert_same<A, B>(
    actual: &A,
    expected: &B,
    criterion: Criterion,
    message: Option<fmt::Arguments<'_>>,
) where
    A: AsTensor + ?Sized,
    B: AsTensor + ?Sized,
{
    let failure = match compare(actual, expected, criterion) {
        Ok(comparison) if comparison.is_same() => return,
        Ok(comparison) => comparison.to_string(),
        Err(error) => format!("cannot compare: {error}"),
    };
    match message {
        Some(message) => panic!("{message}\n{failure}"),
        None => panic!("{failure}"),
    }
}

fn compare<A, B>(
    actual: &A,
    expected: &B,
    criterion: Criterion,
) -> Result<TensorComparison, SourceError>
where
    A: AsTensor + ?Sized,
    B: AsTensor + ?Sized,
{
    let (actual, expected) = (actual.as_tensor()?, expected.as_tensor()?);
    let (actual, expected) = (actual.view()?, expected.view()?);
    Ok(TensorComparison::new(&actual, &expected, criterion))
}
