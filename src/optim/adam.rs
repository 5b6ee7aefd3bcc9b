//! `torch.optim.Adam` and `AdamW`, `torch/optim/adam.py` and `adamw.py` of PyTorch 2.13.

use super::error::OptimError;
use super::fused::{self, Chunk, Real, Step, bits};
use super::python_number::{divide, pow, require_adam};
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, add, addcdiv_, addcmul_, lerp_, view_as_real};
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
    lerp_(exp_avg, grad, 1.0 - betas.0)?;
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
        let number = state.next_step()?;
        let bias_correction1 = 1.0 - pow(self.betas.0, number);
        let bias_correction2 = 1.0 - pow(self.betas.1, number);
        let step = AdamStep {
            options: *self,
            step_size: divide(self.lr, bias_correction1, "1 - beta1 ** step")?,
            bias_correction2_sqrt: pow(bias_correction2, 0.5),
        };
        let mut tensors = vec![param.shallow_clone(), grad];
        for name in ["exp_avg", "exp_avg_sq"] {
            tensors.push(state.get(name)?.shallow_clone());
        }
        if self.amsgrad {
            tensors.push(state.get("max_exp_avg_sq")?.shallow_clone());
            return step.by_operators(&tensors);
        }
        fused::update(&step, &mut tensors)
    }
}

/// A step of Adam with the numbers that Python computes.
#[derive(Debug, Clone, Copy)]
struct AdamStep {
    options: Adam,
    step_size: f64,
    bias_correction2_sqrt: f64,
}

impl AdamStep {
    /// Whether `lerp_` begins at the gradient, which is the nearer end.
    fn is_near_the_end(&self) -> bool {
        1.0 - self.options.betas.0 >= 0.5
    }
}

impl Step for AdamStep {
    const OPTIMIZER: &'static str = "Adam";

    fn states(&self) -> usize {
        2
    }

    fn branches(&self) -> u8 {
        let options = &self.options;
        let decays = options.weight_decay != 0.0;
        bits([
            decays,
            decays && options.decoupled_weight_decay,
            options.maximize,
            self.is_near_the_end(),
        ])
    }

    fn trial(&self) -> AdamStep {
        AdamStep {
            options: Adam {
                lr: 0.013,
                betas: (if self.is_near_the_end() { 0.3 } else { 0.9 }, 0.99),
                eps: 1e-6,
                weight_decay: if self.options.weight_decay == 0.0 {
                    0.0
                } else {
                    0.1
                },
                ..self.options
            },
            step_size: 0.021,
            bias_correction2_sqrt: 0.7,
        }
    }

    fn by_operators(&self, tensors: &[Tensor]) -> Result<(), OptimError> {
        let [param, grad, exp_avg, exp_avg_sq, largest @ ..] = tensors else {
            return Err(OptimError::MissingState { name: "exp_avg_sq" });
        };
        let Adam {
            lr,
            betas,
            eps,
            weight_decay,
            maximize,
            decoupled_weight_decay,
            ..
        } = self.options;
        let grad = if maximize {
            grad.f_neg()?
        } else {
            grad.shallow_clone()
        };
        let mut param = param.shallow_clone();
        let grad = decay(&mut param, grad, lr, weight_decay, decoupled_weight_decay)?;

        let grad = view_as_real(&grad)?;
        let mut exp_avg = view_as_real(exp_avg)?;
        let mut exp_avg_sq = view_as_real(exp_avg_sq)?;
        let mut param = view_as_real(&param)?;
        average(&mut exp_avg, &mut exp_avg_sq, &grad, betas)?;

        let squares = match largest {
            [largest, ..] => {
                let largest = view_as_real(largest)?;
                largest.f_maximum_out(&largest, &exp_avg_sq)?
            }
            [] => exp_avg_sq,
        };
        let mut denom = squares.f_sqrt()?.over(self.bias_correction2_sqrt)?;
        denom.plus_(eps)?;
        addcdiv_(&mut param, &exp_avg, &denom, -self.step_size)
    }

    #[inline(always)]
    fn compute<T: Real, const FMA: bool>(
        &self,
        chunk: Chunk<'_, T>,
        sqrt: impl Fn(&[T], &mut [T]),
    ) {
        let Chunk {
            param,
            grad,
            state: [exp_avg, exp_avg_sq],
            scratch,
        } = chunk;
        let Adam {
            lr,
            betas,
            eps,
            weight_decay,
            maximize,
            decoupled_weight_decay,
            ..
        } = self.options;
        let couples = weight_decay != 0.0 && !decoupled_weight_decay;
        let shrinks = weight_decay != 0.0 && decoupled_weight_decay;
        let decay = T::of(weight_decay);
        // `lerp_` begins at the nearer end.
        let weight = T::of(1.0 - betas.0);
        let near_the_end = weight >= T::of(0.5);
        let from_the_end = weight - T::of(1.0);
        let (beta2, rest2) = (T::of(betas.1), T::of(1.0 - betas.1));
        let moments = exp_avg.iter_mut().zip(exp_avg_sq.iter_mut());
        for ((m, v), (p, g)) in moments.zip(param.iter().zip(grad)) {
            let mut g = if maximize { -*g } else { *g };
            if couples {
                g = decay.times_plus::<FMA>(*p, g);
            }
            *m = if near_the_end {
                from_the_end.times_plus::<FMA>(g - *m, g)
            } else {
                weight.times_plus::<FMA>(g - *m, *m)
            };
            *v = (rest2 * g).times_plus::<FMA>(g, *v * beta2);
        }
        sqrt(exp_avg_sq, scratch);
        let factor = T::of(1.0 - lr * weight_decay);
        let (correction, eps) = (T::of(self.bias_correction2_sqrt), T::of(eps));
        let value = T::of(-self.step_size);
        for ((p, m), root) in param.iter_mut().zip(exp_avg).zip(scratch) {
            let shrunk = if shrinks { *p * factor } else { *p };
            *p = shrunk + (value * *m) / (*root / correction + eps);
        }
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
