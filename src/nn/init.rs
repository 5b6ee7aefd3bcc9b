//! `tch::nn::init`, and the values that mean PyTorch's default and no bias.

use crate::error::{Context, InitError};
use crate::init::recording::copy_;
use tch::Tensor;
pub use tch::nn::init::*;

/// Means PyTorch's initialization of the parameter: the default of every `ws_init` and `bs_init` of
/// this module. Any other value replaces it.
///
/// tch's [`Init`] has no variant for it, and the configs keep tch's type so that a program need not
/// change. So it is a value without another meaning: a uniform range of NaN, which libtorch
/// rejects.
pub const PYTORCH_DEFAULT: Init = Init::Uniform {
    lo: f64::NAN,
    up: f64::NAN,
};

/// Means no bias: PyTorch's `bias=False` of the normalizations that tch has, whose configs lack a
/// field for it. Valid only as their `bs_init`; other configs have a field.
///
/// ```
/// use tch_init::nn::{self, LayerNormConfig};
///
/// let vs = nn::VarStore::new(tch::Device::Cpu);
/// let config = LayerNormConfig { bs_init: nn::init::NO_BIAS, ..Default::default() };
/// assert!(nn::layer_norm(vs.root(), vec![4], config).bs.is_none());
/// ```
pub const NO_BIAS: Init = Init::Randn {
    mean: f64::NAN,
    stdev: f64::NAN,
};

/// Whether an initializer is [`NO_BIAS`].
pub(super) fn is_no_bias(init: Init) -> bool {
    matches!(init, Init::Randn { mean, stdev } if mean.is_nan() && stdev.is_nan())
}

/// Whether an initializer is [`PYTORCH_DEFAULT`].
pub(super) fn is_pytorch_default(init: Init) -> bool {
    matches!(init, Init::Uniform { lo, up } if lo.is_nan() && up.is_nan())
}

/// Fills a tensor with the values that tch makes for `init`.
pub(super) fn fill(tensor: &mut Tensor, init: Init) -> Result<(), InitError> {
    let function = "nn::init";
    let kind = tensor.f_kind().context(function, tensor)?;
    if is_no_bias(init) {
        return Err(InitError::libtorch(
            function,
            "NO_BIAS is for normalizations; the config of this layer has a separate field for it",
        ));
    }
    let _no_grad = tch::no_grad_guard();
    // tch makes an orthogonal matrix of a convolution's flattened shape.
    let values = f_init(init, &tensor.size(), tensor.device(), kind)
        .and_then(|values| values.f_view(&*tensor.size()))
        .context(function, tensor)?;
    copy_(function, tensor, &values)
}
