//! `tch-init versions`: which PyTorch has whose bits, and what `record` does under it.

use super::python::TABLE;
use super::report::Report;
use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Deserialize;

/// The width of a table without a terminal.
const WIDTH: u16 = 100;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON: the whole table, with the digests of PyTorch's functions and the known answers
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the tables of docs/versions.md
    #[arg(long)]
    markdown: bool,
}

/// `python/versions.json`, which the recorder reads too.
#[derive(Deserialize)]
struct Versions {
    oldest: String,
    newest: String,
    semantics: Vec<Semantics>,
    rows: Vec<Row>,
    compared: Compared,
}

/// The operators whose calls may be recorded under a release before `since`.
#[derive(Deserialize)]
struct Compared {
    since: String,
    operations: Vec<String>,
}

#[derive(Deserialize)]
struct Semantics {
    name: String,
    since: String,
}

#[derive(Deserialize)]
struct Row {
    operations: Vec<String>,
    /// Empty for all.
    dtypes: Vec<String>,
    condition: Option<String>,
    since: String,
    /// The last release, if it is not the newest.
    until: Option<String>,
    before: String,
}

impl Row {
    fn operations(&self) -> String {
        let names: Vec<&str> = self
            .operations
            .iter()
            .map(|name| name.trim_start_matches("aten::"))
            .collect();
        names.join(", ")
    }

    /// The dtypes and the condition.
    fn of(&self) -> String {
        let dtypes = match self.dtypes.is_empty() {
            true => "all dtypes".to_owned(),
            false => self.dtypes.join(", "),
        };
        match &self.condition {
            Some(condition) => format!("{dtypes}: {condition}"),
            None => dtypes,
        }
    }

    /// The releases with the bits of libtorch 2.13.
    fn releases(&self) -> String {
        match &self.until {
            Some(until) => format!("{} to {until}", self.since),
            None => format!("since {}", self.since),
        }
    }

    fn before(&self) -> &str {
        match self.before.as_str() {
            "semantics" => "the bits of that PyTorch",
            "steps" => "recorded as its steps",
            "refused" => "refused, with name and line",
            "error" => "an error of PyTorch itself",
            other => other,
        }
    }
}

const ROW_HEADER: [&str; 4] = ["operation", "of", "as in 2.13", "otherwise"];
const SEMANTICS_HEADER: [&str; 2] = ["PyTorch", "semantics of its plans"];

/// Prints the table.
pub fn run(arguments: &Arguments) -> Result<Report> {
    let text = match arguments.json {
        true => TABLE.to_owned(),
        false => {
            let versions: Versions =
                serde_json::from_str(TABLE).context("the table of versions is damaged")?;
            match arguments.markdown {
                true => markdown(&versions),
                false => shown(&versions),
            }
        }
    };
    Ok(Report { text, found: false })
}

/// The releases of each semantics.
fn spans(versions: &Versions) -> Vec<[String; 2]> {
    let ends = versions
        .semantics
        .iter()
        .skip(1)
        .map(|next| Some(&next.since))
        .chain([None]);
    versions
        .semantics
        .iter()
        .zip(ends)
        .map(|(semantics, end)| {
            let releases = match end {
                // The release before; minor versions are numbered without gaps.
                Some(end) => match before(end) {
                    Some(last) if last != semantics.since => {
                        format!("{} to {last}", semantics.since)
                    }
                    _ => semantics.since.clone(),
                },
                None => format!("{} to {}", semantics.since, versions.newest),
            };
            [releases, semantics.name.clone()]
        })
        .collect()
}

/// The minor version before one.
fn before(version: &str) -> Option<String> {
    let (major, minor) = version.split_once('.')?;
    let minor: u32 = minor.parse().ok()?;
    Some(format!("{major}.{}", minor.checked_sub(1)?))
}

fn rows(versions: &Versions) -> Vec<[String; 4]> {
    versions
        .rows
        .iter()
        .map(|row| {
            [
                row.operations(),
                row.of(),
                row.releases(),
                row.before().to_owned(),
            ]
        })
        .collect()
}

fn compared(versions: &Versions) -> String {
    let Compared { since, operations } = &versions.compared;
    format!(
        "Before {since}, a call of an operator that is not among these is refused, since it has other bits there or was not compared: {}.\n",
        operations.join(" ")
    )
}

fn introduction(versions: &Versions) -> String {
    format!(
        "`record` runs under PyTorch {} to {}, and under other builds whose functions and draws are those of one of these.\n",
        versions.oldest, versions.newest
    )
}

fn width() -> u16 {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0)
}

/// The words of a text in lines of the terminal's width.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < usize::from(width()) => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

fn shown(versions: &Versions) -> String {
    let table = |header: &[&str], rows: Vec<Vec<String>>| {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(header.iter().copied());
        table.set_width(width());
        for row in rows {
            table.add_row(row);
        }
        // The padding of the last column is not printed.
        table
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect::<String>()
    };
    let owned = |rows: Vec<[String; 2]>| rows.into_iter().map(Vec::from).collect();
    format!(
        "{}\n{}\nWhat has other bits in some of them:\n\n{}\n{}",
        wrapped(&introduction(versions).replace('`', "")),
        table(&SEMANTICS_HEADER, owned(spans(versions))),
        table(
            &ROW_HEADER,
            rows(versions).into_iter().map(Vec::from).collect()
        ),
        wrapped(&compared(versions))
    )
}

fn markdown(versions: &Versions) -> String {
    let table = |header: &[&str], rows: Vec<Vec<String>>| {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(header.iter().map(ToString::to_string).collect());
        text.push_str(&format!("|{}\n", "---|".repeat(header.len())));
        for mut row in rows {
            if header.len() == ROW_HEADER.len() {
                let names: Vec<String> =
                    row[0].split(", ").map(|name| format!("`{name}`")).collect();
                row[0] = names.join(", ");
            }
            text.push_str(&line(row));
        }
        text
    };
    format!(
        "{}\n{}\nWhat has other bits in some of them:\n\n{}\n{}",
        introduction(versions),
        table(
            &SEMANTICS_HEADER,
            spans(versions).into_iter().map(Vec::from).collect()
        ),
        table(
            &ROW_HEADER,
            rows(versions).into_iter().map(Vec::from).collect()
        ),
        compared(versions)
    )
}
