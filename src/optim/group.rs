//! Groups of parameters.

use super::error::OptimError;
use super::options::Options;
use super::rule::OptionValue;
use super::state::ParamState;
use crate::nn::registry;
use tch::Tensor;

/// Parameters with options, to be given to an optimizer: what is a dictionary in Python.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::optim::{AdamW, Optimizer, ParamGroup};
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let new = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let (weight, bias) = (new(&[2, 3]), new(&[2]));
/// let options = AdamW::default().lr(6e-4).betas((0.9, 0.95)).weight_decay(0.1);
/// // AdamW([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}], lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)
/// let groups = [
///     ParamGroup::new([weight]),
///     ParamGroup::new([bias]).options(options.weight_decay(0.0)),
/// ];
/// let opt = Optimizer::with_groups(groups, options)?;
/// assert_eq!(opt.group_count(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ParamGroup {
    pub(super) params: Vec<Tensor>,
    pub(super) options: Option<Options>,
}

impl ParamGroup {
    /// Parameters with the optimizer's options.
    pub fn new(params: impl IntoIterator<Item = Tensor>) -> ParamGroup {
        ParamGroup {
            params: params.into_iter().collect(),
            options: None,
        }
    }

    /// Sets the options of the group, which are not checked, as in PyTorch.
    #[must_use]
    pub fn options(mut self, options: impl Into<Options>) -> ParamGroup {
        self.options = Some(options.into());
        self
    }
}

/// A parameter of an optimizer, with its state.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) param: Tensor,
    /// The address that all handles of the tensor share.
    pub(super) identity: usize,
    /// Nothing before the first step.
    pub(super) state: Option<ParamState>,
}

/// A group of an optimizer.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) slots: Vec<Slot>,
    pub(super) options: Options,
    /// Entries that schedules add, such as `initial_lr`.
    pub(super) extra: Vec<(String, OptionValue)>,
}

impl Group {
    pub(super) fn new(options: Options) -> Group {
        Group {
            slots: Vec::new(),
            options,
            extra: Vec::new(),
        }
    }

    pub(super) fn extra(&self, name: &str) -> Option<f64> {
        let mut entries = self.extra.iter();
        let found = entries.find(|(entry, _)| entry == name);
        found.and_then(|(_, value)| value.as_f64())
    }

    pub(super) fn set_extra(&mut self, name: &str, value: OptionValue) {
        match self.extra.iter_mut().find(|(entry, _)| entry == name) {
            Some((_, entry)) => *entry = value,
            None => self.extra.push((name.to_owned(), value)),
        }
    }
}

impl Slot {
    pub(super) fn new(param: Tensor) -> Slot {
        Slot {
            identity: registry::identity(&param),
            param,
            state: None,
        }
    }
}

/// Checks that the tensor can be a parameter.
pub(super) fn require_leaf(param: &Tensor, group: usize, index: usize) -> Result<(), OptimError> {
    if param.f_is_leaf()? || param.f_retains_grad()? {
        return Ok(());
    }
    Err(OptimError::NonLeaf {
        group,
        index,
        shape: param.size(),
    })
}
