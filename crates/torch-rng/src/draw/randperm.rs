//! `torch.randperm`.

use super::{Consumed, Rule, Target};
use crate::distribution::{DrawError, Element, Engine, LARGE_RANDPERM};
use crate::{Dtype, Mt19937};
use std::ops::RangeInclusive;

/// A permutation of the integers below the number of elements, as
/// [`randperm`](crate::distribution::randperm) makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Randperm;

/// The words that a permutation of `n` takes; `None` if the count overflows.
pub(super) fn randperm_words(n: u64) -> Option<u64> {
    if n < LARGE_RANDPERM as u64 {
        Some(n.saturating_sub(1))
    } else {
        n.checked_mul(2)
    }
}

impl Rule for Randperm {
    const NAME: &'static str = "randperm";
    const ARITY: usize = 0;
    const DTYPES: &'static [Dtype] = &[Dtype::Int64];
    const DIMS: RangeInclusive<usize> = 1..=1;

    fn args(&self) -> Vec<f64> {
        Vec::new()
    }

    fn from_args(args: &[f64]) -> Option<Randperm> {
        args.is_empty().then_some(Randperm)
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Of any dtype.
    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        Consumed {
            words: randperm_words(target.numel()),
            cached,
        }
    }

    /// Permutations are integers: see [`randperm`](crate::distribution::randperm).
    fn fill<T: Element>(
        &self,
        _engine: &Engine,
        _generator: &mut Mt19937,
        _target: Target<'_>,
        _values: &mut [T],
    ) -> Result<(), DrawError> {
        Err(DrawError::NeedsLibtorch(Self::NAME))
    }
}
