//! The configuration of an optimizer of a `VarStore`, as in tch.

use super::error::OptimError;
use super::optimizer::Optimizer;
use super::options::Options;
use super::{Adadelta, Adagrad, Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, SGD};
use tch::nn::{self, VarStore};

/// Builds an optimizer of a `VarStore`, as tch's trait of this name.
///
/// It is implemented for tch's configurations and for those of this module. A program that imports this trait instead of
/// tch's has Python's bits; all options, also those that tch lacks, are in the configurations of this module.
///
/// ```
/// use tch_init::nn;
/// use tch_init::optim::{self, OptimizerConfig};
///
/// # fn main() -> Result<(), tch_init::optim::OptimError> {
/// let vs = nn::VarStore::new(tch::Device::Cpu);
/// let _layer = nn::linear(vs.root(), 3, 2, Default::default());
/// let sgd = nn::Sgd { momentum: 0.9, dampening: 0., wd: 5e-4, nesterov: true };
/// let _opt = sgd.build(&vs, 0.1)?;
/// let _opt = optim::NAdam::default().build(&vs, 2e-3)?;
/// # Ok(())
/// # }
/// ```
pub trait OptimizerConfig: Sized {
    /// The options, with this learning rate.
    fn with_lr(self, lr: f64) -> Options;

    /// Builds an optimizer of the trainable variables of `vs`: [`Optimizer::of_var_store`].
    ///
    /// # Errors
    ///
    /// [`OptimError::Argument`] for options that PyTorch rejects.
    fn build(self, vs: &VarStore, lr: f64) -> Result<Optimizer, OptimError> {
        Optimizer::of_var_store(vs, self.with_lr(lr))
    }
}

macro_rules! own {
    ($($name:ident)*) => {
        $(impl OptimizerConfig for $name {
            fn with_lr(self, lr: f64) -> Options {
                self.lr(lr).into()
            }
        })*
    };
}

own!(SGD Adam AdamW RMSprop Adagrad NAdam RAdam Adadelta Adamax);

impl OptimizerConfig for Options {
    fn with_lr(mut self, lr: f64) -> Options {
        self.set_lr(lr);
        self
    }
}

impl OptimizerConfig for nn::Sgd {
    fn with_lr(self, lr: f64) -> Options {
        let options = SGD::default().lr(lr).momentum(self.momentum);
        let options = options.dampening(self.dampening).weight_decay(self.wd);
        options.nesterov(self.nesterov).into()
    }
}

impl OptimizerConfig for nn::Adam {
    fn with_lr(self, lr: f64) -> Options {
        let options = Adam::default().lr(lr).betas((self.beta1, self.beta2));
        let options = options.eps(self.eps).weight_decay(self.wd);
        options.amsgrad(self.amsgrad).into()
    }
}

impl OptimizerConfig for nn::AdamW {
    fn with_lr(self, lr: f64) -> Options {
        let options = AdamW::default().lr(lr).betas((self.beta1, self.beta2));
        let options = options.eps(self.eps).weight_decay(self.wd);
        options.amsgrad(self.amsgrad).into()
    }
}

impl OptimizerConfig for nn::RmsProp {
    fn with_lr(self, lr: f64) -> Options {
        let options = RMSprop::default().lr(lr).alpha(self.alpha);
        let options = options.eps(self.eps).weight_decay(self.wd);
        let options = options.momentum(self.momentum);
        options.centered(self.centered).into()
    }
}
