//! Recurrent layers: `RNNBase`, `torch/nn/modules/rnn.py`, PyTorch 2.13.

use super::printed::{PrintError, Printed, python_bool};
use super::spec::{LayerRule, LayerSpec, VariableShapes, recurrent_uniform};
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use tensor_parity::python_repr;

/// The function that an Elman network applies to the sum of input and hidden state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RnnNonlinearity {
    /// `tanh`, PyTorch's default.
    #[default]
    Tanh,
    /// `relu`.
    Relu,
}

/// The arguments of `RNNBase`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RnnBase {
    pub(super) kind: LayerKind,
    pub(super) input_size: i64,
    pub(super) hidden_size: i64,
    /// 0 without a projection.
    pub(super) proj_size: i64,
    pub(super) num_layers: i64,
    pub(super) bias: bool,
    pub(super) batch_first: bool,
    pub(super) dropout: f64,
    pub(super) bidirectional: bool,
}

impl RnnBase {
    /// A layer with PyTorch's defaults.
    pub(super) fn new(kind: LayerKind, input_size: i64, hidden_size: i64) -> RnnBase {
        RnnBase {
            kind,
            input_size,
            hidden_size,
            proj_size: 0,
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
        }
    }

    /// `RNNBase.__init__` and `reset_parameters`. Products that are too large become sizes that
    /// libtorch rejects.
    pub(super) fn spec(&self) -> Result<LayerSpec, InitError> {
        self.check()?;
        let rows = self.hidden_size.saturating_mul(gates(self.kind));
        let outputs = self.output_size().saturating_mul(self.directions());
        let fill = recurrent_uniform(self.hidden_size);
        let suffixes = &["", "_reverse"][..1 + usize::from(self.bidirectional)];
        let mut spec = LayerSpec::new(self.kind, self.repr());
        for layer in 0..self.num_layers {
            let columns = if layer == 0 { self.input_size } else { outputs };
            for suffix in suffixes {
                let name = |stem| format!("{stem}_l{layer}{suffix}");
                let add = |spec: LayerSpec, stem, shape: &[i64]| {
                    spec.parameter(&name(stem), shape, fill.clone())
                };
                spec = add(spec, "weight_ih", &[rows, columns]);
                spec = add(spec, "weight_hh", &[rows, self.output_size()]);
                if self.bias {
                    spec = add(spec, "bias_ih", &[rows]);
                    spec = add(spec, "bias_hh", &[rows]);
                }
                if self.proj_size > 0 {
                    spec = add(spec, "weight_hr", &[self.proj_size, self.hidden_size]);
                }
            }
        }
        Ok(spec)
    }

    /// Checks the arguments as `RNNBase.__init__` does, in its order.
    fn check(&self) -> Result<(), InitError> {
        let refuse = |argument, value, reason| {
            Err(InitError::Argument {
                function: self.kind.name(),
                argument,
                value,
                reason,
                shape: None,
            })
        };
        if !(0.0..=1.0).contains(&self.dropout) {
            return refuse(
                "dropout",
                self.dropout,
                "must be a probability, from 0 to 1",
            );
        }
        if self.dropout > 0.0 && self.num_layers == 1 {
            log::warn!(
                "{}: dropout = {} has no effect with num_layers = 1: it drops the outputs of all \
                 layers but the last",
                self.kind,
                self.dropout
            );
        }
        for (argument, value) in [
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
        ] {
            if value <= 0 {
                return refuse(argument, value as f64, "must be greater than zero");
            }
        }
        if !(0..self.hidden_size).contains(&self.proj_size) {
            let reason = "must be at least 0 and smaller than hidden_size";
            return refuse("proj_size", self.proj_size as f64, reason);
        }
        Ok(())
    }

    /// Features of the hidden state that the next step and the next layer see.
    pub(super) fn output_size(&self) -> i64 {
        match self.proj_size {
            0 => self.hidden_size,
            projected => projected,
        }
    }

    pub(super) fn directions(&self) -> i64 {
        1 + i64::from(self.bidirectional)
    }

    /// `RNNBase.extra_repr`.
    fn repr(&self) -> String {
        let mut text = format!("{}({}, {}", self.kind, self.input_size, self.hidden_size);
        let mut unless = |default: bool, name: &str, value: &str| {
            if !default {
                text.push_str(&format!(", {name}={value}"));
            }
        };
        unless(
            self.proj_size == 0,
            "proj_size",
            &self.proj_size.to_string(),
        );
        unless(
            self.num_layers == 1,
            "num_layers",
            &self.num_layers.to_string(),
        );
        unless(self.bias, "bias", python_bool(false));
        unless(!self.batch_first, "batch_first", python_bool(true));
        unless(
            self.dropout == 0.0,
            "dropout",
            &python_repr::float(self.dropout),
        );
        unless(!self.bidirectional, "bidirectional", python_bool(true));
        text + ")"
    }
}

/// The gates of a layer or a cell: the blocks of rows in its weights.
pub(super) fn gates(kind: LayerKind) -> i64 {
    match kind {
        LayerKind::LSTM | LayerKind::LSTMCell => 4,
        LayerKind::GRU | LayerKind::GRUCell => 3,
        _ => 1,
    }
}

/// Whether a variable of this name belongs to a recurrent layer or cell.
#[cfg(feature = "tch")]
pub(crate) fn is_recurrent(name: &str) -> bool {
    let stems = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];
    stems.iter().any(|stem| name.starts_with(stem))
}

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let base = RnnBase::new(
            kind,
            printed.int("input_size", Some(0))?,
            printed.int("hidden_size", Some(1))?,
        );
        let base = RnnBase {
            proj_size: printed.optional_int("proj_size")?.unwrap_or(0),
            num_layers: printed.optional_int("num_layers")?.unwrap_or(1),
            bias: printed.flag("bias", true)?,
            bidirectional: printed.flag("bidirectional", false)?,
            ..base
        };
        Ok(base.spec()?)
    }

    /// The gates are known from the rows of the recurrent weight by the features of the hidden
    /// state. Some of the biases may be missing.
    fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [_, input_size] = *variables.parameter("weight_ih_l0")? else {
            return None;
        };
        let projection = variables.parameter("weight_hr_l0");
        let [_, hidden_size] = *projection.or(variables.parameter("weight_hh_l0"))? else {
            return None;
        };
        let names = || variables.parameters.iter().map(|(name, _)| *name);
        let layers = names().filter(|name| {
            let layer = name.strip_prefix("weight_ih_l");
            layer.is_some_and(|layer| !layer.ends_with("_reverse"))
        });
        let base = RnnBase {
            proj_size: projection.map_or(0, |shape| shape[0]),
            num_layers: layers.count() as i64,
            bias: names().any(|name| name.starts_with("bias")),
            bidirectional: names().any(|name| name.ends_with("_reverse")),
            ..RnnBase::new(kind, input_size, hidden_size)
        };
        if projection.is_some() && kind != LayerKind::LSTM {
            return None;
        }
        let spec = base.spec().ok()?;
        Some(variables.part_of(spec)?.drawn_in_order_of(variables))
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::RnnBase;
    use crate::error::{Context, InitError};
    use crate::nn::builder::{allocate, initialize};
    use crate::nn::init::{Init, PYTORCH_DEFAULT};
    use crate::nn::kind::LayerKind;
    use tch::Tensor;
    use tch::nn::Path;

    /// Options of a recurrent layer: tch's fields.
    ///
    /// Initialization is PyTorch's. The layout of sequences is tch's, so that a program keeps its
    /// meaning: **`batch_first` is true by default, in PyTorch it is false.**
    #[allow(clippy::upper_case_acronyms)] // tch's name.
    #[derive(Debug, Clone, Copy)]
    pub struct RNNConfig {
        /// Whether the layer has biases. PyTorch's default: yes.
        pub has_biases: bool,
        /// The number of stacked layers. PyTorch's default: 1.
        pub num_layers: i64,
        /// Probability to drop an output between two layers. PyTorch's default: 0.
        pub dropout: f64,
        /// Whether outputs are dropped. Default: yes, as in a module that PyTorch has just made.
        pub train: bool,
        /// Whether a second direction reads the sequence from its end. PyTorch's default: no.
        pub bidirectional: bool,
        /// Whether inputs and outputs are `[batch, sequence, features]` rather than
        /// `[sequence, batch, features]`. tch's default: yes. PyTorch's is no.
        pub batch_first: bool,
        /// Initializer of the input weights. Default: PyTorch's.
        pub w_ih_init: Init,
        /// Initializer of the recurrent weights. Default: PyTorch's.
        pub w_hh_init: Init,
        /// Initializer of the input biases. Default: PyTorch's.
        pub b_ih_init: Option<Init>,
        /// Initializer of the recurrent biases. Default: PyTorch's.
        pub b_hh_init: Option<Init>,
    }

    impl Default for RNNConfig {
        fn default() -> RNNConfig {
            RNNConfig {
                has_biases: true,
                num_layers: 1,
                dropout: 0.0,
                train: true,
                bidirectional: false,
                batch_first: true,
                w_ih_init: PYTORCH_DEFAULT,
                w_hh_init: PYTORCH_DEFAULT,
                b_ih_init: None,
                b_hh_init: None,
            }
        }
    }

    impl RNNConfig {
        /// The arguments of `RNNBase` for these options.
        pub(in crate::nn) fn base(
            &self,
            kind: LayerKind,
            [input_size, hidden_size, proj_size]: [i64; 3],
        ) -> RnnBase {
            RnnBase {
                kind,
                input_size,
                hidden_size,
                proj_size,
                num_layers: self.num_layers,
                bias: self.has_biases,
                batch_first: self.batch_first,
                dropout: self.dropout,
                bidirectional: self.bidirectional,
            }
        }

        /// The caller's initializers, each for all layers and directions.
        pub(in crate::nn) fn overrides(&self) -> [(&'static str, Init); 4] {
            [
                ("weight_ih_l*", self.w_ih_init),
                ("weight_hh_l*", self.w_hh_init),
                ("bias_ih_l*", self.b_ih_init.unwrap_or(PYTORCH_DEFAULT)),
                ("bias_hh_l*", self.b_hh_init.unwrap_or(PYTORCH_DEFAULT)),
            ]
        }
    }

    impl RnnBase {
        /// Makes the parameters at a path, `flat_weights` in libtorch's words.
        pub(in crate::nn) fn build(
            &self,
            path: &Path<'_>,
            config: &RNNConfig,
            cudnn_mode: i64,
        ) -> Result<Vec<Tensor>, InitError> {
            let spec = self.spec()?;
            let tensors = allocate(path, &spec)?;
            let weights: Vec<Tensor> = tensors.iter().map(|(_, t)| t.shallow_clone()).collect();
            self.flatten(&weights, cudnn_mode)?;
            initialize(path, &spec, tensors, &config.overrides())?;
            Ok(weights)
        }

        /// Puts the weights into one piece of memory, where cuDNN wants them: `flatten_parameters`.
        /// `mode` is `cudnnRNNMode_t`. Does nothing where cuDNN is not used.
        pub(in crate::nn) fn flatten(
            &self,
            weights: &[Tensor],
            mode: i64,
        ) -> Result<(), InitError> {
            let function = "flatten_parameters";
            let Some(first) = weights.first() else {
                return Ok(());
            };
            if !first.device().is_cuda() || !tch::Cuda::cudnn_is_available() {
                return Ok(());
            }
            let biases = if self.bias { 2 } else { 0 };
            let projections = i64::from(self.proj_size > 0);
            let _no_grad = tch::no_grad_guard();
            let flat = Tensor::f_internal_cudnn_rnn_flatten_weight(
                weights,
                2 + biases + projections,
                self.input_size,
                mode,
                self.hidden_size,
                self.proj_size,
                self.num_layers,
                self.batch_first,
                self.bidirectional,
            );
            flat.map(drop).context(function, first)
        }

        /// Looks at an input as `RNNBase.check_input` does.
        pub(in crate::nn) fn sequence(&self, input: &Tensor) -> Result<Sequence, InitError> {
            let name = self.kind.name();
            let shape = input.size();
            let batch_dim = if self.batch_first { 0 } else { 1 };
            let is_batched = match shape.len() {
                2 => false,
                3 => true,
                _ => {
                    return Err(InitError::Dimensions {
                        function: name,
                        supported: "2 or 3",
                        shape,
                    });
                }
            };
            if shape.last() != Some(&self.input_size) {
                return Err(InitError::Layer {
                    kind: name,
                    argument: "input",
                    message: format!(
                        "the last dimension of the input must be input_size = {}, got shape {shape:?}",
                        self.input_size
                    ),
                });
            }
            let input = if is_batched {
                input.shallow_clone()
            } else {
                input.f_unsqueeze(batch_dim).context(name, input)?
            };
            let batch = input.size()[batch_dim as usize];
            Ok(Sequence {
                kind: self.kind,
                layers: self.num_layers.saturating_mul(self.directions()),
                input,
                batch,
                batch_dim,
                is_batched,
            })
        }

        /// An input of one step as an input of a sequence of one.
        pub(in crate::nn) fn one_step(&self, input: &Tensor) -> Result<Tensor, InitError> {
            let sequence_dim = if self.batch_first { 1 } else { 0 };
            input
                .f_unsqueeze(sequence_dim)
                .context(self.kind.name(), input)
        }

        /// A state of zeros of `features`, like the weights.
        pub(in crate::nn) fn zero_state(
            &self,
            weights: &[Tensor],
            batch: i64,
            features: i64,
        ) -> Result<Tensor, InitError> {
            let name = self.kind.name();
            let Some(weight) = weights.first() else {
                return Err(InitError::Layer {
                    kind: name,
                    argument: "parameters",
                    message: "the layer has no weights".to_owned(),
                });
            };
            let layers = self.num_layers.saturating_mul(self.directions());
            let options = (weight.f_kind().context(name, weight)?, weight.device());
            Tensor::f_zeros([layers, batch, features], options).context(name, weight)
        }
    }

    /// An input with a batch dimension, and what goes with it.
    pub(in crate::nn) struct Sequence {
        kind: LayerKind,
        /// Hidden states: one per layer and direction.
        layers: i64,
        pub(in crate::nn) input: Tensor,
        batch: i64,
        batch_dim: i64,
        is_batched: bool,
    }

    impl Sequence {
        /// The initial state with a batch dimension: the caller's, after a check of its shape, or
        /// zeros.
        pub(in crate::nn) fn initial(
            &self,
            argument: &'static str,
            given: Option<&Tensor>,
            features: i64,
        ) -> Result<Tensor, InitError> {
            let name = self.kind.name();
            let Some(given) = given else {
                let shape = [self.layers, self.batch, features];
                let kind = self.input.f_kind().context(name, &self.input)?;
                return Tensor::f_zeros(shape, (kind, self.input.device()))
                    .context(name, &self.input);
            };
            let due = if self.is_batched {
                vec![self.layers, self.batch, features]
            } else {
                vec![self.layers, features]
            };
            if given.size() != due {
                return Err(InitError::Layer {
                    kind: name,
                    argument,
                    message: format!(
                        "{argument} must have shape {due:?}, got shape {:?}",
                        given.size()
                    ),
                });
            }
            if self.is_batched {
                Ok(given.shallow_clone())
            } else {
                given.f_unsqueeze(1).context(name, given)
            }
        }

        /// The output in the form of the input.
        pub(in crate::nn) fn output(&self, output: Tensor) -> Result<Tensor, InitError> {
            self.unbatched(output, self.batch_dim)
        }

        /// The state in the form of the input.
        pub(in crate::nn) fn state(&self, state: Tensor) -> Result<Tensor, InitError> {
            self.unbatched(state, 1)
        }

        fn unbatched(&self, tensor: Tensor, dim: i64) -> Result<Tensor, InitError> {
            if self.is_batched {
                return Ok(tensor);
            }
            tensor.f_squeeze_dim(dim).context(self.kind.name(), &tensor)
        }
    }
}
