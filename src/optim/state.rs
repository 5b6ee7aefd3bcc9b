//! The state of one parameter, and the tensor operations of updates.

use super::error::OptimError;
use crate::ffi::{self, Scaled, WithNumber};
use tch::{Device, Kind, Tensor};

/// The state of one parameter: its entries by PyTorch's names, in PyTorch's order.
#[derive(Debug, Default)]
pub(super) struct ParamState {
    pub(super) entries: Vec<(String, Tensor)>,
}

impl ParamState {
    /// The state with a `step` of zero.
    pub(super) fn with_step() -> Result<ParamState, OptimError> {
        ParamState::default().scalar("step", 0.0)
    }

    /// A tensor without dimensions, in `float32` on the CPU.
    pub(super) fn scalar(self, name: &'static str, value: f64) -> Result<ParamState, OptimError> {
        let value = Tensor::f_scalar_tensor(value, (Kind::Float, Device::Cpu))?;
        Ok(self.tensor(name, value))
    }

    pub(super) fn tensor(mut self, name: &'static str, tensor: Tensor) -> ParamState {
        self.entries.push((name.to_owned(), tensor));
        self
    }

    /// A tensor like the parameter, of zeros.
    pub(super) fn zeros(
        self,
        name: &'static str,
        param: &Tensor,
    ) -> Result<ParamState, OptimError> {
        Ok(self.tensor(name, param.f_zeros_like()?))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(entry, _)| entry == name)
    }

    /// A handle to the tensor; a complex one as its real and imaginary parts.
    pub(super) fn get_real(&self, name: &'static str) -> Result<Tensor, OptimError> {
        view_as_real(self.get(name)?)
    }

    pub(super) fn get(&self, name: &'static str) -> Result<&Tensor, OptimError> {
        let mut entries = self.entries.iter();
        let found = entries.find(|(entry, _)| entry == name);
        found
            .map(|(_, tensor)| tensor)
            .ok_or(OptimError::MissingState { name })
    }

    /// `step += 1`, and its value.
    pub(super) fn next_step(&self) -> Result<f64, OptimError> {
        let mut step = self.get("step")?.shallow_clone();
        step.plus_(1.0)?;
        Ok(step.f_double_value(&[])?)
    }
}

pub(super) fn is_complex(tensor: &Tensor) -> bool {
    matches!(
        tensor.kind(),
        Kind::ComplexHalf | Kind::ComplexFloat | Kind::ComplexDouble
    )
}

/// A handle to the tensor; a complex one as its real and imaginary parts.
pub(super) fn view_as_real(tensor: &Tensor) -> Result<Tensor, OptimError> {
    if is_complex(tensor) {
        return Ok(tensor.f_view_as_real()?);
    }
    Ok(tensor.shallow_clone())
}

/// `tensor.add_(other, alpha=alpha)`
pub(super) fn add_(tensor: &mut Tensor, other: &Tensor, alpha: f64) -> Result<(), OptimError> {
    ffi::scaled_(tensor, Scaled::Tensor(other), alpha)
        .map_err(|message| OptimError::libtorch("add_", &message))
}

/// `tensor.add(other, alpha=alpha)`
pub(super) fn add(tensor: &Tensor, other: &Tensor, alpha: f64) -> Result<Tensor, OptimError> {
    ffi::scaled(tensor, Scaled::Tensor(other), alpha)
        .map_err(|message| OptimError::libtorch("add", &message))
}

/// `tensor.addcmul_(a, b, value=value)`
pub(super) fn addcmul_(
    tensor: &mut Tensor,
    a: &Tensor,
    b: &Tensor,
    value: f64,
) -> Result<(), OptimError> {
    ffi::scaled_(tensor, Scaled::Product(a, b), value)
        .map_err(|message| OptimError::libtorch("addcmul_", &message))
}

/// `tensor.addcmul(a, b, value=value)`
pub(super) fn addcmul(
    tensor: &Tensor,
    a: &Tensor,
    b: &Tensor,
    value: f64,
) -> Result<Tensor, OptimError> {
    ffi::scaled(tensor, Scaled::Product(a, b), value)
        .map_err(|message| OptimError::libtorch("addcmul", &message))
}

/// `tensor.addcdiv_(a, b, value=value)`
pub(super) fn addcdiv_(
    tensor: &mut Tensor,
    a: &Tensor,
    b: &Tensor,
    value: f64,
) -> Result<(), OptimError> {
    ffi::scaled_(tensor, Scaled::Quotient(a, b), value)
        .map_err(|message| OptimError::libtorch("addcdiv_", &message))
}

/// `tensor.lerp_(end, weight)`
pub(super) fn lerp_(tensor: &mut Tensor, end: &Tensor, weight: f64) -> Result<(), OptimError> {
    ffi::scaled_(tensor, Scaled::Difference(end), weight)
        .map_err(|message| OptimError::libtorch("lerp_", &message))
}

/// `tensor.fill_(number)`
pub(super) fn fill_(tensor: &mut Tensor, number: f64) -> Result<(), OptimError> {
    ffi::fill_(tensor, number).map_err(|message| OptimError::libtorch("fill_", &message))
}

/// `tensor.detach().clone()`
pub(super) fn clone(tensor: &Tensor) -> Result<Tensor, OptimError> {
    ffi::clone(tensor).map_err(|message| OptimError::libtorch("clone", &message))
}

/// Operations with numbers as Python calls them: with the number as a tensor. tch's `mul_scalar_` and others round it to
/// `bfloat16` or `float16` first.
pub(super) trait Numbers {
    /// `tensor.clamp_min_(number)`
    fn at_least_(&mut self, number: f64) -> Result<(), OptimError>;
    /// `tensor.clamp_max_(number)`
    fn at_most_(&mut self, number: f64) -> Result<(), OptimError>;
    /// `tensor += number`
    fn plus_(&mut self, number: f64) -> Result<(), OptimError>;
    /// `tensor *= number`
    fn times_(&mut self, number: f64) -> Result<(), OptimError>;
    /// `tensor + number`
    fn plus(&self, number: f64) -> Result<Tensor, OptimError>;
    /// `tensor * number`
    fn times(&self, number: f64) -> Result<Tensor, OptimError>;
    /// `tensor / number`
    fn over(&self, number: f64) -> Result<Tensor, OptimError>;
}

impl Numbers for Tensor {
    fn at_least_(&mut self, number: f64) -> Result<(), OptimError> {
        ffi::number_(self, WithNumber::ClampMin, number)
            .map_err(|message| OptimError::libtorch("clamp_min_", &message))
    }

    fn at_most_(&mut self, number: f64) -> Result<(), OptimError> {
        ffi::number_(self, WithNumber::ClampMax, number)
            .map_err(|message| OptimError::libtorch("clamp_max_", &message))
    }

    fn plus_(&mut self, number: f64) -> Result<(), OptimError> {
        ffi::number_(self, WithNumber::Add, number)
            .map_err(|message| OptimError::libtorch("add_", &message))
    }

    fn times_(&mut self, number: f64) -> Result<(), OptimError> {
        ffi::number_(self, WithNumber::Mul, number)
            .map_err(|message| OptimError::libtorch("mul_", &message))
    }

    fn plus(&self, number: f64) -> Result<Tensor, OptimError> {
        ffi::number(self, WithNumber::Add, number)
            .map_err(|message| OptimError::libtorch("add", &message))
    }

    fn times(&self, number: f64) -> Result<Tensor, OptimError> {
        ffi::number(self, WithNumber::Mul, number)
            .map_err(|message| OptimError::libtorch("mul", &message))
    }

    fn over(&self, number: f64) -> Result<Tensor, OptimError> {
        ffi::number(self, WithNumber::Div, number)
            .map_err(|message| OptimError::libtorch("div", &message))
    }
}
