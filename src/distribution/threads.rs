//! Work on several threads.

use std::sync::{Mutex, PoisonError};

/// Does all jobs on so many threads at most, of which this is one. The results come in the order of
/// the jobs.
pub(super) fn do_all<J: Send, R: Send>(
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
    let work = || {
        while let Some((job, result)) = next(&queue) {
            *result = Some(work(job));
        }
    };
    // Threads of our own: one of a pool would take up other work while it waits, and that may wait
    // for the generator that is in use here.
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work) {
                log::debug!("a draw does without a thread: {error}");
                break;
            }
        }
        work();
    });
    results.into_iter().flatten().collect()
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    // Nothing that panics happens while it is locked.
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_and_results_are_in_order() {
        for threads in [1, 2, 3, 64] {
            for jobs in [0, 1, 2, 63, 1000] {
                let results = do_all(threads, (0..jobs).collect(), |job: usize| job * job);
                assert!(results.into_iter().eq((0..jobs).map(|job| job * job)));
            }
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_not_lost() {
        // Of another thread, while this one waits for it.
        let begun = std::sync::Barrier::new(2);
        let here = std::thread::current().id();
        do_all(2, vec![(), ()], |()| {
            begun.wait();
            assert_eq!(std::thread::current().id(), here);
        });
    }
}
