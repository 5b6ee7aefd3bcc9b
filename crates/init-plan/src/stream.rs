//! What materializes a plan: a generator, the memory it fills, and what computes.

use crate::error::PlanError;
pub use crate::error::StreamError;
use crate::operator::OperatorCall;
use crate::step::Op;
use crate::storage::{Storage, StorageTooSmall};
use crate::validate::{validate, validate_call};
use crate::view::View;
use torch_rng::Engine;
use torch_rng::{Draw, Mt19937, Semantics, Target};

/// A CPU generator from which plans are materialized.
///
/// [`Mt19937`] and [`CpuStream`](crate::CpuStream) need no libtorch. `tch_init::Generator` has
/// libtorch compute what they reject, and makes libtorch's tensors.
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

    /// The engine that fills contiguous tensors with this draw, with the semantics of `target`, or `None` if
    /// [`draw`](Self::draw) has to. Never affects the bits.
    fn engine(&self, draw: &Draw, target: Target<'_>) -> Option<Engine>;

    /// Whose roundings the values have: `AVX2`, those of PyTorch's kernels for AVX2 and AVX-512, unless it is libtorch that
    /// draws and computes, with other kernels. Files of both are not mixed.
    fn kernels(&self) -> String {
        "AVX2".to_owned()
    }

    /// Allocates a storage, of zeros or of anything.
    ///
    /// # Errors
    ///
    /// If memory is exhausted.
    ///
    /// # Safety
    ///
    /// Unless the storage is of zeros, bytes are not read before they are written.
    unsafe fn allocate(
        &self,
        bytes: u64,
        zeroed: bool,
    ) -> Result<Storage<Self::Memory>, StreamError>;

    /// The tensor of a view, which keeps the storage's memory.
    ///
    /// # Errors
    ///
    /// If the view does not lie in the storage, or the tensor cannot be created.
    ///
    /// # Safety
    ///
    /// The bytes of `storage` are not written through it any more.
    unsafe fn tensor(
        &self,
        storage: &Storage<Self::Memory>,
        view: &View,
    ) -> Result<Self::Tensor, StreamError>;

    /// Draws into a view of a storage, from the generator's position, with the bits of some versions of
    /// PyTorch.
    ///
    /// # Errors
    ///
    /// For arguments that PyTorch rejects, for a view that does not lie in the storage, and for draws
    /// that this stream cannot compute.
    fn draw(
        &mut self,
        draw: &Draw,
        semantics: Semantics,
        storage: &mut Storage<Self::Memory>,
        view: &View,
    ) -> Result<(), StreamError>;

    /// Computes a step that draws nothing. The views that it reads have memory, and `out` may lack
    /// it.
    ///
    /// # Errors
    ///
    /// For steps that PyTorch rejects or whose views do not [fit](Storages::check), and for those that
    /// this stream cannot compute.
    fn compute(
        &self,
        op: &Op,
        out: usize,
        storages: &mut Storages<'_, Self>,
    ) -> Result<(), StreamError>;

    /// Calls an operator. The views that it reads have memory, and the outputs may lack it. If it draws, it
    /// draws from the generator's position.
    ///
    /// # Errors
    ///
    /// For calls that PyTorch rejects, for those whose results have other shapes than the outputs, and for
    /// those that this stream cannot compute.
    fn call(
        &mut self,
        call: &OperatorCall,
        outs: &[usize],
        storages: &mut Storages<'_, Self>,
    ) -> Result<(), StreamError>;
}

/// The storages of a plan that are in use.
///
/// # Panics
///
/// Methods that take the number of a view panic if the plan lacks it, as indexing does; see
/// [`check`](Storages::check).
pub struct Storages<'a, S: Stream> {
    views: &'a [View],
    /// Bytes of each.
    sizes: &'a [u64],
    /// Whether each must be zeros at first.
    zeroed: Vec<bool>,
    pub(crate) storages: Vec<Option<Storage<S::Memory>>>,
}

impl<'a, S: Stream> Storages<'a, S> {
    pub(crate) fn new(views: &'a [View], sizes: &'a [u64], zeroed: Vec<bool>) -> Storages<'a, S> {
        Storages {
            views,
            sizes,
            zeroed,
            storages: sizes.iter().map(|_| None).collect(),
        }
    }

    /// Checks that a step and the views that it reads and writes fit: they exist, and the result has
    /// the shape of `out`.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] names what does not fit.
    pub fn check(&self, op: &Op, out: usize) -> Result<(), PlanError> {
        let views = op.reads().into_iter().chain([out]);
        let known = match views.into_iter().find(|view| *view >= self.views.len()) {
            Some(view) => Err(format!(
                "expected one of {} views, found {view}",
                self.views.len()
            )),
            None => validate(op, out, self.views),
        };
        known.map_err(|problem| PlanError::build(op.name(), problem))
    }

    /// Checks that a call and the views that it reads and writes fit, as [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] names what does not fit.
    pub fn check_call(&self, call: &OperatorCall, outs: &[usize]) -> Result<(), PlanError> {
        let mut views = call.reads().chain(outs.iter().copied());
        let known = match views.find(|view| *view >= self.views.len()) {
            Some(view) => Err(format!(
                "expected one of {} views, found {view}",
                self.views.len()
            )),
            None => validate_call(call, outs, self.views),
        };
        known.map_err(|problem| PlanError::build(call.operator.name(), problem))
    }

    /// The view of this number.
    pub fn view(&self, view: usize) -> &'a View {
        &self.views[view]
    }

    /// The storage of a view, if it has been allocated.
    pub fn get(&self, view: usize) -> Option<&Storage<S::Memory>> {
        self.storages[self.views[view].storage()].as_ref()
    }

    /// The storage of a view, allocated if it has not been yet.
    ///
    /// # Errors
    ///
    /// As [`Stream::allocate`].
    pub fn get_or_allocate(
        &mut self,
        stream: &S,
        view: usize,
    ) -> Result<&mut Storage<S::Memory>, StreamError> {
        let number = self.views[view].storage();
        let storage = match self.storages[number].take() {
            Some(storage) => storage,
            None => {
                let size = self.sizes[number];
                // SAFETY: a run has zeros where a step reads bytes that no earlier one has written.
                let storage = unsafe { stream.allocate(size, self.zeroed[number]) }?;
                storage.check_size(size)?;
                storage
            }
        };
        Ok(self.storages[number].insert(storage))
    }

    /// Whether a view is its whole storage, in order.
    pub fn is_whole(&self, view: usize) -> bool {
        let view = &self.views[view];
        view.bytes() == (0..self.sizes[view.storage()]) && view.is_contiguous() && view.numel() > 0
    }

    /// Replaces the storage of a view by another one of the same size.
    ///
    /// # Errors
    ///
    /// [`StorageTooSmall`] if the other one is smaller.
    pub fn replace(
        &mut self,
        view: usize,
        storage: Storage<S::Memory>,
    ) -> Result<(), StorageTooSmall> {
        let number = self.views[view].storage();
        storage.check_size(self.sizes[number])?;
        self.storages[number] = Some(storage);
        Ok(())
    }
}
