//! `torch.optim.RAdam`, `torch/optim/radam.py` of PyTorch 2.13.

use super::adam::{average, decay};
use super::error::OptimError;
use super::python_number::{divide, pow, require_adam};
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, add_, view_as_real};
use tch::Tensor;

options! {
    /// Options of RAdam, with PyTorch's defaults.
    pub struct RAdam {
        /// The learning rate. PyTorch's default: 1e-3.
        lr: f64 = 1e-3,
        /// How slowly the averages of the gradient and of its square change. PyTorch's default: 0.9 and 0.999.
        betas: (f64, f64) = (0.9, 0.999),
        /// A number that is added to the denominator. PyTorch's default: 1e-8.
        eps: f64 = 1e-8,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// Whether the weight decay is AdamW's. PyTorch's default: no.
        decoupled_weight_decay: bool = false,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
    }
    fixed {
        "foreach": OptionValue::None,
        "capturable": OptionValue::Bool(false),
        "differentiable": OptionValue::Bool(false),
    }
}

impl Rule for RAdam {
    const NAME: &'static str = "RAdam";

    fn check(&self) -> Result<(), OptimError> {
        require_adam(Self::NAME, self.lr, self.eps, self.betas, self.weight_decay)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        ParamState::with_step()?
            .zeros("exp_avg", param)?
            .zeros("exp_avg_sq", param)
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        let grad = if self.maximize { grad.f_neg()? } else { grad };
        let mut param = view_as_real(param)?;
        let grad = view_as_real(&grad)?;
        let mut exp_avg = state.get_real("exp_avg")?;
        let mut exp_avg_sq = state.get_real("exp_avg_sq")?;

        let step = state.next_step()?;
        let decoupled = self.decoupled_weight_decay;
        let grad = decay(&mut param, grad, self.lr, self.weight_decay, decoupled)?;
        average(&mut exp_avg, &mut exp_avg_sq, &grad, self.betas)?;

        let (beta1, beta2) = self.betas;
        let bias_correction1 = 1.0 - pow(beta1, step);
        let bias_correction2 = 1.0 - pow(beta2, step);
        let corrected = exp_avg.over(bias_correction1)?;
        let rho_inf = divide(2.0, 1.0 - beta2, "1 - beta2")? - 1.0;
        let shrunk = 2.0 * step * pow(beta2, step);
        let rho_t = rho_inf - divide(shrunk, bias_correction2, "1 - beta2 ** step")?;
        let mut update = corrected.times(self.lr)?;
        if rho_t > 5.0 {
            let divisor = (rho_inf - 4.0) * (rho_inf - 2.0) * rho_t;
            let ratio = (rho_t - 4.0) * (rho_t - 2.0) * rho_inf;
            let rect = pow(divide(ratio, divisor, "the rectification")?, 0.5);
            let mut root = exp_avg_sq.f_sqrt()?;
            root.plus_(self.eps)?;
            // Python divides a number by a tensor as `tensor.reciprocal() * number`.
            let adaptive = root.f_reciprocal()?;
            let adaptive = adaptive.times(pow(bias_correction2, 0.5))?;
            update = update.f_mul(&adaptive)?.times(rect)?;
        }
        add_(&mut param, &update, -1.0)
    }
}
