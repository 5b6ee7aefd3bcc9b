//! Visitors that initialize a model, for [`apply`](crate::apply).
//!
//! `weight_init` and `weight_init2` are those of the experiment that this project grew from. The
//! others follow a source that their documentation names with its version; what that source leaves
//! at PyTorch's default is left alone, and a parameter that a layer lacks is skipped. So call
//! [`reset_parameters`](crate::reset_parameters) before, on a model of plain tch: PyTorch's default
//! is not tch's. Variables of no known layer that a recipe does not fill are an error that names
//! them, [`VisitError::Unclaimed`](crate::VisitError::Unclaimed), after the visit; leave them to
//! yourself by [`Walk::leave`](crate::Walk::leave).
//!
//! A recipe that takes arguments returns a visitor. Make a new one for each walk, since some keep
//! state.
//!
//! | recipe | follows | fills |
//! |---|---|---|
//! | [`pytorch_default`] | PyTorch 2.13 | every layer, as its constructor does |
//! | [`xavier_uniform`], [`xavier_normal`] | Glorot and Bengio (2010) | linear layers, convolutions |
//! | [`kaiming_fan_in`], [`kaiming_fan_out`] | He et al. (2015) | linear layers, convolutions |
//! | [`orthogonal`] | Saxe et al. (2013) | linear layers, convolutions |
//! | [`dcgan`] | pytorch/examples, `dcgan/main.py` | convolutions, batch normalizations |
//! | [`resnet`] | torchvision 0.28.0 | convolutions, normalizations |
//! | [`vit`] | torchvision 0.28.0 | patches, tokens, MLPs, heads |
//! | [`gpt2`], [`bert`] | transformers 5.23.0 | linear layers, embeddings, normalizations, .. |
//! | [`lstm`] | Keras 3.15.1 | LSTMs |
//!
//! A `VarStore` is visited in the order in which its variables were created, as Python visits
//! modules in order of registration. So a model whose variables are made in the order of PyTorch's
//! `state_dict` gets PyTorch's bits. A weight that two layers share is filled at both of its
//! places, as `torch.nn.Module.apply` would: tie it afterwards where the source does.

mod dcgan;
mod general;
mod lstm;
mod resnet;
mod transformers;
mod vit;

pub use dcgan::dcgan;
pub use general::{
    kaiming_fan_in, kaiming_fan_out, orthogonal, pytorch_default, xavier_normal, xavier_uniform,
};
pub use lstm::lstm;
pub use resnet::resnet;
pub use transformers::{bert, gpt2};
pub use vit::vit;

use crate::error::InitError;
use crate::init::{
    FanMode, Nonlinearity, calculate_gain, constant_, kaiming_normal_, orthogonal_, xavier_normal_,
};
use crate::nn::LayerKind;
use crate::walk::Layer;

/// Xavier normal weights and zero biases for linear layers, Kaiming normal weights (fan out, ReLU)
/// for two-dimensional convolutions, weight one and bias zero for batch normalization.
///
/// A convolution's bias is left alone. A missing bias is skipped, where the Python original raises.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), tch_init::VisitError> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = tch_init::nn::f_linear(vs.root() / "fc", 4, 2, Default::default()).unwrap();
/// tch_init::apply(&vs, tch_init::recipe::weight_init)?;
/// assert_eq!(fc.bs.map(|bs| bs.double_value(&[0])), Some(0.0));
/// # Ok(())
/// # }
/// ```
pub fn weight_init(layer: &mut Layer<'_>) -> Result<(), InitError> {
    match layer.kind() {
        Some(LayerKind::Linear) => {
            layer.fill("weight", |weight, generator| {
                xavier_normal_(weight, 1.0, generator)
            })?;
            fill_bias(layer, 0.0)
        }
        Some(LayerKind::Conv2d) => layer.fill("weight", |weight, generator| {
            kaiming_normal_(weight, FanMode::FanOut, Nonlinearity::Relu, generator)
        }),
        Some(LayerKind::BatchNorm2d) => {
            layer.fill("weight", |weight, _| constant_(weight, 1.0))?;
            fill_bias(layer, 0.0)
        }
        _ => skip(layer),
    }
}

/// Orthogonal weights and zero biases for linear layers and, with the gain of a ReLU, for
/// two-dimensional convolutions and transposed convolutions.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), tch_init::VisitError> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = tch_init::nn::f_linear(vs.root() / "fc", 4, 2, Default::default()).unwrap();
/// tch_init::apply(&vs, tch_init::recipe::weight_init2)?;
/// let product = fc.ws.matmul(&fc.ws.tr());
/// assert!((product.double_value(&[0, 0]) - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub fn weight_init2(layer: &mut Layer<'_>) -> Result<(), InitError> {
    let gain = match layer.kind() {
        Some(LayerKind::Linear) => 1.0,
        Some(LayerKind::Conv2d | LayerKind::ConvTranspose2d) => calculate_gain(Nonlinearity::Relu)?,
        _ => return skip(layer),
    };
    layer.fill("weight", |weight, generator| {
        orthogonal_(weight, gain, generator)
    })?;
    fill_bias(layer, 0.0)
}

/// Leaves a layer as it is, as the recipe's source does. Variables of no known layer are reported:
/// the source cannot say what they are.
fn skip(layer: &mut Layer<'_>) -> Result<(), InitError> {
    layer.report_unknown(&[]);
    Ok(())
}

fn fill_bias(layer: &mut Layer<'_>, value: f64) -> Result<(), InitError> {
    layer.fill("bias", |bias, _| constant_(bias, value))
}

/// The last part of a layer's path: its name in the module that holds it.
fn name(path: &str) -> &str {
    parent_and_name(path).1
}

/// The path of the module that holds a layer, and the layer's name there.
fn parent_and_name(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Whether a path is `end` or below another module of that name.
fn is_at(path: &str, end: &str) -> bool {
    path.strip_suffix(end)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{is_at, name, parent_and_name};

    #[test]
    fn paths_are_compared_by_whole_names() {
        assert!(is_at("heads.head", "heads.head") && is_at("vit.heads.head", "heads.head"));
        assert!(!is_at("my_heads.head", "heads.head") && !is_at("head", "heads.head"));
        assert_eq!(parent_and_name("layer1.0.bn2"), ("layer1.0", "bn2"));
        assert_eq!(
            (name("a.c_proj"), name("c_proj"), name("")),
            ("c_proj", "c_proj", "")
        );
    }
}
