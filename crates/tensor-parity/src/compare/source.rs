//! Sources of tensors to compare.

use crate::{Dtype, LeftOut, TensorView, ViewError};
use std::collections::BTreeMap;
use std::error::Error;

/// A list of named tensors: a file, a map, a `VarStore`, or a single tensor without a name.
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
    /// Lists the tensors in order.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if they cannot be listed.
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError>;

    /// Lists the members that have no tensor to compare, in order.
    fn left_out(&self) -> Vec<LeftOut> {
        Vec::new()
    }
}

type Load<'a> = Box<dyn Fn() -> Result<TensorData<'a>, SourceError> + 'a>;
type Release<'a> = Box<dyn Fn() -> Result<(), SourceError> + 'a>;

/// A named tensor of a source, which is read only when it is needed.
pub struct SourceEntry<'a> {
    name: String,
    size: u64,
    load: Load<'a>,
    release: Release<'a>,
}

impl<'a> SourceEntry<'a> {
    /// Creates an entry from a name, a size in bytes and a function that reads the tensor.
    ///
    /// A comparison calls `load` once, and holds few tensors in memory at a time.
    pub fn new(
        name: impl Into<String>,
        size: u64,
        load: impl Fn() -> Result<TensorData<'a>, SourceError> + 'a,
    ) -> SourceEntry<'a> {
        SourceEntry {
            name: name.into(),
            size,
            load: Box::new(load),
            release: Box::new(|| Ok(())),
        }
    }

    /// Sets a function that is called after the elements were read.
    ///
    /// It can release memory, and return an error if the elements may have changed while they were
    /// read.
    #[must_use]
    pub fn on_release(
        mut self,
        release: impl Fn() -> Result<(), SourceError> + 'a,
    ) -> SourceEntry<'a> {
        self.release = Box::new(release);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size in bytes, used to report progress and to limit memory.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the tensor.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if it cannot be read.
    pub fn load(&self) -> Result<TensorData<'a>, SourceError> {
        (self.load)()
    }

    pub(super) fn release(&self) -> Result<(), SourceError> {
        (self.release)()
    }
}

/// An error of a [`TensorSource`], which wraps any other error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(Box<dyn Error + Send + Sync>);

impl SourceError {
    /// Wraps an error, or a message of one line that says what is wrong.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> SourceError {
        SourceError(error.into())
    }

    /// The wrapped error.
    ///
    /// ```
    /// use tensor_parity::ViewError;
    /// use tensor_parity::compare::SourceError;
    ///
    /// let error = ViewError::Dimensions { given: vec![1], dimensions: 2 };
    /// let error = SourceError::from(error);
    /// assert!(error.get_ref().is::<ViewError>());
    /// ```
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl From<ViewError> for SourceError {
    fn from(error: ViewError) -> SourceError {
        SourceError::new(error)
    }
}

/// The dtype, shape and elements of a tensor, borrowed or owned.
#[derive(Debug, Clone)]
pub struct TensorData<'a>(Data<'a>);

#[derive(Debug, Clone)]
enum Data<'a> {
    Borrowed(TensorView<'a>),
    Owned {
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    },
}

impl<'a> TensorData<'a> {
    /// A tensor with these little-endian elements in logical order.
    pub fn owned(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> TensorData<'a> {
        TensorData(Data::Owned {
            dtype,
            shape: shape.to_vec(),
            bytes,
        })
    }

    /// A view of the tensor.
    ///
    /// # Errors
    ///
    /// [`ViewError`] if owned bytes do not fit the dtype and shape.
    pub fn view(&self) -> Result<TensorView<'_>, ViewError> {
        match &self.0 {
            Data::Borrowed(view) => Ok(view.clone()),
            Data::Owned {
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

/// A value that can be compared as a single tensor.
///
/// Implemented for `TensorView`, for `tch::Tensor` (feature `tch`), and for slices, arrays and
/// vectors of `f32` or `f64` as tensors of one dimension.
pub trait AsTensor {
    /// The tensor.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if it cannot be read.
    fn as_tensor(&self) -> Result<TensorData<'_>, SourceError>;

    /// The size of the tensor in bytes.
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

macro_rules! impl_for_floats {
    ($type:ty, $dtype:expr) => {
        impl AsTensor for [$type] {
            fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
                let bytes = self.iter().flat_map(|x| x.to_le_bytes()).collect();
                Ok(TensorData::owned($dtype, &[self.len()], bytes))
            }

            fn tensor_size(&self) -> u64 {
                size_of_val(self) as u64
            }
        }
    };
}
impl_for_floats!(f32, Dtype::Float32);
impl_for_floats!(f64, Dtype::Float64);

macro_rules! impl_as_slice {
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
impl_as_slice!([T] Vec<T>);
impl_as_slice!([T, const N: usize] [T; N]);

impl<T: AsTensor + ?Sized> AsTensor for &T {
    fn as_tensor(&self) -> Result<TensorData<'_>, SourceError> {
        (**self).as_tensor()
    }

    fn tensor_size(&self) -> u64 {
        (**self).tensor_size()
    }
}

pub(super) fn entry<'a>(name: &str, tensor: &'a impl AsTensor) -> SourceEntry<'a> {
    SourceEntry::new(name, tensor.tensor_size(), || tensor.as_tensor())
}

impl<T: AsTensor> TensorSource for [(String, T)] {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        let entries = self.iter().map(|(name, tensor)| entry(name, tensor));
        Ok(entries.collect())
    }
}

impl<T: AsTensor> TensorSource for Vec<(String, T)> {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        self[..].entries()
    }
}

impl<T: AsTensor, const N: usize> TensorSource for [(String, T); N] {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        self[..].entries()
    }
}

/// The tensors sorted by name.
impl<T: AsTensor> TensorSource for BTreeMap<String, T> {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        let entries = self.iter().map(|(name, tensor)| entry(name, tensor));
        Ok(entries.collect())
    }
}

/// A single tensor, whose name is empty.
impl TensorSource for TensorView<'_> {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        Ok(vec![entry("", self)])
    }
}
