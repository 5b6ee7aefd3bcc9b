//! Linear layers.

use super::build::{Build, make, python_bool};
use super::init::{Init, PYTORCH_DEFAULT};
use super::start::Start;
use super::{LayerKind, or_panic};
use crate::error::InitError;
use std::borrow::Borrow;
use tch::nn::{Linear, Path};

/// Options of a linear layer: tch's fields, PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct LinearConfig {
    /// How the weight starts. Default: as in PyTorch.
    pub ws_init: Init,
    /// How the bias starts. Default: as in PyTorch.
    pub bs_init: Option<Init>,
    /// Whether there is a bias. PyTorch's default: yes.
    pub bias: bool,
}

impl Default for LinearConfig {
    fn default() -> LinearConfig {
        LinearConfig {
            ws_init: PYTORCH_DEFAULT,
            bs_init: None,
            bias: true,
        }
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
/// ```standalone_crate
/// use tch::nn::{Module, VarStore};
/// use tch_init::nn::{LinearConfig, f_linear};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// tch_init::manual_seed(0)?;
/// let vs = VarStore::new(tch::Device::Cpu);
/// let fc = f_linear(vs.root() / "fc", 4, 2, LinearConfig::default())?;
/// // torch.manual_seed(0); torch.nn.Linear(4, 2).weight[0, 0]
/// assert_eq!(fc.ws.double_value(&[0, 0]) as f32, -0.003_743_410_1);
/// # Ok(())
/// # }
/// ```
pub fn f_linear<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    out_dim: i64,
    config: LinearConfig,
) -> Result<Linear, InitError> {
    let overrides = [
        ("weight", config.ws_init),
        ("bias", config.bs_init.unwrap_or(PYTORCH_DEFAULT)),
    ];
    make(vs.borrow(), &overrides, |build| {
        declare(build, "Linear", in_dim, out_dim, config.bias)
    })
}

/// [`f_linear`] with tch's signature.
///
/// # Panics
///
/// As `tch::nn::linear`, where [`f_linear`] returns an error.
pub fn linear<'a, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    out_dim: i64,
    config: LinearConfig,
) -> Linear {
    or_panic(f_linear(vs, in_dim, out_dim, config))
}

/// `class` is what Python prints: some layers have linear layers of a class of their own.
pub(super) fn declare(
    build: &mut Build<'_>,
    class: &str,
    in_dim: i64,
    out_dim: i64,
    bias: bool,
) -> Result<Linear, InitError> {
    build.layer(LayerKind::Linear, Start::Linear, |build| {
        let ws = build.parameter("weight", &[out_dim, in_dim])?;
        let bs = build.optional_parameter(bias, "bias", &[out_dim])?;
        let repr = format!(
            "{class}(in_features={in_dim}, out_features={out_dim}, bias={})",
            python_bool(bias)
        );
        Ok((Linear { ws, bs }, repr))
    })
}
