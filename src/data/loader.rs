//! `torch.utils.data.DataLoader`: batches of samples.

use super::error::DataError;
use super::sampler::{self, Indices, Sampler};
use crate::{Generator, InitError};
use std::fmt;
use tch::{TchError, Tensor};

/// Batches of the samples of a dataset: `torch.utils.data.DataLoader`.
///
/// Each iteration draws a seed for workers (two words) from the generator, or from the default one, when it begins; with
/// `shuffle`, the order of a [`RandomSampler`](super::RandomSampler) when the first batch is asked for (two more words of the default generator, or a
/// permutation of the explicit one).
///
/// ```standalone_crate
/// use tch_init::data::DataLoader;
///
/// # fn main() -> Result<(), tch_init::data::DataError> {
/// # tch_init::manual_seed(1).unwrap();
/// let loader = DataLoader::new(5).batch_size(2).shuffle(true);
/// let batches = loader.batches()?.collect::<Result<Vec<_>, _>>()?;
/// // torch.manual_seed(1); [b.tolist() for b in DataLoader(torch.arange(5), batch_size=2, shuffle=True)]
/// assert_eq!(batches, [vec![4, 1], vec![3, 0], vec![2]]);
/// # Ok(())
/// # }
/// ```
pub struct DataLoader {
    order: Order,
    len: usize,
    batch_size: usize,
    drop_last: bool,
    generator: Option<Generator>,
}

enum Order {
    Sequential,
    Shuffled,
    Sampled {
        sampler: Box<dyn Sampler>,
        is_shuffled_too: bool,
    },
}

impl DataLoader {
    /// Makes the loader of a dataset of `len` samples, with PyTorch's defaults: batches of one sample, in order, with the last
    /// batch.
    #[must_use]
    pub fn new(len: usize) -> DataLoader {
        DataLoader {
            order: Order::Sequential,
            len,
            batch_size: 1,
            drop_last: false,
            generator: None,
        }
    }

    /// Makes the loader of a dataset of `len` samples whose order a sampler decides.
    ///
    /// ```
    /// use tch_init::data::{DataLoader, SubsetRandomSampler};
    ///
    /// # fn main() -> Result<(), tch_init::data::DataError> {
    /// let sampler = SubsetRandomSampler::new([7, 8, 9]);
    /// let loader = DataLoader::with_sampler(10, sampler).batch_size(2);
    /// assert_eq!(loader.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_sampler(len: usize, sampler: impl Sampler + 'static) -> DataLoader {
        let sampler = Box::new(sampler);
        DataLoader {
            order: Order::Sampled {
                sampler,
                is_shuffled_too: false,
            },
            ..DataLoader::new(len)
        }
    }

    /// Sets the number of samples of a batch.
    #[must_use]
    pub fn batch_size(mut self, batch_size: usize) -> DataLoader {
        self.batch_size = batch_size;
        self
    }

    /// Sets whether the order is that of a [`RandomSampler`](super::RandomSampler).
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> DataLoader {
        match &mut self.order {
            Order::Sampled {
                is_shuffled_too, ..
            } => *is_shuffled_too = shuffle,
            order if shuffle => *order = Order::Shuffled,
            order => *order = Order::Sequential,
        }
        self
    }

    /// Sets whether a last batch with fewer samples is dropped.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> DataLoader {
        self.drop_last = drop_last;
        self
    }

    /// Sets the generator of the workers' seed and of the order of `shuffle`; [`Generator::try_clone`] makes a handle that can
    /// be given away. A sampler of [`with_sampler`](Self::with_sampler) keeps its own.
    #[must_use]
    pub fn generator(mut self, generator: Generator) -> DataLoader {
        self.generator = Some(generator);
        self
    }

    /// Returns the number of batches.
    #[must_use]
    pub fn len(&self) -> usize {
        let samples = match &self.order {
            Order::Sampled { sampler, .. } => sampler.len(),
            _ => self.len,
        };
        // A batch size of 0 is an error of `batches`.
        let size = self.batch_size.max(1);
        match self.drop_last {
            true => samples / size,
            false => samples.div_ceil(size),
        }
    }

    /// Returns whether there are no batches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins an iteration, as Python's `iter(loader)`: batches as lists of indices, for datasets that are not tensors.
    ///
    /// # Errors
    ///
    /// [`DataError::Argument`] for a batch size of 0 and for `shuffle` without samples, [`DataError::ShuffledSampler`],
    /// [`DataError::Draw`] if a draw fails.
    pub fn batches(&self) -> Result<Batches<'_>, DataError> {
        sampler::positive("DataLoader", "batch_size", self.batch_size)?;
        let failed = |source| DataError::Draw {
            function: "DataLoader",
            source,
        };
        let indices: Indices<'_> = match &self.order {
            Order::Sequential => Box::new((0..self.len).map(Ok)),
            Order::Shuffled => {
                let n = sampler::positive("RandomSampler", "num_samples", self.len)?;
                sampler::random_indices(n, false, n, self.generator.as_ref())
            }
            Order::Sampled {
                is_shuffled_too: true,
                ..
            } => return Err(DataError::ShuffledSampler),
            Order::Sampled { sampler, .. } => sampler.indices(),
        };
        let base_seed = sampler::seed(self.generator.as_ref()).map_err(failed)?;
        Ok(Batches {
            indices,
            is_over: false,
            batch_size: self.batch_size,
            drop_last: self.drop_last,
            base_seed,
        })
    }

    /// Begins an iteration over tensors whose dimension 0 is the sample, as Python's `iter` of a loader of a
    /// `TensorDataset`: each batch has the chosen samples of each tensor, stacked.
    ///
    /// # Errors
    ///
    /// As [`batches`](Self::batches); [`DataError::Samples`] if a tensor has another number of samples.
    pub fn tensors<'t, const N: usize>(
        &'t self,
        tensors: [&'t Tensor; N],
    ) -> Result<TensorBatches<'t, N>, DataError> {
        for (index, tensor) in tensors.iter().enumerate() {
            let shape = tensor.size();
            if shape.first().and_then(|n| usize::try_from(*n).ok()) != Some(self.len) {
                let len = self.len;
                return Err(DataError::Samples { index, shape, len });
            }
        }
        let batches = self.batches()?;
        Ok(TensorBatches { batches, tensors })
    }
}

impl fmt::Debug for DataLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match &self.order {
            Order::Sequential => "sequential",
            Order::Shuffled => "shuffled",
            Order::Sampled { .. } => "sampled",
        };
        f.debug_struct("DataLoader")
            .field("len", &self.len)
            .field("order", &order)
            .field("batch_size", &self.batch_size)
            .field("drop_last", &self.drop_last)
            .finish_non_exhaustive()
    }
}

/// An iteration of a [`DataLoader`]: the indices of each batch. It ends after an error.
pub struct Batches<'l> {
    indices: Indices<'l>,
    batch_size: usize,
    drop_last: bool,
    base_seed: i64,
    is_over: bool,
}

impl Batches<'_> {
    /// Returns the seed that was drawn for the workers. In Python, worker `i` has the seed `base_seed + i`.
    #[must_use]
    pub fn base_seed(&self) -> i64 {
        self.base_seed
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Vec<usize>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let mut batch = Vec::new();
        while batch.len() < self.batch_size {
            match self.indices.next() {
                Some(Ok(index)) => batch.push(index),
                Some(Err(error)) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
                None => {
                    self.is_over = true;
                    let is_dropped = batch.is_empty() || self.drop_last;
                    return (!is_dropped).then_some(Ok(batch));
                }
            }
        }
        Some(Ok(batch))
    }
}

impl fmt::Debug for Batches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("base_seed", &self.base_seed)
            .finish_non_exhaustive()
    }
}

/// An iteration of a [`DataLoader`] over tensors: the samples of each batch. It ends after an error.
#[derive(Debug)]
pub struct TensorBatches<'t, const N: usize> {
    batches: Batches<'t>,
    tensors: [&'t Tensor; N],
}

impl<const N: usize> TensorBatches<'_, N> {
    /// Returns the seed that was drawn for the workers, as [`Batches::base_seed`].
    #[must_use]
    pub fn base_seed(&self) -> i64 {
        self.batches.base_seed()
    }
}

impl<const N: usize> Iterator for TensorBatches<'_, N> {
    type Item = Result<[Tensor; N], DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let indices = match self.batches.next()? {
            Ok(indices) => indices,
            Err(error) => return Some(Err(error)),
        };
        let indices: Vec<i64> = indices.into_iter().map(|index| index as i64).collect();
        let indices = Tensor::from_slice(&indices);
        let select = |tensor: &Tensor| -> Result<Tensor, TchError> {
            tensor.f_index_select(0, &indices.f_to_device(tensor.device())?)
        };
        let mut batch = Vec::with_capacity(N);
        for tensor in self.tensors {
            match select(tensor) {
                Ok(selected) => batch.push(selected),
                Err(error) => {
                    self.batches.is_over = true;
                    return Some(Err(DataError::Draw {
                        function: "DataLoader",
                        source: InitError::tch("index_select", error),
                    }));
                }
            }
        }
        // As many as there are tensors.
        batch.try_into().ok().map(Ok)
    }
}
