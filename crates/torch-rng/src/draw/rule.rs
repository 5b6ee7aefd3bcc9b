//! The definition of a draw, and of the tensor that it fills.

use crate::dtype::Dtype;
use crate::element::Element;
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::parallel::Chunk;
use crate::semantics::Semantics;
use std::ops::{Range, RangeInclusive};

/// The tensor that a draw fills, as far as it affects the words, and the semantics that it is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The dtype of its elements.
    pub dtype: Dtype,
    /// The size of each dimension.
    pub shape: &'a [u64],
    /// Whether the tensor is contiguous. PyTorch draws the elements of other tensors one by one, in
    /// memory order.
    pub contiguous: bool,
    /// The versions of PyTorch whose bits are drawn.
    pub semantics: Semantics,
}

impl<'a> Target<'a> {
    /// A contiguous tensor, drawn with the newest semantics.
    pub fn new(dtype: Dtype, shape: &'a [u64]) -> Target<'a> {
        Target {
            dtype,
            shape,
            contiguous: true,
            semantics: Semantics::NEWEST,
        }
    }

    /// Sets the versions of PyTorch whose bits are drawn.
    #[must_use]
    pub fn with_semantics(self, semantics: Semantics) -> Target<'a> {
        Target { semantics, ..self }
    }

    /// The number of elements; saturates.
    pub fn numel(&self) -> u64 {
        let sizes = self.shape.iter();
        sizes.fold(1, |numel: u64, size| numel.saturating_mul(*size))
    }
}

/// What a draw consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumed {
    /// The number of 32-bit words; `None` if it depends on their values or overflows.
    pub words: Option<u64>,
    /// Whether the generator [caches a normal](Mt19937::next_double_normal) afterwards; `None` if
    /// that is unknown.
    pub cached: Option<bool>,
}

/// The definition of a draw.
pub(crate) trait Rule: Copy + Sized {
    /// The name of PyTorch's function.
    const NAME: &'static str;
    /// The number of arguments.
    const ARITY: usize;

    /// The dtypes that it fills.
    const DTYPES: &'static [Dtype] = &[
        Dtype::Float16,
        Dtype::Bfloat16,
        Dtype::Float32,
        Dtype::Float64,
    ];
    /// The numbers of dimensions of the tensors that it fills.
    const DIMS: RangeInclusive<usize> = 0..=usize::MAX;

    /// The arguments, in the order of PyTorch's function.
    fn args(&self) -> Vec<f64>;

    /// The draw with these arguments; `None` unless there are [`ARITY`](Self::ARITY) of them.
    fn from_args(args: &[f64]) -> Option<Self>;

    /// Checks the arguments; the error names what was expected and found.
    fn check(&self, target: Target<'_>) -> Result<(), String>;

    /// What the draw consumes if the generator caches a normal before, does not, or may (`None`).
    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed;

    /// The newest semantics with the bits that those of the target give.
    fn newest_equivalent(&self, target: Target<'_>) -> Semantics;

    /// The number of normals that it draws one at a time, before anything else.
    fn serial_normals(&self, _target: Target<'_>) -> u64 {
        0
    }

    /// Whether [`skip_values`](Self::skip_values) skips a draw whose number of words depends on their values.
    fn can_skip_values(&self, _target: Target<'_>) -> bool {
        false
    }

    /// Computes the values of such a draw in bounded memory, and moves the generator to where it ends.
    fn skip_values(&self, _engine: &Engine, _generator: &mut Mt19937, _target: Target<'_>) {}

    /// Fills the elements of `target`, in memory order.
    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError>;

    /// Whether [`fill_range`](Self::fill_range) supports this target, and [`chunks`](Self::chunks) if the number
    /// of its words is known.
    fn has_ranges(&self, _target: Target<'_>) -> bool {
        false
    }

    /// Fills `values` with the elements of `range` of a target that has ranges; `start` is the generator
    /// before the whole draw.
    fn fill_range<T: Element>(
        &self,
        _engine: &Engine,
        _start: &Mt19937,
        _target: Target<'_>,
        _range: Range<u64>,
        _values: &mut [T],
    ) -> Result<(), DrawError> {
        Err(DrawError::Range(Self::NAME))
    }

    /// Divides the draw of a target that has ranges into chunks.
    fn chunks<'a, T: Element>(
        &self,
        _engine: &Engine,
        _target: Target<'_>,
        _values: &'a mut [T],
    ) -> Result<Vec<Chunk<'a>>, DrawError> {
        Err(DrawError::Range(Self::NAME))
    }
}
