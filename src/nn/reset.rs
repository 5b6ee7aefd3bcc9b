//! `reset_parameters` of each kind, on tensors.

use crate::error::{Context, InitError};
use crate::init::{
    FanMode, Nonlinearity, calculate_fan_in_and_fan_out, kaiming_uniform_, ones_, uniform_, zeros_,
};
use tch::Tensor;

/// `torch.nn.Linear.reset_parameters`, `torch/nn/modules/linear.py`, PyTorch 2.13.
pub(crate) fn linear_(weight: &mut Tensor, bias: Option<&mut Tensor>) -> Result<(), InitError> {
    default_weight_(weight)?;
    match bias {
        Some(bias) => default_bias_(bias, weight),
        None => Ok(()),
    }
}

/// `_ConvNd.reset_parameters`, `torch/nn/modules/conv.py`, PyTorch 2.13; transposed ones too.
pub(crate) fn conv_(weight: &mut Tensor, bias: Option<&mut Tensor>) -> Result<(), InitError> {
    if weight.is_contiguous() {
        default_weight_(weight)?;
    } else {
        // So that the values do not depend on the memory format.
        let function = "conv reset_parameters";
        let options = (weight.f_kind().context(function, weight)?, weight.device());
        let mut contiguous = Tensor::f_empty(weight.size(), options).context(function, weight)?;
        default_weight_(&mut contiguous)?;
        let _no_grad = tch::no_grad_guard();
        weight.f_copy_(&contiguous).context(function, weight)?;
    }
    match bias {
        Some(bias) => default_bias_(bias, weight),
        None => Ok(()),
    }
}

/// `_NormBase.reset_parameters`, `torch/nn/modules/batchnorm.py`, PyTorch 2.13.
pub(crate) fn norm_(
    weight: Option<&mut Tensor>,
    bias: Option<&mut Tensor>,
) -> Result<(), InitError> {
    if let Some(weight) = weight {
        ones_(weight)?;
    }
    if let Some(bias) = bias {
        zeros_(bias)?;
    }
    Ok(())
}

/// `_NormBase.reset_running_stats`.
pub(crate) fn running_stats_(
    mean: Option<&mut Tensor>,
    var: Option<&mut Tensor>,
    num_batches_tracked: Option<&mut Tensor>,
) -> Result<(), InitError> {
    if let Some(mean) = mean {
        zeros_(mean)?;
    }
    if let Some(var) = var {
        ones_(var)?;
    }
    if let Some(num_batches_tracked) = num_batches_tracked {
        zeros_(num_batches_tracked)?;
    }
    Ok(())
}

fn default_weight_(weight: &mut Tensor) -> Result<(), InitError> {
    let slope = Nonlinearity::LeakyRelu {
        negative_slope: 5f64.sqrt(),
    };
    kaiming_uniform_(weight, FanMode::FanIn, slope, None)
}

/// Uniform over `+-1/sqrt(fan_in)`. Without a fan the range is empty, and the draw still moves the
/// stream.
fn default_bias_(bias: &mut Tensor, weight: &Tensor) -> Result<(), InitError> {
    let (fan_in, _) = calculate_fan_in_and_fan_out(&weight.size())?;
    if fan_in > 0 {
        let bound = 1.0 / (fan_in as f64).sqrt();
        uniform_(bias, -bound, bound, None)
    } else {
        // Python's bound is the integer 0 here: not -0.0, which would come out of the draw.
        uniform_(bias, 0.0, 0.0, None)
    }
}
