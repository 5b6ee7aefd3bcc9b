//! `torch.nn.init.orthogonal_`.

use super::normal::{BLOCK, consumed, newest_equivalent};
use super::rule::{Consumed, Rule, Target};
use crate::element::Element;
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::semantics::Semantics;
use std::ops::RangeInclusive;

/// A (semi-)orthogonal matrix: the QR decomposition of normal values, which needs libtorch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orthogonal {
    /// The factor of the matrix.
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
        // PyTorch draws into a new, contiguous matrix.
        consumed(target, target.numel() < BLOCK as u64, cached)
    }

    fn newest_equivalent(&self, target: Target<'_>) -> Semantics {
        newest_equivalent(target, target.numel() < BLOCK as u64)
    }

    fn serial_normals(&self, target: Target<'_>) -> u64 {
        match target.numel() < BLOCK as u64 {
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
