//! How layers start: `reset_parameters` of each kind, on named tensors.

use super::LayerKind;
use super::named::Named;
use crate::error::{Context, InitError};
use crate::init::recording::copy_;
use crate::init::{
    FanMode, Nonlinearity, calculate_fan_in_and_fan_out, constant_, kaiming_uniform_, normal_,
    ones_, uniform_, zeros_,
};
use std::fmt;
use std::sync::Arc;
use tch::Tensor;

/// How a layer starts. Two layers with equal starts draw and fill alike.
#[derive(Clone)]
pub(crate) enum Start {
    /// Kaiming weight and uniform bias: linear layers.
    Linear,
    /// The same, independent of the weight's memory format: convolutions.
    Conv,
    /// Everything uniform over `+-1/sqrt(in1_features)`, weight first.
    Bilinear,
    /// Weight ones, bias zeros, running statistics new: all normalisations.
    Norm,
    /// Normal weight; the padding row zero.
    Embedding {
        /// The row that is zero, if any.
        padding_idx: Option<i64>,
    },
    /// Everything uniform over `+-1/sqrt(hidden)`, in the order of the parameters: recurrent
    /// layers and cells.
    Recurrent {
        /// Features of the hidden state.
        hidden_size: i64,
    },
    /// Any other way; equal to no other.
    Other(OtherStart),
}

type OtherStart = Arc<dyn Fn(&Named) -> Result<(), InitError> + Send + Sync>;

impl Start {
    /// A way of a layer's own.
    pub(super) fn other(
        start: impl Fn(&Named) -> Result<(), InitError> + Send + Sync + 'static,
    ) -> Start {
        Start::Other(Arc::new(start))
    }

    /// How a layer starts of which no more than the kind and the tensors are known; `None` if
    /// that is not enough.
    pub(crate) fn inferred(kind: LayerKind, tensors: &Named) -> Option<Start> {
        use LayerKind::*;
        Some(match kind {
            Linear => Start::Linear,
            Bilinear => Start::Bilinear,
            Conv1d | Conv2d | Conv3d | ConvTranspose1d | ConvTranspose2d | ConvTranspose3d => {
                Start::Conv
            }
            BatchNorm1d | BatchNorm2d | BatchNorm3d | SyncBatchNorm | InstanceNorm1d
            | InstanceNorm2d | InstanceNorm3d | LayerNorm | RMSNorm | GroupNorm => Start::Norm,
            Embedding | EmbeddingBag => Start::Embedding { padding_idx: None },
            RNN | LSTM | GRU => Start::Recurrent {
                hidden_size: hidden_size(tensors, "weight_hh_l0", "weight_hr_l0")?,
            },
            PReLU => {
                Start::other(|tensors| tensors.fill("weight", |weight| constant_(weight, 0.25)))
            }
            RNNCell | LSTMCell | GRUCell => Start::Recurrent {
                hidden_size: hidden_size(tensors, "weight_hh", "")?,
            },
            _ => return None,
        })
    }

    /// Fills the tensors and draws as PyTorch's constructor does.
    pub(crate) fn run(&self, tensors: &Named) -> Result<(), InitError> {
        match self {
            Start::Linear => linear(tensors, kaiming_default_),
            Start::Conv => linear(tensors, |weight| {
                in_contiguous_memory(weight, kaiming_default_)
            }),
            Start::Bilinear => bilinear(tensors),
            Start::Norm => norm(tensors),
            Start::Embedding { padding_idx } => embedding(tensors, *padding_idx),
            Start::Recurrent { hidden_size } => recurrent(tensors, *hidden_size),
            Start::Other(start) => start(tensors),
        }
    }
}

impl PartialEq for Start {
    fn eq(&self, other: &Start) -> bool {
        match (self, other) {
            (Start::Linear, Start::Linear)
            | (Start::Conv, Start::Conv)
            | (Start::Bilinear, Start::Bilinear)
            | (Start::Norm, Start::Norm) => true,
            (Start::Embedding { padding_idx: a }, Start::Embedding { padding_idx: b }) => a == b,
            (Start::Recurrent { hidden_size: a }, Start::Recurrent { hidden_size: b }) => a == b,
            _ => false,
        }
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Start::Linear => "Linear",
            Start::Conv => "Conv",
            Start::Bilinear => "Bilinear",
            Start::Norm => "Norm",
            Start::Embedding { .. } => "Embedding",
            Start::Recurrent { .. } => "Recurrent",
            Start::Other(_) => "Other",
        })
    }
}

/// `Linear.reset_parameters` and `_ConvNd.reset_parameters`, `torch/nn/modules/{linear,conv}.py`,
/// PyTorch 2.13.
fn linear(
    tensors: &Named,
    weight_: impl FnOnce(&mut Tensor) -> Result<(), InitError>,
) -> Result<(), InitError> {
    tensors.fill("weight", weight_)?;
    tensors.fill("bias", |bias| match tensors.get("weight") {
        Some(weight) => default_bias_(bias, &weight),
        None => Ok(()),
    })
}

/// `kaiming_uniform_(weight, a=sqrt(5))`, the default of linear layers and convolutions.
pub(super) fn kaiming_default_(weight: &mut Tensor) -> Result<(), InitError> {
    let slope = Nonlinearity::LeakyRelu {
        negative_slope: 5f64.sqrt(),
    };
    kaiming_uniform_(weight, FanMode::FanIn, slope, None)
}

/// So that the values do not depend on the memory format.
fn in_contiguous_memory(
    weight: &mut Tensor,
    fill_: impl FnOnce(&mut Tensor) -> Result<(), InitError>,
) -> Result<(), InitError> {
    if weight.is_contiguous() {
        return fill_(weight);
    }
    let function = "reset_parameters";
    let options = (weight.f_kind().context(function, weight)?, weight.device());
    let mut contiguous = Tensor::f_empty(weight.size(), options).context(function, weight)?;
    fill_(&mut contiguous)?;
    copy_(function, weight, &contiguous)
}

/// Uniform over `+-1/sqrt(fan_in)` of the weight. Without a fan the range is empty, and the draw
/// still moves the stream.
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

/// `_NormBase.reset_parameters`, `torch/nn/modules/batchnorm.py`, PyTorch 2.13, and those of
/// `normalization.py`, which have no statistics.
fn norm(tensors: &Named) -> Result<(), InitError> {
    tensors.fill("running_mean", zeros_)?;
    tensors.fill("running_var", ones_)?;
    tensors.fill("num_batches_tracked", zeros_)?;
    tensors.fill("weight", ones_)?;
    tensors.fill("bias", zeros_)
}

/// `Bilinear.reset_parameters`, `torch/nn/modules/linear.py`, PyTorch 2.13.
fn bilinear(tensors: &Named) -> Result<(), InitError> {
    let Some(weight) = tensors.get("weight") else {
        return Ok(());
    };
    let in1_features = weight.size().get(1).copied().unwrap_or_default();
    if in1_features <= 0 {
        return Err(InitError::Argument {
            function: "Bilinear",
            argument: "in1_features",
            value: in1_features as f64,
            reason: "must be positive",
            shape: Some(weight.size()),
        });
    }
    let bound = 1.0 / (in1_features as f64).sqrt();
    let uniform = |tensor: &mut Tensor| uniform_(tensor, -bound, bound, None);
    tensors.fill("weight", uniform)?;
    tensors.fill("bias", uniform)
}

/// `Embedding.reset_parameters` and `EmbeddingBag.reset_parameters`, `torch/nn/modules/sparse.py`,
/// PyTorch 2.13. An initialiser that the caller set fills the padding row too.
fn embedding(tensors: &Named, padding_idx: Option<i64>) -> Result<(), InitError> {
    tensors.fill("weight", |weight| {
        normal_(weight, 0.0, 1.0, None)?;
        let Some(index) = padding_idx else {
            return Ok(());
        };
        let _no_grad = tch::no_grad_guard();
        let mut row = weight.f_select(0, index).context("padding_idx", weight)?;
        zeros_(&mut row)
    })
}

/// `RNNBase.reset_parameters` and `RNNCellBase.reset_parameters`, `torch/nn/modules/rnn.py`,
/// PyTorch 2.13.
fn recurrent(tensors: &Named, hidden_size: i64) -> Result<(), InitError> {
    let stdv = if hidden_size > 0 {
        1.0 / (hidden_size as f64).sqrt()
    } else {
        0.0
    };
    tensors.iter().try_for_each(|(name, _)| {
        tensors.fill(name, |parameter| {
            // Python negates an integer 0 where there is no hidden state.
            let low = if stdv == 0.0 { 0.0 } else { -stdv };
            uniform_(parameter, low, stdv, None)
        })
    })
}

/// The hidden size by the weights: the columns of the recurrent ones, or with a projection those
/// of the projection.
fn hidden_size(tensors: &Named, recurrent: &str, projection: &str) -> Option<i64> {
    let weight = tensors.get(projection).or_else(|| tensors.get(recurrent))?;
    weight.size().get(1).copied()
}
