//! What is wrong with a file, in one line.

use super::Format;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

/// Why a file of tensors cannot be read. Every message is one line that says where, what, and
/// what to do; names and paths of hostile files are escaped and cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused: no such file, no permission.
    #[error("{}: cannot be read: {error}", Shown::path(.path))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The content has none of the formats.
    #[error(
        "{}: not a file of tensors ({}); readable are safetensors, an index of shards, npz, npy, \
         .ot, TorchScript and torch.save files",
        Shown::path(.path), Shown(.found)
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What stands there instead.
        found: String,
    },
    /// The content contradicts its format.
    #[error(
        "{}: damaged {format} file{}: {}; write it again or fetch it again",
        Shown::path(.path), At(.tensor), Shown(.problem)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format that its content has.
        format: Format,
        /// The tensor or the part of the file, if it is in one.
        tensor: Option<String>,
        /// What is wrong.
        problem: String,
    },
    /// Valid, but not readable here.
    #[error("{}{}: {}; {advice}", Shown::path(.path), At(.tensor), Shown(.problem))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The tensor, if it is about one.
        tensor: Option<String>,
        /// What is not supported.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// A pickle that only Python can rebuild: reading a file never runs code.
    #[error(
        "{}: holds the Python object {}, and no code is run to read a file; save the tensors from Python: {SAVE_FILE}",
        Shown::path(.path), Shown(.global)
    )]
    Global {
        /// The file.
        path: PathBuf,
        /// The class or function, with its module.
        global: String,
    },
    /// Two tensors of one name.
    #[error("{}", Twice(.name, .first, .second))]
    Duplicate {
        /// The name.
        name: String,
        /// The file of the first.
        first: PathBuf,
        /// The file of the second; the same one if both are in it.
        second: PathBuf,
    },
    /// A directory without a file of tensors.
    #[error("{}: no file of tensors in this directory; name the file itself", Shown::path(.path))]
    NoTensorFile {
        /// The directory.
        path: PathBuf,
    },
    /// A compressed array could not be inflated to a temporary file.
    #[error(
        "{}{}: inflating it to a temporary file failed: {error}; make room there, or set TMPDIR to a folder with more",
        Shown::path(.path), At(.tensor)
    )]
    Temporary {
        /// The file that is read.
        path: PathBuf,
        /// The tensor.
        tensor: Option<String>,
        /// What the operating system said.
        error: io::Error,
    },
}

/// How to write a file from Python that is read here.
pub(super) const SAVE_FILE: &str =
    "from safetensors.torch import save_file; save_file(model.state_dict(), \"model.safetensors\")";

/// What a reader finds wrong, before it is known in which file.
#[derive(Debug)]
pub(super) struct Flaw {
    tensor: Option<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unknown(String),
    Damaged(String),
    Unsupported(String, &'static str),
    Global(String),
    Temporary(io::Error),
}

impl Flaw {
    fn new(kind: Kind) -> Flaw {
        Flaw { tensor: None, kind }
    }

    pub(super) fn unknown(found: impl Into<String>) -> Flaw {
        Flaw::new(Kind::Unknown(found.into()))
    }

    pub(super) fn damaged(problem: impl Into<String>) -> Flaw {
        Flaw::new(Kind::Damaged(problem.into()))
    }

    pub(super) fn unsupported(problem: impl Into<String>, advice: &'static str) -> Flaw {
        Flaw::new(Kind::Unsupported(problem.into(), advice))
    }

    pub(super) fn global(name: impl Into<String>) -> Flaw {
        Flaw::new(Kind::Global(name.into()))
    }

    pub(super) fn temporary(error: io::Error) -> Flaw {
        Flaw::new(Kind::Temporary(error))
    }

    /// The same flaw in a tensor, or in a part of the file, unless it already has a place.
    pub(super) fn at(mut self, tensor: &str) -> Flaw {
        self.tensor.get_or_insert_with(|| tensor.to_owned());
        self
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
            Kind::Global(global) => FileError::Global { path, global },
            Kind::Temporary(error) => FileError::Temporary {
                path,
                tensor,
                error,
            },
        }
    }
}

/// Text from a file or a path, on one line and not endless.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Shown<'_> {
    fn path(path: &Path) -> String {
        // A path is cut nowhere: it is what the user typed or what the directory has.
        escaped(&path.to_string_lossy()).collect()
    }
}

/// Characters of a problem, and of a name within one.
const SHOWN: usize = 400;
const NAME: usize = 200;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{:.200}` asks for another length.
        let length = f.precision().unwrap_or(SHOWN);
        for c in escaped(self.0).take(length) {
            f.write_char(c)?;
        }
        match escaped(self.0).nth(length) {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}

/// A tensor's name, or that of a part of a file.
pub(super) struct Name<'a>(pub(super) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{:.NAME$}`", Shown(self.0))
    }
}

fn escaped(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(|c| {
        let plain =
            !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') && !c.is_control();
        let escape = (!plain).then(|| c.escape_default());
        plain
            .then_some(c)
            .into_iter()
            .chain(escape.into_iter().flatten())
    })
}

struct At<'a>(&'a Option<String>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(tensor) => write!(f, ": {}", Name(tensor)),
            None => Ok(()),
        }
    }
}

struct Twice<'a>(&'a str, &'a Path, &'a Path);

impl fmt::Display for Twice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Twice(name, first, second) = self;
        let (name, file) = (Name(name), Shown::path(first));
        if first == second {
            return write!(
                f,
                "{file}: two tensors are called {name}; rename one and write the file again"
            );
        }
        let second = Shown::path(second);
        write!(
            f,
            "{name} is in {file} and in {second}; name one of the files instead of their directory"
        )
    }
}
