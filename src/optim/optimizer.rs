//! `torch.optim.Optimizer`, `torch/optim/optimizer.py` of PyTorch 2.13, with the verbs of `tch::nn::Optimizer`.

use super::clip::{clip_grad_norm_, clip_grad_value_};
use super::error::OptimError;
use super::group::{Group, ParamGroup, Slot, require_leaf};
use super::options::Options;
use crate::ffi;
use crate::nn::registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tch::nn::{VarStore, Variables};
use tch::{Tensor, no_grad_guard};

/// An optimizer with the bits of `torch.optim`, and the functions of `tch::nn::Optimizer`.
///
/// It is made from the trainable variables of a `VarStore` by [`OptimizerConfig::build`](super::OptimizerConfig::build), or
/// from tensors by [`new`](Optimizer::new). Functions that tch has panic as tch's do, and have a fallible twin with `f_`
/// before its name.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::optim::{Adam, Optimizer};
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let w = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let mut opt = Optimizer::new([w.shallow_clone()], Adam::default().lr(0.1))?;
/// for _ in 0..3 {
///     let loss = w.square().sum(Kind::Float);
///     opt.backward_step(&loss);
/// }
/// assert!(w.double_value(&[0]) < 0.75);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Optimizer {
    pub(super) defaults: Options,
    pub(super) groups: Vec<Group>,
    source: Option<Source>,
}

/// The `VarStore` whose variables are optimized.
#[derive(Debug)]
struct Source {
    variables: Arc<Mutex<Variables>>,
    /// The number of its trainable variables that were looked at.
    seen: usize,
}

impl Optimizer {
    /// Creates an optimizer of tensors, as `torch.optim.Adam(params, ...)`; the options decide which.
    ///
    /// # Errors
    ///
    /// [`OptimError::Argument`] for options that PyTorch rejects, [`OptimError::NoParameters`] without parameters,
    /// [`OptimError::NonLeaf`] and [`OptimError::Duplicate`] for those that cannot be optimized.
    pub fn new(
        params: impl IntoIterator<Item = Tensor>,
        options: impl Into<Options>,
    ) -> Result<Optimizer, OptimError> {
        let group = ParamGroup::new(params);
        if group.params.is_empty() {
            options.into().check()?;
            return Err(OptimError::NoParameters);
        }
        Optimizer::with_groups([group], options)
    }

    /// Creates an optimizer of groups of tensors. Groups without options of their own have these.
    ///
    /// # Errors
    ///
    /// As [`new`](Optimizer::new), and [`OptimError::Kind`] for a group with options of another optimizer.
    pub fn with_groups(
        groups: impl IntoIterator<Item = ParamGroup>,
        options: impl Into<Options>,
    ) -> Result<Optimizer, OptimError> {
        let defaults = options.into();
        defaults.check()?;
        let mut optimizer = Optimizer {
            defaults,
            groups: Vec::new(),
            source: None,
        };
        for group in groups {
            optimizer.add_param_group(group)?;
        }
        if optimizer.groups.is_empty() {
            return Err(OptimError::NoParameters);
        }
        optimizer.begin_states()?;
        Ok(optimizer)
    }

    /// Creates an optimizer of the trainable variables of a `VarStore`, in the order of [`parameters`](crate::parameters) and in the
    /// groups that `Path::set_group` gave them. Variables that are made later are added when the optimizer is used next.
    ///
    /// # Errors
    ///
    /// [`OptimError::Argument`] for options that PyTorch rejects.
    pub fn of_var_store(
        vs: &VarStore,
        options: impl Into<Options>,
    ) -> Result<Optimizer, OptimError> {
        let defaults = options.into();
        defaults.check()?;
        let mut optimizer = Optimizer {
            defaults,
            groups: vec![Group::new(defaults)],
            source: Some(Source {
                variables: Arc::clone(&vs.variables_),
                seen: 0,
            }),
        };
        optimizer.add_missing_variables()?;
        optimizer.begin_states()?;
        Ok(optimizer)
    }

    /// Adds a group of parameters, as `Optimizer.add_param_group`.
    ///
    /// # Errors
    ///
    /// [`OptimError::Kind`] for options of another optimizer, [`OptimError::NonLeaf`] and [`OptimError::Duplicate`] for
    /// parameters that cannot be optimized. Then the optimizer is unchanged.
    pub fn add_param_group(&mut self, group: ParamGroup) -> Result<(), OptimError> {
        let index = self.groups.len();
        let options = group.options.unwrap_or(self.defaults);
        self.require_kind(index, &options)?;
        let mut known = self.known();
        let mut added = Group::new(options);
        for (position, param) in group.params.into_iter().enumerate() {
            require_leaf(&param, index, position)?;
            if let Some(other) = known.insert(registry::identity(&param), index) {
                return Err(OptimError::Duplicate {
                    group: index,
                    index: position,
                    other,
                    shape: param.size(),
                });
            }
            added.slots.push(Slot::new(param));
        }
        self.groups.push(added);
        Ok(())
    }

    /// Adds a parameter to a group, with new groups up to that one if there is none; tch's `COptimizer::add_parameters`.
    ///
    /// # Errors
    ///
    /// [`OptimError::NonLeaf`] and [`OptimError::Duplicate`].
    pub fn add_parameters(&mut self, param: &Tensor, group: usize) -> Result<(), OptimError> {
        let position = self.groups.get(group).map_or(0, |group| group.slots.len());
        require_leaf(param, group, position)?;
        if let Some(other) = self.known().get(&registry::identity(param)) {
            return Err(OptimError::Duplicate {
                group,
                index: position,
                other: *other,
                shape: param.size(),
            });
        }
        self.push(param.shallow_clone(), group);
        Ok(())
    }

    fn push(&mut self, param: Tensor, group: usize) {
        while self.groups.len() <= group {
            self.groups.push(Group::new(self.defaults));
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.slots.push(Slot::new(param));
        }
    }

    /// The groups of all parameters by their identities.
    fn known(&self) -> BTreeMap<usize, usize> {
        let groups = self.groups.iter().enumerate();
        let slots = groups.flat_map(|(index, group)| group.slots.iter().map(move |s| (s, index)));
        slots.map(|(slot, index)| (slot.identity, index)).collect()
    }

    fn add_missing_variables(&mut self) -> Result<(), OptimError> {
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        let variables = source.variables.lock();
        let variables = variables.unwrap_or_else(PoisonError::into_inner);
        let all = &variables.trainable_variables;
        let seen = source.seen;
        if seen >= all.len() {
            return Ok(());
        }
        source.seen = all.len();
        let trainable: Vec<Tensor> = all.iter().map(|v| v.tensor.shallow_clone()).collect();
        let groups: Vec<usize> = all.iter().map(|variable| variable.group).collect();
        let named = variables.named_variables.iter();
        let named: Vec<_> = named
            .map(|(name, t)| (name.clone(), t.shallow_clone()))
            .collect();
        drop(variables);
        let order = crate::walk::order_of_parameters(&trainable, named);
        let missing = order.into_iter().filter(|index| *index >= seen);
        let missing = missing.map(|index| (trainable[index].shallow_clone(), groups[index]));
        // A tied variable is one parameter, as in `Module.parameters()`.
        let mut known: BTreeSet<usize> = self.known().into_keys().collect();
        for (param, group) in missing {
            if known.insert(registry::identity(&param)) {
                self.push(param, group);
            }
        }
        Ok(())
    }

    /// Adagrad has its state from the beginning on.
    fn begin_states(&mut self) -> Result<(), OptimError> {
        if !matches!(self.defaults, Options::Adagrad(_)) {
            return Ok(());
        }
        for slot in self.groups.iter_mut().flat_map(|group| &mut group.slots) {
            slot.state = Some(self.defaults.new_state(&slot.param)?);
        }
        Ok(())
    }

    fn require_kind(&self, group: usize, options: &Options) -> Result<(), OptimError> {
        if std::mem::discriminant(options) == std::mem::discriminant(&self.defaults) {
            return Ok(());
        }
        Err(OptimError::Kind {
            group,
            expected: self.defaults.optimizer(),
            found: options.optimizer(),
        })
    }

    /// The number of parameter groups.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The options that groups have by default.
    pub fn defaults(&self) -> &Options {
        &self.defaults
    }

    /// The options of a group.
    ///
    /// # Errors
    ///
    /// [`OptimError::Group`] if there is no such group.
    pub fn group_options(&self, group: usize) -> Result<&Options, OptimError> {
        let count = self.groups.len();
        let found = self.groups.get(group);
        found
            .map(|group| &group.options)
            .ok_or(OptimError::Group { group, count })
    }

    /// The parameters of a group.
    ///
    /// # Errors
    ///
    /// [`OptimError::Group`] if there is no such group.
    pub fn group_params(&self, group: usize) -> Result<Vec<Tensor>, OptimError> {
        let count = self.groups.len();
        let found = self.groups.get(group);
        found
            .map(|group| {
                group
                    .slots
                    .iter()
                    .map(|s| s.param.shallow_clone())
                    .collect()
            })
            .ok_or(OptimError::Group { group, count })
    }

    /// Sets the options of a group, which are not checked, as in PyTorch.
    ///
    /// # Errors
    ///
    /// [`OptimError::Group`] if there is no such group, [`OptimError::Kind`] for options of another optimizer.
    pub fn set_group_options(
        &mut self,
        group: usize,
        options: impl Into<Options>,
    ) -> Result<(), OptimError> {
        let options = options.into();
        self.require_kind(group, &options)?;
        self.group_mut(group)?.options = options;
        Ok(())
    }

    pub(super) fn group_mut(&mut self, group: usize) -> Result<&mut Group, OptimError> {
        let count = self.groups.len();
        let found = self.groups.get_mut(group);
        found.ok_or(OptimError::Group { group, count })
    }

    /// Performs one step, as `Optimizer.step` under `torch.no_grad`: parameters with a gradient are updated, others are
    /// left as they are.
    ///
    /// # Errors
    ///
    /// [`OptimError::Sparse`] for a sparse gradient that the optimizer does not take; then no parameter of its group has
    /// changed. [`OptimError::Step`] if the update of a parameter fails; then those before it have changed.
    pub fn f_step(&mut self) -> Result<(), OptimError> {
        self.add_missing_variables()?;
        let _guard = no_grad_guard();
        let defaults = self.defaults;
        for (number, group) in self.groups.iter_mut().enumerate() {
            let Group { slots, options, .. } = group;
            let optimizer = options.optimizer();
            let mut work = Vec::with_capacity(slots.len());
            for (index, slot) in slots.iter_mut().enumerate() {
                let grad = slot.param.f_grad()?;
                if !grad.defined() {
                    continue;
                }
                if grad.is_sparse() && !options.takes_sparse() {
                    return Err(OptimError::Sparse {
                        optimizer,
                        group: number,
                        index,
                        shape: slot.param.size(),
                    });
                }
                work.push((index, slot, grad));
            }
            for (index, slot, grad) in work {
                let (param, state) = (&slot.param, &mut slot.state);
                step_one(options, &defaults, param, grad, state).map_err(|cause| {
                    OptimError::Step {
                        optimizer,
                        group: number,
                        index,
                        shape: param.size(),
                        cause: Box::new(cause),
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Performs one step.
    ///
    /// # Panics
    ///
    /// Where [`f_step`](Optimizer::f_step) fails.
    pub fn step(&mut self) {
        or_panic(self.f_step());
    }

    /// Removes the gradients of all parameters, as `Optimizer.zero_grad()` of Python and tch's do.
    ///
    /// # Errors
    ///
    /// [`OptimError::Libtorch`] if libtorch fails.
    pub fn f_zero_grad(&mut self) -> Result<(), OptimError> {
        self.clear_gradients(true)
    }

    /// Removes the gradients of all parameters.
    ///
    /// # Panics
    ///
    /// Where [`f_zero_grad`](Optimizer::f_zero_grad) fails.
    pub fn zero_grad(&mut self) {
        or_panic(self.f_zero_grad());
    }

    /// Fills the gradients of all parameters with zeros, as `Optimizer.zero_grad(set_to_none=False)`. A parameter whose
    /// gradient is zero takes part in a step; one without a gradient does not.
    ///
    /// # Errors
    ///
    /// [`OptimError::Libtorch`] if libtorch fails.
    pub fn zero_grad_in_place(&mut self) -> Result<(), OptimError> {
        self.clear_gradients(false)
    }

    fn clear_gradients(&mut self, set_to_none: bool) -> Result<(), OptimError> {
        self.add_missing_variables()?;
        for slot in self.groups.iter().flat_map(|group| &group.slots) {
            ffi::zero_grad(&slot.param, set_to_none)
                .map_err(|message| OptimError::libtorch("zero_grad", &message))?;
        }
        Ok(())
    }

    /// Removes the gradients, computes those of the loss, and performs one step.
    ///
    /// # Errors
    ///
    /// As [`f_step`](Optimizer::f_step), and [`OptimError::Libtorch`] if the backward pass fails.
    pub fn f_backward_step(&mut self, loss: &Tensor) -> Result<(), OptimError> {
        self.f_zero_grad()?;
        backward(loss)?;
        self.f_step()
    }

    /// Removes the gradients, computes those of the loss, and performs one step.
    ///
    /// # Panics
    ///
    /// Where [`f_backward_step`](Optimizer::f_backward_step) fails.
    pub fn backward_step(&mut self, loss: &Tensor) {
        or_panic(self.f_backward_step(loss));
    }

    /// As [`f_backward_step`](Optimizer::f_backward_step), with the elements of the gradients clipped by
    /// [`clip_grad_value_`].
    ///
    /// # Errors
    ///
    /// As `f_backward_step`.
    pub fn f_backward_step_clip(&mut self, loss: &Tensor, max: f64) -> Result<(), OptimError> {
        self.f_zero_grad()?;
        backward(loss)?;
        self.f_clip_grad_value(max)?;
        self.f_step()
    }

    /// As [`backward_step`](Optimizer::backward_step), with the elements of the gradients clipped by [`clip_grad_value_`].
    ///
    /// # Panics
    ///
    /// Where [`f_backward_step_clip`](Optimizer::f_backward_step_clip) fails.
    pub fn backward_step_clip(&mut self, loss: &Tensor, max: f64) {
        or_panic(self.f_backward_step_clip(loss, max));
    }

    /// As [`f_backward_step`](Optimizer::f_backward_step), with the gradients clipped by [`clip_grad_norm_`] to a norm of
    /// order 2. Returns the norm that they had.
    ///
    /// # Errors
    ///
    /// As `f_backward_step`.
    pub fn f_backward_step_clip_norm(
        &mut self,
        loss: &Tensor,
        max: f64,
    ) -> Result<Tensor, OptimError> {
        self.f_zero_grad()?;
        backward(loss)?;
        let norm = self.f_clip_grad_norm(max)?;
        self.f_step()?;
        Ok(norm)
    }

    /// As [`backward_step`](Optimizer::backward_step), with the gradients clipped by [`clip_grad_norm_`] to a norm of order
    /// 2.
    ///
    /// # Panics
    ///
    /// Where [`f_backward_step_clip_norm`](Optimizer::f_backward_step_clip_norm) fails.
    pub fn backward_step_clip_norm(&mut self, loss: &Tensor, max: f64) {
        or_panic(self.f_backward_step_clip_norm(loss, max));
    }

    /// Clips the elements of the gradients of all parameters, by [`clip_grad_value_`].
    ///
    /// # Errors
    ///
    /// As `clip_grad_value_`.
    pub fn f_clip_grad_value(&self, max: f64) -> Result<(), OptimError> {
        clip_grad_value_(&self.trainable_variables(), max)
    }

    /// Clips the elements of the gradients of all parameters, by [`clip_grad_value_`].
    ///
    /// # Panics
    ///
    /// Where [`f_clip_grad_value`](Optimizer::f_clip_grad_value) fails.
    pub fn clip_grad_value(&self, max: f64) {
        or_panic(self.f_clip_grad_value(max));
    }

    /// Clips the norm of order 2 of the gradients of all parameters, by [`clip_grad_norm_`]. Returns the norm that they had.
    ///
    /// # Errors
    ///
    /// As `clip_grad_norm_`.
    pub fn f_clip_grad_norm(&self, max: f64) -> Result<Tensor, OptimError> {
        clip_grad_norm_(&self.trainable_variables(), max, 2.0, false)
    }

    /// Clips the norm of order 2 of the gradients of all parameters, by [`clip_grad_norm_`].
    ///
    /// # Panics
    ///
    /// Where [`f_clip_grad_norm`](Optimizer::f_clip_grad_norm) fails.
    pub fn clip_grad_norm(&self, max: f64) {
        or_panic(self.f_clip_grad_norm(max));
    }

    /// The parameters of all groups, in order.
    pub fn trainable_variables(&self) -> Vec<Tensor> {
        let slots = self.groups.iter().flat_map(|group| &group.slots);
        slots.map(|slot| slot.param.shallow_clone()).collect()
    }

    /// The learning rates of all groups.
    pub fn lrs(&self) -> Vec<f64> {
        self.groups.iter().map(|group| group.options.lr()).collect()
    }

    /// Sets the learning rate of all groups, and of groups that are added later.
    pub fn set_lr(&mut self, lr: f64) {
        self.defaults.set_lr(lr);
        for group in &mut self.groups {
            group.options.set_lr(lr);
        }
    }

    /// Sets the learning rate of a group.
    ///
    /// # Errors
    ///
    /// [`OptimError::Group`] if there is no such group.
    pub fn f_set_lr_group(&mut self, group: usize, lr: f64) -> Result<(), OptimError> {
        self.group_mut(group)?.options.set_lr(lr);
        Ok(())
    }

    /// Sets the learning rate of a group.
    ///
    /// # Panics
    ///
    /// If there is no such group.
    pub fn set_lr_group(&mut self, group: usize, lr: f64) {
        or_panic(self.f_set_lr_group(group, lr));
    }

    /// Sets the momentum of all groups, or the first of the betas where the optimizer has those.
    ///
    /// # Errors
    ///
    /// [`OptimError::NoOption`] if the optimizer has neither.
    pub fn f_set_momentum(&mut self, momentum: f64) -> Result<(), OptimError> {
        self.defaults.set_momentum(momentum)?;
        for group in &mut self.groups {
            group.options.set_momentum(momentum)?;
        }
        Ok(())
    }

    /// Sets the momentum of all groups, or the first of the betas.
    ///
    /// # Panics
    ///
    /// If the optimizer has neither.
    pub fn set_momentum(&mut self, momentum: f64) {
        or_panic(self.f_set_momentum(momentum));
    }

    /// Sets the momentum of a group, or the first of the betas where the optimizer has those.
    ///
    /// # Errors
    ///
    /// [`OptimError::Group`] if there is no such group, [`OptimError::NoOption`] if the optimizer has neither.
    pub fn f_set_momentum_group(&mut self, group: usize, momentum: f64) -> Result<(), OptimError> {
        self.group_mut(group)?.options.set_momentum(momentum)
    }

    /// Sets the momentum of a group, or the first of the betas.
    ///
    /// # Panics
    ///
    /// If there is no such group, or the optimizer has neither.
    pub fn set_momentum_group(&mut self, group: usize, momentum: f64) {
        or_panic(self.f_set_momentum_group(group, momentum));
    }

    /// Sets the weight decay of all groups, and of groups that are added later.
    pub fn set_weight_decay(&mut self, weight_decay: f64) {
        self.defaults.set_weight_decay(weight_decay);
        for group in &mut self.groups {
            group.options.set_weight_decay(weight_decay);
        }
    }

    /// Sets the weight decay of a group.
    ///
    /// # Errors
    ///
    /// [`OptimError::Group`] if there is no such group.
    pub fn f_set_weight_decay_group(
        &mut self,
        group: usize,
        weight_decay: f64,
    ) -> Result<(), OptimError> {
        let group = self.group_mut(group)?;
        group.options.set_weight_decay(weight_decay);
        Ok(())
    }

    /// Sets the weight decay of a group.
    ///
    /// # Panics
    ///
    /// If there is no such group.
    pub fn set_weight_decay_group(&mut self, group: usize, weight_decay: f64) {
        or_panic(self.f_set_weight_decay_group(group, weight_decay));
    }
}

fn step_one(
    options: &Options,
    defaults: &Options,
    param: &Tensor,
    grad: Tensor,
    state: &mut Option<super::state::ParamState>,
) -> Result<(), OptimError> {
    let state = match state {
        Some(state) => state,
        None => {
            let options = match defaults {
                // Its initial value is that of the optimizer, not that of the group.
                Options::Adagrad(_) => defaults,
                _ => options,
            };
            state.insert(options.new_state(param)?)
        }
    };
    options.update(param, grad, state)
}

fn backward(loss: &Tensor) -> Result<(), OptimError> {
    loss.f_backward().map_err(|error| match error {
        tch::TchError::Torch(message) => OptimError::libtorch("backward", &message),
        other => OptimError::libtorch("backward", &other.to_string()),
    })
}

/// Functions that tch has panic as tch's do.
fn or_panic<T>(result: Result<T, OptimError>) {
    if let Err(error) = result {
        let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        let causes: String = causes.map(|cause| format!(": {cause}")).collect();
        panic!("{error}{causes}");
    }
}
