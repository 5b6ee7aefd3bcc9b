//! `torch.nn.init.trunc_normal_`.

use super::normal::Normal;
use super::{Consumed, Rule, Target};
use crate::Mt19937;
use crate::distribution::{DrawError, Element, Engine, redraws};

/// Normal values between bounds, as `torch.nn.init.trunc_normal_` of PyTorch 2.12 and later draws
/// them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruncNormal {
    /// The mean before truncation.
    pub mean: f64,
    /// The standard deviation before truncation.
    pub std: f64,
    /// The lower bound.
    pub a: f64,
    /// The upper bound.
    pub b: f64,
}

impl Rule for TruncNormal {
    const NAME: &'static str = "trunc_normal_";
    const ARITY: usize = 4;

    fn args(&self) -> Vec<f64> {
        vec![self.mean, self.std, self.a, self.b]
    }

    fn from_args(args: &[f64]) -> Option<TruncNormal> {
        match *args {
            [mean, std, a, b] => Some(TruncNormal { mean, std, a, b }),
            _ => None,
        }
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        let TruncNormal { mean, std, a, b } = *self;
        if [mean, std, a, b].iter().any(|x| x.is_nan()) {
            Err(format!(
                "expected numbers, found mean = {mean}, std = {std}, a = {a}, b = {b}"
            ))
        } else if !(std > 0.0 && std.is_finite() && mean.is_finite()) {
            Err(format!(
                "expected a finite mean and a positive finite std, found mean = {mean}, std = {std}"
            ))
        } else if a > b {
            Err(format!("expected a <= b, found a = {a}, b = {b}"))
        } else {
            Ok(())
        }
    }

    /// The number of rounds depends on the values.
    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        let numel = target.numel();
        Consumed {
            words: (numel == 0).then_some(0),
            // An even number of serial draws leaves the cache as it was.
            cached: cached.filter(|_| !Normal::is_serial(target) || numel.is_multiple_of(2)),
        }
    }

    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        let TruncNormal { mean, std, a, b } = *self;
        if !redraws(mean, std, a, b) || (!target.contiguous && target.numel() > 0) {
            // The other method compares densities with libtorch's logarithm.
            return Err(DrawError::NeedsLibtorch(Self::NAME));
        }
        engine.trunc_normal_(generator, values, mean, std, a, b)
    }
}
