//! Strings that many operations have in common.

use serde::{Deserialize, Deserializer};
use std::fmt;
use std::sync::Arc;

/// A string that is allocated once for all that have it.
///
/// ```
/// use op_trace::SharedStr;
///
/// let module = SharedStr::from("encoder.0");
/// assert_eq!(module.as_str(), "encoder.0");
/// assert_eq!(module.to_string(), "encoder.0");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SharedStr(Arc<str>);

impl SharedStr {
    /// The string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for SharedStr {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl From<&str> for SharedStr {
    fn from(text: &str) -> SharedStr {
        SharedStr(text.into())
    }
}

impl<'de> Deserialize<'de> for SharedStr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedStr, D::Error> {
        Ok(SharedStr(String::deserialize(deserializer)?.into()))
    }
}
