//! `torch.optim.RMSprop`, `torch/optim/rmsprop.py` of PyTorch 2.13.

use super::error::OptimError;
use super::python_number::require;
use super::rule::{OptionValue, Rule, options};
use super::state::{
    Numbers, ParamState, add, add_, addcdiv_, addcmul, addcmul_, lerp_, view_as_real,
};
use tch::Tensor;

options! {
    /// Options of RMSprop, with PyTorch's defaults.
    pub struct RMSprop {
        /// The learning rate. PyTorch's default: 1e-2.
        lr: f64 = 1e-2,
        /// How slowly the average of the squared gradient changes. PyTorch's default: 0.99.
        alpha: f64 = 0.99,
        /// A number that is added to the denominator. PyTorch's default: 1e-8.
        eps: f64 = 1e-8,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// The factor of momentum. PyTorch's default: 0.
        momentum: f64 = 0.0,
        /// Whether the gradient is normalized by an estimate of its variance. PyTorch's default: no.
        centered: bool = false,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
    }
    fixed {
        "capturable": OptionValue::Bool(false),
        "foreach": OptionValue::None,
        "differentiable": OptionValue::Bool(false),
    }
}

impl Rule for RMSprop {
    const NAME: &'static str = "RMSprop";

    fn check(&self) -> Result<(), OptimError> {
        require(Self::NAME, self.lr >= 0.0, "learning rate", self.lr)?;
        require(Self::NAME, self.eps >= 0.0, "epsilon value", self.eps)?;
        let what = "momentum value";
        require(Self::NAME, self.momentum >= 0.0, what, self.momentum)?;
        let (what, wd) = ("weight_decay value", self.weight_decay);
        require(Self::NAME, wd >= 0.0, what, wd)?;
        require(Self::NAME, self.alpha >= 0.0, "alpha value", self.alpha)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        let mut state = ParamState::with_step()?.zeros("square_avg", param)?;
        if self.momentum > 0.0 {
            state = state.zeros("momentum_buffer", param)?;
        }
        if self.centered {
            state = state.zeros("grad_avg", param)?;
        }
        Ok(state)
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        let mut grad = if self.maximize { grad.f_neg()? } else { grad };
        state.next_step()?;
        if self.weight_decay != 0.0 {
            grad = add(&grad, param, self.weight_decay)?;
        }
        let grad = view_as_real(&grad)?;
        let mut param = view_as_real(param)?;
        let mut square_avg = state.get_real("square_avg")?;
        square_avg.times_(self.alpha)?;
        addcmul_(&mut square_avg, &grad, &grad, 1.0 - self.alpha)?;
        let mut avg = if self.centered {
            let mut grad_avg = state.get_real("grad_avg")?;
            lerp_(&mut grad_avg, &grad, 1.0 - self.alpha)?;
            addcmul(&square_avg, &grad_avg, &grad_avg, -1.0)?.f_sqrt_()?
        } else {
            square_avg.f_sqrt()?
        };
        avg.plus_(self.eps)?;
        if self.momentum > 0.0 {
            let mut buffer = state.get_real("momentum_buffer")?;
            buffer.times_(self.momentum)?;
            addcdiv_(&mut buffer, &grad, &avg, 1.0)?;
            add_(&mut param, &buffer, -self.lr)
        } else {
            addcdiv_(&mut param, &grad, &avg, -self.lr)
        }
    }
}
