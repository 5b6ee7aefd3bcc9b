//! Memory that needs no libtorch.

use crate::storage::Storage;
use crate::stream::StreamError;
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Arc;

/// The memory of one storage.
pub struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    allocation: NonNull<u8>,
    layout: Layout,
}

// SAFETY: bytes that it owns, which are only read through shared references.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// A cache line.
const ALIGN: usize = 64;

impl Memory {
    pub(super) fn zeroed(bytes: u64) -> Result<Storage<Arc<Memory>>, StreamError> {
        let exhausted = || format!("cannot allocate {bytes} bytes");
        let bytes = usize::try_from(bytes).map_err(|_| exhausted())?;
        // `calloc` gives fresh pages untouched only for small alignments.
        let size = bytes.checked_add(ALIGN).ok_or_else(exhausted)?;
        let layout = Layout::from_size_align(size, 16).map_err(|_| exhausted())?;
        // SAFETY: the layout has a size.
        let allocation = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
        let allocation = allocation.ok_or_else(exhausted)?;
        let padding = allocation.addr().get().wrapping_neg() % ALIGN;
        // SAFETY: less than `ALIGN` bytes, which the allocation has in addition.
        let start = unsafe { allocation.add(padding) };
        let memory = Arc::new(Memory {
            start,
            bytes,
            allocation,
            layout,
        });
        // SAFETY: these bytes are zeros and aligned, and live as long as `memory`. They are written
        // by the storage only, whose tensors read them when it is gone.
        Ok(unsafe { Storage::new(memory, start, bytes) })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: initialized bytes that live as long as this does; nothing writes to them once
        // there are tensors.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once.
        unsafe { std::alloc::dealloc(self.allocation.as_ptr(), self.layout) }
    }
}
