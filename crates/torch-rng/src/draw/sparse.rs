//! `torch.nn.init.sparse_`.

use super::normal::{Normal, check_std_argument};
use super::randperm::randperm_words;
use super::rule::{Consumed, Rule, Target};
use crate::element::Element;
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::semantics::Semantics;
use std::ops::RangeInclusive;

/// A matrix of normal values with mean 0, in which a fraction of each column is then set to zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sparse {
    /// The fraction of zeros in each column.
    pub sparsity: f64,
    /// The standard deviation.
    pub std: f64,
}

impl Sparse {
    /// The number of zeros in each column of a matrix with `rows` rows: the end of Python's slice
    /// `[:ceil(sparsity * rows)]`. `None` if the product is not finite.
    pub fn zeros_per_column(&self, rows: u64) -> Option<u64> {
        let end = (self.sparsity * rows as f64).ceil();
        if !end.is_finite() {
            return None;
        }
        Some(match end as i64 {
            end @ ..0 => rows.saturating_sub(end.unsigned_abs()),
            end => end.unsigned_abs().min(rows),
        })
    }

    /// Sets the zeros in `values`, the elements of `target` in memory order: the second half of
    /// [`Draw::fill`](crate::Draw::fill), which PyTorch always draws from its default generator.
    ///
    /// # Errors
    ///
    /// [`DrawError::Dimensions`] and [`DrawError::Sparsity`], and [`DrawError::NeedsLibtorch`] for a
    /// target that is not contiguous. Nothing is drawn then.
    pub fn fill_zeros<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        let (rows, columns, zeros) = self.check(target)?;
        let mut permutation = Vec::new();
        for column in 0..columns {
            engine.randperm_prefix(generator, rows, zeros, &mut permutation);
            for row in &permutation[..zeros] {
                values[*row as usize * columns + column] = T::from_f64(0.0);
            }
        }
        Ok(())
    }

    /// The rows, the columns and the zeros per column of a matrix in memory.
    fn check(&self, target: Target<'_>) -> Result<(usize, usize, usize), DrawError> {
        let [rows, columns] = *target.shape else {
            return Err(DrawError::Dimensions(Self::NAME, target.shape.len()));
        };
        if !target.contiguous {
            return Err(DrawError::NeedsLibtorch(Self::NAME));
        }
        let zeros = self
            .zeros_per_column(rows)
            .ok_or(DrawError::Sparsity(self.sparsity))?;
        Ok((rows as usize, columns as usize, zeros as usize))
    }

    fn normal(&self) -> Normal {
        Normal {
            mean: 0.0,
            std: self.std,
        }
    }
}

impl Rule for Sparse {
    const NAME: &'static str = "sparse_";
    const ARITY: usize = 2;
    const DIMS: RangeInclusive<usize> = 2..=2;

    fn args(&self) -> Vec<f64> {
        vec![self.sparsity, self.std]
    }

    fn from_args(args: &[f64]) -> Option<Sparse> {
        match *args {
            [sparsity, std] => Some(Sparse { sparsity, std }),
            _ => None,
        }
    }

    fn check(&self, target: Target<'_>) -> Result<(), String> {
        let Sparse { sparsity, std } = *self;
        check_std_argument(std)?;
        match (sparsity * target.numel() as f64).is_finite() {
            true => Ok(()),
            false => Err(format!("expected a finite sparsity, found {sparsity}")),
        }
    }

    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        let normal = self.normal().consumed(target, cached);
        let permutations = match *target.shape {
            [rows, columns] => randperm_words(rows).and_then(|words| words.checked_mul(columns)),
            _ => None,
        };
        let words = normal.words.zip(permutations);
        Consumed {
            words: words.and_then(|(a, b)| a.checked_add(b)),
            ..normal
        }
    }

    fn newest_equivalent(&self, target: Target<'_>) -> Semantics {
        self.normal().newest_equivalent(target)
    }

    fn serial_normals(&self, target: Target<'_>) -> u64 {
        self.normal().serial_normals(target)
    }

    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        self.check(target)?;
        self.normal().fill(engine, generator, target, values)?;
        self.fill_zeros(engine, generator, target, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_like_python_slices() {
        // python: [len(range(10)[:e]) for e in (0, 3, 10, 12, -2, -10, -11)]
        let zeros = |end: f64| {
            let sparse = Sparse {
                sparsity: end / 10.0,
                std: 1.0,
            };
            sparse.zeros_per_column(10)
        };
        for (end, expected) in [
            (0.0, 0),
            (3.0, 3),
            (10.0, 10),
            (12.0, 10),
            (-2.0, 8),
            (-10.0, 0),
            (-11.0, 0),
            (1e300, 10),
            (-1e300, 0),
        ] {
            assert_eq!(zeros(end), Some(expected), "{end}");
        }
        assert_eq!(zeros(f64::NAN), None);
        assert_eq!(zeros(f64::INFINITY), None);
    }
}
