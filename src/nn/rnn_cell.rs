//! `torch.nn.RNNCell`, and what all recurrent cells have in common: `torch/nn/modules/rnn.py`,
//! PyTorch 2.13. tch has no cells.

use super::build::{Build, make, python_bool};
use super::init::{Init, PYTORCH_DEFAULT};
use super::rnn::RnnNonlinearity;
use super::start::Start;
use super::{LayerKind, or_panic};
use crate::error::{Context, InitError};
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::Path;

/// Options of a recurrent cell: those of [`RNNConfig`](super::RNNConfig) that one step has.
#[allow(clippy::upper_case_acronyms)] // As tch's RNNConfig.
#[derive(Debug, Clone, Copy)]
pub struct RNNCellConfig {
    /// Whether there are biases. PyTorch's default: yes.
    pub bias: bool,
    /// How the weight of the input starts. Default: as in PyTorch.
    pub w_ih_init: Init,
    /// How the weight of the hidden state starts. Default: as in PyTorch.
    pub w_hh_init: Init,
    /// How the bias of the input starts. Default: as in PyTorch.
    pub b_ih_init: Option<Init>,
    /// How the bias of the hidden state starts. Default: as in PyTorch.
    pub b_hh_init: Option<Init>,
}

impl Default for RNNCellConfig {
    fn default() -> RNNCellConfig {
        RNNCellConfig {
            bias: true,
            w_ih_init: PYTORCH_DEFAULT,
            w_hh_init: PYTORCH_DEFAULT,
            b_ih_init: None,
            b_hh_init: None,
        }
    }
}

/// `torch.nn.RNNCell`.
#[derive(Debug)]
pub struct RnnCell {
    /// `weight_ih`, the weight of the input.
    pub w_ih: Tensor,
    /// `weight_hh`, the weight of the hidden state.
    pub w_hh: Tensor,
    /// `bias_ih`, the bias of the input.
    pub b_ih: Option<Tensor>,
    /// `bias_hh`, the bias of the hidden state.
    pub b_hh: Option<Tensor>,
    /// What is applied to the sum of input and hidden state.
    pub nonlinearity: RnnNonlinearity,
}

/// `torch.nn.RNNCell(in_dim, hidden_dim, nonlinearity=nonlinearity)`: `weight_ih` of shape
/// `[hidden_dim, in_dim]`, `weight_hh` of shape `[hidden_dim, hidden_dim]`, then `bias_ih` and
/// `bias_hh` of shape `[hidden_dim]`, all uniform over `+-1/sqrt(hidden_dim)`.
///
/// Draws the parameters in this order, as [`uniform_`](crate::init::uniform_).
///
/// # Errors
///
/// [`InitError::Libtorch`] for sizes that are negative or too large or a `VarStore` whose kind
/// cannot be trained.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::nn::{RnnNonlinearity, f_rnn_cell};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(Device::Cpu);
/// let cell = f_rnn_cell(vs.root() / "cell", 3, 5, RnnNonlinearity::Tanh, Default::default())?;
/// let mut hidden = None;
/// for _ in 0..4 {
///     let input = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
///     hidden = Some(cell.f_forward(&input, hidden.as_ref())?);
/// }
/// assert_eq!(hidden.map(|hidden| hidden.size()), Some(vec![2, 5]));
/// # Ok(())
/// # }
/// ```
pub fn f_rnn_cell<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    nonlinearity: RnnNonlinearity,
    config: RNNCellConfig,
) -> Result<RnnCell, InitError> {
    let more = match nonlinearity {
        RnnNonlinearity::Tanh => "",
        RnnNonlinearity::Relu => ", nonlinearity=relu",
    };
    let sizes = [in_dim, hidden_dim];
    let made = make_cell(vs.borrow(), LayerKind::RNNCell, sizes, config, more)?;
    let (w_ih, w_hh, b_ih, b_hh) = made;
    Ok(RnnCell {
        w_ih,
        w_hh,
        b_ih,
        b_hh,
        nonlinearity,
    })
}

/// [`f_rnn_cell`], panicking as tch's constructors do.
///
/// # Panics
///
/// Where [`f_rnn_cell`] returns an error.
pub fn rnn_cell<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    hidden_dim: i64,
    nonlinearity: RnnNonlinearity,
    config: RNNCellConfig,
) -> RnnCell {
    or_panic(f_rnn_cell(vs, in_dim, hidden_dim, nonlinearity, config))
}

impl RnnCell {
    /// The next hidden state, of shape `[batch, hidden_dim]`, after an input of shape
    /// `[batch, in_dim]`; neither has a batch if the input has none. `None` stands for a hidden
    /// state of zeros.
    ///
    /// # Errors
    ///
    /// [`InitError::Dimensions`] or [`InitError::Libtorch`] for an input or a state that does not
    /// fit.
    pub fn f_forward(&self, input: &Tensor, hx: Option<&Tensor>) -> Result<Tensor, InitError> {
        let name = "RNNCell";
        let step = Step::new(name, input, &self.w_hh)?;
        let hx = step.state(hx)?;
        let run = match self.nonlinearity {
            RnnNonlinearity::Tanh => Tensor::f_rnn_tanh_cell,
            RnnNonlinearity::Relu => Tensor::f_rnn_relu_cell,
        };
        let (b_ih, b_hh) = (self.b_ih.as_ref(), self.b_hh.as_ref());
        let next = run(&step.input, &hx, &self.w_ih, &self.w_hh, b_ih, b_hh);
        step.output(next.context(name, input)?)
    }

    /// [`RnnCell::f_forward`], panicking where it returns an error.
    ///
    /// # Panics
    ///
    /// Where [`RnnCell::f_forward`] returns an error.
    pub fn forward(&self, input: &Tensor, hx: Option<&Tensor>) -> Tensor {
        or_panic(self.f_forward(input, hx))
    }
}

/// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
pub(super) type Weights = (Tensor, Tensor, Option<Tensor>, Option<Tensor>);

/// `RNNCellBase.__init__` and `extra_repr`; `more` is what follows in the latter.
pub(super) fn make_cell(
    path: &Path<'_>,
    kind: LayerKind,
    [input_size, hidden_size]: [i64; 2],
    config: RNNCellConfig,
    more: &str,
) -> Result<Weights, InitError> {
    let gates = match kind {
        LayerKind::LSTMCell => 4,
        LayerKind::GRUCell => 3,
        _ => 1,
    };
    // A product that is too large becomes a size that libtorch refuses.
    let rows = hidden_size.saturating_mul(gates);
    let overrides = [
        ("weight_ih", config.w_ih_init),
        ("weight_hh", config.w_hh_init),
        ("bias_ih", config.b_ih_init.unwrap_or(PYTORCH_DEFAULT)),
        ("bias_hh", config.b_hh_init.unwrap_or(PYTORCH_DEFAULT)),
    ];
    let declare = |build: &mut Build<'_>| {
        let weights = (
            build.parameter("weight_ih", &[rows, input_size])?,
            build.parameter("weight_hh", &[rows, hidden_size])?,
            build.optional_parameter(config.bias, "bias_ih", &[rows])?,
            build.optional_parameter(config.bias, "bias_hh", &[rows])?,
        );
        let bias = match config.bias {
            true => String::new(),
            false => format!(", bias={}", python_bool(false)),
        };
        let repr = format!("{kind}({input_size}, {hidden_size}{bias}{more})");
        Ok((weights, repr))
    };
    make(path, &overrides, |build| {
        build.layer(kind, Start::Recurrent { hidden_size }, declare)
    })
}

/// The input of a step, with a batch dimension.
pub(super) struct Step {
    cell: &'static str,
    pub(super) input: Tensor,
    hidden_size: i64,
    is_batched: bool,
}

impl Step {
    pub(super) fn new(
        cell: &'static str,
        input: &Tensor,
        w_hh: &Tensor,
    ) -> Result<Step, InitError> {
        check_dimensions(cell, input)?;
        let is_batched = input.dim() == 2;
        let input = match is_batched {
            true => input.shallow_clone(),
            false => input.f_unsqueeze(0).context(cell, input)?,
        };
        Ok(Step {
            cell,
            input,
            hidden_size: w_hh.size().last().copied().unwrap_or(0),
            is_batched,
        })
    }

    /// The caller's state with a batch dimension, or zeros.
    pub(super) fn state(&self, given: Option<&Tensor>) -> Result<Tensor, InitError> {
        let Some(given) = given else {
            let kind = self.input.f_kind().context(self.cell, &self.input)?;
            let shape = [self.input.size()[0], self.hidden_size];
            let options = (kind, self.input.device());
            return Tensor::f_zeros(shape, options).context(self.cell, &self.input);
        };
        check_dimensions(self.cell, given)?;
        match self.is_batched {
            true => Ok(given.shallow_clone()),
            false => given.f_unsqueeze(0).context(self.cell, given),
        }
    }

    /// A state in the form of the input.
    pub(super) fn output(&self, state: Tensor) -> Result<Tensor, InitError> {
        match self.is_batched {
            true => Ok(state),
            false => state.f_squeeze_dim(0).context(self.cell, &state),
        }
    }
}

fn check_dimensions(cell: &'static str, tensor: &Tensor) -> Result<(), InitError> {
    match tensor.dim() {
        1 | 2 => Ok(()),
        _ => Err(InitError::Dimensions {
            function: cell,
            supported: "1 or 2",
            shape: tensor.size(),
        }),
    }
}
