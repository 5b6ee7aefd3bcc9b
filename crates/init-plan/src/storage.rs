//! The memory of one storage.

use crate::view::View;
use std::ptr::NonNull;

/// Memory that is too small for the view or the plan it is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a storage of at least {expected} bytes, found {found}")]
#[non_exhaustive]
pub struct StorageTooSmall {
    /// The bytes that are needed.
    pub expected: u64,
    /// The bytes of the storage.
    pub found: u64,
}

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

    /// Checks that a view ends within the bytes.
    ///
    /// # Errors
    ///
    /// [`StorageTooSmall`] if it does not.
    pub fn check(&self, view: &View) -> Result<(), StorageTooSmall> {
        self.check_size(view.bytes().end)
    }

    /// Checks that there are this many bytes.
    pub(crate) fn check_size(&self, expected: u64) -> Result<(), StorageTooSmall> {
        let found = self.bytes as u64;
        match expected <= found {
            true => Ok(()),
            false => Err(StorageTooSmall { expected, found }),
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
