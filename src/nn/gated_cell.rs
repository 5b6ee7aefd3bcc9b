//! `torch.nn.LSTMCell` and `torch.nn.GRUCell`, which tch lacks: `torch/nn/modules/rnn.py`,
//! PyTorch 2.13.

use super::rnn_cell::{RNNCellConfig, Step, make_cell};
use crate::error::{Context, InitError};
use crate::nn::kind::LayerKind;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::Path;

/// `torch.nn.LSTMCell`.
#[derive(Debug)]
pub struct LstmCell {
    /// `weight_ih`, the weight of the input.
    pub w_ih: Tensor,
    /// `weight_hh`, the weight of the hidden state.
    pub w_hh: Tensor,
    /// `bias_ih`, the bias of the input.
    pub b_ih: Option<Tensor>,
    /// `bias_hh`, the bias of the hidden state.
    pub b_hh: Option<Tensor>,
}

/// `torch.nn.LSTMCell(in_dim, hidden_dim)`: `weight_ih` of shape `[4 * hidden_dim, in_dim]`,
/// `weight_hh` of shape `[4 * hidden_dim, hidden_dim]`, then `bias_ih` and `bias_hh` of shape
/// `[4 * hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`.
///
/// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_).
///
/// # Errors
///
/// As [`rnn_cell`](super::rnn_cell).
///
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(Device::Cpu);
/// let cell = tch_init::nn::lstm_cell(vs.root() / "cell", 3, 5, Default::default())?;
/// let input = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
/// let (hidden, state) = cell.forward(&input, None)?;
/// let (hidden, _) = cell.forward(&input, Some((&hidden, &state)))?;
/// assert_eq!(hidden.size(), [2, 5]);
/// # Ok(())
/// # }
/// ```
pub fn lstm_cell<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    config: RNNCellConfig,
) -> Result<LstmCell, InitError> {
    let sizes = [in_dim, hidden_dim];
    let made = make_cell(vs.borrow(), LayerKind::LSTMCell, sizes, config, "")?;
    let (w_ih, w_hh, b_ih, b_hh) = made;
    Ok(LstmCell {
        w_ih,
        w_hh,
        b_ih,
        b_hh,
    })
}

impl LstmCell {
    /// The next hidden state and cell state, both of shape `[batch, hidden_dim]`, after an input of
    /// shape `[batch, in_dim]`; without the batch if the input has none. `None` means states of
    /// zeros.
    ///
    /// # Errors
    ///
    /// As [`RnnCell::forward`](super::RnnCell::forward).
    pub fn forward(
        &self,
        input: &Tensor,
        hx: Option<(&Tensor, &Tensor)>,
    ) -> Result<(Tensor, Tensor), InitError> {
        let name = "LSTMCell";
        let step = Step::new(name, input, &self.w_hh)?;
        let h = step.state(hx.map(|(h, _)| h))?;
        let c = step.state(hx.map(|(_, c)| c))?;
        let (b_ih, b_hh) = (self.b_ih.as_ref(), self.b_hh.as_ref());
        let (h, c) = step
            .input
            .f_lstm_cell(&[&h, &c], &self.w_ih, &self.w_hh, b_ih, b_hh)
            .context(name, input)?;
        Ok((step.output(h)?, step.output(c)?))
    }
}

/// `torch.nn.GRUCell`.
#[derive(Debug)]
pub struct GruCell {
    /// `weight_ih`, the weight of the input.
    pub w_ih: Tensor,
    /// `weight_hh`, the weight of the hidden state.
    pub w_hh: Tensor,
    /// `bias_ih`, the bias of the input.
    pub b_ih: Option<Tensor>,
    /// `bias_hh`, the bias of the hidden state.
    pub b_hh: Option<Tensor>,
}

/// `torch.nn.GRUCell(in_dim, hidden_dim)`: `weight_ih` of shape `[3 * hidden_dim, in_dim]`,
/// `weight_hh` of shape `[3 * hidden_dim, hidden_dim]`, then `bias_ih` and `bias_hh` of shape
/// `[3 * hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`.
///
/// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_).
///
/// # Errors
///
/// As [`rnn_cell`](super::rnn_cell).
///
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(Device::Cpu);
/// let cell = tch_init::nn::gru_cell(vs.root() / "cell", 3, 5, Default::default())?;
/// let input = Tensor::zeros([3], (Kind::Float, Device::Cpu));
/// assert_eq!(cell.forward(&input, None)?.size(), [5]);
/// # Ok(())
/// # }
/// ```
pub fn gru_cell<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    config: RNNCellConfig,
) -> Result<GruCell, InitError> {
    let sizes = [in_dim, hidden_dim];
    let made = make_cell(vs.borrow(), LayerKind::GRUCell, sizes, config, "")?;
    let (w_ih, w_hh, b_ih, b_hh) = made;
    Ok(GruCell {
        w_ih,
        w_hh,
        b_ih,
        b_hh,
    })
}

impl GruCell {
    /// The next hidden state, as [`RnnCell::forward`](super::RnnCell::forward).
    ///
    /// # Errors
    ///
    /// As [`RnnCell::forward`](super::RnnCell::forward).
    pub fn forward(&self, input: &Tensor, hx: Option<&Tensor>) -> Result<Tensor, InitError> {
        let name = "GRUCell";
        let step = Step::new(name, input, &self.w_hh)?;
        let hx = step.state(hx)?;
        let (b_ih, b_hh) = (self.b_ih.as_ref(), self.b_hh.as_ref());
        let next = step
            .input
            .f_gru_cell(&hx, &self.w_ih, &self.w_hh, b_ih, b_hh);
        step.output(next.context(name, input)?)
    }
}
