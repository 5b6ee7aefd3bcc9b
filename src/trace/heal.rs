//! Replaces departing results by the other side's, so that later causes show.
//!
//! B is executed from its beginning with A's results put in where it departs. What it then computes is a trace of its own, which
//! is compared with A again; and so on, until nothing departs.

use super::prove::Proof;
use super::replay::{NotRun, Replay, Seen, output_tensors};
use op_trace::{Comparison, Departure, Operation, Outcome, Place, Sides, Trace};
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use tch::Tensor;

/// What healing has found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Healing {
    /// The first departures of the comparison, by number: those of the earliest step and phase. The others may follow from them; those
    /// that do not are in `rounds`.
    pub first: Vec<usize>,
    /// The causes that showed after each round of healing.
    pub rounds: Vec<Vec<(Departure, Proof)>>,
    /// How often B was executed.
    pub runs: usize,
    /// Why it was ended before nothing departs.
    pub stopped: Option<String>,
    /// Whether both programs end in the same parameters and buffers once healed.
    pub outcome: Outcome,
}

/// What tells a departure that is known, in another step or at another place of the same kind.
struct Known {
    class: &'static str,
    subject: Option<String>,
    /// The names of the operations.
    operations: [Option<String>; 2],
    modules: [Option<String>; 2],
    lines: [Option<String>; 2],
}

impl Known {
    fn new(departure: &Departure) -> Known {
        let of = |field: &dyn Fn(&Place) -> Option<String>| {
            [&departure.a, &departure.b].map(|place| place.as_ref().and_then(field))
        };
        Known {
            class: departure.class.name(),
            subject: departure.class.subject().map(str::to_owned),
            operations: of(&|place| place.call.split('(').next().map(str::to_owned)),
            modules: of(&|place| place.module.clone()),
            lines: of(&|place| place.at.clone()),
        }
    }

    /// Whether another departure has the same cause: an optimizer of the same line; or the same difference in the same module or
    /// at the same line.
    fn is(&self, other: &Known) -> bool {
        if self.class != other.class {
            return false;
        }
        if self.class == "optimizer" {
            // What only one program computes has no line in the other one.
            let mut lines = self.lines.iter().zip(&other.lines);
            return lines.all(|(line, other)| line == other || line.is_none() || other.is_none());
        }
        let is_module = self.modules != [None, None] && self.modules == other.modules;
        self.subject == other.subject
            && (is_module || (self.lines == other.lines && self.operations == other.operations))
    }
}

/// The line of the forward operation of a departure, by side.
type Site = (bool, Option<String>);

/// When a departure is: what is before it may be its cause.
fn time(departure: &Departure) -> (u32, u8) {
    let places = [&departure.a, &departure.b].into_iter().flatten();
    let times = places.map(|place| {
        let phase = match place.phase {
            "forward" => 0,
            "backward" => 1,
            _ => 2,
        };
        (place.step, phase)
    });
    times.min().unwrap_or((0, 0))
}

/// Heals B of the departures of a comparison and returns those that show then.
///
/// B is executed at most `most` times; `progress` is called before each.
///
/// # Errors
///
/// Why B cannot be run again here.
pub fn heal(
    a: (&Path, &Trace),
    b: (&Path, &Trace),
    first: &Comparison,
    most: usize,
    mut progress: impl FnMut(usize),
) -> Result<Healing, NotRun> {
    let mut of_a = Replay::new(a.0, a.1)?;
    let mut of_b = Replay::new(b.0, b.1)?;
    of_b.start();
    of_b.run_before(b.1.len())?;
    if let Some(index) = of_b.other_bits().first() {
        return Err(NotRun::OtherBits(*index));
    }
    let earliest = first.departures.iter().map(time).min();
    let mut healing = Healing {
        first: (0..first.departures.len())
            .filter(|index| Some(time(&first.departures[*index])) == earliest)
            .collect(),
        rounds: Vec::new(),
        runs: 0,
        stopped: None,
        outcome: first.outcome,
    };
    let firsts: Vec<&Departure> = healing
        .first
        .iter()
        .map(|index| &first.departures[*index])
        .collect();
    let mut replaced: HashMap<usize, Vec<Tensor>> = HashMap::new();
    let mut known: Vec<Known> = firsts
        .iter()
        .map(|departure| Known::new(departure))
        .collect();
    let mut sites: Vec<Site> = Vec::new();
    for departure in firsts {
        sites.extend(sites_of(departure, a.1, b.1));
    }
    let mut departures = first.departures.clone();
    let mut healed: Option<Trace> = None;
    loop {
        let trace = healed.as_ref().unwrap_or(b.1);
        let mut new: Vec<(Departure, Proof)> = Vec::new();
        // What comes later may follow from these.
        let earliest = departures.iter().map(time).min();
        departures.retain(|departure| Some(time(departure)) == earliest);
        for departure in &departures {
            let this = Known::new(departure);
            let is_known = known.iter().any(|known| known.is(&this));
            let follows = || {
                is_backward_of(departure, a.1, trace, &sites)
                    || takes_known(departure, a.1, trace, &sites)
            };
            if !is_known && !follows() {
                new.push((
                    departure.clone(),
                    // Its inputs are those of the healed run.
                    Proof::healed(&mut of_a, &mut of_b, departure, &replaced),
                ));
            }
            if !is_known {
                known.push(this);
            }
            sites.extend(sites_of(departure, a.1, trace));
        }
        if !new.is_empty() {
            healing.rounds.push(new);
        }
        if departures.is_empty() {
            break;
        }
        if healing.runs >= most {
            healing.stopped = Some(format!("{} was healed {most} times", first.labels.b));
            break;
        }
        let before = replaced.len();
        let mut refused = None;
        for pair in departures.iter().flat_map(|departure| &departure.pairs) {
            let (Some(p), Some(r)) = (pair.a, pair.b) else {
                continue;
            };
            if replaced.contains_key(&r) {
                continue;
            }
            match results_of(&mut of_a, a.1, p, b.1, r, first.labels) {
                Ok(results) => {
                    replaced.insert(r, results);
                }
                Err(reason) => refused = Some(reason),
            }
        }
        if replaced.len() == before {
            healing.stopped = Some(match refused {
                Some(reason) => reason,
                None => "only one program has the operation that departs".to_owned(),
            });
            break;
        }
        healing.runs += 1;
        progress(healing.runs);
        let copy = replaced
            .iter()
            .map(|(index, tensors)| (*index, tensors.iter().map(Tensor::shallow_clone).collect()))
            .collect();
        let next = match executed(&mut of_b, b, copy) {
            Ok(next) => next,
            Err(reason) => {
                healing.stopped = Some(reason.to_string());
                break;
            }
        };
        let comparison = Comparison::new(a.1, &next);
        departures = comparison.departures;
        healing.outcome = comparison.outcome;
        healed = Some(next);
    }
    Ok(healing)
}

/// A's results in the order of those of B's operation.
fn results_of(
    of_a: &mut Replay<'_>,
    a: &Trace,
    p: usize,
    b: &Trace,
    r: usize,
    labels: Sides<&str>,
) -> Result<Vec<Tensor>, String> {
    let error = |error: &dyn std::fmt::Display| error.to_string();
    let (x, y) = (
        a.operation(p).map_err(|e| error(&e))?,
        b.operation(r).map_err(|e| error(&e))?,
    );
    let computed = of_a
        .call(p)
        .and_then(|call| call.run())
        .map_err(|e| error(&e))?;
    let results = |operation: &op_trace::Operation| {
        operation
            .results
            .iter()
            .map(|value| value.tensors().len())
            .sum::<usize>()
    };
    let (mine, theirs) = (results(&x), results(&y));
    let mut found = Vec::new();
    for (position, tensor) in output_tensors(&y).enumerate() {
        let name = (position >= theirs)
            .then(|| y.writes().nth(position - theirs).map(|(name, _)| name))
            .flatten();
        let written = name.and_then(|name| x.writes().position(|(other, _)| other == name));
        let from = match (name, written) {
            (None, _) => position,
            (Some(_), Some(written)) => mine + written,
            (Some(_), None) => 0,
        };
        if tensor.storage.is_none() || tensor.uninitialized {
            continue;
        }
        let Some(value) = computed.tensors.get(from) else {
            return Err(format!("{}'s operation has other results", labels.a));
        };
        if value.size() != tensor.shape {
            return Err(format!(
                "{}'s result has shape {:?}, {}'s {:?}",
                labels.a,
                value.size(),
                labels.b,
                tensor.shape
            ));
        }
        found.push(value.shallow_clone());
    }
    Ok(found)
}

/// The line of an operation.
fn line(operation: &Operation) -> Option<String> {
    operation.at.as_ref().map(ToString::to_string)
}

/// The lines of the operations that a departure is about.
fn sites_of(departure: &Departure, a: &Trace, b: &Trace) -> Vec<Site> {
    let sides = [(true, &departure.a, a), (false, &departure.b, b)];
    sides
        .into_iter()
        .filter_map(|(is_a, place, trace)| {
            let place = place.as_ref()?;
            let operation = trace.operation(place.index).ok()?;
            Some((is_a, line(&operation)))
        })
        .collect()
}

/// Whether a departure is in the backward of an operation whose departure is known.
fn is_backward_of(departure: &Departure, a: &Trace, b: &Trace, sites: &[Site]) -> bool {
    let sides = [(true, &departure.a, a), (false, &departure.b, b)];
    sides.into_iter().any(|(is_a, place, trace)| {
        let forward = || {
            let operation = trace.operation(place.as_ref()?.index).ok()?;
            trace.operation(operation.forward?).ok()
        };
        forward().is_some_and(|forward| sites.contains(&(is_a, line(&forward))))
    })
}

/// Whether a departure is another value that the line of a known departure makes: of a later step, where the other program has the right
/// value already, as of a batch that is trained on again.
fn takes_known(departure: &Departure, a: &Trace, b: &Trace, sites: &[Site]) -> bool {
    /// How many operations before are looked at.
    const BEFORE: usize = 1000;
    let taken = |place: &Option<Place>, trace: &Trace| -> Vec<op_trace::ValueHash> {
        let operation = place
            .as_ref()
            .and_then(|place| trace.operation(place.index).ok());
        let arguments = operation.iter().flat_map(|operation| operation.arguments());
        let tensors = arguments.flat_map(|(_, value)| value.tensors());
        tensors.filter_map(|(_, tensor)| tensor.hash).collect()
    };
    let (in_a, in_b) = (taken(&departure.a, a), taken(&departure.b, b));
    let is_made = |is_a: bool, place: &Option<Place>, trace: &Trace, own: &[_], other: &[_]| {
        let before = place.as_ref().map_or(0, |place| place.index);
        (0..before).rev().take(BEFORE).any(|index| {
            trace.operation(index).is_ok_and(|operation| {
                let mut made = output_tensors(&operation).filter_map(|tensor| tensor.hash);
                made.any(|hash| own.contains(&hash) && !other.contains(&hash))
                    && sites.contains(&(is_a, line(&operation)))
            })
        })
    };
    departure.class.name() == "input"
        && (is_made(true, &departure.a, a, &in_a, &in_b)
            || is_made(false, &departure.b, b, &in_b, &in_a))
}

/// The trace of a run of B with some results replaced.
fn executed(
    of_b: &mut Replay<'_>,
    b: (&Path, &Trace),
    replaced: HashMap<usize, Vec<Tensor>>,
) -> Result<Trace, NotRun> {
    let failed = |error: &dyn std::fmt::Display| NotRun::Trace(error.to_string());
    of_b.start_with(replaced);
    let file = File::open(b.0).map_err(|error| failed(&error))?;
    let mut out: Vec<u8> = Vec::new();
    let mut line = String::new();
    let mut input = BufReader::new(file);
    let mut index = 0;
    loop {
        line.clear();
        if input.read_line(&mut line).map_err(|error| failed(&error))? == 0 {
            break;
        }
        let seen = if line.starts_with("{\"i\":") {
            index += 1;
            of_b.step_seen(index - 1)?
        } else if line.starts_with("{\"end\":") {
            let end = b.1.end.iter().flat_map(|end| end.outcome());
            end.map(|(_, tensor)| of_b.seen(tensor)).collect()
        } else {
            Vec::new()
        };
        out.extend_from_slice(rewritten(&line, seen).as_bytes());
    }
    Trace::from_bytes(b.0, out).map_err(|error| failed(&error))
}

/// A line with other hashes.
fn rewritten(line: &str, seen: Vec<Option<Seen>>) -> String {
    const TENSOR: &str = "{\"dtype\":";
    let mut out = String::with_capacity(line.len() + 64);
    let mut rest = line;
    for seen in seen {
        // The text cannot be in a string, whose quotes are escaped.
        let Some(start) = rest.find(TENSOR) else {
            break;
        };
        let Some(length) = object_length(&rest[start..]) else {
            break;
        };
        out += &rest[..start];
        let object = &rest[start..start + length];
        rest = &rest[start + length..];
        match seen.and_then(|seen| replaced_object(object, &seen)) {
            Some(text) => out += &text,
            None => out += object,
        }
    }
    out + rest
}

/// The length of the object that a text begins with.
fn object_length(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(position + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn replaced_object(object: &str, seen: &Seen) -> Option<String> {
    let mut members: Map<String, Json> = serde_json::from_str(object).ok()?;
    let hash = seen.hash.to_string();
    if members.get("hash").and_then(Json::as_str) == Some(&hash) {
        return None;
    }
    let dtype = members.remove("dtype")?;
    for name in ["all", "sample", "stats"] {
        members.remove(name);
    }
    members.insert("hash".to_owned(), json!(hash));
    if let Some((name, elements)) = &seen.elements {
        members.insert((*name).to_owned(), serde_json::from_str(elements).ok()?);
    }
    let rest = serde_json::to_string(&members).ok()?;
    Some(format!("{{\"dtype\":{dtype},{}", &rest[1..]))
}
