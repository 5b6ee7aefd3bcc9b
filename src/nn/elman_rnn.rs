//! `torch.nn.RNN`, which tch lacks: `torch/nn/modules/rnn.py`, PyTorch 2.13.

use super::recurrent::recurrent;
use super::rnn::{RNNConfig, RnnBase, RnnNonlinearity};
use crate::error::{Context, InitError};
use crate::nn::kind::LayerKind;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::Path;

/// `torch.nn.RNN`: layers of Elman networks. (tch gives the name `RNN` to the trait that this
/// layer has.)
#[derive(Debug)]
pub struct ElmanRnn {
    /// The parameters, in PyTorch's order.
    pub flat_weights: Vec<Tensor>,
    /// The function applied to the sum of input and hidden state.
    pub nonlinearity: RnnNonlinearity,
    /// Features of the input.
    pub input_size: i64,
    /// Features of the hidden state.
    pub hidden_size: i64,
    /// The options it was made with; `train` may be changed, and the functions of [`RNNT`](super::RNNT) take it as an argument.
    pub config: RNNConfig,
}

/// `torch.nn.RNN(in_dim, hidden_dim, nonlinearity=nonlinearity)`: for every layer and direction
/// `weight_ih_l{k}` of shape `[hidden_dim, in_dim]` (above the first layer: by the outputs of the
/// layer below), `weight_hh_l{k}` of shape `[hidden_dim, hidden_dim]`, then `bias_ih_l{k}` and
/// `bias_hh_l{k}` of shape `[hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`; the second
/// direction's names end in `_reverse`.
///
/// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_).
///
/// **`batch_first` is true by default, as in tch; in PyTorch it is false.**
///
/// # Errors
///
/// [`InitError::Argument`] for sizes or `num_layers` that are not positive or a `dropout` outside
/// 0 to 1, [`InitError::Libtorch`] for sizes that are too large or a `VarStore` whose kind cannot
/// be trained. A `dropout` with one layer is logged as a warning.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::nn::{RnnNonlinearity, rnn};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(Device::Cpu);
/// let rnn = rnn(vs.root() / "rnn", 3, 5, RnnNonlinearity::Relu, Default::default())?;
/// let input = Tensor::zeros([2, 7, 3], (Kind::Float, Device::Cpu));
/// let (output, hidden) = rnn.forward(&input, None)?;
/// assert_eq!((output.size(), hidden.size()), (vec![2, 7, 5], vec![1, 2, 5]));
/// # Ok(())
/// # }
/// ```
pub fn rnn<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    nonlinearity: RnnNonlinearity,
    c: RNNConfig,
) -> Result<ElmanRnn, InitError> {
    let base = c.base(LayerKind::RNN, [in_dim, hidden_dim, 0]);
    let cudnn_mode = match nonlinearity {
        RnnNonlinearity::Relu => 0,
        RnnNonlinearity::Tanh => 1,
    };
    Ok(ElmanRnn {
        flat_weights: base.build(vs.borrow(), &c, cudnn_mode)?,
        nonlinearity,
        input_size: in_dim,
        hidden_size: hidden_dim,
        config: c,
    })
}

impl ElmanRnn {
    /// The outputs of a sequence and the last hidden state of every layer and direction.
    ///
    /// The input is `[batch, sequence, in_dim]`, or `[sequence, batch, in_dim]` if `batch_first` is
    /// false, or `[sequence, in_dim]`. The state is `[layers * directions, batch, hidden_dim]`,
    /// without the batch where the input has none; `None` means zeros. While `config.train` is set,
    /// a `dropout` draws from the default stream. There are no packed sequences.
    ///
    /// # Errors
    ///
    /// [`InitError::Dimensions`] or [`InitError::Layer`] for an input or a state of another shape,
    /// [`InitError::Libtorch`] for one of another kind or device.
    pub fn forward(
        &self,
        input: &Tensor,
        hx: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor), InitError> {
        self.forward_t(input, hx, self.config.train)
    }

    /// [`forward`](ElmanRnn::forward) with `train` in the place of `config.train`.
    ///
    /// # Errors
    ///
    /// As `forward`.
    pub fn forward_t(
        &self,
        input: &Tensor,
        hx: Option<&Tensor>,
        train: bool,
    ) -> Result<(Tensor, Tensor), InitError> {
        let base = self.base();
        let sequence = base.sequence(input)?;
        let hx = sequence.initial("hx", hx, base.output_size())?;
        let run = match self.nonlinearity {
            RnnNonlinearity::Tanh => Tensor::f_rnn_tanh,
            RnnNonlinearity::Relu => Tensor::f_rnn_relu,
        };
        let (output, hidden) = run(
            &sequence.input,
            &hx,
            &self.flat_weights,
            self.config.has_biases,
            self.config.num_layers,
            self.config.dropout,
            train,
            self.config.bidirectional,
            self.config.batch_first,
        )
        .context("RNN", &sequence.input)?;
        Ok((sequence.output(output)?, sequence.state(hidden)?))
    }

    fn base(&self) -> RnnBase {
        let sizes = [self.input_size, self.hidden_size, 0];
        self.config.base(LayerKind::RNN, sizes)
    }

    fn zeros(&self, batch: i64) -> Result<Tensor, InitError> {
        let base = self.base();
        base.zero_state(&self.flat_weights, batch, base.output_size())
    }
}

recurrent!(ElmanRnn, Tensor);
