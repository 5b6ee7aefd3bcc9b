//! The functions of `cpp/libtorch.cpp`, and the one place that reads their errors.

use std::ffi::{CStr, c_char, c_int, c_void};
use tch::Kind;
use torch_sys::C_scalar;
use torch_sys::C_tensor;

/// `at::Generator`.
#[repr(C)]
pub(crate) struct CGenerator {
    _private: [u8; 0],
}

/// A weak handle to a tensor.
#[repr(C)]
pub(crate) struct CWeakTensor {
    _private: [u8; 0],
}

/// A CPU generator's stream between two draws.
#[repr(C)]
pub(crate) struct CStream {
    pub(crate) seed: u64,
    pub(crate) next_double_normal: f64,
    pub(crate) has_next_double_normal: u32,
    pub(crate) left: u32,
    pub(crate) next: u32,
    pub(crate) words: [u32; 624],
}

/// The number of a dtype (`c10/core/ScalarType.h`), of those that are filled or computed here.
pub(crate) const fn scalar_type(kind: Kind) -> c_int {
    match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Double => 7,
        Kind::Bool => 11,
        Kind::BFloat16 => 15,
        _ => 6,
    }
}

/// Null, or a message that [`check`] takes.
type Failure = *mut c_char;

unsafe extern "C" {
    fn tch_init_free(text: *mut c_char);
    pub(crate) fn tch_init_generator_new(cuda: c_int, out: *mut *mut CGenerator) -> Failure;
    pub(crate) fn tch_init_generator_default(cuda: c_int, out: *mut *mut CGenerator) -> Failure;
    pub(crate) fn tch_init_generator_clone(
        generator: *mut CGenerator,
        out: *mut *mut CGenerator,
    ) -> Failure;
    pub(crate) fn tch_init_generator_free(generator: *mut CGenerator);
    pub(crate) fn tch_init_generator_manual_seed(generator: *mut CGenerator, seed: u64) -> Failure;
    pub(crate) fn tch_init_generator_initial_seed(
        generator: *mut CGenerator,
        out: *mut u64,
    ) -> Failure;
    pub(crate) fn tch_init_generator_get_state(
        generator: *mut CGenerator,
        bytes: *mut u8,
        capacity: usize,
        length: *mut usize,
    ) -> Failure;
    pub(crate) fn tch_init_generator_set_state(
        generator: *mut CGenerator,
        bytes: *const u8,
        length: usize,
    ) -> Failure;
    pub(crate) fn tch_init_manual_seed(seed: u64) -> Failure;
    pub(crate) fn tch_init_uniform_(
        tensor: *mut C_tensor,
        from: f64,
        to: f64,
        generator: *const CGenerator,
    ) -> Failure;
    pub(crate) fn tch_init_normal_(
        tensor: *mut C_tensor,
        mean: f64,
        std: f64,
        generator: *const CGenerator,
    ) -> Failure;
    pub(crate) fn tch_init_draw(
        tensor: *mut C_tensor,
        generator: *const CGenerator,
        min_numel: i64,
        draw: unsafe extern "C" fn(*mut c_void, *mut c_void, i64, c_int, *mut CStream) -> c_int,
        context: *mut c_void,
        drawn: *mut c_int,
    ) -> Failure;
    pub(crate) fn tch_init_fill_(tensor: *mut C_tensor, value: f64) -> Failure;
    pub(crate) fn tch_init_add(
        a: *const C_tensor,
        b: *const C_tensor,
        number: *const C_scalar,
        alpha: *const C_scalar,
        operation: c_int,
        out: *mut *mut C_tensor,
    ) -> Failure;
    pub(crate) fn tch_init_randperm(
        n: i64,
        generator: *const CGenerator,
        out: *mut *mut C_tensor,
    ) -> Failure;
    pub(crate) fn tch_init_storage(
        tensor: *const C_tensor,
        id: *mut *const c_void,
        data: *mut *const c_void,
        nbytes: *mut u64,
        offset: *mut i64,
    );
    pub(crate) fn tch_init_watch_begin() -> Failure;
    pub(crate) fn tch_init_watch_end(refused: *mut *mut c_char) -> Failure;
    pub(crate) fn tch_init_watch_is_blank(tensor: *const C_tensor) -> c_int;
    pub(crate) fn tch_init_watch_make_blank(tensor: *const C_tensor) -> Failure;
    pub(crate) fn tch_init_outside(
        tensor: *const C_tensor,
        low: f64,
        high: f64,
        out: *mut *mut C_tensor,
    ) -> Failure;
    pub(crate) fn tch_init_tensor_identity(tensor: *const C_tensor) -> *const c_void;
    fn tch_init_grad_fn(tensor: *const C_tensor, out: *mut *mut c_char) -> Failure;
    pub(crate) fn tch_init_weak_new(tensor: *const C_tensor, out: *mut *mut CWeakTensor)
    -> Failure;
    pub(crate) fn tch_init_weak_expired(weak: *const CWeakTensor) -> c_int;
    pub(crate) fn tch_init_weak_free(weak: *mut CWeakTensor);
    fn tch_init_fact(which: c_int, out: *mut *mut c_char) -> Failure;
}

/// Turns the message of a function of this module into an error.
///
/// # Safety
///
/// `failure` is what one of them returned, and is not used again.
pub(crate) unsafe fn check(failure: Failure) -> Result<(), String> {
    if failure.is_null() {
        return Ok(());
    }
    // SAFETY: not null, so by the caller's promise a NUL-terminated string that is ours to free.
    Err(unsafe { take(failure) })
}

/// # Safety
///
/// `text` is a NUL-terminated string made by `cpp/libtorch.cpp`, and is not used again.
unsafe fn take(text: *mut c_char) -> String {
    // SAFETY: by the caller's promise.
    let owned = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: the string was made by `strdup` or `calloc` there, and `owned` is a copy.
    unsafe { tch_init_free(text) };
    owned
}

/// What libtorch says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fact {
    CpuCapability = 0,
    MklVersion = 1,
    LibraryPath = 2,
    HasLapack = 3,
    /// Of the library in this process.
    Version = 4,
    /// Of the headers that this crate was built with.
    HeaderVersion = 5,
}

pub(crate) fn fact(which: Fact) -> Result<String, String> {
    // SAFETY: the function sets `text` to a string of its own making, or fails.
    unsafe { text(|text| tch_init_fact(which as c_int, text)) }
}

/// The C++ name of the function that computed a tensor, empty for a leaf.
pub(crate) fn grad_fn(tensor: &tch::Tensor) -> Result<String, String> {
    // SAFETY: the tensor is live for the call, and the function sets `text` to a string of its own
    // making, or fails.
    unsafe { text(|text| tch_init_grad_fn(tensor.as_ptr(), text)) }
}

/// # Safety
///
/// `make` sets the place it is given to null or a string made by `cpp/libtorch.cpp` that is not
/// used elsewhere, and returns what a function of this module returned.
pub(crate) unsafe fn text(
    make: impl FnOnce(*mut *mut c_char) -> Failure,
) -> Result<String, String> {
    let mut text = std::ptr::null_mut();
    // SAFETY: by the caller's promise; the failure is read once.
    unsafe { check(make(&mut text)) }?;
    if text.is_null() {
        return Ok(String::new());
    }
    // SAFETY: by the caller's promise, set by the call, not null, and not used again.
    Ok(unsafe { take(text) })
}
