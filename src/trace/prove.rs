//! Proves causes: the departing operation is run again here with the other side's argument or input.

use super::replay::{Call, Computed, GENERATOR, NotRun, Replay};
use op_trace::{Departure, Operation, Sides};
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
}

/// What is proved of a departure.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// B's operation gives A's bits with these arguments of A.
    Arguments(Vec<Replaced>),
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
    /// Neither argument nor input of A gives A's bits.
    NotProved,
    /// Only one program has the operation.
    OnlyOne,
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
        matches!(self, Verdict::Arguments(_) | Verdict::Operation { .. })
    }
}

impl Proof {
    fn of(verdict: Verdict) -> Proof {
        Proof {
            verdict,
            distance: None,
            equal_inputs: false,
        }
    }

    /// Runs the operations of a departure again.
    #[must_use]
    pub fn new(a: &mut Replay<'_>, b: &mut Replay<'_>, departure: &Departure) -> Proof {
        let mut pairs = departure.pairs.iter();
        let Some((p, r)) = pairs.find_map(|pair| Some((pair.a?, pair.b?))) else {
            return Proof::of(Verdict::OnlyOne);
        };
        match proof(a, b, p, r) {
            Ok(proof) => proof,
            Err((side, reason)) => Proof::of(Verdict::NotRun { side, reason }),
        }
    }
}

fn proof(
    a: &mut Replay<'_>,
    b: &mut Replay<'_>,
    p: usize,
    r: usize,
) -> Result<Proof, (&'static str, NotRun)> {
    let in_a = |reason| ("A", reason);
    let in_b = |reason| ("B", reason);
    let (x, y) = (a.call(p).map_err(in_a)?, b.call(r).map_err(in_b)?);
    let (xs, ys) = (x.run().map_err(in_a)?, y.run().map_err(in_b)?);
    let same = Sides {
        a: xs.has_results_of(&x.operation),
        b: ys.has_results_of(&y.operation),
    };
    let differing = differing(&x, &y);
    let equal_inputs = differing.tensors.is_empty() && !differing.generator;
    let proof = |verdict| Proof {
        verdict,
        distance: distance(&xs, &ys),
        equal_inputs,
    };
    if !same.a || !same.b {
        return Ok(proof(Verdict::Environment { same }));
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
        // Another argument may not fit the rest.
        let Ok(computed) = y.with(&set, &x).run() else {
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
                        a: shown(&x, &name),
                        b: shown(&y, &name),
                        name,
                    })
                    .collect(),
            )));
        }
    }
    let inputs = |operation: &Operation| {
        let values = operation
            .arguments()
            .flat_map(|(_, value)| value.tensors())
            .filter_map(|(_, tensor)| Some((tensor.dtype.to_string(), tensor.hash?)));
        values.collect::<Vec<_>>()
    };
    let (of_a, of_b) = (inputs(&x.operation), inputs(&y.operation));
    if x.operation.schema() != y.operation.schema()
        && !of_a.is_empty()
        && of_a.iter().all(|value| of_b.contains(value))
    {
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
        let (mine, theirs) = (value.tensors(), other.tensors());
        if mine.is_empty() && theirs.is_empty() {
            let is_quiet = matches!(name, "generator" | "device" | "layout" | "pin_memory");
            if !is_quiet && !value.means(other) {
                found.scalars.push(name.to_owned());
            }
            continue;
        }
        let same = mine.len() == theirs.len()
            && mine.iter().zip(&theirs).all(|((_, mine), (_, theirs))| {
                mine.hash == theirs.hash
                    && mine.dtype == theirs.dtype
                    && mine.shape == theirs.shape
                    && mine.uninitialized == theirs.uninitialized
            });
        if !same && !mine.iter().all(|(_, tensor)| tensor.uninitialized) {
            found.tensors.push(name.to_owned());
        }
    }
    found
}

/// Whether both are the same operator, in place or not.
fn is_kin(x: &Operation, y: &Operation) -> bool {
    let base = |operation: &Operation| operation.name.as_str().trim_end_matches('_').to_owned();
    base(x) == base(y)
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
