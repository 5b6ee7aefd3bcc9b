//! `torch.optim.Adadelta`, `torch/optim/adadelta.py` of PyTorch 2.13.

use super::error::OptimError;
use super::python_number::require;
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, add, add_, addcmul_, is_complex, view_as_real};
use tch::Tensor;

options! {
    /// Options of Adadelta, with PyTorch's defaults.
    pub struct Adadelta {
        /// The factor of the update. PyTorch's default: 1.
        lr: f64 = 1.0,
        /// How slowly the averages of squares change. PyTorch's default: 0.9.
        rho: f64 = 0.9,
        /// A number that is added to the averages. PyTorch's default: 1e-6.
        eps: f64 = 1e-6,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
    }
    fixed {
        "capturable": OptionValue::Bool(false),
        "foreach": OptionValue::None,
        "differentiable": OptionValue::Bool(false),
    }
}

impl Rule for Adadelta {
    const NAME: &'static str = "Adadelta";

    fn check(&self) -> Result<(), OptimError> {
        require(Self::NAME, self.lr >= 0.0, "learning rate", self.lr)?;
        let unit = 0.0..=1.0;
        require(Self::NAME, unit.contains(&self.rho), "rho value", self.rho)?;
        require(Self::NAME, self.eps >= 0.0, "epsilon value", self.eps)?;
        let (what, wd) = ("weight_decay value", self.weight_decay);
        require(Self::NAME, wd >= 0.0, what, wd)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        ParamState::with_step()?
            .zeros("square_avg", param)?
            .zeros("acc_delta", param)
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        state.next_step()?;
        let mut grad = if self.maximize { grad.f_neg()? } else { grad };
        if self.weight_decay != 0.0 {
            grad = add(&grad, param, self.weight_decay)?;
        }
        let grad = view_as_real(&grad)?;
        let mut square_avg = state.get_real("square_avg")?;
        let mut acc_delta = state.get_real("acc_delta")?;

        square_avg.times_(self.rho)?;
        addcmul_(&mut square_avg, &grad, &grad, 1.0 - self.rho)?;
        let std = square_avg.plus(self.eps)?.f_sqrt_()?;
        let mut delta = acc_delta.plus(self.eps)?.f_sqrt_()?;
        let delta = delta.f_div_(&std)?.f_mul_(&grad)?;
        acc_delta.times_(self.rho)?;
        addcmul_(&mut acc_delta, &delta, &delta, 1.0 - self.rho)?;
        let delta = if is_complex(param) {
            delta.f_view_as_complex()?
        } else {
            delta
        };
        add_(&mut param.shallow_clone(), &delta, -self.lr)
    }
}
