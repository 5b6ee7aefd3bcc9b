//! A pool of worker threads that live as long as the process.
//!
//! Starting a thread takes 0.1 to 0.3 ms, as long as drawing a million values. The workers are
//! dedicated to draws: a thread of a shared pool could take up other work while it waits, and that work
//! could wait for the generator that the draw has locked.

use crate::held_log;
use log::Level;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SendError, Sender, TryRecvError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread polls for a message before it sleeps: about as long as waking it would take. Draws
/// often follow each other closely.
const POLL_TIME: Duration = Duration::from_micros(100);

/// Maps the tasks on at most `threads` threads, this one included. The results come in the order of the
/// tasks.
pub(crate) fn map<T: Send, R: Send>(
    threads: usize,
    tasks: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let workers = threads.min(tasks.len()).saturating_sub(1);
    if workers == 0 {
        return tasks.into_iter().map(work).collect();
    }
    let mut results: Vec<Option<R>> = tasks.iter().map(|_| None).collect();
    let queue = Mutex::new(tasks.into_iter().zip(&mut results));
    run_with_workers(workers, &|| {
        while let Some((task, result)) = next(&queue) {
            *result = Some(work(task));
        }
    });
    results.into_iter().flatten().collect()
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    // Nothing panics while it is locked.
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.next()
}

/// How a worker's call ended: normally, or with a panic.
type JobResult = Result<(), Box<dyn Any + Send>>;

/// Calls `work` on this thread and on `workers` workers, or on as many as the system allows. Panics if any
/// of the calls does.
fn run_with_workers(workers: usize, work: &(dyn Fn() + Sync)) {
    let (done, results) = channel();
    let mut pending = PendingJobs { results, count: 0 };
    for _ in 0..workers {
        let done = done.clone();
        // SAFETY: a worker reports after the call returns, and this function does not return or unwind
        // before all have reported: `PendingJobs` waits.
        if !dispatch(unsafe { Job::new(work, done) }) {
            break;
        }
        pending.count += 1;
    }
    drop(done);
    work();
    while let Some(result) = pending.next() {
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    }
}

/// The dispatched jobs that have not reported. They are waited for in any case.
struct PendingJobs {
    results: Receiver<JobResult>,
    count: usize,
}

impl PendingJobs {
    fn next(&mut self) -> Option<JobResult> {
        self.count = self.count.checked_sub(1)?;
        receive(&self.results)
    }
}

impl Drop for PendingJobs {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

/// The work of one worker, and where it reports.
struct Job {
    /// Not a reference, since a worker that has reported may still hold it.
    work: *const (dyn Fn() + Sync),
    done: Sender<JobResult>,
}

// SAFETY: `work` is only called, which is allowed from any thread.
unsafe impl Send for Job {}

impl Job {
    /// # Safety
    ///
    /// `work` lives until the result is reported, or the job dropped.
    unsafe fn new<'a>(work: &'a (dyn Fn() + Sync), done: Sender<JobResult>) -> Job {
        type Pointer<'a> = *const (dyn Fn() + Sync + 'a);
        // SAFETY: only the lifetime changes.
        let work = unsafe { std::mem::transmute::<Pointer<'a>, Pointer<'static>>(work) };
        Job { work, done }
    }

    /// Calls the work and returns the result to report.
    ///
    /// # Safety
    ///
    /// The result has not been reported yet.
    unsafe fn run(&self) -> JobResult {
        // SAFETY: the work still lives, as promised to `new`.
        catch_unwind(AssertUnwindSafe(|| unsafe { (*self.work)() }))
    }
}

/// The idle workers, and the process they belong to: a forked process has none.
static IDLE: Mutex<(u32, Vec<Sender<Job>>)> = Mutex::new((0, Vec::new()));

fn idle() -> MutexGuard<'static, (u32, Vec<Sender<Job>>)> {
    // Nothing panics while it is locked.
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if idle.0 != process {
        *idle = (process, Vec::new());
    }
    idle
}

/// Gives the job to an idle worker or to a new one; `false` if the system does not allow another thread.
fn dispatch(mut job: Job) -> bool {
    let worker = idle().1.pop();
    if let Some(worker) = worker {
        match worker.send(job) {
            Ok(()) => return true,
            Err(SendError(unsent)) => job = unsent,
        }
    }
    let thread = std::thread::Builder::new().name("torch-rng".to_owned());
    match thread.spawn(move || worker_loop(job)) {
        Ok(_) => true,
        Err(error) => {
            held_log::log(
                Level::Debug,
                format_args!("cannot start a thread, drawing with fewer: {error}"),
            );
            false
        }
    }
}

/// Runs the first job and all that follow, as long as the process lives.
fn worker_loop(mut job: Job) {
    let (sender, jobs) = channel();
    loop {
        // SAFETY: the result is reported below, once for each job.
        let result = unsafe { job.run() };
        // Before the report, so that the next draw finds this worker.
        idle().1.push(sender.clone());
        let is_reported = job.done.send(result).is_ok();
        debug_assert!(is_reported, "every draw waits for its workers");
        match receive(&jobs) {
            Some(next) => job = next,
            None => return,
        }
    }
}

/// Waits for the next message; `None` if all senders are gone.
fn receive<T>(from: &Receiver<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < POLL_TIME {
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
    fn every_task_runs_once_and_results_are_in_order() {
        for threads in [1, 2, 3, 64] {
            for tasks in [0, 1, 2, 63, 1000] {
                let results = map(threads, (0..tasks).collect(), |task: usize| task * task);
                assert!(results.into_iter().eq((0..tasks).map(|task| task * task)));
            }
        }
    }

    /// The threads of three tasks that run at the same time.
    fn three() -> HashSet<ThreadId> {
        let barrier = Barrier::new(3);
        let threads = map(3, vec![(), (), ()], |()| {
            barrier.wait();
            current().id()
        });
        threads.into_iter().collect()
    }

    #[test]
    fn threads_are_reused() {
        // Other tests use workers too, so the number of threads is not known.
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
    fn concurrent_calls_use_separate_threads() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| assert_eq!(three().len(), 3)));
            }
        });
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller() {
        let caller = current().id();
        for of_caller in [true, false] {
            let barrier = Barrier::new(2);
            let ended = Mutex::new(0);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                map(2, vec![(), ()], |()| {
                    barrier.wait();
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
            // The call waited for the other thread.
            assert_eq!(*ended.lock().unwrap(), 1);
        }
        // A worker that panicked still works.
        assert_eq!(three().len(), 3);
    }

    /// Runs in a separate process, where no other test holds a lock during the fork.
    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_forked_process_starts_new_workers() {
        const THIS_TEST: &str = "worker_pool::tests::a_forked_process_starts_new_workers";
        const FORKS: &str = "TORCH_RNG_TEST_FORKS";
        if std::env::var_os(FORKS).is_none() {
            let program = std::env::current_exe().unwrap();
            let output = std::process::Command::new(program)
                .args(["--exact", THIS_TEST])
                .env(FORKS, "1")
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            return;
        }
        assert_eq!(three().len(), 3);
        // SAFETY: the only other threads are the test's main thread, which waits, and workers, which hold no
        // lock some time after a call. The new process exits without returning.
        unsafe {
            std::thread::sleep(Duration::from_millis(50));
            let child = libc::fork();
            if child == 0 {
                // In case it hangs.
                libc::alarm(20);
                libc::_exit(i32::from(three().len() != 3));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(status, 0);
        }
    }
}
