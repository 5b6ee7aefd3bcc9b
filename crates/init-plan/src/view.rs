//! Tensors in storages.

use crate::limits;
use std::ops::Range;
use tensor_parity::Dtype;
use torch_rng::{Semantics, Target};

/// A tensor in a storage of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub(crate) storage: usize,
    pub(crate) dtype: Dtype,
    pub(crate) offset: u64,
    pub(crate) shape: Vec<u64>,
    pub(crate) stride: Vec<u64>,
    numel: u64,
    bytes: Range<u64>,
}

impl View {
    /// A view of a storage of `size` bytes, or what is wrong with it.
    pub(crate) fn new(
        storage: usize,
        dtype: Dtype,
        offset: u64,
        shape: Vec<u64>,
        stride: Vec<u64>,
        size: u64,
    ) -> Result<View, String> {
        if shape.len() != stride.len() {
            let (dims, strides) = (shape.len(), stride.len());
            return Err(format!("expected {dims} strides, found {strides}"));
        }
        let too_large = || {
            let limit = limits::SIZE;
            format!("shape {shape:?} with strides {stride:?} and offset {offset} exceeds {limit}")
        };
        if shape
            .iter()
            .chain(&stride)
            .chain([&offset])
            .any(|size| *size > limits::SIZE)
        {
            return Err(too_large());
        }
        let element = dtype.size() as u64;
        let numel = product(&shape)
            .filter(|numel| {
                numel
                    .checked_mul(element)
                    .is_some_and(|bytes| bytes <= limits::SIZE)
            })
            .ok_or_else(too_large)?;
        let reach = match numel {
            0 => Some(0),
            _ => shape
                .iter()
                .zip(&stride)
                .try_fold(1u64, |reach, (size, stride)| {
                    reach.checked_add((size - 1).checked_mul(*stride)?)
                }),
        };
        let byte = |elements: u64| elements.checked_mul(element);
        let bytes = reach
            .and_then(|reach| Some(byte(offset)?..byte(offset.checked_add(reach)?)?))
            .ok_or_else(too_large)?;
        if bytes.end > size {
            let end = bytes.end;
            return Err(format!(
                "expected to end within the {size} bytes of storage {storage}, found byte {end}"
            ));
        }
        Ok(View {
            storage,
            dtype,
            offset,
            shape,
            stride,
            numel,
            bytes,
        })
    }

    /// A part of this view, or its elements elsewhere, neither of which reaches further.
    fn within(&self, offset: u64, shape: Vec<u64>, stride: Vec<u64>) -> View {
        let numel = product(&shape).unwrap_or(0);
        let dims = shape.iter().zip(&stride);
        let reach = match numel {
            0 => 0,
            _ => 1 + dims.map(|(size, stride)| (size - 1) * stride).sum::<u64>(),
        };
        let element = self.dtype.size() as u64;
        View {
            storage: self.storage,
            dtype: self.dtype,
            offset,
            numel,
            bytes: offset * element..(offset + reach) * element,
            shape,
            stride,
        }
    }

    /// Some indices of a dimension, which exist.
    pub(crate) fn part(&self, dim: usize, range: Range<u64>) -> View {
        let (mut shape, stride) = (self.shape.clone(), self.stride.clone());
        let (Some(size), Some(step)) = (shape.get_mut(dim), stride.get(dim)) else {
            return self.clone();
        };
        *size = range.end - range.start;
        let offset = self.offset + range.start * step;
        self.within(offset, shape, stride)
    }

    /// The view without a dimension of size 1.
    pub(crate) fn without(&self, dim: usize) -> View {
        let (mut shape, mut stride) = (self.shape.clone(), self.stride.clone());
        shape.remove(dim);
        stride.remove(dim);
        self.within(self.offset, shape, stride)
    }

    /// The same view of another storage.
    pub(crate) fn in_storage(self, storage: usize) -> View {
        View { storage, ..self }
    }

    /// A view of the same strides at the start of storage 0.
    pub(crate) fn at_start(&self) -> View {
        let view = self.within(0, self.shape.clone(), self.stride.clone());
        view.in_storage(0)
    }

    /// A contiguous view of the same shape and another dtype at the start of a storage.
    pub(crate) fn alone(&self, storage: usize, dtype: Dtype) -> View {
        let view = View {
            storage,
            dtype,
            ..self.clone()
        };
        view.within(0, self.shape.clone(), row_major(&self.shape))
    }

    /// The elements as they are repeated in another shape, to which the view broadcasts.
    pub(crate) fn broadcast(&self, shape: &[u64]) -> View {
        let missing = shape.len() - self.shape.len().min(shape.len());
        let sizes = self.shape.iter().zip(&self.stride);
        let repeated = sizes.map(|(size, stride)| if *size == 1 { 0 } else { *stride });
        let stride = vec![0; missing].into_iter().chain(repeated).collect();
        self.within(self.offset, shape.to_vec(), stride)
    }

    /// A contiguous view of one dimension at the start of a storage.
    pub(crate) fn flat(storage: usize, dtype: Dtype, numel: u64) -> View {
        let bytes = 0..numel * dtype.size() as u64;
        View {
            storage,
            dtype,
            offset: 0,
            shape: vec![numel],
            stride: vec![1],
            numel,
            bytes,
        }
    }

    /// The real and the imaginary part of a complex view.
    pub(crate) fn parts(&self) -> Option<[View; 2]> {
        let dtype = self.dtype.part()?;
        let stride: Vec<u64> = self.stride.iter().map(|stride| 2 * stride).collect();
        let part = |first: u64| {
            let view = View {
                dtype,
                ..self.clone()
            };
            view.within(2 * self.offset + first, self.shape.clone(), stride.clone())
        };
        Some([part(0), part(1)])
    }

    /// A complex view as `torch.view_as_real` has it.
    pub(crate) fn as_real(&self) -> Option<View> {
        let [real, _] = self.parts()?;
        let (mut shape, mut stride) = (real.shape.clone(), real.stride.clone());
        shape.push(2);
        stride.push(1);
        Some(real.within(real.offset, shape, stride))
    }

    /// The number of the storage.
    pub fn storage(&self) -> usize {
        self.storage
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The position of the first element in the storage, in elements.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The stride of each dimension, in elements.
    pub fn stride(&self) -> &[u64] {
        &self.stride
    }

    /// The tensor as a draw of these semantics sees it; `None` for a dtype that is not drawn.
    pub fn target(&self, semantics: Semantics) -> Option<Target<'_>> {
        let dtype = torch_rng::Dtype::from_name(self.dtype.name())?;
        Some(Target {
            contiguous: self.is_contiguous(),
            semantics,
            ..Target::new(dtype, &self.shape)
        })
    }

    /// The number of elements.
    pub fn numel(&self) -> u64 {
        self.numel
    }

    /// The bytes of the storage from its first to after its last; empty without elements.
    pub fn bytes(&self) -> Range<u64> {
        self.bytes.clone()
    }

    /// Whether its elements lie one after the other, the last dimension running fastest
    /// (`Tensor.is_contiguous()`).
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.numel == 0
            || self
                .shape
                .iter()
                .zip(&self.stride)
                .rev()
                .all(|(size, stride)| {
                    let fits = *size == 1 || *stride == expected;
                    expected *= size;
                    fits
                })
    }

    /// Whether its elements fill its bytes without overlapping.
    pub(crate) fn is_dense(&self) -> bool {
        !self.overlaps_itself()
            && self.numel * self.dtype.size() as u64 == self.bytes.end - self.bytes.start
    }

    /// Whether two of its elements may share memory, judged by the strides alone. The format forbids
    /// this for views that are written.
    pub(crate) fn overlaps_itself(&self) -> bool {
        let mut dims: Vec<_> = self.stride.iter().zip(&self.shape).collect();
        dims.retain(|(_, size)| **size > 1);
        dims.sort_unstable();
        let mut span = 0;
        self.numel > 0
            && dims.into_iter().any(|(stride, size)| {
                let overlaps = *stride <= span;
                span += (size - 1) * stride;
                overlaps
            })
    }
}

/// The product of the sizes; `None` if it overflows. As in libtorch, 0 if any size is.
pub(crate) fn product(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1u64, |product, size| product.checked_mul(*size))
}

/// The strides of a contiguous tensor; saturate, which [`View::new`] rejects.
pub(crate) fn row_major(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = u64::saturating_mul(strides[i], shape[i].max(1));
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Compared with the position of every element.
        #[test]
        fn properties_are_those_of_the_elements(
            dims in prop::collection::vec((0u64..4, 0u64..9), 0..4),
            offset in 0u64..3,
        ) {
            let (shape, stride): (Vec<u64>, Vec<u64>) = dims.iter().copied().unzip();
            let view = View::new(0, Dtype::Float32, offset, shape, stride, 1000).unwrap();
            let mut places = vec![offset];
            for (size, stride) in &dims {
                places = places.iter().flat_map(|at| (0..*size).map(move |i| at + i * stride)).collect();
            }
            let own: BTreeSet<u64> = places.iter().copied().collect();
            prop_assert_eq!(view.numel(), places.len() as u64);
            match own.last() {
                None => prop_assert!(view.bytes().is_empty()),
                Some(last) => prop_assert_eq!(view.bytes(), offset * 4..(last + 1) * 4),
            }
            let in_order = places.iter().enumerate().all(|(i, at)| *at == offset + i as u64);
            prop_assert_eq!(view.is_contiguous(), in_order);
            if own.len() < places.len() {
                prop_assert!(view.overlaps_itself());
            }
            let filled = own.len() == places.len() && own.len() as u64 == own.last().map_or(0, |last| last + 1 - offset);
            prop_assert_eq!(view.is_dense(), filled);
        }
    }

    #[test]
    fn sizes_beyond_u64_are_refused_without_overflow() {
        for shape in [vec![2, 1 << 63, 1 << 63], vec![0, u64::MAX, u64::MAX]] {
            let stride = row_major(&shape);
            let view = View::new(0, Dtype::Float32, 0, shape.clone(), stride, 1000);
            let problem = view.unwrap_err();
            assert!(problem.contains("exceeds"), "{shape:?}: {problem}");
        }
    }

    #[test]
    fn views_outside_their_storage_are_refused() {
        let view = |offset, shape: &[u64], stride: &[u64]| {
            View::new(
                3,
                Dtype::Float32,
                offset,
                shape.to_vec(),
                stride.to_vec(),
                24,
            )
        };
        assert!(view(0, &[2, 3], &[3, 1]).is_ok());
        assert!(
            view(1, &[2, 3], &[3, 1])
                .unwrap_err()
                .contains("24 bytes of storage 3, found byte 28")
        );
        assert!(view(0, &[2, 3], &[1]).is_err());
        for huge in [u64::MAX, 1 << 63, 1 << 53] {
            assert!(view(huge, &[1], &[1]).is_err());
            assert!(view(0, &[huge], &[0]).is_err());
            assert!(view(0, &[2], &[huge]).is_err());
        }
        assert!(view(0, &[1 << 32, 1 << 32], &[0, 0]).is_err());
        assert!(view(0, &[1 << 40, 0, 1 << 40], &[0, 0, 0]).is_ok());
    }
}
