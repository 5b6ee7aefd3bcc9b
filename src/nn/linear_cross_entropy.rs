//! The cross entropy of a linear layer's outputs.

use super::build::{Build, make, python_bool, python_module, python_tuple};
use super::start::Start;
use super::{LayerKind, linear, or_panic};
use crate::error::{Context, InitError};
use crate::init::recording::copy_;
use crate::repr::python_float;
use std::borrow::Borrow;
use tch::nn::{Linear, Path};
use tch::{Reduction, TchError, Tensor};

/// Options of a linear cross entropy, with PyTorch's defaults.
///
/// PyTorch's `options`, which trade gradients computed in pieces of the batch against memory, are
/// not among them: they need a backward pass of their own, which tch does not let one write. They
/// change neither what is drawn nor what is computed but for rounding.
#[derive(Debug)]
pub struct LinearCrossEntropyLossConfig {
    /// The further dimensions of the targets of a K-dimensional loss. PyTorch's default: none.
    pub out_features: Vec<i64>,
    /// Whether the linear layer has a bias. PyTorch's default: no.
    pub bias: bool,
    /// The weight of each class, of shape `[num_classes]`, which the layer copies into the buffer
    /// `weight` of the same kind; it has to be the layer's where the loss is computed. PyTorch's
    /// default: none.
    pub weight: Option<Tensor>,
    /// How the losses of a batch become one. PyTorch's default: their mean.
    pub reduction: Reduction,
    /// A class whose targets count nothing. PyTorch's default: none where targets are
    /// probabilities, and -100 where they are classes.
    pub ignore_index: Option<i64>,
    /// How much of each target is spread over all classes, from 0 to 1. PyTorch's default: 0.
    pub label_smoothing: f64,
}

impl Default for LinearCrossEntropyLossConfig {
    fn default() -> LinearCrossEntropyLossConfig {
        LinearCrossEntropyLossConfig {
            out_features: Vec::new(),
            bias: false,
            weight: None,
            reduction: Reduction::Mean,
            ignore_index: None,
            label_smoothing: 0.0,
        }
    }
}

/// The layer that [`f_linear_cross_entropy_loss`] makes.
#[derive(Debug)]
pub struct LinearCrossEntropyLoss {
    /// From the input's features to the classes, times the further dimensions.
    pub linear: Linear,
    /// The weight of each class; a buffer.
    pub weight: Option<Tensor>,
    /// The shape of one input's scores: the classes and the further dimensions.
    scores: Vec<i64>,
    reduction: Reduction,
    ignore_index: Option<i64>,
    label_smoothing: f64,
}

const KIND: LayerKind = LayerKind::LinearCrossEntropyLoss;

/// `torch.nn.LinearCrossEntropyLoss(in_features, num_classes)`: the buffer `weight` if class
/// weights are given, then `linear.weight` of shape `[num_classes * prod(out_features),
/// in_features]`, then `linear.bias` if there is one.
///
/// Draws `linear.weight`, then `linear.bias`, as [`f_linear`](super::f_linear). tch 0.26 has no
/// such layer.
///
/// # Errors
///
/// [`InitError::Layer`] for class weights of another shape, a `label_smoothing` outside of 0 to 1,
/// a reduction that PyTorch has no name for or sizes whose product is beyond i64,
/// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{LinearCrossEntropyLossConfig, f_linear_cross_entropy_loss};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let config = LinearCrossEntropyLossConfig { out_features: vec![4, 3], ..Default::default() };
/// let loss = f_linear_cross_entropy_loss(vs.root(), 5, 10, config)?;
/// assert_eq!(loss.linear.ws.size(), [120, 5]);
/// let input = Tensor::randn([2, 5], (Kind::Float, Device::Cpu));
/// let target = Tensor::randint(10, [2, 4, 3], (Kind::Int64, Device::Cpu));
/// assert!(loss.f_forward(&input, &target)?.double_value(&[]) > 0.0);
/// # Ok(())
/// # }
/// ```
pub fn f_linear_cross_entropy_loss<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_features: i64,
    num_classes: i64,
    config: LinearCrossEntropyLossConfig,
) -> Result<LinearCrossEntropyLoss, InitError> {
    if let Some(weight) = &config.weight
        && weight.size() != [num_classes]
    {
        return Err(refused(format!(
            "weight must have shape [num_classes] = [{num_classes}], got {:?}",
            weight.size()
        )));
    }
    let smoothing = config.label_smoothing;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(refused(format!(
            "label_smoothing = {smoothing} must be in [0, 1]"
        )));
    }
    let reduction = reduction_name(config.reduction)?;
    make(vs.borrow(), &[], |build| {
        let start = Start::other(|tensors| Start::Linear.run(&tensors.child("linear")));
        build.layer(KIND, start, |build| {
            declare(build, in_features, num_classes, reduction, config)
        })
    })
}

/// [`f_linear_cross_entropy_loss`], as tch's constructors are called.
///
/// # Panics
///
/// Where [`f_linear_cross_entropy_loss`] returns an error.
pub fn linear_cross_entropy_loss<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_features: i64,
    num_classes: i64,
    config: LinearCrossEntropyLossConfig,
) -> LinearCrossEntropyLoss {
    or_panic(f_linear_cross_entropy_loss(
        vs,
        in_features,
        num_classes,
        config,
    ))
}

fn refused(message: String) -> InitError {
    InitError::Layer {
        kind: KIND.name(),
        message,
    }
}

fn reduction_name(reduction: Reduction) -> Result<&'static str, InitError> {
    match reduction {
        Reduction::None => Ok("none"),
        Reduction::Mean => Ok("mean"),
        Reduction::Sum => Ok("sum"),
        Reduction::Other(other) => Err(refused(format!(
            "reduction = {other} must be none, mean or sum"
        ))),
    }
}

/// `LinearCrossEntropyLoss.__init__` and `extra_repr`, `torch/nn/modules/loss.py`, PyTorch 2.13.
fn declare(
    build: &mut Build<'_>,
    in_features: i64,
    num_classes: i64,
    reduction: &str,
    config: LinearCrossEntropyLossConfig,
) -> Result<(LinearCrossEntropyLoss, String), InitError> {
    let out_features = config.out_features;
    let scores: Vec<i64> = [num_classes].into_iter().chain(out_features).collect();
    let out_dim = scores
        .iter()
        .try_fold(1i64, |product, size| product.checked_mul(*size))
        .ok_or_else(|| {
            refused(format!(
                "num_classes and out_features = {scores:?} are more than there can be"
            ))
        })?;
    let weight = config
        .weight
        .map(|given| class_weights(build, num_classes, &given))
        .transpose()?;
    let (linear, child) = build.child("linear", |build| {
        let linear = linear::declare(build, "Linear", in_features, out_dim, config.bias)?;
        Ok((linear, build.last_repr().to_owned()))
    })?;
    let ignore_index = config.ignore_index.map(|index| index.to_string());
    let options = format!(
        "in_features={in_features}, num_classes={num_classes}, out_features={}, bias={}, \
         reduction={reduction}, ignore_index={}, label_smoothing={}, options=None",
        python_tuple(&scores[1..]),
        python_bool(config.bias),
        ignore_index.as_deref().unwrap_or("None"),
        python_float(config.label_smoothing),
    );
    // Of all layers with parameters it alone prints options above its children.
    let repr = python_module(KIND.name(), &[("linear", &child)]).replacen(
        '\n',
        &format!("\n  {options}\n"),
        1,
    );
    let layer = LinearCrossEntropyLoss {
        linear,
        weight,
        scores,
        reduction: config.reduction,
        ignore_index: config.ignore_index,
        label_smoothing: config.label_smoothing,
    };
    Ok((layer, repr))
}

/// The buffer `weight`, which has its values from the caller and keeps them when the layer starts
/// anew.
fn class_weights(
    build: &mut Build<'_>,
    num_classes: i64,
    given: &Tensor,
) -> Result<Tensor, InitError> {
    let kind = given.f_kind().context(KIND.name(), given)?;
    let mut weight = build.buffer("weight", &[num_classes], kind)?;
    copy_(KIND.name(), &mut weight, given)?;
    Ok(weight)
}

impl LinearCrossEntropyLoss {
    /// The loss of `input`, of shape `[N, in_features]`, or without a batch `[in_features]`.
    ///
    /// `target` is of i64 and holds classes, in shape `[N, *out_features]` or `[]`; or it is of the
    /// input's kind and holds probabilities, in shape `[N, num_classes, *out_features]` or
    /// `[num_classes]`. Without a reduction the loss has the shape of targets that are classes,
    /// else it is one number.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for an input of another shape, or probabilities together with an
    /// `ignore_index`; [`InitError::Libtorch`] where libtorch refuses.
    pub fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor, InitError> {
        let size = input.size();
        let in_features = self.linear.ws.size().last().copied();
        let batch = match &size[..] {
            [features] if Some(*features) == in_features && self.scores.len() == 1 => None,
            [batch, features] if Some(*features) == in_features => Some(*batch),
            _ => {
                return Err(refused(format!(
                    "input must have shape [N, in_features], or without out_features \
                     [in_features], with in_features = {}, got {size:?}",
                    in_features.unwrap_or_default()
                )));
            }
        };
        let shape: Vec<i64> = batch.iter().chain(&self.scores).copied().collect();
        if self.ignore_index.is_some() && target.size() == shape {
            return Err(refused(
                "ignore_index cannot be set where targets are probabilities".to_owned(),
            ));
        }
        self.loss(input, &shape, target).context(KIND.name(), input)
    }

    /// [`f_forward`](Self::f_forward), as tch's layers are called.
    ///
    /// # Panics
    ///
    /// Where [`f_forward`](Self::f_forward) returns an error.
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        or_panic(self.f_forward(input, target))
    }

    fn loss(&self, input: &Tensor, shape: &[i64], target: &Tensor) -> Result<Tensor, TchError> {
        let Linear { ws, bs } = &self.linear;
        input
            .f_linear(ws, bs.as_ref())?
            .f_reshape(shape)?
            .f_cross_entropy_loss(
                target,
                self.weight.as_ref(),
                self.reduction,
                self.ignore_index.unwrap_or(-100),
                self.label_smoothing,
            )
    }
}
