//! What subcommands return, and what they show while they run.

use indicatif::ProgressBar;
use std::time::Duration;

/// The output of a subcommand.
pub struct Report {
    pub text: String,
    /// Whether a difference or a problem was found: exit code 1.
    pub found: bool,
}

/// Text from a file on one line: control characters are escaped, so that none reaches a terminal.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                line.extend(c.escape_default());
            }
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// Shows on a terminal that work of unknown length is running. A pipe shows nothing.
pub fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}
