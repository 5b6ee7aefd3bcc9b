//! What materializes a plan: a generator, the memory it fills, and what computes.

use crate::step::Op;
use crate::storage::{Storage, Storages};
use crate::view::View;
use std::error::Error;
use torch_rng::Engine;
use torch_rng::{Draw, Mt19937, Target};

/// An error of a [`Stream`].
pub type StreamError = Box<dyn Error + Send + Sync>;

/// A CPU generator from which plans are materialized.
///
/// [`Mt19937`] and [`CpuStream`](crate::CpuStream) need no libtorch. `tch_init::Generator` has
/// libtorch compute what they refuse, and makes libtorch's tensors.
pub trait Stream: Sized {
    /// What parameters and buffers become. Tensors of one storage share its memory.
    type Tensor;
    /// What owns the memory of a storage.
    type Memory;

    /// Returns the generator's position.
    ///
    /// # Errors
    ///
    /// If the generator is not one of the CPU.
    fn position(&self) -> Result<Mt19937, StreamError>;

    /// Moves the generator to a position.
    ///
    /// # Errors
    ///
    /// If the generator is not one of the CPU.
    fn set_position(&mut self, position: &Mt19937) -> Result<(), StreamError>;

    /// A second generator at the same position.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    fn try_clone(&self) -> Result<Self, StreamError>;

    /// The engine that fills contiguous tensors with this draw, or `None` if [`draw`](Self::draw)
    /// has to. Never affects the bits.
    fn engine(&self, draw: &Draw, target: Target<'_>) -> Option<Engine>;

    /// Allocates a storage, of zeros or of anything.
    ///
    /// # Errors
    ///
    /// If memory is exhausted.
    fn allocate(&self, bytes: u64, zeroed: bool) -> Result<Storage<Self::Memory>, StreamError>;

    /// The tensor of a view, which keeps the storage's memory.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    fn tensor(
        &self,
        storage: &Storage<Self::Memory>,
        view: &View,
    ) -> Result<Self::Tensor, StreamError>;

    /// Draws into a view of a storage, from the generator's position.
    ///
    /// # Errors
    ///
    /// For arguments that PyTorch refuses, and for draws that this stream cannot compute.
    fn draw(
        &mut self,
        draw: &Draw,
        storage: &mut Storage<Self::Memory>,
        view: &View,
    ) -> Result<(), StreamError>;

    /// Computes a step that draws nothing. The views that it reads have memory, and `out` may lack
    /// it.
    ///
    /// # Errors
    ///
    /// For steps that PyTorch refuses, and for those that this stream cannot compute.
    fn compute(
        &self,
        op: &Op,
        out: usize,
        storages: &mut Storages<'_, Self>,
    ) -> Result<(), StreamError>;
}
