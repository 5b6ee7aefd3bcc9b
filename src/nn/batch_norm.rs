//! Batch normalisation.

use super::variable::{Variables, placeholder, python_bool};
use super::{LayerKind, reset};
use crate::error::InitError;
use crate::repr::python_float;
use std::borrow::Borrow;
use tch::Kind;
use tch::nn::{self, BatchNorm, Init, Path};

/// Options of a batch normalisation; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormConfig {
    /// Whether cuDNN may be used. tch's option; default: yes.
    pub cudnn_enabled: bool,
    /// Added to the variance. PyTorch's default: 1e-5.
    pub eps: f64,
    /// Weight of a new batch in the running statistics. PyTorch's default: 0.1.
    pub momentum: f64,
    /// Whether there are a weight and a bias. PyTorch's default: yes.
    pub affine: bool,
}

impl Default for BatchNormConfig {
    fn default() -> BatchNormConfig {
        BatchNormConfig {
            cudnn_enabled: true,
            eps: 1e-5,
            momentum: 0.1,
            affine: true,
        }
    }
}

macro_rules! batch_norm {
    ($($name:ident, $tch:ident, $kind:ident;)*) => {$(
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
        #[doc = concat!("let bn = tch_init::nn::", stringify!($name), "(vs.root() / \"bn\", 16, Default::default())?;")]
        /// assert_eq!(bn.ws.map(|ws| ws.double_value(&[15])), Some(1.0));
        /// # Ok(())
        /// # }
        /// ```
        pub fn $name<'a, T: Borrow<Path<'a>>>(
            vs: T,
            out_dim: i64,
            config: BatchNormConfig,
        ) -> Result<BatchNorm, InitError> {
            let layer = placeholder(|scratch| nn::$tch(scratch, 1, config.placeholder()));
            with_tensors(layer, vs.borrow(), LayerKind::$kind, out_dim, config)
        }
    )*};
}

batch_norm! {
    f_batch_norm1d, batch_norm1d, BatchNorm1d;
    f_batch_norm2d, batch_norm2d, BatchNorm2d;
    f_batch_norm3d, batch_norm3d, BatchNorm3d;
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

fn with_tensors(
    mut layer: BatchNorm,
    path: &Path<'_>,
    kind: LayerKind,
    out_dim: i64,
    config: BatchNormConfig,
) -> Result<BatchNorm, InitError> {
    let mut variables = Variables::new(path, kind.name());
    layer.ws = variables.optional_parameter(config.affine, "weight", &[out_dim])?;
    layer.bs = variables.optional_parameter(config.affine, "bias", &[out_dim])?;
    layer.running_mean = variables.buffer("running_mean", &[out_dim], path.kind())?;
    layer.running_var = variables.buffer("running_var", &[out_dim], path.kind())?;
    let mut batches = variables.buffer("num_batches_tracked", &[], Kind::Int64)?;
    reset::running_stats_(
        Some(&mut layer.running_mean),
        Some(&mut layer.running_var),
        Some(&mut batches),
    )?;
    reset::norm_(layer.ws.as_mut(), layer.bs.as_mut())?;
    variables.done(
        kind,
        format!(
            "{out_dim}, eps={}, momentum={}, affine={affine}, bias={affine}, track_running_stats=True",
            python_float(config.eps),
            python_float(config.momentum),
            affine = python_bool(config.affine),
        ),
    )?;
    Ok(layer)
}
