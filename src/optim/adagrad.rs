//! `torch.optim.Adagrad`, `torch/optim/adagrad.py` of PyTorch 2.13.

use super::error::OptimError;
use super::python_number::{divide, require};
use super::rule::{OptionValue, Rule, options};
use super::state::{Numbers, ParamState, add, add_, addcdiv_, addcmul_, fill_, view_as_real};
use tch::Tensor;

options! {
    /// Options of Adagrad, with PyTorch's defaults.
    ///
    /// Sparse gradients are taken without `weight_decay`. The sum starts with the `initial_accumulator_value` of the
    /// optimizer; that of a group has no effect, as in PyTorch.
    pub struct Adagrad {
        /// The learning rate. PyTorch's default: 1e-2.
        lr: f64 = 1e-2,
        /// How fast the learning rate decays. PyTorch's default: 0.
        lr_decay: f64 = 0.0,
        /// The factor of the parameter that is added to the gradient. PyTorch's default: 0.
        weight_decay: f64 = 0.0,
        /// The value that the sum of squared gradients starts with. PyTorch's default: 0.
        initial_accumulator_value: f64 = 0.0,
        /// A number that is added to the denominator. PyTorch's default: 1e-10.
        eps: f64 = 1e-10,
        /// Whether the loss is maximized. PyTorch's default: no.
        maximize: bool = false,
    }
    fixed {
        "foreach": OptionValue::None,
        "differentiable": OptionValue::Bool(false),
        "fused": OptionValue::None,
    }
}

/// A sparse tensor with the indices and the size of `like`.
fn sparse(like: &Tensor, values: &Tensor) -> Result<Tensor, OptimError> {
    Ok(Tensor::f_sparse_coo_tensor_indices_size(
        &like.f_internal_indices()?,
        values,
        like.size(),
        (values.kind(), values.device()),
        false,
    )?)
}

impl Rule for Adagrad {
    const NAME: &'static str = "Adagrad";
    const SPARSE: bool = true;

    fn check(&self) -> Result<(), OptimError> {
        require(Self::NAME, self.lr >= 0.0, "learning rate", self.lr)?;
        let what = "lr_decay value";
        require(Self::NAME, self.lr_decay >= 0.0, what, self.lr_decay)?;
        let (what, wd) = ("weight_decay value", self.weight_decay);
        require(Self::NAME, wd >= 0.0, what, wd)?;
        let value = self.initial_accumulator_value;
        let what = "initial_accumulator_value value";
        require(Self::NAME, value >= 0.0, what, value)?;
        require(Self::NAME, self.eps >= 0.0, "epsilon value", self.eps)
    }

    fn new_state(&self, param: &Tensor) -> Result<ParamState, OptimError> {
        let zeros = param.f_zeros_like()?;
        let mut parts = view_as_real(&zeros)?;
        fill_(&mut parts, self.initial_accumulator_value)?;
        Ok(ParamState::with_step()?.tensor("sum", zeros))
    }

    fn update(
        &self,
        param: &Tensor,
        grad: Tensor,
        state: &mut ParamState,
    ) -> Result<(), OptimError> {
        let step = state.next_step()?;
        let mut grad = if self.maximize { grad.f_neg()? } else { grad };
        if self.weight_decay != 0.0 {
            if grad.is_sparse() {
                return Err(OptimError::SparseWeightDecay);
            }
            grad = add(&grad, param, self.weight_decay)?;
        }
        let decay = 1.0 + (step - 1.0) * self.lr_decay;
        let clr = divide(self.lr, decay, "1 + (step - 1) * lr_decay")?;

        if grad.is_sparse() {
            // The update is not linear, so indices must be unique.
            let grad = grad.f_coalesce()?;
            let values = grad.f_internal_values()?;
            let mut sum = state.get("sum")?.shallow_clone();
            let squares = values.f_pow_tensor_scalar(2)?;
            let _same = sum.f_add_(&sparse(&grad, &squares)?)?;
            let std = sum.f_sparse_mask(&grad)?;
            let mut std = std.f_internal_values()?.f_sqrt_()?;
            std.plus_(self.eps)?;
            let update = sparse(&grad, &values.f_div(&std)?)?;
            return add_(&mut param.shallow_clone(), &update, -clr);
        }
        let grad = view_as_real(&grad)?;
        let mut sum = state.get_real("sum")?;
        let mut param = view_as_real(param)?;
        addcmul_(&mut sum, &grad, &grad, 1.0)?;
        let mut std = sum.f_sqrt()?;
        std.plus_(self.eps)?;
        addcdiv_(&mut param, &grad, &std, -clr)
    }
}
