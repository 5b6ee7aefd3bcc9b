//! Layer normalisation, and by the root mean square alone.

use super::build::{Build, make, python_bool, python_tuple};
use super::init::{Init, PYTORCH_DEFAULT, is_no_bias};
use super::start::Start;
use super::{LayerKind, or_panic, placeholder};
use crate::error::{Context, InitError};
use crate::repr::python_float;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{self, LayerNorm, Module, Path};

/// Options of a layer normalisation: tch's fields, PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormConfig {
    /// Whether cuDNN may be used. tch's option; default: yes.
    pub cudnn_enabled: bool,
    /// Added to the variance. PyTorch's default: 1e-5.
    pub eps: f64,
    /// Whether there are a weight and a bias. PyTorch's default: yes.
    pub elementwise_affine: bool,
    /// How the weight starts. Default: as in PyTorch.
    pub ws_init: Init,
    /// How the bias starts. Default: as in PyTorch; [`NO_BIAS`](super::init::NO_BIAS) for none.
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
/// normalised shape, which is that of the input's last dimensions.
///
/// Draws nothing. Without a weight the layer has no variables, so no walk of the `VarStore` sees
/// it.
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
    let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
    make(vs.borrow(), &overrides, |build| {
        declare(build, normalized_shape, config)
    })
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

/// What `torch/nn/modules/normalization.py`, PyTorch 2.13, declares and prints. The initialisers of
/// `config` are not looked at.
pub(super) fn declare(
    build: &mut Build<'_>,
    normalized_shape: Vec<i64>,
    config: LayerNormConfig,
) -> Result<LayerNorm, InitError> {
    build.layer(LayerKind::LayerNorm, Start::Norm, |build| {
        let affine = config.elementwise_affine;
        let bias = affine && !is_no_bias(config.bs_init);
        let ws = build.optional_parameter(affine, "weight", &normalized_shape)?;
        let bs = build.optional_parameter(bias, "bias", &normalized_shape)?;
        let repr = format!(
            "LayerNorm({}, eps={}, elementwise_affine={}, bias={})",
            python_tuple(&normalized_shape),
            python_float(config.eps),
            python_bool(affine),
            python_bool(bias),
        );
        let mut layer = placeholder(|scratch| {
            let config = nn::LayerNormConfig {
                cudnn_enabled: config.cudnn_enabled,
                eps: config.eps,
                elementwise_affine: false,
                ..Default::default()
            };
            nn::layer_norm(scratch, normalized_shape, config)
        });
        (layer.ws, layer.bs) = (ws, bs);
        Ok((layer, repr))
    })
}

/// Options of a normalisation by the root mean square, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct RMSNormConfig {
    /// Added to the mean square. PyTorch's default: none, which stands for the machine epsilon of
    /// the input's kind.
    pub eps: Option<f64>,
    /// Whether there is a weight. PyTorch's default: yes.
    pub elementwise_affine: bool,
    /// How the weight starts. Default: as in PyTorch.
    pub ws_init: Init,
}

impl Default for RMSNormConfig {
    fn default() -> RMSNormConfig {
        RMSNormConfig {
            eps: None,
            elementwise_affine: true,
            ws_init: PYTORCH_DEFAULT,
        }
    }
}

/// `torch.nn.RMSNorm`, which tch 0.26 has not: divides by the root of the mean square over the
/// last dimensions. Made by [`rms_norm`].
#[derive(Debug)]
pub struct RMSNorm {
    /// The weight, of the normalised shape.
    pub ws: Option<Tensor>,
    /// The shape of the input's last dimensions.
    pub normalized_shape: Vec<i64>,
    eps: Option<f64>,
}

impl RMSNorm {
    /// The forward pass, in any shape that ends in the normalised one.
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

/// `torch.nn.RMSNorm(normalized_shape)`: `weight` of ones, of the normalised shape.
///
/// Draws nothing. Without a weight the layer has no variables, so no walk of the `VarStore` sees
/// it.
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
/// let norm = tch_init::nn::f_rms_norm(vs.root() / "norm", vec![2], Default::default())?;
/// let y = norm.f_forward(&tch::Tensor::from_slice(&[1f32, 7.0]))?;
/// assert!((y.double_value(&[1]) - 1.4).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub fn f_rms_norm<'a, T: Borrow<Path<'a>>>(
    vs: T,
    normalized_shape: Vec<i64>,
    config: RMSNormConfig,
) -> Result<RMSNorm, InitError> {
    make(vs.borrow(), &[("weight", config.ws_init)], |build| {
        build.layer(LayerKind::RMSNorm, Start::Norm, |build| {
            let affine = config.elementwise_affine;
            let ws = build.optional_parameter(affine, "weight", &normalized_shape)?;
            let repr = format!(
                "RMSNorm({}, eps={}, elementwise_affine={})",
                python_tuple(&normalized_shape),
                config.eps.map_or("None".to_owned(), python_float),
                python_bool(affine),
            );
            let layer = RMSNorm {
                ws,
                normalized_shape,
                eps: config.eps,
            };
            Ok((layer, repr))
        })
    })
}

/// [`f_rms_norm`] as tch's constructors are.
///
/// # Panics
///
/// Where [`f_rms_norm`] returns an error.
pub fn rms_norm<'a, T: Borrow<Path<'a>>>(
    vs: T,
    normalized_shape: Vec<i64>,
    config: RMSNormConfig,
) -> RMSNorm {
    or_panic(f_rms_norm(vs, normalized_shape, config))
}
