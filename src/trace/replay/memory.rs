//! Tensors as views of memory.

use super::NotRun;
use crate::ffi::{CArgument, CGenerator, check, new_tensor};
use crate::trace::hash::value_hash;
use op_trace::{TensorValue, ValueHash};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use tch::Tensor;
use tensor_parity::Dtype;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn tch_init_replay_memory(bytes: u64, out: *mut *mut C_tensor) -> *mut c_char;
    fn tch_init_replay_view(
        base: *const C_tensor,
        dtype: *const c_char,
        sizes: *const i64,
        strides: *const i64,
        dim: u64,
        offset: i64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn tch_init_replay_write(
        tensor: *const C_tensor,
        data: *const c_void,
        bytes: u64,
    ) -> *mut c_char;
    fn tch_init_replay_read(tensor: *const C_tensor, data: *mut c_void, bytes: u64) -> *mut c_char;
    fn tch_init_replay_dtype(
        tensor: *const C_tensor,
        name: *mut c_char,
        capacity: u64,
    ) -> *mut c_char;
    fn tch_init_replay_call(
        name: *const c_char,
        overload: *const c_char,
        arguments: *const CArgument,
        argument_count: u64,
        generator: Option<&CGenerator>,
        grad: c_int,
        outs: *mut *mut C_tensor,
        capacity: u64,
        count: *mut u64,
    ) -> *mut c_char;
}

/// More results than any operator has.
const MAX_RESULTS: usize = 1 << 14;

/// New zeros.
pub fn memory(bytes: usize) -> Result<Tensor, NotRun> {
    // SAFETY: the function writes a new tensor or fails.
    unsafe { new_tensor(|out| tch_init_replay_memory(bytes as u64, out)) }.map_err(NotRun::libtorch)
}

/// Where the elements of a tensor lie in its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub dtype: String,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
    pub offset: i64,
}

impl Layout {
    pub fn of(tensor: &TensorValue) -> Layout {
        Layout {
            dtype: tensor.dtype.to_string(),
            shape: tensor.shape.clone(),
            strides: match &tensor.strides {
                Some(strides) => strides.clone(),
                None => contiguous(&tensor.shape),
            },
            offset: i64::try_from(tensor.offset).unwrap_or(i64::MAX),
        }
    }

    /// The layout of the same tensor in memory of its own: the same strides, without an offset.
    pub fn alone(&self) -> Layout {
        Layout {
            offset: 0,
            ..self.clone()
        }
    }

    /// The bytes of the storage that it needs.
    pub fn bytes(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut last = self.offset;
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add(size.checked_sub(1)?.checked_mul(*stride)?)?;
        }
        usize::try_from(last.checked_add(1)?)
            .ok()?
            .checked_mul(element_size(&self.dtype)?)
    }

    pub fn logical_bytes(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(element_size(&self.dtype)?, |bytes, size| {
                bytes.checked_mul(usize::try_from(*size).ok()?)
            })
    }
}

pub fn contiguous(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for index in (1..shape.len()).rev() {
        strides[index - 1] = strides[index] * shape[index].max(1);
    }
    strides
}

fn element_size(dtype: &str) -> Option<usize> {
    Dtype::from_name(dtype).map(Dtype::size)
}

/// A tensor in the storage of another.
pub fn view(base: &Tensor, layout: &Layout) -> Result<Tensor, NotRun> {
    let dtype =
        CString::new(layout.dtype.as_str()).map_err(|_| NotRun::Argument(layout.dtype.clone()))?;
    if layout.shape.len() != layout.strides.len() {
        return Err(NotRun::Libtorch(
            "a tensor with another number of strides than of dimensions".to_owned(),
        ));
    }
    // SAFETY: the tensor is live for the call, and the slices have `dim` elements; the function checks that the view lies
    // in the storage, and writes a new tensor or fails.
    unsafe {
        new_tensor(|out| {
            tch_init_replay_view(
                base.as_ptr(),
                dtype.as_ptr(),
                layout.shape.as_ptr(),
                layout.strides.as_ptr(),
                layout.shape.len() as u64,
                layout.offset,
                out,
            )
        })
    }
    .map_err(NotRun::libtorch)
}

/// Copies contiguous elements to a tensor.
pub fn write(tensor: &Tensor, bytes: &[u8]) -> Result<(), NotRun> {
    // SAFETY: the tensor is live for the call, which reads the bytes only if there are as many as elements need.
    unsafe {
        check(tch_init_replay_write(
            tensor.as_ptr(),
            bytes.as_ptr().cast(),
            bytes.len() as u64,
        ))
    }
    .map_err(NotRun::libtorch)
}

/// The elements, contiguous.
pub fn read(tensor: &Tensor) -> Result<Vec<u8>, NotRun> {
    let layout = Layout {
        dtype: dtype(tensor)?,
        shape: tensor.size(),
        strides: Vec::new(),
        offset: 0,
    };
    let size = layout
        .logical_bytes()
        .ok_or_else(|| NotRun::Opaque(layout.dtype.clone()))?;
    let mut bytes = vec![0; size];
    // SAFETY: the tensor is live for the call, which writes exactly this many bytes or fails.
    unsafe {
        check(tch_init_replay_read(
            tensor.as_ptr(),
            bytes.as_mut_ptr().cast(),
            size as u64,
        ))
    }
    .map_err(NotRun::libtorch)?;
    Ok(bytes)
}

pub fn hash(tensor: &Tensor) -> Result<ValueHash, NotRun> {
    Ok(value_hash(&read(tensor)?))
}

/// PyTorch's name of the dtype.
pub fn dtype(tensor: &Tensor) -> Result<String, NotRun> {
    let mut name = [0; 32];
    // SAFETY: the tensor is live for the call, which writes a text with its final zero or fails.
    unsafe {
        check(tch_init_replay_dtype(
            tensor.as_ptr(),
            name.as_mut_ptr(),
            name.len() as u64,
        ))
        .map_err(NotRun::libtorch)?;
        Ok(CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned())
    }
}

/// Copies contiguous elements to where a layout has them in a storage. Of elements that share memory, the first counts.
pub fn store(base: &Tensor, layout: &Layout, bytes: &[u8]) -> Result<(), NotRun> {
    let repeated = |layout: &Layout| {
        let mut layout = layout.clone();
        for (size, stride) in layout.shape.iter_mut().zip(&layout.strides) {
            if *stride == 0 && *size > 1 {
                *size = 1;
            }
        }
        layout
    };
    let place = repeated(layout);
    if place == *layout {
        return write(&view(base, layout)?, bytes);
    }
    let source = memory(bytes.len())?;
    write(&source, bytes)?;
    let all = Layout {
        strides: contiguous(&layout.shape),
        offset: 0,
        ..layout.clone()
    };
    let first = Layout {
        shape: place.shape.clone(),
        ..all
    };
    write(&view(base, &place)?, &read(&view(&source, &first)?)?)
}

/// A copy with the same strides in memory of its own. The offset of the layout is that of the tensor.
pub fn copied(tensor: &Tensor, layout: &Layout) -> Result<Tensor, NotRun> {
    let opaque = || NotRun::Opaque(layout.dtype.clone());
    let alone = layout.alone();
    let bytes = alone.bytes().ok_or_else(opaque)?;
    let base = memory(bytes)?;
    let size = element_size(&layout.dtype).ok_or_else(opaque)?;
    let region = |offset: i64| Layout {
        dtype: "uint8".to_owned(),
        shape: vec![i64::try_from(bytes).unwrap_or(i64::MAX)],
        strides: vec![1],
        offset,
    };
    let start = layout.offset.saturating_mul(size as i64);
    write(
        &view(&base, &region(0))?,
        &read(&view(tensor, &region(start))?)?,
    )?;
    view(&base, &alone)
}

/// Calls an operator. `None` is a result that is undefined.
///
/// # Safety
///
/// All that the arguments point to lives during the call, and no reference to the memory of the tensors does.
pub unsafe fn call(
    name: &CStr,
    overload: &CStr,
    arguments: &[CArgument],
    grad: bool,
) -> Result<Vec<Option<Tensor>>, NotRun> {
    let mut outs = vec![std::ptr::null_mut(); MAX_RESULTS];
    let mut count = 0;
    // SAFETY: by the caller's promise; the function writes at most this many tensors, and their number to `count`.
    let failure = unsafe {
        tch_init_replay_call(
            name.as_ptr(),
            overload.as_ptr(),
            arguments.as_ptr(),
            arguments.len() as u64,
            None,
            grad.into(),
            outs.as_mut_ptr(),
            outs.len() as u64,
            &mut count,
        )
    };
    let made = outs.into_iter().take(count as usize);
    // SAFETY: new tensors that nobody else owns.
    let made = made
        .map(|out| (!out.is_null()).then(|| unsafe { Tensor::from_ptr(out) }))
        .collect();
    // SAFETY: made by the call above and read once.
    unsafe { check(failure) }.map_err(NotRun::libtorch)?;
    Ok(made)
}
