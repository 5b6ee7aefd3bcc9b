//! Batch normalization.

use super::norm_base::NormBase;
use super::printed::{PrintError, Printed};
use super::spec::{LayerRule, LayerSpec, VariableShapes};
use crate::nn::kind::LayerKind;

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

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
    use crate::error::InitError;
    use crate::nn::builder::build;
    use crate::nn::init::{PYTORCH_DEFAULT, is_no_bias};
    use crate::nn::kind::LayerKind;
    use crate::nn::norm_base::NormBase;
    use crate::nn::tch_layers::{or_panic, placeholder};
    use std::borrow::Borrow;
    use tch::nn::{self, BatchNorm, Init, Path};

    /// Options of a batch normalization: tch's fields, PyTorch's defaults.
    ///
    /// tch's layer always tracks running statistics, by a momentum: PyTorch's `momentum=None` and
    /// `track_running_stats=False` are options of [`sync_batch_norm`](crate::nn::sync_batch_norm),
    /// which in one process computes what a batch normalization computes.
    #[derive(Debug, Clone, Copy)]
    pub struct BatchNormConfig {
        /// Whether cuDNN may be used. tch's option; default: yes.
        pub cudnn_enabled: bool,
        /// Added to the variance. PyTorch's default: 1e-5.
        pub eps: f64,
        /// Weight of a new batch in the running statistics. PyTorch's default: 0.1.
        pub momentum: f64,
        /// Whether the layer has a weight and a bias. PyTorch's default: yes.
        pub affine: bool,
        /// Initializer of the weight. Default: PyTorch's.
        pub ws_init: Init,
        /// Initializer of the bias, or [`NO_BIAS`](crate::nn::init::NO_BIAS) for a layer without
        /// one. Default: PyTorch's.
        pub bs_init: Init,
    }

    impl Default for BatchNormConfig {
        fn default() -> BatchNormConfig {
            BatchNormConfig {
                cudnn_enabled: true,
                eps: 1e-5,
                momentum: 0.1,
                affine: true,
                ws_init: PYTORCH_DEFAULT,
                bs_init: PYTORCH_DEFAULT,
            }
        }
    }

    macro_rules! batch_norm {
    ($($name:ident, $fallible:ident, $kind:ident;)*) => {$(
        #[doc = concat!("`torch.nn.", stringify!($kind), "`: `weight` of ones and `bias` of zeros, and the buffers")]
        /// `running_mean` (zeros), `running_var` (ones) and `num_batches_tracked` (an i64 of no
        /// dimensions, 0, which tch's layer does not count up).
        ///
        /// Draws nothing. tch 0.26 draws the weight uniformly over 0 to 1.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] for a negative size or a `VarStore` whose kind cannot be
        /// trained.
        ///
        /// ```
        /// # fn main() -> Result<(), tch_init::InitError> {
        /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
        #[doc = concat!("let bn = tch_init::nn::", stringify!($fallible), "(vs.root() / \"bn\", 16, Default::default())?;")]
        /// assert_eq!(bn.ws.map(|ws| ws.double_value(&[15])), Some(1.0));
        /// # Ok(())
        /// # }
        /// ```
        pub fn $fallible<'a, T: Borrow<Path<'a>>>(
            vs: T,
            out_dim: i64,
            config: BatchNormConfig,
        ) -> Result<BatchNorm, InitError> {
            let layer = placeholder(|scratch| nn::$name(scratch, 1, config.placeholder()));
            batch_norm(vs.borrow(), layer, LayerKind::$kind, out_dim, config)
        }

        #[doc = concat!("[`", stringify!($fallible), "`] with tch's signature.")]
        ///
        /// # Panics
        ///
        /// As tch's, where the fallible one returns an error.
        pub fn $name<'a, T: Borrow<Path<'a>>>(
            vs: T,
            out_dim: i64,
            config: BatchNormConfig,
        ) -> BatchNorm {
            or_panic($fallible(vs, out_dim, config))
        }
    )*};
}

    batch_norm! {
        batch_norm1d, f_batch_norm1d, BatchNorm1d;
        batch_norm2d, f_batch_norm2d, BatchNorm2d;
        batch_norm3d, f_batch_norm3d, BatchNorm3d;
    }

    impl BatchNormConfig {
        /// tch's options of a layer that draws nothing when it is made.
        fn placeholder(self) -> nn::BatchNormConfig {
            nn::BatchNormConfig {
                cudnn_enabled: self.cudnn_enabled,
                eps: self.eps,
                momentum: self.momentum,
                affine: false,
                ws_init: Init::Const(1.0),
                bs_init: Init::Const(0.0),
            }
        }
    }

    fn batch_norm(
        path: &Path<'_>,
        mut layer: BatchNorm,
        kind: LayerKind,
        out_dim: i64,
        config: BatchNormConfig,
    ) -> Result<BatchNorm, InitError> {
        let base = NormBase {
            eps: config.eps,
            momentum: Some(config.momentum),
            affine: config.affine,
            bias: !is_no_bias(config.bs_init),
            ..NormBase::new(kind, out_dim)
        };
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        let tensors = build(path, &base.spec(), &overrides)?;
        layer.ws = tensors.get("weight");
        layer.bs = tensors.get("bias");
        layer.running_mean = tensors.required(kind, "running_mean")?;
        layer.running_var = tensors.required(kind, "running_var")?;
        Ok(layer)
    }
}
