//! [`Generator::scope`]: all draws of a closure come from an explicit generator.

use crate::error::InitError;
use crate::ffi;
use crate::generator::Generator;
use crate::init::recording::is_recording;
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

impl Generator {
    /// Runs a closure whose draws without a generator come from this one, also those of libtorch
    /// itself: `randint`, `bernoulli_`, `dropout`, `randperm`, layers and everything else that takes
    /// no generator in tch.
    ///
    /// The default generator of the device and this one exchange their states for the time of the
    /// closure, also if it panics. So this generator advances as with PyTorch's argument
    /// `generator=`, and the default one is left as it was. The closure sees this generator as the
    /// default one: `manual_seed` in it seeds this one. Scopes may be nested. The scope of a default
    /// generator is the closure alone.
    ///
    /// `Generator::default_generator(device)?.clone_state()?.scope(..)` is Python's
    /// `torch.random.fork_rng()`.
    ///
    /// # Threads
    ///
    /// The default generator belongs to the process: what *other* threads draw from it meanwhile
    /// comes from this generator too. Scopes of several threads wait for each other, so a closure
    /// must not wait for a scope of another thread.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch fails, and in a constructor that
    /// [`plan::record`](crate::plan::record) records: a plan has the default generator's draws only.
    ///
    /// ```
    /// use tch::{Device, Kind, Tensor};
    /// use tch_init::{Generator, get_rng_state};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let mut generator = Generator::new(Device::Cpu)?;
    /// generator.manual_seed(1)?;
    /// let before = generator.get_state()?;
    /// let drawn = generator.scope(|| Tensor::randint(100, [3], (Kind::Int64, Device::Cpu)))?;
    /// // torch.randint(100, (3,), generator=torch.Generator().manual_seed(1))
    /// assert_eq!(Vec::<i64>::try_from(drawn).ok(), Some(vec![45, 39, 24]));
    /// assert_ne!(generator.get_state()?, before);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scope<R>(&mut self, draws: impl FnOnce() -> R) -> Result<R, InitError> {
        if is_recording() {
            let why = "a plan records draws from the default generator only, this one is explicit";
            return Err(InitError::libtorch("scope", why));
        }
        let default = Generator::default_generator(self.device())?;
        if self.is_same(&default) {
            return Ok(draws());
        }
        let turn = Turn::take();
        let mut exchange = Exchange {
            own: self,
            default,
            is_over: true,
            _turn: turn,
        };
        exchange.states()?;
        let drawn = draws();
        exchange.states()?;
        Ok(drawn)
    }
}

/// The exchange of the states of two generators, which is undone when it is dropped.
struct Exchange<'g> {
    own: &'g mut Generator,
    default: Generator,
    is_over: bool,
    _turn: Turn,
}

impl Exchange<'_> {
    fn states(&mut self) -> Result<(), InitError> {
        self.is_over = !self.is_over;
        // SAFETY: both are live generators, and not the same one.
        unsafe {
            ffi::check(ffi::tch_init_generator_exchange(
                self.own.as_raw(),
                self.default.as_raw(),
            ))
        }
        .map_err(|message| InitError::libtorch("scope", &message))
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(error) = self.states()
        {
            log::error!("{error}");
        }
    }
}

static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// The right to exchange states, which one thread has at a time, as often as its scopes nest.
struct Turn(Option<MutexGuard<'static, ()>>);

impl Turn {
    fn take() -> Turn {
        let is_outermost = DEPTH.get() == 0;
        // A scope whose closure panicked has exchanged the states back.
        let guard = is_outermost.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        DEPTH.set(DEPTH.get() + 1);
        Turn(guard)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        // The guard, if this is the outermost scope, is released with this value.
        debug_assert!(self.0.is_none() || DEPTH.get() == 0);
    }
}
