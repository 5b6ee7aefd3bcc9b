//! Prefaulting: memory that is written for the first time costs more to fault in than to fill.

mod balloon;
mod huge_page_budget;

use crate::held_log;
use huge_page_budget::{FAULT_COST, HUGE_PAGE, HugePageBudget, PAUSE};
use log::Level;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The environment variable for huge pages: `0` never asks the system for them (`madvise`, on Linux) before
/// a draw into fresh memory, `1` always does. It is read once per process and does not affect the bits.
///
/// Where free memory is contiguous, fresh memory faults in several times as fast with huge pages. Where
/// memory must be moved to form one, or the host of a virtual machine has taken free memory back, they
/// were several times slower than small pages. Without the variable they are therefore used
/// as long as they do not take longer than small ones usually do (0.3 ns a byte), and paused for a second
/// otherwise; and never in a virtual machine that reports free memory to its host (virtio's balloon).
///
/// Memory that is not yet touched when they become slow is excluded from huge pages (`MADV_NOHUGEPAGE`)
/// until it is unmapped: no other advice revokes the first.
const HUGE_PAGES_VARIABLE: &str = "TCH_INIT_HUGE_PAGES";

/// The first touch of a byte on a huge page, in nanoseconds.
const HUGE_FAULT_COST: f64 = 0.1;
/// Smaller memory is not examined: it was probably used before.
const MIN_BYTES: usize = 1 << 20;
/// The size of memory that is certain to hold a whole huge page.
const MIN_HUGE_BYTES: usize = 2 * HUGE_PAGE;

/// Advice to the system about memory. None of it changes the contents or the access rights.
#[derive(Debug, Clone, Copy)]
enum Advice {
    Touch,
    HugePages,
    NoHugePages,
}

/// The memory of a draw, which is touched before it is filled if it is fresh.
#[derive(Debug, Clone)]
pub(crate) struct Prefault {
    /// `None` if the memory was used before.
    region: Option<Arc<FreshRegion>>,
}

/// Memory of which some pages were never touched.
#[derive(Debug)]
struct FreshRegion {
    begin: usize,
    bytes: usize,
    policy: &'static HugePagePolicy,
    /// Whether huge pages are asked for.
    is_huge: AtomicBool,
}

impl Prefault {
    /// Samples a few pages of the memory, and asks for huge pages if it is fresh and they are enabled.
    pub(crate) fn new<T>(values: &[T]) -> Prefault {
        match is_fresh(values) {
            true => Prefault::fresh(huge_page_policy(), values),
            false => Prefault { region: None },
        }
    }

    fn fresh<T>(policy: &'static HugePagePolicy, values: &[T]) -> Prefault {
        let (data, bytes) = (values.as_ptr(), size_of_val(values));
        let is_huge = bytes >= MIN_HUGE_BYTES
            && policy.is_enabled()
            && system::advise(data.cast_mut().cast(), bytes, Advice::HugePages);
        let region = FreshRegion {
            begin: data.addr(),
            bytes,
            policy,
            is_huge: AtomicBool::new(is_huge),
        };
        Prefault {
            region: Some(Arc::new(region)),
        }
    }

    /// The first touch of a byte, in nanoseconds.
    pub(crate) fn cost_per_byte(&self) -> f64 {
        match &self.region {
            Some(region) if region.is_huge.load(Ordering::Relaxed) => HUGE_FAULT_COST,
            Some(_) => FAULT_COST,
            None => 0.0,
        }
    }

    /// Touches part of the memory if it is fresh, as a write would, and leaves its contents. One call for
    /// many pages takes about two thirds of the time of separate faults.
    pub(crate) fn touch<T>(&self, part: &mut [T]) {
        let Some(region) = &self.region else { return };
        let (mut data, mut rest): (*mut c_void, _) = (part.as_mut_ptr().cast(), size_of_val(part));
        while rest > 0 {
            // Up to the next possible start of a huge page, so that slow ones are noticed one by one.
            let now = rest.min(HUGE_PAGE - data.addr() % HUGE_PAGE);
            region.touch(data, now);
            data = data.wrapping_byte_add(now);
            rest -= now;
        }
    }
}

fn is_fresh<T>(values: &[T]) -> bool {
    const SAMPLES: usize = 8;
    let bytes = size_of_val(values);
    let sample = |i: usize| values.as_ptr().wrapping_byte_add(bytes / SAMPLES * i);
    bytes >= MIN_BYTES && (0..SAMPLES).any(|i| system::is_fresh(sample(i).cast_mut().cast()))
}

impl FreshRegion {
    /// Touches memory in which at most the first byte begins a huge page.
    fn touch(&self, data: *mut c_void, bytes: usize) {
        if self.is_huge.load(Ordering::Relaxed) {
            if self.policy.is_enabled() {
                return self.touch_huge(data, bytes);
            }
            if self.is_huge.swap(false, Ordering::Relaxed) {
                let begin = data.with_addr(self.begin);
                system::advise(begin, self.bytes, Advice::NoHugePages);
            }
        }
        system::advise(data, bytes, Advice::Touch);
    }

    fn touch_huge(&self, data: *mut c_void, bytes: usize) {
        let start = Instant::now();
        system::advise(data, bytes, Advice::Touch);
        // The thread that touches the start of a huge page faults in all of it; others find it present.
        if data.addr().is_multiple_of(HUGE_PAGE) {
            let end = Instant::now();
            self.policy.record(end - start, end);
        }
    }
}

/// Whether huge pages are asked for.
#[derive(Debug)]
enum HugePagePolicy {
    Never,
    Always,
    Budgeted(Mutex<HugePageBudget>),
}

fn huge_page_policy() -> &'static HugePagePolicy {
    static POLICY: OnceLock<HugePagePolicy> = OnceLock::new();
    let mut unknown = None;
    let policy = POLICY.get_or_init(|| {
        let wanted = std::env::var(HUGE_PAGES_VARIABLE).unwrap_or_default();
        match wanted.as_str() {
            "0" => return HugePagePolicy::Never,
            "1" => return HugePagePolicy::Always,
            "" => {}
            _ => unknown = Some(wanted),
        }
        // If the system cannot touch memory on request, the time of the request means nothing.
        let mut page = [0u8; 1];
        let touches = system::advise(page.as_mut_ptr().cast(), 1, Advice::Touch);
        match touches && system::has_huge_pages() && !balloon::host_takes_free_memory() {
            true => HugePagePolicy::Budgeted(Mutex::new(HugePageBudget::new())),
            false => HugePagePolicy::Never,
        }
    });
    // After the initialization, since a logger may draw.
    if let Some(wanted) = unknown {
        let message = format_args!("{HUGE_PAGES_VARIABLE}: unknown value {wanted:?}, use 0 or 1");
        held_log::log(Level::Warn, message);
    }
    policy
}

impl HugePagePolicy {
    fn is_enabled(&self) -> bool {
        match self {
            HugePagePolicy::Never => false,
            HugePagePolicy::Always => true,
            HugePagePolicy::Budgeted(budget) => locked(budget).allows(Instant::now()),
        }
    }

    /// Records the time that a huge page took.
    fn record(&self, time: Duration, now: Instant) {
        if let HugePagePolicy::Budgeted(budget) = self {
            let starts_pause = locked(budget).record(time, now);
            if starts_pause {
                let message =
                    format_args!("a huge page took {time:?}: huge pages pause for {PAUSE:?}");
                held_log::log(Level::Debug, message);
            }
        }
    }
}

fn locked(budget: &Mutex<HugePageBudget>) -> MutexGuard<'_, HugePageBudget> {
    // Nothing panics while it is locked.
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use super::{Advice, Level, c_void, held_log};

    /// Whether the page at this address was never touched. (For a mapped file: is not in memory.)
    pub(super) fn is_fresh(data: *mut c_void) -> bool {
        let Some((page, length)) = pages(data, 1) else {
            return false;
        };
        let mut present = 1u8;
        // SAFETY: one byte is written for each page, and `length` is one page; an unmapped range is an
        // error.
        unsafe { libc::mincore(page, length, &raw mut present) == 0 && present & 1 == 0 }
    }

    /// Advises about all pages that hold some of the memory: neighbors in one mapping can share huge
    /// pages only if no page between them is left out. `false` if the system does not support the
    /// advice.
    pub(super) fn advise(data: *mut c_void, bytes: usize, advice: Advice) -> bool {
        let Some((begin, length)) = pages(data, bytes) else {
            return false;
        };
        let advice = match advice {
            Advice::Touch => libc::MADV_POPULATE_WRITE,
            Advice::HugePages => libc::MADV_HUGEPAGE,
            Advice::NoHugePages => libc::MADV_NOHUGEPAGE,
        };
        // SAFETY: see `Advice`; an unmapped range is an error.
        let is_accepted = unsafe { libc::madvise(begin, length, advice) } == 0;
        if !is_accepted {
            let error = std::io::Error::last_os_error();
            held_log::log(Level::Trace, format_args!("madvise: {error}"));
        }
        is_accepted
    }

    /// Whether the system grants huge pages on request.
    pub(super) fn has_huge_pages() -> bool {
        let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        enabled.is_ok_and(|enabled| !enabled.contains("[never]"))
    }

    /// The pages that hold some of the memory.
    fn pages(data: *mut c_void, bytes: usize) -> Option<(*mut c_void, usize)> {
        // SAFETY: `sysconf` reads a system constant.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        if !page.is_power_of_two() || bytes == 0 {
            return None;
        }
        let before = data.addr() % page;
        let length = (before + bytes).next_multiple_of(page);
        Some((data.wrapping_byte_sub(before), length))
    }
}

/// On other systems memory is touched as it is written.
#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    use super::{Advice, c_void};

    pub(super) fn is_fresh(_: *mut c_void) -> bool {
        false
    }

    pub(super) fn advise(_: *mut c_void, _: usize, _: Advice) -> bool {
        false
    }

    pub(super) fn has_huge_pages() -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;
    use std::fs;

    /// Allocations of this size come from the system.
    #[test]
    fn fresh_memory_is_recognized() {
        let mut values = vec![0f32; 8 << 20];
        assert!(is_fresh(&values));
        let memory = Prefault::new(&values);
        memory.touch(&mut values[..4 << 20]);
        assert!(!is_fresh(&values[..4 << 20]));
        assert!(is_fresh(&values));
        // One element off, so that no page begins or ends with the part.
        let length = values.len();
        memory.touch(&mut values[1..length - 1]);
        assert!(!is_fresh(&values));
        assert!(values.iter().all(|value| *value == 0.0));
        assert!(!is_fresh::<f32>(&[]));
    }

    /// The budget after a huge page that took a second.
    fn exhausted() -> HugePageBudget {
        let mut budget = HugePageBudget::new();
        budget.record(Duration::from_secs(1), Instant::now());
        budget
    }

    /// The last advice about the page at an address: whether huge pages are wanted; `None` without any.
    fn advice<T>(address: *const T) -> Option<bool> {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut here, mut flags) = (false, "");
        for line in maps.lines() {
            if let Some((begin, rest)) = line.split_once('-')
                && let Ok(begin) = usize::from_str_radix(begin, 16)
            {
                let end = rest.split(' ').next().unwrap();
                let end = usize::from_str_radix(end, 16).unwrap();
                here = (begin..end).contains(&address.addr());
            }
            if here && let Some(found) = line.strip_prefix("VmFlags:") {
                flags = found;
            }
        }
        let has = |wanted| flags.split(' ').any(|flag| flag == wanted);
        has("hg").then_some(true).or(has("nh").then_some(false))
    }

    #[test]
    fn huge_pages_are_used_while_the_budget_lasts() {
        static NEVER: HugePagePolicy = HugePagePolicy::Never;
        static ALWAYS: HugePagePolicy = HugePagePolicy::Always;
        static BUDGETED: HugePagePolicy =
            HugePagePolicy::Budgeted(Mutex::new(HugePageBudget::new()));
        let set = |budget| {
            if let HugePagePolicy::Budgeted(current) = &BUDGETED {
                *locked(current) = budget;
            }
        };
        let advises = fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap();
        if !advises {
            eprintln!("NOT TESTED: this kernel lacks transparent huge pages");
        }
        // Functions, since a pause ends a second after it starts.
        type State = fn() -> HugePageBudget;
        let fresh: State = HugePageBudget::new;
        for (policy, before, advice_before, after, advice_after) in [
            (&NEVER, fresh, None, fresh, None),
            (&ALWAYS, exhausted, Some(true), exhausted, Some(true)),
            (&BUDGETED, fresh, Some(true), exhausted, Some(false)),
            (&BUDGETED, exhausted, None, exhausted, None),
        ] {
            // Large enough that the allocator always takes it from the system.
            let mut values = vec![0u8; 40 << 20];
            values[5 << 20] = 7;
            set(before());
            let memory = Prefault::fresh(policy, &values);
            for i in [0, 20 << 20, values.len() - 1] {
                let advice = advice(&raw const values[i]);
                assert!(
                    !advises || advice == advice_before,
                    "{policy:?} at {i}: {advice:?}"
                );
            }
            set(after());
            memory.touch(&mut values);
            for i in [0, 20 << 20, values.len() - 1] {
                let advice = advice(&raw const values[i]);
                assert!(
                    !advises || advice == advice_after,
                    "{policy:?} at {i}: {advice:?}"
                );
            }
            assert!(!is_fresh(&values));
            assert_eq!(values.iter().map(|value| u32::from(*value)).sum::<u32>(), 7);
        }
    }
}
