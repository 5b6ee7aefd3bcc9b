//! The adaptive softmax.

use super::build::{Build, make, python_module};
use super::start::Start;
use super::{LayerKind, linear, or_panic};
use crate::error::InitError;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{Linear, Path};

/// Options of an adaptive softmax, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveLogSoftmaxWithLossConfig {
    /// Cluster `i`, from 1 on, sees `in_features / div_value^i` features, rounded down. PyTorch's
    /// default: 4.
    pub div_value: f64,
    /// Whether the head has a bias. PyTorch's default: no.
    pub head_bias: bool,
}

impl Default for AdaptiveLogSoftmaxWithLossConfig {
    fn default() -> AdaptiveLogSoftmaxWithLossConfig {
        AdaptiveLogSoftmaxWithLossConfig {
            div_value: 4.0,
            head_bias: false,
        }
    }
}

/// The layer that [`f_adaptive_log_softmax_with_loss`] makes.
#[derive(Debug)]
pub struct AdaptiveLogSoftmaxWithLoss {
    /// Scores the classes below the first cutoff, then the clusters.
    pub head: Linear,
    /// For each cluster, the projection to fewer features and the scores of its classes.
    pub tail: Vec<[Linear; 2]>,
    /// The cutoffs, and behind them the number of classes.
    pub(super) cutoffs: Vec<i64>,
}

/// What [`AdaptiveLogSoftmaxWithLoss::f_forward`] computes.
#[derive(Debug)]
pub struct AsmOutput {
    /// The log-probability of each target: shape `[N]`, or `[]` for an input without a batch.
    pub output: Tensor,
    /// The mean of the negative log-probabilities.
    pub loss: Tensor,
}

/// `torch.nn.AdaptiveLogSoftmaxWithLoss(in_features, n_classes, cutoffs)`: `head` is linear, from
/// `in_features` to the classes below the first cutoff and one score for each cluster; `tail.i`
/// holds two linear layers without biases, from `in_features` to `in_features / div_value^(i + 1)`
/// and from there to the classes from cutoff `i` up to the next, or to `n_classes` behind the last.
///
/// Draws `head.weight`, `head.bias` if there is one, and then for each cluster `tail.i.0.weight`
/// and `tail.i.1.weight`, each as [`f_linear`](super::f_linear). A cluster that sees no feature
/// draws nothing. tch 0.26 has no such layer.
///
/// # Errors
///
/// [`InitError::Layer`] unless the cutoffs rise from at least 1 to at most `n_classes - 1` and
/// there is one, [`InitError::Argument`] for a `div_value` whose powers make no size,
/// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::f_adaptive_log_softmax_with_loss;
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let softmax =
///     f_adaptive_log_softmax_with_loss(vs.root(), 16, 100, &[10, 40], Default::default())?;
/// assert_eq!(softmax.head.ws.size(), [12, 16]);
/// assert_eq!(softmax.tail[1][1].ws.size(), [60, 1]);
/// let input = Tensor::randn([3, 16], (Kind::Float, Device::Cpu));
/// let found = softmax.f_forward(&input, &Tensor::from_slice(&[0i64, 99, 12]))?;
/// assert_eq!(found.output.size(), [3]);
/// # Ok(())
/// # }
/// ```
pub fn f_adaptive_log_softmax_with_loss<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_features: i64,
    n_classes: i64,
    cutoffs: &[i64],
    config: AdaptiveLogSoftmaxWithLossConfig,
) -> Result<AdaptiveLogSoftmaxWithLoss, InitError> {
    let rising = cutoffs.windows(2).all(|pair| pair[0] < pair[1]);
    let within = cutoffs.first().is_some_and(|first| *first > 0)
        && cutoffs.last().is_some_and(|last| *last < n_classes);
    if !(rising && within) {
        return Err(InitError::Layer {
            kind: KIND.name(),
            message: format!(
                "cutoffs = {cutoffs:?} must be one or more numbers that rise from at least 1 to \
                 at most n_classes - 1, with n_classes = {n_classes}"
            ),
        });
    }
    let cutoffs: Vec<i64> = cutoffs.iter().copied().chain([n_classes]).collect();
    let hidden = (1..cutoffs.len())
        .map(|cluster| hidden_size(in_features, config.div_value, cluster))
        .collect::<Result<Vec<i64>, InitError>>()?;
    make(vs.borrow(), &[], |build| {
        build.layer(KIND, start(hidden.len()), |build| {
            declare(build, in_features, cutoffs, &hidden, config.head_bias)
        })
    })
}

/// [`f_adaptive_log_softmax_with_loss`], as tch's constructors are called.
///
/// # Panics
///
/// Where [`f_adaptive_log_softmax_with_loss`] returns an error.
pub fn adaptive_log_softmax_with_loss<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_features: i64,
    n_classes: i64,
    cutoffs: &[i64],
    config: AdaptiveLogSoftmaxWithLossConfig,
) -> AdaptiveLogSoftmaxWithLoss {
    or_panic(f_adaptive_log_softmax_with_loss(
        vs,
        in_features,
        n_classes,
        cutoffs,
        config,
    ))
}

pub(super) const KIND: LayerKind = LayerKind::AdaptiveLogSoftmaxWithLoss;

/// `AdaptiveLogSoftmaxWithLoss.__init__` and `reset_parameters`, `torch/nn/modules/adaptive.py`,
/// PyTorch 2.13.
fn start(clusters: usize) -> Start {
    Start::other(move |tensors| {
        Start::Linear.run(&tensors.child("head"))?;
        (0..clusters).try_for_each(|cluster| {
            Start::Linear.run(&tensors.child(&format!("tail.{cluster}.0")))?;
            Start::Linear.run(&tensors.child(&format!("tail.{cluster}.1")))
        })
    })
}

fn declare(
    build: &mut Build<'_>,
    in_features: i64,
    cutoffs: Vec<i64>,
    hidden: &[i64],
    head_bias: bool,
) -> Result<(AdaptiveLogSoftmaxWithLoss, String), InitError> {
    let scores = cutoffs[0] + hidden.len() as i64;
    let (head, head_repr) = linear_at(build, &["head"], in_features, scores, head_bias)?;
    let mut tail = Vec::new();
    let mut reprs = Vec::new();
    for (cluster, (&hidden, ends)) in hidden.iter().zip(cutoffs.windows(2)).enumerate() {
        let cluster = cluster.to_string();
        let name = |layer| ["tail", &cluster, layer];
        let (projection, first) = linear_at(build, &name("0"), in_features, hidden, false)?;
        let (classes, second) = linear_at(build, &name("1"), hidden, ends[1] - ends[0], false)?;
        tail.push([projection, classes]);
        reprs.push(python_module(
            "Sequential",
            &[("0", &first), ("1", &second)],
        ));
    }
    let repr = python_module(
        KIND.name(),
        &[("head", &head_repr), ("tail", &python_module_list(&reprs))],
    );
    let layer = AdaptiveLogSoftmaxWithLoss {
        head,
        tail,
        cutoffs,
    };
    Ok((layer, repr))
}

/// A linear layer some names further down, and what Python prints of it.
fn linear_at(
    build: &mut Build<'_>,
    names: &[&str],
    in_dim: i64,
    out_dim: i64,
    bias: bool,
) -> Result<(Linear, String), InitError> {
    match names {
        [] => {
            let layer = linear::declare(build, "Linear", in_dim, out_dim, bias)?;
            Ok((layer, build.last_repr().to_owned()))
        }
        [name, names @ ..] => build.child(*name, |build| {
            linear_at(build, names, in_dim, out_dim, bias)
        }),
    }
}

/// What Python prints of a `ModuleList`: equal neighbours once, with their number.
fn python_module_list(children: &[String]) -> String {
    let mut first = 0;
    let mut lines = Vec::new();
    for run in children.chunk_by(|a, b| a == b) {
        let last = first + run.len() - 1;
        lines.push(match run.len() {
            1 => (first.to_string(), run[0].clone()),
            n => (format!("{first}-{last}"), format!("{n} x {}", run[0])),
        });
        first = last + 1;
    }
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|(name, child)| (name.as_str(), child.as_str()))
        .collect();
    python_module("ModuleList", &lines)
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

/// Python's `a // b` of floats (CPython `Objects/floatobject.c`, `float_floor_div`): from the exact
/// remainder, so that a quotient that rounds up to a whole number does not count as that number.
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
