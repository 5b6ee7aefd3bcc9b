//! What subcommands return, and what they show while they run.

use indicatif::ProgressBar;
use std::time::Duration;

/// The output of a subcommand.
pub struct Report {
    pub text: String,
    /// Whether a difference or a problem was found: exit code 1.
    pub found: bool,
}

/// Shows on a terminal that work of unknown length is running. A pipe shows nothing.
pub fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}
