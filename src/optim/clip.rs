//! `torch.nn.utils.clip_grad`, `torch/nn/utils/clip_grad.py` of PyTorch 2.13.

use super::error::OptimError;
use super::python_number::repr;
use super::state::Numbers;
use crate::ffi;
use std::borrow::Borrow;
use tch::{Device, Kind, Tensor, no_grad};

/// The gradients of the parameters that have one.
fn gradients<T: Borrow<Tensor>>(parameters: &[T]) -> Result<Vec<Tensor>, OptimError> {
    let mut gradients = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let gradient = parameter.borrow().f_grad()?;
        if gradient.defined() {
            gradients.push(gradient);
        }
    }
    Ok(gradients)
}

/// `torch.nn.utils.get_total_norm`: the norm of all tensors together, as a tensor without dimensions.
///
/// `norm_type` is the order of the norm, also infinity. The norms of the tensors are computed first, each in the dtype of
/// its tensor, then the norm of the norms, so the value differs in the last bits from that of one long vector. Without
/// tensors it is 0.
///
/// # Errors
///
/// [`OptimError::Argument`] with `error_if_nonfinite` for a norm that is infinite or not a number, and
/// [`OptimError::Libtorch`] for dtypes that have no norm.
///
/// ```
/// use tch::Tensor;
/// use tch_init::optim::get_total_norm;
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let tensors = [Tensor::from_slice(&[3.0f32]), Tensor::from_slice(&[4.0f32])];
/// assert_eq!(get_total_norm(&tensors, 2.0, false)?.double_value(&[]), 5.0);
/// assert_eq!(get_total_norm(&tensors, f64::INFINITY, false)?.double_value(&[]), 4.0);
/// # Ok(())
/// # }
/// ```
pub fn get_total_norm<T: Borrow<Tensor>>(
    tensors: &[T],
    norm_type: f64,
    error_if_nonfinite: bool,
) -> Result<Tensor, OptimError> {
    no_grad(|| {
        let Some(first) = tensors.first() else {
            return Ok(Tensor::f_scalar_tensor(0.0, (Kind::Float, Device::Cpu))?);
        };
        let device = first.borrow().device();
        let mut norms = Vec::with_capacity(tensors.len());
        for tensor in by_device_and_dtype(tensors) {
            norms.push(vector_norm(tensor, norm_type)?.f_to(device)?);
        }
        let total = vector_norm(&Tensor::f_stack(&norms, 0)?, norm_type)?;
        if error_if_nonfinite && !f64::try_from(&total)?.is_finite() {
            return Err(OptimError::argument(
                "get_total_norm",
                format!(
                    "The total norm of order {} for gradients from `parameters` is non-finite, so it cannot be clipped; \
                     without error_if_nonfinite, the gradients are scaled by it anyway",
                    repr(norm_type)
                ),
            ));
        }
        Ok(total)
    })
}

/// `torch.linalg.vector_norm(tensor, order)`
fn vector_norm(tensor: &Tensor, order: f64) -> Result<Tensor, OptimError> {
    ffi::vector_norm(tensor, order)
        .map_err(|message| OptimError::libtorch("get_total_norm", &message))
}

/// The tensors in the order in which PyTorch goes through them: those of one device and dtype together, the last such
/// group first, since a hash table of C++ has it so.
fn by_device_and_dtype<T: Borrow<Tensor>>(tensors: &[T]) -> Vec<&Tensor> {
    let mut groups: Vec<((Device, Kind), Vec<&Tensor>)> = Vec::new();
    for tensor in tensors {
        let tensor = tensor.borrow();
        let key = (tensor.device(), tensor.kind());
        match groups.iter_mut().find(|(group, _)| *group == key) {
            Some((_, group)) => group.push(tensor),
            None => groups.push((key, vec![tensor])),
        }
    }
    let groups = groups.into_iter().rev();
    groups.flat_map(|(_, group)| group).collect()
}

/// `torch.nn.utils.clip_grads_with_norm_`: scales the gradients of parameters by `max_norm / (total_norm + 1e-6)`, at most 1.
///
/// The factor is a tensor of the norm's dtype, and gradients are multiplied by it also if it is 1, as in PyTorch. tch's
/// `clip_grad_norm` computes it in `f64` and multiplies only if it is below 1, which gives other bits.
///
/// # Errors
///
/// [`OptimError::Libtorch`] if libtorch fails.
pub fn clip_grads_with_norm_<T: Borrow<Tensor>>(
    parameters: &[T],
    max_norm: f64,
    total_norm: &Tensor,
) -> Result<(), OptimError> {
    no_grad(|| {
        // Python divides a number by a tensor as `tensor.reciprocal() * number`.
        let factor = total_norm.plus(1e-6)?.f_reciprocal()?;
        let mut factor = factor.times(max_norm)?;
        factor.at_most_(1.0)?;
        for mut gradient in gradients(parameters)? {
            let _same = gradient.f_mul_(&factor.f_to(gradient.device())?)?;
        }
        Ok(())
    })
}

/// `torch.nn.utils.clip_grad_norm_`: scales the gradients of parameters so that their total norm is at most `max_norm`, and
/// returns the norm that they had.
///
/// # Errors
///
/// As [`get_total_norm`] and [`clip_grads_with_norm_`].
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::optim::clip_grad_norm_;
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let w = Tensor::zeros([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// (&w * Tensor::from_slice(&[3.0f32, 4.0])).sum(Kind::Float).backward();
/// let norm = clip_grad_norm_(&[&w], 1.0, 2.0, false)?;
/// assert_eq!(norm.double_value(&[]), 5.0);
/// assert!((w.grad().norm().double_value(&[]) - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub fn clip_grad_norm_<T: Borrow<Tensor>>(
    parameters: &[T],
    max_norm: f64,
    norm_type: f64,
    error_if_nonfinite: bool,
) -> Result<Tensor, OptimError> {
    let total_norm = get_total_norm(&gradients(parameters)?, norm_type, error_if_nonfinite)?;
    clip_grads_with_norm_(parameters, max_norm, &total_norm)?;
    Ok(total_norm)
}

/// `torch.nn.utils.clip_grad_value_`: clips the elements of the gradients of parameters to `-clip_value` to `clip_value`.
///
/// # Errors
///
/// [`OptimError::Libtorch`] if libtorch fails.
pub fn clip_grad_value_<T: Borrow<Tensor>>(
    parameters: &[T],
    clip_value: f64,
) -> Result<(), OptimError> {
    no_grad(|| {
        for mut gradient in gradients(parameters)? {
            gradient.at_least_(-clip_value)?;
            gradient.at_most_(clip_value)?;
        }
        Ok(())
    })
}
