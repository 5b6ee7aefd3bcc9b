//! LSTMs with Keras' initialization.

use super::skip;
use crate::error::{Context, InitError};
use crate::init::{constant_, orthogonal_, xavier_uniform_, zeros_};
use crate::nn::LayerKind;
use crate::walk::Layer;
use tch::Tensor;

/// The initialization of Keras' LSTM, for `LSTM` and `LSTMCell`: Xavier uniform weights of the
/// inputs, orthogonal recurrent weights, zero biases except for ones in the forget gates.
///
/// | parameter | filled with |
/// |---|---|
/// | `weight_ih*`, of shape `[4 hidden, inputs]` | `xavier_uniform_` of the whole, gain 1 |
/// | `weight_hh*`, of shape `[4 hidden, hidden]` | `orthogonal_` of the whole, gain 1 |
/// | `bias_ih*` | zeros, and 1 for the forget gates |
/// | `bias_hh*` | zeros |
///
/// The gates lie in PyTorch's order, input, forget, cell, output, so the forget gates are the
/// second quarter of a bias. Keras has one bias where PyTorch has two that it adds; the 1 is in
/// `bias_ih`, so that their sum is Keras'. A projection (`weight_hr*`), which Keras lacks, is left
/// alone. Draws in the order of the parameters, layer by layer and direction by direction.
///
/// Source: the defaults of `LSTMCell` in `keras/src/layers/rnn/lstm.py`, Keras 3.15.1
/// (`glorot_uniform`, `orthogonal`, `zeros`, `unit_forget_bias`), which takes the forget bias from
/// R. Jozefowicz et al. (2015), "An empirical exploration of recurrent network architectures".
/// These are Keras' distributions, drawn with PyTorch's functions; Keras has another stream.
///
/// # Errors
///
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::{self, VarStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// nn::lstm(vs.root() / "lstm", 3, 2, Default::default());
/// tch_init::apply(&vs, tch_init::recipe::lstm)?;
/// let bias = Vec::<f32>::try_from(&vs.variables()["lstm.bias_ih_l0"])?;
/// assert_eq!(bias, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
/// # Ok(())
/// # }
/// ```
pub fn lstm(layer: &mut Layer<'_>) -> Result<(), InitError> {
    if !matches!(layer.kind(), Some(LayerKind::LSTM | LayerKind::LSTMCell)) {
        return skip(layer);
    }
    layer.fill_parameters(|name, parameter, generator| {
        if name.starts_with("weight_ih") {
            xavier_uniform_(parameter, 1.0, generator)
        } else if name.starts_with("weight_hh") {
            orthogonal_(parameter, 1.0, generator)
        } else if name.starts_with("bias_ih") {
            zeros_(parameter)?;
            constant_(&mut forget_gates(parameter)?, 1.0)
        } else if name.starts_with("bias_hh") {
            zeros_(parameter)
        } else {
            Ok(())
        }
    })
}

/// The second of the four gates.
fn forget_gates(bias: &Tensor) -> Result<Tensor, InitError> {
    let hidden_size = bias.numel() as i64 / 4;
    bias.f_narrow(0, hidden_size, hidden_size)
        .context("forget gates", bias)
}
