//! `torch.optim.Adamax`, `torch/optim/adamax.py` of PyTorch 2.13.

use super::error::OptimError;
use super::python_number::{divide, pow, require_adam};
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, add, addcdiv_, lerp_, view_as_real};
use tch::Tensor;

options! {
    /// Options of Adamax, with PyTorch's defaults.
    pub struct Adamax {
        /// The learning rate. PyTorch's default: 2e-3.
        lr: f64 = 2e-3,
        /// How slowly the average and the norm of the gradient change. PyTorch's default: 0.9 and 0.999.
        betas: (f64, f64) = (0.9, 0.999),
        /// A number that is added to the magnitude of the gradient. PyTorch's default: 1e-8.
        eps: f64 = 1e-8,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
    }
    fixed {
        "foreach": OptionValue::None,
        "differentiable": OptionValue::Bool(false),
        "capturable": OptionValue::Bool(false),
    }
}

impl Rule for Adamax {
    const NAME: &'static str = "Adamax";

    fn check(&self) -> Result<(), OptimError> {
        require_adam(Self::NAME, self.lr, self.eps, self.betas, self.weight_decay)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        ParamState::with_step()?
            .zeros("exp_avg", param)?
            .zeros("exp_inf", param)
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        let mut grad = if self.maximize { grad.f_neg()? } else { grad };
        let step = state.next_step()?;
        if self.weight_decay != 0.0 {
            grad = add(&grad, param, self.weight_decay)?;
        }
        let mut param = view_as_real(param)?;
        let grad = view_as_real(&grad)?;
        let mut exp_avg = state.get_real("exp_avg")?;
        let mut exp_inf = state.get_real("exp_inf")?;

        lerp_(&mut exp_avg, &grad, 1.0 - self.betas.0)?;
        exp_inf.times_(self.betas.1)?;
        let mut magnitude = grad.f_abs()?;
        magnitude.plus_(self.eps)?;
        let _same = exp_inf.f_maximum_out(&exp_inf, &magnitude)?;

        let bias_correction = 1.0 - pow(self.betas.0, step);
        let clr = divide(self.lr, bias_correction, "1 - beta1 ** step")?;
        addcdiv_(&mut param, &exp_avg, &exp_inf, -clr)
    }
}
