//! Memory that is about to be written for the first time: touching it costs more than the values
//! that are drawn into it.

mod balloon;
mod huge_page_budget;

use huge_page_budget::Pace;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The environment variable that decides over large pages: `0` never asks the system (`madvise`, on
/// Linux) to back new memory by them before a draw into it, `1` always does. Read once a process. It
/// changes no bit.
///
/// Where free memory lies in large pieces, new memory is touched several times as fast with them.
/// Where memory must be moved to make a large piece, or a virtual machine's host has taken free memory
/// back, they were found to be several times as slow as small ones. So without the variable they are
/// asked for as long as they do not take longer than small ones mostly do (0.3 ns a byte), and then not
/// for a second; and never in a virtual machine that reports free memory to its host (virtio's balloon).
///
/// Memory that is still to be touched when they become slow is exempted from large pages
/// (`MADV_NOHUGEPAGE`) as long as it is mapped: no other advice undoes the first.
pub const HUGE_PAGES_VARIABLE: &str = "TCH_INIT_HUGE_PAGES";

/// What the first touch of a byte takes, in nanoseconds: on pages of 4 KB, and on large ones.
const TOUCH: f64 = 0.3;
const TOUCH_LARGE: f64 = 0.1;

/// Smaller memory is not asked about: it was probably used before.
const WORTHWHILE: usize = 1 << 20;
/// The bytes of a large page, and of memory that holds at least one.
const LARGE_PAGE: usize = 2 << 20;
const WORTH_LARGE_PAGES: usize = 2 * LARGE_PAGE;

/// What the system is told of memory; none of it changes what the memory holds, nor whether it may be
/// read or written.
#[derive(Debug, Clone, Copy)]
enum Advice {
    Touch,
    LargePages,
    NoLargePages,
}

/// The memory of a draw.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// If some of it has no pages yet.
    new: Option<Arc<New>>,
}

#[derive(Debug)]
struct New {
    begin: usize,
    bytes: usize,
    pages: &'static LargePages,
    /// Whether large pages are asked for.
    large: AtomicBool,
}

impl Memory {
    /// Looks at the memory in a few places, and asks for large pages if it is new and they are at
    /// hand.
    pub(crate) fn of<T>(values: &[T]) -> Memory {
        match is_new(values) {
            true => Memory::new(large_pages(), values),
            false => Memory { new: None },
        }
    }

    fn new<T>(pages: &'static LargePages, values: &[T]) -> Memory {
        let (data, bytes) = (values.as_ptr(), size_of_val(values));
        let large = bytes >= WORTH_LARGE_PAGES
            && pages.are_at_hand()
            && system::advise(data.cast_mut().cast(), bytes, Advice::LargePages);
        let new = New {
            begin: data.addr(),
            bytes,
            pages,
            large: AtomicBool::new(large),
        };
        Memory {
            new: Some(Arc::new(new)),
        }
    }

    /// What the first touch of a byte takes, in nanoseconds.
    pub(crate) fn touch_cost(&self) -> f64 {
        match &self.new {
            Some(new) if new.large.load(Ordering::Relaxed) => TOUCH_LARGE,
            Some(_) => TOUCH,
            None => 0.0,
        }
    }

    /// Touches a part of the memory if it is new, as a write to it would, and leaves what is in it.
    /// One call for many pages takes about two thirds of the time that the pages take one by one.
    pub(crate) fn touch<T>(&self, part: &mut [T]) {
        let Some(new) = &self.new else { return };
        let (mut data, mut left): (*mut c_void, _) = (part.as_mut_ptr().cast(), size_of_val(part));
        while left > 0 {
            // Up to where a large page may begin, so that slow ones are noticed one by one.
            let now = left.min(LARGE_PAGE - data.addr() % LARGE_PAGE);
            new.touch(data, now);
            data = data.wrapping_byte_add(now);
            left -= now;
        }
    }
}

fn is_new<T>(values: &[T]) -> bool {
    const PLACES: usize = 8;
    let bytes = size_of_val(values);
    let place = |i: usize| values.as_ptr().wrapping_byte_add(bytes / PLACES * i);
    bytes >= WORTHWHILE && (0..PLACES).any(|i| system::is_new(place(i).cast_mut().cast()))
}

impl New {
    /// Touches memory of which at most the first byte begins a large page.
    fn touch(&self, data: *mut c_void, bytes: usize) {
        if self.large.load(Ordering::Relaxed) {
            if self.pages.are_at_hand() {
                return self.touch_large(data, bytes);
            }
            if self.large.swap(false, Ordering::Relaxed) {
                let begin = data.with_addr(self.begin);
                system::advise(begin, self.bytes, Advice::NoLargePages);
            }
        }
        system::advise(data, bytes, Advice::Touch);
    }

    fn touch_large(&self, data: *mut c_void, bytes: usize) {
        let start = Instant::now();
        system::advise(data, bytes, Advice::Touch);
        // Whoever touches where it begins mostly touches all of it, and others find it touched.
        if data.addr().is_multiple_of(LARGE_PAGE) {
            let end = Instant::now();
            self.pages.took(end - start, end);
        }
    }
}

/// Whether large pages are asked for.
#[derive(Debug)]
enum LargePages {
    Never,
    Always,
    AsLongAsFast(Mutex<Pace>),
}

fn large_pages() -> &'static LargePages {
    static LARGE_PAGES: OnceLock<LargePages> = OnceLock::new();
    LARGE_PAGES.get_or_init(|| {
        let wanted = std::env::var(HUGE_PAGES_VARIABLE).unwrap_or_default();
        match wanted.as_str() {
            "0" => return LargePages::Never,
            "1" => return LargePages::Always,
            "" => {}
            _ => log::warn!("{HUGE_PAGES_VARIABLE}: {wanted:?} is not known, use 0 or 1"),
        }
        // Where the system does not say that it touched, how long that takes says nothing.
        let mut page = [0u8; 1];
        let touches = system::advise(page.as_mut_ptr().cast(), 1, Advice::Touch);
        match touches && system::has_large_pages() && !balloon::host_takes_free_memory() {
            true => LargePages::AsLongAsFast(Mutex::new(Pace::new())),
            false => LargePages::Never,
        }
    })
}

impl LargePages {
    fn are_at_hand(&self) -> bool {
        match self {
            LargePages::Never => false,
            LargePages::Always => true,
            LargePages::AsLongAsFast(pace) => locked(pace).allows(Instant::now()),
        }
    }

    fn took(&self, time: Duration, now: Instant) {
        if let LargePages::AsLongAsFast(pace) = self {
            let begins_a_pause = locked(pace).took(time, now);
            if begins_a_pause {
                let pause = huge_page_budget::PAUSE;
                log::debug!("large pages take {time:?}: none are asked for during {pause:?}");
            }
        }
    }
}

fn locked(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    // Nothing that panics happens while it is locked.
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use super::{Advice, c_void};

    /// Whether the page of this address was never touched. (Of a mapped file: is not in memory.)
    pub(crate) fn is_new(data: *mut c_void) -> bool {
        let Some((page, length)) = pages(data, 1) else {
            return false;
        };
        let mut present = 1u8;
        // SAFETY: a byte is written for each page of the length, which is one; a range that is not
        // mapped is an error.
        unsafe { libc::mincore(page, length, &raw mut present) == 0 && present & 1 == 0 }
    }

    /// Advises of all pages that hold some of the memory: neighbours of one mapping can share large
    /// pages only if no page between them was left out. `false` if the system does not know the
    /// advice, and does without.
    pub(crate) fn advise(data: *mut c_void, bytes: usize, advice: Advice) -> bool {
        let Some((begin, length)) = pages(data, bytes) else {
            return false;
        };
        let advice = match advice {
            Advice::Touch => libc::MADV_POPULATE_WRITE,
            Advice::LargePages => libc::MADV_HUGEPAGE,
            Advice::NoLargePages => libc::MADV_NOHUGEPAGE,
        };
        // SAFETY: see `Advice`; a range that is not mapped is an error.
        let is_taken = unsafe { libc::madvise(begin, length, advice) } == 0;
        if !is_taken {
            log::trace!("madvise: {}", std::io::Error::last_os_error());
        }
        is_taken
    }

    /// Whether the system gives large pages to those who ask.
    pub(crate) fn has_large_pages() -> bool {
        let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        enabled.is_ok_and(|enabled| !enabled.contains("[never]"))
    }

    /// The pages that hold some of the memory.
    fn pages(data: *mut c_void, bytes: usize) -> Option<(*mut c_void, usize)> {
        // SAFETY: `sysconf` reads a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        if !page.is_power_of_two() || bytes == 0 {
            return None;
        }
        let before = data.addr() % page;
        let length = (before + bytes).next_multiple_of(page);
        Some((data.wrapping_byte_sub(before), length))
    }
}

/// Systems whose calls are not known here touch memory as it is written.
#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    use super::{Advice, c_void};

    pub(crate) fn is_new(_: *mut c_void) -> bool {
        false
    }

    pub(crate) fn advise(_: *mut c_void, _: usize, _: Advice) -> bool {
        false
    }

    pub(crate) fn has_large_pages() -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests;
