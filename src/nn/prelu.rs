//! The rectifier with a learnable slope.

use super::printed::{PrintError, Printed};
use super::spec::{InitFill, LayerRule, LayerSpec, VariableShapes};
use crate::nn::kind::LayerKind;

/// `PReLU.__init__` and `reset_parameters`, `torch/nn/modules/activation.py`, PyTorch 2.13.
fn spec(num_parameters: i64, init: f64) -> LayerSpec {
    let repr = format!("PReLU(num_parameters={num_parameters})");
    LayerSpec::new(LayerKind::PReLU, repr).parameter(
        "weight",
        &[num_parameters],
        InitFill::Constant(init),
    )
}

pub(super) struct Rule;

impl LayerRule for Rule {
    /// The initial slope, which is not printed, is taken to be the default.
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(spec(printed.int("num_parameters", None)?, 0.25))
    }

    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [num_parameters] = *variables.parameter("weight")? else {
            return None;
        };
        variables.matching(spec(num_parameters, 0.25))
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
    use crate::nn::tch_layers::or_panic;
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::{Module, Path};

    config! {
        /// Options of a rectifier with a learnable slope, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct PReLUConfig {
            /// One slope for all channels, or one for each. PyTorch's default: 1.
            num_parameters: i64 = 1,
            /// The initial slopes. PyTorch's default: 0.25.
            init: f64 = 0.25,
            /// Initializer that replaces `init`. Default: PyTorch's.
            ws_init: Init = PYTORCH_DEFAULT,
        }
    }

    /// `torch.nn.PReLU`, which tch 0.26 lacks. Made by [`prelu`].
    #[derive(Debug)]
    pub struct PReLU {
        /// The slopes below zero.
        pub ws: Tensor,
    }

    impl PReLU {
        /// The forward pass: elements below zero times the slope, of the channel in dimension 1 if
        /// there is more than one slope.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] if the slopes do not fit the input's channels.
        pub fn f_forward(&self, xs: &Tensor) -> Result<Tensor, InitError> {
            xs.f_prelu(&self.ws).context("PReLU", xs)
        }
    }

    impl Module for PReLU {
        /// [`PReLU::f_forward`], which panics where that returns an error.
        fn forward(&self, xs: &Tensor) -> Tensor {
            or_panic(self.f_forward(xs))
        }
    }

    /// `torch.nn.PReLU(num_parameters, init)`: `weight` of shape `[num_parameters]`, filled with
    /// `init`.
    ///
    /// Draws nothing.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] for a negative size, an `init` that the kind cannot hold, or a
    /// `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let prelu = tch_init::nn::prelu(vs.root() / "prelu", Default::default())?;
    /// let y = prelu.f_forward(&tch::Tensor::from_slice(&[-4f32, 4.0]))?;
    /// assert_eq!((y.double_value(&[0]), y.double_value(&[1])), (-1.0, 4.0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prelu<'a, T: Borrow<Path<'a>>>(vs: T, config: PReLUConfig) -> Result<PReLU, InitError> {
        let spec = spec(config.num_parameters, config.init);
        let tensors = build(vs.borrow(), &spec, &[("weight", config.ws_init)])?;
        Ok(PReLU {
            ws: tensors.required(LayerKind::PReLU, "weight")?,
        })
    }
}
