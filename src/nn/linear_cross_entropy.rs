//! The cross entropy of a linear layer's outputs.

use super::linear;
use super::printed::{
    PrintError, Printed, python_bool, python_module, python_options, python_tuple,
};
use super::spec::{LayerRule, LayerSpec, refused};
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use tensor_parity::{Dtype, python_repr};

const KIND: LayerKind = LayerKind::LinearCrossEntropyLoss;

/// The arguments of the loss, its reduction as PyTorch names it.
struct LossArguments<'a> {
    in_features: i64,
    num_classes: i64,
    out_features: &'a [i64],
    bias: bool,
    /// The dtype of the class weights, if there are any.
    weight: Option<Dtype>,
    reduction: &'a str,
    ignore_index: Option<i64>,
    label_smoothing: f64,
}

impl LossArguments<'_> {
    /// `LinearCrossEntropyLoss.__init__` and `extra_repr`, `torch/nn/modules/loss.py`, PyTorch 2.13.
    /// The class weights get their values from the caller, and keep them in a reset.
    fn spec(&self) -> Result<LayerSpec, InitError> {
        let scores: Vec<i64> = [self.num_classes]
            .iter()
            .chain(self.out_features)
            .copied()
            .collect();
        let outputs = scores
            .iter()
            .try_fold(1i64, |product, size| product.checked_mul(*size))
            .ok_or_else(|| {
                let message =
                    format!("num_classes and out_features = {scores:?} are more than there can be");
                refused(KIND, "out_features", message)
            })?;
        let linear = linear::spec("Linear", self.in_features, outputs, self.bias);
        let ignore_index = self.ignore_index.map(|index| index.to_string());
        let options = format!(
            "in_features={}, num_classes={}, out_features={}, bias={}, reduction={}, \
             ignore_index={}, label_smoothing={}, options=None",
            self.in_features,
            self.num_classes,
            python_tuple(self.out_features),
            python_bool(self.bias),
            self.reduction,
            ignore_index.as_deref().unwrap_or("None"),
            python_repr::float(self.label_smoothing),
        );
        // It is the only layer with parameters that prints options above its children.
        let repr = python_module(KIND.name(), &[("linear", linear.repr())]);
        let mut spec = LayerSpec::new(KIND, python_options(&repr, &options));
        if let Some(dtype) = self.weight {
            spec = spec.buffer("weight", &[self.num_classes], Some(dtype));
        }
        Ok(spec.child("linear", linear))
    }
}

pub(super) struct Rule;

impl LayerRule for Rule {
    /// Class weights are not printed; the loss is taken to have none.
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let arguments = LossArguments {
            in_features: printed.int("in_features", None)?,
            num_classes: printed.int("num_classes", None)?,
            out_features: &printed.ints("out_features", None)?,
            bias: printed.flag("bias", false)?,
            weight: None,
            reduction: "mean",
            ignore_index: None,
            label_smoothing: 0.0,
        };
        Ok(arguments.spec()?)
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::{KIND, LossArguments};
    use crate::error::{Context, InitError};
    use crate::init::recording::copy_;
    use crate::nn::builder::{allocate, initialize};
    use crate::nn::config::config;
    use crate::nn::linear;
    use crate::nn::spec::refused;
    use std::borrow::Borrow;
    use tch::nn::{Linear, Path};
    use tch::{Reduction, TchError, Tensor};
    use tensor_parity::Dtype;

    config! {
        /// Options of a linear cross entropy, with PyTorch's defaults.
        ///
        /// PyTorch's `options`, which trade gradients computed in pieces of the batch against
        /// memory, are not among them: they need a custom backward pass, which tch does not
        /// let one write. They change neither what is drawn nor what is computed but for rounding.
        #[derive(Debug)]
        pub struct LinearCrossEntropyLossConfig {
            /// The further dimensions of the targets of a K-dimensional loss. PyTorch's default:
            /// none.
            out_features: Vec<i64> = Vec::new(),
            /// Whether the linear layer has a bias. PyTorch's default: no.
            bias: bool = false,
            /// The weight of each class, of shape `[num_classes]`, which the layer copies into the
            /// buffer `weight` of the same kind; it has to be the layer's where the loss is
            /// computed. PyTorch's default: none.
            weight: Option<Tensor> = None,
            /// How the losses of a batch are reduced to one. PyTorch's default: their mean.
            reduction: Reduction = Reduction::Mean,
            /// A class whose targets are ignored. PyTorch's default: none where targets are
            /// probabilities, and -100 where they are classes.
            ignore_index: Option<i64> = None,
            /// How much of each target is spread over all classes, from 0 to 1. PyTorch's default:
            /// 0.
            label_smoothing: f64 = 0.0,
        }
    }

    /// The layer that [`linear_cross_entropy_loss`] makes.
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

    /// `torch.nn.LinearCrossEntropyLoss(in_features, num_classes)`: the buffer `weight` if class
    /// weights are given, then `linear.weight` of shape
    /// `[num_classes * prod(out_features), in_features]`, then `linear.bias` if there is one.
    ///
    /// Draws `linear.weight`, then `linear.bias`, as [`f_linear`](crate::nn::f_linear). tch 0.26
    /// has no such layer.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for class weights of another shape, a `label_smoothing` outside of 0 to
    /// 1, a reduction that PyTorch has no name for or sizes whose product is beyond i64,
    /// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch::{Device, Kind, Tensor, nn::VarStore};
    /// use tch_init::nn::{LinearCrossEntropyLossConfig, linear_cross_entropy_loss};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = VarStore::new(Device::Cpu);
    /// let config = LinearCrossEntropyLossConfig::default().out_features(vec![4, 3]);
    /// let loss = linear_cross_entropy_loss(vs.root(), 5, 10, config)?;
    /// assert_eq!(loss.linear.ws.size(), [120, 5]);
    /// let input = Tensor::randn([2, 5], (Kind::Float, Device::Cpu));
    /// let target = Tensor::randint(10, [2, 4, 3], (Kind::Int64, Device::Cpu));
    /// assert!(loss.forward(&input, &target)?.double_value(&[]) > 0.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn linear_cross_entropy_loss<'a, T: Borrow<Path<'a>>>(
        vs: T,
        in_features: i64,
        num_classes: i64,
        config: LinearCrossEntropyLossConfig,
    ) -> Result<LinearCrossEntropyLoss, InitError> {
        if let Some(weight) = &config.weight
            && weight.size() != [num_classes]
        {
            let message = format!(
                "weight must have shape [num_classes] = [{num_classes}], got {:?}",
                weight.size()
            );
            return Err(refused(KIND, "weight", message));
        }
        let smoothing = config.label_smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            let message = format!("label_smoothing = {smoothing} must be in [0, 1]");
            return Err(refused(KIND, "label_smoothing", message));
        }
        let spec = LossArguments {
            in_features,
            num_classes,
            out_features: &config.out_features,
            bias: config.bias,
            weight: config.weight.as_ref().map(dtype).transpose()?,
            reduction: reduction_name(config.reduction)?,
            ignore_index: config.ignore_index,
            label_smoothing: smoothing,
        };
        let spec = spec.spec()?;
        let path = vs.borrow();
        let tensors = allocate(path, &spec)?;
        if let (Some(mut weight), Some(given)) = (tensors.get("weight"), &config.weight) {
            copy_(KIND.name(), &mut weight, given)?;
        }
        let tensors = initialize(path, &spec, tensors, &[])?;
        let classes = [num_classes].into_iter();
        Ok(LinearCrossEntropyLoss {
            linear: linear::layer(&tensors.child("linear"))?,
            weight: tensors.get("weight"),
            scores: classes.chain(config.out_features).collect(),
            reduction: config.reduction,
            ignore_index: config.ignore_index,
            label_smoothing: config.label_smoothing,
        })
    }

    fn dtype(tensor: &Tensor) -> Result<Dtype, InitError> {
        let kind = tensor.f_kind().context(KIND.name(), tensor)?;
        Dtype::from_kind(kind)
            .ok_or_else(|| refused(KIND, "weight", format!("weight of kind {kind:?}")))
    }

    fn reduction_name(reduction: Reduction) -> Result<&'static str, InitError> {
        match reduction {
            Reduction::None => Ok("none"),
            Reduction::Mean => Ok("mean"),
            Reduction::Sum => Ok("sum"),
            Reduction::Other(other) => Err(refused(
                KIND,
                "reduction",
                format!("reduction = {other} must be none, mean or sum"),
            )),
        }
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
        /// `ignore_index`; [`InitError::Libtorch`] where libtorch rejects.
        pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor, InitError> {
            let size = input.size();
            let in_features = self.linear.ws.size().last().copied();
            let batch = match &size[..] {
                [features] if Some(*features) == in_features && self.scores.len() == 1 => None,
                [batch, features] if Some(*features) == in_features => Some(*batch),
                _ => {
                    return Err(refused(
                        KIND,
                        "input",
                        format!(
                            "input must have shape [N, in_features], or without out_features \
                     [in_features], with in_features = {}, got {size:?}",
                            in_features.unwrap_or_default()
                        ),
                    ));
                }
            };
            let shape: Vec<i64> = batch.iter().chain(&self.scores).copied().collect();
            if self.ignore_index.is_some() && target.size() == shape {
                return Err(refused(
                    KIND,
                    "ignore_index",
                    "ignore_index cannot be set where targets are probabilities".to_owned(),
                ));
            }
            self.loss(input, &shape, target).context(KIND.name(), input)
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
}
