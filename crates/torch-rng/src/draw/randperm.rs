//! `torch.randperm`.
//!
//! Follows `randperm_cpu` (`ATen/native/TensorFactories.cpp`), PyTorch 2.13.

use super::rule::{Consumed, Rule, Target};
use crate::dtype::Dtype;
use crate::element::Element;
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::semantics::Semantics;
use std::ops::RangeInclusive;

/// A permutation of the integers below the number of elements, as `torch.randperm` draws it:
/// [`randperm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Randperm;

/// The length from which one word per element is too coarse.
const LARGE: usize = u32::MAX as usize / 20;

/// The words that a permutation of `n` consumes; `None` if the count overflows.
pub(super) fn randperm_words(n: u64) -> Option<u64> {
    if n < LARGE as u64 {
        Some(n.saturating_sub(1))
    } else {
        n.checked_mul(2)
    }
}

/// Draws a permutation of the integers below `n`, as `torch.randperm(n)` does.
///
/// Consumes the words that [`Draw::consumed`](crate::Draw::consumed) of a [`Randperm`] returns.
///
/// ```
/// use torch_rng::{Mt19937, randperm};
///
/// // python: torch.manual_seed(1); torch.randperm(5).tolist()
/// assert_eq!(randperm(&mut Mt19937::new(1), 5), [0, 4, 2, 3, 1]);
/// ```
pub fn randperm(generator: &mut Mt19937, n: usize) -> Vec<i64> {
    let mut permutation = Vec::new();
    Engine::default().randperm_prefix(generator, n, n, &mut permutation);
    permutation
}

impl Engine {
    /// Draws a permutation of the integers below `n` and computes its first `count` elements; those after
    /// them are in no particular order. The memory of `permutation` is reused.
    ///
    /// ```
    /// use torch_rng::{Engine, Mt19937, randperm};
    ///
    /// let mut prefix = Vec::new();
    /// Engine::default().randperm_prefix(&mut Mt19937::new(1), 5, 2, &mut prefix);
    /// assert_eq!(prefix[..2], randperm(&mut Mt19937::new(1), 5)[..2]);
    /// ```
    pub fn randperm_prefix(
        &self,
        generator: &mut Mt19937,
        n: usize,
        count: usize,
        permutation: &mut Vec<i64>,
    ) {
        permutation.clear();
        permutation.extend(0..n as i64);
        if n >= LARGE {
            // From the inside out, so the last step may move the first element.
            for i in 0..n {
                let j = (generator.random64() % (i as u64 + 1)) as usize;
                permutation[i] = permutation[j];
                permutation[j] = i as i64;
            }
            return;
        }
        /// The words that are drawn at a time.
        const AT_A_TIME: usize = 1024;
        let steps = n.saturating_sub(1);
        let count = count.min(steps);
        let mut words = [0; AT_A_TIME];
        for first in (0..count).step_by(AT_A_TIME) {
            let words = &mut words[..AT_A_TIME.min(count - first)];
            generator.fill_words_with(self.simd(), words);
            for (i, word) in (first..).zip(words) {
                permutation.swap(i, i + *word as usize % (n - i));
            }
        }
        self.skip(generator, (steps - count) as u64);
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

    /// For any dtype.
    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        Consumed {
            words: randperm_words(target.numel()),
            cached,
        }
    }

    fn newest_equivalent(&self, _target: Target<'_>) -> Semantics {
        Semantics::NEWEST
    }

    /// Permutations are integers, which are not [`Element`]s: see [`randperm`].
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
