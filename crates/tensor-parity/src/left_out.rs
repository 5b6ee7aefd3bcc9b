//! Members of a source that have no readable tensor.

use crate::escape::Escaped;
use std::fmt;

/// A member of a file that is not among its tensors, and why.
///
/// It is displayed as the name and the reason: `q, 4-bit floats`.
///
/// ```
/// use tensor_parity::file::TensorFile;
/// use tensor_parity::{LeftOut, LeftOutKind};
///
/// # let header = br#"{"q":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
/// # let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0, 7]].concat();
/// let file = TensorFile::from_bytes("model.safetensors", bytes)?;
/// assert!(file.names().eq(["w"]));
/// let q: &LeftOut = &file.left_out()[0];
/// assert_eq!(q.kind, LeftOutKind::Unsupported);
/// assert!(q.to_string().starts_with("q, 4-bit floats"));
/// # Ok::<(), tensor_parity::file::FileError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The name, formed as the names of the tensors are.
    pub name: String,
    /// The kind of the reason.
    pub kind: LeftOutKind,
    /// What the member is, or what is wrong with it. It may contain text of the file.
    pub reason: String,
    /// What to do to have it compared.
    pub advice: Option<&'static str>,
}

/// Why a member is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeftOutKind {
    /// It is not a tensor, but another value of a pickle: a number, text, or an object.
    NotATensor,
    /// It is a tensor or an array of a kind that is not supported: sparse, quantized, of a dtype
    /// without a [`Dtype`](crate::Dtype), of strings or objects.
    Unsupported,
    /// Its bytes contradict its description, or are missing.
    Damaged,
}

impl LeftOut {
    /// A member without advice.
    pub fn new(name: impl Into<String>, kind: LeftOutKind, reason: impl Into<String>) -> LeftOut {
        LeftOut {
            name: name.into(),
            kind,
            reason: reason.into(),
            advice: None,
        }
    }

    /// The reason as text of one line, which says so if the member is damaged.
    pub fn description(&self) -> String {
        match self.kind {
            LeftOutKind::Damaged => format!("damaged: {}", Escaped(&self.reason)),
            _ => Escaped(&self.reason).to_string(),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.200}, {}", Escaped(&self.name), self.description())?;
        match self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}
