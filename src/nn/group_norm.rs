//! Normalization of groups of channels.

use super::printed::{PrintError, Printed, python_bool};
use super::spec::{InitFill, LayerRule, LayerSpec, VariableShapes, refused};
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use tensor_parity::python_repr;

/// `GroupNorm.__init__`, `reset_parameters` and `extra_repr`, `torch/nn/modules/normalization.py`,
/// PyTorch 2.13.
fn spec(
    num_groups: i64,
    num_channels: i64,
    eps: f64,
    affine: bool,
    bias: bool,
) -> Result<LayerSpec, InitError> {
    if num_groups <= 0 || num_channels % num_groups != 0 {
        return Err(refused(
            LayerKind::GroupNorm,
            "num_groups",
            format!(
                "num_groups = {num_groups} must be positive and divide num_channels = \
                 {num_channels}"
            ),
        ));
    }
    let bias = affine && bias;
    let repr = format!(
        "GroupNorm({num_groups}, {num_channels}, eps={}, affine={}, bias={})",
        python_repr::float(eps),
        python_bool(affine),
        python_bool(bias),
    );
    let channels = &[num_channels];
    Ok(LayerSpec::new(LayerKind::GroupNorm, repr)
        .parameter_if(affine, "weight", channels, InitFill::Constant(1.0))
        .parameter_if(bias, "bias", channels, InitFill::Constant(0.0)))
}

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(spec(
            printed.int("num_groups", Some(0))?,
            printed.int("num_channels", Some(1))?,
            1e-5,
            printed.flag("affine", true)?,
            printed.flag("bias", true)?,
        )?)
    }

    /// The groups are not known, and do not affect the variables.
    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [num_channels] = *variables.parameter("weight")? else {
            return None;
        };
        let bias = variables.parameter("bias").is_some();
        variables.matching(spec(1, num_channels, 1e-5, true, bias).ok()?)
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::spec;
    use crate::error::InitError;
    use crate::nn::builder::build;
    use crate::nn::init::{Init, PYTORCH_DEFAULT, is_no_bias};
    use crate::nn::tch_layers::{or_panic, placeholder};
    use std::borrow::Borrow;
    use tch::nn::{self, GroupNorm, Path};

    /// Options of a group normalization: tch's fields, PyTorch's defaults.
    #[derive(Debug, Clone, Copy)]
    pub struct GroupNormConfig {
        /// Whether cuDNN may be used. tch's option; default: yes.
        pub cudnn_enabled: bool,
        /// Added to the variance. PyTorch's default: 1e-5.
        pub eps: f64,
        /// Whether the layer has a weight and a bias. PyTorch's default: yes.
        pub affine: bool,
        /// Initializer of the weight. Default: PyTorch's.
        pub ws_init: Init,
        /// Initializer of the bias, or [`NO_BIAS`](crate::nn::init::NO_BIAS) for a layer without
        /// one. Default: PyTorch's.
        pub bs_init: Init,
    }

    impl Default for GroupNormConfig {
        fn default() -> GroupNormConfig {
            GroupNormConfig {
                cudnn_enabled: true,
                eps: 1e-5,
                affine: true,
                ws_init: PYTORCH_DEFAULT,
                bs_init: PYTORCH_DEFAULT,
            }
        }
    }

    /// `torch.nn.GroupNorm(num_groups, num_channels)`: `weight` of ones and `bias` of zeros, one of
    /// each a channel.
    ///
    /// Draws nothing. Without a weight the layer has no variables, so no walk of the `VarStore`
    /// sees it.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] if `num_groups` is not positive, which PyTorch finds when the layer is
    /// run, or does not divide `num_channels`; [`InitError::Libtorch`] for negative channels or a
    /// `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch_init::nn::{GroupNormConfig, f_group_norm};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let norm = f_group_norm(vs.root() / "norm", 2, 6, GroupNormConfig::default())?;
    /// assert_eq!(norm.ws.map(|ws| ws.size()), Some(vec![6]));
    /// assert!(f_group_norm(vs.root(), 4, 6, GroupNormConfig::default()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn f_group_norm<'a, T: Borrow<Path<'a>>>(
        vs: T,
        num_groups: i64,
        num_channels: i64,
        config: GroupNormConfig,
    ) -> Result<GroupNorm, InitError> {
        let bias = !is_no_bias(config.bs_init);
        let spec = spec(num_groups, num_channels, config.eps, config.affine, bias)?;
        let mut layer = placeholder(|scratch| {
            let config = nn::GroupNormConfig {
                cudnn_enabled: config.cudnn_enabled,
                eps: config.eps,
                affine: false,
                ..Default::default()
            };
            nn::group_norm(scratch, num_groups, num_channels, config)
        });
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        let tensors = build(vs.borrow(), &spec, &overrides)?;
        layer.ws = tensors.get("weight");
        layer.bs = tensors.get("bias");
        Ok(layer)
    }

    /// [`f_group_norm`] with tch's signature.
    ///
    /// # Panics
    ///
    /// As `tch::nn::group_norm`, where [`f_group_norm`] returns an error.
    pub fn group_norm<'a, T: Borrow<Path<'a>>>(
        vs: T,
        num_groups: i64,
        num_channels: i64,
        config: GroupNormConfig,
    ) -> GroupNorm {
        or_panic(f_group_norm(vs, num_groups, num_channels, config))
    }
}
