//! The libtorch in use.

use crate::error::InitError;
use crate::ffi::{self, Fact};
use crate::rng::Semantics;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The version of libtorch that tch-init was built against: 2.13.0 with tch 0.26, 2.11.0 with tch 0.24.
pub const LIBTORCH_VERSION: &str = env!("TCH_INIT_LIBTORCH");

/// The semantics of the linked libtorch: the versions of PyTorch that draw its bits.
pub(crate) fn linked_semantics() -> Semantics {
    static LINKED: OnceLock<Semantics> = OnceLock::new();
    // A version that is not known was built with `LIBTORCH_BYPASS_VERSION_CHECK`.
    *LINKED.get_or_init(|| Semantics::of_version(LIBTORCH_VERSION).unwrap_or_default())
}

/// The versions of libtorch that were run in the place of the first one, which tch-init was built against: they have the
/// functions that tch calls, and draw the same bits.
const TRIED: ((u32, u32), (u32, u32)) = ((2, 13), (2, 15));

/// Replaces the check of versions, at build time and at run time.
const BYPASS: &str = "LIBTORCH_BYPASS_VERSION_CHECK";

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

    /// Checks that the libtorch of this process can stand in for the one that tch-init was built against: the same
    /// minor version, or in the place of 2.13 a newer one up to 2.15, which draws the same bits.
    ///
    /// Another one has other functions, so that a call may end the process. The program checks at its start; call it
    /// before anything of tch where the library that is loaded is not certain (`LD_LIBRARY_PATH`). With
    /// `LIBTORCH_BYPASS_VERSION_CHECK` in the environment, every version passes.
    ///
    /// ```
    /// tch_init::LibtorchInfo::check_version()?;
    /// # Ok::<(), tch_init::InitError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InitError::LibtorchVersion`] names both versions and the file of the library.
    pub fn check_version() -> Result<(), InitError> {
        if std::env::var_os(BYPASS).is_some() {
            return Ok(());
        }
        let fact = |which| {
            ffi::fact(which)
                .map(|text| text.trim().to_owned())
                .map_err(|message| InitError::libtorch("LibtorchInfo::check_version", &message))
        };
        let (found, built) = (fact(Fact::Version)?, fact(Fact::HeaderVersion)?);
        if stands_in(&found, &built) {
            return Ok(());
        }
        Err(InitError::LibtorchVersion {
            found,
            built,
            library: fact(Fact::LibraryPath)?.into(),
        })
    }
}

/// Whether a library of the version `found` can run a program that was built against `built`.
fn stands_in(found: &str, built: &str) -> bool {
    let minor = |version: &str| -> Option<(u32, u32)> {
        // Development versions (2.16.0a0+git...) may have other functions.
        let mut parts = version.split('.');
        let numbers = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let patch = parts.next()?;
        patch.bytes().all(|b| b.is_ascii_digit()).then_some(numbers)
    };
    match (minor(found), minor(built)) {
        (Some(found), Some(built)) => {
            let (oldest, newest) = TRIED;
            found == built || (built == oldest && (oldest..=newest).contains(&found))
        }
        _ => found == built,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_libraries_that_were_tried_stand_in() {
        for found in ["2.13.0", "2.13.1", "2.14.0", "2.15.0", "2.15.2"] {
            assert!(stands_in(found, "2.13.0"), "{found}");
        }
        for found in [
            "2.12.1",
            "2.11.0",
            "2.16.0",
            "3.13.0",
            "1.13.0",
            "2.15.0a0",
            "",
            "older than 2.7",
            "unknown",
        ] {
            assert!(!stands_in(found, "2.13.0"), "{found}");
        }
        // A program that was built against another version runs with that version only.
        assert!(stands_in("2.16.0a0", "2.16.0a0"));
        assert!(!stands_in("2.13.0", "2.16.0a0"));
        assert!(stands_in("2.11.2", "2.11.0"));
        assert!(!stands_in("2.12.0", "2.11.0"));
        assert!(!stands_in("2.13.0", "2.11.0"));
    }

    #[test]
    fn this_process_has_its_own() {
        LibtorchInfo::check_version().unwrap();
    }
}
