//! Work on several threads.
//!
//! Helpers are threads of our own, kept for the process: one that is begun anew costs a tenth of a
//! millisecond or three, as long as a million values. A pool's would take up other work while they
//! wait, and that may wait for the generator that is in use here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SendError, Sender, TryRecvError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long whoever waits for another thread looks for what it waits for before it sleeps: as long as
/// it would take to be woken. One draw mostly follows another.
const AWAKE: Duration = Duration::from_micros(100);

/// Does all jobs on so many threads at most, of which this is one. The results come in the order of
/// the jobs.
pub(crate) fn do_all<J: Send, R: Send>(
    threads: usize,
    jobs: Vec<J>,
    work: impl Fn(J) -> R + Sync,
) -> Vec<R> {
    let helpers = threads.min(jobs.len()).saturating_sub(1);
    if helpers == 0 {
        return jobs.into_iter().map(work).collect();
    }
    let mut results: Vec<Option<R>> = jobs.iter().map(|_| None).collect();
    let queue = Mutex::new(jobs.into_iter().zip(&mut results));
    together(helpers, &|| {
        while let Some((job, result)) = next(&queue) {
            *result = Some(work(job));
        }
    });
    results.into_iter().flatten().collect()
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    // Nothing that panics happens while it is locked.
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.next()
}

/// What a helper tells when it has returned.
type End = Result<(), Box<dyn Any + Send>>;

/// Calls `work` here and on so many helpers, or as many as the system lets begin. A panic of any of
/// them is one of this.
fn together(helpers: usize, work: &(dyn Fn() + Sync)) {
    let (end, from) = channel();
    let mut ends = Ends { from, awaited: 0 };
    for _ in 0..helpers {
        let end = end.clone();
        // SAFETY: whoever begins tells when it has returned, and this function does not end, by a panic
        // neither, before all have told: `Ends` waits.
        if !begin(unsafe { Order::new(work, end) }) {
            break;
        }
        ends.awaited += 1;
    }
    drop(end);
    work();
    while let Some(end) = ends.next() {
        if let Err(panic) = end {
            resume_unwind(panic);
        }
    }
}

/// The ends of the helpers that have begun, which are waited for in any case.
struct Ends {
    from: Receiver<End>,
    awaited: usize,
}

impl Ends {
    fn next(&mut self) -> Option<End> {
        self.awaited = self.awaited.checked_sub(1)?;
        receive(&self.from)
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

/// What a helper is to do, and whom it tells.
struct Order {
    /// Not a reference, as a helper that has told may still hold it.
    work: *const (dyn Fn() + Sync),
    end: Sender<End>,
}

// SAFETY: `work` is only called, and may be from any thread.
unsafe impl Send for Order {}

impl Order {
    /// # Safety
    ///
    /// `work` lives until the end was told, or the order was dropped.
    unsafe fn new<'a>(work: &'a (dyn Fn() + Sync), end: Sender<End>) -> Order {
        type Pointer<'a> = *const (dyn Fn() + Sync + 'a);
        // SAFETY: only the lifetime is another.
        let work = unsafe { std::mem::transmute::<Pointer<'a>, Pointer<'static>>(work) };
        Order { work, end }
    }

    /// Does the work, and returns what is then to be told.
    ///
    /// # Safety
    ///
    /// The end was not told yet.
    unsafe fn follow(&self) -> End {
        // SAFETY: so the work lives, as whoever made the order promised.
        catch_unwind(AssertUnwindSafe(|| unsafe { (*self.work)() }))
    }
}

/// The helpers that wait for an order, and the process that has them: one that was forked off has
/// none.
static IDLE: Mutex<(u32, Vec<Sender<Order>>)> = Mutex::new((0, Vec::new()));

fn idle() -> MutexGuard<'static, (u32, Vec<Sender<Order>>)> {
    // Nothing that panics happens while it is locked.
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if idle.0 != process {
        *idle = (process, Vec::new());
    }
    idle
}

/// Gives the order to a helper that waits, or to a new one; `false` if the system allows none.
fn begin(mut order: Order) -> bool {
    let waiting = idle().1.pop();
    if let Some(helper) = waiting {
        match helper.send(order) {
            Ok(()) => return true,
            Err(SendError(unsent)) => order = unsent,
        }
    }
    let new = std::thread::Builder::new().name("tch-init".to_owned());
    match new.spawn(move || help(order)) {
        Ok(_) => true,
        Err(error) => {
            log::debug!("a draw does without a thread: {error}");
            false
        }
    }
}

/// The life of a helper, which is that of the process.
fn help(mut order: Order) {
    let (here, orders) = channel();
    loop {
        // SAFETY: it is told below, once for each order.
        let end = unsafe { order.follow() };
        // Before it tells, so that the next draw finds it.
        idle().1.push(here.clone());
        if order.end.send(end).is_err() {
            log::debug!("a draw did not wait for a thread");
        }
        match receive(&orders) {
            Some(next) => order = next,
            None => return,
        }
    }
}

/// The next message, or `None` if nobody is left to send one.
fn receive<T>(from: &Receiver<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < AWAKE {
        match from.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => std::thread::yield_now(),
        }
    }
    from.recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread::{ThreadId, current};

    #[test]
    fn every_job_is_done_once_and_results_are_in_order() {
        for threads in [1, 2, 3, 64] {
            for jobs in [0, 1, 2, 63, 1000] {
                let results = do_all(threads, (0..jobs).collect(), |job: usize| job * job);
                assert!(results.into_iter().eq((0..jobs).map(|job| job * job)));
            }
        }
    }

    /// The threads of three jobs that are done at once.
    fn three() -> HashSet<ThreadId> {
        let begun = Barrier::new(3);
        let threads = do_all(3, vec![(), (), ()], |()| {
            begun.wait();
            current().id()
        });
        threads.into_iter().collect()
    }

    #[test]
    fn threads_are_kept() {
        // Other tests take helpers too, so how many of them there are is not known.
        let rounds = if cfg!(miri) { 30 } else { 200 };
        let mut seen = HashSet::new();
        for _ in 0..rounds {
            let threads = three();
            assert_eq!(threads.len(), 3);
            seen.extend(threads);
        }
        assert!(seen.len() < rounds, "{} threads", seen.len());
    }

    #[test]
    fn draws_at_once_have_threads_of_their_own() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| assert_eq!(three().len(), 3)));
            }
        });
    }

    #[test]
    fn a_panic_of_any_thread_is_one_of_the_caller() {
        let caller = current().id();
        for of_caller in [true, false] {
            let begun = Barrier::new(2);
            let ended = Mutex::new(0);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                do_all(2, vec![(), ()], |()| {
                    begun.wait();
                    if (current().id() == caller) == of_caller {
                        panic!("of caller: {of_caller}");
                    }
                    std::thread::sleep(Duration::from_millis(20));
                    *ended.lock().unwrap() += 1;
                });
            }));
            let panic = panic.unwrap_err();
            let message = panic.downcast_ref::<String>().unwrap();
            assert_eq!(*message, format!("of caller: {of_caller}"));
            // The other one was waited for.
            assert_eq!(*ended.lock().unwrap(), 1);
        }
        // A helper that panicked helps on.
        assert_eq!(three().len(), 3);
    }

    /// In a process of its own, where no other test holds a lock while it is forked.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_forked_process_has_helpers_of_its_own() {
        const HERE: &str = "worker_pool::tests::a_forked_process_has_helpers_of_its_own";
        const FORKS: &str = "TCH_INIT_TEST_FORKS";
        if std::env::var_os(FORKS).is_none() {
            let program = std::env::current_exe().unwrap();
            let mut again = std::process::Command::new(program);
            let output = again
                .args(["--exact", HERE])
                .env(FORKS, "1")
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            return;
        }
        assert_eq!(three().len(), 3);
        // SAFETY: the only other threads are the test's main thread, which waits, and helpers, which
        // hold no lock once a draw has ended for a while. The new process ends without returning.
        unsafe {
            std::thread::sleep(Duration::from_millis(50));
            let child = libc::fork();
            if child == 0 {
                // Should it wait forever.
                libc::alarm(20);
                libc::_exit(i32::from(three().len() != 3));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(status, 0);
        }
    }
}
