//! Where tensors come from.

use crate::{Dtype, TensorView, ViewError};
use std::collections::BTreeMap;

/// Named tensors in an order: a file, a map, a `VarStore`, or a single tensor without a name.
///
/// ```
/// use tensor_parity::compare::TensorSource;
///
/// let source = [("weight".to_owned(), vec![1.0f32, 2.0]), ("bias".to_owned(), vec![0.0])];
/// let entries = source.entries()?;
/// assert_eq!(entries[1].name(), "bias");
/// assert_eq!(entries[0].load()?.view()?.shape(), [2]);
/// # Ok::<(), tensor_parity::compare::SourceError>(())
/// ```
pub trait TensorSource {
    /// The tensors, in order.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if they cannot be listed.
    fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError>;
}

/// A tensor of a source, which is read when it is needed.
pub struct Entry<'a> {
    name: String,
    size: u64,
    load: Box<dyn Fn() -> Result<TensorData<'a>, SourceError> + 'a>,
    release: Box<dyn Fn() + 'a>,
}

impl<'a> Entry<'a> {
    /// An entry of this name and size in bytes. `load` is called once a comparison; few tensors
    /// that have to be copied are held at a time.
    pub fn new(
        name: impl Into<String>,
        size: u64,
        load: impl Fn() -> Result<TensorData<'a>, SourceError> + 'a,
    ) -> Entry<'a> {
        Entry {
            name: name.into(),
            size,
            load: Box::new(load),
            release: Box::new(|| ()),
        }
    }

    /// Has `release` called once the elements are no longer needed, so that a mapped file can give
    /// memory back.
    #[must_use]
    pub fn on_release(mut self, release: impl Fn() + 'a) -> Entry<'a> {
        self.release = Box::new(release);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size in bytes, for progress and to bound memory.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tensor.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if it cannot be read.
    pub fn load(&self) -> Result<TensorData<'a>, SourceError> {
        (self.load)()
    }

    pub(super) fn release(&self) {
        (self.release)();
    }
}

/// A tensor cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    message: String,
}

impl SourceError {
    /// An error with this text, a line that names what is wrong.
    pub fn new(message: impl Into<String>) -> SourceError {
        SourceError {
            message: message.into(),
        }
    }
}

impl From<ViewError> for SourceError {
    fn from(error: ViewError) -> SourceError {
        SourceError::new(error.to_string())
    }
}

/// A tensor, borrowed or copied.
#[derive(Debug, Clone)]
pub struct TensorData<'a>(Data<'a>);

#[derive(Debug, Clone)]
enum Data<'a> {
    Borrowed(TensorView<'a>),
    Copied {
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    },
}

impl<'a> TensorData<'a> {
    /// A tensor of these little-endian elements.
    pub fn copied(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> TensorData<'a> {
        TensorData(Data::Copied {
            dtype,
            shape: shape.to_vec(),
            bytes,
        })
    }

    /// A view of the tensor.
    ///
    /// # Errors
    ///
    /// [`ViewError`] if the bytes of a copied one do not fit its dtype and shape.
    pub fn view(&self) -> Result<TensorView<'_>, ViewError> {
        match &self.0 {
            Data::Borrowed(view) => Ok(view.clone()),
            Data::Copied {
                dtype,
                shape,
                bytes,
            } => TensorView::contiguous(*dtype, shape, bytes),
        }
    }
}

impl<'a> From<TensorView<'a>> for TensorData<'a> {
    fn from(view: TensorView<'a>) -> TensorData<'a> {
        TensorData(Data::Borrowed(view))
    }
}

/// What can be compared as one tensor: `TensorView`, `tch::Tensor`, and slices, arrays and
/// vectors of `f32` or `f64`, which have one dimension.
pub trait AsTensor {
    /// The tensor.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if it cannot be read.
    fn as_tensor(&self) -> Result<TensorData<'_>, SourceError>;

    /// Its size in bytes.
    fn tensor_size(&self) -> u64;
}

impl AsTensor for TensorView<'_> {
    fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
        Ok(self.clone().into())
    }

    fn tensor_size(&self) -> u64 {
        (self.numel() * self.dtype().size()) as u64
    }
}

macro_rules! floats {
    ($type:ty, $dtype:expr) => {
        impl AsTensor for [$type] {
            fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
                let bytes = self.iter().flat_map(|x| x.to_le_bytes()).collect();
                Ok(TensorData::copied($dtype, &[self.len()], bytes))
            }

            fn tensor_size(&self) -> u64 {
                size_of_val(self) as u64
            }
        }
    };
}
floats!(f32, Dtype::Float32);
floats!(f64, Dtype::Float64);

macro_rules! forward {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> AsTensor for $type
        where
            [T]: AsTensor,
        {
            fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
                self[..].as_tensor()
            }

            fn tensor_size(&self) -> u64 {
                self[..].tensor_size()
            }
        }
    };
}
forward!([T] Vec<T>);
forward!([T, const N: usize] [T; N]);

impl<T: AsTensor + ?Sized> AsTensor for &T {
    fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
        (**self).as_tensor()
    }

    fn tensor_size(&self) -> u64 {
        (**self).tensor_size()
    }
}

fn entry<'a>(name: &str, tensor: &'a impl AsTensor) -> Entry<'a> {
    Entry::new(name, tensor.tensor_size(), || tensor.as_tensor())
}

impl<T: AsTensor> TensorSource for [(String, T)] {
    fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError> {
        let entries = self.iter().map(|(name, tensor)| entry(name, tensor));
        Ok(entries.collect())
    }
}

impl<T: AsTensor> TensorSource for Vec<(String, T)> {
    fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError> {
        self[..].entries()
    }
}

impl<T: AsTensor, const N: usize> TensorSource for [(String, T); N] {
    fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError> {
        self[..].entries()
    }
}

/// By name.
impl<T: AsTensor> TensorSource for BTreeMap<String, T> {
    fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError> {
        let entries = self.iter().map(|(name, tensor)| entry(name, tensor));
        Ok(entries.collect())
    }
}

/// One tensor, whose name is empty.
impl TensorSource for TensorView<'_> {
    fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError> {
        Ok(vec![entry("", self)])
    }
}

#[cfg(feature = "tch")]
mod torch {
    use super::{AsTensor, Entry, SourceError, TensorData, TensorSource, entry};
    use crate::Dtype;
    use std::collections::BTreeMap;
    use tch::nn::VarStore;
    use tch::{Device, Kind, TchError, Tensor};

    impl AsTensor for Tensor {
        /// Copies the elements to the CPU. Sparse and quantized tensors are an error.
        fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
            copy(self)
        }

        fn tensor_size(&self) -> u64 {
            match self.f_kind() {
                Ok(kind) if self.defined() => (self.numel() * kind.elt_size_in_bytes()) as u64,
                _ => 0,
            }
        }
    }

    /// One tensor, whose name is empty.
    impl TensorSource for Tensor {
        fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError> {
            Ok(vec![entry("", self)])
        }
    }

    /// Trainable variables in order of creation, as PyTorch's `parameters()`; then the others by
    /// name, since tch does not keep their order.
    impl TensorSource for VarStore {
        fn entries(&self) -> Result<Vec<Entry<'_>>, SourceError> {
            Ok(in_order(self)
                .into_iter()
                .map(|(name, tensor)| Entry::new(name, tensor.tensor_size(), move || copy(&tensor)))
                .collect())
        }
    }

    /// Trainable variables in order of creation, then the others by name.
    fn in_order(vs: &VarStore) -> Vec<(String, Tensor)> {
        let mut by_name: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
        let mut ordered = Vec::with_capacity(by_name.len());
        for created in vs.trainable_variables() {
            let same = |tensor: &Tensor| {
                tensor.data_ptr() == created.data_ptr() && tensor.size() == created.size()
            };
            let name = by_name.iter().find(|(_, tensor)| same(tensor));
            if let Some(entry) = name
                .map(|(name, _)| name.clone())
                .and_then(|name| by_name.remove_entry(&name))
            {
                ordered.push(entry);
            }
        }
        ordered.extend(by_name);
        ordered
    }

    fn copy(tensor: &Tensor) -> Result<TensorData<'static>, SourceError> {
        if !tensor.defined() {
            return Err(SourceError::new("an undefined tensor has no elements"));
        }
        let dtype = dtype(tensor.f_kind().map_err(refused)?)?;
        if tensor.is_sparse() {
            return Err(SourceError::new(
                "a sparse tensor cannot be compared; use to_dense() first",
            ));
        }
        let tensor = tensor
            .f_detach()
            .and_then(|tensor| tensor.f_to_device(Device::Cpu))
            .and_then(|tensor| tensor.f_resolve_conj())
            .and_then(|tensor| tensor.f_resolve_neg())
            .and_then(|tensor| tensor.f_contiguous())
            .map_err(refused)?;
        let sizes = tensor.size().into_iter().map(usize::try_from);
        // libtorch's sizes are never negative.
        let shape: Vec<usize> = sizes.map(Result::unwrap_or_default).collect();
        let mut bytes = vec![0; tensor.numel() * dtype.size()];
        tensor
            .f_copy_data_u8(&mut bytes, tensor.numel())
            .map_err(refused)?;
        Ok(TensorData::copied(dtype, &shape, bytes))
    }

    fn dtype(kind: Kind) -> Result<Dtype, SourceError> {
        Dtype::of_kind(kind).ok_or_else(|| {
            SourceError::new("a quantized tensor cannot be compared; use dequantize() first")
        })
    }

    fn refused(error: TchError) -> SourceError {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        SourceError::new(format!("libtorch: {line}"))
    }
}
