//! Linear layers.

use super::printed::{PrintError, Printed, python_bool};
use super::spec::{LayerRule, LayerSpec, VariableShapes, default_bias, kaiming_default};
use crate::nn::kind::LayerKind;

/// `Linear.__init__` and `reset_parameters`, `torch/nn/modules/linear.py`, PyTorch 2.13. `class` is
/// what Python prints: an attention has a subclass.
pub(super) fn spec(class: &str, in_features: i64, out_features: i64, bias: bool) -> LayerSpec {
    let repr = format!(
        "{class}(in_features={in_features}, out_features={out_features}, bias={})",
        python_bool(bias)
    );
    let weight = [out_features, in_features];
    LayerSpec::new(LayerKind::Linear, repr)
        .parameter("weight", &weight, kaiming_default(&weight))
        .parameter_if(bias, "bias", &[out_features], default_bias(&weight))
}

/// The linear layer that was printed, by the class that was printed.
pub(super) fn from_printed(printed: &Printed) -> Result<LayerSpec, PrintError> {
    Ok(spec(
        &printed.class,
        printed.int("in_features", None)?,
        printed.int("out_features", None)?,
        printed.flag("bias", true)?,
    ))
}

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        from_printed(printed)
    }

    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [out_features, in_features] = *variables.parameter("weight")? else {
            return None;
        };
        let bias = variables.parameter("bias").is_some();
        let spec = spec("Linear", in_features, out_features, bias);
        // The shapes show everything that is printed.
        let repr = spec.repr().to_owned();
        Some(variables.matching(spec)?.printing(repr))
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::spec;
    use crate::error::InitError;
    use crate::nn::builder::build;
    use crate::nn::init::{Init, PYTORCH_DEFAULT};
    use crate::nn::kind::LayerKind;
    use crate::nn::named_tensors::NamedTensors;
    use crate::nn::tch_layers::or_panic;
    use std::borrow::Borrow;
    use tch::nn::{Linear, Path};

    /// Options of a linear layer: tch's fields, PyTorch's defaults.
    #[derive(Debug, Clone, Copy)]
    pub struct LinearConfig {
        /// Initializer of the weight. Default: PyTorch's.
        pub ws_init: Init,
        /// Initializer of the bias. Default: PyTorch's.
        pub bs_init: Option<Init>,
        /// Whether the layer has a bias. PyTorch's default: yes.
        pub bias: bool,
    }

    impl Default for LinearConfig {
        fn default() -> LinearConfig {
            LinearConfig {
                ws_init: PYTORCH_DEFAULT,
                bs_init: None,
                bias: true,
            }
        }
    }

    /// `torch.nn.Linear(in_dim, out_dim)`: `weight` of shape `[out_dim, in_dim]`, then `bias` of shape
    /// `[out_dim]`, both uniform over `+-1/sqrt(in_dim)`.
    ///
    /// Draws the weight, then the bias, as [`uniform_`](crate::init::uniform_). tch 0.26 draws the
    /// bias first and the weight over a range sqrt(6) times as wide.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
    ///
    /// ```standalone_crate
    /// use tch::nn::{Module, VarStore};
    /// use tch_init::nn::{LinearConfig, f_linear};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// tch_init::manual_seed(0)?;
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// let fc = f_linear(vs.root() / "fc", 4, 2, LinearConfig::default())?;
    /// // torch.manual_seed(0); torch.nn.Linear(4, 2).weight[0, 0]
    /// assert_eq!(fc.ws.double_value(&[0, 0]) as f32, -0.003_743_410_1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn f_linear<'a, T: Borrow<Path<'a>>>(
        vs: T,
        in_dim: i64,
        out_dim: i64,
        config: LinearConfig,
    ) -> Result<Linear, InitError> {
        let overrides = [
            ("weight", config.ws_init),
            ("bias", config.bs_init.unwrap_or(PYTORCH_DEFAULT)),
        ];
        let spec = spec("Linear", in_dim, out_dim, config.bias);
        layer(&build(vs.borrow(), &spec, &overrides)?)
    }

    /// [`f_linear`] with tch's signature.
    ///
    /// # Panics
    ///
    /// As `tch::nn::linear`, where [`f_linear`] returns an error.
    pub fn linear<'a, T: Borrow<Path<'a>>>(
        vs: T,
        in_dim: i64,
        out_dim: i64,
        config: LinearConfig,
    ) -> Linear {
        or_panic(f_linear(vs, in_dim, out_dim, config))
    }

    /// The layer with these tensors.
    pub(in crate::nn) fn layer(tensors: &NamedTensors) -> Result<Linear, InitError> {
        Ok(Linear {
            ws: tensors.required(LayerKind::Linear, "weight")?,
            bs: tensors.get("bias"),
        })
    }
}
