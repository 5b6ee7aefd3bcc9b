//! `torch.nn.init.orthogonal_`.

use super::normal::consumed;
use super::{Consumed, Rule, Target};
use crate::Mt19937;
use crate::distribution::{DrawError, Element, Engine};
use std::ops::RangeInclusive;

/// A (semi-)orthogonal matrix: normal values, whose QR decomposition only libtorch computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orthogonal {
    /// What the matrix is multiplied by.
    pub gain: f64,
}

impl Rule for Orthogonal {
    const NAME: &'static str = "orthogonal_";
    const ARITY: usize = 1;
    const DIMS: RangeInclusive<usize> = 2..=usize::MAX;

    fn args(&self) -> Vec<f64> {
        vec![self.gain]
    }

    fn from_args(args: &[f64]) -> Option<Orthogonal> {
        match *args {
            [gain] => Some(Orthogonal { gain }),
            _ => None,
        }
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        match self.gain.is_nan() {
            true => Err("expected a number as gain, found NaN".to_owned()),
            false => Ok(()),
        }
    }

    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        // PyTorch draws a new, contiguous matrix.
        consumed(target, target.numel() < 16, cached)
    }

    fn serial_normals(&self, target: Target<'_>) -> u64 {
        match target.numel() < 16 {
            true => target.numel(),
            false => 0,
        }
    }

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
