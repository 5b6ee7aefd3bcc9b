//! A time budget for huge pages: they are used while they pay off.

use std::time::{Duration, Instant};

/// The first touch of a byte on a small page, in nanoseconds.
pub(super) const FAULT_COST: f64 = 0.3;
/// The size of a huge page in bytes.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// The initial budget in nanoseconds: a thread that was once kept from running does not use it up.
const INITIAL: f64 = 3e6;
/// The largest budget in nanoseconds, however much time huge pages have saved.
const MAX: f64 = 1e7;
/// How long huge pages pause once the budget is used up.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The time that huge pages may take in addition to what small ones would.
#[derive(Debug)]
pub(super) struct HugePageBudget {
    nanoseconds: f64,
    /// The end of the current pause.
    paused_until: Option<Instant>,
}

impl HugePageBudget {
    pub(super) const fn new() -> HugePageBudget {
        HugePageBudget {
            nanoseconds: INITIAL,
            paused_until: None,
        }
    }

    /// Whether to ask for huge pages. After a pause the budget starts anew.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.paused_until.is_some_and(|end| end <= now) {
            *self = HugePageBudget::new();
        }
        self.paused_until.is_none()
    }

    /// Charges a huge page that took this long; returns whether a pause starts.
    pub(super) fn record(&mut self, time: Duration, now: Instant) -> bool {
        let saved = FAULT_COST * HUGE_PAGE as f64 - time.as_nanos() as f64;
        self.nanoseconds = (self.nanoseconds + saved).min(MAX);
        let starts_pause = self.nanoseconds < 0.0 && self.paused_until.is_none();
        if starts_pause {
            self.paused_until = Some(now + PAUSE);
        }
        starts_pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(200);
    const SLOW: Duration = Duration::from_millis(5);

    #[test]
    fn slow_pages_start_a_pause() {
        let mut budget = HugePageBudget::new();
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(budget.allows(at(0)));
        assert!(budget.record(SLOW, at(3)));
        assert!(!budget.allows(at(4)));
        // A page that was requested before the pause.
        assert!(!budget.record(SLOW, at(500)));
        assert!(!budget.allows(at(1002)));
        assert!(budget.allows(at(1003)));
        // A thread that was kept from running for 3 ms.
        assert!(!budget.record(Duration::from_millis(3), at(1004)));
        assert!(budget.allows(at(1005)));
    }

    #[test]
    fn a_few_slow_pages_do_not_start_a_pause() {
        let (mut budget, now) = (HugePageBudget::new(), Instant::now());
        for _ in 0..100 {
            for _ in 0..20 {
                assert!(!budget.record(FAST, now));
            }
            assert!(!budget.record(SLOW, now));
        }
        // However much was saved before, a change is noticed soon.
        budget.record(SLOW, now);
        budget.record(SLOW, now);
        assert!(!budget.allows(now));
    }
}
