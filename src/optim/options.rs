//! The options of a parameter group, as data.

use super::error::OptimError;
use super::state::ParamState;
use super::{Adadelta, Adagrad, Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, SGD};
use tch::Tensor;

/// The value of an entry of a parameter group, as in Python's `param_groups`.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `str`.
    Text(String),
    /// A `list` or `tuple`.
    List(Vec<OptionValue>),
    /// A `dict` with texts as keys.
    Dict(Vec<(String, OptionValue)>),
}

impl OptionValue {
    /// The number, also if it is an `int`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            OptionValue::Float(value) => Some(*value),
            OptionValue::Int(value) => Some(*value as f64),
            _ => None,
        }
    }
}

/// A type of which an option can be.
pub(super) trait Field: Sized {
    fn to_value(&self) -> OptionValue;
    fn of_value(value: &OptionValue) -> Option<Self>;
}

impl Field for f64 {
    fn to_value(&self) -> OptionValue {
        OptionValue::Float(*self)
    }

    fn of_value(value: &OptionValue) -> Option<f64> {
        value.as_f64()
    }
}

impl Field for bool {
    fn to_value(&self) -> OptionValue {
        OptionValue::Bool(*self)
    }

    fn of_value(value: &OptionValue) -> Option<bool> {
        match value {
            OptionValue::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl Field for (f64, f64) {
    fn to_value(&self) -> OptionValue {
        OptionValue::List(vec![self.0.to_value(), self.1.to_value()])
    }

    fn of_value(value: &OptionValue) -> Option<(f64, f64)> {
        match value {
            OptionValue::List(values) => match &values[..] {
                [a, b] => Some((a.as_f64()?, b.as_f64()?)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Declares the options of an optimizer: a struct with a default and a setter for each, and their values by name.
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)*
        }
        fixed { $($fixed:literal: $value:expr,)* }
    ) => {
        $crate::nn::config::config! {
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq)]
            pub struct $name {
                $($(#[$doc])* $field: $type = $default,)*
            }
        }

        impl $crate::optim::options::Named for $name {
            fn entries(&self) -> Vec<(&'static str, $crate::optim::OptionValue)> {
                use $crate::optim::options::Field;
                vec![
                    $((stringify!($field), self.$field.to_value()),)*
                    $(($fixed, $value),)*
                ]
            }

            fn set_entry(&mut self, name: &str, value: &$crate::optim::OptionValue) -> Option<bool> {
                use $crate::optim::options::Field;
                match name {
                    $(stringify!($field) => {
                        self.$field = <$type>::of_value(value)?;
                        Some(true)
                    })*
                    _ => Some(false),
                }
            }
        }
    };
}

pub(super) use options;

/// Options by their names in Python's `param_groups`.
pub(super) trait Named {
    /// All entries, also those that have no field here, with their defaults.
    fn entries(&self) -> Vec<(&'static str, OptionValue)>;

    /// Sets an option: whether there is one of this name, nothing if the value is of another type.
    fn set_entry(&mut self, name: &str, value: &OptionValue) -> Option<bool>;
}

/// What an optimizer does.
pub(super) trait Rule: Named + Copy {
    /// PyTorch's name.
    const NAME: &'static str;
    /// Whether it takes sparse gradients.
    const SPARSE: bool = false;

    /// The checks of PyTorch's constructor.
    fn check(&self) -> Result<(), OptimError>;

    /// The state of a parameter before its first step, if it is to have one.
    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError>;

    /// One step of one parameter, of which the gradient is not negated yet.
    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError>;
}

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
