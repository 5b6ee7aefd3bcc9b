//! What the optimizers have in common: options by name, and the rule of an update.

use super::error::OptimError;
use super::state::ParamState;
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

        impl $crate::optim::rule::Named for $name {
            fn entries(&self) -> Vec<(&'static str, $crate::optim::OptionValue)> {
                use $crate::optim::rule::Field;
                vec![
                    $((stringify!($field), self.$field.to_value()),)*
                    $(($fixed, $value),)*
                ]
            }

            fn set_entry(&mut self, name: &str, value: &$crate::optim::OptionValue) -> Option<bool> {
                use $crate::optim::rule::Field;
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
