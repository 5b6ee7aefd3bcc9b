//! `torch.nn.LSTM`: `torch/nn/modules/rnn.py`, PyTorch 2.13.

use super::recurrent::recurrent;
use super::rnn::{RNNConfig, RnnBase};
use crate::error::{Context, InitError};
use crate::nn::kind::LayerKind;
use crate::nn::tch_layers::or_panic;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{LSTMState, Path};

/// `torch.nn.LSTM`. tch's type of this name fixes `train` for good and knows no projections, by which a weight makes each
/// hidden state smaller before the next step and the next layer see it.
#[allow(clippy::upper_case_acronyms)] // tch's name.
#[derive(Debug)]
pub struct LSTM {
    /// The parameters, in PyTorch's order.
    pub flat_weights: Vec<Tensor>,
    /// Features of the input.
    pub input_size: i64,
    /// Features of the cell state.
    pub hidden_size: i64,
    /// Features of the hidden state; 0 for those of the cell state, without a projection.
    pub proj_size: i64,
    /// The options it was made with; `train` may be changed, and the functions of [`RNNT`](super::RNNT) take it as an argument.
    pub config: RNNConfig,
}

/// `torch.nn.LSTM(in_dim, hidden_dim)`: for every layer and direction `weight_ih_l{k}` of shape
/// `[4 * hidden_dim, in_dim]` (above the first layer: by the outputs of the layer below),
/// `weight_hh_l{k}` of shape `[4 * hidden_dim, hidden_dim]`, then `bias_ih_l{k}` and `bias_hh_l{k}` of shape
/// `[4 * hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`; the second direction's names end in `_reverse`.
///
/// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_). tch 0.26
/// draws the weights over other ranges and makes the biases zeros.
///
/// **`batch_first` is true by default, as in tch; in PyTorch it is false.** With either, `seq` finds the batch, where tch
/// takes the first dimension for it.
///
/// # Errors
///
/// [`InitError::Argument`] for sizes or `num_layers` that are not positive or a `dropout` outside 0 to 1,
/// [`InitError::Libtorch`] for sizes that are too large or a `VarStore` whose kind cannot be trained. A `dropout` with one
/// layer is logged as a warning.
///
/// ```
/// use tch::nn::RNN;
/// use tch::{Kind, Tensor};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let layer = tch_init::nn::f_lstm(vs.root() / "rnn", 3, 5, Default::default())?;
/// let input = Tensor::zeros([2, 7, 3], (Kind::Float, tch::Device::Cpu));
/// let (output, _state) = layer.seq(&input);
/// assert_eq!(output.size(), [2, 7, 5]);
/// assert_eq!(vs.variables()["rnn.weight_hh_l0"].size(), [4 * 5, 5]);
/// # Ok(())
/// # }
/// ```
pub fn f_lstm<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    c: RNNConfig,
) -> Result<LSTM, InitError> {
    projected_lstm(vs, in_dim, hidden_dim, 0, c)
}

/// [`f_lstm`] with tch's signature.
///
/// # Panics
///
/// Where the fallible one returns an error.
pub fn lstm<'a, T: Borrow<Path<'a>>>(vs: T, in_dim: i64, hidden_dim: i64, c: RNNConfig) -> LSTM {
    or_panic(f_lstm(vs, in_dim, hidden_dim, c))
}

/// `torch.nn.LSTM(in_dim, hidden_dim, proj_size=proj_size)`: for every layer and direction
/// `weight_ih_l{k}` of shape `[4 * hidden_dim, in_dim]` (above the first layer: by the outputs of
/// the layer below), `weight_hh_l{k}` of shape `[4 * hidden_dim, proj_size]`, `bias_ih_l{k}` and
/// `bias_hh_l{k}` of shape `[4 * hidden_dim]`, then `weight_hr_l{k}` of shape
/// `[proj_size, hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`; the second direction's
/// names end in `_reverse`.
///
/// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_). A `proj_size` of 0,
/// PyTorch's default, makes the LSTM without projections of [`f_lstm`].
///
/// **`batch_first` is true by default, as in tch; in PyTorch it is false.**
///
/// # Errors
///
/// [`InitError::Argument`] for sizes or `num_layers` that are not positive, a `proj_size` that is
/// negative or not smaller than `hidden_dim`, or a `dropout` outside 0 to 1,
/// [`InitError::Libtorch`] for sizes that are too large or a `VarStore` whose kind cannot be
/// trained. A `dropout` with one layer is logged as a warning.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::nn::projected_lstm;
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(Device::Cpu);
/// let lstm = projected_lstm(vs.root() / "lstm", 3, 5, 2, Default::default())?;
/// let input = Tensor::zeros([4, 7, 3], (Kind::Float, Device::Cpu));
/// let (output, state) = lstm.forward(&input, None)?;
/// assert_eq!(output.size(), [4, 7, 2]);
/// assert_eq!((state.h().size(), state.c().size()), (vec![1, 4, 2], vec![1, 4, 5]));
/// # Ok(())
/// # }
/// ```
pub fn projected_lstm<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    proj_size: i64,
    c: RNNConfig,
) -> Result<LSTM, InitError> {
    let base = c.base(LayerKind::LSTM, [in_dim, hidden_dim, proj_size]);
    let cudnn_mode = 2;
    Ok(LSTM {
        flat_weights: base.build(vs.borrow(), &c, cudnn_mode)?,
        input_size: in_dim,
        hidden_size: hidden_dim,
        proj_size,
        config: c,
    })
}

impl LSTM {
    /// The outputs of a sequence and the last states of every layer and direction.
    ///
    /// The input is `[batch, sequence, in_dim]`, or `[sequence, batch, in_dim]` if `batch_first` is
    /// false, or `[sequence, in_dim]`. The states are `[layers * directions, batch, proj_size]` and
    /// `[layers * directions, batch, hidden_dim]`, without the batch where the input has none;
    /// `None` means zeros. While `config.train` is set, a `dropout` draws from the default stream.
    /// There are no packed sequences.
    ///
    /// # Errors
    ///
    /// [`InitError::Dimensions`] or [`InitError::Layer`] for an input or a state of another shape,
    /// [`InitError::Libtorch`] for one of another kind or device.
    pub fn forward(
        &self,
        input: &Tensor,
        hx: Option<&LSTMState>,
    ) -> Result<(Tensor, LSTMState), InitError> {
        self.forward_t(input, hx, self.config.train)
    }

    /// [`forward`](LSTM::forward) with `train` in the place of `config.train`.
    ///
    /// # Errors
    ///
    /// As `forward`.
    pub fn forward_t(
        &self,
        input: &Tensor,
        hx: Option<&LSTMState>,
        train: bool,
    ) -> Result<(Tensor, LSTMState), InitError> {
        let base = self.base();
        let sequence = base.sequence(input)?;
        let h = sequence.initial("h", hx.map(|state| &state.0.0), base.output_size())?;
        let c = sequence.initial("c", hx.map(|state| &state.0.1), self.hidden_size)?;
        // libtorch knows a projection by the sizes of the two states.
        let (output, h, c) = sequence
            .input
            .f_lstm(
                &[h, c],
                &self.flat_weights,
                self.config.has_biases,
                self.config.num_layers,
                self.config.dropout,
                train,
                self.config.bidirectional,
                self.config.batch_first,
            )
            .context("LSTM", &sequence.input)?;
        let state = LSTMState((sequence.state(h)?, sequence.state(c)?));
        Ok((sequence.output(output)?, state))
    }

    fn base(&self) -> RnnBase {
        let sizes = [self.input_size, self.hidden_size, self.proj_size];
        self.config.base(LayerKind::LSTM, sizes)
    }

    fn zeros(&self, batch: i64) -> Result<LSTMState, InitError> {
        let base = self.base();
        let zeros = |features| base.zero_state(&self.flat_weights, batch, features);
        Ok(LSTMState((
            zeros(base.output_size())?,
            zeros(self.hidden_size)?,
        )))
    }
}

recurrent!(LSTM, LSTMState);
