//! `torch.nn.GRU`: `torch/nn/modules/rnn.py`, PyTorch 2.13.

use super::recurrent::recurrent;
use super::rnn::{RNNConfig, RnnBase};
use crate::error::{Context, InitError};
use crate::nn::kind::LayerKind;
use crate::nn::tch_layers::or_panic;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{GRUState, Path};

/// `torch.nn.GRU`. tch's type of this name fixes `train` for good.
#[allow(clippy::upper_case_acronyms)] // tch's name.
#[derive(Debug)]
pub struct GRU {
    /// The parameters, in PyTorch's order.
    pub flat_weights: Vec<Tensor>,
    /// Features of the input.
    pub input_size: i64,
    /// Features of the hidden state.
    pub hidden_size: i64,
    /// The options it was made with; `train` may be changed, and the functions of [`RNNT`](super::RNNT) take it as an argument.
    pub config: RNNConfig,
}

/// `torch.nn.GRU(in_dim, hidden_dim)`: for every layer and direction `weight_ih_l{k}` of shape
/// `[3 * hidden_dim, in_dim]` (above the first layer: by the outputs of the layer below),
/// `weight_hh_l{k}` of shape `[3 * hidden_dim, hidden_dim]`, then `bias_ih_l{k}` and `bias_hh_l{k}` of shape
/// `[3 * hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`; the second direction's names end in `_reverse`.
///
/// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_). tch 0.26
/// draws the weights over other ranges and makes the biases zeros.
///
/// **`batch_first` is true by default, as in tch; in PyTorch it is false.** With either, `seq` finds the batch, where tch
/// takes the first dimension for it.
///
/// # Errors
///
/// As [`f_lstm`](super::f_lstm).
///
/// ```
/// use tch::nn::RNN;
/// use tch::{Kind, Tensor};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let layer = tch_init::nn::f_gru(vs.root() / "rnn", 3, 5, Default::default())?;
/// let input = Tensor::zeros([2, 7, 3], (Kind::Float, tch::Device::Cpu));
/// let (output, _state) = layer.seq(&input);
/// assert_eq!(output.size(), [2, 7, 5]);
/// assert_eq!(vs.variables()["rnn.weight_hh_l0"].size(), [3 * 5, 5]);
/// # Ok(())
/// # }
/// ```
pub fn f_gru<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    c: RNNConfig,
) -> Result<GRU, InitError> {
    let base = c.base(LayerKind::GRU, [in_dim, hidden_dim, 0]);
    let cudnn_mode = 3;
    Ok(GRU {
        flat_weights: base.build(vs.borrow(), &c, cudnn_mode)?,
        input_size: in_dim,
        hidden_size: hidden_dim,
        config: c,
    })
}

/// [`f_gru`] with tch's signature.
///
/// # Panics
///
/// Where the fallible one returns an error.
pub fn gru<'a, T: Borrow<Path<'a>>>(vs: T, in_dim: i64, hidden_dim: i64, c: RNNConfig) -> GRU {
    or_panic(f_gru(vs, in_dim, hidden_dim, c))
}

impl GRU {
    /// The outputs of a sequence and the last hidden state of every layer and direction: shapes, `train` and draws as in
    /// [`ElmanRnn::forward`](super::ElmanRnn::forward).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn forward(
        &self,
        input: &Tensor,
        hx: Option<&GRUState>,
    ) -> Result<(Tensor, GRUState), InitError> {
        self.forward_t(input, hx, self.config.train)
    }

    /// [`forward`](GRU::forward) with `train` in the place of `config.train`.
    ///
    /// # Errors
    ///
    /// As `forward`.
    pub fn forward_t(
        &self,
        input: &Tensor,
        hx: Option<&GRUState>,
        train: bool,
    ) -> Result<(Tensor, GRUState), InitError> {
        let base = self.base();
        let sequence = base.sequence(input)?;
        let hx = sequence.initial("hx", hx.map(|state| &state.0), self.hidden_size)?;
        let (output, hidden) = sequence
            .input
            .f_gru(
                &hx,
                &self.flat_weights,
                self.config.has_biases,
                self.config.num_layers,
                self.config.dropout,
                train,
                self.config.bidirectional,
                self.config.batch_first,
            )
            .context("GRU", &sequence.input)?;
        Ok((sequence.output(output)?, GRUState(sequence.state(hidden)?)))
    }

    fn base(&self) -> RnnBase {
        let sizes = [self.input_size, self.hidden_size, 0];
        self.config.base(LayerKind::GRU, sizes)
    }

    fn zeros(&self, batch: i64) -> Result<GRUState, InitError> {
        let zeros = self
            .base()
            .zero_state(&self.flat_weights, batch, self.hidden_size)?;
        Ok(GRUState(zeros))
    }
}

recurrent!(GRU, GRUState);
