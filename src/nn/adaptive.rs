//! The adaptive softmax.

use super::linear;
use super::printed::{PrintError, Printed, python_module, python_module_list};
use super::spec::{LayerRule, LayerSpec, refused};
use crate::error::InitError;
use crate::nn::kind::LayerKind;

const KIND: LayerKind = LayerKind::AdaptiveLogSoftmaxWithLoss;

/// `AdaptiveLogSoftmaxWithLoss.__init__` and `reset_parameters`, `torch/nn/modules/adaptive.py`,
/// PyTorch 2.13. `cutoffs` end with the number of classes; `hidden` is the number of features
/// of each cluster.
fn spec(in_features: i64, cutoffs: &[i64], hidden: &[i64], head_bias: bool) -> LayerSpec {
    let scores = cutoffs[0] + hidden.len() as i64;
    let head = linear::spec("Linear", in_features, scores, head_bias);
    let mut tail = Vec::new();
    let mut reprs = Vec::new();
    for (cluster, (&hidden, ends)) in hidden.iter().zip(cutoffs.windows(2)).enumerate() {
        let projection = linear::spec("Linear", in_features, hidden, false);
        let classes = linear::spec("Linear", hidden, ends[1] - ends[0], false);
        let children = [("0", projection.repr()), ("1", classes.repr())];
        reprs.push(python_module("Sequential", &children));
        tail.push((format!("tail.{cluster}.0"), projection));
        tail.push((format!("tail.{cluster}.1"), classes));
    }
    let list = python_module_list(&reprs);
    let repr = python_module(KIND.name(), &[("head", head.repr()), ("tail", &list)]);
    let spec = LayerSpec::new(KIND, repr).child("head", head);
    tail.into_iter()
        .fold(spec, |spec, (name, layer)| spec.child(&name, layer))
}

/// The cutoffs, which must rise from at least 1 to at most `n_classes - 1`, with the number of
/// classes after them.
fn with_classes(cutoffs: &[i64], n_classes: i64) -> Result<Vec<i64>, InitError> {
    let rising = cutoffs.windows(2).all(|pair| pair[0] < pair[1]);
    let within = cutoffs.first().is_some_and(|first| *first > 0)
        && cutoffs.last().is_some_and(|last| *last < n_classes);
    if !(rising && within) {
        return Err(refused(
            KIND,
            "cutoffs",
            format!(
                "cutoffs = {cutoffs:?} must be one or more numbers that rise from at least 1 to \
                 at most n_classes - 1, with n_classes = {n_classes}"
            ),
        ));
    }
    Ok(cutoffs.iter().copied().chain([n_classes]).collect())
}

pub(super) struct Rule;

impl LayerRule for Rule {
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let head = printed.child("head")?;
        let in_features = head.int("in_features", None)?;
        let tail = &printed.child("tail")?.children;
        let scores = head.int("out_features", None)?;
        let mut cutoffs = vec![scores.saturating_sub(tail.len() as i64)];
        let mut hidden = Vec::new();
        for (_, cluster) in tail {
            let (projection, classes) = (cluster.child("0")?, cluster.child("1")?);
            hidden.push(projection.int("out_features", None)?);
            let classes = classes.int("out_features", None)?;
            cutoffs.push(cutoffs[cutoffs.len() - 1].saturating_add(classes));
        }
        let n_classes = cutoffs.pop().unwrap_or_default();
        let cutoffs = with_classes(&cutoffs, n_classes)?;
        Ok(spec(
            in_features,
            &cutoffs,
            &hidden,
            head.flag("bias", false)?,
        ))
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::{KIND, spec, with_classes};
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::config::config;
    use crate::nn::linear;
    use crate::nn::spec::refused;
    use std::borrow::Borrow;
    use tch::nn::{Linear, Path};
    use tch::{TchError, Tensor};

    config! {
        /// Options of an adaptive softmax, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct AdaptiveLogSoftmaxWithLossConfig {
            /// Cluster `i`, from 1 on, sees `in_features / div_value^i` features, rounded down.
            /// PyTorch's default: 4.
            div_value: f64 = 4.0,
            /// Whether the head has a bias. PyTorch's default: no.
            head_bias: bool = false,
        }
    }

    /// The layer that [`adaptive_log_softmax_with_loss`] makes.
    #[derive(Debug)]
    pub struct AdaptiveLogSoftmaxWithLoss {
        /// Scores the classes below the first cutoff, then the clusters.
        pub head: Linear,
        /// For each cluster, the projection to fewer features and the scores of its classes.
        pub tail: Vec<[Linear; 2]>,
        /// The cutoffs, followed by the number of classes.
        cutoffs: Vec<i64>,
    }

    /// The result of [`AdaptiveLogSoftmaxWithLoss::forward`].
    #[derive(Debug)]
    pub struct AsmOutput {
        /// The log-probability of each target: shape `[N]`, or `[]` for an input without a batch.
        pub output: Tensor,
        /// The mean of the negative log-probabilities.
        pub loss: Tensor,
    }

    /// `torch.nn.AdaptiveLogSoftmaxWithLoss(in_features, n_classes, cutoffs)`: `head` is linear, from
    /// `in_features` to the classes below the first cutoff and one score for each cluster; `tail.i`
    /// holds two linear layers without biases, from `in_features` to
    /// `in_features / div_value^(i + 1)` and from there to the classes from cutoff `i` up to the
    /// next, or after the last up to `n_classes`.
    ///
    /// Draws `head.weight`, `head.bias` if there is one, and then for each cluster
    /// `tail.i.0.weight` and `tail.i.1.weight`, each as [`f_linear`](crate::nn::f_linear). A
    /// cluster that sees no feature draws nothing. tch 0.26 has no such layer.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] unless the cutoffs rise from at least 1 to at most `n_classes - 1` and
    /// there is one, [`InitError::Argument`] for a `div_value` whose powers make no size,
    /// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch::{Device, Kind, Tensor, nn::VarStore};
    /// use tch_init::nn::adaptive_log_softmax_with_loss;
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = VarStore::new(Device::Cpu);
    /// let softmax =
    ///     adaptive_log_softmax_with_loss(vs.root(), 16, 100, &[10, 40], Default::default())?;
    /// assert_eq!(softmax.head.ws.size(), [12, 16]);
    /// assert_eq!(softmax.tail[1][1].ws.size(), [60, 1]);
    /// let input = Tensor::randn([3, 16], (Kind::Float, Device::Cpu));
    /// let found = softmax.forward(&input, &Tensor::from_slice(&[0i64, 99, 12]))?;
    /// assert_eq!(found.output.size(), [3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn adaptive_log_softmax_with_loss<'a, T: Borrow<Path<'a>>>(
        vs: T,
        in_features: i64,
        n_classes: i64,
        cutoffs: &[i64],
        config: AdaptiveLogSoftmaxWithLossConfig,
    ) -> Result<AdaptiveLogSoftmaxWithLoss, InitError> {
        let cutoffs = with_classes(cutoffs, n_classes)?;
        let hidden = (1..cutoffs.len())
            .map(|cluster| hidden_size(in_features, config.div_value, cluster))
            .collect::<Result<Vec<i64>, InitError>>()?;
        let spec = spec(in_features, &cutoffs, &hidden, config.head_bias);
        let tensors = build(vs.borrow(), &spec, &[])?;
        let layer = |name: &str| linear::layer(&tensors.child(name));
        Ok(AdaptiveLogSoftmaxWithLoss {
            head: layer("head")?,
            tail: (0..hidden.len())
                .map(|cluster| {
                    let [projection, classes] =
                        [0, 1].map(|i| layer(&format!("tail.{cluster}.{i}")));
                    Ok([projection?, classes?])
                })
                .collect::<Result<_, InitError>>()?,
            cutoffs,
        })
    }

    /// `int(in_features // div_value ** cluster)` as Python computes it.
    fn hidden_size(in_features: i64, div_value: f64, cluster: usize) -> Result<i64, InitError> {
        let refused = |reason| InitError::Argument {
            function: KIND.name(),
            argument: "div_value",
            value: div_value,
            reason,
            shape: None,
        };
        let divisor = div_value.powf(cluster as f64);
        if divisor == 0.0 {
            return Err(refused("its powers must not be zero"));
        }
        if divisor.is_infinite() && div_value.is_finite() {
            return Err(refused("its powers must not overflow"));
        }
        let quotient = floor_divide(in_features as f64, divisor);
        if !quotient.is_finite() {
            return Err(refused("in_features divided by its powers must be finite"));
        }
        Ok(quotient as i64)
    }

    /// Python's `a // b` of floats (CPython `Objects/floatobject.c`, `float_floor_div`): from the
    /// exact remainder, so that a quotient that rounds up to a whole number does not count as that
    /// number.
    fn floor_divide(a: f64, b: f64) -> f64 {
        let remainder = a % b;
        let mut quotient = (a - remainder) / b;
        if remainder != 0.0 && (b < 0.0) != (remainder < 0.0) {
            quotient -= 1.0;
        }
        let floor = quotient.floor();
        if quotient - floor > 0.5 {
            floor + 1.0
        } else {
            floor
        }
    }

    /// The forward pass: `AdaptiveLogSoftmaxWithLoss.forward`, `log_prob` and `predict`,
    /// `torch/nn/modules/adaptive.py`, PyTorch 2.13.
    impl AdaptiveLogSoftmaxWithLoss {
        /// The log-probabilities of the targets, and the loss.
        ///
        /// `input` has shape `[N, in_features]` and `target`, classes as i64, shape `[N]`; or without
        /// a batch `[in_features]` and `[]`. Only the clusters of the targets are computed.
        ///
        /// # Errors
        ///
        /// [`InitError::Layer`] for other shapes or a target that is not a class,
        /// [`InitError::Libtorch`] where libtorch rejects.
        pub fn forward(&self, input: &Tensor, target: &Tensor) -> Result<AsmOutput, InitError> {
            let batched = match (&input.size()[..], &target.size()[..]) {
                ([rows, _], [targets]) if rows == targets => true,
                ([_], []) => false,
                (input, target) => {
                    return Err(refused(
                        KIND,
                        "input",
                        format!(
                            "input and target must have shapes [N, in_features] and [N], or [in_features] \
                     and [], got {input:?} and {target:?}"
                        ),
                    ));
                }
            };
            if let Some([least, greatest]) = range(target).context(KIND.name(), target)? {
                let last = self.n_classes() - 1;
                if least < 0 || greatest > last {
                    return Err(refused(
                        KIND,
                        "target",
                        format!(
                            "targets must be in [0, {last}], got values in [{least}, {greatest}]"
                        ),
                    ));
                }
            }
            let found = if batched {
                self.of_batch(input, target)
            } else {
                self.of_one(input, target)
            };
            let (output, loss) = found.context(KIND.name(), input)?;
            Ok(AsmOutput { output, loss })
        }

        /// The log-probabilities of all classes: `[N, n_classes]` for an input of
        /// `[N, in_features]`.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] if the input has another shape.
        pub fn log_prob(&self, input: &Tensor) -> Result<Tensor, InitError> {
            apply(&self.head, input)
                .and_then(|scores| self.full_log_prob(input, &scores))
                .context(KIND.name(), input)
        }

        /// The likeliest class of each row: `[N]`, of i64, for an input of `[N, in_features]`.
        /// Clusters are computed only for the rows whose highest score is a cluster's.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] if the input has another shape.
        pub fn predict(&self, input: &Tensor) -> Result<Tensor, InitError> {
            self.likeliest(input).context(KIND.name(), input)
        }

        /// The classes below the first cutoff.
        fn shortlist_size(&self) -> i64 {
            self.cutoffs[0]
        }

        fn n_classes(&self) -> i64 {
            self.cutoffs[self.tail.len()]
        }

        /// The clusters with their numbers and the classes that they hold.
        fn clusters(&self) -> impl Iterator<Item = (i64, &[Linear; 2], [i64; 2])> {
            let ends = self.cutoffs.windows(2).map(|ends| [ends[0], ends[1]]);
            let clusters = (0..).zip(&self.tail).zip(ends);
            clusters.map(|((number, layers), ends)| (number, layers, ends))
        }

        fn of_one(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor), TchError> {
            let (output, loss) = self.of_batch(&input.f_unsqueeze(0)?, &target.f_unsqueeze(0)?)?;
            Ok((output.f_squeeze_dim(0)?, loss))
        }

        fn of_batch(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor), TchError> {
            let options = (input.f_kind()?, input.device());
            let mut output = Tensor::f_zeros(target.size(), options)?;
            // Of the head's scores each row needs that of its class or of its cluster.
            let mut score = target.shallow_clone();
            for (number, layers, [low, high]) in self.clusters() {
                let (low, high) = (Tensor::from(low), Tensor::from(high));
                let in_cluster = target
                    .f_ge_tensor(&low)?
                    .f_logical_and(&target.f_lt_tensor(&high)?)?;
                let rows = in_cluster.f_nonzero()?.f_squeeze_dim(1)?;
                if rows.size() == [0] {
                    continue;
                }
                let class = target.f_index_select(0, &rows)?.f_sub(&low)?;
                let log_prob = cluster_log_prob(layers, &input.f_index_select(0, &rows)?)?;
                let log_prob = pick(&log_prob, &class)?;
                output = output.f_index_copy_(0, &rows, &log_prob)?;
                let cluster = Tensor::from(self.shortlist_size() + number);
                score = score.f_index_fill_int_tensor(0, &rows, &cluster)?;
            }
            let head = apply(&self.head, input)?.f_log_softmax(1, None)?;
            let output = output.f_add_(&pick(&head, &score)?)?;
            let loss = output.f_neg()?.f_mean(None)?;
            Ok((output, loss))
        }

        /// `scores` are what the head gives `input`.
        fn full_log_prob(&self, input: &Tensor, scores: &Tensor) -> Result<Tensor, TchError> {
            let head = scores.f_log_softmax(1, None)?;
            let mut parts = vec![head.f_narrow(1, 0, self.shortlist_size())?];
            for (number, layers, _) in self.clusters() {
                let of_cluster = head.f_narrow(1, self.shortlist_size() + number, 1)?;
                parts.push(cluster_log_prob(layers, input)?.f_add(&of_cluster)?);
            }
            Tensor::f_cat(&parts, 1)
        }

        fn likeliest(&self, input: &Tensor) -> Result<Tensor, TchError> {
            let scores = apply(&self.head, input)?;
            let mut output = scores.f_argmax(1, false)?;
            let in_cluster = output.f_ge_tensor(&Tensor::from(self.shortlist_size()))?;
            let rows = in_cluster.f_nonzero()?.f_squeeze_dim(1)?;
            if rows.size() == [0] {
                return Ok(output);
            }
            if rows.size() == output.size() {
                return self.full_log_prob(input, &scores)?.f_argmax(1, false);
            }
            let (input, scores) = (
                input.f_index_select(0, &rows)?,
                scores.f_index_select(0, &rows)?,
            );
            let classes = self.full_log_prob(&input, &scores)?.f_argmax(1, false)?;
            output.f_index_copy_(0, &rows, &classes)
        }
    }

    fn apply(layer: &Linear, input: &Tensor) -> Result<Tensor, TchError> {
        input.f_linear(&layer.ws, layer.bs.as_ref())
    }

    fn cluster_log_prob(layers: &[Linear; 2], input: &Tensor) -> Result<Tensor, TchError> {
        let [projection, classes] = layers;
        apply(classes, &apply(projection, input)?)?.f_log_softmax(1, None)
    }

    /// Of each row the element of its index.
    fn pick(rows: &Tensor, index: &Tensor) -> Result<Tensor, TchError> {
        let index = index.f_unsqueeze(1)?;
        rows.f_gather(1, &index, false)?.f_squeeze_dim(1)
    }

    /// The least and the greatest value, if there is a value.
    fn range(target: &Tensor) -> Result<Option<[i64; 2]>, TchError> {
        if target.numel() == 0 {
            return Ok(None);
        }
        let least = target.f_min()?.f_int64_value(&[])?;
        let greatest = target.f_max()?.f_int64_value(&[])?;
        Ok(Some([least, greatest]))
    }
}
