//! `torch.optim.SGD`, `torch/optim/sgd.py` of PyTorch 2.13.

use super::error::OptimError;
use super::fused::{self, Chunk, Real, Step, bits};
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
        let mut tensors = vec![param.shallow_clone(), grad];
        if self.momentum != 0.0 && !state.has("momentum_buffer") {
            let grad = self.decayed(param, &tensors[1])?;
            let first = std::mem::take(state);
            *state = first.tensor("momentum_buffer", clone(&grad)?);
            return self.descend(param, grad, state.get("momentum_buffer")?);
        }
        if self.momentum != 0.0 {
            tensors.push(state.get("momentum_buffer")?.shallow_clone());
        }
        fused::update(self, &mut tensors)
    }
}

impl SGD {
    /// The gradient to descend along, without momentum.
    fn decayed(&self, param: &Tensor, grad: &Tensor) -> Result<Tensor, OptimError> {
        let grad = if self.maximize {
            grad.f_neg()?
        } else {
            grad.shallow_clone()
        };
        if self.weight_decay == 0.0 {
            return Ok(grad);
        }
        add(&grad, param, self.weight_decay)
    }

    /// The end of a step with momentum.
    fn descend(&self, param: &Tensor, grad: Tensor, buffer: &Tensor) -> Result<(), OptimError> {
        let grad = if self.nesterov {
            add(&grad, buffer, self.momentum)?
        } else {
            buffer.shallow_clone()
        };
        add_(&mut param.shallow_clone(), &grad, -self.lr)
    }
}

impl Step for SGD {
    const OPTIMIZER: &'static str = "SGD";

    fn states(&self) -> usize {
        usize::from(self.momentum != 0.0)
    }

    fn branches(&self) -> u8 {
        bits([
            self.momentum != 0.0,
            self.nesterov,
            self.weight_decay != 0.0,
            self.maximize,
        ])
    }

    fn trial(&self) -> SGD {
        SGD {
            lr: 0.013,
            momentum: if self.momentum == 0.0 { 0.0 } else { 0.9 },
            dampening: if self.nesterov { 0.0 } else { 0.3 },
            weight_decay: if self.weight_decay == 0.0 { 0.0 } else { 0.1 },
            ..*self
        }
    }

    fn by_operators(&self, tensors: &[Tensor]) -> Result<(), OptimError> {
        let [param, grad, buffer @ ..] = tensors else {
            return Err(OptimError::MissingState {
                name: "momentum_buffer",
            });
        };
        let grad = self.decayed(param, grad)?;
        let [buffer, ..] = buffer else {
            return add_(&mut param.shallow_clone(), &grad, -self.lr);
        };
        let mut buffer = buffer.shallow_clone();
        buffer.times_(self.momentum)?;
        add_(&mut buffer, &grad, 1.0 - self.dampening)?;
        self.descend(param, grad, &buffer)
    }

    #[inline(always)]
    fn compute<T: Real, const FMA: bool>(&self, chunk: Chunk<'_, T>, _: impl Fn(&[T], &mut [T])) {
        let Chunk {
            param,
            grad,
            state: [buffer, _],
            ..
        } = chunk;
        let decay = T::of(self.weight_decay);
        let decayed = |p: T, g: T| {
            let g = if self.maximize { -g } else { g };
            if self.weight_decay != 0.0 {
                decay.times_plus::<FMA>(p, g)
            } else {
                g
            }
        };
        let value = T::of(-self.lr);
        if self.momentum == 0.0 {
            for (p, g) in param.iter_mut().zip(grad) {
                *p = value.times_plus::<FMA>(decayed(*p, *g), *p);
            }
            return;
        }
        let (momentum, rest) = (T::of(self.momentum), T::of(1.0 - self.dampening));
        for ((p, g), buffer) in param.iter_mut().zip(grad).zip(buffer) {
            let mut g = decayed(*p, *g);
            *buffer = rest.times_plus::<FMA>(g, *buffer * momentum);
            g = if self.nesterov {
                momentum.times_plus::<FMA>(*buffer, g)
            } else {
                *buffer
            };
            *p = value.times_plus::<FMA>(g, *p);
        }
    }
}
