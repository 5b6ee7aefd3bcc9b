//! The memory of a plan while it is materialized.

use crate::stream::{Stream, StreamError};
use crate::view::View;
use std::ptr::NonNull;

/// One allocation, whose bytes several views may share.
#[derive(Debug)]
pub struct Storage<M> {
    memory: M,
    start: NonNull<u8>,
    bytes: usize,
}

impl<M> Storage<M> {
    /// Wraps memory that `memory` owns.
    ///
    /// # Safety
    ///
    /// `start` is aligned to 8 bytes and begins `bytes` initialized bytes, which stay where they are
    /// as long as `memory` lives, and which nobody else accesses while a reference to them from
    /// [`bytes`](Self::bytes) or [`bytes_mut`](Self::bytes_mut) lives.
    pub unsafe fn new(memory: M, start: NonNull<u8>, bytes: usize) -> Storage<M> {
        Storage {
            memory,
            start,
            bytes,
        }
    }

    /// What owns the memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the promise of `new`; the storage is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// All bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the promise of `new`; the storage is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

/// The storages of a plan that are in use.
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
            None => stream.allocate(self.sizes[number], self.zeroed[number])?,
        };
        Ok(self.storages[number].insert(storage))
    }

    /// Whether a view is its whole storage, in order.
    pub fn is_whole(&self, view: usize) -> bool {
        let view = &self.views[view];
        view.bytes() == (0..self.sizes[view.storage()]) && view.is_contiguous() && view.numel() > 0
    }

    /// Replaces the storage of a view by another one of the same size.
    pub fn replace(&mut self, view: usize, storage: Storage<S::Memory>) {
        self.storages[self.views[view].storage()] = Some(storage);
    }
}
