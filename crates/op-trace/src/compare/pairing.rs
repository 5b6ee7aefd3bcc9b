//! Pairs the operations of two traces.

use super::class::Class;
use super::expression::{Expander, scalar_differences};
use super::names::Names;
use super::side::{Key, Keys, Node, Pairs, Side, canon};
use crate::calls::Site;
use crate::{Phase, SharedStr};
use std::collections::HashSet;

/// A node of A and one of B.
pub type Origins = (Option<usize>, Option<usize>);

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
    &["lerp", "add"],
];

fn kin(a: &str, b: &str) -> bool {
    a == b
        || KIN
            .iter()
            .any(|kind| kind.contains(&a) && kind.contains(&b))
}

/// Whether an operation may take a number or a tensor.
pub fn is_arithmetic(canon: &str) -> bool {
    matches!(canon, "add" | "sub" | "mul" | "div" | "rsub")
}

/// Nodes in the order of their distance from a position, of two at one distance the first first.
fn outward(nodes: &[u32], at: f64) -> impl Iterator<Item = usize> {
    let split = nodes.partition_point(|node| f64::from(*node) < at);
    let (before, after) = nodes.split_at(split);
    let (mut before, mut after) = (before.iter().rev().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        let is_before = match (before.peek(), after.peek()) {
            (Some(node), Some(other)) => at - f64::from(**node) <= f64::from(**other) - at,
            (first, _) => first.is_some(),
        };
        let next = if is_before {
            before.next()
        } else {
            after.next()
        };
        next.map(|node| *node as usize)
    })
}

/// One of the two traces.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    A,
    B,
}

impl Which {
    pub fn other(self) -> Which {
        match self {
            Which::A => Which::B,
            Which::B => Which::A,
        }
    }

    /// What is of A and what is of B, of this side's own and the other's.
    pub fn in_order<T>(self, own: T, other: T) -> (T, T) {
        match self {
            Which::A => (own, other),
            Which::B => (other, own),
        }
    }

    /// The class of a step that only this side has.
    pub fn only(self, step: String) -> Class {
        match self {
            Which::A => Class::OnlyInA(step),
            Which::B => Class::OnlyInB(step),
        }
    }
}

/// How many operations are considered to be the same as another one.
const MAX_CANDIDATES: usize = 3;

/// Two traces, and which of their operations are the same.
pub struct Pairing<'s, 'a> {
    pub a: &'s Side<'a>,
    pub b: &'s Side<'a>,
    pub keys: &'s Keys,
    pub names: &'s Names,
    pub environment_differs: bool,
    /// Where each node of A would be in B, and the reverse.
    pub pairs: Pairs,
    pub back: Pairs,
}

impl<'s, 'a> Pairing<'s, 'a> {
    pub fn new(
        a: &'s Side<'a>,
        b: &'s Side<'a>,
        keys: &'s Keys,
        names: &'s Names,
        environment_differs: bool,
    ) -> Pairing<'s, 'a> {
        Pairing {
            a,
            b,
            keys,
            names,
            environment_differs,
            pairs: a.pairs(b),
            back: b.pairs(a),
        }
    }

    pub fn sides(&self, which: Which) -> (&'s Side<'a>, &'s Side<'a>) {
        match which {
            Which::A => (self.a, self.b),
            Which::B => (self.b, self.a),
        }
    }

    /// Whether a name of one side and one of the other are those of the same parameter, buffer or gradient.
    pub fn is_same_name(
        &self,
        which: Which,
        own: Option<&SharedStr>,
        other: Option<&SharedStr>,
    ) -> bool {
        let (Some(own), Some(other)) = (own, other) else {
            return false;
        };
        let (a, b) = which.in_order(own, other);
        self.names.is_same(a.as_str(), b.as_str())
    }

    /// Whether two operations are in modules that have other parameters.
    fn are_other_modules(&self, which: Which, own: &Site, other: &Site) -> bool {
        let (Some(own), Some(other)) = (&own.module, &other.module) else {
            return false;
        };
        let (a, b) = which.in_order(own, other);
        self.names.are_others(a.as_str(), b.as_str())
    }

    /// Whether two operations write different parameters or buffers.
    pub fn update_others(&self, which: Which, own: &Site, other: &Site) -> bool {
        let (Some(own), Some(other)) = (&own.updated, &other.updated) else {
            return false;
        };
        let (a, b) = which.in_order(own, other);
        self.names.are_different(a.as_str(), b.as_str())
    }

    /// Whether two operations of backward passes belong to operations of one kind in forward passes, of which both sides have the results,
    /// and which are not the same.
    fn are_of_others(&self, (own, which): (usize, Which), twin: usize) -> bool {
        let (side, other) = self.sides(which);
        let (Some(own), Some(twin)) = (side.forward_of(own), other.forward_of(twin)) else {
            return false;
        };
        let is_made_by = |side: &Side<'a>, node: usize, other: &Side<'a>, twin: usize| {
            let mut outputs = side
                .outputs(node)
                .filter(|key| !self.keys.weak.contains(key));
            outputs.next().is_none_or(|key| {
                let mut makers = other.makers(key);
                makers.len() == 0 || makers.any(|maker| maker == twin)
            })
        };
        side.canon(own) == other.canon(twin)
            && (!is_made_by(side, own, other, twin) || !is_made_by(other, twin, side, own))
    }

    pub fn expander(&self, which: Which) -> Expander<'s, 'a> {
        let (side, other) = self.sides(which);
        Expander {
            side,
            other,
            weak: &self.keys.weak,
        }
    }

    pub fn next_bad(&self, index: usize, side: &Side<'a>) -> Option<usize> {
        let node = side.node(index);
        let outputs = node.outputs.iter();
        outputs
            .filter_map(|(key, _)| {
                // Ones are met again in each pass.
                let is_weak = self.keys.weak.contains(key);
                let last = node.pass.number + 1;
                side.consumers(*key, index).find(|consumer| {
                    side.is_bad(*consumer) && !(is_weak && side.pass(*consumer).number > last)
                })
            })
            .min()
    }

    /// The operation of the other side that ought to be this one: of the same kind, in the same pass, from the same values.
    ///
    /// Of several, one that has this one as its best is better than the best.
    pub fn partner(&self, index: usize, which: Which) -> Option<usize> {
        let twin = self.with_other_arguments(index, which);
        if twin.is_some() {
            return twin;
        }
        let candidates = self.candidates(index, which);
        let is_mutual = |candidate: &usize| {
            let back = self.candidates(*candidate, which.other());
            back.first().is_none_or(|(_, first)| *first == index)
        };
        let (_, best) = *candidates.first()?;
        let mut nearly = candidates.iter().map(|(_, candidate)| *candidate);
        Some(nearly.find(is_mutual).unwrap_or(best))
    }

    /// The operation of the same values in the same pass with other arguments whose result this side has, too, by chance: the sum of zeros and a
    /// gradient. No operation of this side is the same as it.
    fn with_other_arguments(&self, index: usize, which: Which) -> Option<usize> {
        let (side, other) = self.sides(which);
        let node = &side.node(index);
        if node.states.is_some() || node.view {
            return None;
        }
        let keys = |node: &Node<'a>| {
            node.inputs
                .iter()
                .map(|input| input.key)
                .collect::<Vec<_>>()
        };
        let own = keys(node);
        let mut taken = other.all_consumers(*own.first()?);
        taken.find(|twin| {
            let (p, r) = which.in_order(index, *twin);
            !other.is_bad(*twin)
                && other.pass(*twin) == node.pass
                && other.canon(*twin) == node.canon
                && other.operation(*twin).phase == node.operation.phase
                && keys(&other.node(*twin)) == own
                && !scalar_differences((self.a, self.b), p, r).is_empty()
                && !other.has_twin(*twin, side)
        })
    }

    /// The best candidates with their scores, best first.
    fn candidates(&self, index: usize, which: Which) -> Vec<(f64, usize)> {
        let (side, other) = self.sides(which);
        let node = &side.node(index);
        let pairs = if which == Which::A {
            &self.pairs
        } else {
            &self.back
        };
        let at = pairs.position(index);
        let shapes = |node: &Node<'_>| {
            node.outputs
                .iter()
                .map(|(_, tensor)| tensor.shape.clone())
                .collect::<Vec<_>>()
        };
        let shape = shapes(node);
        let deep = self.leaves(index, which, 5);
        let is_shared =
            |key: Key| !self.keys.weak.contains(&key) && !self.is_drawn(key, index, side);
        let by_values = node.states.is_none() && !node.inputs.is_empty();
        // No candidate has a higher score, but for its distance.
        let most = if by_values {
            let inputs = node.inputs.iter();
            let scores = inputs.map(|input| {
                let shared = other.has(input.key) && is_shared(input.key);
                4 * usize::from(shared) + 3 * usize::from(input.tensor.name.is_some())
            });
            9 + scores.sum::<usize>() + deep.len()
        } else {
            1
        };
        let mut best: Vec<(f64, usize)> = Vec::new();
        let nodes = other.bad_by_pass.get(&node.pass);
        for candidate in outward(nodes.map_or(&[], Vec::as_slice), at) {
            let near = 1.0 / (1.0 + (candidate as f64 - at).abs());
            if best
                .first()
                .is_some_and(|(highest, _)| *highest >= most as f64 + near)
            {
                break;
            }
            let site = other.operation(candidate).site;
            let kind = canon(site.name.as_str()).unwrap_or_default();
            if !kin(kind, node.canon) || site.phase != node.operation.phase {
                continue;
            }
            if self.are_other_modules(which, node.operation.site, site)
                || self.are_of_others((index, which), candidate)
                || self.update_others(which, node.operation.site, site)
            {
                continue;
            }
            let twin = &other.node(candidate);
            let same = twin.canon == node.canon;
            if !same && twin.inputs.len() != node.inputs.len() && is_arithmetic(node.canon) {
                continue;
            }
            let same_shapes = shapes(twin) == shape;
            let score = if !by_values {
                let same_start = match (node.states, twin.states) {
                    (Some((before, _)), Some((other, _))) => before == other,
                    _ => true,
                };
                // A draw of another number of elements is one, too.
                let is_draw = node.states.is_some() && twin.states.is_some();
                if !same || !same_start || !(same_shapes || is_draw) {
                    continue;
                }
                f64::from(u8::from(same_shapes)) + near
            } else {
                let (mut shared, mut named) = (0, 0);
                for (input, other_input) in node.inputs.iter().zip(&twin.inputs) {
                    shared += i32::from(input.key == other_input.key && is_shared(input.key));
                    named += i32::from(self.is_same_name(
                        which,
                        input.tensor.name.as_ref(),
                        other_input.tensor.name.as_ref(),
                    ));
                }
                let more = deep
                    .intersection(&self.leaves(candidate, which.other(), 5))
                    .count() as i32;
                let by_leaves = same && same_shapes && node.bad_input && more > 0;
                if shared + named == 0 && !by_leaves {
                    continue;
                }
                f64::from(
                    8 * i32::from(same) + 4 * shared + 3 * named + more + i32::from(same_shapes),
                ) + near
            };
            let at = best.partition_point(|(other, _)| *other >= score);
            best.insert(at, (score, candidate));
            best.truncate(MAX_CANDIDATES);
        }
        best
    }

    /// Whether a value is a mask: drawn, and at most scaled.
    pub fn is_drawn(&self, key: Key, before: usize, side: &Side<'a>) -> bool {
        self.drawn_by(key, before, side).is_some()
    }

    /// The operation that drew a value.
    pub fn drawn_by(&self, key: Key, before: usize, side: &Side<'a>) -> Option<&'a str> {
        let mut producer = side.producer(key, before);
        for _ in 0..3 {
            let index = producer?;
            let node = &side.node(index);
            if node.states.is_some() {
                return Some(node.canon);
            }
            producer = match &node.inputs[..] {
                [input] => side.producer(input.key, index),
                _ => None,
            };
        }
        None
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
            for input in &side.node(index).inputs {
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
    pub fn matters(&self, index: usize, which: Which) -> bool {
        let (side, other) = self.sides(which);
        if side.node(index).states.is_some() {
            return true;
        }
        let (mut shared, mut ends) = (false, false);
        let is_loss = |side: &Side<'a>, key: Key| {
            let mut taken = side.all_consumers(key);
            taken.any(|taken| side.canon(taken) == "ones_like")
        };
        // The loss of one program is a part of that of the other.
        let is_only_loss = |key: Key| is_loss(other, key) && !is_loss(side, key);
        // Where one program begins its backward pass at a sum, and the other at what is summed, with ones, the sum is not an output.
        let is_summed_root = |x: &Node<'a>| {
            let inputs = x.inputs.iter();
            x.canon == "sum" && inputs.take(1).any(|input| is_loss(other, input.key))
        };
        side.walk(index).any(|node| {
            let x = side.node(node);
            shared |= x.inputs.iter().any(|input| {
                !self.keys.weak.contains(&input.key)
                    && other.has(input.key)
                    && (other.is_taken_by_bad(input.key) || is_only_loss(input.key))
            });
            if x.canon != "_to_copy" {
                let named = x.outputs.iter().any(|(_, tensor)| tensor.name.is_some());
                let mut outputs = x.outputs.iter();
                // A loss is an output: the backward pass begins with its shape, not its value.
                let is_output = |key: Key| {
                    let mut consumers = side.consumers(key, node);
                    !is_summed_root(&x) && consumers.all(|taken| side.canon(taken) == "ones_like")
                };
                ends |= named || outputs.all(|(key, _)| is_output(*key));
            }
            shared && ends
        })
    }

    /// Whether the other side's optimizers update the parameter that this operation updates.
    pub fn is_updated(&self, index: usize, which: Which) -> bool {
        let (side, other) = self.sides(which);
        let closure = side.closure(index);
        let mut updates = closure.iter().map(|node| side.node(node));
        let update = updates.find(|node| {
            let mut outputs = node.outputs.iter();
            let is_parameter = |name: &SharedStr| !name.as_str().ends_with(".grad");
            node.operation.phase == Phase::Optimizer
                && outputs.any(|(_, tensor)| tensor.name.as_ref().is_some_and(is_parameter))
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
        let updates = (0..other.len()).filter(|node| {
            let operation = other.operation(*node);
            operation.phase == Phase::Optimizer && operation.writes
        });
        updates.map(|node| other.node(node)).any(|node| {
            node.outputs.iter().any(|(_, tensor)| {
                let name = tensor.name.as_ref();
                names
                    .iter()
                    .any(|own| self.is_same_name(which, Some(*own), name))
            }) || node
                .inputs
                .iter()
                .any(|input| input.tensor.name.is_some() && inputs.contains(&input.key))
        })
    }

    /// Whether a parameter, a buffer or a gradient comes from a bad operation.
    pub fn reaches_parameter(&self, index: usize, side: &Side<'a>) -> bool {
        side.walk(index).any(|node| {
            side.node(node)
                .outputs
                .iter()
                .any(|(_, tensor)| tensor.name.is_some())
        })
    }

    /// The number of operations that differ after a node of each side, of the side that has more.
    pub fn after(&self, from: Origins) -> usize {
        let in_a = from.0.map_or(0, |node| self.a.closure(node).len());
        let in_b = from.1.map_or(0, |node| self.b.closure(node).len());
        in_a.max(in_b).saturating_sub(1)
    }
}
