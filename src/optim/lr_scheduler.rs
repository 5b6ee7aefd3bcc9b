//! `torch.optim.lr_scheduler`, `torch/optim/lr_scheduler.py` of PyTorch 2.13: schedules that are a formula of the step.
//!
//! Most compute a learning rate from the one before, as PyTorch does, so that schedules can be combined; the closed forms
//! of the same formulas have other last bits.

use super::error::OptimError;
use super::optimizer::Optimizer;
use super::python_number::{divide, pow};
use super::rule::OptionValue;
use crate::nn::config::config;
use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::fmt;

/// A factor of the learning rate at a step.
type Factor = Box<dyn FnMut(i64) -> f64 + Send>;

/// A learning-rate schedule of an optimizer: one of `torch.optim.lr_scheduler`.
///
/// A constructor such as [`StepLR::build`] makes it for an optimizer and sets the first learning rate, as in Python.
/// [`step`](LrScheduler::step) after the optimizer's step sets the next one.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::optim::{Optimizer, SGD, StepLR};
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let w = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let mut opt = Optimizer::new([w], SGD::default().lr(1.0))?;
/// let mut scheduler = StepLR::new(2).gamma(0.5).build(&mut opt)?;
/// let mut lrs = Vec::new();
/// for _ in 0..4 {
///     lrs.push(scheduler.last_lr()[0]);
///     opt.step();
///     scheduler.step(&mut opt)?;
/// }
/// assert_eq!(lrs, [1.0, 1.0, 0.5, 0.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LrScheduler {
    formula: Formula,
    base_lrs: Vec<f64>,
    last_epoch: i64,
    step_count: i64,
    is_initial: bool,
    last_lr: Vec<f64>,
}

#[derive(Debug)]
enum Formula {
    Step(StepLR),
    MultiStep {
        milestones: BTreeMap<i64, i64>,
        gamma: f64,
    },
    Constant(ConstantLR),
    Linear(LinearLR),
    Exponential(ExponentialLR),
    Polynomial(PolynomialLR),
    Cosine(CosineAnnealingLR),
    WarmRestarts {
        options: CosineAnnealingWarmRestarts,
        t_cur: i64,
        t_i: i64,
    },
    OneCycle(OneCycle),
    Lambda(Factors),
    Multiplicative(Factors),
    Sequential {
        schedulers: Vec<LrScheduler>,
        milestones: Vec<i64>,
    },
}

/// A factor for each group.
struct Factors(Vec<Factor>);

impl fmt::Debug for Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} functions", self.0.len())
    }
}

/// Declares the options of a schedule: those that must be given, and those with a default.
macro_rules! schedule {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$given_doc:meta])* $given:ident: $given_type:ty,)*
            =>
            $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$given_doc])* pub $given: $given_type,)*
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            /// The schedule with PyTorch's defaults.
            #[allow(clippy::new_without_default)]
            pub fn new($($given: $given_type),*) -> $name {
                $name { $($given,)* $($field: $default,)* }
            }

            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $type) -> $name {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

schedule! {
    /// `StepLR`: the learning rate is multiplied by `gamma` every `step_size` steps.
    pub struct StepLR {
        /// After how many steps.
        step_size: i64,
        =>
        /// The factor. PyTorch's default: 0.1.
        gamma: f64 = 0.1,
    }
}

schedule! {
    /// `ConstantLR`: a factor until a step.
    pub struct ConstantLR {
        =>
        /// The factor. PyTorch's default: 1/3.
        factor: f64 = 1.0 / 3.0,
        /// The step from which on it is 1. PyTorch's default: 5.
        total_iters: i64 = 5,
    }
}

schedule! {
    /// `LinearLR`: a factor that changes linearly.
    pub struct LinearLR {
        =>
        /// The first factor. PyTorch's default: 1/3.
        start_factor: f64 = 1.0 / 3.0,
        /// The last factor. PyTorch's default: 1.
        end_factor: f64 = 1.0,
        /// The step that has the last factor. PyTorch's default: 5.
        total_iters: i64 = 5,
    }
}

schedule! {
    /// `ExponentialLR`: the learning rate is multiplied by `gamma` at every step.
    pub struct ExponentialLR {
        /// The factor.
        gamma: f64,
        =>
    }
}

schedule! {
    /// `PolynomialLR`: the learning rate falls to zero as a power of the remaining steps.
    pub struct PolynomialLR {
        =>
        /// The step that has zero. PyTorch's default: 5.
        total_iters: i64 = 5,
        /// The power. PyTorch's default: 1.
        power: f64 = 1.0,
    }
}

schedule! {
    /// `CosineAnnealingLR`: the learning rate falls to `eta_min` as a cosine does.
    pub struct CosineAnnealingLR {
        /// The step that has the least.
        t_max: i64,
        =>
        /// The least learning rate. PyTorch's default: 0.
        eta_min: f64 = 0.0,
    }
}

schedule! {
    /// `CosineAnnealingWarmRestarts`: periods in which the learning rate falls to `eta_min` as a cosine does.
    pub struct CosineAnnealingWarmRestarts {
        /// The number of steps of the first period.
        t_0: i64,
        =>
        /// By how much each period is longer than the one before. PyTorch's default: 1.
        t_mult: i64 = 1,
        /// The least learning rate. PyTorch's default: 0.
        eta_min: f64 = 0.0,
    }
}

/// How [`OneCycleLR`] gets from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnealStrategy {
    /// As a cosine does: `"cos"`, PyTorch's default.
    Cos,
    /// Linearly: `"linear"`.
    Linear,
}

config! {
    /// Options of `OneCycleLR`: the learning rate rises to a maximum and falls again, while the momentum, or the first of
    /// the betas, does the opposite.
    #[derive(Debug, Clone, PartialEq)]
    pub struct OneCycleLR {
        /// The greatest learning rate of each group, or one for all. It must be given.
        max_lr: Vec<f64> = Vec::new(),
        /// The number of steps. It must be given; `epochs * steps_per_epoch` in PyTorch's other form.
        total_steps: i64 = 0,
        /// The part of the steps in which the learning rate rises. PyTorch's default: 0.3.
        pct_start: f64 = 0.3,
        /// How values change. PyTorch's default: as a cosine.
        anneal_strategy: AnnealStrategy = AnnealStrategy::Cos,
        /// Whether the momentum changes too. PyTorch's default: yes.
        cycle_momentum: bool = true,
        /// The least momentum of each group, or one for all. PyTorch's default: 0.85.
        base_momentum: Vec<f64> = vec![0.85],
        /// The greatest momentum of each group, or one for all. PyTorch's default: 0.95.
        max_momentum: Vec<f64> = vec![0.95],
        /// By how much the first learning rate is less than the greatest. PyTorch's default: 25.
        div_factor: f64 = 25.0,
        /// By how much the last learning rate is less than the first. PyTorch's default: 1e4.
        final_div_factor: f64 = 1e4,
        /// Whether the learning rate falls to the first one before it falls to the last. PyTorch's default: no.
        three_phase: bool = false,
    }
}

#[derive(Debug)]
struct OneCycle {
    total_steps: i64,
    anneal: AnnealStrategy,
    cycle_momentum: bool,
    phases: Vec<Phase>,
}

/// A phase of `OneCycleLR`: its last step, and the entries of groups that it goes between.
#[derive(Debug)]
struct Phase {
    end: f64,
    lr: (&'static str, &'static str),
    momentum: (&'static str, &'static str),
}

/// `MultiStepLR`: the learning rate is multiplied by `gamma` at each milestone.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiStepLR {
    milestones: Vec<i64>,
    gamma: f64,
}

impl MultiStepLR {
    /// The schedule with PyTorch's `gamma`, 0.1. A milestone that is given twice counts twice.
    pub fn new(milestones: &[i64]) -> MultiStepLR {
        MultiStepLR {
            milestones: milestones.to_vec(),
            gamma: 0.1,
        }
    }

    /// The factor. PyTorch's default: 0.1.
    #[must_use]
    pub fn gamma(mut self, gamma: f64) -> MultiStepLR {
        self.gamma = gamma;
        self
    }

    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// As [`LrScheduler::step`].
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        let mut milestones = BTreeMap::new();
        for milestone in self.milestones {
            *milestones.entry(milestone).or_insert(0) += 1;
        }
        let gamma = self.gamma;
        LrScheduler::begin(opt, Formula::MultiStep { milestones, gamma })
    }
}

impl StepLR {
    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// As [`LrScheduler::step`].
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        LrScheduler::begin(opt, Formula::Step(self))
    }
}

fn require(name: &'static str, valid: bool, message: &str) -> Result<(), OptimError> {
    if valid {
        return Ok(());
    }
    Err(OptimError::argument(name, message))
}

impl ConstantLR {
    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// [`OptimError::Argument`] for a factor below 0 or above 1.
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        require(
            "ConstantLR",
            (0.0..=1.0).contains(&self.factor) || self.factor.is_nan(),
            "Constant multiplicative factor expected to be between 0 and 1.",
        )?;
        LrScheduler::begin(opt, Formula::Constant(self))
    }
}

impl LinearLR {
    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// [`OptimError::Argument`] for a first factor that is not above 0 or above 1, and for a last one below 0 or above 1.
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        let (start, end) = (self.start_factor, self.end_factor);
        require(
            "LinearLR",
            !(start > 1.0 || start <= 0.0),
            "Starting multiplicative factor expected to be greater than 0 and less or equal to 1.",
        )?;
        require(
            "LinearLR",
            (0.0..=1.0).contains(&end) || end.is_nan(),
            "Ending multiplicative factor expected to be between 0 and 1.",
        )?;
        LrScheduler::begin(opt, Formula::Linear(self))
    }
}

impl ExponentialLR {
    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// As [`LrScheduler::step`].
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        LrScheduler::begin(opt, Formula::Exponential(self))
    }
}

impl PolynomialLR {
    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// As [`LrScheduler::step`].
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        LrScheduler::begin(opt, Formula::Polynomial(self))
    }
}

impl CosineAnnealingLR {
    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// As [`LrScheduler::step`].
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        LrScheduler::begin(opt, Formula::Cosine(self))
    }
}

impl CosineAnnealingWarmRestarts {
    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// [`OptimError::Argument`] for a period that is not positive, or a factor below 1.
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        let name = "CosineAnnealingWarmRestarts";
        let message = format!("Expected positive integer T_0, but got {}", self.t_0);
        require(name, self.t_0 > 0, &message)?;
        let message = format!("Expected integer T_mult >= 1, but got {}", self.t_mult);
        require(name, self.t_mult >= 1, &message)?;
        let formula = Formula::WarmRestarts {
            t_cur: -1,
            t_i: self.t_0,
            options: self,
        };
        LrScheduler::begin(opt, formula)
    }
}

/// A value for each group, from one for all or from a list.
fn per_group(name: &'static str, values: &[f64], groups: usize) -> Result<Vec<f64>, OptimError> {
    if let [value] = values {
        return Ok(vec![*value; groups]);
    }
    let message = format!(
        "{name} must have the same length as optimizer.param_groups. {name} has {} values, param_groups has {groups}.",
        values.len()
    );
    require("OneCycleLR", values.len() == groups, &message)?;
    Ok(values.to_vec())
}

impl OneCycleLR {
    /// The schedule with PyTorch's defaults, and one greatest learning rate.
    pub fn new(max_lr: f64, total_steps: i64) -> OneCycleLR {
        let options = OneCycleLR::default().max_lr(vec![max_lr]);
        options.total_steps(total_steps)
    }

    /// Makes the schedule of an optimizer.
    ///
    /// # Errors
    ///
    /// [`OptimError::Argument`] for a number of steps that is not positive, a part that is not one, lists of another length
    /// than that of the groups, and an optimizer without momentum whose momentum is to change.
    pub fn build(self, opt: &mut Optimizer) -> Result<LrScheduler, OptimError> {
        let name = "OneCycleLR";
        let total = self.total_steps;
        let message = format!("Expected positive integer total_steps, but got {total}");
        require(name, total > 0, &message)?;
        let (pct, steps) = (self.pct_start, total as f64);
        let message = format!(
            "Expected float between 0 and 1 pct_start, but got {}",
            super::python_number::repr(pct)
        );
        require(name, (0.0..=1.0).contains(&pct), &message)?;
        let phase = |end, lr, momentum| Phase { end, lr, momentum };
        let falling = ("max_momentum", "base_momentum");
        let rising = ("base_momentum", "max_momentum");
        let up = phase(pct * steps - 1.0, ("initial_lr", "max_lr"), falling);
        let last = (total - 1) as f64;
        let phases = if self.three_phase {
            let end = 2.0 * pct * steps - 2.0;
            let level = ("max_momentum", "max_momentum");
            vec![
                up,
                phase(end, ("max_lr", "initial_lr"), rising),
                phase(last, ("initial_lr", "min_lr"), level),
            ]
        } else {
            vec![up, phase(last, ("max_lr", "min_lr"), rising)]
        };
        let groups = opt.groups.len();
        let max_lrs = per_group("max_lr", &self.max_lr, groups)?;
        if self.cycle_momentum {
            require(
                name,
                opt.defaults.momentum().is_some(),
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled",
            )?;
        }
        let largest = per_group("max_momentum", &self.max_momentum, groups)?;
        let least = per_group("base_momentum", &self.base_momentum, groups)?;
        for (index, group) in opt.groups.iter_mut().enumerate() {
            let initial = divide(max_lrs[index], self.div_factor, "div_factor")?;
            let min = divide(initial, self.final_div_factor, "final_div_factor")?;
            group.set_extra("initial_lr", OptionValue::Float(initial));
            group.set_extra("max_lr", OptionValue::Float(max_lrs[index]));
            group.set_extra("min_lr", OptionValue::Float(min));
            if self.cycle_momentum {
                group.options.set_momentum(largest[index])?;
                group.set_extra("max_momentum", OptionValue::Float(largest[index]));
                group.set_extra("base_momentum", OptionValue::Float(least[index]));
            }
        }
        let formula = Formula::OneCycle(OneCycle {
            total_steps: total,
            anneal: self.anneal_strategy,
            cycle_momentum: self.cycle_momentum,
            phases,
        });
        LrScheduler::begin(opt, formula)
    }
}

impl AnnealStrategy {
    fn between(self, start: f64, end: f64, pct: f64) -> f64 {
        match self {
            AnnealStrategy::Cos => {
                let cos_out = (PI * pct).cos() + 1.0;
                end + (start - end) / 2.0 * cos_out
            }
            AnnealStrategy::Linear => (end - start) * pct + start,
        }
    }
}

impl OneCycle {
    fn lrs(&self, opt: &mut Optimizer, step: i64) -> Result<Vec<f64>, OptimError> {
        let message = format!(
            "Tried to step {step} times. The specified number of total steps is {}",
            self.total_steps
        );
        require("OneCycleLR", step <= self.total_steps, &message)?;
        let mut start = 0.0;
        let mut current = None;
        for (index, phase) in self.phases.iter().enumerate() {
            if step as f64 <= phase.end || index + 1 == self.phases.len() {
                let steps = "the number of steps of a phase";
                current = Some((
                    phase,
                    divide(step as f64 - start, phase.end - start, steps)?,
                ));
                break;
            }
            start = phase.end;
        }
        let Some((phase, pct)) = current else {
            return Ok(Vec::new());
        };
        let mut lrs = Vec::with_capacity(opt.groups.len());
        for group in &mut opt.groups {
            let entry = |name: &str| {
                let missing =
                    || OptimError::argument("OneCycleLR", format!("a group lacks {name}"));
                group.extra(name).ok_or_else(missing)
            };
            let lr = self
                .anneal
                .between(entry(phase.lr.0)?, entry(phase.lr.1)?, pct);
            if self.cycle_momentum {
                let (from, to) = (entry(phase.momentum.0)?, entry(phase.momentum.1)?);
                group
                    .options
                    .set_momentum(self.anneal.between(from, to, pct))?;
            }
            lrs.push(lr);
        }
        Ok(lrs)
    }
}

/// `LambdaLR`: the initial learning rate times a function of the step.
///
/// # Errors
///
/// As [`LrScheduler::step`].
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::optim::{Optimizer, SGD, lambda_lr};
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let w = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let mut opt = Optimizer::new([w], SGD::default().lr(1.0))?;
/// let mut scheduler = lambda_lr(&mut opt, |step| 0.5f64.powi(step as i32))?;
/// scheduler.step(&mut opt)?;
/// assert_eq!(opt.lrs(), [0.5]);
/// # Ok(())
/// # }
/// ```
pub fn lambda_lr(
    opt: &mut Optimizer,
    lr_lambda: impl FnMut(i64) -> f64 + Send + Clone + 'static,
) -> Result<LrScheduler, OptimError> {
    let formula = Formula::Lambda(Factors::same(opt, lr_lambda));
    LrScheduler::begin(opt, formula)
}

/// `LambdaLR` with a function for each group.
///
/// # Errors
///
/// [`OptimError::Argument`] for another number of functions than that of the groups.
pub fn lambda_lr_by_group(
    opt: &mut Optimizer,
    lr_lambdas: Vec<Box<dyn FnMut(i64) -> f64 + Send>>,
) -> Result<LrScheduler, OptimError> {
    let (expected, got) = (opt.groups.len(), lr_lambdas.len());
    let message = format!("Expected {expected} lr_lambdas, but got {got}");
    require("LambdaLR", expected == got, &message)?;
    LrScheduler::begin(opt, Formula::Lambda(Factors(lr_lambdas)))
}

/// `MultiplicativeLR`: the learning rate is multiplied by a function of the step at every step.
///
/// # Errors
///
/// As [`LrScheduler::step`].
pub fn multiplicative_lr(
    opt: &mut Optimizer,
    lr_lambda: impl FnMut(i64) -> f64 + Send + Clone + 'static,
) -> Result<LrScheduler, OptimError> {
    let formula = Formula::Multiplicative(Factors::same(opt, lr_lambda));
    LrScheduler::begin(opt, formula)
}

impl Factors {
    fn same(opt: &Optimizer, factor: impl FnMut(i64) -> f64 + Send + Clone + 'static) -> Factors {
        let groups = opt.groups.iter();
        Factors(groups.map(|_| Box::new(factor.clone()) as Factor).collect())
    }
}

/// `SequentialLR`: schedules of the same optimizer, one after the other. From each milestone on, the next one begins.
///
/// # Errors
///
/// [`OptimError::Argument`] without schedules, or with another number of milestones than one less than theirs.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_init::optim::{AdamW, CosineAnnealingLR, LinearLR, Optimizer, sequential_lr};
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let w = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let mut opt = Optimizer::new([w], AdamW::default())?;
/// let warm_up = LinearLR::new().start_factor(0.01).total_iters(10).build(&mut opt)?;
/// let cosine = CosineAnnealingLR::new(90).eta_min(1e-5).build(&mut opt)?;
/// let mut scheduler = sequential_lr(&mut opt, vec![warm_up, cosine], &[10])?;
/// for _ in 0..100 {
///     opt.step();
///     scheduler.step(&mut opt)?;
/// }
/// # Ok(())
/// # }
/// ```
pub fn sequential_lr(
    opt: &mut Optimizer,
    schedulers: Vec<LrScheduler>,
    milestones: &[i64],
) -> Result<LrScheduler, OptimError> {
    let name = "SequentialLR";
    let message = "SequentialLR expects at least one scheduler, but got no scheduler.";
    require(name, !schedulers.is_empty(), message)?;
    let message = format!(
        "Sequential Schedulers expects number of schedulers provided to be one more than the number of milestone points, but \
         got number of schedulers {} and the number of milestones to be equal to {}",
        schedulers.len(),
        milestones.len()
    );
    require(name, milestones.len() + 1 == schedulers.len(), &message)?;
    for group in &mut opt.groups {
        if let Some(lr) = group.extra("initial_lr") {
            group.options.set_lr(lr);
        }
    }
    let mut sequential = LrScheduler {
        formula: Formula::Sequential {
            schedulers,
            milestones: milestones.to_vec(),
        },
        base_lrs: Vec::new(),
        last_epoch: 0,
        step_count: 0,
        is_initial: false,
        last_lr: Vec::new(),
    };
    sequential.undo();
    if let Formula::Sequential { schedulers, .. } = &mut sequential.formula {
        let index = milestones
            .iter()
            .filter(|milestone| **milestone <= 0)
            .count();
        let first = &mut schedulers[index];
        first.initial_step(opt)?;
        sequential.last_lr = first.last_lr.clone();
    }
    Ok(sequential)
}

impl LrScheduler {
    /// `LRScheduler.__init__`
    fn begin(opt: &mut Optimizer, formula: Formula) -> Result<LrScheduler, OptimError> {
        let mut base_lrs = Vec::with_capacity(opt.groups.len());
        for group in &mut opt.groups {
            let lr = group.options.lr();
            let initial = group.extra("initial_lr");
            if initial.is_none() {
                group.set_extra("initial_lr", OptionValue::Float(lr));
            }
            base_lrs.push(initial.unwrap_or(lr));
        }
        let mut scheduler = LrScheduler {
            formula,
            base_lrs,
            last_epoch: -1,
            step_count: 0,
            is_initial: false,
            last_lr: Vec::new(),
        };
        scheduler.initial_step(opt)?;
        Ok(scheduler)
    }

    fn initial_step(&mut self, opt: &mut Optimizer) -> Result<(), OptimError> {
        self.step_count = 0;
        self.is_initial = true;
        let result = self.step(opt);
        self.is_initial = false;
        result
    }

    /// Sets the next learning rate of each group of the optimizer, which is the one that the schedule was made for. To be
    /// called after the optimizer's step.
    ///
    /// # Errors
    ///
    /// [`OptimError::ZeroDivision`] where a formula divides by zero, [`OptimError::Argument`] for more steps than a
    /// `OneCycleLR` has, and if a group was added after the schedule was made.
    pub fn step(&mut self, opt: &mut Optimizer) -> Result<(), OptimError> {
        if let Formula::Sequential {
            schedulers,
            milestones,
        } = &mut self.formula
        {
            self.last_epoch += 1;
            let index = milestones
                .iter()
                .filter(|milestone| **milestone <= self.last_epoch)
                .count();
            let scheduler = &mut schedulers[index];
            if index > 0 && milestones[index - 1] == self.last_epoch {
                scheduler.restart(opt)?;
            } else {
                scheduler.step(opt)?;
            }
            self.last_lr = scheduler.last_lr.clone();
            return Ok(());
        }
        self.step_count += 1;
        if let Formula::WarmRestarts {
            options,
            t_cur,
            t_i,
        } = &mut self.formula
        {
            // Its own `step`, which does not count steps.
            if self.last_epoch < 0 {
                (self.last_epoch, *t_cur, *t_i) = (0, 0, options.t_0);
            } else {
                self.last_epoch += 1;
                *t_cur += 1;
                if *t_cur >= *t_i {
                    *t_cur %= *t_i;
                    *t_i = t_i.saturating_mul(options.t_mult);
                }
            }
        } else {
            self.last_epoch += 1;
        }
        let lrs = self.lrs(opt)?;
        self.set(opt, lrs)
    }

    /// `_update_lr(0)`: begins again from the closed form where there is one.
    fn restart(&mut self, opt: &mut Optimizer) -> Result<(), OptimError> {
        self.last_epoch = 0;
        let lrs = match self.closed_form(opt)? {
            Some(lrs) => lrs,
            None => self.lrs(opt)?,
        };
        self.set(opt, lrs)
    }

    fn set(&mut self, opt: &mut Optimizer, lrs: Vec<f64>) -> Result<(), OptimError> {
        require_groups(opt, lrs.len())?;
        for (group, lr) in opt.groups.iter_mut().zip(&lrs) {
            group.options.set_lr(*lr);
        }
        self.last_lr = lrs;
        Ok(())
    }

    /// The learning rates that the last step set, one for each group: `get_last_lr`.
    pub fn last_lr(&self) -> &[f64] {
        &self.last_lr
    }

    /// The number of steps so far: `last_epoch`.
    pub fn last_epoch(&self) -> i64 {
        self.last_epoch
    }

    /// `recursive_undo`
    fn undo(&mut self) {
        if let Formula::Sequential { schedulers, .. } = &mut self.formula {
            for scheduler in schedulers {
                match scheduler.formula {
                    Formula::Sequential { .. } => scheduler.undo(),
                    _ => scheduler.last_epoch -= 1,
                }
            }
        }
    }

    /// `get_lr`
    fn lrs(&mut self, opt: &mut Optimizer) -> Result<Vec<f64>, OptimError> {
        let epoch = self.last_epoch;
        let (t, initial) = (epoch as f64, self.is_initial);
        let lrs = opt.lrs();
        let times = |factor: f64| lrs.iter().map(|lr| lr * factor).collect();
        Ok(match &mut self.formula {
            Formula::Step(options) => {
                if epoch == 0 || modulo(epoch, options.step_size, "step_size")? != 0 {
                    lrs
                } else {
                    times(options.gamma)
                }
            }
            Formula::MultiStep { milestones, gamma } => match milestones.get(&epoch) {
                Some(count) => times(pow(*gamma, *count as f64)),
                None => lrs,
            },
            Formula::Constant(options) => {
                if epoch == 0 {
                    times(options.factor)
                } else if epoch != options.total_iters {
                    lrs
                } else {
                    times(divide(1.0, options.factor, "factor")?)
                }
            }
            Formula::Linear(options) => {
                let (start, end) = (options.start_factor, options.end_factor);
                if epoch == 0 {
                    times(start)
                } else if initial || epoch > options.total_iters {
                    lrs
                } else {
                    let now = options.total_iters as f64 * start + (t - 1.0) * (end - start);
                    times(1.0 + divide(end - start, now, "the factor")?)
                }
            }
            Formula::Exponential(_) if initial => lrs,
            Formula::Exponential(options) => times(options.gamma),
            Formula::Polynomial(options) => {
                if initial || epoch > options.total_iters {
                    lrs
                } else {
                    let total = options.total_iters as f64;
                    let before = 1.0 - divide(t - 1.0, total, "total_iters")?;
                    let now = 1.0 - divide(t, total, "total_iters")?;
                    times(pow(divide(now, before, "the factor")?, options.power))
                }
            }
            Formula::Cosine(options) => {
                let (t_max, eta_min) = (options.t_max as f64, options.eta_min);
                require_groups(opt, self.base_lrs.len())?;
                let pairs = lrs.iter().zip(&self.base_lrs);
                if initial {
                    lrs
                } else if self.step_count == 1 && epoch > 0 {
                    let cos = divide(t * PI, t_max, "T_max")?.cos();
                    let lr = |base: &f64| eta_min + (base - eta_min) * (1.0 + cos) / 2.0;
                    self.base_lrs.iter().map(lr).collect()
                } else if modulo(epoch - 1 - options.t_max, 2 * options.t_max, "T_max")? == 0 {
                    let cos = divide(PI, t_max, "T_max")?.cos();
                    pairs
                        .map(|(lr, base)| lr + (base - eta_min) * (1.0 - cos) / 2.0)
                        .collect()
                } else {
                    let now = 1.0 + divide(PI * t, t_max, "T_max")?.cos();
                    let before = 1.0 + divide(PI * (t - 1.0), t_max, "T_max")?.cos();
                    let ratio = divide(now, before, "the cosine's factor")?;
                    let lr = |lr: &f64| ratio * (lr - eta_min) + eta_min;
                    lrs.iter().map(lr).collect()
                }
            }
            Formula::WarmRestarts {
                options,
                t_cur,
                t_i,
            } => {
                let cos = divide(PI * *t_cur as f64, *t_i as f64, "T_i")?.cos();
                let eta_min = options.eta_min;
                let lr = |base: &f64| eta_min + (base - eta_min) * (1.0 + cos) / 2.0;
                self.base_lrs.iter().map(lr).collect()
            }
            Formula::OneCycle(cycle) => cycle.lrs(opt, epoch)?,
            Formula::Lambda(factors) => {
                let pairs = factors.0.iter_mut().zip(&self.base_lrs);
                pairs.map(|(factor, base)| base * factor(epoch)).collect()
            }
            Formula::Multiplicative(_) if initial => lrs,
            Formula::Multiplicative(factors) => {
                let pairs = factors.0.iter_mut().zip(&lrs);
                pairs.map(|(factor, lr)| lr * factor(epoch)).collect()
            }
            Formula::Sequential { .. } => {
                return Err(OptimError::argument(
                    "SequentialLR",
                    "a SequentialLR in another one cannot begin at a milestone (PyTorch: NotImplementedError)",
                ));
            }
        })
    }

    /// `_get_closed_form_lr`, where there is one.
    fn closed_form(&self, opt: &Optimizer) -> Result<Option<Vec<f64>>, OptimError> {
        let (epoch, t) = (self.last_epoch, self.last_epoch as f64);
        let times = |factor: f64| self.base_lrs.iter().map(|lr| lr * factor).collect();
        let lrs: Vec<f64> = match &self.formula {
            Formula::Step(options) => {
                modulo(epoch, options.step_size, "step_size")?;
                let steps = epoch.div_euclid(options.step_size);
                times(pow(options.gamma, steps as f64))
            }
            Formula::MultiStep { milestones, gamma } => {
                let passed = milestones.range(..=epoch).map(|(_, count)| count);
                times(pow(*gamma, passed.sum::<i64>() as f64))
            }
            Formula::Constant(options) => {
                let over = f64::from(u8::from(epoch >= options.total_iters));
                times(options.factor + over * (1.0 - options.factor))
            }
            Formula::Linear(options) => {
                let (start, end) = (options.start_factor, options.end_factor);
                let (done, total) = (options.total_iters.min(epoch), options.total_iters as f64);
                let change = divide((end - start) * done as f64, total, "total_iters")?;
                times(start + change)
            }
            Formula::Exponential(options) => times(pow(options.gamma, t)),
            Formula::Polynomial(options) => {
                let (done, total) = (options.total_iters.min(epoch), options.total_iters as f64);
                let rest = 1.0 - divide(done as f64, total, "total_iters")?;
                times(pow(rest, options.power))
            }
            Formula::Cosine(options) => {
                let cos = divide(PI * t, options.t_max as f64, "T_max")?.cos();
                let eta_min = options.eta_min;
                let lr = |base: &f64| eta_min + (base - eta_min) * (1.0 + cos) / 2.0;
                self.base_lrs.iter().map(lr).collect()
            }
            _ => return Ok(None),
        };
        require_groups(opt, lrs.len())?;
        Ok(Some(lrs))
    }

    /// Returns what changes from step to step, by the names of Python's `state_dict`, which also has the options.
    pub fn state_dict(&self) -> Vec<(String, OptionValue)> {
        let floats = |values: &[f64]| {
            OptionValue::List(
                values
                    .iter()
                    .map(|value| OptionValue::Float(*value))
                    .collect(),
            )
        };
        let mut entries = vec![
            ("last_epoch", OptionValue::Int(self.last_epoch)),
            ("_last_lr", floats(&self.last_lr)),
        ];
        match &self.formula {
            Formula::Sequential { schedulers, .. } => {
                let states = schedulers.iter().map(|s| OptionValue::Dict(s.state_dict()));
                entries.push(("_schedulers", OptionValue::List(states.collect())));
            }
            formula => {
                entries.push(("base_lrs", floats(&self.base_lrs)));
                entries.push(("_step_count", OptionValue::Int(self.step_count)));
                if let Formula::WarmRestarts { t_cur, t_i, .. } = formula {
                    entries.push(("T_cur", OptionValue::Int(*t_cur)));
                    entries.push(("T_i", OptionValue::Int(*t_i)));
                }
            }
        }
        let entries = entries.into_iter();
        entries
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Takes over a state, also one of Python, whose options are not read: the schedule must have been made with the same.
    /// The learning rates of the optimizer are part of the optimizer's own state.
    ///
    /// # Errors
    ///
    /// [`OptimError::StateDict`] for an entry of another type.
    pub fn load_state_dict(&mut self, state: &[(String, OptionValue)]) -> Result<(), OptimError> {
        for (name, value) in state {
            let refuse = || OptimError::StateDict {
                message: format!("{name} = {value:?}: the value is of another type"),
            };
            let int = || match value {
                OptionValue::Int(value) => Ok(*value),
                _ => Err(refuse()),
            };
            let list = || match value {
                OptionValue::List(values) => Ok(values),
                _ => Err(refuse()),
            };
            let floats = || {
                let values: Option<Vec<f64>> = list()?.iter().map(OptionValue::as_f64).collect();
                values.ok_or_else(refuse)
            };
            match (&name[..], &mut self.formula) {
                ("last_epoch", _) => self.last_epoch = int()?,
                ("_step_count", _) => self.step_count = int()?,
                ("_last_lr", _) => self.last_lr = floats()?,
                ("base_lrs", _) => self.base_lrs = floats()?,
                ("T_cur", Formula::WarmRestarts { t_cur, .. }) => *t_cur = int()?,
                ("T_i", Formula::WarmRestarts { t_i, .. }) => *t_i = int()?,
                ("_schedulers", Formula::Sequential { schedulers, .. }) => {
                    let states = list()?;
                    if states.len() != schedulers.len() {
                        return Err(refuse());
                    }
                    for (scheduler, state) in schedulers.iter_mut().zip(states) {
                        match state {
                            OptionValue::Dict(state) => scheduler.load_state_dict(state)?,
                            _ => return Err(refuse()),
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `a % b == 0` of Python, which fails for a zero.
fn modulo(a: i64, b: i64, what: &'static str) -> Result<i64, OptimError> {
    a.checked_rem(b).ok_or(OptimError::ZeroDivision { what })
}

fn require_groups(opt: &Optimizer, lrs: usize) -> Result<(), OptimError> {
    let groups = opt.groups.len();
    let message =
        format!("the schedule was made for {lrs} parameter groups, the optimizer has {groups}");
    require("LRScheduler", lrs == groups, &message)
}
