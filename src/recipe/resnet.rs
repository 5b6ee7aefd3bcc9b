//! ResNet, of torchvision.

use super::{fill_bias, parent_and_name, skip};
use crate::error::InitError;
use crate::init::{FanMode, Nonlinearity, kaiming_normal_, ones_, zeros_};
use crate::nn::LayerKind;
use crate::walk::Layer;
use std::collections::BTreeMap;
use tch::Tensor;

/// The initialization of torchvision's ResNets, ResNeXts and Wide ResNets: weights of
/// two-dimensional convolutions Kaiming normal with the fan out for a ReLU, weight one and bias
/// zero for two-dimensional batch normalizations and for group normalizations.
///
/// torchvision's default of `zero_init_residual`: false. If it is set, the weight of the last
/// normalization of each residual block is zero. A block is a module that holds layers named as
/// torchvision names them: its last normalization is `bn3` (`Bottleneck`) or, without one, `bn2`
/// (`BasicBlock`).
///
/// Draws one weight after the other in the order of the visit; biases of convolutions and the
/// linear layer `fc` stay as they are. A model of this crate's layers, made in the order of
/// torchvision's `state_dict` and then visited, has the bits of `torchvision.models.resnet18()`
/// after the same seed.
///
/// Source: `ResNet.__init__` in `torchvision/models/resnet.py`, torchvision 0.28.0. A normalization
/// without parameters is skipped, where torchvision raises.
///
/// # Errors
///
/// The visitor's: [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::VarStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let block = vs.root() / "layer1" / 0;
/// tch_init::nn::f_conv2d(&block / "conv1", 4, 4, 3, tch_init::nn::no_bias())?;
/// tch_init::nn::f_batch_norm2d(&block / "bn1", 4, Default::default())?;
/// tch_init::nn::f_conv2d(&block / "conv2", 4, 4, 3, tch_init::nn::no_bias())?;
/// let last = tch_init::nn::f_batch_norm2d(&block / "bn2", 4, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::resnet(true))?;
/// assert_eq!(last.ws.map(|ws| ws.double_value(&[0])), Some(0.0));
/// # Ok(())
/// # }
/// ```
pub fn resnet(zero_init_residual: bool) -> impl FnMut(&mut Layer<'_>) -> Result<(), InitError> {
    let mut blocks = Blocks::default();
    move |layer: &mut Layer<'_>| {
        match layer.kind() {
            Some(LayerKind::Conv2d) => {
                return layer.fill("weight", |weight, generator| {
                    kaiming_normal_(weight, FanMode::FanOut, Nonlinearity::Relu, generator)
                });
            }
            Some(LayerKind::BatchNorm2d | LayerKind::GroupNorm) => {
                layer.fill("weight", |weight, _| ones_(weight))?;
                fill_bias(layer, 0.0)?;
            }
            _ => return skip(layer),
        }
        if zero_init_residual {
            blocks.zero_last_norm(layer)?;
        }
        Ok(())
    }
}

/// The weight of the last normalization that was seen of each block.
#[derive(Default)]
struct Blocks(BTreeMap<String, LastNorm>);

enum LastNorm {
    Bn2(Tensor),
    Bn3,
}

impl Blocks {
    /// At `bn2` it is unknown whether the block has a `bn3`, so `bn2` is zeroed and restored at
    /// `bn3`. Neither draws.
    fn zero_last_norm(&mut self, layer: &mut Layer<'_>) -> Result<(), InitError> {
        let path = layer.path().to_owned();
        let (block, name) = parent_and_name(&path);
        let Some(weight) = layer.weight_mut() else {
            return Ok(());
        };
        // `bn1` of the whole network is in no block, and neither is what is named like it there.
        let last = match (name, self.0.get(block)) {
            _ if block.is_empty() => return Ok(()),
            ("bn2", None) => LastNorm::Bn2(weight.shallow_clone()),
            ("bn3", before) => {
                if let Some(LastNorm::Bn2(bn2)) = before {
                    ones_(&mut bn2.shallow_clone())?;
                }
                LastNorm::Bn3
            }
            _ => return Ok(()),
        };
        zeros_(weight)?;
        self.0.insert(block.to_owned(), last);
        Ok(())
    }
}
