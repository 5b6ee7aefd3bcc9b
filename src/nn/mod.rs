//! PyTorch's layers on top of tch's: tch's own layer types, started as `torch.nn` starts them.
//!
//! Each constructor makes the parameters under PyTorch's `state_dict` names and in PyTorch's
//! order, and draws what PyTorch draws, in its order, from the default stream of the `VarStore`'s
//! device; the layer it returns is `tch::nn`'s. Follows `torch/nn/modules/{linear,conv,batchnorm}.py`,
//! PyTorch 2.13.
//!
//! | layer | tch 0.26 | PyTorch 2.13 and here |
//! |---|---|---|
//! | Linear weight | uniform, range sqrt(6) times as wide | uniform `+-1/sqrt(fan_in)` |
//! | Linear order | bias, weight | weight, bias |
//! | Conv, ConvTranspose weight | uniform, range sqrt(6) times as wide | uniform `+-1/sqrt(fan_in)` |
//! | Conv, ConvTranspose bias | zeros, no draw | uniform `+-1/sqrt(fan_in)` |
//! | BatchNorm weight | uniform over 0 to 1 | ones, no draw |
//! | BatchNorm buffers | mean, var | mean, var, `num_batches_tracked` |

mod batch_norm;
mod conv;
mod conv_transpose;
mod kind;
mod linear;
pub(crate) mod registry;
pub(crate) mod reset;
mod variable;

pub use batch_norm::{BatchNormConfig, f_batch_norm1d, f_batch_norm2d, f_batch_norm3d};
pub use conv::{ConvConfig, ConvConfigND, f_conv, f_conv1d, f_conv2d, f_conv3d};
pub use conv_transpose::{
    ConvTransposeConfig, f_conv_transpose1d, f_conv_transpose2d, f_conv_transpose3d,
};
pub use kind::LayerKind;
pub use linear::{LinearConfig, f_linear};
