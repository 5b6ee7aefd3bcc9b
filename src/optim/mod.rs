//! PyTorch's optimizers, bit for bit.
//!
//! tch's optimizers are libtorch's own in C++, and Adam and AdamW depart from Python's at the second step. Those here
//! call the operators that Python's call, in their order, with numbers that are computed as Python computes them. So the
//! parameters and the state are the same to the last bit, in every dtype.
//!
//! A tch program changes one line and gets them: [`OptimizerConfig`] is also implemented for tch's own configurations.
//!
//! ```
//! use tch::{Device, Kind, Tensor};
//! use tch_init::nn;
//! use tch_init::optim::OptimizerConfig; // was: use tch::nn::OptimizerConfig
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vs = nn::VarStore::new(Device::Cpu);
//! let layer = nn::linear(vs.root(), 3, 2, Default::default());
//! let mut opt = nn::AdamW::default().build(&vs, 1e-3)?;
//! let x = Tensor::ones([4, 3], (Kind::Float, Device::Cpu));
//! let loss = x.apply(&layer).square().mean(Kind::Float);
//! opt.backward_step(&loss);
//! # Ok(())
//! # }
//! ```
//!
//! The configurations of this module have PyTorch's names, options and defaults; [`Optimizer::new`] takes parameters and
//! groups of parameters as the constructors of Python do.
//!
//! # Which bits
//!
//! Those of Python's default on the CPU, which is the loop over single tensors (`foreach=False`), under `torch.no_grad`,
//! with the CPU capability that libtorch chooses. Python's other implementations have other bits:
//!
//! | | `float32` | `bfloat16` |
//! |---|---|---|
//! | `foreach=True` | the same, but not in `NAdam` and `RAdam` | others in every optimizer, with some options |
//! | `fused=True` | others in `Adam`, `AdamW` and `Adagrad`; `SGD` the same | others |
//!
//! `SGD`, `Adam` and `AdamW` compute the same bits in one pass over memory where parameters are contiguous `float32` or
//! `float64` of the CPU.
//!
//! Not offered: `capturable` and `differentiable`, which change the formula for the sake of CUDA graphs and of gradients
//! through the step, and a learning rate or betas that are tensors.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod checkpoint;
mod clip;
mod config;
mod error;
mod fused;
mod group;
mod lr_scheduler;
mod nadam;
mod optimizer;
mod options;
mod python_number;
mod radam;
mod rmsprop;
mod rule;
mod sgd;
mod state;
mod state_dict;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use clip::{clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm};
pub use config::OptimizerConfig;
pub use error::OptimError;
#[doc(hidden)]
pub use fused::fused_updates;
pub use group::ParamGroup;
pub use lr_scheduler::{
    AnnealStrategy, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, ExponentialLR,
    LinearLR, LrScheduler, MultiStepLR, OneCycleLR, PolynomialLR, StepLR, lambda_lr,
    lambda_lr_by_group, multiplicative_lr, sequential_lr,
};
pub use nadam::NAdam;
pub use optimizer::Optimizer;
pub use options::Options;
pub use radam::RAdam;
pub use rmsprop::RMSprop;
pub use rule::OptionValue;
pub use sgd::SGD;
pub use state_dict::{GroupState, StateDict};
