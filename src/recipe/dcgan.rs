//! DCGAN, of PyTorch's examples.

use super::{fill_bias, skip};
use crate::error::InitError;
use crate::init::normal_;
use crate::nn::LayerKind;
use crate::walk::Layer;

/// The initialization of DCGAN: weights of convolutions, transposed ones included, normal of std
/// 0.02 around 0, those of batch normalizations of std 0.02 around 1 with zero biases.
///
/// Biases of convolutions stay as they are. Draws one weight after the other in the order of the
/// visit. Generator and discriminator are two models there, each visited once it is made.
///
/// Source: `weights_init` in `dcgan/main.py` of pytorch/examples at commit 13caa078, after A.
/// Radford et al. (2015), "Unsupervised representation learning with deep convolutional generative
/// adversarial networks". A batch normalization without parameters is skipped, where the example
/// raises.
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
/// let norm = tch_init::nn::f_batch_norm2d(vs.root() / "norm", 64, Default::default())?;
/// tch_init::apply(&vs, tch_init::recipe::dcgan)?;
/// let mean = norm.ws.map(|ws| ws.mean(None).double_value(&[]));
/// assert!(mean.is_some_and(|mean| mean != 1.0 && (mean - 1.0).abs() < 0.02));
/// # Ok(())
/// # }
/// ```
pub fn dcgan(layer: &mut Layer<'_>) -> Result<(), InitError> {
    use LayerKind::*;
    match layer.kind() {
        Some(Conv1d | Conv2d | Conv3d | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) => {
            layer.fill("weight", |weight, generator| {
                normal_(weight, 0.0, 0.02, generator)
            })
        }
        Some(BatchNorm1d | BatchNorm2d | BatchNorm3d | SyncBatchNorm) => {
            layer.fill("weight", |weight, generator| {
                normal_(weight, 1.0, 0.02, generator)
            })?;
            fill_bias(layer, 0.0)
        }
        _ => skip(layer),
    }
}
