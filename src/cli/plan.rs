//! `tch-init plan`: shows a plan.

use super::report::Report;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use tch_init::plan::InitPlan;
use terminal_size::{Width, terminal_size};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// For each parameter: what is drawn, in which order, at which position of the stream, and which draws are dead
    Show {
        /// The plan
        plan: PathBuf,
    },
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let Command::Show { plan } = &arguments.command;
    let mut text = InitPlan::load(plan)?.to_string();
    if let Some((Width(columns), _)) = terminal_size() {
        text = text
            .lines()
            .map(|line| wrapped(line, columns.into()))
            .collect();
    }
    Ok(Report { text, found: false })
}

/// Wraps a line at words, or within a word that is longer than the line.
fn wrapped(line: &str, columns: usize) -> String {
    const INDENT: &str = "        ";
    let columns = columns.max(2 * INDENT.len());
    let mut text = String::new();
    let mut rest = line.to_owned();
    while rest.chars().count() > columns {
        let end = rest
            .char_indices()
            .nth(columns)
            .map_or(rest.len(), |(end, _)| end);
        // A cut within the indent would never end.
        let cut = rest[..end]
            .rfind(' ')
            .filter(|cut| !rest[..*cut].trim().is_empty());
        let (start, more) = rest.split_at(cut.unwrap_or(end));
        text += start;
        text.push('\n');
        rest = format!("{INDENT}{}", more.trim_start());
    }
    text + &rest + "\n"
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_fit_the_terminal() {
        assert_eq!(wrapped("    short", 20), "    short\n");
        assert_eq!(
            wrapped("    step 0: normal_(0, 1), words 0 + 5, dead", 30),
            "    step 0: normal_(0, 1),\n        words 0 + 5, dead\n"
        );
        assert_eq!(
            wrapped("parameter a.very.long.name.without.end", 20),
            "parameter\n        a.very.long.\n        name.without\n        .end\n"
        );
        for columns in 0..50 {
            let text = wrapped("äöü abc  defghijklmnopqrstuvwxyz 123", columns);
            assert!(
                text.lines()
                    .all(|line| line.chars().count() <= columns.max(16))
            );
            let words: String = text.split_whitespace().collect();
            assert_eq!(words, "äöüabcdefghijklmnopqrstuvwxyz123");
        }
    }
}
