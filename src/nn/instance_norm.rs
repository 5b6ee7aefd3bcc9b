//! Normalization of every channel of every sample.

use super::norm_base::NormBase;
use super::printed::{PrintError, Printed};
use super::spec::{LayerRule, LayerSpec, VariableShapes};
use crate::nn::kind::LayerKind;

/// `_InstanceNorm.__init__`, `torch/nn/modules/instancenorm.py`, PyTorch 2.13.
fn new(kind: LayerKind, num_features: i64) -> NormBase {
    NormBase {
        affine: false,
        track_running_stats: false,
        ..NormBase::new(kind, num_features)
    }
}

pub(super) struct Rule;

impl LayerRule for Rule {
    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        NormBase::from_printed(kind, printed, new)
    }

    fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
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
        /// Options of an instance normalization, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct InstanceNormConfig {
            /// Whether cuDNN may be used. An option of tch's normalizations; default: yes.
            cudnn_enabled: bool = true,
            /// Added to the variance. PyTorch's default: 1e-5.
            eps: f64 = 1e-5,
            /// Weight of a new batch in the running statistics; `None` means 0 and prints as
            /// `None`. PyTorch's default: 0.1.
            momentum: Option<f64> = Some(0.1),
            /// Whether the layer has a weight and a bias. `None` is the default of PyTorch's class:
            /// no for `InstanceNorm1d`, yes for `LazyInstanceNorm1d`.
            affine: Option<bool> as bool = None,
            /// Whether an affine layer has a bias. PyTorch's default: yes.
            bias: bool = true,
            /// Whether the layer keeps running statistics, which it then uses outside training.
            /// `None` is the default of PyTorch's class: no for `InstanceNorm1d`, yes for
            /// `LazyInstanceNorm1d`.
            track_running_stats: Option<bool> as bool = None,
            /// Initializer of the weight. Default: PyTorch's.
            ws_init: Init = PYTORCH_DEFAULT,
            /// Initializer of the bias. Default: PyTorch's.
            bs_init: Init = PYTORCH_DEFAULT,
        }
    }

    /// `torch.nn.InstanceNorm1d`, `InstanceNorm2d` or `InstanceNorm3d`, which tch 0.26 lacks. Made by
    /// [`instance_norm1d`], [`instance_norm2d`] and [`instance_norm3d`].
    #[derive(Debug)]
    pub struct InstanceNorm {
        /// The weight, one per channel.
        pub ws: Option<Tensor>,
        /// The bias, one per channel.
        pub bs: Option<Tensor>,
        /// The running mean, one per channel.
        pub running_mean: Option<Tensor>,
        /// The running variance, one per channel.
        pub running_var: Option<Tensor>,
        /// Stays 0: PyTorch's instance normalizations do not count.
        pub num_batches_tracked: Option<Tensor>,
        /// The number of dimensions after the channels.
        pub nd: usize,
        base: NormBase,
        cudnn_enabled: bool,
    }

    impl InstanceNorm {
        /// The forward pass of `[batch, channels, ..]`, or of `[channels, ..]` for a single sample.
        /// By the input's statistics in training, and outside it unless there are running ones;
        /// training moves those.
        ///
        /// # Errors
        ///
        /// [`InitError::Layer`] for another number of dimensions, for channels other than those of
        /// the weight, and where statistics of a single element would be taken;
        /// [`InitError::Libtorch`] for what libtorch rejects.
        pub fn f_forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor, InitError> {
            let kind = self.base.kind;
            let shape = xs.size();
            // `_InstanceNorm.forward`, torch/nn/modules/instancenorm.py, and `instance_norm`,
            // torch/nn/functional.py, PyTorch 2.13.
            let single = self.nd + 1;
            if ![single, single + 1].contains(&shape.len()) {
                return Err(refused(
                    kind,
                    "input",
                    format!(
                        "an input of {single} or {} dimensions is expected, got shape {shape:?}",
                        single + 1
                    ),
                ));
            }
            let dim = shape.len() - single;
            let expected = self.base.num_features;
            if shape[dim] != expected {
                let message =
                    format!("dim {dim} of shape {shape:?} should be num_features = {expected}");
                if self.base.affine {
                    return Err(refused(kind, "input", message));
                }
                log::warn!("{kind}: {message}, which is not used without a weight");
            }
            let use_input_stats = train || !self.base.track_running_stats;
            if use_input_stats {
                let elements = shape[dim + 1..].iter().copied();
                self.base.check_count("spatial element", &shape, elements)?;
            }
            let normed = |xs: &Tensor| {
                xs.f_instance_norm(
                    self.ws.as_ref(),
                    self.bs.as_ref(),
                    self.running_mean.as_ref(),
                    self.running_var.as_ref(),
                    use_input_stats,
                    self.base.momentum.unwrap_or(0.0),
                    self.base.eps,
                    self.cudnn_enabled,
                )
            };
            let ys = if dim == 0 {
                xs.f_unsqueeze(0)
                    .and_then(|xs| normed(&xs))
                    .and_then(|ys| ys.f_squeeze_dim(0))
            } else {
                normed(xs)
            };
            ys.context(kind.name(), xs)
        }
    }

    impl ModuleT for InstanceNorm {
        /// [`InstanceNorm::f_forward_t`], which panics where that returns an error.
        fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
            or_panic(self.f_forward_t(xs, train))
        }
    }

    fn instance_norm(
        path: &Path<'_>,
        (kind, nd): (LayerKind, usize),
        num_features: i64,
        config: InstanceNormConfig,
    ) -> Result<InstanceNorm, InitError> {
        let class = super::new(kind, num_features);
        let base = NormBase {
            eps: config.eps,
            momentum: config.momentum,
            affine: config.affine.unwrap_or(class.affine),
            bias: config.bias,
            track_running_stats: config
                .track_running_stats
                .unwrap_or(class.track_running_stats),
            ..class
        };
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        let tensors = build(path, &base.spec(), &overrides)?;
        Ok(InstanceNorm {
            ws: tensors.get("weight"),
            bs: tensors.get("bias"),
            running_mean: tensors.get("running_mean"),
            running_var: tensors.get("running_var"),
            num_batches_tracked: tensors.get("num_batches_tracked"),
            nd,
            base,
            cudnn_enabled: config.cudnn_enabled,
        })
    }

    macro_rules! instance_norms {
    ($($name:ident, $kind:ident, $nd:literal;)*) => {$(
        #[doc = concat!("`torch.nn.", stringify!($kind), "(num_features)`: as the options ask, `weight` of ones")]
        /// and `bias` of zeros, and the buffers `running_mean` (zeros), `running_var` (ones) and
        /// `num_batches_tracked` (an i64 of no dimensions, 0).
        ///
        /// Draws nothing. By default the layer has no variables, so no walk of the `VarStore` sees
        /// it.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] for a negative size or a `VarStore` whose kind cannot be
        /// trained.
        ///
        /// ```
        #[doc = concat!("use tch_init::nn::{InstanceNormConfig, ", stringify!($name), "};")]
        ///
        /// # fn main() -> Result<(), tch_init::InitError> {
        /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
        /// let config = InstanceNormConfig::default().affine(true);
        #[doc = concat!("let norm = ", stringify!($name), "(vs.root() / \"norm\", 3, config)?;")]
        /// assert_eq!(norm.ws.map(|ws| ws.double_value(&[2])), Some(1.0));
        /// # Ok(())
        /// # }
        /// ```
        pub fn $name<'a, T: Borrow<Path<'a>>>(
            vs: T,
            num_features: i64,
            config: InstanceNormConfig,
        ) -> Result<InstanceNorm, InitError> {
            instance_norm(vs.borrow(), (LayerKind::$kind, $nd), num_features, config)
        }
    )*};
}

    instance_norms! {
        instance_norm1d, InstanceNorm1d, 1;
        instance_norm2d, InstanceNorm2d, 2;
        instance_norm3d, InstanceNorm3d, 3;
    }
}
