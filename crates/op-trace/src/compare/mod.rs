//! Compares two traces by content and names where they first differ.
//!
//! Values are aligned, not positions: a value is its dtype and the hash of its bytes. An operation is *good* if the other side has its
//! results too, from whatever operation. A *cause* is a bad operation with only good inputs, if it ends in something that
//! matters and the other side computes something else from the same values. This absorbs `addmm` against `mm` and `add`,
//! other names, and another order of parameters.

mod bits;
mod class;
mod departure;
mod explain;
mod expression;
mod find;
mod names;
mod pairing;
mod side;
mod sides;
mod verdict;

pub use class::Class;
pub use departure::{Departure, Place};
pub use sides::Sides;
pub use verdict::{Verdict, Verdicts};

use crate::{EnvironmentDifference, Trace};
use names::Names;
use pairing::Pairing;
use side::{Keys, Side};
use std::collections::HashMap;

/// Whether an operation computes something: other than the reading, naming or allocating of memory.
pub(crate) fn computes(name: &str) -> bool {
    side::canon(name).is_some()
}

/// Where two traces differ.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Comparison {
    /// What the programs are called: by their languages if these differ, else `A` and `B`.
    pub labels: Sides<&'static str>,
    /// The names of each parameter and buffer that both programs have, paired by content.
    pub names: Vec<Sides<String>>,
    /// The number of operations that compute something.
    pub operations: Sides<usize>,
    /// How many of them have results that the other side lacks.
    pub departed: Sides<usize>,
    /// What became of each operation.
    pub verdicts: Sides<Verdicts>,
    /// How the environments differ.
    pub environment: Vec<EnvironmentDifference>,
    /// The independent differences, in order. Empty for equal programs.
    pub departures: Vec<Departure>,
    /// Whether both programs end in the same parameters and buffers.
    pub outcome: Outcome,
    /// The completed training steps, where the trace has its end.
    pub steps: Sides<Option<u32>>,
}

/// Whether the parameters and buffers at the end are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All are equal.
    Equal,
    /// Some differ.
    Differs,
    /// One program ran more steps; until the other one ends, all are equal.
    Longer,
    /// A trace has no end, or no model.
    Unknown,
}

impl Comparison {
    /// Compares two traces.
    #[must_use]
    pub fn new(a: &Trace, b: &Trace) -> Comparison {
        let keys = Keys::new(a, b);
        let labels = labels(a, b);
        let mut side_a = Side::a(a, labels.a, &keys);
        let mut side_b = Side::b(b, labels.b, &keys);
        side_a.judge(&side_b, &keys.weak);
        side_b.judge(&side_a, &keys.weak);
        let environment = a.environment.differences(&b.environment);
        let outcome = outcome(a, b);
        let names = Names::new(a, b);
        let departures = find::departures(&Pairing::new(
            &side_a,
            &side_b,
            &keys,
            &names,
            !environment.is_empty(),
        ));
        Comparison {
            labels,
            names: names.pairs(a),
            operations: Sides {
                a: side_a.len(),
                b: side_b.len(),
            },
            departed: Sides {
                a: side_a.departed(),
                b: side_b.departed(),
            },
            verdicts: Sides {
                a: side_a.verdicts(),
                b: side_b.verdicts(),
            },
            environment,
            departures,
            outcome,
            steps: Sides {
                a: a.end.as_ref().map(|end| end.steps),
                b: b.end.as_ref().map(|end| end.steps),
            },
        }
    }

    /// Whether nothing was found and the outcome does not differ.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.departures.is_empty() && !matches!(self.outcome, Outcome::Differs | Outcome::Longer)
    }
}

fn labels(a: &Trace, b: &Trace) -> Sides<&'static str> {
    let (a, b) = match (a.language.as_str(), b.language.as_str()) {
        ("python", "rust") => ("Python", "Rust"),
        ("rust", "python") => ("Rust", "Python"),
        _ => ("A", "B"),
    };
    Sides { a, b }
}

/// Whether a program ran more steps than another one, in whose end it was, too.
fn is_longer(longer: &Trace, shorter: &Trace) -> bool {
    let (Some(long), Some(short)) = (&longer.end, &shorter.end) else {
        return false;
    };
    let mut ends = short.outcome().filter(|(name, _)| !is_batch_counter(name));
    long.steps > short.steps
        && short.steps > 0
        && ends.all(|(_, tensor)| longer.calls.has_value(tensor))
}

/// Whether a buffer counts batches, which tch's layers do not.
fn is_batch_counter(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

fn outcome(a: &Trace, b: &Trace) -> Outcome {
    // By content, since names and their order differ; only what the program changed, since other buffers may be written otherwise.
    let values = |trace: &Trace| {
        let end = trace.end.as_ref()?;
        let mut start = HashMap::new();
        for named in trace.models.iter().flat_map(|model| &model.names) {
            start
                .entry(named.name.as_str())
                .or_insert(named.tensor.hash);
        }
        let mut values: Vec<_> = end
            .outcome()
            .filter(|(name, _)| !is_batch_counter(name))
            .filter(|(name, tensor)| start.get(name) != Some(&tensor.hash))
            .map(|(_, tensor)| (tensor.dtype.to_string(), tensor.hash, tensor.elements()))
            .collect();
        values.sort_unstable();
        (!trace.models.is_empty()).then_some(values)
    };
    match (values(a), values(b)) {
        (Some(a), Some(b)) if a == b => Outcome::Equal,
        (Some(_), Some(_)) if is_longer(a, b) || is_longer(b, a) => Outcome::Longer,
        (Some(_), Some(_)) => Outcome::Differs,
        _ => Outcome::Unknown,
    }
}
