//! Loads libtorch's CUDA library at run time.
//!
//! The linker drops `libtorch_cuda.so` from a Rust program, which names nothing in it, and linking it by
//! force would break every CPU-only installation. libtorch looks for CUDA once per process, at the first
//! seed or the first query about CUDA, so the library has to be loaded before either.

use crate::error::InitError;
use crate::ffi::{self, Fact};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Loads `libtorch_cuda.so` from the folder of the linked libtorch, once per process.
///
/// Call it before the first [`manual_seed`](crate::manual_seed), the first draw and the first query of
/// `tch::Cuda`; `tch::Device::Cuda` works afterwards.
///
/// # Errors
///
/// [`InitError::Cuda`] with the reason: libtorch was built without CUDA, a library that it needs is
/// missing, or there is no device.
///
/// ```no_run
/// tch_init::cuda::load()?;
/// tch_init::manual_seed(1)?;
/// let weight = tch::Tensor::zeros([3, 2], (tch::Kind::Float, tch::Device::Cuda(0)));
/// # drop(weight);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn load() -> Result<(), InitError> {
    static LOADED: OnceLock<Result<(), InitError>> = OnceLock::new();
    LOADED.get_or_init(load_once).clone()
}

fn load_once() -> Result<(), InitError> {
    let path = library_dir()?.join("libtorch_cuda.so");
    if !path.exists() {
        return Err(InitError::Cuda(format!(
            "libtorch was built without it: {} does not exist; point LIBTORCH at a CUDA build",
            path.display()
        )));
    }
    // SAFETY: the initializers of the library register libtorch's CUDA kernels and nothing else; it comes
    // from the same folder as the libtorch that this process uses.
    let library =
        unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| {
            InitError::Cuda(format!("cannot load libtorch_cuda.so: {}", cause(&error)))
        })?;
    // The registered kernels must outlive every use: the library is never unloaded.
    std::mem::forget(library);
    match tch::Cuda::device_count() {
        0 => Err(InitError::Cuda(
            "no device was found: there is no GPU or no driver, or libtorch looked for CUDA before \
             tch_init::cuda::load"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The message of the system's loader, without libloading's preamble.
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
        .ok_or_else(|| InitError::Cuda(format!("{path:?} is not the path of libtorch")))
}
