//! What kind of difference two programs have.

use super::sides::Sides;
use std::fmt;

/// The kind of a difference, as far as the operations and their arguments tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// The same operation has another argument: `eps`, `stride`, `dim`, `p`, `reduction`.
    Argument(String),
    /// A step is only in A.
    OnlyInA(String),
    /// A step is only in B.
    OnlyInB(String),
    /// Another operation of the same values.
    Exchanged(String, String),
    /// The same steps in another order.
    Order(String, String),
    /// The same operation takes another value.
    Input(String),
    /// A module is in training mode on one side and in evaluation mode on the other.
    Mode,
    /// The random numbers come from another seed.
    Seed,
    /// The random numbers come from another position of the stream.
    Stream,
    /// A parameter or buffer has another value at the start.
    Weights,
    /// Data from outside differs.
    Data,
    /// The same data comes in another order.
    DataOrder,
    /// Another dtype.
    Dtype,
    /// The optimizer updates otherwise.
    Optimizer(String),
    /// Gradients of an earlier backward pass are still there.
    GradientNotZeroed,
    /// A parameter is trained on one side only.
    Frozen,
    /// Parameters that are one on one side and several on the other: weights that are tied.
    Tied,
    /// The same operation on the same inputs gives other results, and the environments differ.
    Environment,
    /// The same operation on the same inputs gives other results, and nothing tells why.
    Unknown,
}

impl Class {
    /// A word for the class: `argument`, `step`, `operation`, `order`, `input`, `mode`, `seed`, `stream`, `weights`, `data`,
    /// `data-order`, `dtype`, `optimizer`, `gradient-not-zeroed`, `frozen`, `tied`, `environment` or `unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Class::Argument(_) => "argument",
            Class::OnlyInA(_) | Class::OnlyInB(_) => "step",
            Class::Exchanged(..) => "operation",
            Class::Order(..) => "order",
            Class::Input(_) => "input",
            Class::Mode => "mode",
            Class::Seed => "seed",
            Class::Stream => "stream",
            Class::Weights => "weights",
            Class::Data => "data",
            Class::DataOrder => "data-order",
            Class::Dtype => "dtype",
            Class::Optimizer(_) => "optimizer",
            Class::GradientNotZeroed => "gradient-not-zeroed",
            Class::Frozen => "frozen",
            Class::Tied => "tied",
            Class::Environment => "environment",
            Class::Unknown => "unknown",
        }
    }

    /// The argument or the step, if the class has one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Class::Argument(name)
            | Class::OnlyInA(name)
            | Class::OnlyInB(name)
            | Class::Exchanged(name, _)
            | Class::Order(name, _)
            | Class::Input(name)
            | Class::Optimizer(name) => Some(name),
            _ => None,
        }
    }
}

/// With `A` and `B` for the programs, unlike [`Class::text`].
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Sides { a: "A", b: "B" })
    }
}

/// A class with labels.
struct Labelled<'c>(&'c Class, Sides<&'static str>);

impl fmt::Display for Labelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, self.1)
    }
}

impl Class {
    /// The class in words, with these names of the programs.
    #[must_use]
    pub fn text(&self, labels: Sides<&'static str>) -> String {
        Labelled(self, labels).to_string()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, labels: Sides<&str>) -> fmt::Result {
        let (in_a, in_b) = (labels.a, labels.b);
        match self {
            Class::Argument(name) => write!(f, "argument {name}"),
            Class::OnlyInA(step) => write!(f, "a step only in {in_a}: {step}"),
            Class::OnlyInB(step) => write!(f, "a step only in {in_b}: {step}"),
            Class::Exchanged(a, b) => write!(f, "another operation: {a} in {in_a}, {b} in {in_b}"),
            Class::Order(a, b) => write!(f, "the order of {a} and {b}"),
            Class::Input(name) => write!(f, "another value for argument {name}"),
            Class::Mode => f.write_str("training or evaluation mode"),
            Class::Seed => f.write_str("the seed"),
            Class::Stream => f.write_str("the position in the random stream"),
            Class::Weights => f.write_str("the weights at the start"),
            Class::Data => f.write_str("the input data"),
            Class::DataOrder => f.write_str("the order of the data"),
            Class::Dtype => f.write_str("the dtype"),
            Class::Optimizer(what) => write!(f, "the optimizer: {what}"),
            Class::GradientNotZeroed => f.write_str("the gradients are not zeroed"),
            Class::Frozen => f.write_str("a parameter is trained on one side only"),
            Class::Tied => f.write_str("parameters are shared on one side only"),
            Class::Environment => f.write_str("the environment"),
            Class::Unknown => {
                f.write_str("unknown: the same operation on the same inputs gives other results")
            }
        }
    }
}
