//! Text from files in messages: on one line, and of limited length.

use std::fmt::{self, Write as _};
#[cfg(feature = "files")]
use std::path::Path;

/// Displays text from a file on one line: escaped, and cut at a maximum length.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Escaped<'_> {
    /// A path in full, since the user must recognize it.
    #[cfg(feature = "files")]
    pub(crate) fn path(path: &Path) -> String {
        escape(&path.to_string_lossy()).collect()
    }
}

/// The maximum number of characters shown of a problem.
const MAX_SHOWN: usize = 400;
/// The maximum number of characters shown of a name.
const MAX_NAME: usize = 200;

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{:.200}` sets another maximum.
        let length = f.precision().unwrap_or(MAX_SHOWN);
        for c in escape(self.0).take(length) {
            f.write_char(c)?;
        }
        match escape(self.0).nth(length) {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}

/// Displays the name of a tensor, or of a part of a file, in backquotes.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{:.MAX_NAME$}`", Escaped(self.0))
    }
}

fn escape(text: &str) -> impl Iterator<Item = char> + '_ {
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
