//! LSTM and GRU layers of tch's types: `torch/nn/modules/rnn.py`, PyTorch 2.13.

use super::builder::{allocate, initialize};
use super::init::Init;
use super::named_tensors::NamedTensors;
use super::rnn::{RNNConfig, RnnBase};
use super::spec::{LayerSpec, refused};
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use crate::nn::tch_layers::or_panic;
use std::borrow::Borrow;
use tch::Device;
use tch::nn::{self, GRU, LSTM, Path, VarStore};

macro_rules! tch_layer {
    ($($name:ident, $fallible:ident, $kind:ident, $gates:literal, $cudnn_mode:literal;)*) => {$(
        #[doc = concat!("`torch.nn.", stringify!($kind), "(in_dim, hidden_dim)`: for every layer and direction `weight_ih_l{k}` of")]
        #[doc = concat!("shape `[", $gates, " * hidden_dim, in_dim]` (above the first layer: by the outputs of the layer")]
        #[doc = concat!("below), `weight_hh_l{k}` of shape `[", $gates, " * hidden_dim, hidden_dim]`, then `bias_ih_l{k}` and")]
        #[doc = concat!("`bias_hh_l{k}` of shape `[", $gates, " * hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`; the")]
        /// second direction's names end in `_reverse`.
        ///
        /// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_). tch 0.26
        /// draws the weights over other ranges and makes the biases zeros.
        ///
        /// **`batch_first` is true by default, as in tch; in PyTorch it is false.** The forward
        /// pass is tch's: its `seq` and `step` take the first dimension of the input for the
        /// batch, so with `batch_first: false` call `seq_init` with
        /// `zero_state(input.size()[1])`.
        ///
        /// # Errors
        ///
        /// [`InitError::Argument`] for sizes or `num_layers` that are not positive or a `dropout`
        /// outside 0 to 1, [`InitError::Layer`] for a layer without biases where cuDNN is used,
        /// which tch 0.26 cannot make, [`InitError::Libtorch`] for sizes that are too large or a
        /// `VarStore` whose kind cannot be trained. A `dropout` with one layer is logged as a
        /// warning.
        ///
        /// ```
        /// use tch::nn::RNN;
        /// use tch::{Kind, Tensor};
        ///
        /// # fn main() -> Result<(), tch_init::InitError> {
        /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
        #[doc = concat!("let layer = tch_init::nn::", stringify!($fallible), "(vs.root() / \"rnn\", 3, 5, Default::default())?;")]
        /// let input = Tensor::zeros([2, 7, 3], (Kind::Float, tch::Device::Cpu));
        /// let (output, _state) = layer.seq(&input);
        /// assert_eq!(output.size(), [2, 7, 5]);
        #[doc = concat!("assert_eq!(vs.variables()[\"rnn.weight_hh_l0\"].size(), [", $gates, " * 5, 5]);")]
        /// # Ok(())
        /// # }
        /// ```
        pub fn $fallible<'a, T: Borrow<Path<'a>>>(
            vs: T,
            in_dim: i64,
            hidden_dim: i64,
            c: RNNConfig,
        ) -> Result<$kind, InitError> {
            let base = c.base(LayerKind::$kind, [in_dim, hidden_dim, 0]);
            adopt(vs.borrow(), &base, c, $cudnn_mode, |scratch, config| {
                nn::$name(scratch, in_dim, hidden_dim, config)
            })
        }

        #[doc = concat!("[`", stringify!($fallible), "`] with tch's signature.")]
        ///
        /// # Panics
        ///
        /// As tch's, where the fallible one returns an error.
        pub fn $name<'a, T: Borrow<Path<'a>>>(
            vs: T,
            in_dim: i64,
            hidden_dim: i64,
            c: RNNConfig,
        ) -> $kind {
            or_panic($fallible(vs, in_dim, hidden_dim, c))
        }
    )*};
}

tch_layer! {
    lstm, f_lstm, LSTM, "4", 2;
    gru, f_gru, GRU, "3", 3;
}

/// Makes a layer whose fields are private with tch's constructor, and initializes its tensors.
fn adopt<L>(
    path: &Path<'_>,
    base: &RnnBase,
    config: RNNConfig,
    cudnn_mode: i64,
    make: impl FnOnce(&Path<'_>, nn::RNNConfig) -> L,
) -> Result<L, InitError> {
    let spec = base.spec()?;
    preflight(path, base, &spec, cudnn_mode)?;
    let mut scratch = VarStore::new(path.device());
    scratch.set_kind(path.kind());
    let layer = make(&scratch.root(), config.that_draws_nothing());
    let mut made = scratch.variables();
    let tensors = spec.variables().map(|(name, _)| match made.remove(&name) {
        Some(tensor) => Ok((name, tensor)),
        None => Err(refused(
            base.kind,
            "parameters",
            format!("tch made no {name}"),
        )),
    });
    let tensors = tensors.collect::<Result<_, _>>()?;
    let tensors = NamedTensors::new(tensors, (path.kind(), path.device()));
    initialize(path, &spec, tensors, &config.overrides())?;
    Ok(layer)
}

/// Asks libtorch for what tch's constructor will ask for, since that one panics where libtorch
/// rejects. Nothing of it is kept.
fn preflight(
    path: &Path<'_>,
    base: &RnnBase,
    spec: &LayerSpec,
    cudnn_mode: i64,
) -> Result<(), InitError> {
    let on_cuda = matches!(path.device(), Device::Cuda(_));
    if on_cuda && !base.bias && tch::Cuda::cudnn_is_available() {
        // It hands cuDNN four weights a layer whether or not there are biases.
        let message = "has_biases = false: tch 0.26 cannot make it on CUDA";
        return Err(refused(base.kind, "has_biases", message));
    }
    base.flatten(&allocate(path, spec)?.into_tensors(), cudnn_mode)
}

impl RNNConfig {
    /// tch's options of a layer that draws nothing when it is made.
    fn that_draws_nothing(self) -> nn::RNNConfig {
        nn::RNNConfig {
            has_biases: self.has_biases,
            num_layers: self.num_layers,
            dropout: self.dropout,
            train: self.train,
            bidirectional: self.bidirectional,
            batch_first: self.batch_first,
            w_ih_init: Init::Const(0.0),
            w_hh_init: Init::Const(0.0),
            b_ih_init: Some(Init::Const(0.0)),
            b_hh_init: Some(Init::Const(0.0)),
        }
    }
}
