//! Batch normalisation with all of PyTorch's options.

use super::build::make;
use super::init::{Init, PYTORCH_DEFAULT, is_no_bias};
use super::norm_base::NormBase;
use super::{LayerKind, or_panic};
use crate::error::{Context, InitError};
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{ModuleT, Path};

/// Options of a synchronised batch normalisation, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct SyncBatchNormConfig {
    /// Whether cuDNN may be used. An option of tch's normalisations; default: yes.
    pub cudnn_enabled: bool,
    /// Added to the variance. PyTorch's default: 1e-5.
    pub eps: f64,
    /// Weight of a new batch in the running statistics. PyTorch's default: 0.1. None averages all
    /// batches equally.
    pub momentum: Option<f64>,
    /// Whether there are a weight and a bias. PyTorch's default: yes.
    pub affine: bool,
    /// Whether an affine layer has a bias. PyTorch's default: yes.
    pub bias: bool,
    /// Whether there are running statistics, which are then used outside training. PyTorch's
    /// default: yes.
    pub track_running_stats: bool,
    /// How the weight starts. Default: as in PyTorch.
    pub ws_init: Init,
    /// How the bias starts. Default: as in PyTorch.
    pub bs_init: Init,
}

impl Default for SyncBatchNormConfig {
    fn default() -> SyncBatchNormConfig {
        SyncBatchNormConfig {
            cudnn_enabled: true,
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            bias: true,
            track_running_stats: true,
            ws_init: PYTORCH_DEFAULT,
            bs_init: PYTORCH_DEFAULT,
        }
    }
}

/// `torch.nn.SyncBatchNorm` in one process, which tch 0.26 has not. Made by [`sync_batch_norm`].
///
/// With one process there is nothing to synchronise, and the layer is PyTorch's batch normalisation
/// for any number of dimensions with all of its options. It does not gather statistics from other
/// processes.
#[derive(Debug)]
pub struct SyncBatchNorm {
    /// The weight, one a channel.
    pub ws: Option<Tensor>,
    /// The bias, one a channel.
    pub bs: Option<Tensor>,
    /// The running mean, one a channel.
    pub running_mean: Option<Tensor>,
    /// The running variance, one a channel.
    pub running_var: Option<Tensor>,
    /// The number of batches that the running statistics have seen.
    pub num_batches_tracked: Option<Tensor>,
    base: NormBase,
    cudnn_enabled: bool,
}

impl SyncBatchNorm {
    /// The forward pass of `[batch, channels, ..]`. By the batch's statistics in training, which
    /// moves the running ones, and outside it where there are no running ones.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for fewer than two dimensions or no channels, where the batch's
    /// statistics would be those of one value a channel, and for an `eps` that is negative or, by
    /// the batch's statistics, 0; [`InitError::Libtorch`] for what libtorch refuses.
    pub fn f_forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor, InitError> {
        let kind = self.base.kind;
        let shape = xs.size();
        // `SyncBatchNorm.forward`, torch/nn/modules/batchnorm.py, PyTorch 2.13.
        let [batch, channels, spatial @ ..] = &shape[..] else {
            return Err(InitError::layer(
                kind,
                format!("an input of at least 2 dimensions is expected, got shape {shape:?}"),
            ));
        };
        if *channels == 0 {
            return Err(InitError::layer(
                kind,
                format!("an input with channels is expected, got shape {shape:?}"),
            ));
        }
        let factor = match train {
            true => self.count_batch()?,
            false => self.base.momentum.unwrap_or(0.0),
        };
        let by_batch = train || self.running_mean.is_none();
        // `batch_norm`, torch/nn/functional.py, PyTorch 2.13.
        let eps = self.base.eps;
        if by_batch {
            let values = spatial.iter().copied().chain([*batch]);
            self.base.check_count("value per channel", &shape, values)?;
        }
        if eps < 0.0 || by_batch && eps == 0.0 {
            let least = if by_batch { "positive" } else { "not negative" };
            return Err(InitError::layer(
                kind,
                format!("eps = {eps} must be {least}"),
            ));
        }
        xs.f_batch_norm(
            self.ws.as_ref(),
            self.bs.as_ref(),
            self.running_mean.as_ref(),
            self.running_var.as_ref(),
            by_batch,
            factor,
            eps,
            self.cudnn_enabled,
        )
        .context(kind.name(), xs)
    }

    /// Counts a batch, and gives its weight in the running statistics.
    fn count_batch(&self) -> Result<f64, InitError> {
        let Some(batches) = &self.num_batches_tracked else {
            return Ok(self.base.momentum.unwrap_or(0.0));
        };
        let function = "num_batches_tracked";
        let options = (
            batches.f_kind().context(function, batches)?,
            batches.device(),
        );
        let one = Tensor::f_ones([0i64; 0], options).context(function, batches)?;
        let mut count = batches.shallow_clone();
        drop(count.f_add_(&one).context(function, batches)?);
        match self.base.momentum {
            Some(momentum) => Ok(momentum),
            None => Ok(1.0 / batches.f_double_value(&[]).context(function, batches)?),
        }
    }
}

impl ModuleT for SyncBatchNorm {
    /// [`SyncBatchNorm::f_forward_t`], which panics where that returns an error.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        or_panic(self.f_forward_t(xs, train))
    }
}

/// `torch.nn.SyncBatchNorm(num_features)`: as the options ask, `weight` of ones and `bias` of
/// zeros, and the buffers `running_mean` (zeros), `running_var` (ones) and `num_batches_tracked`
/// (an i64 of no dimensions, 0), which training counts up.
///
/// Draws nothing.
///
/// # Errors
///
/// [`InitError::Libtorch`] for a negative size or a `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch_init::nn::{SyncBatchNormConfig, f_sync_batch_norm};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let config = SyncBatchNormConfig { momentum: None, ..Default::default() };
/// let norm = f_sync_batch_norm(vs.root() / "norm", 1, config)?;
/// norm.f_forward_t(&tch::Tensor::from_slice(&[1f32, 3.0]).view([2, 1]), true)?;
/// assert_eq!(norm.running_mean.map(|mean| mean.double_value(&[0])), Some(2.0));
/// # Ok(())
/// # }
/// ```
pub fn f_sync_batch_norm<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_features: i64,
    config: SyncBatchNormConfig,
) -> Result<SyncBatchNorm, InitError> {
    let base = NormBase {
        kind: LayerKind::SyncBatchNorm,
        num_features,
        eps: config.eps,
        momentum: config.momentum,
        affine: config.affine,
        bias: config.bias && !is_no_bias(config.bs_init),
        track_running_stats: config.track_running_stats,
    };
    let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
    make(vs.borrow(), &overrides, |build| {
        base.declare(build, |tensors| SyncBatchNorm {
            ws: tensors.ws,
            bs: tensors.bs,
            running_mean: tensors.running_mean,
            running_var: tensors.running_var,
            num_batches_tracked: tensors.num_batches_tracked,
            base,
            cudnn_enabled: config.cudnn_enabled,
        })
    })
}

/// [`f_sync_batch_norm`] as tch's constructors are.
///
/// # Panics
///
/// Where [`f_sync_batch_norm`] returns an error.
pub fn sync_batch_norm<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_features: i64,
    config: SyncBatchNormConfig,
) -> SyncBatchNorm {
    or_panic(f_sync_batch_norm(vs, num_features, config))
}
