//! What running operations again says of departures, in words.

use super::numbers::{grouped, short};
use super::said::{Healed, Named, Said};
use crate::cli::report::spinner;
use op_trace::{Class, Comparison, Departure, Outcome, Sides};
use serde_json::json;
use tch_init::trace::replay::{GENERATOR, Replay};
use tch_init::trace::{Distance, Proof, Replaced, Verdict, replay::NotRun};

/// How often B is healed at most.
const MOST: usize = 50;

pub fn prove(a: Named<'_>, b: Named<'_>, comparison: &Comparison, count: usize) -> Vec<Said> {
    let (departures, labels) = (&comparison.departures[..count], comparison.labels);
    let _running = spinner("running operations again");
    let replays = Replay::new(a.0, a.1).and_then(|a| Ok((a, Replay::new(b.0, b.1)?)));
    match replays {
        Ok((mut a, mut b)) => departures
            .iter()
            .map(|departure| said(departure, &Proof::new(&mut a, &mut b, departure), labels))
            .collect(),
        Err(reason) => departures
            .iter()
            .map(|_| Said::not_run(&reason.to_string()))
            .collect(),
    }
}

pub fn heal(a: Named<'_>, b: Named<'_>, first: &Comparison) -> anyhow::Result<Healed> {
    let running = spinner("healing");
    let healing = tch_init::trace::heal(a, b, first, MOST, |run| {
        running.set_message(format!("healing, run {run}"));
    });
    let healing = match healing {
        Ok(healing) => healing,
        Err(reason) => {
            return Ok(Healed {
                first: (0..first.departures.len()).collect(),
                rounds: Vec::new(),
                stopped: Some(format!(
                    "{} cannot be run again here: {reason}",
                    first.labels.b
                )),
                ends_equal: false,
                runs: 0,
            });
        }
    };
    Ok(Healed {
        first: healing.first,
        rounds: healing
            .rounds
            .iter()
            .map(|round| {
                round
                    .iter()
                    .map(|(departure, proof)| {
                        (departure.clone(), said(departure, proof, first.labels))
                    })
                    .collect()
            })
            .collect(),
        stopped: healing.stopped,
        ends_equal: healing.outcome == Outcome::Equal,
        runs: healing.runs,
    })
}

fn said(departure: &Departure, proof: &Proof, labels: Sides<&'static str>) -> Said {
    let (a_label, b_label) = (labels.a, labels.b);
    let of_side = |side: &str| if side == "A" { a_label } else { b_label };
    let (word, sentence) = match &proof.verdict {
        Verdict::Arguments(replaced) => ("proved", arguments(departure, proof, replaced, labels)),
        Verdict::Threads(threads) => (
            "environment",
            format!(
                "cause: the threads. Run again here on {} of them, {b_label}'s operation gives {a_label}'s bits of {b_label}'s input.",
                threads.a
            ),
        ),
        Verdict::Operation { a, b } => (
            "proved",
            format!(
                "cause: {b} instead of {a}. Run again here, {a} of {b_label}'s input gives {a_label}'s bits."
            ),
        ),
        Verdict::Environment { same } => ("environment", {
            let other = |label: &str| {
                format!(
                    "the environment: run again here, {label}'s operation gives other bits of {label}'s own input than {label}'s trace has"
                )
            };
            match (same.a, same.b) {
                        (false, true) => other(a_label),
                        (true, false) => other(b_label),
                        _ => "the environment: run again here, both operations give other bits than the traces have".to_owned(),
                    }
        }),
        Verdict::NotProved => (
            "not-proved",
            format!(
                "the cause is not proved: {b_label}'s operation does not give {a_label}'s bits with {a_label}'s arguments and input either"
            ),
        ),
        Verdict::Only { side, operation } => {
            let other = if *side == "A" { b_label } else { a_label };
            let side = of_side(side);
            (
                "proved",
                format!(
                    "cause: {operation}, which only {side} has. Run again here of values that {other} has too, it gives {side}'s bits."
                ),
            )
        }
        // What ran before it gives other bits here.
        Verdict::NotRun {
            side,
            reason: reason @ NotRun::OtherBits(_),
        } => (
            "environment",
            format!(
                "the environment: run again here, {}: {reason}",
                of_side(side)
            ),
        ),
        Verdict::NotRun { side, reason } => {
            let mut text = format!("{}: {reason}", of_side(side));
            if matches!(reason, NotRun::MissingValue(_) | NotRun::Generator(_)) {
                text += &format!("; record {}", keep(departure, labels));
            }
            return Said::not_run(&text);
        }
        _ => ("not-proved", "the cause is not proved".to_owned()),
    };
    Said {
        proved: proof.verdict.is_proved(),
        reordered: proof.reordered && departure.class == Class::Data,
        environment: word == "environment",
        distance: proof.distance.map(|distance| {
            let inputs = match proof.equal_inputs {
                true => "the inputs are equal bit for bit; ",
                false => "",
            };
            format!("{inputs}{}", shown(&distance))
        }),
        json: json!({
            "verdict": word,
            "sentence": sentence,
            "equal_inputs": proof.equal_inputs,
            "arguments": match &proof.verdict {
                Verdict::Arguments(replaced) => replaced
                    .iter()
                    .map(|replaced| json!({ "name": replaced.name, "a": replaced.a, "b": replaced.b }))
                    .collect(),
                _ => Vec::new(),
            },
            "elements": proof.distance.map(|distance| distance.elements),
            "differing": proof.distance.map(|distance| distance.differing),
            "ulps": proof.distance.and_then(|distance| distance.ulps),
            "absolute": proof.distance.and_then(|distance| distance.absolute),
        }),
        sentence,
    }
}

/// What to record again where values are missing.
fn keep(departure: &Departure, labels: Sides<&str>) -> String {
    let mut pairs = departure.pairs.iter();
    let a = pairs.clone().find_map(|pair| pair.a);
    let b = pairs.find_map(|pair| pair.b);
    let recordings = [(labels.a, a), (labels.b, b)];
    let recordings = recordings.into_iter().filter_map(|(label, index)| {
        let index = index?;
        Some(format!("{label} with --keep {index}..{}", index + 1))
    });
    recordings.collect::<Vec<_>>().join(" and ")
}

fn arguments(
    departure: &Departure,
    proof: &Proof,
    replaced: &[Replaced],
    labels: Sides<&'static str>,
) -> String {
    let (in_a, in_b) = (labels.a, labels.b);
    let names: Vec<&str> = replaced.iter().map(|one| one.name.as_str()).collect();
    let values: Option<Vec<&str>> = replaced.iter().map(|one| one.a.as_deref()).collect();
    let names = names.join(" and ");
    match values.as_deref() {
        _ if replaced.iter().any(|one| one.name == GENERATOR) => format!(
            "cause: {}. Run again here from {in_a}'s state of the generator, {in_b}'s operation gives {in_a}'s bits.",
            departure.class.text(labels)
        ),
        Some([value]) => {
            format!(
                "cause: {names}. Run again here with {value}, {in_b}'s input gives {in_a}'s bits."
            )
        }
        Some(values) => format!(
            "cause: {names}. Run again here with {}, {in_b}'s input gives {in_a}'s bits.",
            values.join(" and ")
        ),
        None => {
            let what = match &departure.class {
                Class::OnlyInA(step) => format!("{step}, which only {in_a} has"),
                Class::OnlyInB(step) => format!("{step}, which only {in_b} has"),
                Class::Data if proof.reordered => Class::DataOrder.to_string(),
                Class::Input(_) => "another value goes in".to_owned(),
                class => class.text(labels),
            };
            format!(
                "cause: {what}. Run again here with {in_a}'s {names}, {in_b}'s operation gives {in_a}'s bits."
            )
        }
    }
}

fn shown(distance: &Distance) -> String {
    let mut text = format!(
        "the results differ in {} of {} elements",
        grouped(distance.differing),
        grouped(distance.elements)
    );
    match (distance.ulps, distance.absolute) {
        (Some(ulps), _) => text += &format!(", by up to {} ULPs", short(ulps)),
        (None, Some(absolute)) => text += &format!(", by up to {absolute:.1e}"),
        _ => {}
    }
    text
}
