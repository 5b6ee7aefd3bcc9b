//! Loading libtorch's CUDA half at run time.
//!
//! The linker drops `libtorch_cuda.so` from a Rust program, since nothing in it is named, and
//! forcing it in would break every CPU-only installation. libtorch looks for CUDA once, at the
//! first seed or the first question about CUDA, and remembers the answer for the whole process: so
//! the library has to be loaded before either.

use crate::error::InitError;
use crate::ffi::{self, Fact};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Loads `libtorch_cuda.so` from the folder of the libtorch in use, once per process.
///
/// Call it before the first [`manual_seed`](crate::manual_seed) or other use of libtorch's random
/// numbers and before the first `tch::Cuda` query; afterwards `tch::Device::Cuda` works.
///
/// # Errors
///
/// [`InitError::Cuda`] with the reason: a libtorch without CUDA, a library it needs that is
/// missing, or no device.
pub fn load() -> Result<(), InitError> {
    static LOADED: OnceLock<Result<(), InitError>> = OnceLock::new();
    LOADED.get_or_init(load_once).clone()
}

fn load_once() -> Result<(), InitError> {
    let path = library_dir()?.join("libtorch_cuda.so");
    if !path.exists() {
        return Err(InitError::Cuda(format!(
            "this libtorch has none: there is no {}; point LIBTORCH at a CUDA build",
            path.display()
        )));
    }
    // SAFETY: the library's initialisers register libtorch's CUDA kernels, which is what loading
    // it is for; it comes from the same folder as the libtorch already in this process.
    let library =
        unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| {
            InitError::Cuda(format!("cannot load libtorch_cuda.so: {}", cause(&error)))
        })?;
    // Its kernels are registered for the life of the process: never unload it.
    std::mem::forget(library);
    match tch::Cuda::device_count() {
        0 => Err(InitError::Cuda(
            "no device was found (no GPU, no driver, or libtorch was asked about CUDA before \
             tch_init::cuda::load)"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// What the loader says, without libloading's own preamble.
fn cause(error: &libloading::Error) -> String {
    use std::error::Error;
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// The folder that libtorch was loaded from.
pub(crate) fn library_dir() -> Result<PathBuf, InitError> {
    let path = ffi::fact(Fact::LibraryPath)
        .map_err(|message| InitError::libtorch("library path", &message))?;
    PathBuf::from(&path)
        .parent()
        .map(PathBuf::from)
        .ok_or_else(|| InitError::Cuda(format!("cannot tell where libtorch is from {path:?}")))
}
