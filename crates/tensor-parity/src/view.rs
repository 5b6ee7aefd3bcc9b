//! Borrowed tensors.

use crate::dtype::Dtype;
use std::ops::Range;

/// A tensor that borrows its elements: little-endian numbers at strides.
///
/// ```
/// use tensor_parity::{Dtype, TensorView};
///
/// let bytes = [1u8, 2, 3, 4, 5, 6];
/// let view = TensorView::contiguous(Dtype::Uint8, &[2, 3], &bytes)?;
/// let transposed = view.permute(&[1, 0])?;
/// assert_eq!(transposed.shape(), [3, 2]);
/// assert_eq!(transposed.to_bytes(), [1, 4, 2, 5, 3, 6]);
/// # Ok::<(), tensor_parity::ViewError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In elements, one per dimension.
    strides: Vec<usize>,
    /// Starts at the first element; has `numel` elements if contiguous, otherwise all that the
    /// strides reach.
    bytes: &'a [u8],
    numel: usize,
    contiguous: bool,
}

/// An error of creating a [`TensorView`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The size in bytes overflows.
    #[error("a {dtype} tensor of shape {shape:?} is larger than the address space")]
    TooLarge {
        /// The requested dtype.
        dtype: Dtype,
        /// The requested shape.
        shape: Vec<usize>,
    },
    /// The number of bytes does not fit the dtype and shape.
    #[error("a {dtype} tensor of shape {shape:?} needs {needed} bytes, found {available}")]
    Bytes {
        /// The requested dtype.
        dtype: Dtype,
        /// The requested shape.
        shape: Vec<usize>,
        /// The number of bytes that dtype and shape need.
        needed: usize,
        /// The number of bytes given.
        available: usize,
    },
    /// The number of strides, or of permuted dimensions, is not the number of dimensions.
    #[error("{given:?} does not fit a tensor of {dimensions} dimensions")]
    Dimensions {
        /// The given strides, or the given order of dimensions.
        given: Vec<usize>,
        /// The number of dimensions of the tensor.
        dimensions: usize,
    },
}

impl<'a> TensorView<'a> {
    /// Creates a view of contiguous elements in row-major order.
    ///
    /// # Errors
    ///
    /// [`ViewError::Bytes`] unless `bytes` has exactly the length that dtype and shape need;
    /// [`ViewError::TooLarge`] if that length overflows.
    pub fn contiguous(
        dtype: Dtype,
        shape: &[usize],
        bytes: &'a [u8],
    ) -> Result<TensorView<'a>, ViewError> {
        let (numel, needed) = extent(dtype, shape)?;
        if needed != bytes.len() {
            return Err(ViewError::Bytes {
                dtype,
                shape: shape.to_vec(),
                needed,
                available: bytes.len(),
            });
        }
        Ok(TensorView {
            dtype,
            strides: row_major(shape),
            shape: shape.to_vec(),
            bytes,
            numel,
            contiguous: true,
        })
    }

    /// Creates a view with strides in a storage, as `torch.as_strided`.
    ///
    /// Strides and `offset`, the position of the first element in the storage, are in elements. The
    /// storage may be larger than the tensor.
    ///
    /// # Errors
    ///
    /// [`ViewError::Dimensions`] unless there is one stride per dimension; [`ViewError::Bytes`] if an
    /// element lies outside of the storage; [`ViewError::TooLarge`] on overflow.
    pub fn strided(
        dtype: Dtype,
        shape: &[usize],
        strides: &[usize],
        offset: usize,
        storage: &'a [u8],
    ) -> Result<TensorView<'a>, ViewError> {
        if strides.len() != shape.len() {
            return Err(ViewError::Dimensions {
                given: strides.to_vec(),
                dimensions: shape.len(),
            });
        }
        let (numel, _) = extent(dtype, shape)?;
        let too_large = || ViewError::TooLarge {
            dtype,
            shape: shape.to_vec(),
        };
        let mut reach = 0usize;
        if numel > 0 {
            let last = shape
                .iter()
                .zip(strides)
                .try_fold(0usize, |sum, (size, stride)| {
                    sum.checked_add((size - 1).checked_mul(*stride)?)
                });
            reach = last
                .and_then(|last| last.checked_add(1))
                .ok_or_else(too_large)?;
        }
        let bytes_to = |elements: usize| elements.checked_mul(dtype.size()).ok_or_else(too_large);
        let start = bytes_to(offset)?;
        let end = bytes_to(offset.checked_add(reach).ok_or_else(too_large)?)?;
        let bytes = storage.get(start..end).ok_or_else(|| ViewError::Bytes {
            dtype,
            shape: shape.to_vec(),
            needed: end,
            available: storage.len(),
        })?;
        let contiguous = numel == 0 || is_row_major(shape, strides);
        Ok(TensorView {
            dtype,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            bytes,
            numel,
            contiguous,
        })
    }

    /// The dtype.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The size of each dimension; empty for a tensor without dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.numel
    }

    /// Reorders the dimensions, as `torch.permute`.
    ///
    /// # Errors
    ///
    /// [`ViewError::Dimensions`] unless `order` names every dimension once.
    pub fn permute(&self, order: &[usize]) -> Result<TensorView<'a>, ViewError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..self.shape.len()) {
            return Err(ViewError::Dimensions {
                given: order.to_vec(),
                dimensions: self.shape.len(),
            });
        }
        let pick = |values: &[usize]| order.iter().map(|d| values[*d]).collect::<Vec<_>>();
        TensorView::strided(
            self.dtype,
            &pick(&self.shape),
            &pick(&self.strides),
            0,
            self.bytes,
        )
    }

    /// Reads a range of elements in logical order, that is, row-major order of the indices.
    ///
    /// The bytes are borrowed from the tensor if it is contiguous, and gathered into `buffer`
    /// otherwise. A range that exceeds [`numel`](Self::numel) is cut off there.
    pub fn read<'b>(&self, elements: Range<usize>, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let size = self.dtype.size();
        let end = elements.end.min(self.numel);
        let start = elements.start.min(end);
        if self.contiguous {
            return &self.bytes[start * size..end * size];
        }
        buffer.clear();
        buffer.reserve((end - start) * size);
        let mut index = self.index(start);
        let mut offset: usize = index.iter().zip(&self.strides).map(|(i, s)| i * s).sum();
        for _ in start..end {
            buffer.extend_from_slice(&self.bytes[offset * size..(offset + 1) * size]);
            for d in (0..self.shape.len()).rev() {
                index[d] += 1;
                offset += self.strides[d];
                if index[d] < self.shape[d] {
                    break;
                }
                offset -= self.shape[d] * self.strides[d];
                index[d] = 0;
            }
        }
        buffer
    }

    /// Copies all elements in logical order. For large tensors, [`read`](Self::read) in pieces
    /// instead.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut buffer = Vec::new();
        self.read(0..self.numel, &mut buffer).to_vec()
    }

    /// The index along each dimension of the element at a position in logical order, as
    /// `numpy.unravel_index`.
    ///
    /// ```
    /// use tensor_parity::{Dtype, TensorView};
    ///
    /// let view = TensorView::contiguous(Dtype::Uint8, &[2, 3], &[0; 6])?;
    /// assert_eq!(view.index(4), [1, 1]);
    /// # Ok::<(), tensor_parity::ViewError>(())
    /// ```
    pub fn index(&self, position: usize) -> Vec<usize> {
        let mut quotient = position;
        let mut index = vec![0; self.shape.len()];
        for (index, size) in index.iter_mut().zip(&self.shape).rev() {
            *index = quotient % size.max(&1);
            quotient /= size.max(&1);
        }
        index
    }
}

/// The number of elements and the number of bytes.
fn extent(dtype: Dtype, shape: &[usize]) -> Result<(usize, usize), ViewError> {
    let too_large = || ViewError::TooLarge {
        dtype,
        shape: shape.to_vec(),
    };
    // Zero sizes count as one, so that no product of other sizes overflows later.
    let bytes = shape
        .iter()
        .map(|size| *size.max(&1))
        .try_fold(dtype.size(), usize::checked_mul)
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(too_large)?;
    Ok(match shape.contains(&0) {
        true => (0, 0),
        false => (bytes / dtype.size(), bytes),
    })
}

/// The strides of a contiguous tensor.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1);
    }
    strides
}

/// Whether the elements are contiguous in logical order. The stride of a dimension of size 1 is
/// irrelevant.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let expected = row_major(shape);
    (0..shape.len()).all(|d| shape[d] == 1 || strides[d] == expected[d])
}

#[cfg(test)]
mod tests {
    use super::{Dtype, TensorView, ViewError};

    #[test]
    fn pieces_of_a_strided_tensor_concatenate_to_all_elements() {
        let bytes: Vec<u8> = (0..120).collect();
        let view = TensorView::contiguous(Dtype::Uint8, &[2, 3, 4, 5], &bytes).unwrap();
        let permuted = view.permute(&[3, 0, 2, 1]).unwrap();
        assert_eq!(permuted.shape(), [5, 2, 4, 3]);
        let all = permuted.to_bytes();
        let mut buffer = Vec::new();
        for piece in 1..60 {
            let mut gathered = Vec::new();
            for start in (0..120).step_by(piece) {
                gathered.extend_from_slice(permuted.read(start..start + piece, &mut buffer));
            }
            assert_eq!(gathered, all, "pieces of {piece}");
        }
        // torch.arange(120).view(2, 3, 4, 5).permute(3, 0, 2, 1)[1, 1, 2, 0] is 71.
        assert_eq!(all[((2 + 1) * 4 + 2) * 3], 71);
    }

    #[test]
    fn views_outside_of_their_storage_are_rejected() {
        let storage = [0u8; 24];
        let strided = |shape: &[usize], strides: &[usize], offset| {
            TensorView::strided(Dtype::Float32, shape, strides, offset, &storage).map(|v| v.numel())
        };
        assert_eq!(strided(&[2, 3], &[3, 1], 0), Ok(6));
        assert_eq!(strided(&[2, 3], &[1, 2], 0), Ok(6));
        assert!(matches!(
            strided(&[2, 3], &[3, 1], 1),
            Err(ViewError::Bytes { .. })
        ));
        assert_eq!(strided(&[2, 0], &[usize::MAX, usize::MAX], 0), Ok(0));
        assert!(matches!(
            strided(&[2, 2], &[usize::MAX, usize::MAX], 0),
            Err(ViewError::TooLarge { .. })
        ));
        assert!(matches!(
            strided(&[2], &[], 0),
            Err(ViewError::Dimensions { .. })
        ));
        assert!(matches!(
            TensorView::contiguous(Dtype::Uint8, &[usize::MAX, 2], &[]),
            Err(ViewError::TooLarge { .. })
        ));
        assert!(matches!(
            TensorView::contiguous(Dtype::Uint8, &[usize::MAX, 2, 0], &[]),
            Err(ViewError::TooLarge { .. })
        ));
    }
}
