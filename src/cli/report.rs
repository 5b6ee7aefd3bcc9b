//! What subcommands return, and what they show while they run.

use indicatif::ProgressBar;
#[cfg(feature = "tch")]
use indicatif::{ProgressDrawTarget, ProgressStyle};
use std::time::Duration;
#[cfg(feature = "tch")]
use tch_init::explain::{Progress, Stage};

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

/// Shows on a terminal how many tensors are done. A pipe shows nothing.
#[cfg(feature = "tch")]
pub struct TensorBar(ProgressBar);

#[cfg(feature = "tch")]
impl TensorBar {
    pub fn new() -> TensorBar {
        // A bar of no tensors is full: it is shown once their number is known.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let template = "{spinner} {msg} {wide_bar} {pos}/{len} tensors";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        TensorBar(bar)
    }

    pub fn show(&self, progress: Progress) {
        let Progress {
            stage, done, of, ..
        } = progress;
        self.0.set_message(match stage {
            Stage::Compare => "compared",
            _ => "found in random streams",
        });
        let is_first = self.0.length() == Some(0);
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
        if is_first {
            self.0.set_draw_target(ProgressDrawTarget::stderr());
            self.0.enable_steady_tick(Duration::from_millis(200));
        }
    }

    pub fn finish(self) {
        self.0.finish_and_clear();
    }
}
