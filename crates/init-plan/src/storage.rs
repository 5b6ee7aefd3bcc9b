//! The memory of one storage.

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
