//! Vision transformers, of torchvision.

use super::{fill_bias, is_at, name, parent_and_name};
use crate::error::InitError;
use crate::generator::Generator;
use crate::init::{normal_, trunc_normal_, xavier_uniform_, zeros_};
use crate::nn::LayerKind;
use crate::walk::Layer;
use tch::Tensor;

/// The initialization of torchvision's `VisionTransformer`, by torchvision's names:
///
/// | layer or parameter | weight | bias |
/// |---|---|---|
/// | convolution `conv_proj` | truncated normal, std `sqrt(1 / fan_in)`, over -2 to 2 | zeros |
/// | convolution `conv_proj.conv_last`, of a stem | normal, std `sqrt(2 / out_channels)` | zeros |
/// | `class_token` | zeros | |
/// | `encoder.pos_embedding` | normal, std 0.02 | |
/// | linear layers of an `mlp` | Xavier uniform | normal, std 1e-6 |
/// | linear layer `heads.pre_logits` | truncated normal, std `sqrt(1 / fan_in)`, over -2 to 2 | zeros |
/// | linear layer `heads.head` | zeros | zeros |
///
/// torchvision leaves attention and layer normalizations at PyTorch's default, so they stay as
/// they are.
///
/// Draws in the order of the visit: weight, then bias, and the position embedding after the layers
/// of the encoder. torchvision draws the same within its constructor, between the defaults of one
/// layer and the next, so these are the values of its distributions and not its bits.
///
/// Source: `torchvision/models/vision_transformer.py`, torchvision 0.28.0.
///
/// # Errors
///
/// [`InitError::Argument`] for a truncated weight without a fan in, where Python raises
/// `ZeroDivisionError`; [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let head = tch_init::nn::f_linear(vs.root() / "heads" / "head", 8, 2, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::vit)?;
/// assert_eq!(head.ws.abs().max().double_value(&[]), 0.0);
/// # Ok(())
/// # }
/// ```
pub fn vit(layer: &mut Layer<'_>) -> Result<(), InitError> {
    let path = layer.path().to_owned();
    match layer.kind() {
        Some(LayerKind::Conv2d) if is_at(&path, "conv_proj") => {
            layer.fill("weight", lecun_trunc_normal_)?;
            fill_bias(layer, 0.0)
        }
        Some(LayerKind::Conv2d) if is_at(&path, "conv_proj.conv_last") => {
            layer.fill("weight", |weight, generator| {
                let out_channels = weight.size().first().copied().unwrap_or_default();
                normal_(
                    weight,
                    0.0,
                    root_of("out_channels", 2.0, out_channels)?,
                    generator,
                )
            })?;
            fill_bias(layer, 0.0)
        }
        Some(LayerKind::Linear) if is_at(&path, "heads.pre_logits") => {
            layer.fill("weight", lecun_trunc_normal_)?;
            fill_bias(layer, 0.0)
        }
        Some(LayerKind::Linear) if is_at(&path, "heads.head") => {
            layer.fill("weight", |weight, _| zeros_(weight))?;
            fill_bias(layer, 0.0)
        }
        Some(LayerKind::Linear) if name(parent_and_name(&path).0) == "mlp" => {
            layer.fill("weight", |weight, generator| {
                xavier_uniform_(weight, 1.0, generator)
            })?;
            layer.fill("bias", |bias, generator| {
                normal_(bias, 0.0, 1e-6, generator)
            })
        }
        None => {
            if let Some(token) = layer.variable_mut("class_token") {
                zeros_(token)?;
            }
            if !is_at(&path, "encoder") {
                layer.report_unknown(&["class_token"]);
                return Ok(());
            }
            layer.report_unknown(&["class_token", "pos_embedding"]);
            layer.fill("pos_embedding", |embedding, generator| {
                normal_(embedding, 0.0, 0.02, generator)
            })
        }
        _ => Ok(()),
    }
}

fn lecun_trunc_normal_(
    weight: &mut Tensor,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let fan_in = weight.size().iter().skip(1).product();
    let std = root_of("fan_in", 1.0, fan_in)?;
    trunc_normal_(weight, 0.0, std, -2.0, 2.0, generator)
}

/// `math.sqrt(numerator / denominator)`.
fn root_of(argument: &'static str, numerator: f64, denominator: i64) -> Result<f64, InitError> {
    if denominator == 0 {
        return Err(InitError::Argument {
            function: "vit",
            argument,
            value: 0.0,
            reason: "there is no std for it",
            shape: None,
        });
    }
    Ok((numerator / denominator as f64).sqrt())
}
