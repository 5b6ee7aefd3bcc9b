//! Normalization by the root mean square.

use super::printed::{PrintError, Printed, python_bool, python_tuple};
use super::spec::{InitFill, LayerRule, LayerSpec, VariableShapes};
use crate::nn::kind::LayerKind;
use tensor_parity::python_repr;

/// `RMSNorm.__init__`, `reset_parameters` and `extra_repr`, `torch/nn/modules/normalization.py`,
/// PyTorch 2.13.
fn spec(normalized_shape: &[i64], eps: Option<f64>, affine: bool) -> LayerSpec {
    let repr = format!(
        "RMSNorm({}, eps={}, elementwise_affine={})",
        python_tuple(normalized_shape),
        eps.map_or("None".to_owned(), python_repr::float),
        python_bool(affine),
    );
    LayerSpec::new(LayerKind::RMSNorm, repr).parameter_if(
        affine,
        "weight",
        normalized_shape,
        InitFill::Constant(1.0),
    )
}

pub(super) struct Rule;

impl LayerRule for Rule {
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let shape = printed.ints("normalized_shape", Some(0))?;
        let affine = printed.flag("elementwise_affine", true)?;
        Ok(spec(&shape, None, affine))
    }

    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let shape = variables.parameter("weight")?;
        if shape.is_empty() {
            return None;
        }
        variables.matching(spec(shape, None, true))
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::spec;
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::config::config;
    use crate::nn::init::{Init, PYTORCH_DEFAULT};
    use crate::nn::tch_layers::or_panic;
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::{Module, Path};

    config! {
        /// Options of a normalization by the root mean square, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct RMSNormConfig {
            /// Added to the mean square; `None` means the machine epsilon of the input's kind.
            /// PyTorch's default: none.
            eps: Option<f64> = None,
            /// Whether the layer has a weight. PyTorch's default: yes.
            elementwise_affine: bool = true,
            /// Initializer of the weight. Default: PyTorch's.
            ws_init: Init = PYTORCH_DEFAULT,
        }
    }

    /// `torch.nn.RMSNorm`, which tch 0.26 lacks: divides by the root of the mean square over the
    /// last dimensions. Made by [`rms_norm`].
    #[derive(Debug)]
    pub struct RMSNorm {
        /// The weight, of the normalized shape.
        pub ws: Option<Tensor>,
        /// The shape of the input's last dimensions.
        pub normalized_shape: Vec<i64>,
        eps: Option<f64>,
    }

    impl RMSNorm {
        /// The forward pass, in any shape that ends in the normalized one.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] for an input of another shape.
        pub fn f_forward(&self, xs: &Tensor) -> Result<Tensor, InitError> {
            xs.f_rms_norm(self.normalized_shape.as_slice(), self.ws.as_ref(), self.eps)
                .context("RMSNorm", xs)
        }
    }

    impl Module for RMSNorm {
        /// [`RMSNorm::f_forward`], which panics where that returns an error.
        fn forward(&self, xs: &Tensor) -> Tensor {
            or_panic(self.f_forward(xs))
        }
    }

    /// `torch.nn.RMSNorm(normalized_shape)`: `weight` of ones, of the normalized shape.
    ///
    /// Draws nothing. Without a weight the layer has no variables, so no walk of the `VarStore`
    /// sees it.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] for a negative size or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch::nn::VarStore;
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// let norm = tch_init::nn::rms_norm(vs.root() / "norm", vec![2], Default::default())?;
    /// let y = norm.f_forward(&tch::Tensor::from_slice(&[1f32, 7.0]))?;
    /// assert!((y.double_value(&[1]) - 1.4).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rms_norm<'a, T: Borrow<Path<'a>>>(
        vs: T,
        normalized_shape: Vec<i64>,
        config: RMSNormConfig,
    ) -> Result<RMSNorm, InitError> {
        let spec = spec(&normalized_shape, config.eps, config.elementwise_affine);
        let tensors = build(vs.borrow(), &spec, &[("weight", config.ws_init)])?;
        Ok(RMSNorm {
            ws: tensors.get("weight"),
            normalized_shape,
            eps: config.eps,
        })
    }
}
