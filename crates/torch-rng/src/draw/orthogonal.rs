//! `torch.nn.init.orthogonal_`.

use super::normal::consumed;
use super::{Consumed, Rule, Target};
use crate::Mt19937;
use crate::distribution::{DrawError, Element, Engine};

/// A (semi-)orthogonal matrix: normal values, whose QR decomposition only libtorch computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orthogonal {
    /// What the matrix is multiplied by.
    pub gain: f64,
}

impl Rule for Orthogonal {
    const NAME: &'static str = "orthogonal_";
    const ARITY: usize = 1;

    fn args(&self) -> Vec<f64> {
        vec![self.gain]
    }

    fn from_args(args: &[f64]) -> Option<Orthogonal> {
        match *args {
            [gain] => Some(Orthogonal { gain }),
            _ => None,
        }
    }

    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        // PyTorch draws a new, contiguous matrix.
        consumed(target, target.numel() < 16, cached)
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
