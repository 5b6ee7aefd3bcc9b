//! Errors of reading tensor files.

use super::format::Format;
use crate::escape::{Escaped, Name};
use crate::left_out::{LeftOut, LeftOutKind};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error of reading a tensor file.
///
/// A message is one line that names the file, the problem and what to do about it. Names and paths
/// are escaped and shortened, since a hostile file may contain anything. What the operating system
/// reported is the [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused to read the file: it does not exist, or permission is denied.
    #[error("{}: cannot be read", Escaped::path(.path))]
    #[non_exhaustive]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The content has none of the supported formats.
    #[error(
        "{}: not a tensor file ({}); supported formats are safetensors, an index of shards, npz, \
         npy, .ot, TorchScript and torch.save",
        Escaped::path(.path), Escaped(.found)
    )]
    #[non_exhaustive]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What the file contains instead.
        found: String,
    },
    /// The content contradicts its format.
    #[error(
        "{}: damaged {format} file{}: {}; write or download it again",
        Escaped::path(.path), Within(.tensor), Escaped(.problem)
    )]
    #[non_exhaustive]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format of its content.
        format: Format,
        /// The tensor or the part of the file that is damaged, if known.
        tensor: Option<String>,
        /// What is wrong.
        problem: String,
    },
    /// The file is valid, but uses a feature that is not supported.
    #[error("{}{}: {}; {advice}", Escaped::path(.path), Within(.tensor), Escaped(.problem))]
    #[non_exhaustive]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The tensor that uses the feature, if it is one tensor.
        tensor: Option<String>,
        /// The feature.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// Two tensors have the same name.
    #[error("{}", DuplicateName(.name, .first, .second))]
    #[non_exhaustive]
    Duplicate {
        /// The name.
        name: String,
        /// The file of the first tensor.
        first: PathBuf,
        /// The file of the second tensor; may be the same file.
        second: PathBuf,
    },
    /// A directory has no tensor file.
    #[error("{}: no tensor file in this directory; pass the file itself", Escaped::path(.path))]
    #[non_exhaustive]
    NoTensorFile {
        /// The directory.
        path: PathBuf,
    },
    /// A file became shorter after it was opened.
    #[error(
        "{}: truncated from {opened} to {now} bytes while it was open; do not change a file that is being read",
        Escaped::path(.path)
    )]
    #[non_exhaustive]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length in bytes when it was opened.
        opened: u64,
        /// Its length in bytes now.
        now: u64,
    },
    /// A compressed array could not be inflated to a temporary file.
    #[error(
        "{}{}: inflating to a temporary file failed; free some space, or set TMPDIR to a directory with more",
        Escaped::path(.path), Within(.tensor)
    )]
    #[non_exhaustive]
    Temporary {
        /// The file that is read.
        path: PathBuf,
        /// The tensor.
        tensor: Option<String>,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Python code that writes a file in a format that is read here.
pub(super) const SAVE_FILE: &str =
    "from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")";

/// A problem that a reader finds in the bytes of a file, before the file's path is known.
#[derive(Debug)]
pub(super) struct Problem {
    tensor: Option<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unknown(String),
    Damaged(String),
    Unsupported(String, &'static str),
    Duplicate(String),
    Temporary(io::Error),
}

impl Problem {
    fn new(kind: Kind) -> Problem {
        Problem { tensor: None, kind }
    }

    pub(super) fn unknown(found: impl Into<String>) -> Problem {
        Problem::new(Kind::Unknown(found.into()))
    }

    pub(super) fn damaged(problem: impl Into<String>) -> Problem {
        Problem::new(Kind::Damaged(problem.into()))
    }

    pub(super) fn unsupported(problem: impl Into<String>, advice: &'static str) -> Problem {
        Problem::new(Kind::Unsupported(problem.into(), advice))
    }

    pub(super) fn duplicate(name: impl Into<String>) -> Problem {
        Problem::new(Kind::Duplicate(name.into()))
    }

    pub(super) fn temporary(error: io::Error) -> Problem {
        Problem::new(Kind::Temporary(error))
    }

    /// The same problem, of another tensor.
    pub(super) fn copied(&self) -> Problem {
        Problem::new(match &self.kind {
            Kind::Unknown(text) | Kind::Damaged(text) => Kind::Damaged(text.clone()),
            Kind::Unsupported(text, advice) => Kind::Unsupported(text.clone(), advice),
            Kind::Duplicate(name) => Kind::Duplicate(name.clone()),
            Kind::Temporary(error) => Kind::Damaged(error.to_string()),
        })
    }

    /// Locates the problem in a tensor or a part of the file, unless it is located already.
    pub(super) fn within(mut self, tensor: &str) -> Problem {
        self.tensor.get_or_insert_with(|| tensor.to_owned());
        self
    }

    /// Whether a file as a whole cannot be read for this reason, rather than one member of it.
    pub(super) fn is_of_file(&self) -> bool {
        matches!(self.kind, Kind::Temporary(_))
    }

    /// Whether the file is valid, but uses a feature that is not supported.
    pub(super) fn is_unsupported(&self) -> bool {
        matches!(self.kind, Kind::Unsupported(..))
    }

    /// The member `name`, which has this problem.
    pub(super) fn left_out(self, name: impl Into<String>) -> LeftOut {
        let (kind, reason, advice) = match self.kind {
            Kind::Unsupported(problem, advice) => (LeftOutKind::Unsupported, problem, Some(advice)),
            Kind::Unknown(problem) | Kind::Damaged(problem) => {
                (LeftOutKind::Damaged, problem, None)
            }
            Kind::Duplicate(_) => (
                LeftOutKind::Damaged,
                "several tensors have this name".to_owned(),
                None,
            ),
            Kind::Temporary(error) => (LeftOutKind::Damaged, error.to_string(), None),
        };
        LeftOut {
            name: name.into(),
            kind,
            reason,
            advice,
        }
    }

    pub(super) fn in_file(self, path: &Path, format: Format) -> FileError {
        let (path, tensor) = (path.to_owned(), self.tensor);
        match self.kind {
            Kind::Unknown(found) => FileError::Unknown { path, found },
            Kind::Damaged(problem) => FileError::Damaged {
                path,
                format,
                tensor,
                problem,
            },
            Kind::Unsupported(problem, advice) => FileError::Unsupported {
                path,
                tensor,
                problem,
                advice,
            },
            Kind::Duplicate(name) => FileError::Duplicate {
                name,
                first: path.clone(),
                second: path,
            },
            Kind::Temporary(source) => FileError::Temporary {
                path,
                tensor,
                source,
            },
        }
    }
}

struct Within<'a>(&'a Option<String>);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(tensor) => write!(f, ": {}", Name(tensor)),
            None => Ok(()),
        }
    }
}

struct DuplicateName<'a>(&'a str, &'a Path, &'a Path);

impl fmt::Display for DuplicateName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DuplicateName(name, first, second) = self;
        let (name, file) = (Name(name), Escaped::path(first));
        if first == second {
            return write!(
                f,
                "{file}: duplicate tensor name {name}; rename one and write the file again"
            );
        }
        let second = Escaped::path(second);
        write!(
            f,
            "{name} is in both {file} and {second}; pass one of the files instead of the directory"
        )
    }
}
