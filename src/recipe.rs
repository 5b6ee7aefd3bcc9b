//! Visitors that initialise a model, for [`apply`](crate::apply).
//!
//! `weight_init` and `weight_init2` are those of the experiment that this project grew from.

use crate::error::InitError;
use crate::init::{
    FanMode, Nonlinearity, calculate_gain, constant_, kaiming_normal_, orthogonal_, xavier_normal_,
};
use crate::nn::LayerKind;
use crate::visit::Layer;

/// Xavier normal weights and zero biases for linear layers, Kaiming normal weights (fan out, ReLU)
/// for two-dimensional convolutions, weight one and bias zero for batch normalisation.
///
/// A convolution's bias stays as it is. A bias that is absent is passed over, where the Python
/// original raises.
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
pub fn weight_init(layer: &mut Layer) -> Result<(), InitError> {
    match layer.kind() {
        Some(LayerKind::Linear) => {
            if let Some(weight) = layer.weight_mut() {
                xavier_normal_(weight, 1.0, None)?;
            }
            fill_bias(layer, 0.0)
        }
        Some(LayerKind::Conv2d) => match layer.weight_mut() {
            Some(weight) => kaiming_normal_(weight, FanMode::FanOut, Nonlinearity::Relu, None),
            None => Ok(()),
        },
        Some(LayerKind::BatchNorm2d) => {
            if let Some(weight) = layer.weight_mut() {
                constant_(weight, 1.0)?;
            }
            fill_bias(layer, 0.0)
        }
        _ => Ok(()),
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
pub fn weight_init2(layer: &mut Layer) -> Result<(), InitError> {
    let gain = match layer.kind() {
        Some(LayerKind::Linear) => 1.0,
        Some(LayerKind::Conv2d | LayerKind::ConvTranspose2d) => calculate_gain(Nonlinearity::Relu)?,
        _ => return Ok(()),
    };
    if let Some(weight) = layer.weight_mut() {
        orthogonal_(weight, gain, None)?;
    }
    fill_bias(layer, 0.0)
}

fn fill_bias(layer: &mut Layer, value: f64) -> Result<(), InitError> {
    match layer.bias_mut() {
        Some(bias) => constant_(bias, value),
        None => Ok(()),
    }
}
