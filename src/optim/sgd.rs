//! `torch.optim.SGD`, `torch/optim/sgd.py` of PyTorch 2.13.

use super::error::OptimError;
use super::python_number::require;
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, add, add_, clone};
use tch::Tensor;

options! {
    /// Options of stochastic gradient descent, with PyTorch's defaults.
    ///
    /// Sparse gradients are taken without `weight_decay`.
    pub struct SGD {
        /// The learning rate. PyTorch's default: 1e-3.
        lr: f64 = 1e-3,
        /// The factor of momentum. PyTorch's default: 0.
        momentum: f64 = 0.0,
        /// How much less than the whole gradient is added to the momentum, after the first step. PyTorch's default: 0.
        dampening: f64 = 0.0,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// Whether the momentum is Nesterov's. PyTorch's default: no.
        nesterov: bool = false,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
    }
    fixed {
        "foreach": OptionValue::None,
        "differentiable": OptionValue::Bool(false),
        "fused": OptionValue::None,
    }
}

impl Rule for SGD {
    const NAME: &'static str = "SGD";
    const SPARSE: bool = true;

    fn check(&self) -> Result<(), OptimError> {
        // PyTorch's conditions let NaN pass here.
        let valid = |value: f64| value >= 0.0 || value.is_nan();
        require(Self::NAME, valid(self.lr), "learning rate", self.lr)?;
        let what = "momentum value";
        require(Self::NAME, valid(self.momentum), what, self.momentum)?;
        let (what, wd) = ("weight_decay value", self.weight_decay);
        require(Self::NAME, valid(wd), what, wd)?;
        if self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0) {
            return Err(OptimError::argument(
                Self::NAME,
                "Nesterov momentum requires a momentum and zero dampening",
            ));
        }
        Ok(())
    }

    fn new_state(&self, _: &Tensor) -> Result<ParamState, OptimError> {
        Ok(ParamState::default())
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        let mut grad = if self.maximize { grad.f_neg()? } else { grad };
        if self.weight_decay != 0.0 {
            grad = add(&grad, param, self.weight_decay)?;
        }
        if self.momentum != 0.0 {
            if state.has("momentum_buffer") {
                let mut buffer = state.get("momentum_buffer")?.shallow_clone();
                buffer.times_(self.momentum)?;
                add_(&mut buffer, &grad, 1.0 - self.dampening)?;
            } else {
                let first = std::mem::take(state);
                *state = first.tensor("momentum_buffer", clone(&grad)?);
            }
            let buffer = state.get("momentum_buffer")?;
            grad = if self.nesterov {
                add(&grad, buffer, self.momentum)?
            } else {
                buffer.shallow_clone()
            };
        }
        add_(&mut param.shallow_clone(), &grad, -self.lr)
    }
}
