//! Layer normalization.

use super::printed::{PrintError, Printed, python_bool, python_tuple};
use super::spec::{InitFill, LayerRule, LayerSpec, VariableShapes};
use crate::nn::kind::LayerKind;
use tensor_parity::python_repr;

/// `LayerNorm.__init__`, `reset_parameters` and `extra_repr`, `torch/nn/modules/normalization.py`,
/// PyTorch 2.13.
pub(super) fn spec(normalized_shape: &[i64], eps: f64, affine: bool, bias: bool) -> LayerSpec {
    let bias = affine && bias;
    let repr = format!(
        "LayerNorm({}, eps={}, elementwise_affine={}, bias={})",
        python_tuple(normalized_shape),
        python_repr::float(eps),
        python_bool(affine),
        python_bool(bias),
    );
    LayerSpec::new(LayerKind::LayerNorm, repr)
        .parameter_if(affine, "weight", normalized_shape, InitFill::Constant(1.0))
        .parameter_if(bias, "bias", normalized_shape, InitFill::Constant(0.0))
}

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(spec(
            &printed.ints("normalized_shape", Some(0))?,
            1e-5,
            printed.flag("elementwise_affine", true)?,
            printed.flag("bias", true)?,
        ))
    }

    /// A lone weight of several dimensions is ambiguous.
    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let shape = variables.parameter("weight")?;
        let bias = variables.parameter("bias").is_some();
        if shape.is_empty() || shape.len() > 1 && !bias {
            return None;
        }
        variables.matching(spec(shape, 1e-5, true, bias))
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
    use crate::nn::named_tensors::NamedTensors;
    use crate::nn::tch_layers::{or_panic, placeholder};
    use std::borrow::Borrow;
    use tch::nn::{self, LayerNorm, Path};

    /// Options of a layer normalization: tch's fields, PyTorch's defaults.
    #[derive(Debug, Clone, Copy)]
    pub struct LayerNormConfig {
        /// Whether cuDNN may be used. tch's option; default: yes.
        pub cudnn_enabled: bool,
        /// Added to the variance. PyTorch's default: 1e-5.
        pub eps: f64,
        /// Whether the layer has a weight and a bias. PyTorch's default: yes.
        pub elementwise_affine: bool,
        /// Initializer of the weight. Default: PyTorch's.
        pub ws_init: Init,
        /// Initializer of the bias, or [`NO_BIAS`](crate::nn::init::NO_BIAS) for a layer without
        /// one. Default: PyTorch's.
        pub bs_init: Init,
    }

    impl Default for LayerNormConfig {
        fn default() -> LayerNormConfig {
            LayerNormConfig {
                cudnn_enabled: true,
                eps: 1e-5,
                elementwise_affine: true,
                ws_init: PYTORCH_DEFAULT,
                bs_init: PYTORCH_DEFAULT,
            }
        }
    }

    /// `torch.nn.LayerNorm(normalized_shape)`: `weight` of ones and `bias` of zeros, both of the
    /// normalized shape, which is that of the input's last dimensions.
    ///
    /// Draws nothing. Without a weight the layer has no variables, so no walk of the `VarStore`
    /// sees it.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] for a negative size or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch::nn::{Module, VarStore};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// let norm = tch_init::nn::f_layer_norm(vs.root() / "norm", vec![2], Default::default())?;
    /// let y = norm.forward(&tch::Tensor::from_slice(&[1f32, 3.0]));
    /// assert!((y.double_value(&[1]) - 1.0).abs() < 1e-4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn f_layer_norm<'a, T: Borrow<Path<'a>>>(
        vs: T,
        normalized_shape: Vec<i64>,
        config: LayerNormConfig,
    ) -> Result<LayerNorm, InitError> {
        let spec = spec(
            &normalized_shape,
            config.eps,
            config.elementwise_affine,
            !is_no_bias(config.bs_init),
        );
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        let tensors = build(vs.borrow(), &spec, &overrides)?;
        Ok(layer(
            &tensors,
            normalized_shape,
            config.eps,
            config.cudnn_enabled,
        ))
    }

    /// [`f_layer_norm`] with tch's signature.
    ///
    /// # Panics
    ///
    /// As `tch::nn::layer_norm`, where [`f_layer_norm`] returns an error.
    pub fn layer_norm<'a, T: Borrow<Path<'a>>>(
        vs: T,
        normalized_shape: Vec<i64>,
        config: LayerNormConfig,
    ) -> LayerNorm {
        or_panic(f_layer_norm(vs, normalized_shape, config))
    }

    /// The layer with these tensors.
    pub(in crate::nn) fn layer(
        tensors: &NamedTensors,
        normalized_shape: Vec<i64>,
        eps: f64,
        cudnn_enabled: bool,
    ) -> LayerNorm {
        let mut layer = placeholder(|scratch| {
            let config = nn::LayerNormConfig {
                cudnn_enabled,
                eps,
                elementwise_affine: false,
                ..Default::default()
            };
            nn::layer_norm(scratch, normalized_shape, config)
        });
        layer.ws = tensors.get("weight");
        layer.bs = tensors.get("bias");
        layer
    }
}
