//! How fast large pages come.

use super::{LARGE_PAGE, TOUCH};
use std::time::{Duration, Instant};

/// How many nanoseconds large pages may take more than small ones: at first, so that a thread that was
/// kept from running once decides nothing; and at most, however much time they have saved.
const AT_FIRST: f64 = 3e6;
const AT_MOST: f64 = 1e7;
/// How long none are asked for once they have taken more.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Whether large pages have come faster than small ones.
#[derive(Debug)]
pub(super) struct Pace {
    /// Nanoseconds that they may still take more than small ones.
    left: f64,
    /// When they are asked for again, if they are not now.
    again: Option<Instant>,
}

impl Pace {
    pub(super) const fn new() -> Pace {
        Pace {
            left: AT_FIRST,
            again: None,
        }
    }

    /// Whether they are to be asked for. A pause that is over begins anew.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.again.is_some_and(|again| again <= now) {
            *self = Pace::new();
        }
        self.again.is_none()
    }

    /// A large page has taken so long; whether that begins a pause.
    pub(super) fn took(&mut self, time: Duration, now: Instant) -> bool {
        let saved = TOUCH * LARGE_PAGE as f64 - time.as_nanos() as f64;
        self.left = (self.left + saved).min(AT_MOST);
        let begins = self.left < 0.0 && self.again.is_none();
        if begins {
            self.again = Some(now + PAUSE);
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(200);
    const SLOW: Duration = Duration::from_millis(5);

    #[test]
    fn slow_pages_make_a_pause() {
        let mut pace = Pace::new();
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(pace.allows(at(0)));
        assert!(pace.took(SLOW, at(3)));
        assert!(!pace.allows(at(4)));
        // A page that was asked for before.
        assert!(!pace.took(SLOW, at(500)));
        assert!(!pace.allows(at(1002)));
        assert!(pace.allows(at(1003)));
        // One thread that was kept from running for 3 ms.
        assert!(!pace.took(Duration::from_millis(3), at(1004)));
        assert!(pace.allows(at(1005)));
    }

    #[test]
    fn few_slow_pages_among_fast_ones_are_no_loss() {
        let (mut pace, now) = (Pace::new(), Instant::now());
        for _ in 0..100 {
            for _ in 0..20 {
                assert!(!pace.took(FAST, now));
            }
            assert!(!pace.took(SLOW, now));
        }
        // Whatever was saved before, a change is seen soon.
        pace.took(SLOW, now);
        pace.took(SLOW, now);
        assert!(!pace.allows(now));
    }
}
