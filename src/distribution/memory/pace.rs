//! How fast large pages come.

use std::time::{Duration, Instant};

/// What a byte takes on small pages, in nanoseconds. A large page that is at hand takes a third of it,
/// one that is not ten times as much.
const SMALL: f64 = 0.3;
/// How much time large pages may take more than small ones would have: at first, and after they have
/// saved more than this.
const AT_FIRST: f64 = 1e6;
const AT_MOST: f64 = 1e7;
/// How long none are asked for once they have taken more.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether large pages have come fast so far.
#[derive(Debug)]
pub(super) struct Pace {
    /// Nanoseconds that large pages may still take more than small ones.
    left: f64,
    again: Option<Instant>,
}

impl Pace {
    pub(super) const fn new() -> Pace {
        Pace {
            left: AT_FIRST,
            again: None,
        }
    }

    pub(super) fn is_fast(&mut self, now: Instant) -> bool {
        if self.again.is_some_and(|again| again <= now) {
            *self = Pace::new();
        }
        self.again.is_none()
    }

    /// So many bytes that large pages were asked for have taken so long.
    pub(super) fn took(&mut self, bytes: usize, time: Duration, now: Instant) {
        let saved = SMALL * bytes as f64 - time.as_nanos() as f64;
        self.left = (self.left + saved).min(AT_MOST);
        if self.left < 0.0 && self.again.is_none() {
            log::debug!("large pages take {time:?}: none are asked for during {PAUSE:?}");
            self.again = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 2 << 20;
    const FAST: Duration = Duration::from_micros(200);
    const SLOW: Duration = Duration::from_millis(5);

    #[test]
    fn slow_pages_make_a_pause() {
        let mut pace = Pace::new();
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(pace.is_fast(at(0)));
        pace.took(PAGE, SLOW, at(3));
        assert!(!pace.is_fast(at(4)));
        // A page that was asked for before.
        pace.took(PAGE, SLOW, at(500));
        assert!(!pace.is_fast(at(1002)));
        assert!(pace.is_fast(at(1003)));
    }

    #[test]
    fn few_slow_pages_among_fast_ones_are_no_loss() {
        let (mut pace, now) = (Pace::new(), Instant::now());
        for _ in 0..100 {
            for _ in 0..20 {
                pace.took(PAGE, FAST, now);
            }
            pace.took(PAGE, SLOW, now);
            assert!(pace.is_fast(now));
        }
        // Whatever was saved before, a change is seen soon.
        pace.took(PAGE, SLOW, now);
        pace.took(PAGE, SLOW, now);
        assert!(!pace.is_fast(now));
    }
}
