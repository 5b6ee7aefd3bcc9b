//! The libtorch in use.

use crate::error::InitError;
use crate::ffi::{self, Fact};
use std::path::PathBuf;

/// The libtorch version whose bits tch-init reproduces.
pub const LIBTORCH_VERSION: &str = "2.13.0";

/// Describes the libtorch in this process: its version and what else affects the bits of a draw.
///
/// Put it into a bug report, or assert in a test that the libtorch is the expected one.
///
/// ```
/// use tch_init::{LIBTORCH_VERSION, LibtorchInfo};
///
/// let libtorch = LibtorchInfo::detect()?;
/// assert_eq!(libtorch.version, LIBTORCH_VERSION);
/// # Ok::<(), tch_init::InitError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LibtorchInfo {
    /// The version of the loaded library.
    pub version: String,
    /// The version of the headers that tch-init was compiled with.
    pub header_version: String,
    /// The file of the loaded library.
    pub library: PathBuf,
    /// The kernels that libtorch chose for this CPU: `DEFAULT`, `AVX2` or `AVX512`. `DEFAULT` draws other bits than the
    /// other two.
    pub cpu_capability: String,
    /// The version of MKL, if libtorch was built with it.
    pub mkl: Option<String>,
    /// Whether libtorch was built with LAPACK, which `orthogonal_` needs.
    pub has_lapack: bool,
}

impl LibtorchInfo {
    /// Asks libtorch. It draws nothing.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if libtorch does not answer.
    pub fn detect() -> Result<LibtorchInfo, InitError> {
        let fact = |which| {
            ffi::fact(which)
                .map(|text| text.trim().to_owned())
                .map_err(|message| InitError::libtorch("LibtorchInfo::detect", &message))
        };
        Ok(LibtorchInfo {
            version: fact(Fact::Version)?,
            header_version: fact(Fact::HeaderVersion)?,
            library: fact(Fact::LibraryPath)?.into(),
            cpu_capability: fact(Fact::CpuCapability)?,
            mkl: Some(fact(Fact::MklVersion)?).filter(|version| !version.is_empty()),
            has_lapack: fact(Fact::HasLapack)? == "yes",
        })
    }
}
