//! Memory that is about to be written for the first time: touching it costs more than the values
//! that are drawn into it.

use std::ffi::c_void;

/// The environment variable that decides over large pages: if it says `1`, the system is asked
/// (`madvise`, on Linux) to back memory of 4 MB or more by large pages before a draw into it. Read once
/// a process. It changes no bit.
///
/// Where free memory lies in large pieces, new memory is then touched several times as fast. A
/// virtual machine that has handed its free memory back to its host was found to be up to four times
/// slower, so it is left to whoever knows the machine.
pub const HUGE_PAGES_VARIABLE: &str = "TCH_INIT_HUGE_PAGES";

/// What the first touch of a byte takes, in nanoseconds, on pages of 4 KB.
pub(super) const TOUCH: f64 = 0.5;

/// Smaller memory is not asked about: it alone holds no large page, or was probably used before.
const WORTHWHILE: usize = 1 << 20;
const WORTH_LARGE_PAGES: usize = 4 << 20;

/// Asks for large pages if that is wanted, and says whether some of the memory has no pages yet. It
/// is looked at in a few places only.
pub(super) fn is_new<T>(values: &[T]) -> bool {
    let (data, bytes) = (values.as_ptr().cast_mut().cast(), size_of_val(values));
    if bytes < WORTHWHILE {
        return false;
    }
    if bytes >= WORTH_LARGE_PAGES && system::large_pages_are_wanted() {
        system::ask_for_large_pages(data, bytes);
    }
    const PLACES: usize = 8;
    (0..PLACES).any(|i| system::is_new(data.wrapping_byte_add(bytes / PLACES * i)))
}

/// Touches the memory, as a write to it would, and leaves what is in it. One call for many pages
/// takes about two thirds of the time that the pages take one by one.
pub(super) fn touch<T>(values: &mut [T]) {
    system::touch(values.as_mut_ptr().cast(), size_of_val(values));
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use super::{HUGE_PAGES_VARIABLE, c_void};
    use std::ffi::c_int;
    use std::sync::OnceLock;

    pub(super) fn large_pages_are_wanted() -> bool {
        static WANTED: OnceLock<bool> = OnceLock::new();
        *WANTED
            .get_or_init(|| std::env::var_os(HUGE_PAGES_VARIABLE).is_some_and(|value| value == "1"))
    }

    pub(super) fn ask_for_large_pages(data: *mut c_void, bytes: usize) {
        advise(data, bytes, libc::MADV_HUGEPAGE);
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
        // SAFETY: neither advice changes what any memory holds, nor whether it may be read or
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

    pub(super) fn large_pages_are_wanted() -> bool {
        false
    }

    pub(super) fn ask_for_large_pages(_: *mut c_void, _: usize) {}

    pub(super) fn touch(_: *mut c_void, _: usize) {}

    pub(super) fn is_new(_: *mut c_void) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    /// Memory that comes from the system itself, which new allocations of this size do.
    #[test]
    fn new_memory_is_told_from_touched_memory() {
        let mut values = vec![0f32; 8 << 20];
        assert!(is_new(&values));
        touch(&mut values[..4 << 20]);
        assert!(!is_new(&values[..4 << 20]));
        assert!(is_new(&values));
        // One byte off, so that no page begins or ends with the values.
        let length = values.len();
        touch(&mut values[1..length - 1]);
        assert!(!is_new(&values));
        assert!(values.iter().all(|value| *value == 0.0));
        assert!(!is_new::<f32>(&[]));
    }
}
