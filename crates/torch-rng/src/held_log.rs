//! Log messages of draws.
//!
//! A logger may itself draw, so a message that is logged while a generator is locked can wait for that
//! lock forever. The caller that locks holds the messages back, also those of worker threads, which the
//! draw waits for.

use log::Level;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of live [`HeldLog`]s.
static HOLDERS: AtomicUsize = AtomicUsize::new(0);
/// Whether messages wait.
static IS_WAITING: AtomicBool = AtomicBool::new(false);
static WAITING: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

fn waiting() -> MutexGuard<'static, Vec<(Level, String)>> {
    // Nothing panics while it is locked.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs a message, or keeps it as long as a [`HeldLog`] lives.
pub(crate) fn log(level: Level, message: fmt::Arguments<'_>) {
    if HOLDERS.load(Ordering::Acquire) == 0 {
        log::log!(target: "torch_rng", level, "{message}");
    } else if level <= log::max_level() {
        waiting().push((level, message.to_string()));
        IS_WAITING.store(true, Ordering::Release);
    }
}

/// Holds back the messages of draws on all threads. When it is dropped, they are logged.
#[derive(Debug)]
#[doc(hidden)] // Only for tch-init, which locks libtorch's generators.
pub struct HeldLog(());

impl HeldLog {
    #[expect(clippy::new_without_default, reason = "a guard")]
    pub fn new() -> HeldLog {
        HOLDERS.fetch_add(1, Ordering::AcqRel);
        HeldLog(())
    }
}

impl Drop for HeldLog {
    fn drop(&mut self) {
        HOLDERS.fetch_sub(1, Ordering::AcqRel);
        // A panic of a logger would end the process.
        if std::thread::panicking() || !IS_WAITING.swap(false, Ordering::AcqRel) {
            return;
        }
        let messages = std::mem::take(&mut *waiting());
        for (level, message) in messages {
            log::log!(target: "torch_rng", level, "{message}");
        }
    }
}
