//! The rectifier with a learnable slope.

use super::build::make;
use super::init::{Init, PYTORCH_DEFAULT};
use super::start::Start;
use super::{LayerKind, or_panic};
use crate::error::{Context, InitError};
use crate::init::constant_;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{Module, Path};

/// Options of a rectifier with a learnable slope, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct PReLUConfig {
    /// One slope for all channels, or one for each. PyTorch's default: 1.
    pub num_parameters: i64,
    /// The slopes at the start. PyTorch's default: 0.25.
    pub init: f64,
    /// How the weight starts instead. Default: as in PyTorch.
    pub ws_init: Init,
}

impl Default for PReLUConfig {
    fn default() -> PReLUConfig {
        PReLUConfig {
            num_parameters: 1,
            init: 0.25,
            ws_init: PYTORCH_DEFAULT,
        }
    }
}

/// `torch.nn.PReLU`, which tch 0.26 has not. Made by [`prelu`].
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
/// let prelu = tch_init::nn::f_prelu(vs.root() / "prelu", Default::default())?;
/// let y = prelu.f_forward(&tch::Tensor::from_slice(&[-4f32, 4.0]))?;
/// assert_eq!((y.double_value(&[0]), y.double_value(&[1])), (-1.0, 4.0));
/// # Ok(())
/// # }
/// ```
pub fn f_prelu<'a, T: Borrow<Path<'a>>>(vs: T, config: PReLUConfig) -> Result<PReLU, InitError> {
    let init = config.init;
    // `PReLU.reset_parameters`, torch/nn/modules/activation.py, PyTorch 2.13.
    let start =
        Start::other(move |tensors| tensors.fill("weight", |weight| constant_(weight, init)));
    make(vs.borrow(), &[("weight", config.ws_init)], |build| {
        build.layer(LayerKind::PReLU, start, |build| {
            let ws = build.parameter("weight", &[config.num_parameters])?;
            let repr = format!("PReLU(num_parameters={})", config.num_parameters);
            Ok((PReLU { ws }, repr))
        })
    })
}

/// [`f_prelu`] as tch's constructors are.
///
/// # Panics
///
/// Where [`f_prelu`] returns an error.
pub fn prelu<'a, T: Borrow<Path<'a>>>(vs: T, config: PReLUConfig) -> PReLU {
    or_panic(f_prelu(vs, config))
}
