//! Batch normalization with all of PyTorch's options.

use super::norm_base::NormBase;
use super::printed::{PrintError, Printed};
use super::spec::{LayerRule, LayerSpec, VariableShapes};
use crate::nn::kind::LayerKind;

pub(super) struct Rule;

impl LayerRule for Rule {
    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        NormBase::from_printed(kind, printed, NormBase::new)
    }

    /// Always tracks statistics: without them it looks like other normalizations.
    fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        variables.buffer("running_mean")?;
        NormBase::infer(kind, variables)
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::config::config;
    use crate::nn::init::{Init, PYTORCH_DEFAULT};
    use crate::nn::kind::LayerKind;
    use crate::nn::norm_base::NormBase;
    use crate::nn::spec::refused;
    use crate::nn::tch_layers::or_panic;
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::{ModuleT, Path};

    config! {
        /// Options of a synchronized batch normalization, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct SyncBatchNormConfig {
            /// Whether cuDNN may be used. An option of tch's normalizations; default: yes.
            cudnn_enabled: bool = true,
            /// Added to the variance. PyTorch's default: 1e-5.
            eps: f64 = 1e-5,
            /// Weight of a new batch in the running statistics; `None` averages all batches
            /// equally. PyTorch's default: 0.1.
            momentum: Option<f64> = Some(0.1),
            /// Whether the layer has a weight and a bias. PyTorch's default: yes.
            affine: bool = true,
            /// Whether an affine layer has a bias. PyTorch's default: yes.
            bias: bool = true,
            /// Whether the layer keeps running statistics, which it then uses outside training.
            /// PyTorch's default: yes.
            track_running_stats: bool = true,
            /// Initializer of the weight. Default: PyTorch's.
            ws_init: Init = PYTORCH_DEFAULT,
            /// Initializer of the bias. Default: PyTorch's.
            bs_init: Init = PYTORCH_DEFAULT,
        }
    }

    /// `torch.nn.SyncBatchNorm` in one process, which tch 0.26 lacks. Made by [`sync_batch_norm`].
    ///
    /// With one process there is nothing to synchronize, and the layer is PyTorch's batch
    /// normalization for any number of dimensions with all of its options. It does not gather
    /// statistics from other processes.
    #[derive(Debug)]
    pub struct SyncBatchNorm {
        /// The weight, one per channel.
        pub ws: Option<Tensor>,
        /// The bias, one per channel.
        pub bs: Option<Tensor>,
        /// The running mean, one per channel.
        pub running_mean: Option<Tensor>,
        /// The running variance, one per channel.
        pub running_var: Option<Tensor>,
        /// The number of batches that the running statistics have seen.
        pub num_batches_tracked: Option<Tensor>,
        base: NormBase,
        cudnn_enabled: bool,
    }

    impl SyncBatchNorm {
        /// The forward pass of `[batch, channels, ..]`. By the batch's statistics in training,
        /// which moves the running ones, and outside it where there are no running ones.
        ///
        /// # Errors
        ///
        /// [`InitError::Layer`] for fewer than two dimensions or no channels, where the batch's
        /// statistics would be those of one value per channel, and for an `eps` that is negative or,
        /// by the batch's statistics, 0; [`InitError::Libtorch`] for what libtorch rejects.
        pub fn f_forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor, InitError> {
            let kind = self.base.kind;
            let shape = xs.size();
            // `SyncBatchNorm.forward`, torch/nn/modules/batchnorm.py, PyTorch 2.13.
            let [batch, channels, spatial @ ..] = &shape[..] else {
                return Err(refused(
                    kind,
                    "input",
                    format!("an input of at least 2 dimensions is expected, got shape {shape:?}"),
                ));
            };
            if *channels == 0 {
                return Err(refused(
                    kind,
                    "input",
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
                return Err(refused(kind, "eps", format!("eps = {eps} must be {least}")));
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
    /// zeros, and the buffers `running_mean` (zeros), `running_var` (ones) and
    /// `num_batches_tracked` (an i64 of no dimensions, 0), which training counts up.
    ///
    /// Draws nothing.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] for a negative size or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch_init::nn::{SyncBatchNormConfig, sync_batch_norm};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let config = SyncBatchNormConfig::default().momentum(None);
    /// let norm = sync_batch_norm(vs.root() / "norm", 1, config)?;
    /// norm.f_forward_t(&tch::Tensor::from_slice(&[1f32, 3.0]).view([2, 1]), true)?;
    /// assert_eq!(norm.running_mean.map(|mean| mean.double_value(&[0])), Some(2.0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn sync_batch_norm<'a, T: Borrow<Path<'a>>>(
        vs: T,
        num_features: i64,
        config: SyncBatchNormConfig,
    ) -> Result<SyncBatchNorm, InitError> {
        let base = NormBase {
            eps: config.eps,
            momentum: config.momentum,
            affine: config.affine,
            bias: config.bias,
            track_running_stats: config.track_running_stats,
            ..NormBase::new(LayerKind::SyncBatchNorm, num_features)
        };
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        let tensors = build(vs.borrow(), &base.spec(), &overrides)?;
        Ok(SyncBatchNorm {
            ws: tensors.get("weight"),
            bs: tensors.get("bias"),
            running_mean: tensors.get("running_mean"),
            running_var: tensors.get("running_var"),
            num_batches_tracked: tensors.get("num_batches_tracked"),
            base,
            cudnn_enabled: config.cudnn_enabled,
        })
    }
}
