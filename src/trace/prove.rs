//! Proves causes: the departing operation is run again here with the other side's argument or input.

use super::replay::{Call, Computed, GENERATOR, NotRun, Replay};
use op_trace::{Departure, Operation, Sides};
use std::collections::HashMap;
use tch::Tensor;
use tensor_parity::compare::{Criterion, TensorComparison};
use tensor_parity::{Dtype, TensorView};

/// What running a departing operation again says of a departure.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Proof {
    /// What is proved.
    pub verdict: Verdict,
    /// How far the results are from one another, where both were computed.
    pub distance: Option<Distance>,
    /// Whether all inputs and the state of the generator are equal.
    pub equal_inputs: bool,
    /// Whether the argument that differs has the same rows in another order.
    pub reordered: bool,
}

/// What is proved of a departure.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// B's operation gives A's bits with these arguments of A.
    Arguments(Vec<Replaced>),
    /// B's operation gives A's bits on as many threads as A has: the environment.
    Threads(Sides<i32>),
    /// A's operation gives A's bits of B's inputs.
    Operation {
        /// A's operation.
        a: String,
        /// B's operation.
        b: String,
    },
    /// An operation gives other bits here than in its trace, of the trace's own inputs.
    Environment {
        /// Whether the bits are those of the trace.
        same: Sides<bool>,
    },
    /// Only one program has the operation, which gives its trace's bits of values that the other has too.
    Only {
        /// The trace that has it: `A` or `B`.
        side: &'static str,
        /// The operation.
        operation: String,
    },
    /// Neither argument nor input of A gives A's bits.
    NotProved,
    /// An operation is not run again.
    NotRun {
        /// The trace whose operation it is: `A` or `B`.
        side: &'static str,
        /// Why.
        reason: NotRun,
    },
}

/// An argument of which A's value gives A's bits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Replaced {
    /// The argument.
    pub name: String,
    /// A's value, unless it is a tensor.
    pub a: Option<String>,
    /// B's value, unless it is a tensor.
    pub b: Option<String>,
}

/// How far two tensors are from one another.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Distance {
    /// The number of elements.
    pub elements: usize,
    /// The number of elements with other bits.
    pub differing: usize,
    /// The largest distance in units in the last place; `None` for integers, or if only one is NaN.
    pub ulps: Option<u64>,
    /// The largest difference.
    pub absolute: Option<f64>,
}

impl Verdict {
    /// Whether the departure is proved to be the cause.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        matches!(
            self,
            Verdict::Arguments(_)
                | Verdict::Threads(_)
                | Verdict::Operation { .. }
                | Verdict::Only { .. }
        )
    }
}

impl Proof {
    fn of(verdict: Verdict) -> Proof {
        Proof {
            verdict,
            distance: None,
            equal_inputs: false,
            reordered: false,
        }
    }

    /// Runs the operations of a departure again.
    #[must_use]
    pub fn new<'t>(a: &mut Replay<'t>, b: &mut Replay<'t>, departure: &Departure) -> Proof {
        let mut pairs = departure.pairs.iter();
        let Some((p, r)) = pairs.find_map(|pair| Some((pair.a?, pair.b?))) else {
            return only(a, b, departure);
        };
        let calls = a
            .call(p)
            .map_err(in_a)
            .and_then(|x| Ok((x, b.call(r).map_err(in_b)?)));
        Proof::from(calls.and_then(|(x, y)| proof(&x, &y, Some(b))))
    }

    /// As [`Proof::new`], where B's results were replaced before.
    pub(super) fn healed<'t>(
        a: &mut Replay<'t>,
        b: &mut Replay<'t>,
        departure: &Departure,
        replaced: &HashMap<usize, Vec<Tensor>>,
    ) -> Proof {
        let mut pairs = departure.pairs.iter();
        let Some((p, r)) = pairs.find_map(|pair| Some((pair.a?, pair.b?))) else {
            return only(a, b, departure);
        };
        let replaced = replaced
            .iter()
            .map(|(index, tensors)| (*index, tensors.iter().map(Tensor::shallow_clone).collect()))
            .collect();
        let calls = a
            .call(p)
            .map_err(in_a)
            .and_then(|x| Ok((x, b.call_with(r, replaced).map_err(in_b)?)));
        Proof::from(calls.and_then(|(x, y)| proof(&x, &y, None)))
    }

    fn from(proof: Result<Proof, (&'static str, NotRun)>) -> Proof {
        proof.unwrap_or_else(|(side, reason)| Proof::of(Verdict::NotRun { side, reason }))
    }
}

fn in_a(reason: NotRun) -> (&'static str, NotRun) {
    ("A", reason)
}

fn in_b(reason: NotRun) -> (&'static str, NotRun) {
    ("B", reason)
}

/// The operation that only one program has.
fn only<'t>(a: &mut Replay<'t>, b: &mut Replay<'t>, departure: &Departure) -> Proof {
    let (side, runs, other, index) = match departure.pairs.first().map(|pair| (pair.a, pair.b)) {
        Some((Some(index), None)) => ("A", a, b, index),
        Some((None, Some(index))) => ("B", b, a, index),
        _ => return Proof::of(Verdict::NotProved),
    };
    let run = runs
        .call(index)
        .and_then(|call| Ok((call.run()?, call.operation)));
    Proof::of(match run {
        Err(reason) => Verdict::NotRun { side, reason },
        Ok((computed, operation)) if !computed.has_results_of(&operation) => Verdict::Environment {
            same: Sides {
                a: side != "A",
                b: side != "B",
            },
        },
        Ok((_, operation)) => match other.has_inputs_of(&operation) {
            true => Verdict::Only {
                side,
                operation: operation.schema(),
            },
            false => Verdict::NotProved,
        },
    })
}

/// `of_b`: B, if its arguments are those of its trace.
fn proof(x: &Call, y: &Call, of_b: Option<&Replay<'_>>) -> Result<Proof, (&'static str, NotRun)> {
    let (xs, ys) = (x.run().map_err(in_a)?, y.run().map_err(in_b)?);
    let same = Sides {
        a: xs.has_results_of(&x.operation),
        b: of_b.is_none() || ys.has_results_of(&y.operation),
    };
    let differing = differing(x, y);
    let equal_inputs = differing.tensors.is_empty() && !differing.generator;
    let proof = |verdict| Proof {
        verdict,
        distance: distance(&xs, &ys),
        equal_inputs,
        reordered: matches!(&differing.tensors[..], [name] if has_same_rows(x, y, name)),
    };
    if !same.a || !same.b {
        return Ok(proof(Verdict::Environment { same }));
    }
    if let (Some(a), Some(b)) = (x.threads(), y.threads())
        && a != b
        && is_kin(&x.operation, &y.operation)
        && y.with(&[], x)
            .run()
            .is_ok_and(|computed| computed.has_results_of(&x.operation))
    {
        return Ok(proof(Verdict::Threads(Sides { a, b })));
    }
    let mut sets: Vec<Vec<String>> = Vec::new();
    if is_kin(&x.operation, &y.operation) {
        let single = differing.scalars.iter().chain(&differing.tensors);
        sets.extend(single.take(8).map(|name| vec![name.clone()]));
        let mut all = differing.tensors.clone();
        if differing.generator {
            sets.push(vec![GENERATOR.to_owned()]);
            all.push(GENERATOR.to_owned());
        }
        for set in [
            differing.scalars.clone(),
            all.clone(),
            [differing.scalars, all].concat(),
        ] {
            if set.len() > 1 && !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    for set in sets {
        // Another argument may not fit the rest, or needs A's overload: a tensor instead of a number.
        let computed = y.with(&set, x).run();
        let Ok(computed) = computed.or_else(|_| x.with(&rest(x, &set), y).run()) else {
            continue;
        };
        if computed.has_results_of(&x.operation) {
            let shown = |call: &Call, name: &str| {
                let value = call.operation.argument(name)?;
                value.tensors().is_empty().then(|| value.to_string())
            };
            return Ok(proof(Verdict::Arguments(
                set.into_iter()
                    .map(|name| Replaced {
                        a: shown(x, &name),
                        b: shown(y, &name),
                        name,
                    })
                    .collect(),
            )));
        }
    }
    let has_inputs = match of_b {
        Some(b) => b.has_inputs_of(&x.operation),
        None => {
            let values = y.all_values();
            x.all_values().iter().all(|value| values.contains(value))
        }
    };
    if base(&x.operation) != base(&y.operation) && has_inputs && x.state() == y.state() {
        return Ok(proof(Verdict::Operation {
            a: x.operation.schema(),
            b: y.operation.schema(),
        }));
    }
    Ok(proof(Verdict::NotProved))
}

/// The arguments that differ.
struct Differing {
    scalars: Vec<String>,
    tensors: Vec<String>,
    generator: bool,
}

fn differing(x: &Call, y: &Call) -> Differing {
    let mut found = Differing {
        scalars: Vec::new(),
        tensors: Vec::new(),
        generator: x.state() != y.state(),
    };
    for (name, value) in x.operation.arguments() {
        let Some(other) = y.operation.argument(name) else {
            continue;
        };
        let mine = value.tensors();
        if mine.is_empty() && other.tensors().is_empty() {
            let is_quiet = matches!(name, "generator" | "device" | "layout" | "pin_memory");
            if !is_quiet && !value.means(other) {
                found.scalars.push(name.to_owned());
            }
            continue;
        }
        // The values themselves: those of a healed run are not in the trace.
        let same = x.values(name) == y.values(name);
        if !same && !mine.iter().all(|(_, tensor)| tensor.uninitialized) {
            found.tensors.push(name.to_owned());
        }
    }
    found
}

/// The arguments of a call, and the generator, that are not in a set.
fn rest(call: &Call, set: &[String]) -> Vec<String> {
    let names = call.operation.arguments().map(|(name, _)| name);
    let names = names.chain([GENERATOR]).map(str::to_owned);
    names.filter(|name| !set.contains(name)).collect()
}

/// Whether both are the same operator, in place or not.
fn is_kin(x: &Operation, y: &Operation) -> bool {
    base(x) == base(y)
}

fn base(operation: &Operation) -> &str {
    operation.name.as_str().trim_end_matches('_')
}

/// Whether an argument has the same rows in another order.
fn has_same_rows(x: &Call, y: &Call, name: &str) -> bool {
    let rows = |call: &Call| {
        let tensor = call.tensor(name)?;
        let bytes = super::replay::elements(&tensor).ok()?;
        let count = usize::try_from(*tensor.size().first()?).ok()?;
        let length = bytes
            .len()
            .checked_div(count)
            .filter(|length| *length > 0)?;
        let mut rows: Vec<Vec<u8>> = bytes.chunks(length).map(<[u8]>::to_vec).collect();
        rows.sort_unstable();
        Some((tensor.size(), rows))
    };
    rows(x).is_some_and(|mine| rows(y) == Some(mine))
}

/// The distance of the first results that differ.
fn distance(x: &Computed, y: &Computed) -> Option<Distance> {
    let pairs = x.tensors.iter().zip(&y.tensors);
    let hashes = x.hashes.iter().zip(&y.hashes);
    let mut differing = pairs
        .zip(hashes)
        .filter(|(_, (mine, theirs))| mine != theirs)
        .map(|(pair, _)| pair);
    let (mine, theirs) = differing.next()?;
    tensor_distance(mine, theirs)
}

/// How far two tensors of one dtype and shape are from one another.
#[must_use]
pub fn tensor_distance(a: &tch::Tensor, b: &tch::Tensor) -> Option<Distance> {
    let view = |tensor: &tch::Tensor| {
        let dtype = Dtype::ALL.iter().copied();
        let name = super::replay::dtype_name(tensor).ok()?;
        let dtype = dtype.clone().find(|dtype| dtype.name() == name)?;
        let shape: Vec<usize> = tensor
            .size()
            .into_iter()
            .map(|size| usize::try_from(size).ok())
            .collect::<Option<_>>()?;
        Some((dtype, shape, super::replay::elements(tensor).ok()?))
    };
    let (a, b) = (view(a)?, view(b)?);
    if a.0 != b.0 || a.1 != b.1 {
        return None;
    }
    let compared = TensorComparison::new(
        &TensorView::contiguous(a.0, &a.1, &a.2).ok()?,
        &TensorView::contiguous(b.0, &b.1, &b.2).ok()?,
        Criterion::Bits,
    );
    Some(Distance {
        elements: compared.elements,
        differing: compared.differing,
        ulps: compared.ulps.and_then(|extreme| extreme.difference),
        absolute: compared.absolute.map(|extreme| extreme.difference.to_f64()),
    })
}
