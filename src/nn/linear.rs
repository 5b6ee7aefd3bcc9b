//! Linear layers.

use super::variable::{Variables, python_bool};
use super::{LayerKind, reset};
use crate::error::InitError;
use std::borrow::Borrow;
use tch::nn::{Linear, Path};

/// Options of a linear layer; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearConfig {
    /// Whether there is a bias. PyTorch's default: yes.
    pub bias: bool,
}

impl Default for LinearConfig {
    fn default() -> LinearConfig {
        LinearConfig { bias: true }
    }
}

/// `torch.nn.Linear(in_dim, out_dim)`: `weight` of shape `[out_dim, in_dim]`, then `bias` of shape
/// `[out_dim]`, both uniform over `+-1/sqrt(in_dim)`.
///
/// Draws the weight, then the bias, as [`uniform_`](crate::init::uniform_). tch 0.26 draws the
/// bias first and the weight over a range sqrt(6) times as wide.
///
/// # Errors
///
/// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch::nn::{Module, VarStore};
/// use tch_init::nn::{LinearConfig, f_linear};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// tch_init::manual_seed(0)?;
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = f_linear(vs.root() / "fc", 4, 2, LinearConfig::default())?;
/// // torch.manual_seed(0); torch.nn.Linear(4, 2).weight[0, 0]
/// assert_eq!(fc.ws.double_value(&[0, 0]) as f32, -0.003_743_738);
/// # Ok(())
/// # }
/// ```
pub fn f_linear<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    out_dim: i64,
    config: LinearConfig,
) -> Result<Linear, InitError> {
    let mut variables = Variables::new(vs.borrow(), "Linear");
    let mut ws = variables.parameter("weight", &[out_dim, in_dim])?;
    let mut bs = variables.optional_parameter(config.bias, "bias", &[out_dim])?;
    reset::linear_(&mut ws, bs.as_mut())?;
    variables.done(
        LayerKind::Linear,
        format!(
            "in_features={in_dim}, out_features={out_dim}, bias={}",
            python_bool(config.bias)
        ),
    )?;
    Ok(Linear { ws, bs })
}
