//! `torch.optim.Adam` and `AdamW`, `torch/optim/adam.py` and `adamw.py` of PyTorch 2.13.

use super::error::OptimError;
use super::python_number::{divide, pow, require_adam};
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, add, addcdiv_, addcmul_, view_as_real};
use tch::Tensor;

options! {
    /// Options of Adam, with PyTorch's defaults.
    pub struct Adam {
        /// The learning rate. PyTorch's default: 1e-3.
        lr: f64 = 1e-3,
        /// How slowly the averages of the gradient and of its square change. PyTorch's default: 0.9 and 0.999.
        betas: (f64, f64) = (0.9, 0.999),
        /// A number that is added to the denominator. PyTorch's default: 1e-8.
        eps: f64 = 1e-8,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// Whether the denominator never shrinks. PyTorch's default: no.
        amsgrad: bool = false,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
        /// Whether the weight decay is AdamW's. PyTorch's default: no.
        decoupled_weight_decay: bool = false,
    }
    fixed {
        "foreach": OptionValue::None,
        "capturable": OptionValue::Bool(false),
        "differentiable": OptionValue::Bool(false),
        "fused": OptionValue::None,
    }
}

options! {
    /// Options of AdamW, with PyTorch's defaults.
    pub struct AdamW {
        /// The learning rate. PyTorch's default: 1e-3.
        lr: f64 = 1e-3,
        /// How slowly the averages of the gradient and of its square change. PyTorch's default: 0.9 and 0.999.
        betas: (f64, f64) = (0.9, 0.999),
        /// A number that is added to the denominator. PyTorch's default: 1e-8.
        eps: f64 = 1e-8,
        /// By which factor of the learning rate the parameter shrinks. PyTorch's default: 1e-2.
        weight_decay: f64 = 1e-2,
        /// Whether the denominator never shrinks. PyTorch's default: no.
        amsgrad: bool = false,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
    }
    fixed {
        "foreach": OptionValue::None,
        "capturable": OptionValue::Bool(false),
        "differentiable": OptionValue::Bool(false),
        "fused": OptionValue::None,
        "decoupled_weight_decay": OptionValue::Bool(true),
    }
}

impl AdamW {
    /// The same as Adam.
    fn adam(&self) -> Adam {
        Adam {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            amsgrad: self.amsgrad,
            maximize: self.maximize,
            decoupled_weight_decay: true,
        }
    }
}

/// `grad.add(param, alpha=weight_decay)`, or with decoupled weight decay `param.mul_(1 - lr * weight_decay)`.
pub(super) fn decay(
    param: &mut Tensor,
    grad: Tensor,
    lr: f64,
    weight_decay: f64,
    decoupled: bool,
) -> Result<Tensor, OptimError> {
    if weight_decay == 0.0 {
        return Ok(grad);
    }
    if decoupled {
        param.times_(1.0 - lr * weight_decay)?;
        return Ok(grad);
    }
    add(&grad, param, weight_decay)
}

/// `exp_avg.lerp_(grad, 1 - beta1)` and `exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)`.
pub(super) fn average(
    exp_avg: &mut Tensor,
    exp_avg_sq: &mut Tensor,
    grad: &Tensor,
    betas: (f64, f64),
) -> Result<(), OptimError> {
    let _same = exp_avg.f_lerp_(grad, 1.0 - betas.0)?;
    exp_avg_sq.times_(betas.1)?;
    addcmul_(exp_avg_sq, grad, grad, 1.0 - betas.1)
}

impl Rule for Adam {
    const NAME: &'static str = "Adam";

    fn check(&self) -> Result<(), OptimError> {
        require_adam(Self::NAME, self.lr, self.eps, self.betas, self.weight_decay)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        let state = ParamState::with_step()?
            .zeros("exp_avg", param)?
            .zeros("exp_avg_sq", param)?;
        if self.amsgrad {
            return state.zeros("max_exp_avg_sq", param);
        }
        Ok(state)
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        let grad = if self.maximize { grad.f_neg()? } else { grad };
        let step = state.next_step()?;
        let mut param = param.shallow_clone();
        let decoupled = self.decoupled_weight_decay;
        let grad = decay(&mut param, grad, self.lr, self.weight_decay, decoupled)?;

        let grad = view_as_real(&grad)?;
        let mut exp_avg = state.get_real("exp_avg")?;
        let mut exp_avg_sq = state.get_real("exp_avg_sq")?;
        let mut param = view_as_real(&param)?;
        average(&mut exp_avg, &mut exp_avg_sq, &grad, self.betas)?;

        let bias_correction1 = 1.0 - pow(self.betas.0, step);
        let bias_correction2 = 1.0 - pow(self.betas.1, step);
        let step_size = divide(self.lr, bias_correction1, "1 - beta1 ** step")?;
        let bias_correction2_sqrt = pow(bias_correction2, 0.5);
        let squares = if self.amsgrad {
            let largest = state.get_real("max_exp_avg_sq")?;
            largest.f_maximum_out(&largest, &exp_avg_sq)?
        } else {
            exp_avg_sq
        };
        let mut denom = squares.f_sqrt()?.over(bias_correction2_sqrt)?;
        denom.plus_(self.eps)?;
        addcdiv_(&mut param, &exp_avg, &denom, -step_size)
    }
}

impl Rule for AdamW {
    const NAME: &'static str = "AdamW";

    fn check(&self) -> Result<(), OptimError> {
        require_adam(Self::NAME, self.lr, self.eps, self.betas, self.weight_decay)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        self.adam().new_state(param)
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        self.adam().update(param, grad, state)
    }
}
