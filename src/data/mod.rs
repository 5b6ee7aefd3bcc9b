//! The order of training data, as `torch.utils.data` makes it: samplers, batches and random splits.
//!
//! After [`manual_seed`](crate::manual_seed), a [`DataLoader`] with `shuffle` gives the samples in the order of PyTorch's,
//! and leaves the random stream where PyTorch leaves it. Draws are made as late as in Python: the seed of the workers when
//! an iteration begins, the order of the samples when the first batch is asked for. Everything follows
//! `torch/utils/data` of PyTorch 2.13.
//!
//! | Python | here |
//! |---|---|
//! | `DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)` | `DataLoader::new(n).batch_size(32).shuffle(true)`, then `tensors([&x, &y])` |
//! | `for x, y in loader:` | `for batch in loader.tensors([&x, &y])? { let [x, y] = batch?; .. }` |
//! | `RandomSampler`, `SubsetRandomSampler`, `WeightedRandomSampler`, `DistributedSampler` | the same names, [`DataLoader::with_sampler`] |
//! | `random_split(dataset, [8, 2])`, `[0.8, 0.2]` | [`random_split`], [`random_split_fractions`] |
//!
//! `num_workers` does not change the order or the stream (each iteration draws the workers' base seed in either case), so it
//! does not exist here. What workers draw themselves comes from `base_seed + worker_id`: [`Batches::base_seed`].
//!
//! ```standalone_crate
//! use tch::{Kind, Tensor, Device};
//! use tch_init::data::DataLoader;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let x = Tensor::arange(10, (Kind::Int64, Device::Cpu));
//! let loader = DataLoader::new(10).batch_size(4).shuffle(true);
//! tch_init::manual_seed(0)?;
//! let mut batches = Vec::new();
//! for batch in loader.tensors([&x])? {
//!     let [x] = batch?;
//!     batches.push(Vec::<i64>::try_from(x)?);
//! }
//! // torch.manual_seed(0); [b[0].tolist() for b in DataLoader(TensorDataset(torch.arange(10)), 4, shuffle=True)]
//! assert_eq!(batches, [vec![6, 7, 1, 4], vec![2, 0, 9, 8], vec![3, 5]]);
//! # Ok(())
//! # }
//! ```

mod error;
mod loader;
mod sampler;
mod split;

pub use error::DataError;
pub use loader::{Batches, DataLoader, TensorBatches};
pub use sampler::{
    DistributedSampler, Indices, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler,
    WeightedRandomSampler,
};
pub use split::{random_split, random_split_fractions};
