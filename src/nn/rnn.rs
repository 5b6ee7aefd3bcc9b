//! What recurrent layers have in common: their options, parameters and sequences.

use super::LayerKind;
use super::build::{Build, python_bool};
use super::init::{Init, PYTORCH_DEFAULT};
use super::start::Start;
use crate::error::{Context, InitError};
use crate::repr::python_float;
use tch::Tensor;

/// Options of a recurrent layer: tch's fields.
///
/// What a layer starts with is as in PyTorch. What its sequences look like is as in tch, so that a
/// program keeps its meaning: **`batch_first` is true by default, in PyTorch it is false.**
#[allow(clippy::upper_case_acronyms)] // tch's name.
#[derive(Debug, Clone, Copy)]
pub struct RNNConfig {
    /// Whether there are biases. PyTorch's default: yes.
    pub has_biases: bool,
    /// Layers on top of each other. PyTorch's default: 1.
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
    /// How the weights of the inputs start. Default: as in PyTorch.
    pub w_ih_init: Init,
    /// How the weights of the hidden state start. Default: as in PyTorch.
    pub w_hh_init: Init,
    /// How the biases of the inputs start. Default: as in PyTorch.
    pub b_ih_init: Option<Init>,
    /// How the biases of the hidden state start. Default: as in PyTorch.
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

/// What an Elman network applies to the sum of input and hidden state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RnnNonlinearity {
    /// `tanh`, PyTorch's default.
    #[default]
    Tanh,
    /// `relu`.
    Relu,
}

/// Sizes and options of a recurrent layer: `RNNBase`, `torch/nn/modules/rnn.py`, PyTorch 2.13.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recurrent {
    pub(super) kind: LayerKind,
    pub(super) input_size: i64,
    pub(super) hidden_size: i64,
    /// 0 without a projection.
    pub(super) proj_size: i64,
    pub(super) config: RNNConfig,
}

impl Recurrent {
    /// What `RNNBase.__init__` demands, in its order.
    pub(super) fn check(&self) -> Result<(), InitError> {
        let refuse = |argument, value, reason| {
            Err(InitError::Argument {
                function: self.kind.name(),
                argument,
                value,
                reason,
                shape: None,
            })
        };
        let RNNConfig {
            dropout,
            num_layers,
            ..
        } = self.config;
        if !(0.0..=1.0).contains(&dropout) {
            return refuse("dropout", dropout, "must be a probability, from 0 to 1");
        }
        if dropout > 0.0 && num_layers == 1 {
            log::warn!(
                "{}: dropout = {dropout} has no effect with num_layers = 1: it drops the outputs \
                 of all layers but the last",
                self.kind
            );
        }
        for (argument, value) in [
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", num_layers),
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

    fn directions(&self) -> i64 {
        1 + i64::from(self.config.bidirectional)
    }

    /// Names and shapes of the parameters, in PyTorch's order. Products that are too large become
    /// sizes that libtorch refuses.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (String, Vec<i64>)> + use<> {
        let this = *self;
        let gates = match this.kind {
            LayerKind::LSTM => 4,
            LayerKind::GRU => 3,
            _ => 1,
        };
        let rows = this.hidden_size.saturating_mul(gates);
        let above = this.output_size().saturating_mul(this.directions());
        let places = (0..this.config.num_layers).flat_map(move |layer| {
            let suffixes = ["", "_reverse"].into_iter();
            let suffixes = suffixes.take(1 + usize::from(this.config.bidirectional));
            suffixes.map(move |suffix| (layer, suffix))
        });
        places.flat_map(move |(layer, suffix)| {
            let columns = if layer == 0 { this.input_size } else { above };
            let mut of_place = vec![
                ("weight_ih", vec![rows, columns]),
                ("weight_hh", vec![rows, this.output_size()]),
            ];
            if this.config.has_biases {
                of_place.extend([("bias_ih", vec![rows]), ("bias_hh", vec![rows])]);
            }
            if this.proj_size > 0 {
                of_place.push(("weight_hr", vec![this.proj_size, this.hidden_size]));
            }
            let named = of_place.into_iter();
            named.map(move |(stem, shape)| (format!("{stem}_l{layer}{suffix}"), shape))
        })
    }

    /// Declares all parameters as one layer's, `flat_weights` in libtorch's words.
    pub(super) fn declare(
        &self,
        build: &mut Build<'_>,
        cudnn_mode: i64,
    ) -> Result<Vec<Tensor>, InitError> {
        self.check()?;
        build.layer(self.kind, self.start(), |build| {
            let weights = self
                .parameters()
                .map(|(name, shape)| build.parameter(&name, &shape))
                .collect::<Result<Vec<_>, _>>()?;
            self.flatten(&weights, cudnn_mode)?;
            Ok((weights, self.repr()))
        })
    }

    /// Puts the weights into one piece of memory, where cuDNN wants them: `flatten_parameters`.
    /// `mode` is `cudnnRNNMode_t`. Does nothing where cuDNN is not used.
    pub(super) fn flatten(&self, weights: &[Tensor], mode: i64) -> Result<(), InitError> {
        let function = "flatten_parameters";
        let Some(first) = weights.first() else {
            return Ok(());
        };
        if !first.device().is_cuda() || !tch::Cuda::cudnn_is_available() {
            return Ok(());
        }
        let biases = if self.config.has_biases { 2 } else { 0 };
        let projections = i64::from(self.proj_size > 0);
        let _no_grad = tch::no_grad_guard();
        let flat = Tensor::f_internal_cudnn_rnn_flatten_weight(
            weights,
            2 + biases + projections,
            self.input_size,
            mode,
            self.hidden_size,
            self.proj_size,
            self.config.num_layers,
            self.config.batch_first,
            self.config.bidirectional,
        );
        flat.map(drop).context(function, first)
    }

    pub(super) fn start(&self) -> Start {
        Start::Recurrent {
            hidden_size: self.hidden_size,
        }
    }

    /// The caller's initialisers, each for all layers and directions.
    pub(super) fn overrides(&self) -> [(&'static str, Init); 4] {
        let RNNConfig {
            b_ih_init,
            b_hh_init,
            ..
        } = self.config;
        [
            ("weight_ih_l*", self.config.w_ih_init),
            ("weight_hh_l*", self.config.w_hh_init),
            ("bias_ih_l*", b_ih_init.unwrap_or(PYTORCH_DEFAULT)),
            ("bias_hh_l*", b_hh_init.unwrap_or(PYTORCH_DEFAULT)),
        ]
    }

    /// `RNNBase.extra_repr`.
    pub(super) fn repr(&self) -> String {
        let c = &self.config;
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
        unless(c.num_layers == 1, "num_layers", &c.num_layers.to_string());
        unless(c.has_biases, "bias", python_bool(false));
        unless(!c.batch_first, "batch_first", python_bool(true));
        unless(c.dropout == 0.0, "dropout", &python_float(c.dropout));
        unless(!c.bidirectional, "bidirectional", python_bool(true));
        text + ")"
    }

    /// Looks at an input as `RNNBase.check_input` does.
    pub(super) fn sequence(&self, input: &Tensor) -> Result<Sequence, InitError> {
        let name = self.kind.name();
        let shape = input.size();
        let batch_dim = if self.config.batch_first { 0 } else { 1 };
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
            layers: self.config.num_layers.saturating_mul(self.directions()),
            input,
            batch,
            batch_dim,
            is_batched,
        })
    }

    /// An input of one step as an input of a sequence of one.
    pub(super) fn one_step(&self, input: &Tensor) -> Result<Tensor, InitError> {
        let sequence_dim = if self.config.batch_first { 1 } else { 0 };
        input
            .f_unsqueeze(sequence_dim)
            .context(self.kind.name(), input)
    }

    /// A state of zeros of `features`, like the weights.
    pub(super) fn zero_state(
        &self,
        weights: &[Tensor],
        batch: i64,
        features: i64,
    ) -> Result<Tensor, InitError> {
        let name = self.kind.name();
        let Some(weight) = weights.first() else {
            return Err(InitError::Layer {
                kind: name,
                message: "the layer has no weights".to_owned(),
            });
        };
        let layers = self.config.num_layers.saturating_mul(self.directions());
        let options = (weight.f_kind().context(name, weight)?, weight.device());
        Tensor::f_zeros([layers, batch, features], options).context(name, weight)
    }
}

/// An input with a batch dimension, and what goes with it.
pub(super) struct Sequence {
    kind: LayerKind,
    /// Hidden states: one a layer and direction.
    layers: i64,
    pub(super) input: Tensor,
    batch: i64,
    batch_dim: i64,
    is_batched: bool,
}

impl Sequence {
    /// The initial state with a batch dimension: the caller's, if it has the shape that is due, or
    /// zeros.
    pub(super) fn initial(
        &self,
        argument: &str,
        given: Option<&Tensor>,
        features: i64,
    ) -> Result<Tensor, InitError> {
        let name = self.kind.name();
        let Some(given) = given else {
            let shape = [self.layers, self.batch, features];
            let kind = self.input.f_kind().context(name, &self.input)?;
            return Tensor::f_zeros(shape, (kind, self.input.device())).context(name, &self.input);
        };
        let due = if self.is_batched {
            vec![self.layers, self.batch, features]
        } else {
            vec![self.layers, features]
        };
        if given.size() != due {
            return Err(InitError::Layer {
                kind: name,
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
    pub(super) fn output(&self, output: Tensor) -> Result<Tensor, InitError> {
        self.unbatched(output, self.batch_dim)
    }

    /// The state in the form of the input.
    pub(super) fn state(&self, state: Tensor) -> Result<Tensor, InitError> {
        self.unbatched(state, 1)
    }

    fn unbatched(&self, tensor: Tensor, dim: i64) -> Result<Tensor, InitError> {
        if self.is_batched {
            return Ok(tensor);
        }
        tensor.f_squeeze_dim(dim).context(self.kind.name(), &tensor)
    }
}
