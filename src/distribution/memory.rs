//! Memory that is about to be written for the first time: touching it costs more than the values
//! that are drawn into it.

mod balloon;
mod pace;

use pace::Pace;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The environment variable that decides over large pages: `0` never asks the system (`madvise`, on
/// Linux) to back memory by them before a draw into it, `1` always does. Read once a process. It changes
/// no bit.
///
/// Where free memory lies in large pieces, new memory is touched several times as fast with them.
/// Where memory must be moved to make a large piece, or a virtual machine's host has taken free memory
/// back, they were found to be several times as slow as small ones. So without the variable they are
/// asked for as long as they have saved more time than they cost, and then not for a second; and never
/// in a virtual machine that reports free memory to its host (virtio's balloon).
pub const HUGE_PAGES_VARIABLE: &str = "TCH_INIT_HUGE_PAGES";

/// What the first touch of a byte takes, in nanoseconds: on pages of 4 KB, and on large ones.
const TOUCH: f64 = 0.5;
const TOUCH_LARGE: f64 = 0.15;

/// Smaller memory is not asked about: it was probably used before.
const WORTHWHILE: usize = 1 << 20;
/// Bytes that are touched by one call: what a large page has.
const AT_ONCE: usize = 2 << 20;

/// The memory of a draw.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// If some of it has no pages yet.
    new: Option<Arc<New>>,
}

#[derive(Debug)]
struct New {
    begin: usize,
    bytes: usize,
    /// Whether large pages are asked for.
    large: AtomicBool,
    pages: &'static LargePages,
}

impl Memory {
    /// Looks at the memory in a few places, and asks for large pages if it is new and they are at
    /// hand.
    pub(super) fn of<T>(values: &[T]) -> Memory {
        Memory::on(large_pages(), values)
    }

    fn on<T>(pages: &'static LargePages, values: &[T]) -> Memory {
        const PLACES: usize = 8;
        let data: *mut c_void = values.as_ptr().cast_mut().cast();
        let bytes = size_of_val(values);
        let is_new = bytes >= WORTHWHILE
            && (0..PLACES).any(|i| system::is_new(data.wrapping_byte_add(bytes / PLACES * i)));
        if !is_new {
            return Memory { new: None };
        }
        let large = pages.are_at_hand();
        if large {
            system::advise_large_pages(data, bytes, true);
        }
        let new = New {
            begin: data.addr(),
            bytes,
            large: AtomicBool::new(large),
            pages,
        };
        Memory {
            new: Some(Arc::new(new)),
        }
    }

    /// What the first touch of a byte takes, in nanoseconds.
    pub(super) fn touch_cost(&self) -> f64 {
        match &self.new {
            Some(new) if new.large.load(Ordering::Relaxed) => TOUCH_LARGE,
            Some(_) => TOUCH,
            None => 0.0,
        }
    }

    /// Touches a part of the memory if it is new, as a write to it would, and leaves what is in it.
    /// One call for many pages takes about two thirds of the time that the pages take one by one.
    pub(super) fn touch<T>(&self, part: &mut [T]) {
        let Some(new) = &self.new else { return };
        let (mut data, mut left) = (part.as_mut_ptr().cast(), size_of_val(part));
        while left > 0 {
            let now = left.min(AT_ONCE);
            new.touch(data, now);
            data = data.wrapping_byte_add(now);
            left -= now;
        }
    }
}

impl New {
    fn touch(&self, data: *mut c_void, bytes: usize) {
        if !self.large.load(Ordering::Relaxed) {
            return system::touch(data, bytes);
        }
        if !self.pages.are_at_hand() {
            if self.large.swap(false, Ordering::Relaxed) {
                let begin = data.with_addr(self.begin);
                system::advise_large_pages(begin, self.bytes, false);
            }
            return system::touch(data, bytes);
        }
        let start = Instant::now();
        system::touch(data, bytes);
        let end = Instant::now();
        self.pages.took(bytes, end - start, end);
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
    LARGE_PAGES.get_or_init(|| match std::env::var(HUGE_PAGES_VARIABLE).as_deref() {
        Ok("0") => LargePages::Never,
        Ok("1") => LargePages::Always,
        _ if balloon::host_takes_free_memory() => LargePages::Never,
        _ => LargePages::AsLongAsFast(Mutex::new(Pace::new())),
    })
}

impl LargePages {
    fn are_at_hand(&self) -> bool {
        match self {
            LargePages::Never => false,
            LargePages::Always => true,
            LargePages::AsLongAsFast(pace) => locked(pace).is_fast(Instant::now()),
        }
    }

    fn took(&self, bytes: usize, time: Duration, now: Instant) {
        if let LargePages::AsLongAsFast(pace) = self {
            locked(pace).took(bytes, time, now);
        }
    }
}

fn locked(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    // Nothing that panics happens while it is locked.
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use super::c_void;
    use std::ffi::c_int;

    pub(super) fn advise_large_pages(data: *mut c_void, bytes: usize, wanted: bool) {
        let advice = match wanted {
            true => libc::MADV_HUGEPAGE,
            false => libc::MADV_NOHUGEPAGE,
        };
        advise(data, bytes, advice);
    }

    pub(super) fn touch(data: *mut c_void, bytes: usize) {
        advise(data, bytes, libc::MADV_POPULATE_WRITE);
    }

    /// Whether the page of this address was never touched. (Of a mapped file: is not in memory.)
    pub(super) fn is_new(data: *mut c_void) -> bool {
        let Some((page, length)) = pages(data, 1) else {
            return false;
        };
        let mut present = 1u8;
        // SAFETY: a byte is written for each page of the length, which is one; a range that is not
        // mapped is an error.
        unsafe { libc::mincore(page, length, &raw mut present) == 0 && present & 1 == 0 }
    }

    /// Advises of all pages that hold some of the memory: neighbours of one mapping can share large
    /// pages only if no page between them was left out.
    fn advise(data: *mut c_void, bytes: usize, advice: c_int) {
        let Some((begin, length)) = pages(data, bytes) else {
            return;
        };
        // SAFETY: no such advice changes what any memory holds, nor whether it may be read or
        // written; a range that is not mapped is an error.
        if unsafe { libc::madvise(begin, length, advice) } != 0 {
            // Kernels that do not know the advice say so, and do without.
            log::trace!("madvise: {}", std::io::Error::last_os_error());
        }
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
    use super::c_void;

    pub(super) fn advise_large_pages(_: *mut c_void, _: usize, _: bool) {}

    pub(super) fn touch(_: *mut c_void, _: usize) {}

    pub(super) fn is_new(_: *mut c_void) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests;
