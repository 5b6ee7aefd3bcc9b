//! Samplers: the order of the samples of one pass over a dataset.

use super::error::DataError;
use crate::{Generator, InitError};
use tch::{Device, Kind, TchError, Tensor};

const INDICES: (Kind, Device) = (Kind::Int64, Device::Cpu);

/// The indices of one pass. Draws are made when the indices that need them are asked for.
pub type Indices<'s> = Box<dyn Iterator<Item = Result<usize, DataError>> + 's>;

/// The order of the samples of one pass over a dataset: `torch.utils.data.Sampler`.
pub trait Sampler {
    /// Begins a pass. Nothing is drawn before the first index is asked for, as in Python, where the method is a generator.
    fn indices(&self) -> Indices<'_>;

    /// Returns the number of indices of a pass.
    fn len(&self) -> usize;

    /// Returns whether a pass has no indices.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All samples in order: `torch.utils.data.SequentialSampler`. Draws nothing.
#[derive(Debug, Clone)]
pub struct SequentialSampler {
    len: usize,
}

impl SequentialSampler {
    /// Makes the sampler of a dataset of `len` samples.
    #[must_use]
    pub fn new(len: usize) -> SequentialSampler {
        SequentialSampler { len }
    }
}

impl Sampler for SequentialSampler {
    fn indices(&self) -> Indices<'_> {
        Box::new((0..self.len).map(Ok))
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// The samples in random order: `torch.utils.data.RandomSampler`.
///
/// Without a generator, each pass draws a seed of 64 bits (two words) from the default generator and takes its order from a
/// generator with that seed. With one, the order is drawn from it directly: a permutation of all samples for each
/// `len` indices, and another one at the end of the pass, as in PyTorch; with replacement, 32 indices at a time.
///
/// ```standalone_crate
/// use tch_init::data::{RandomSampler, Sampler};
///
/// # fn main() -> Result<(), tch_init::data::DataError> {
/// # tch_init::manual_seed(0).unwrap();
/// let sampler = RandomSampler::new(5)?;
/// let order = sampler.indices().collect::<Result<Vec<_>, _>>()?;
/// // torch.manual_seed(0); list(RandomSampler(range(5)))
/// assert_eq!(order, [1, 3, 4, 2, 0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RandomSampler {
    n: usize,
    replacement: bool,
    num_samples: usize,
    generator: Option<Generator>,
}

impl RandomSampler {
    /// Makes the sampler of a dataset of `len` samples: without replacement, as many indices as samples, and no generator.
    ///
    /// # Errors
    ///
    /// [`DataError::Argument`] if the dataset is empty.
    pub fn new(len: usize) -> Result<RandomSampler, DataError> {
        Ok(RandomSampler {
            n: len,
            replacement: false,
            num_samples: positive("RandomSampler", "num_samples", len)?,
            generator: None,
        })
    }

    /// Sets whether an index may be drawn again.
    #[must_use]
    pub fn replacement(mut self, replacement: bool) -> RandomSampler {
        self.replacement = replacement;
        self
    }

    /// Sets the number of indices of a pass. Without replacement, more than there are samples are several permutations.
    ///
    /// # Errors
    ///
    /// [`DataError::Argument`] for 0.
    pub fn num_samples(mut self, num_samples: usize) -> Result<RandomSampler, DataError> {
        self.num_samples = positive("RandomSampler", "num_samples", num_samples)?;
        Ok(self)
    }

    /// Sets the generator from which the order is drawn; [`Generator::try_clone`] makes a handle that can be given away.
    #[must_use]
    pub fn generator(mut self, generator: Generator) -> RandomSampler {
        self.generator = Some(generator);
        self
    }
}

impl Sampler for RandomSampler {
    fn indices(&self) -> Indices<'_> {
        let generator = self.generator.as_ref();
        random_indices(self.n, self.replacement, self.num_samples, generator)
    }

    fn len(&self) -> usize {
        self.num_samples
    }
}

/// Given indices in random order: `torch.utils.data.SubsetRandomSampler`. Draws a permutation from the generator, or
/// from the default one.
#[derive(Debug)]
pub struct SubsetRandomSampler {
    indices: Vec<usize>,
    generator: Option<Generator>,
}

impl SubsetRandomSampler {
    /// Makes the sampler of these indices.
    #[must_use]
    pub fn new(indices: impl Into<Vec<usize>>) -> SubsetRandomSampler {
        SubsetRandomSampler {
            indices: indices.into(),
            generator: None,
        }
    }

    /// Sets the generator from which the order is drawn.
    #[must_use]
    pub fn generator(mut self, generator: Generator) -> SubsetRandomSampler {
        self.generator = Some(generator);
        self
    }
}

impl Sampler for SubsetRandomSampler {
    fn indices(&self) -> Indices<'_> {
        drawn_lazily("SubsetRandomSampler", [()], |()| {
            let order = permutation(self.indices.len(), self.generator.as_ref())?;
            Ok(order.into_iter().map(|i| self.indices[i]).collect())
        })
    }

    fn len(&self) -> usize {
        self.indices.len()
    }
}

/// Indices drawn by weight: `torch.utils.data.WeightedRandomSampler`, by `torch.multinomial` from the generator, or from the
/// default one.
///
/// ```standalone_crate
/// use tch_init::data::{Sampler, WeightedRandomSampler};
///
/// # fn main() -> Result<(), tch_init::data::DataError> {
/// # tch_init::manual_seed(0).unwrap();
/// let sampler = WeightedRandomSampler::new(&[0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 5, true)?;
/// let drawn = sampler.indices().collect::<Result<Vec<_>, _>>()?;
/// // torch.manual_seed(0); list(WeightedRandomSampler([0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 5))
/// assert_eq!(drawn, [5, 4, 4, 5, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WeightedRandomSampler {
    weights: Vec<f64>,
    num_samples: usize,
    replacement: bool,
    generator: Option<Generator>,
}

impl WeightedRandomSampler {
    /// Makes the sampler. The weights need not add up to 1.
    ///
    /// # Errors
    ///
    /// [`DataError::Argument`] if `num_samples` is 0. Weights without a meaning (all 0, negative, not finite, fewer than
    /// are drawn without replacement) are reported by the first index of a pass, as in Python.
    pub fn new(
        weights: &[f64],
        num_samples: usize,
        replacement: bool,
    ) -> Result<WeightedRandomSampler, DataError> {
        Ok(WeightedRandomSampler {
            weights: weights.to_vec(),
            num_samples: positive("WeightedRandomSampler", "num_samples", num_samples)?,
            replacement,
            generator: None,
        })
    }

    /// Sets the generator from which the indices are drawn.
    #[must_use]
    pub fn generator(mut self, generator: Generator) -> WeightedRandomSampler {
        self.generator = Some(generator);
        self
    }
}

impl Sampler for WeightedRandomSampler {
    fn indices(&self) -> Indices<'_> {
        drawn_lazily("WeightedRandomSampler", [()], |()| {
            let weights = Tensor::from_slice(&self.weights);
            let drawn = drawn(self.generator.as_ref(), || {
                weights.f_multinomial(to_i64(self.num_samples), self.replacement)
            })?;
            indices_of(&drawn)
        })
    }

    fn len(&self) -> usize {
        self.num_samples
    }
}

/// The part of one process of the samples: `torch.utils.data.distributed.DistributedSampler`.
///
/// The order of an epoch comes from a generator with the seed `seed + epoch`, so nothing is drawn from the default
/// generator. All processes have the same number of indices: the first samples are repeated, or the last ones dropped.
///
/// ```
/// use tch_init::data::{DistributedSampler, Sampler};
///
/// # fn main() -> Result<(), tch_init::data::DataError> {
/// let mut sampler = DistributedSampler::new(7, 2, 1)?;
/// sampler.set_epoch(3);
/// let order = sampler.indices().collect::<Result<Vec<_>, _>>()?;
/// // s = DistributedSampler(range(7), 2, 1); s.set_epoch(3); list(s)
/// assert_eq!(order, [3, 6, 2, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DistributedSampler {
    len: usize,
    num_replicas: usize,
    rank: usize,
    shuffle: bool,
    seed: i64,
    drop_last: bool,
    epoch: i64,
}

impl DistributedSampler {
    /// Makes the sampler of process `rank` of `num_replicas`, with PyTorch's defaults: `shuffle`, the seed 0, and repeated
    /// samples instead of dropped ones.
    ///
    /// # Errors
    ///
    /// [`DataError::Argument`] if `rank` is not below `num_replicas`.
    pub fn new(
        len: usize,
        num_replicas: usize,
        rank: usize,
    ) -> Result<DistributedSampler, DataError> {
        if rank >= num_replicas {
            return Err(DataError::Argument {
                function: "DistributedSampler",
                argument: "rank",
                value: rank.to_string(),
                reason: "must be below num_replicas",
            });
        }
        Ok(DistributedSampler {
            len,
            num_replicas,
            rank,
            shuffle: true,
            seed: 0,
            drop_last: false,
            epoch: 0,
        })
    }

    /// Sets whether the order is random.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> DistributedSampler {
        self.shuffle = shuffle;
        self
    }

    /// Sets the seed of the order, which must be the same in all processes.
    #[must_use]
    pub fn seed(mut self, seed: i64) -> DistributedSampler {
        self.seed = seed;
        self
    }

    /// Sets whether the last samples are dropped, instead of the first ones repeated.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> DistributedSampler {
        self.drop_last = drop_last;
        self
    }

    /// Sets the epoch, without which every pass has the same order.
    pub fn set_epoch(&mut self, epoch: i64) {
        self.epoch = epoch;
    }

    fn part(&self) -> Result<Vec<usize>, InitError> {
        let mut indices = match self.shuffle {
            true => {
                let mut generator = Generator::new(Device::Cpu)?;
                generator.manual_seed(self.seed.wrapping_add(self.epoch))?;
                permutation(self.len, Some(&generator))?
            }
            false => (0..self.len).collect(),
        };
        let total = self.len() * self.num_replicas;
        if self.drop_last {
            indices.truncate(total);
        } else {
            let repeated: Vec<usize> = indices.iter().copied().cycle().take(total).collect();
            indices = repeated;
        }
        Ok(indices
            .into_iter()
            .skip(self.rank)
            .step_by(self.num_replicas)
            .collect())
    }
}

impl Sampler for DistributedSampler {
    fn indices(&self) -> Indices<'_> {
        drawn_lazily("DistributedSampler", [()], |()| self.part())
    }

    fn len(&self) -> usize {
        match self.drop_last {
            true => self.len / self.num_replicas,
            false => self.len.div_ceil(self.num_replicas),
        }
    }
}

/// A pass of a [`RandomSampler`], from an explicit generator or from a new one with a drawn seed.
pub(super) fn random_indices<'s>(
    n: usize,
    replacement: bool,
    num_samples: usize,
    explicit: Option<&'s Generator>,
) -> Indices<'s> {
    let size = if replacement { 32 } else { n };
    // The last part is drawn even if nothing of it is taken.
    let parts = std::iter::repeat_n(size, num_samples / size).chain([num_samples % size]);
    let mut source: Option<Generator> = None;
    drawn_lazily("RandomSampler", parts, move |taken| {
        let source = match &mut source {
            Some(source) => source,
            none => none.insert(match explicit {
                Some(generator) => generator.try_clone()?,
                None => {
                    let mut generator = Generator::new(Device::Cpu)?;
                    generator.manual_seed(seed(None)?)?;
                    generator
                }
            }),
        };
        if replacement {
            let draw = || Tensor::f_randint(to_i64(n), [to_i64(taken)], INDICES);
            return indices_of(&drawn(Some(source), draw)?);
        }
        let mut order = permutation(n, Some(source))?;
        order.truncate(taken);
        Ok(order)
    })
}

/// The indices of parts that are drawn when their first index is asked for. A failed draw ends the pass.
fn drawn_lazily<'s, P: 's>(
    function: &'static str,
    parts: impl IntoIterator<Item = P, IntoIter: 's>,
    mut draw: impl FnMut(P) -> Result<Vec<usize>, InitError> + 's,
) -> Indices<'s> {
    let mut parts = parts.into_iter();
    let mut indices = Vec::new().into_iter();
    let mut has_failed = false;
    Box::new(std::iter::from_fn(move || {
        loop {
            if has_failed {
                return None;
            }
            if let Some(index) = indices.next() {
                return Some(Ok(index));
            }
            match draw(parts.next()?) {
                Ok(drawn) => indices = drawn.into_iter(),
                Err(source) => {
                    has_failed = true;
                    return Some(Err(DataError::Draw { function, source }));
                }
            }
        }
    }))
}

/// A seed as PyTorch draws it for a sampler or for workers: `torch.empty((), dtype=torch.int64).random_()`, two words.
pub(super) fn seed(generator: Option<&Generator>) -> Result<i64, InitError> {
    let drawn = drawn(generator, || {
        Tensor::f_empty([0_i64; 0], INDICES)?.f_random_()
    })?;
    i64::try_from(drawn).map_err(|error| InitError::tch("random_", error))
}

/// `torch.randperm`: `n - 1` words, or `2n` from 214,748,364 samples on.
pub(super) fn permutation(
    n: usize,
    generator: Option<&Generator>,
) -> Result<Vec<usize>, InitError> {
    let draw = || Tensor::f_randperm(to_i64(n), INDICES);
    indices_of(&drawn(generator, draw)?)
}

/// A draw of libtorch from this generator, or from the default one.
fn drawn(
    generator: Option<&Generator>,
    draw: impl FnOnce() -> Result<Tensor, TchError>,
) -> Result<Tensor, InitError> {
    match generator {
        Some(generator) if generator.device() != Device::Cpu => {
            return Err(InitError::libtorch(
                "sampler",
                "the order of samples needs a generator of the CPU, this one is of another device",
            ));
        }
        Some(generator) => generator.try_clone()?.scope(draw)?,
        None => draw(),
    }
    .map_err(|error| InitError::tch("sampler", error))
}

fn indices_of(drawn: &Tensor) -> Result<Vec<usize>, InitError> {
    let indices = Vec::<i64>::try_from(drawn).map_err(|error| InitError::tch("sampler", error))?;
    // Indices of libtorch are not negative.
    Ok(indices.into_iter().map(|index| index as usize).collect())
}

/// More than `i64::MAX` are rejected by libtorch.
fn to_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(-1)
}

pub(super) fn positive(
    function: &'static str,
    argument: &'static str,
    value: usize,
) -> Result<usize, DataError> {
    match value {
        0 => Err(DataError::Argument {
            function,
            argument,
            value: value.to_string(),
            reason: "must be positive",
        }),
        _ => Ok(value),
    }
}
