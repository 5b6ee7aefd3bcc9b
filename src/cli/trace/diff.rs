//! `tch-init trace diff`: names where two programs first compute something else.

use super::aftermath::Aftermath;
use super::html;
use super::numbers::grouped;
use super::proof;
use super::said::{Healed, Said};
use crate::cli::report::{Report, one_line, spinner};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use op_trace::{Class, Comparison, Departure, Outcome, Place, Sides, Trace};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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
    /// Put A's results in where B departs, and name the causes that show then
    #[arg(long)]
    heal: bool,
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
    let mut comparison = Comparison::new(&a, &b);
    spinner.finish_and_clear();
    let named = ((&*arguments.a, &a), (&*arguments.b, &b));
    let proved = match arguments.all || arguments.json || arguments.heal || arguments.html.is_some()
    {
        true => comparison.departures.len().min(MAX_PROVED),
        false => comparison.departures.len().min(1),
    };
    let said = match proved {
        0 => Vec::new(),
        _ => proof::prove(named.0, named.1, &comparison, proved),
    };
    let healed = match arguments.heal && !comparison.departures.is_empty() {
        true => Some(proof::heal(named.0, named.1, &comparison)?),
        false => None,
    };
    for (departure, said) in comparison.departures.iter_mut().zip(&said) {
        complete(departure, said);
    }
    let said = merged(&mut comparison.departures, said);
    let labels = comparison.labels;
    let mut notes = Vec::new();
    for (label, trace) in [(labels.a, &a), (labels.b, &b)] {
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
            notes.push(format!(
                "{} has {in_a} steps, {} {in_b}",
                labels.a, labels.b
            ));
        }
        _ => {}
    }
    let mut measured = None;
    if let Some((path, file)) = html {
        let names = [&arguments.a, &arguments.b].map(|path| html::file_name(path));
        let (page, differences) = html::diff(&html::Compared {
            names: [&names[0], &names[1]],
            traces: [&a, &b],
            comparison: &comparison,
            notes: &introduction(&comparison, &notes),
            verdict: verdict(&comparison),
        })?;
        html::write(path, file, &page)?;
        measured = Some(differences);
    }
    let after = Aftermath::of((&a, &b), &comparison, measured)?;
    Ok(Report {
        found: !comparison.is_same(),
        text: match arguments.json {
            true => {
                let json = to_json(
                    &comparison,
                    &notes,
                    &said,
                    healed.as_ref(),
                    &after,
                    [&arguments.a, &arguments.b],
                );
                serde_json::to_string_pretty(&json)? + "\n"
            }
            false => to_text(
                &comparison,
                &notes,
                arguments.all || arguments.heal,
                &said,
                healed.as_ref(),
                &after,
                [&arguments.a, &arguments.b],
            ),
        },
    })
}

/// What is said before the differences.
fn introduction(comparison: &Comparison, notes: &[String]) -> Vec<String> {
    let labels = comparison.labels;
    let mut lines: Vec<String> = Vec::new();
    for difference in &comparison.environment {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        lines.push(format!(
            "environment: {} is {} in {}, {} in {}",
            difference.name,
            value(&difference.a),
            labels.a,
            value(&difference.b),
            labels.b
        ));
    }
    lines.extend(notes.iter().cloned());
    let same = [
        (comparison.operations.a, comparison.departed.a),
        (comparison.operations.b, comparison.departed.b),
    ];
    let counted = same.map(|(all, departed)| match departed {
        0 => format!("all {}", grouped(all)),
        _ => format!("{} of {}", grouped(all - departed), grouped(all)),
    });
    lines.push(match same[0] == same[1] {
        true => format!("{} operations give the same bits", counted[0]),
        false => format!(
            "{} operations of {} and {} of {} give bits that the other program has too",
            counted[0], labels.a, counted[1], labels.b
        ),
    });
    lines
}

/// More than are proved.
const MAX_PROVED: usize = 100;

/// Adds what is said of a departure to its details. Exact differences take the place of samples.
fn complete(departure: &mut Departure, said: &Said) {
    if let Some(distance) = &said.distance {
        departure
            .details
            .retain(|detail| !detail.contains("sampled elements"));
        departure.details.insert(0, distance.clone());
    }
    if said.reordered {
        departure.class = Class::DataOrder;
    }
    departure.details.push(said.sentence.clone());
}

/// Joins what is reordered in one step: inputs and labels.
fn merged(departures: &mut Vec<Departure>, said: Vec<Said>) -> Vec<Said> {
    let step = |departure: &Departure| departure.a.as_ref().map(|place| place.step);
    let mut reordered: Vec<(Option<u32>, usize)> = Vec::new();
    let mut kept: Vec<Departure> = Vec::new();
    let mut kept_said: Vec<Said> = Vec::new();
    let mut said = said.into_iter();
    for departure in departures.drain(..) {
        let said = said.next();
        if said.as_ref().is_some_and(|said| said.reordered) {
            let known = reordered.iter().find(|(at, _)| *at == step(&departure));
            if let Some(first) = known.and_then(|(_, first)| kept.get_mut(*first)) {
                first.similar += 1;
                continue;
            }
            reordered.push((step(&departure), kept.len()));
        }
        kept.push(departure);
        kept_said.extend(said);
    }
    *departures = kept;
    kept_said
}

fn to_text(
    comparison: &Comparison,
    notes: &[String],
    all: bool,
    said: &[Said],
    healed: Option<&Healed>,
    after: &Aftermath,
    files: [&Path; 2],
) -> String {
    let mut lines = introduction(comparison, notes);
    if let Some(said) = said.iter().find(|said| said.environment) {
        lines.push(said.sentence.clone());
        lines.push(
            "until both ran in one environment, what differs is not the fault of either program"
                .to_owned(),
        );
    }
    let shown = if all { comparison.departures.len() } else { 1 };
    for (index, departure) in comparison.departures.iter().take(shown).enumerate() {
        // Those that do not follow from the first show again.
        if healed.is_some_and(|healed| !healed.first.contains(&index)) {
            continue;
        }
        let title = match index {
            0 => "first departure",
            _ => "another departure",
        };
        lines.push(String::new());
        // What is measured is all that departs.
        let after = (comparison.departures.len() == 1).then_some(after);
        lines.extend(departure_lines(
            title,
            departure,
            comparison.labels,
            after,
            explain_command(departure, files),
        ));
    }
    if comparison.departures.len() != 1 {
        lines.extend(after.line(comparison.labels));
    }
    let rest = comparison.departures.len().saturating_sub(shown);
    if rest > 0 {
        lines.push(match rest {
            1 => "1 more independent departure; --all shows it".to_owned(),
            rest => format!("{rest} more independent departures; --all shows them"),
        });
    }
    if let Some(healed) = healed {
        lines.push(String::new());
        lines.extend(healed_lines(healed, comparison.labels));
    }
    let width =
        terminal_size::terminal_size().map_or(usize::MAX, |(width, _)| usize::from(width.0));
    let mut text: String = lines
        .iter()
        .flat_map(|line| wrapped(&one_line(line), width))
        .map(|line| line + "\n")
        .collect();
    let colour = if comparison.is_same() {
        AnsiColor::Green
    } else {
        AnsiColor::Red
    };
    let style = Style::new().fg_color(Some(colour.into()));
    text += &format!("{style}{}{style:#}\n", verdict(comparison));
    text
}

fn departure_lines(
    title: &str,
    departure: &Departure,
    labels: Sides<&'static str>,
    after: Option<&Aftermath>,
    explain: Option<String>,
) -> Vec<String> {
    let mut lines = vec![format!("{title}: {}", departure.class.text(labels))];
    lines.extend(places(departure, labels));
    lines.extend(departure.details.iter().map(|detail| format!("  {detail}")));
    if departure.similar > 0 {
        lines.push(format!(
            "  {} more of this kind at these lines",
            departure.similar
        ));
    }
    if departure.consequences > 0 {
        let mut line = match departure.consequences {
            1 => "  after it: 1 operation departs".to_owned(),
            count => format!("  after it: {} operations depart", grouped(count)),
        };
        if let Some(after) = after {
            line += &after.text(labels);
        }
        lines.push(line);
    }
    lines.extend(explain.map(|command| format!("  {command}")));
    lines
}

/// More names than a command has.
const MAX_NAMES: usize = 8;

/// The command that says where weights come from, if the files of values are there.
fn explain_command(departure: &Departure, [a, b]: [&Path; 2]) -> Option<String> {
    let beside = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".safetensors");
        Path::new(&name).exists()
    };
    if departure.weights.is_empty() || !cfg!(feature = "tch") || !beside(a) || !beside(b) {
        return None;
    }
    let path = |path: &Path| quoted(&path.display().to_string());
    let mut command = format!("tch-init explain {} {}", path(b), path(a));
    let few = departure.weights.len() <= MAX_NAMES;
    for names in departure.weights.iter().take(MAX_NAMES) {
        if names.a != names.b {
            let pattern = names.b.replace('.', "\\.");
            command += &format!(
                " --rename {}",
                quoted(&format!("s/^{pattern}$/{}/", names.a))
            );
        }
        if few {
            command += &format!(" --only {}", quoted(&names.a));
        }
    }
    Some(command)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn healed_lines(healed: &Healed, labels: Sides<&'static str>) -> Vec<String> {
    let mut lines = Vec::new();
    for round in &healed.rounds {
        for (departure, said) in round {
            let mut departure = departure.clone();
            complete(&mut departure, said);
            lines.extend(departure_lines(
                "after healing",
                &departure,
                labels,
                None,
                None,
            ));
            lines.push(String::new());
        }
    }
    match (&healed.stopped, healed.rounds.is_empty()) {
        (Some(reason), _) => lines.push(format!("healing ended: {reason}")),
        (None, true) => lines.push("no other cause found".to_owned()),
        (None, false) => lines.push("no further cause found".to_owned()),
    }
    if healed.ends_equal {
        lines.push(format!(
            "healed, {} ends in {}'s parameters and buffers",
            labels.b, labels.a
        ));
    }
    lines
}

/// Lines of at most this width, broken at spaces; what follows is indented as the first is, and more.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let indent = line.len() - line.trim_start().len();
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split_inclusive(' ') {
        let length = current.chars().count() + word.trim_end().chars().count();
        if length > width && current.trim() != "" {
            lines.push(current.trim_end().to_owned());
            current = " ".repeat(indent + 2);
        }
        current += word;
    }
    lines.push(current.trim_end().to_owned());
    lines
}

fn verdict(comparison: &Comparison) -> &'static str {
    match (comparison.departures.is_empty(), comparison.outcome) {
        (true, Outcome::Equal) => {
            "no difference: the parameters and buffers at the end are equal bit for bit"
        }
        (true, Outcome::Differs) => {
            "the parameters or buffers at the end differ, and no cause was found"
        }
        (true, Outcome::Longer) => {
            "no difference until the end of the program that ran fewer steps"
        }
        (true, _) => {
            "no difference was found; a trace does not say what its parameters were at the end"
        }
        (false, Outcome::Equal) => "the parameters and buffers at the end are equal all the same",
        (false, Outcome::Differs) => "the parameters or buffers at the end differ",
        (false, _) => "different",
    }
}

/// The two places, in columns.
fn places(departure: &Departure, labels: Sides<&'static str>) -> Vec<String> {
    let rows: Vec<(&str, [String; 4])> = [(labels.a, &departure.a), (labels.b, &departure.b)]
        .iter()
        .filter_map(|(label, place)| Some((*label, columns(place.as_ref()?))))
        .collect();
    let same_time = matches!(&rows[..], [(_, a), (_, b)] if a[3] == b[3]);
    let width = |column: usize| {
        let cells = rows.iter().map(|(_, cells)| cells[column].chars().count());
        cells.max().unwrap_or(0).min(48)
    };
    let widths = [width(0), width(1), width(2)];
    let label_width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    rows.iter()
        .enumerate()
        .map(|(index, (label, cells))| {
            let mut line = format!("  {label:label_width$}");
            for (cell, width) in cells.iter().zip(widths) {
                if width > 0 {
                    line += &format!("  {cell:width$}");
                }
            }
            if index == 0 || !same_time {
                line += &format!("  {}", cells[3]);
            }
            line.trim_end().to_owned()
        })
        .collect()
}

fn columns(place: &Place) -> [String; 4] {
    let module = match (&place.layer, &place.parameter) {
        (_, Some(parameter)) => format!("of {parameter}"),
        (Some(module), None) => module.clone(),
        (None, None) => String::new(),
    };
    let mut time = format!("step {}, {}", place.step, place.phase);
    if let Some(forward) = &place.backward_of {
        time += &format!(" of {forward}");
    }
    [
        place.call.clone(),
        module,
        place.at.clone().unwrap_or_default(),
        time,
    ]
}

fn to_json(
    comparison: &Comparison,
    notes: &[String],
    said: &[Said],
    healed: Option<&Healed>,
    after: &Aftermath,
    files: [&Path; 2],
) -> Value {
    let labels = comparison.labels;
    json!({
        "same": comparison.is_same(),
        "outcome": match comparison.outcome {
            Outcome::Equal => "equal",
            Outcome::Differs => "differs",
            Outcome::Longer => "longer",
            _ => "unknown",
        },
        "operations_a": comparison.operations.a,
        "operations_b": comparison.operations.b,
        "departed_a": comparison.departed.a,
        "departed_b": comparison.departed.b,
        "notes": notes,
        "labels": { "a": labels.a, "b": labels.b },
        "after": after.json(),
        "names": comparison.names.iter().map(|names| json!({ "a": names.a, "b": names.b })).collect::<Vec<_>>(),
        "environment": comparison.environment.iter().map(|difference| {
            json!({ "name": difference.name, "a": difference.a, "b": difference.b })
        }).collect::<Vec<_>>(),
        "departures": comparison
            .departures
            .iter()
            .enumerate()
            .map(|(index, departure)| {
                let command = explain_command(departure, files);
                departure_json(departure, said.get(index), labels, command)
            })
            .collect::<Vec<_>>(),
        "healed": healed.map(|healed| json!({
            "rounds": healed.rounds.iter().map(|round| {
                round.iter().map(|(departure, said)| departure_json(departure, Some(said), labels, None)).collect::<Vec<_>>()
            }).collect::<Vec<_>>(),
            "first": healed.first,
            "runs": healed.runs,
            "stopped": healed.stopped,
            "ends_equal": healed.ends_equal,
        })),
    })
}

fn departure_json(
    departure: &Departure,
    said: Option<&Said>,
    labels: Sides<&'static str>,
    command: Option<String>,
) -> Value {
    let place = |place: &Option<Place>| {
        place.as_ref().map(|place| {
            json!({
                "operation": place.index, "call": place.call, "module": place.module, "layer": place.layer, "at": place.at, "step": place.step,
                "phase": place.phase, "parameter": place.parameter, "backward_of": place.backward_of,
            })
        })
    };
    json!({
        "class": departure.class.name(), "subject": departure.class.subject(), "text": departure.class.text(labels),
        "a": place(&departure.a), "b": place(&departure.b), "details": departure.details,
        "weights": departure.weights.iter().map(|names| json!({ "a": names.a, "b": names.b })).collect::<Vec<_>>(),
        "command": command, "consequences": departure.consequences, "similar": departure.similar,
        "proved": said.is_some_and(|said| said.proved), "proof": said.map(|said| &said.json),
    })
}
