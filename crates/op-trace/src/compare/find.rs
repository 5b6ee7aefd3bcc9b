//! Finds the causes, pairs them with the operations of the other side, and explains what differs.

use super::class::Class;
use super::expression::{
    Difference, Expander, Expression, differences, scalar_differences, shown_scalars,
};
use super::side::{Key, Keys, Node, Side};
use super::{Departure, Place};
use crate::{Operation, Phase, SharedStr};
use std::collections::{HashMap, HashSet};

/// More causes than any user reads.
const MAX_CAUSES: usize = 2000;
const MAX_CHAIN: usize = 32;

/// Kinds of operations that are written for one another.
const KIN: &[&[&str]] = &[
    &[
        "addmm", "mm", "bmm", "baddbmm", "linear", "matmul", "addmv", "mv",
    ],
    &[
        "relu",
        "gelu",
        "silu",
        "sigmoid",
        "tanh",
        "leaky_relu",
        "elu",
        "hardtanh",
        "softplus",
        "hardswish",
        "mish",
        "clamp_min",
    ],
    &[
        "max_pool2d_with_indices",
        "avg_pool2d",
        "_adaptive_avg_pool2d",
        "mean",
        "amax",
    ],
    &[
        "nll_loss_forward",
        "nll_loss2d_forward",
        "mse_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "smooth_l1_loss",
        "huber_loss",
    ],
    &[
        "native_batch_norm",
        "native_layer_norm",
        "native_group_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
    ],
    &[
        "view",
        "t",
        "transpose",
        "permute",
        "unsqueeze",
        "squeeze",
        "expand",
    ],
    &["_softmax", "_log_softmax"],
    &["add", "sub", "mul", "div", "rsub"],
    &["sum", "mean"],
];

fn kin(a: &str, b: &str) -> bool {
    a == b
        || KIN
            .iter()
            .any(|kind| kind.contains(&a) && kind.contains(&b))
}

fn is_arithmetic(canon: &str) -> bool {
    matches!(canon, "add" | "sub" | "mul" | "div" | "rsub")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    A,
    B,
}

pub struct Finder<'s, 'a> {
    a: &'s Side<'a>,
    b: &'s Side<'a>,
    keys: &'s Keys,
    environment_differs: bool,
    /// For each node of A the node of B with the same values, and the reverse.
    pairs: Vec<Option<usize>>,
    back: Vec<Option<usize>>,
}

struct Found {
    /// The position in A, for the order.
    position: f64,
    departure: Departure,
}

impl<'s, 'a> Finder<'s, 'a> {
    pub fn new(
        a: &'s Side<'a>,
        b: &'s Side<'a>,
        keys: &'s Keys,
        environment_differs: bool,
    ) -> Finder<'s, 'a> {
        Finder {
            a,
            b,
            keys,
            environment_differs,
            pairs: a.pairs(b),
            back: b.pairs(a),
        }
    }

    fn sides(&self, which: Which) -> (&'s Side<'a>, &'s Side<'a>) {
        match which {
            Which::A => (self.a, self.b),
            Which::B => (self.b, self.a),
        }
    }

    pub fn find(&self) -> Vec<Departure> {
        let mut found = self.trained();
        let frozen = !found.is_empty();
        found.extend(self.from_outside());
        let stream = self.stream();
        let stream_differs = stream.is_some();
        found.extend(stream);
        found.extend(self.causes(frozen, stream_differs));
        if found.is_empty() {
            found.extend(self.ends());
        }
        if found
            .iter()
            .any(|found| found.departure.class == Class::Frozen)
        {
            // The gradients of what is not trained are computed on one side only.
            found.retain(|found| {
                let Departure { a, b, .. } = &found.departure;
                let is_gradient = |place: &Option<Place>| {
                    place
                        .as_ref()
                        .is_some_and(|place| place.phase == "backward")
                };
                !(a.is_none() && is_gradient(b)) && !(b.is_none() && is_gradient(a))
            });
        }
        found.sort_by(|a, b| a.position.total_cmp(&b.position));
        merge(found)
    }

    // -- what is known without operations -------------------------------------------------------

    /// Parameters that are trained on one side only.
    fn trained(&self) -> Vec<Found> {
        let names = |side: &Side<'a>| {
            let models = side.trace.models.iter().flat_map(|model| &model.names);
            models
                .map(|named| (named.name.to_string(), named.requires_grad))
                .collect::<Vec<_>>()
        };
        let others = names(self.b);
        let mut found = Vec::new();
        for (name, trained) in names(self.a) {
            let Some((_, other)) = others.iter().find(|(other, _)| *other == name) else {
                continue;
            };
            let (Some(in_a), Some(in_b)) = (trained, *other) else {
                continue;
            };
            if in_a != in_b {
                let (with, without) = if in_a { ("A", "B") } else { ("B", "A") };
                found.push(Found {
                    position: -1.0,
                    departure: departure(
                        Class::Frozen,
                        None,
                        None,
                        vec![format!(
                            "{name} has requires_grad=True in {with} and False in {without}"
                        )],
                        0,
                    ),
                });
            }
        }
        found
    }

    /// Weights and data that the sides do not share.
    fn from_outside(&self) -> Vec<Found> {
        let only = |side: &'s Side<'a>, other: &'s Side<'a>| {
            let roots = side.roots.iter().copied();
            roots
                .filter(|(key, node, position)| {
                    let tensor = side.nodes[*node].inputs[*position].tensor;
                    !other.has(*key) && (!self.keys.weak.contains(key) || tensor.name.is_some())
                })
                .collect::<Vec<_>>()
        };
        let (in_a, mut in_b) = (only(self.a, self.b), only(self.b, self.a));
        let mut found = Vec::new();
        for (key, index, position) in in_a {
            let node = &self.a.nodes[index];
            let input = &node.inputs[position];
            let named_twin = input.tensor.name.as_ref().and_then(|name| {
                in_b.iter().position(|(_, other, place)| {
                    self.b.nodes[*other].inputs[*place].tensor.name.as_ref() == Some(name)
                })
            });
            let twin = named_twin.or_else(|| {
                in_b.iter().position(|(_, other, place)| {
                    let twin = &self.b.nodes[*other];
                    let other = &twin.inputs[*place];
                    let is_unknown = |name: &SharedStr| {
                        let names = self.a.trace.models.iter().flat_map(|model| &model.names);
                        !names.clone().any(|named| named.name == *name)
                    };
                    other.tensor.name.is_some() == input.tensor.name.is_some()
                        && other.tensor.name.as_ref().is_none_or(is_unknown)
                        && twin.canon == node.canon
                        && other.name == input.name
                        && other.tensor.shape == input.tensor.shape
                        && twin.pass == node.pass
                })
            });
            let Some(twin) = twin else {
                // Another dtype or shape shows in the operation that takes it.
                continue;
            };
            let (_, other, place) = in_b.remove(twin);
            if !self.matters(index, Which::A) && !self.keys.weak.contains(&key) {
                continue;
            }
            let tensor = self.b.nodes[other].inputs[place].tensor;
            let mut details = Vec::new();
            let class = match &input.tensor.name {
                Some(name) => {
                    details.push(format!("{name} has other values at the start"));
                    Class::Weights
                }
                None => {
                    details.push(format!(
                        "argument {} is from outside: {}{:?} in A, {}{:?} in B, with other values",
                        input.name,
                        input.tensor.dtype,
                        input.tensor.shape,
                        tensor.dtype,
                        tensor.shape
                    ));
                    Class::Data
                }
            };
            details.extend(sample_difference(&input.tensor.sample, &tensor.sample));
            found.push(Found {
                position: index as f64 - 0.25,
                departure: departure(
                    class,
                    Some(place_of(self.a, index)),
                    Some(place_of(self.b, other)),
                    details,
                    self.after(index, other),
                ),
            });
        }
        found
    }

    /// The first draw from another position of the stream that no draw before it explains.
    fn stream(&self) -> Option<Found> {
        let draws = |side: &'s Side<'a>| {
            let nodes = side.nodes.iter().enumerate();
            nodes
                .filter_map(|(index, node)| node.states.map(|states| (index, states)))
                .collect::<Vec<_>>()
        };
        let jumps = |side: &'s Side<'a>, other: &'s Side<'a>| {
            let mut last = None;
            for (index, (before, after)) in draws(side) {
                if last != Some(before) && !other.has_state(before) {
                    return Some(index);
                }
                last = Some(after);
            }
            None
        };
        let (index, other) = (jumps(self.a, self.b)?, jumps(self.b, self.a)?);
        let seed = |side: &'s Side<'a>, index: usize| {
            let generator = side.nodes[index].operation.generator.as_ref();
            generator
                .and_then(|states| states.first())
                .map(|state| state.seed)
        };
        let (class, detail) = match (seed(self.a, index), seed(self.b, other)) {
            (Some(a), Some(b)) if a != b => (
                Class::Seed,
                format!("the generator has seed {a} in A, {b} in B"),
            ),
            _ => (
                Class::Stream,
                "the generators have the same seed and another position".to_owned(),
            ),
        };
        Some(Found {
            position: index as f64 - 0.5,
            departure: departure(
                class,
                Some(place_of(self.a, index)),
                Some(place_of(self.b, other)),
                vec![detail],
                self.after(index, other),
            ),
        })
    }

    // -- causes ---------------------------------------------------------------------------------

    fn causes(&self, frozen: bool, stream_differs: bool) -> Vec<Found> {
        let mut causes: Vec<(f64, usize, Which)> = Vec::new();
        let draws_in = |side: &Side<'a>| side.nodes.iter().any(|node| node.states.is_some());
        for (which, pairs) in [(Which::A, None), (Which::B, Some(&self.back))] {
            let (side, other) = self.sides(which);
            let mut first_draw = true;
            for (index, node) in side.nodes.iter().enumerate() {
                let is_first = node.states.is_some() && std::mem::take(&mut first_draw);
                // The first draw of a program whose twin never draws.
                let starts = is_first && !draws_in(other);
                if node.bad && (!node.bad_input || starts) {
                    let position = match pairs {
                        None => index as f64,
                        Some(back) => position_of(index, back) + 0.5,
                    };
                    causes.push((position, index, which));
                }
            }
        }
        causes.sort_by(|x, y| x.0.total_cmp(&y.0));
        causes.truncate(MAX_CAUSES);
        let mut used: HashSet<(bool, usize)> = HashSet::new();
        let mut found: Vec<Found> = Vec::new();
        let mut told = Told::default();
        let mut frozen_step = frozen.then_some(1);
        // After a draw that one side lacks, both read other parts of the stream.
        let mut stream_moved = stream_differs;
        for (position, index, which) in causes {
            let (side, other) = self.sides(which);
            if used.contains(&(which == Which::A, index)) {
                continue;
            }
            let node = &side.nodes[index];
            if node.states.is_some() && stream_moved {
                continue;
            }
            // A parameter that only one side trains makes all later steps differ, whatever their inputs.
            if frozen_step.is_some_and(|step| node.operation.step > step) {
                continue;
            }
            if !self.matters(index, which) || told.is_repeated(node, which) {
                continue;
            }
            // Later draws on this side come from another part of the stream.
            stream_moved |= node
                .states
                .is_some_and(|(_, after)| !other.has_state(after));
            let mut chain = vec![index];
            let mut partner = self.partner(index, which);
            while partner.is_none() && chain.len() < MAX_CHAIN {
                let Some(next) = self.next_bad(*chain.last().unwrap_or(&index), side) else {
                    break;
                };
                // What an optimizer does to a parameter ends with the optimizer.
                if node.operation.phase == Phase::Optimizer && side.nodes[next].pass != node.pass {
                    break;
                }
                chain.push(next);
                partner = self.partner(next, which);
            }
            let end = *chain.last().unwrap_or(&index);
            let is_optimizer = node.operation.phase == Phase::Optimizer;
            let is_accumulation = is_accumulation(node.operation);
            let Some(partner) = partner else {
                if frozen && (is_optimizer || node.operation.phase == Phase::Backward) {
                    continue;
                }
                let is_frozen = is_optimizer && !self.is_updated(index, which);
                if is_frozen {
                    frozen_step = frozen_step.or(Some(node.operation.step));
                }
                if node.states.is_none() && !self.reaches_parameter(index, side) {
                    continue;
                }
                stream_moved |= node.states.is_some();
                let class = match (which, is_accumulation, is_optimizer) {
                    _ if node.states.is_some() => Class::Stream,
                    (_, true, _) => Class::GradientNotZeroed,
                    _ if is_frozen => Class::Frozen,
                    (_, _, true) => Class::Optimizer(node.canon.clone()),
                    (Which::A, ..) => Class::OnlyInA(step_name(side, &[index])),
                    (Which::B, ..) => Class::OnlyInB(step_name(side, &[index])),
                };
                let expander = self.expander(which);
                let detail = format!("only in {}: {}", side.label, call_text(&expander, index));
                let place = Some(place_of(side, index));
                let (a, b) = if which == Which::A {
                    (place, None)
                } else {
                    (None, place)
                };
                told.add_closure(which, side.closure(index));
                found.push(Found {
                    position,
                    departure: departure(class, a, b, vec![detail], side.closure(index).len() - 1),
                });
                continue;
            };
            let (p, r) = if which == Which::A {
                (end, partner)
            } else {
                (partner, end)
            };
            if used.contains(&(true, p)) || used.contains(&(false, r)) {
                // Told with an earlier cause of the same pair.
                continue;
            }
            used.extend([(which == Which::A, index), (true, p), (false, r)]);
            let mut explanation = self.explain(p, r);
            if frozen
                && matches!(explanation.class, Class::OnlyInA(_) | Class::OnlyInB(_))
                && node.operation.phase != Phase::Forward
            {
                continue;
            }
            if told.has(&explanation) {
                continue;
            }
            told.add_closure(which, side.closure(index));
            told.parts.extend(explanation.parts.iter().copied());
            stream_moved |= explanation.moves_stream;
            let extra = explanation.step_operation(self);
            let is_update = is_optimizer
                || extra
                    .as_ref()
                    .is_some_and(|(_, step)| step.phase == Phase::Optimizer);
            let is_plain = matches!(
                explanation.class,
                Class::Unknown | Class::Environment | Class::Dtype | Class::Optimizer(_)
            );
            if is_update && !is_plain {
                explanation.class = Class::Optimizer(match explanation.class.subject() {
                    Some(subject) if extra.is_some() => subject.to_owned(),
                    _ => step_name(side, &[index]),
                });
            }
            // A step that one side lacks is where it is, not where its value is used.
            // In an optimizer, what went in differs too.
            let places = explanation.places.filter(|_| !is_optimizer);
            let (mut at_a, mut at_b) = places.unwrap_or((p, r));
            if let Some((step, of)) = explanation.step {
                match of {
                    Which::A => at_a = step,
                    Which::B => at_b = step,
                }
            }
            found.push(Found {
                position: position.min(p as f64),
                departure: departure(
                    explanation.class,
                    Some(place_of(self.a, at_a)),
                    Some(place_of(self.b, at_b)),
                    explanation.details,
                    self.after(p, r),
                ),
            });
        }
        found
    }

    fn expander(&self, which: Which) -> Expander<'s, 'a> {
        let (side, other) = self.sides(which);
        Expander {
            side,
            other,
            weak: &self.keys.weak,
        }
    }

    fn next_bad(&self, index: usize, side: &Side<'a>) -> Option<usize> {
        let outputs = side.nodes[index].outputs.iter();
        outputs
            .filter_map(|(key, _)| {
                side.consumers(*key, index)
                    .iter()
                    .copied()
                    .find(|consumer| side.nodes[*consumer].bad)
            })
            .min()
    }

    /// The operation of the other side that ought to be this one: of the same kind, in the same pass, from the same values.
    fn partner(&self, index: usize, which: Which) -> Option<usize> {
        let (side, other) = self.sides(which);
        let node = &side.nodes[index];
        let pairs = if which == Which::A {
            &self.pairs
        } else {
            &self.back
        };
        let at = position_of(index, pairs);
        let shapes = |node: &Node<'_>| {
            node.outputs
                .iter()
                .map(|(_, tensor)| tensor.shape.clone())
                .collect::<Vec<_>>()
        };
        let shape = shapes(node);
        let deep = self.leaves(index, which, 5);
        let reverse = if which == Which::A {
            Which::B
        } else {
            Which::A
        };
        let mut best: Option<(f64, usize)> = None;
        for &candidate in other.bad_by_pass.get(&node.pass)? {
            let twin = &other.nodes[candidate];
            if !kin(&twin.canon, &node.canon) || twin.operation.phase != node.operation.phase {
                continue;
            }
            let same = twin.canon == node.canon;
            if !same && twin.inputs.len() != node.inputs.len() && is_arithmetic(&node.canon) {
                continue;
            }
            let near = 1.0 / (1.0 + (candidate as f64 - at).abs());
            let same_shapes = shapes(twin) == shape;
            let score = if node.states.is_some() || node.inputs.is_empty() {
                let same_start = match (node.states, twin.states) {
                    (Some((before, _)), Some((other, _))) => before == other,
                    _ => true,
                };
                if !same || !same_shapes || !same_start {
                    continue;
                }
                1.0 + near
            } else {
                let (mut shared, mut named) = (0, 0);
                for (input, other_input) in node.inputs.iter().zip(&twin.inputs) {
                    let is_shared = input.key == other_input.key
                        && !self.keys.weak.contains(&input.key)
                        && !self.is_drawn(input.key, index, side);
                    shared += i32::from(is_shared);
                    named += i32::from(
                        input.tensor.name.is_some() && input.tensor.name == other_input.tensor.name,
                    );
                }
                let more = deep
                    .intersection(&self.leaves(candidate, reverse, 5))
                    .count() as i32;
                if shared + named == 0 && (!same || !node.bad_input || more == 0) {
                    continue;
                }
                f64::from(
                    8 * i32::from(same) + 4 * shared + 3 * named + more + i32::from(same_shapes),
                ) + near
            };
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// Whether a value is a mask: drawn, and at most scaled.
    fn is_drawn(&self, key: Key, before: usize, side: &Side<'a>) -> bool {
        let mut producer = side.producer(key, before);
        for _ in 0..3 {
            let Some(index) = producer else { return false };
            let node = &side.nodes[index];
            if node.states.is_some() {
                return true;
            }
            producer = match &node.inputs[..] {
                [input] => side.producer(input.key, index),
                _ => None,
            };
        }
        false
    }

    /// The good values that a bad operation comes from.
    fn leaves(&self, index: usize, which: Which, depth: usize) -> HashSet<Key> {
        let (side, other) = self.sides(which);
        let mut found = HashSet::new();
        let mut todo = vec![(index, depth)];
        let mut budget = 200;
        while let Some((index, depth)) = todo.pop() {
            budget -= 1;
            if budget == 0 {
                break;
            }
            for input in &side.nodes[index].inputs {
                if other.has(input.key) {
                    if !self.keys.weak.contains(&input.key) {
                        found.insert(input.key);
                    }
                } else if depth > 0 {
                    todo.extend(
                        side.producer(input.key, index)
                            .map(|producer| (producer, depth - 1)),
                    );
                }
            }
        }
        found
    }

    /// Whether a bad operation ends in an output, a parameter or a buffer, and the other side has something bad from the same
    /// values. Otherwise the two sides met again.
    fn matters(&self, index: usize, which: Which) -> bool {
        let (side, other) = self.sides(which);
        if side.nodes[index].states.is_some() {
            return true;
        }
        let (mut shared, mut ends) = (HashSet::new(), false);
        for node in side.closure(index) {
            let x = &side.nodes[node];
            for input in &x.inputs {
                if other.has(input.key) && !self.keys.weak.contains(&input.key) {
                    shared.insert(input.key);
                }
            }
            if x.canon != "_to_copy" {
                let named = x.outputs.iter().any(|(_, tensor)| tensor.name.is_some());
                ends |= named
                    || !x
                        .outputs
                        .iter()
                        .any(|(key, _)| !side.consumers(*key, node).is_empty());
            }
        }
        let is_bad = |consumer: &usize| other.nodes[*consumer].bad;
        ends && shared
            .iter()
            .any(|key| other.all_consumers(*key).iter().any(is_bad))
    }

    /// Whether the other side's optimizers update the parameter that this operation updates.
    fn is_updated(&self, index: usize, which: Which) -> bool {
        let (side, other) = self.sides(which);
        let closure = side.closure(index);
        let mut updates = closure.iter().map(|node| &side.nodes[*node]);
        let update = updates.find(|node| {
            let mut outputs = node.outputs.iter();
            let is_parameter = |name: &str| !name.ends_with(".grad");
            node.operation.phase == Phase::Optimizer
                && outputs.any(|(_, tensor)| tensor.name.as_deref().is_some_and(is_parameter))
        });
        let Some(update) = update else { return false };
        let names: Vec<_> = update
            .outputs
            .iter()
            .filter_map(|(_, tensor)| tensor.name.as_ref())
            .collect();
        let inputs: Vec<Key> = update
            .inputs
            .iter()
            .filter(|input| input.tensor.name.is_some())
            .map(|input| input.key)
            .collect();
        other.nodes.iter().any(|node| {
            node.operation.phase == Phase::Optimizer
                && node.operation.writes().next().is_some()
                && (node.outputs.iter().any(|(_, tensor)| {
                    tensor
                        .name
                        .as_ref()
                        .is_some_and(|name| names.contains(&name))
                }) || node
                    .inputs
                    .iter()
                    .any(|input| input.tensor.name.is_some() && inputs.contains(&input.key)))
        })
    }

    /// Whether a parameter, a buffer or a gradient comes from a bad operation.
    fn reaches_parameter(&self, index: usize, side: &Side<'a>) -> bool {
        side.closure(index).into_iter().any(|node| {
            side.nodes[node]
                .outputs
                .iter()
                .any(|(_, tensor)| tensor.name.is_some())
        })
    }

    /// Programs without a backward pass, whose last results differ.
    fn ends(&self) -> Option<Found> {
        let last = |side: &'s Side<'a>| {
            let nodes = side.nodes.iter().enumerate().rev();
            let mut ends = nodes.filter(|(index, node)| {
                let strong = node
                    .outputs
                    .iter()
                    .any(|(key, _)| !self.keys.weak.contains(key));
                strong
                    && node
                        .outputs
                        .iter()
                        .all(|(key, _)| side.consumers(*key, *index).is_empty())
            });
            ends.next().map(|(index, _)| index)
        };
        let (a, b) = (last(self.a)?, last(self.b)?);
        let trains = |side: &Side<'a>| {
            side.nodes
                .iter()
                .any(|node| node.operation.phase == Phase::Backward)
        };
        if (!self.a.nodes[a].bad && !self.b.nodes[b].bad) || trains(self.a) || trains(self.b) {
            return None;
        }
        let (which, index, other) = if self.a.nodes[a].bad {
            (Which::A, a, b)
        } else {
            (Which::B, b, a)
        };
        let (side, _) = self.sides(which);
        let mut first = index;
        while let Some(producer) = side.nodes[first]
            .inputs
            .iter()
            .filter_map(|input| side.producer(input.key, first))
            .find(|producer| side.nodes[*producer].bad)
        {
            first = producer;
        }
        let name = step_name(side, &[first]);
        let (class, p, r) = match which {
            Which::A => (Class::OnlyInA(name), first, other),
            Which::B => (Class::OnlyInB(name), other, first),
        };
        let detail = format!(
            "only in {}: {}",
            side.label,
            call_text(&self.expander(which), first)
        );
        Some(Found {
            position: p as f64,
            departure: departure(
                class,
                Some(place_of(self.a, p)),
                Some(place_of(self.b, r)),
                vec![detail],
                0,
            ),
        })
    }

    /// The number of operations that differ after a pair.
    fn after(&self, p: usize, r: usize) -> usize {
        self.a
            .closure(p)
            .len()
            .max(self.b.closure(r).len())
            .saturating_sub(1)
    }

    // -- explanations ---------------------------------------------------------------------------

    fn explain(&self, p: usize, r: usize) -> Explanation {
        let sides = (self.a, self.b);
        let (x, y) = (&self.a.nodes[p], &self.b.nodes[r]);
        let mut explanation = Explanation::default();
        let (ea, eb) = (self.expander(Which::A), self.expander(Which::B));
        if x.canon != y.canon {
            explanation.class = Class::Exchanged(x.canon.clone(), y.canon.clone());
            explanation
                .details
                .push(format!("A computes {}", call_text(&ea, p)));
            explanation
                .details
                .push(format!("B computes {}", call_text(&eb, r)));
            self.refine(&mut explanation, x, y);
            return explanation;
        }
        for (name, (a, b)) in scalar_differences(sides, p, r) {
            explanation
                .details
                .push(format!("argument {name}: {a} in A, {b} in B"));
            explanation.propose(argument_class(&name));
        }
        // Tensors by their argument, where one side may have none.
        for input in &x.inputs {
            let Some(other) = y.inputs.iter().find(|other| other.name == input.name) else {
                explanation
                    .details
                    .push(format!("argument {} is a tensor only in A", input.name));
                explanation.propose(Class::Argument(input.name.clone()));
                continue;
            };
            if input.key == other.key {
                if input.tensor.shape != other.tensor.shape {
                    explanation.details.push(format!(
                        "argument {}: the same elements in shape {:?} in A, {:?} in B",
                        input.name, input.tensor.shape, other.tensor.shape
                    ));
                    explanation.propose(Class::Argument("shape".to_owned()));
                }
                continue;
            }
            if input.tensor.dtype != other.tensor.dtype {
                explanation.details.push(format!(
                    "argument {}: {} in A, {} in B",
                    input.name, input.tensor.dtype, other.tensor.dtype
                ));
                explanation.propose(Class::Dtype);
            }
            let a = ea.expand(input.key, input.tensor, p);
            let b = eb.expand(other.key, other.tensor, r);
            let mut parts = Vec::new();
            differences(&a, &b, sides, &mut parts);
            for part in parts.iter().take(3) {
                self.describe(part, &input.name, &mut explanation);
            }
        }
        for other in &y.inputs {
            if !x.inputs.iter().any(|input| input.name == other.name) {
                explanation
                    .details
                    .push(format!("argument {} is a tensor only in B", other.name));
                explanation.propose(Class::Argument(other.name.clone()));
            }
        }
        if explanation.details.is_empty() {
            explanation
                .details
                .push("the inputs and arguments are equal, the results differ".to_owned());
            let samples = x.outputs.first().zip(y.outputs.first());
            explanation.details.extend(
                samples.and_then(|((_, a), (_, b))| sample_difference(&a.sample, &b.sample)),
            );
            for (input, other) in x.inputs.iter().zip(&y.inputs) {
                if input.tensor.strides != other.tensor.strides {
                    explanation.details.push(format!(
                        "argument {} lies otherwise in memory: strides {:?} in A, {:?} in B",
                        input.name, input.tensor.strides, other.tensor.strides
                    ));
                }
            }
            explanation.class = if self.environment_differs {
                Class::Environment
            } else {
                Class::Unknown
            };
        } else if let Some(Some(detail)) = (matches!(explanation.class, Class::Argument(_)))
            .then(|| x.outputs.first().zip(y.outputs.first()))
            .map(|outputs| {
                outputs.and_then(|((_, a), (_, b))| sample_difference(&a.sample, &b.sample))
            })
        {
            explanation.details.push(detail);
        }
        self.refine(&mut explanation, x, y);
        explanation
    }

    /// What phases and modes say about a difference.
    fn refine(&self, explanation: &mut Explanation, x: &Node<'a>, y: &Node<'a>) {
        let is_optimizer = |node: &Node<'_>| node.operation.phase == Phase::Optimizer;
        let is_mode_step = matches!(&explanation.class, Class::OnlyInA(step) | Class::OnlyInB(step) if step == "dropout")
            || explanation.class == Class::Argument("training".to_owned());
        if let Some((Class::OnlyInA(_) | Class::OnlyInB(_), operation)) =
            explanation.step_operation(self)
        {
            if is_accumulation(operation) {
                explanation.class = Class::GradientNotZeroed;
                return;
            }
        }
        if let Some((extra, around)) = self.moved(explanation, x, y) {
            explanation.class = Class::Order(extra, around);
            return;
        }
        if (is_mode_step && self.modes_differ(explanation, x, y))
            || explanation.class == Class::Argument("training".to_owned())
        {
            explanation.class = Class::Mode;
        } else if is_optimizer(x)
            && is_optimizer(y)
            && !matches!(
                explanation.class,
                Class::Unknown | Class::Environment | Class::Dtype
            )
            && explanation
                .step_operation(self)
                .is_none_or(|(_, step)| step.phase == Phase::Optimizer)
        {
            let subject = explanation.class.subject().unwrap_or(&x.canon).to_owned();
            explanation.class = Class::Optimizer(subject);
        }
    }

    /// Whether the step that one side has before an operation comes after it on the other.
    fn moved(
        &self,
        explanation: &Explanation,
        x: &Node<'a>,
        y: &Node<'a>,
    ) -> Option<(String, String)> {
        let (step, which) = explanation.step?;
        if !matches!(explanation.class, Class::OnlyInA(_) | Class::OnlyInB(_)) {
            return None;
        }
        let (side, _) = self.sides(which);
        let name = &side.nodes[step].canon;
        let follows = |side: &Side<'a>, node: &Node<'a>| {
            let outputs = node.outputs.iter();
            let mut consumers = outputs.flat_map(|(key, _)| side.all_consumers(*key));
            consumers.any(|consumer| {
                side.nodes[*consumer].canon == *name && side.nodes[*consumer].pass == node.pass
            })
        };
        let (with, without) = match which {
            Which::A => (follows(self.a, x), follows(self.b, y)),
            Which::B => (follows(self.b, y), follows(self.a, x)),
        };
        (without && !with).then(|| (name.clone(), x.canon.clone()))
    }

    /// Whether the module that has a dropout is there on the other side, in evaluation mode.
    fn modes_differ(&self, explanation: &Explanation, x: &Node<'a>, y: &Node<'a>) -> bool {
        if x.operation.eval != y.operation.eval {
            return true;
        }
        let Some((step, which)) = explanation.step else {
            return false;
        };
        let (side, other) = self.sides(which);
        let eval_in =
            |side: &Side<'a>| side.nodes.iter().filter(|node| node.operation.eval).count();
        // Only in evaluation mode: a module without operations leaves no line.
        !side.nodes[step].operation.eval && eval_in(side) == 0 && eval_in(other) > 0
    }

    fn describe(&self, difference: &Difference<'_>, argument: &str, explanation: &mut Explanation) {
        match difference {
            Difference::Scalar { a, b, name, values } => {
                explanation.places = explanation.places.or(Some((*a, *b)));
                let node = &self.a.nodes[*a];
                explanation.details.push(format!(
                    "argument {name} of {}: {} in A, {} in B",
                    node.canon, values.0, values.1
                ));
                explanation.propose(argument_class(name));
            }
            Difference::Result { a, b } => {
                explanation.places = explanation.places.or(Some((*a, *b)));
                explanation.details.push(format!(
                    "{} gives other results of equal inputs and arguments",
                    self.a.nodes[*a].canon
                ));
                explanation.propose(if self.environment_differs {
                    Class::Environment
                } else {
                    Class::Unknown
                });
            }
            Difference::Part(a, b) => {
                explanation.parts.push((a.key, b.key));
                let texts = (a.text(self.a, 3), b.text(self.b, 3));
                explanation.details.push(format!(
                    "argument {argument}: {} in A, {} in B",
                    texts.0, texts.1
                ));
                let steps = match (a.contains(b.key), b.contains(a.key)) {
                    (true, _) => Some((Which::A, a.path_to(b.key))),
                    (_, true) => Some((Which::B, b.path_to(a.key))),
                    _ => None,
                };
                match steps {
                    Some((which, steps)) if !steps.is_empty() => {
                        self.extra_steps(which, &steps, explanation);
                    }
                    Some(_) => {}
                    None => self.other_values(a, b, argument, explanation),
                }
            }
        }
    }

    /// Names the steps between a value and one that it is computed from, outermost first.
    fn extra_steps(&self, which: Which, path: &[usize], explanation: &mut Explanation) {
        let (side, _) = self.sides(which);
        let is_copy =
            |index: &usize| matches!(side.nodes[*index].canon.as_str(), "clone" | "contiguous");
        let select = |keep: &dyn Fn(&usize) -> bool| {
            path.iter().copied().filter(keep).collect::<Vec<usize>>()
        };
        // What computes; else what moves elements; else any.
        let mut steps = select(&|index| !side.nodes[*index].view && !is_copy(index));
        if steps.is_empty() {
            steps = select(&|index| !is_copy(index) && side.nodes[*index].canon != "view");
        }
        if steps.is_empty() {
            steps = path.to_vec();
        }
        if steps
            .iter()
            .all(|step| side.nodes[*step].canon == "_to_copy")
        {
            explanation.propose(Class::Dtype);
            return;
        }
        let is_dropout = steps.iter().any(|step| {
            let node = &side.nodes[*step];
            node.states.is_some()
                || node
                    .inputs
                    .iter()
                    .any(|input| self.is_drawn(input.key, *step, side))
        });
        explanation.moves_stream |= is_dropout;
        let name = match is_dropout {
            true => "dropout".to_owned(),
            false => step_name(side, &steps),
        };
        explanation.step = explanation
            .step
            .or(steps.last().copied().map(|step| (step, which)));
        explanation.propose(match which {
            Which::A => Class::OnlyInA(name),
            Which::B => Class::OnlyInB(name),
        });
    }

    fn other_values(
        &self,
        a: &Expression,
        b: &Expression,
        argument: &str,
        explanation: &mut Explanation,
    ) {
        let class = match (a.node, b.node) {
            (Some(p), Some(r)) if self.a.nodes[p].canon != self.b.nodes[r].canon => {
                explanation.places = explanation.places.or(Some((p, r)));
                Class::Exchanged(self.a.nodes[p].canon.clone(), self.b.nodes[r].canon.clone())
            }
            _ if a.dtype != b.dtype => Class::Dtype,
            (None, None) if a.origin.is_none() && b.origin.is_none() => match (&a.name, &b.name) {
                (None, None) if self.b.has(a.key) && self.a.has(b.key) => Class::DataOrder,
                (None, None) => Class::Data,
                (Some(x), Some(y)) if x == y => Class::Weights,
                _ => Class::Input(argument.to_owned()),
            },
            _ => Class::Input(argument.to_owned()),
        };
        explanation.propose(class);
    }
}

struct Explanation {
    class: Class,
    details: Vec<String>,
    /// The step that only one side has.
    step: Option<(usize, Which)>,
    moves_stream: bool,
    proposed: bool,
    /// The operations that differ, if they are not the pair itself.
    places: Option<(usize, usize)>,
    /// The pairs of values that differ.
    parts: Vec<(Key, Key)>,
}

/// What was reported.
#[derive(Default)]
struct Told {
    /// Operation, module, line and step of causes.
    steps: HashMap<(bool, String, Option<SharedStr>, Option<SharedStr>, Phase), u32>,
    closures: HashSet<(bool, usize)>,
    parts: HashSet<(Key, Key)>,
}

impl Told {
    /// Whether a cause is that of an earlier step again. Remembers it.
    fn is_repeated(&mut self, node: &Node<'_>, which: Which) -> bool {
        let operation = node.operation;
        let key = (
            which == Which::A,
            node.canon.clone(),
            operation.module.clone(),
            operation.at.clone(),
            operation.phase,
        );
        let first = *self.steps.entry(key).or_insert(operation.step);
        first < operation.step
    }

    fn add_closure(&mut self, which: Which, nodes: Vec<usize>) {
        self.closures
            .extend(nodes.into_iter().map(|node| (which == Which::A, node)));
    }

    /// Whether all that differs was reported: a consequence.
    fn has(&self, explanation: &Explanation) -> bool {
        let is_step = explanation
            .step
            .is_some_and(|(step, which)| self.closures.contains(&(which == Which::A, step)));
        let only_parts =
            !explanation.parts.is_empty() && explanation.parts.len() == explanation.details.len();
        is_step
            || (only_parts
                && explanation
                    .parts
                    .iter()
                    .all(|part| self.parts.contains(part)))
    }
}

impl Default for Explanation {
    fn default() -> Explanation {
        Explanation {
            class: Class::Unknown,
            details: Vec::new(),
            step: None,
            moves_stream: false,
            proposed: false,
            places: None,
            parts: Vec::new(),
        }
    }
}

impl Explanation {
    /// The first class that is found stays.
    fn propose(&mut self, class: Class) {
        if !self.proposed {
            self.class = class;
            self.proposed = true;
        }
    }

    fn step_operation<'a>(&self, finder: &Finder<'_, 'a>) -> Option<(Class, &'a Operation)> {
        let (step, which) = self.step?;
        Some((
            self.class.clone(),
            finder.sides(which).0.nodes[step].operation,
        ))
    }
}

fn argument_class(name: &str) -> Class {
    match name {
        "dtype" => Class::Dtype,
        other => Class::Argument(other.to_owned()),
    }
}

fn is_accumulation(operation: &Operation) -> bool {
    operation
        .node
        .as_deref()
        .is_some_and(|node| node.contains("AccumulateGrad"))
}

/// A name for steps: that of the outermost.
fn step_name(side: &Side<'_>, steps: &[usize]) -> String {
    steps
        .first()
        .map_or_else(String::new, |step| side.nodes[*step].canon.clone())
}

/// Where a node would be on the other side.
fn position_of(index: usize, pairs: &[Option<usize>]) -> f64 {
    let before = pairs[..=index].iter().rev().find_map(|pair| *pair);
    before.map_or(-1.0, |position| position as f64)
}

fn call_text(expander: &Expander<'_, '_>, index: usize) -> String {
    let node = &expander.side.nodes[index];
    let mut parts: Vec<String> = node
        .inputs
        .iter()
        .take(6)
        .map(|input| {
            expander
                .expand(input.key, input.tensor, index)
                .text(expander.side, 2)
        })
        .collect();
    if node.inputs.len() > 6 {
        parts.push("...".to_owned());
    }
    parts.extend(shown_scalars(expander.side, index));
    format!("{}({})", node.canon, parts.join(", "))
}

fn place_of(side: &Side<'_>, index: usize) -> Place {
    let node = &side.nodes[index];
    let operation = node.operation;
    let forward = operation
        .forward
        .and_then(|forward| side.trace.operations.get(forward));
    let backward_of = forward.map(|forward| {
        let mut text = forward.schema();
        if let Some(module) = &forward.module {
            text += &format!(" in {module}");
        }
        if let Some(at) = &forward.at {
            text += &format!(" at {at}");
        }
        text
    });
    let scalars = shown_scalars(side, index);
    let updated = operation
        .writes()
        .find_map(|(_, tensor)| tensor.name.as_deref());
    Place {
        index: operation.index,
        call: format!("{}({})", node.canon, scalars.join(", ")),
        module: operation
            .module
            .as_deref()
            .or(forward.and_then(|forward| forward.module.as_deref()))
            .map(str::to_owned),
        at: operation.at.as_deref().map(str::to_owned),
        step: operation.step,
        phase: match operation.phase {
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::Optimizer => "optimizer",
        },
        parameter: operation
            .parameter
            .as_deref()
            .or(updated)
            .map(str::to_owned),
        backward_of,
    }
}

/// The largest difference of the elements that both traces sample.
fn sample_difference(a: &[f64], b: &[f64]) -> Option<String> {
    if a.len() != b.len() || a.is_empty() {
        return None;
    }
    let difference = a
        .iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max);
    let largest = a.iter().chain(b).map(|x| x.abs()).fold(0.0, f64::max);
    (difference > 0.0 && difference.is_finite()).then(|| {
        format!(
            "of {} sampled elements, the largest difference is {difference:.3e} (the largest value {largest:.3e})",
            a.len()
        )
    })
}

fn departure(
    class: Class,
    a: Option<Place>,
    b: Option<Place>,
    details: Vec<String>,
    consequences: usize,
) -> Departure {
    Departure {
        class,
        a,
        b,
        details,
        consequences,
        similar: 0,
    }
}

/// Joins departures of one kind at the same lines.
fn merge(found: Vec<Found>) -> Vec<Departure> {
    let mut merged: Vec<Departure> = Vec::new();
    for Found { departure, .. } in found {
        let lines = |departure: &Departure| {
            [&departure.a, &departure.b]
                .map(|place| place.as_ref().map(|place| (place.at.clone(), place.phase)))
        };
        let modules = |departure: &Departure| {
            [&departure.a, &departure.b].map(|place| {
                place
                    .as_ref()
                    .map(|place| (place.module.clone(), place.call.clone()))
            })
        };
        let same_kind = |a: &Departure, b: &Departure| match a.class {
            Class::Weights | Class::Environment => a.class == b.class,
            // Where both have a place, both are the same lines.
            Class::Optimizer(_) | Class::GradientNotZeroed | Class::Frozen => {
                let is_same = |(x, y): (Option<_>, Option<_>)| x.is_none() || y.is_none() || x == y;
                a.class.name() == b.class.name() && lines(a).into_iter().zip(lines(b)).all(is_same)
            }
            _ => a.class == b.class && modules(a) == modules(b),
        };
        match merged.iter_mut().find(|known| same_kind(known, &departure)) {
            Some(known) => known.similar += 1,
            None => merged.push(departure),
        }
    }
    merged
}
