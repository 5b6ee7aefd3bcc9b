//! Recipes for any model.

use super::{fill_bias, skip};
use crate::error::InitError;
use crate::generator::Generator;
use crate::init::{
    FanMode, Nonlinearity, kaiming_normal_, orthogonal_, xavier_normal_, xavier_uniform_,
};
use crate::nn::LayerKind;
use crate::walk::Layer;
use tch::Tensor;

/// Initializes every layer again as PyTorch's constructor does. For layers without children this is
/// `model.apply(lambda m: m.reset_parameters())`. Attentions and transformers, whose children
/// Python would reset one by one, are reset as a whole.
///
/// Draws layer by layer in the order of the visit, children before their parents; a layer that is
/// part of another is initialized by that one. [`reset_parameters`](crate::reset_parameters) does
/// the same in the order of creation, which is that of a model's constructor.
///
/// Source: `reset_parameters` in `torch/nn/modules/*.py`, PyTorch 2.13.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::{self, VarStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = nn::linear(vs.root() / "fc", 4, 2, Default::default());
/// tch_init::apply(&vs, tch_init::recipe::pytorch_default)?;
/// // PyTorch's bound is 1 / sqrt(4), that of plain tch sqrt(6) times as wide.
/// assert!(fc.ws.abs().max().double_value(&[]) <= 0.5);
/// # Ok(())
/// # }
/// ```
pub fn pytorch_default(layer: &mut Layer<'_>) -> Result<(), InitError> {
    if layer.is_within_another() {
        return Ok(());
    }
    match layer.candidates() {
        [] => skip(layer),
        _ => layer.reset_parameters(),
    }
}

/// [`xavier_uniform_`] of gain 1 for the weights of linear layers and of convolutions, transposed
/// ones included, and zero biases.
///
/// Draws one weight after the other in the order of the visit. Source: X. Glorot and Y. Bengio
/// (2010), "Understanding the difficulty of training deep feedforward neural networks", as
/// `torch.nn.init` of PyTorch 2.13 has it.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = tch_init::nn::f_linear(vs.root() / "fc", 4, 2, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::xavier_uniform)?;
/// assert!(fc.ws.abs().max().double_value(&[]) <= 1.0); // sqrt(6 / (4 + 2))
/// # Ok(())
/// # }
/// ```
pub fn xavier_uniform(layer: &mut Layer<'_>) -> Result<(), InitError> {
    weights_and_zero_biases(layer, |weight, generator| {
        xavier_uniform_(weight, 1.0, generator)
    })
}

/// [`xavier_normal_`] of gain 1 for the weights of linear layers and of convolutions, transposed
/// ones included, and zero biases.
///
/// Draws one weight after the other in the order of the visit. Source: X. Glorot and Y. Bengio
/// (2010), "Understanding the difficulty of training deep feedforward neural networks", as
/// `torch.nn.init` of PyTorch 2.13 has it.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = tch_init::nn::f_linear(vs.root() / "fc", 4, 2, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::xavier_normal)?;
/// assert_eq!(fc.bs.map(|bs| bs.abs().max().double_value(&[])), Some(0.0));
/// # Ok(())
/// # }
/// ```
pub fn xavier_normal(layer: &mut Layer<'_>) -> Result<(), InitError> {
    weights_and_zero_biases(layer, |weight, generator| {
        xavier_normal_(weight, 1.0, generator)
    })
}

/// [`kaiming_normal_`] for a ReLU with the fan in, for the weights of linear layers and of
/// convolutions, transposed ones included, and zero biases.
///
/// Draws one weight after the other in the order of the visit. As in PyTorch, the fan in of a
/// transposed convolution is taken from the second dimension of its weight, which counts its
/// outputs. Source: K. He et al. (2015), "Delving deep into rectifiers", as `torch.nn.init` of
/// PyTorch 2.13 has it.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let conv = tch_init::nn::f_conv2d(vs.root() / "conv", 3, 8, 3, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::kaiming_fan_in)?;
/// assert_eq!(conv.bs.map(|bs| bs.abs().max().double_value(&[])), Some(0.0));
/// # Ok(())
/// # }
/// ```
pub fn kaiming_fan_in(layer: &mut Layer<'_>) -> Result<(), InitError> {
    weights_and_zero_biases(layer, |weight, generator| {
        kaiming_normal_(weight, FanMode::FanIn, Nonlinearity::Relu, generator)
    })
}

/// [`kaiming_fan_in`] with the fan out instead, which keeps the variance of gradients.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let conv = tch_init::nn::f_conv2d(vs.root() / "conv", 3, 8, 3, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::kaiming_fan_out)?;
/// assert_eq!(conv.bs.map(|bs| bs.abs().max().double_value(&[])), Some(0.0));
/// # Ok(())
/// # }
/// ```
pub fn kaiming_fan_out(layer: &mut Layer<'_>) -> Result<(), InitError> {
    weights_and_zero_biases(layer, |weight, generator| {
        kaiming_normal_(weight, FanMode::FanOut, Nonlinearity::Relu, generator)
    })
}

/// [`orthogonal_`] of gain 1 for the weights of linear layers and of convolutions, transposed ones
/// included, and zero biases.
///
/// A weight of more than two dimensions is flattened from the second on. Draws one weight after
/// the other in the order of the visit. Source: A. Saxe et al. (2013), "Exact solutions to the
/// nonlinear dynamics of learning in deep linear neural networks", as `torch.nn.init` of PyTorch
/// 2.13 has it. [`weight_init2`](super::weight_init2) has the gain of a ReLU for convolutions.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = tch_init::nn::f_linear(vs.root() / "fc", 4, 2, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::orthogonal)?;
/// let product = fc.ws.matmul(&fc.ws.tr());
/// assert!((product.double_value(&[0, 0]) - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub fn orthogonal(layer: &mut Layer<'_>) -> Result<(), InitError> {
    weights_and_zero_biases(layer, |weight, generator| {
        orthogonal_(weight, 1.0, generator)
    })
}

fn weights_and_zero_biases(
    layer: &mut Layer<'_>,
    weight_: impl FnOnce(&mut Tensor, Option<&mut Generator>) -> Result<(), InitError>,
) -> Result<(), InitError> {
    use LayerKind::*;
    match layer.kind() {
        Some(
            Linear | Conv1d | Conv2d | Conv3d | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d,
        ) => {
            layer.fill("weight", weight_)?;
            fill_bias(layer, 0.0)
        }
        _ => skip(layer),
    }
}
