//! `Optimizer.state_dict` and `load_state_dict`, `torch/optim/optimizer.py` of PyTorch 2.13.

use super::error::OptimError;
use super::optimizer::Optimizer;
use super::options::Options;
use super::rule::OptionValue;
use super::state::{ParamState, clone};
use tch::{Kind, Tensor, no_grad};

/// The state of an optimizer, as `Optimizer.state_dict()` of Python.
#[derive(Debug, Default)]
pub struct StateDict {
    /// The state of each parameter that has one: its number, and its tensors by their names. Parameters are numbered
    /// through all groups.
    pub state: Vec<(usize, Vec<(String, Tensor)>)>,
    /// The groups.
    pub param_groups: Vec<GroupState>,
}

/// A group of a [`StateDict`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupState {
    /// The options by their names in Python.
    pub options: Vec<(String, OptionValue)>,
    /// The numbers of the parameters.
    pub params: Vec<usize>,
}

/// Entries that Python has in groups and that change the formula or its bits.
const REFUSED: [&str; 3] = ["capturable", "differentiable", "fused"];

impl Optimizer {
    /// Returns the state, whose tensors are those of the optimizer: they change with the next step. As in Python,
    /// parameters that have made no step have no state.
    ///
    /// # Errors
    ///
    /// [`OptimError::Libtorch`] if libtorch fails.
    pub fn state_dict(&self) -> Result<StateDict, OptimError> {
        let mut dict = StateDict::default();
        let mut number = 0;
        for group in &self.groups {
            let entries = group.options.entries().into_iter();
            let mut options: Vec<(String, OptionValue)> = entries
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            options.extend(group.extra.iter().cloned());
            let first = number;
            for slot in &group.slots {
                if let Some(state) = &slot.state
                    && !state.entries.is_empty()
                {
                    let entries = state.entries.iter();
                    let entries = entries.map(|(name, t)| (name.clone(), t.shallow_clone()));
                    dict.state.push((number, entries.collect()));
                }
                number += 1;
            }
            dict.param_groups.push(GroupState {
                options,
                params: (first..number).collect(),
            });
        }
        Ok(dict)
    }

    /// Takes over a state, also one of Python. The tensors are copied; they get the dtype and the device of their parameter,
    /// except `step`.
    ///
    /// # Errors
    ///
    /// [`OptimError::StateDict`] for other numbers of groups or parameters, and for options that this optimizer does not
    /// have. Then the optimizer is unchanged.
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<(), OptimError> {
        let refuse = |message: String| Err(OptimError::StateDict { message });
        if dict.param_groups.len() != self.groups.len() {
            return refuse(format!(
                "loaded state dict has a different number of parameter groups: {}, the optimizer has {}",
                dict.param_groups.len(),
                self.groups.len()
            ));
        }
        let mut loaded = Vec::with_capacity(self.groups.len());
        for (index, (group, saved)) in self.groups.iter().zip(&dict.param_groups).enumerate() {
            if group.slots.len() != saved.params.len() {
                return refuse(format!(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: group \
                     {index} has {} parameters, the optimizer's has {}",
                    saved.params.len(),
                    group.slots.len()
                ));
            }
            let (mut options, mut extra) = (group.options, Vec::new());
            for (name, value) in &saved.options {
                load_option(&mut options, &mut extra, name, value, index)?;
            }
            let mut states = Vec::with_capacity(group.slots.len());
            for (slot, number) in group.slots.iter().zip(&saved.params) {
                let mut entries = dict.state.iter();
                states.push(match entries.find(|(entry, _)| entry == number) {
                    Some((_, entries)) => Some(no_grad(|| load_state(&slot.param, entries))?),
                    None => None,
                });
            }
            loaded.push((options, extra, states));
        }
        for (group, (options, extra, states)) in self.groups.iter_mut().zip(loaded) {
            (group.options, group.extra) = (options, extra);
            for (slot, state) in group.slots.iter_mut().zip(states) {
                slot.state = state;
            }
        }
        Ok(())
    }
}

fn load_option(
    options: &mut Options,
    extra: &mut Vec<(String, OptionValue)>,
    name: &str,
    value: &OptionValue,
    group: usize,
) -> Result<(), OptimError> {
    let refuse = |reason: &str| {
        Err(OptimError::StateDict {
            message: format!("group {group}: {name} = {value:?}: {reason}"),
        })
    };
    if name == "params" {
        return Ok(());
    }
    match options.set_entry(name, value) {
        Some(true) => return Ok(()),
        Some(false) => {}
        None => return refuse("the value is of another type"),
    }
    let is_true = *value == OptionValue::Bool(true);
    if REFUSED.contains(&name) {
        if is_true {
            return refuse("only the default gives the same bits; set it to False in Python");
        }
        return Ok(());
    }
    if options.entries().iter().any(|(entry, _)| *entry == name) {
        // `foreach`, and AdamW's `decoupled_weight_decay`, which is always true.
        return Ok(());
    }
    extra.push((name.to_owned(), value.clone()));
    Ok(())
}

fn load_state(param: &Tensor, entries: &[(String, Tensor)]) -> Result<ParamState, OptimError> {
    let floating = matches!(
        param.kind(),
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double
    );
    let mut state = ParamState::default();
    for (name, value) in entries {
        let value = if name == "step" {
            // Old checkpoints have a number.
            match value.kind() {
                Kind::Float | Kind::Double => clone(value)?,
                _ => value.f_to_kind(Kind::Float)?,
            }
        } else {
            let kind = if floating { param.kind() } else { value.kind() };
            let value = value.f_to_device(param.device())?.f_to_kind(kind)?;
            if value.size() == param.size() && !value.is_sparse() {
                // With the strides of the parameter, as a new state has them: a file may lack them.
                let mut own = param.f_zeros_like()?.f_to_kind(kind)?;
                own.f_copy_(&value)?;
                own
            } else {
                clone(&value)?
            }
        };
        state.entries.push((name.clone(), value));
    }
    Ok(state)
}
