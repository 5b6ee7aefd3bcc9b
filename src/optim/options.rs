//! The options of a parameter group: those of any optimizer.

use super::error::OptimError;
use super::rule::{Named, OptionValue, Rule};
use super::state::ParamState;
use super::{Adadelta, Adagrad, Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, SGD};
use tch::Tensor;

/// The options of a parameter group: those of one of the optimizers.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Options {
    /// `torch.optim.SGD`.
    SGD(SGD),
    /// `torch.optim.Adam`.
    Adam(Adam),
    /// `torch.optim.AdamW`.
    AdamW(AdamW),
    /// `torch.optim.RMSprop`.
    RMSprop(RMSprop),
    /// `torch.optim.Adagrad`.
    Adagrad(Adagrad),
    /// `torch.optim.NAdam`.
    NAdam(NAdam),
    /// `torch.optim.RAdam`.
    RAdam(RAdam),
    /// `torch.optim.Adadelta`.
    Adadelta(Adadelta),
    /// `torch.optim.Adamax`.
    Adamax(Adamax),
}

/// Does the same with the options of any optimizer.
macro_rules! each {
    ($options:expr, $bound:ident => $body:expr) => {
        match $options {
            Options::SGD($bound) => $body,
            Options::Adam($bound) => $body,
            Options::AdamW($bound) => $body,
            Options::RMSprop($bound) => $body,
            Options::Adagrad($bound) => $body,
            Options::NAdam($bound) => $body,
            Options::RAdam($bound) => $body,
            Options::Adadelta($bound) => $body,
            Options::Adamax($bound) => $body,
        }
    };
}

macro_rules! from {
    ($($name:ident)*) => {
        $(impl From<$name> for Options {
            fn from(options: $name) -> Options {
                Options::$name(options)
            }
        })*
    };
}

from!(SGD Adam AdamW RMSprop Adagrad NAdam RAdam Adadelta Adamax);

impl Options {
    /// PyTorch's name of the optimizer.
    pub fn optimizer(&self) -> &'static str {
        fn name<R: Rule>(_: &R) -> &'static str {
            R::NAME
        }
        each!(self, options => name(options))
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        each!(self, options => options.lr)
    }

    pub(super) fn set_lr(&mut self, lr: f64) {
        each!(self, options => options.lr = lr);
    }

    pub(super) fn set_weight_decay(&mut self, weight_decay: f64) {
        each!(self, options => options.weight_decay = weight_decay);
    }

    /// The momentum, or the first of the betas.
    pub(super) fn momentum(&self) -> Option<f64> {
        match self {
            Options::SGD(options) => Some(options.momentum),
            Options::RMSprop(options) => Some(options.momentum),
            Options::Adam(options) => Some(options.betas.0),
            Options::AdamW(options) => Some(options.betas.0),
            Options::NAdam(options) => Some(options.betas.0),
            Options::RAdam(options) => Some(options.betas.0),
            Options::Adamax(options) => Some(options.betas.0),
            Options::Adagrad(_) | Options::Adadelta(_) => None,
        }
    }

    /// Sets the momentum, or the first of the betas, as tch does.
    pub(super) fn set_momentum(&mut self, momentum: f64) -> Result<(), OptimError> {
        match self {
            Options::SGD(options) => options.momentum = momentum,
            Options::RMSprop(options) => options.momentum = momentum,
            Options::Adam(options) => options.betas.0 = momentum,
            Options::AdamW(options) => options.betas.0 = momentum,
            Options::NAdam(options) => options.betas.0 = momentum,
            Options::RAdam(options) => options.betas.0 = momentum,
            Options::Adamax(options) => options.betas.0 = momentum,
            Options::Adagrad(_) | Options::Adadelta(_) => {
                return Err(OptimError::NoOption {
                    optimizer: self.optimizer(),
                    option: "momentum".to_owned(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn takes_sparse(&self) -> bool {
        fn sparse<R: Rule>(_: &R) -> bool {
            R::SPARSE
        }
        each!(self, options => sparse(options))
    }

    pub(super) fn check(&self) -> Result<(), OptimError> {
        each!(self, options => options.check())
    }

    pub(super) fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        each!(self, options => options.new_state(param))
    }

    pub(super) fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        each!(self, options => options.update(param, grad, state))
    }

    pub(super) fn entries(&self) -> Vec<(&'static str, OptionValue)> {
        each!(self, options => options.entries())
    }

    pub(super) fn set_entry(&mut self, name: &str, value: &OptionValue) -> Option<bool> {
        each!(self, options => options.set_entry(name, value))
    }
}
