//! `torch.Tensor.uniform_`.

use super::{Consumed, Rule, Target};
use crate::distribution::{DrawError, Element, Engine};
use crate::{Dtype, Mt19937};
use std::ops::Range;

/// Uniform values in `[from, to)`, as [`uniform_`](crate::distribution::uniform_) draws them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uniform {
    /// The lower bound.
    pub from: f64,
    /// The upper bound.
    pub to: f64,
}

/// The words of one uniform value; `None` for a dtype that has none.
pub(super) fn words_per_value(dtype: Dtype) -> Option<u64> {
    match dtype {
        Dtype::Float32 | Dtype::Bfloat16 | Dtype::Float16 => Some(1),
        Dtype::Float64 => Some(2),
        Dtype::Int64 => None,
    }
}

/// Moves the generator by uniform values.
pub(super) fn skip_values<T: Element>(engine: &Engine, generator: &mut Mt19937, values: u64) {
    // Every element has uniform values.
    engine.skip(generator, values * words_per_value(T::DTYPE).unwrap_or(0));
}

impl Rule for Uniform {
    const NAME: &'static str = "uniform_";
    const ARITY: usize = 2;

    fn args(&self) -> Vec<f64> {
        vec![self.from, self.to]
    }

    fn from_args(args: &[f64]) -> Option<Uniform> {
        match *args {
            [from, to] => Some(Uniform { from, to }),
            _ => None,
        }
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        let Uniform { from, to } = *self;
        match from <= to && (to - from).is_finite() {
            true => Ok(()),
            false => Err(format!(
                "expected from <= to with a finite difference, found from = {from}, to = {to}"
            )),
        }
    }

    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        Consumed {
            words: words_per_value(target.dtype)
                .and_then(|words| words.checked_mul(target.numel())),
            cached,
        }
    }

    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        _target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        engine.uniform_(generator, values, self.from, self.to)
    }

    fn has_ranges(&self, _target: Target<'_>) -> bool {
        true
    }

    fn fill_range<T: Element>(
        &self,
        engine: &Engine,
        start: &Mt19937,
        _target: Target<'_>,
        range: Range<u64>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        let mut generator = start.clone();
        skip_values::<T>(engine, &mut generator, range.start);
        engine.uniform_(&mut generator, values, self.from, self.to)
    }
}
