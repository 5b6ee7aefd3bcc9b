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

/// Smaller memory alone holds no large page, or is likely to have been used before.
const WORTHWHILE: usize = 4 << 20;

/// Asks for large pages before a draw, where that may be worth it.
pub(super) fn before_draw(data: *mut c_void, bytes: usize) {
    if bytes >= WORTHWHILE {
        ask_for_huge_pages(data, bytes);
    }
}

/// Asks the system to back the memory by large pages from here on, if that is wanted. Memory that
/// has its pages keeps them.
pub(crate) fn ask_for_huge_pages(data: *mut c_void, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        use std::sync::OnceLock;

        static WANTED: OnceLock<bool> = OnceLock::new();
        if *WANTED
            .get_or_init(|| std::env::var_os(HUGE_PAGES_VARIABLE).is_some_and(|value| value == "1"))
        {
            advise(data, bytes, libc::MADV_HUGEPAGE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let (_, _) = (data, bytes);
}

/// Touches the memory, as a write to it would, and leaves what is in it.
#[cfg(feature = "files")]
pub(crate) fn touch(data: *mut c_void, bytes: usize) {
    #[cfg(target_os = "linux")]
    advise(data, bytes, libc::MADV_POPULATE_WRITE);
    #[cfg(not(target_os = "linux"))]
    let (_, _) = (data, bytes);
}

/// Advises of all pages that hold some of the memory: neighbours of one mapping can share large pages
/// only if no page between them was left out.
#[cfg(target_os = "linux")]
fn advise(data: *mut c_void, bytes: usize, advice: std::ffi::c_int) {
    // SAFETY: `sysconf` reads a constant of the system.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    if !page.is_power_of_two() || bytes == 0 {
        return;
    }
    let before = data.addr() % page;
    let length = (before + bytes).next_multiple_of(page);
    let begin = data.wrapping_byte_sub(before);
    // SAFETY: neither advice changes what any memory holds, nor whether it may be read or written;
    // a range that is not mapped is an error.
    if unsafe { libc::madvise(begin, length, advice) } != 0 {
        // Kernels that do not know the advice say so, and do without.
        log::trace!("madvise: {}", std::io::Error::last_os_error());
    }
}
