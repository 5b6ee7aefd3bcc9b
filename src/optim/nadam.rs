//! `torch.optim.NAdam`, `torch/optim/nadam.py` of PyTorch 2.13.

use super::adam::{average, decay};
use super::error::OptimError;
use super::python_number::{divide, pow, require, require_adam};
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, addcdiv_, view_as_real};
use tch::Tensor;

options! {
    /// Options of NAdam, with PyTorch's defaults.
    pub struct NAdam {
        /// The learning rate. PyTorch's default: 2e-3.
        lr: f64 = 2e-3,
        /// How slowly the averages of the gradient and of its square change. PyTorch's default: 0.9 and 0.999.
        betas: (f64, f64) = (0.9, 0.999),
        /// A number that is added to the denominator. PyTorch's default: 1e-8.
        eps: f64 = 1e-8,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// How fast the momentum grows. PyTorch's default: 4e-3.
        momentum_decay: f64 = 4e-3,
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

impl Rule for NAdam {
    const NAME: &'static str = "NAdam";

    fn check(&self) -> Result<(), OptimError> {
        require_adam(Self::NAME, self.lr, self.eps, self.betas, self.weight_decay)?;
        let value = self.momentum_decay;
        require(Self::NAME, value >= 0.0, "momentum_decay value", value)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        ParamState::with_step()?
            .scalar("mu_product", 1.0)?
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
        let (beta1, beta2) = self.betas;
        let bias_correction2 = 1.0 - pow(beta2, step);
        let decoupled = self.decoupled_weight_decay;
        let grad = decay(&mut param, grad, self.lr, self.weight_decay, decoupled)?;

        let momentum = |step: f64| beta1 * (1.0 - 0.5 * pow(0.96, step * self.momentum_decay));
        let (mu, mu_next) = (momentum(step), momentum(step + 1.0));
        let mut mu_product = state.get("mu_product")?.shallow_clone();
        mu_product.times_(mu)?;
        let mu_product = mu_product.f_double_value(&[])?;

        average(&mut exp_avg, &mut exp_avg_sq, &grad, self.betas)?;
        let mut denom = exp_avg_sq.over(bias_correction2)?.f_sqrt()?;
        let mu_product_next = mu_product * mu_next;
        denom.plus_(self.eps)?;
        let what = "1 - mu_product";
        let of_grad = divide(-self.lr * (1.0 - mu), 1.0 - mu_product, what)?;
        addcdiv_(&mut param, &grad, &denom, of_grad)?;
        let of_average = divide(-self.lr * mu_next, 1.0 - mu_product_next, what)?;
        addcdiv_(&mut param, &exp_avg, &denom, of_average)
    }
}
