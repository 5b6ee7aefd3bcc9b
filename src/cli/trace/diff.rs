//! `tch-init trace diff`: names where two programs first compute something else.

use super::html;
use crate::cli::report::{Report, one_line, spinner};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use op_trace::{Comparison, Departure, Outcome, Place, Trace};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args)]
pub struct Arguments {
    /// The trace of the original program
    a: PathBuf,
    /// The trace of the program under test
    b: PathBuf,
    /// Show all independent differences, not only the first
    #[arg(long, short)]
    all: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Write a page: what differs, how far apart the layers are, and the operations as a tree of modules
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let html = match &arguments.html {
        Some(path) => Some((path, html::create(path)?)),
        None => None,
    };
    let spinner = spinner("reading");
    // Each trace takes a thread: a line takes some microseconds, and traces of long runs have millions.
    let (a, b) = std::thread::scope(|scope| {
        let b = scope.spawn(|| Trace::read(&arguments.b));
        let a = Trace::read(&arguments.a);
        (a, b.join())
    });
    let (a, b) = (a?, b.map_err(|_| anyhow::anyhow!("reading B failed"))??);
    for (path, trace) in [(&arguments.a, &a), (&arguments.b, &b)] {
        if trace.is_empty() {
            anyhow::bail!("{}: has no operations", path.display());
        }
    }
    spinner.set_message("comparing");
    let comparison = Comparison::new(&a, &b);
    spinner.finish_and_clear();
    let mut notes = Vec::new();
    for (label, trace) in [("A", &a), ("B", &b)] {
        match &trace.end {
            None => notes.push(format!("{label} has no end: its program was killed")),
            Some(end) if end.reason.starts_with("error") => {
                notes.push(format!("{label} ended with an {}", end.reason))
            }
            Some(_) => {}
        }
    }
    match (comparison.steps.a, comparison.steps.b) {
        (Some(in_a), Some(in_b)) if in_a != in_b => {
            notes.push(format!("A has {in_a} steps, B {in_b}"));
        }
        _ => {}
    }
    if let Some((path, file)) = html {
        let names = [&arguments.a, &arguments.b].map(|path| html::file_name(path));
        let page = html::diff(&html::Compared {
            names: [&names[0], &names[1]],
            traces: [&a, &b],
            comparison: &comparison,
            notes: &introduction(&comparison, &notes),
            verdict: verdict(&comparison),
        })?;
        html::write(path, file, &page)?;
    }
    Ok(Report {
        found: !comparison.is_same(),
        text: match arguments.json {
            true => serde_json::to_string_pretty(&to_json(&comparison, &notes))? + "\n",
            false => to_text(&comparison, &notes, arguments.all),
        },
    })
}

/// What is said before the differences.
fn introduction(comparison: &Comparison, notes: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for difference in &comparison.environment {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        lines.push(format!(
            "environment: {} is {} in A, {} in B",
            difference.name,
            value(&difference.a),
            value(&difference.b)
        ));
    }
    lines.extend(notes.iter().cloned());
    let same = comparison.operations.a - comparison.departed.a;
    lines.push(format!(
        "{same} of {} operations of A and {} of {} of B have results that the other has too",
        comparison.operations.a,
        comparison.operations.b - comparison.departed.b,
        comparison.operations.b
    ));
    lines
}

fn to_text(comparison: &Comparison, notes: &[String], all: bool) -> String {
    let mut lines = introduction(comparison, notes);
    let shown = if all { comparison.departures.len() } else { 1 };
    for (index, departure) in comparison.departures.iter().take(shown).enumerate() {
        let title = if index == 0 {
            "first difference"
        } else {
            "another difference"
        };
        lines.push(String::new());
        lines.push(format!("{title}: {}", departure.class));
        lines.extend(places(departure));
        lines.extend(departure.details.iter().map(|detail| format!("  {detail}")));
        if departure.similar > 0 {
            lines.push(format!(
                "  {} more of this kind at these lines",
                departure.similar
            ));
        }
        if departure.consequences > 0 {
            lines.push(format!(
                "  after it {} operations differ",
                departure.consequences
            ));
        }
    }
    let rest = comparison.departures.len().saturating_sub(shown);
    if rest > 0 {
        lines.push(format!(
            "{rest} more independent differences; --all shows them"
        ));
    }
    let mut text: String = lines.iter().map(|line| one_line(line) + "\n").collect();
    let colour = if comparison.is_same() {
        AnsiColor::Green
    } else {
        AnsiColor::Red
    };
    let style = Style::new().fg_color(Some(colour.into()));
    text += &format!("{style}{}{style:#}\n", verdict(comparison));
    text
}

fn verdict(comparison: &Comparison) -> &'static str {
    match (comparison.departures.is_empty(), comparison.outcome) {
        (true, Outcome::Equal) => {
            "no difference: the parameters and buffers at the end are equal bit for bit"
        }
        (true, Outcome::Differs) => {
            "the parameters or buffers at the end differ, and no cause was found"
        }
        (true, _) => {
            "no difference was found; a trace does not say what its parameters were at the end"
        }
        (false, Outcome::Equal) => "the parameters and buffers at the end are equal all the same",
        (false, Outcome::Differs) => "the parameters or buffers at the end differ",
        (false, _) => "different",
    }
}

fn places(departure: &Departure) -> Vec<String> {
    [("A", &departure.a), ("B", &departure.b)]
        .iter()
        .filter_map(|(label, place)| {
            place
                .as_ref()
                .map(|place| format!("  {label}  {}", sentence(place)))
        })
        .collect()
}

fn sentence(place: &Place) -> String {
    let mut parts = vec![place.call.clone()];
    parts.extend(place.module.as_ref().map(|module| format!("in {module}")));
    parts.extend(
        place
            .parameter
            .as_ref()
            .map(|parameter| format!("of {parameter}")),
    );
    parts.extend(place.at.as_ref().map(|at| format!("at {at}")));
    parts.push(format!("step {}, {}", place.step, place.phase));
    parts.extend(
        place
            .backward_of
            .as_ref()
            .map(|forward| format!("backward of {forward}")),
    );
    parts.join("  ")
}

fn to_json(comparison: &Comparison, notes: &[String]) -> Value {
    let place = |place: &Option<Place>| {
        place.as_ref().map(|place| {
            json!({
                "operation": place.index, "call": place.call, "module": place.module, "at": place.at, "step": place.step,
                "phase": place.phase, "parameter": place.parameter, "backward_of": place.backward_of,
            })
        })
    };
    json!({
        "same": comparison.is_same(),
        "outcome": match comparison.outcome {
            Outcome::Equal => "equal",
            Outcome::Differs => "differs",
            _ => "unknown",
        },
        "operations_a": comparison.operations.a,
        "operations_b": comparison.operations.b,
        "departed_a": comparison.departed.a,
        "departed_b": comparison.departed.b,
        "notes": notes,
        "environment": comparison.environment.iter().map(|difference| {
            json!({ "name": difference.name, "a": difference.a, "b": difference.b })
        }).collect::<Vec<_>>(),
        "departures": comparison.departures.iter().map(|departure| json!({
            "class": departure.class.name(), "subject": departure.class.subject(), "text": departure.class.to_string(),
            "a": place(&departure.a), "b": place(&departure.b), "details": departure.details,
            "consequences": departure.consequences, "similar": departure.similar,
        })).collect::<Vec<_>>(),
    })
}
