//! Bilinear layers.

use super::printed::{PrintError, Printed, python_bool};
use super::spec::{LayerRule, LayerSpec, VariableShapes, symmetric};
use crate::error::InitError;
use crate::nn::kind::LayerKind;

/// `Bilinear.__init__` and `reset_parameters`, `torch/nn/modules/linear.py`, PyTorch 2.13.
fn spec(
    in1_features: i64,
    in2_features: i64,
    out_features: i64,
    bias: bool,
) -> Result<LayerSpec, InitError> {
    let weight = [out_features, in1_features, in2_features];
    if in1_features == 0 {
        return Err(InitError::Argument {
            function: "Bilinear",
            argument: "in1_features",
            value: in1_features as f64,
            reason: "must be positive",
            shape: Some(weight.to_vec()),
        });
    }
    let repr = format!(
        "Bilinear(in1_features={in1_features}, in2_features={in2_features}, \
         out_features={out_features}, bias={})",
        python_bool(bias)
    );
    let fill = symmetric(1.0 / (in1_features as f64).sqrt());
    Ok(LayerSpec::new(LayerKind::Bilinear, repr)
        .parameter("weight", &weight, fill.clone())
        .parameter_if(bias, "bias", &[out_features], fill))
}

pub(super) struct Rule;

impl LayerRule for Rule {
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(spec(
            printed.int("in1_features", None)?,
            printed.int("in2_features", None)?,
            printed.int("out_features", None)?,
            printed.flag("bias", true)?,
        )?)
    }

    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [out_features, in1_features, in2_features] = *variables.parameter("weight")? else {
            return None;
        };
        let bias = variables.parameter("bias").is_some();
        variables.matching(spec(in1_features, in2_features, out_features, bias).ok()?)
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
    use crate::nn::kind::LayerKind;
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::Path;

    config! {
        /// Options of a bilinear layer, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct BilinearConfig {
            /// Whether the layer has a bias. PyTorch's default: yes.
            bias: bool = true,
            /// Initializer of the weight. Default: PyTorch's.
            ws_init: Init = PYTORCH_DEFAULT,
            /// Initializer of the bias. Default: PyTorch's.
            bs_init: Init = PYTORCH_DEFAULT,
        }
    }

    /// `torch.nn.Bilinear`, which tch 0.26 lacks. Made by [`bilinear`].
    #[derive(Debug)]
    pub struct Bilinear {
        /// The weight, of shape `[out_features, in1_features, in2_features]`.
        pub ws: Tensor,
        /// The bias, of shape `[out_features]`.
        pub bs: Option<Tensor>,
    }

    impl Bilinear {
        /// The forward pass: inputs of shapes `[.., in1_features]` and `[.., in2_features]`, which
        /// share the other dimensions, to `[.., out_features]`.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] for inputs of other shapes.
        pub fn forward(&self, input1: &Tensor, input2: &Tensor) -> Result<Tensor, InitError> {
            Tensor::f_bilinear(input1, input2, &self.ws, self.bs.as_ref())
                .context("Bilinear", input1)
        }
    }

    /// `torch.nn.Bilinear(in1_features, in2_features, out_features)`: `weight` of shape
    /// `[out_features, in1_features, in2_features]`, then `bias` of shape `[out_features]`, both
    /// uniform over `+-1/sqrt(in1_features)`.
    ///
    /// Draws the weight, then the bias, as [`uniform_`](crate::init::uniform_).
    ///
    /// # Errors
    ///
    /// [`InitError::Argument`] if `in1_features` is 0, [`InitError::Libtorch`] for negative sizes
    /// or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch::{Tensor, kind::FLOAT_CPU};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let layer = tch_init::nn::bilinear(vs.root() / "pair", 4, 3, 2, Default::default())?;
    /// assert!(layer.ws.abs().max().double_value(&[]) <= 0.5);
    /// let inputs = [Tensor::ones([8, 4], FLOAT_CPU), Tensor::ones([8, 3], FLOAT_CPU)];
    /// assert_eq!(layer.forward(&inputs[0], &inputs[1])?.size(), [8, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bilinear<'a, T: Borrow<Path<'a>>>(
        vs: T,
        in1_features: i64,
        in2_features: i64,
        out_features: i64,
        config: BilinearConfig,
    ) -> Result<Bilinear, InitError> {
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        let spec = spec(in1_features, in2_features, out_features, config.bias)?;
        let tensors = build(vs.borrow(), &spec, &overrides)?;
        Ok(Bilinear {
            ws: tensors.required(LayerKind::Bilinear, "weight")?,
            bs: tensors.get("bias"),
        })
    }
}
