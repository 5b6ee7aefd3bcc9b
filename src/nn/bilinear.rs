//! Bilinear layers.

use super::build::{make, python_bool};
use super::init::{Init, PYTORCH_DEFAULT};
use super::start::Start;
use super::{LayerKind, or_panic};
use crate::error::{Context, InitError};
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::Path;

/// Options of a bilinear layer, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct BilinearConfig {
    /// Whether there is a bias. PyTorch's default: yes.
    pub bias: bool,
    /// How the weight starts. Default: as in PyTorch.
    pub ws_init: Init,
    /// How the bias starts. Default: as in PyTorch.
    pub bs_init: Init,
}

impl Default for BilinearConfig {
    fn default() -> BilinearConfig {
        BilinearConfig {
            bias: true,
            ws_init: PYTORCH_DEFAULT,
            bs_init: PYTORCH_DEFAULT,
        }
    }
}

/// `torch.nn.Bilinear`, which tch 0.26 has not. Made by [`bilinear`].
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
    pub fn f_forward(&self, input1: &Tensor, input2: &Tensor) -> Result<Tensor, InitError> {
        Tensor::f_bilinear(input1, input2, &self.ws, self.bs.as_ref()).context("Bilinear", input1)
    }

    /// [`Bilinear::f_forward`] as tch's layers are run.
    ///
    /// # Panics
    ///
    /// Where [`Bilinear::f_forward`] returns an error.
    pub fn forward(&self, input1: &Tensor, input2: &Tensor) -> Tensor {
        or_panic(self.f_forward(input1, input2))
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
/// [`InitError::Argument`] if `in1_features` is 0, [`InitError::Libtorch`] for negative sizes or a
/// `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let layer = tch_init::nn::f_bilinear(vs.root() / "pair", 4, 3, 2, Default::default())?;
/// assert!(layer.ws.abs().max().double_value(&[]) <= 0.5);
/// let inputs = [Tensor::ones([8, 4], FLOAT_CPU), Tensor::ones([8, 3], FLOAT_CPU)];
/// assert_eq!(layer.f_forward(&inputs[0], &inputs[1])?.size(), [8, 2]);
/// # Ok(())
/// # }
/// ```
pub fn f_bilinear<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in1_features: i64,
    in2_features: i64,
    out_features: i64,
    config: BilinearConfig,
) -> Result<Bilinear, InitError> {
    let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
    make(vs.borrow(), &overrides, |build| {
        build.layer(LayerKind::Bilinear, Start::Bilinear, |build| {
            let ws = build.parameter("weight", &[out_features, in1_features, in2_features])?;
            let bs = build.optional_parameter(config.bias, "bias", &[out_features])?;
            let repr = format!(
                "Bilinear(in1_features={in1_features}, in2_features={in2_features}, \
                 out_features={out_features}, bias={})",
                python_bool(config.bias)
            );
            Ok((Bilinear { ws, bs }, repr))
        })
    })
}

/// [`f_bilinear`] as tch's constructors are.
///
/// # Panics
///
/// Where [`f_bilinear`] returns an error.
pub fn bilinear<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in1_features: i64,
    in2_features: i64,
    out_features: i64,
    config: BilinearConfig,
) -> Bilinear {
    or_panic(f_bilinear(
        vs,
        in1_features,
        in2_features,
        out_features,
        config,
    ))
}
