//! The memory of the tensors of an update.

use super::real::Real;
use super::step::Chunk;
use crate::ffi::{self, CpuMemory};
use std::marker::PhantomData;
use std::ops::Range;
use tch::{Kind, Tensor};

/// The memory of a parameter, of its gradient, and of its state: contiguous numbers of one type and shape, aligned, and no two
/// overlap.
pub(super) struct Arrays<'a> {
    data: Vec<*mut u8>,
    numel: usize,
    is_double: bool,
    _tensors: PhantomData<&'a mut Tensor>,
}

// SAFETY: it is memory; `chunk` asks its caller that no two threads use the same part.
unsafe impl Sync for Arrays<'_> {}

impl<'a> Arrays<'a> {
    /// `None` for tensors that are anything else.
    pub(super) fn of(tensors: &'a mut [Tensor]) -> Result<Option<Arrays<'a>>, String> {
        const FLOAT: i32 = ffi::scalar_type(Kind::Float);
        const DOUBLE: i32 = ffi::scalar_type(Kind::Double);
        let mut memories: Vec<CpuMemory<'_>> = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            match ffi::cpu_memory(tensor)? {
                Some(memory) if memory.numel > 0 => memories.push(memory),
                _ => return Ok(None),
            }
        }
        let Some(first) = memories.first().copied() else {
            return Ok(None);
        };
        let is_double = match first.dtype {
            FLOAT => false,
            DOUBLE => true,
            _ => return Ok(None),
        };
        let size = if is_double {
            size_of::<f64>()
        } else {
            size_of::<f32>()
        };
        let same = |m: &CpuMemory<'_>| (m.dtype, m.shape) == (first.dtype, first.shape);
        let mut starts: Vec<usize> = memories.iter().map(|m| m.data.as_ptr() as usize).collect();
        starts.sort_unstable();
        let bytes = first.numel * size;
        let is_apart = starts.windows(2).all(|pair| pair[1] - pair[0] >= bytes);
        let is_aligned = starts.iter().all(|start| start % size == 0);
        if !(2..=4).contains(&memories.len())
            || !memories.iter().all(same)
            || !is_apart
            || !is_aligned
        {
            return Ok(None);
        }
        Ok(Some(Arrays {
            data: memories.iter().map(|m| m.data.as_ptr().cast()).collect(),
            numel: first.numel,
            is_double,
            _tensors: PhantomData,
        }))
    }

    pub(super) fn numel(&self) -> usize {
        self.numel
    }

    pub(super) fn is_double(&self) -> bool {
        self.is_double
    }

    /// A part of all of them. State that the optimizer does not have is empty.
    ///
    /// # Safety
    ///
    /// The elements are `T`, the range is within `numel`, and nobody else uses this part while the chunk lives.
    pub(super) unsafe fn chunk<'c, T: Real>(
        &'c self,
        range: Range<usize>,
        scratch: &'c mut [T],
    ) -> Chunk<'c, T> {
        let start = |array: *mut u8| array.cast::<T>().wrapping_add(range.start);
        let of_state = |index: usize| match self.data.get(2 + index) {
            // SAFETY: the caller's promise.
            Some(array) => unsafe { std::slice::from_raw_parts_mut(start(*array), range.len()) },
            None => &mut [],
        };
        Chunk {
            // SAFETY: the caller's promise; `of` makes at least two arrays.
            param: unsafe { std::slice::from_raw_parts_mut(start(self.data[0]), range.len()) },
            // SAFETY: as above.
            grad: unsafe { std::slice::from_raw_parts(start(self.data[1]), range.len()) },
            state: [of_state(0), of_state(1)],
            scratch,
        }
    }
}
