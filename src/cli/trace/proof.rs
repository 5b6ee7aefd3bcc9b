//! What running operations again says of departures, in words.

use super::said::{Healed, Named, Said};
use crate::cli::report::spinner;
use op_trace::{Class, Comparison, Departure, Outcome};
use serde_json::json;
use tch_init::trace::replay::{GENERATOR, Replay};
use tch_init::trace::{Distance, Proof, Replaced, Verdict, replay::NotRun};

/// How often B is healed at most.
const MOST: usize = 50;

pub fn prove(a: Named<'_>, b: Named<'_>, departures: &[Departure]) -> Vec<Said> {
    let _running = spinner("running operations again");
    let replays = Replay::new(a.0, a.1).and_then(|a| Ok((a, Replay::new(b.0, b.1)?)));
    match replays {
        Ok((mut a, mut b)) => departures
            .iter()
            .map(|departure| said(departure, &Proof::new(&mut a, &mut b, departure)))
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
                stopped: Some(format!("B cannot be run again here: {reason}")),
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
                    .map(|(departure, proof)| (departure.clone(), said(departure, proof)))
                    .collect()
            })
            .collect(),
        stopped: healing.stopped,
        ends_equal: healing.outcome == Outcome::Equal,
        runs: healing.runs,
    })
}

fn said(departure: &Departure, proof: &Proof) -> Said {
    let (word, sentence) = match &proof.verdict {
            Verdict::Arguments(replaced) => ("proved", arguments(departure, proof, replaced)),
            Verdict::Operation { a, b } => (
                "proved",
                format!("cause: {b} instead of {a}. Run again here, {a} of B's input gives A's bits."),
            ),
            Verdict::Environment { same } => (
                "environment",
                match (same.a, same.b) {
                    (false, true) => {
                        "the environment: run again here, A's operation gives other bits of A's own input than A's trace has"
                    }
                    (true, false) => {
                        "the environment: run again here, B's operation gives other bits of B's own input than B's trace has"
                    }
                    _ => "the environment: run again here, both operations give other bits than the traces have",
                }
                .to_owned(),
            ),
            Verdict::NotProved => (
                "not-proved",
                "the cause is not proved: B's operation does not give A's bits with A's arguments and input either".to_owned(),
            ),
            Verdict::Only { side, operation } => {
                let other = if *side == "A" { "B" } else { "A" };
                (
                    "proved",
                    format!(
                        "cause: {operation}, which only {side} has. Run again here of values that {other} has too, it gives {side}'s bits."
                    ),
                )
            }
            // What ran before it gives other bits here.
            Verdict::NotRun { side, reason: reason @ NotRun::OtherBits(_) } => (
                "environment",
                format!("the environment: run again here, {side}: {reason}"),
            ),
            Verdict::NotRun { side, reason } => {
                return Said::not_run(&format!("{side}: {reason}"));
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

fn arguments(departure: &Departure, proof: &Proof, replaced: &[Replaced]) -> String {
    let names: Vec<&str> = replaced.iter().map(|one| one.name.as_str()).collect();
    let values: Option<Vec<&str>> = replaced.iter().map(|one| one.a.as_deref()).collect();
    let names = names.join(" and ");
    match values.as_deref() {
        _ if replaced.iter().any(|one| one.name == GENERATOR) => format!(
            "cause: {}. Run again here from A's state of the generator, B's operation gives A's bits.",
            departure.class
        ),
        Some([value]) => {
            format!("cause: {names}. Run again here with {value}, B's input gives A's bits.")
        }
        Some(values) => format!(
            "cause: {names}. Run again here with {}, B's input gives A's bits.",
            values.join(" and ")
        ),
        None => {
            let what = match &departure.class {
                Class::OnlyInA(step) => format!("{step}, which only A has"),
                Class::OnlyInB(step) => format!("{step}, which only B has"),
                Class::Data if proof.reordered => Class::DataOrder.to_string(),
                Class::Input(_) => "another value goes in".to_owned(),
                class => class.to_string(),
            };
            format!("cause: {what}. Run again here with A's {names}, B's operation gives A's bits.")
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

/// `24,576`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `311`, `9.1e4`.
fn short(number: u64) -> String {
    match number < 10_000 {
        true => grouped(number as usize),
        false => format!("{:.1e}", number as f64),
    }
}
