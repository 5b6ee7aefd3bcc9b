//! What an optimizer says of its update.

use super::real::Real;
use crate::optim::error::OptimError;
use tch::Tensor;

/// The elements of a chunk: 16 KiB of `float32` in each tensor. A call of MKL takes 1 µs, whatever there is to do.
pub(super) const CHUNK: usize = 4096;

/// The update of a parameter at one step, with its numbers.
pub(in crate::optim) trait Step: Copy + Sync {
    /// The optimizer.
    const OPTIMIZER: &'static str;

    /// The number of tensors of the state, at most two.
    fn states(&self) -> usize;

    /// Which of the branches of [`compute`](Step::compute) the numbers take: each is checked by itself.
    fn branches(&self) -> u8;

    /// Other numbers, ordinary ones, that take the same branches.
    fn trial(&self) -> Self;

    /// The update by ATen's operators. The tensors are the parameter, its gradient, and its state.
    fn by_operators(&self, tensors: &[Tensor]) -> Result<(), OptimError>;

    /// The same of at most [`CHUNK`] elements, none of them a NaN, with `sqrt` for ATen's square root, and multiply-adds rounded
    /// once if `FMA`.
    fn compute<T: Real, const FMA: bool>(&self, chunk: Chunk<'_, T>, sqrt: impl Fn(&[T], &mut [T]));
}

/// [`Step::branches`] from the branches themselves.
pub(in crate::optim) fn bits<const N: usize>(branches: [bool; N]) -> u8 {
    let add = |bits, branch| 2 * bits + u8::from(branch);
    branches.into_iter().fold(0, add)
}

/// A part of a parameter, of its gradient, and of its state.
pub(in crate::optim) struct Chunk<'a, T> {
    pub(in crate::optim) param: &'a mut [T],
    pub(in crate::optim) grad: &'a [T],
    pub(in crate::optim) state: [&'a mut [T]; 2],
    /// As many elements to use as one likes.
    pub(in crate::optim) scratch: &'a mut [T],
}
