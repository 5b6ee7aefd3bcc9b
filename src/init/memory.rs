//! Large pages for memory that is about to be written.

use std::ffi::c_void;

/// The environment variable that keeps [`advise_huge_pages`] from advising, if it says `0`.
pub const HUGE_PAGES_VARIABLE: &str = "TCH_INIT_HUGE_PAGES";

/// Asks the system to back the memory by large pages from here on. The first touch of a page costs
/// more than the values that are drawn into it: several times so with pages of 4 KB. Memory that
/// has its pages keeps them.
#[cfg(target_os = "linux")]
pub(super) fn advise_huge_pages(data: *mut c_void, bytes: usize) {
    use std::sync::OnceLock;

    /// Smaller memory holds no large page, or is likely to have been used before.
    const WORTHWHILE: usize = 4 << 20;
    static WANTED: OnceLock<bool> = OnceLock::new();

    if bytes < WORTHWHILE
        || !*WANTED.get_or_init(|| std::env::var_os(HUGE_PAGES_VARIABLE).is_none_or(|v| v != "0"))
    {
        return;
    }
    // SAFETY: `sysconf` reads a constant of the system.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    if !page.is_power_of_two() {
        return;
    }
    // Whole pages, so that no other memory is advised of.
    let before = data.align_offset(page).min(bytes);
    let length = (bytes - before) / page * page;
    // SAFETY: the range lies inside the caller's memory; the advice changes nothing that is in it.
    let failed = unsafe { libc::madvise(data.byte_add(before), length, libc::MADV_HUGEPAGE) } != 0;
    if failed {
        // Kernels without large pages say so; then there are none.
        log::trace!("madvise: {}", std::io::Error::last_os_error());
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn advise_huge_pages(_data: *mut c_void, _bytes: usize) {}
