//! Recurrent cells: `RNNCellBase`, `torch/nn/modules/rnn.py`, PyTorch 2.13.

use super::printed::{PrintError, Printed};
use super::rnn::gates;
use super::spec::{LayerRule, LayerSpec, VariableShapes, recurrent_uniform};
use crate::nn::kind::LayerKind;

/// `RNNCellBase.__init__`, `reset_parameters` and `extra_repr`; `more` is what follows in the
/// latter. A product that is too large becomes a size that libtorch rejects.
fn spec(kind: LayerKind, [input_size, hidden_size]: [i64; 2], bias: bool, more: &str) -> LayerSpec {
    let rows = hidden_size.saturating_mul(gates(kind));
    let printed_bias = if bias { "" } else { ", bias=False" };
    let repr = format!("{kind}({input_size}, {hidden_size}{printed_bias}{more})");
    let fill = recurrent_uniform(hidden_size);
    LayerSpec::new(kind, repr)
        .parameter("weight_ih", &[rows, input_size], fill.clone())
        .parameter("weight_hh", &[rows, hidden_size], fill.clone())
        .parameter_if(bias, "bias_ih", &[rows], fill.clone())
        .parameter_if(bias, "bias_hh", &[rows], fill)
}

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let sizes = [
            printed.int("input_size", Some(0))?,
            printed.int("hidden_size", Some(1))?,
        ];
        Ok(spec(kind, sizes, printed.flag("bias", true)?, ""))
    }

    /// The gates are known from the rows of the recurrent weight by its columns. Some of the biases
    /// may be missing.
    fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [_, input_size] = *variables.parameter("weight_ih")? else {
            return None;
        };
        let [_, hidden_size] = *variables.parameter("weight_hh")? else {
            return None;
        };
        if hidden_size <= 0 {
            return None;
        }
        let bias = variables
            .parameters
            .iter()
            .any(|(name, _)| name.starts_with("bias"));
        let spec = spec(kind, [input_size, hidden_size], bias, "");
        Some(variables.part_of(spec)?.drawn_in_order_of(variables))
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::spec;
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::config::config;
    use crate::nn::init::{Init, PYTORCH_DEFAULT};
    use crate::nn::kind::LayerKind;
    use crate::nn::rnn::RnnNonlinearity;
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::Path;

    config! {
        /// Options of a recurrent cell: those of [`RNNConfig`](crate::nn::RNNConfig) that one step
        /// has.
        #[allow(clippy::upper_case_acronyms)] // As tch's RNNConfig.
        #[derive(Debug, Clone, Copy)]
        pub struct RNNCellConfig {
            /// Whether the layer has biases. PyTorch's default: yes.
            bias: bool = true,
            /// Initializer of the input weight. Default: PyTorch's.
            w_ih_init: Init = PYTORCH_DEFAULT,
            /// Initializer of the recurrent weight. Default: PyTorch's.
            w_hh_init: Init = PYTORCH_DEFAULT,
            /// Initializer of the input bias. Default: PyTorch's.
            b_ih_init: Option<Init> = None,
            /// Initializer of the recurrent bias. Default: PyTorch's.
            b_hh_init: Option<Init> = None,
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
        /// The function applied to the sum of input and hidden state.
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
    /// use tch_init::nn::{RnnNonlinearity, rnn_cell};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = tch::nn::VarStore::new(Device::Cpu);
    /// let cell = rnn_cell(vs.root() / "cell", 3, 5, RnnNonlinearity::Tanh, Default::default())?;
    /// let mut hidden = None;
    /// for _ in 0..4 {
    ///     let input = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
    ///     hidden = Some(cell.forward(&input, hidden.as_ref())?);
    /// }
    /// assert_eq!(hidden.map(|hidden| hidden.size()), Some(vec![2, 5]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rnn_cell<'a, T: Borrow<Path<'a>>>(
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
        let weights = make_cell(vs.borrow(), LayerKind::RNNCell, sizes, config, more)?;
        let (w_ih, w_hh, b_ih, b_hh) = weights;
        Ok(RnnCell {
            w_ih,
            w_hh,
            b_ih,
            b_hh,
            nonlinearity,
        })
    }

    impl RnnCell {
        /// The next hidden state, of shape `[batch, hidden_dim]`, after an input of shape
        /// `[batch, in_dim]`; without the batch if the input has none. `None` means a hidden state
        /// of zeros.
        ///
        /// # Errors
        ///
        /// [`InitError::Dimensions`] or [`InitError::Libtorch`] for an input or a state that does
        /// not fit.
        pub fn forward(&self, input: &Tensor, hx: Option<&Tensor>) -> Result<Tensor, InitError> {
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
    }

    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
    pub(in crate::nn) type Weights = (Tensor, Tensor, Option<Tensor>, Option<Tensor>);

    /// Makes a cell; `more` is what Python prints after its bias.
    pub(in crate::nn) fn make_cell(
        path: &Path<'_>,
        kind: LayerKind,
        sizes: [i64; 2],
        config: RNNCellConfig,
        more: &str,
    ) -> Result<Weights, InitError> {
        let overrides = [
            ("weight_ih", config.w_ih_init),
            ("weight_hh", config.w_hh_init),
            ("bias_ih", config.b_ih_init.unwrap_or(PYTORCH_DEFAULT)),
            ("bias_hh", config.b_hh_init.unwrap_or(PYTORCH_DEFAULT)),
        ];
        let tensors = build(path, &spec(kind, sizes, config.bias, more), &overrides)?;
        Ok((
            tensors.required(kind, "weight_ih")?,
            tensors.required(kind, "weight_hh")?,
            tensors.get("bias_ih"),
            tensors.get("bias_hh"),
        ))
    }

    /// The input of a step, with a batch dimension.
    pub(in crate::nn) struct Step {
        cell: &'static str,
        pub(in crate::nn) input: Tensor,
        hidden_size: i64,
        is_batched: bool,
    }

    impl Step {
        pub(in crate::nn) fn new(
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
        pub(in crate::nn) fn state(&self, given: Option<&Tensor>) -> Result<Tensor, InitError> {
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
        pub(in crate::nn) fn output(&self, state: Tensor) -> Result<Tensor, InitError> {
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
}
