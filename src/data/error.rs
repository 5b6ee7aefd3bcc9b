//! The errors of data order.

use crate::InitError;

/// An error of a sampler, a loader or a split: the conditions in which PyTorch raises an exception, and failures of
/// libtorch.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An argument has no meaning (PyTorch: `ValueError`).
    #[error("{function}: {argument} = {value}: {reason}")]
    Argument {
        /// The function or type.
        function: &'static str,
        /// The name of the argument.
        argument: &'static str,
        /// Its value.
        value: String,
        /// The condition that it violates.
        reason: &'static str,
    },

    /// The lengths of a split do not add up to the number of samples (PyTorch: `ValueError`).
    #[error("random_split: the lengths add up to {sum}, the dataset has {len} samples")]
    SplitLengths {
        /// The sum of the lengths.
        sum: String,
        /// The number of samples.
        len: usize,
    },

    /// The loader was told to shuffle and to take the order of a sampler (PyTorch: `ValueError`).
    #[error(
        "DataLoader: a sampler decides the order, so shuffle(true) has no meaning; leave out one of the two"
    )]
    ShuffledSampler,

    /// A tensor does not have one entry per sample.
    #[error(
        "DataLoader: tensor {index} has shape {shape:?}, but the loader has {len} samples, which is the size that its dimension 0 must have"
    )]
    Samples {
        /// The position of the tensor among those that were given.
        index: usize,
        /// Its shape.
        shape: Vec<i64>,
        /// The number of samples.
        len: usize,
    },

    /// A draw failed.
    #[error("{function}: the draw failed")]
    Draw {
        /// The function or type.
        function: &'static str,
        /// The failure.
        #[source]
        source: InitError,
    },
}
