//! Explains what differs between two operations that ought to be the same.

use super::class::Class;
use super::departure::{call_text, sample_difference, step_name};
use super::expression::{Difference, Expression, differences, scalar_differences};
use super::pairing::{Pairing, Which};
use super::side::{Key, Node, Side};
use crate::Phase;
use crate::calls::{Call, Site};

impl<'s, 'a> Pairing<'s, 'a> {
    pub fn explain(&self, p: usize, r: usize) -> Explanation {
        let sides = (self.a, self.b);
        let (in_a, in_b) = (self.a.label, self.b.label);
        let (x, y) = (&self.a.node(p), &self.b.node(r));
        let mut explanation = Explanation::default();
        let (ea, eb) = (self.expander(Which::A), self.expander(Which::B));
        let is_other = x.canon != y.canon;
        if (is_other || self.updates_one(x, y))
            && let Some((step, which)) = self.precedes(p, r)
        {
            let (side, _) = self.sides(which);
            explanation.step = Some((step, which));
            explanation.class = match which {
                Which::A => Class::OnlyInA(side.node(step).canon.to_owned()),
                Which::B => Class::OnlyInB(side.node(step).canon.to_owned()),
            };
            explanation.details.push(format!(
                "only in {}: {}",
                side.label,
                call_text(&self.expander(which), step)
            ));
            self.refine(&mut explanation, x, y);
            return explanation;
        }
        if is_other {
            explanation.class = Class::Exchanged(x.canon.to_owned(), y.canon.to_owned());
            explanation
                .details
                .push(format!("{in_a} computes {}", call_text(&ea, p)));
            explanation
                .details
                .push(format!("{in_b} computes {}", call_text(&eb, r)));
            self.refine(&mut explanation, x, y);
            return explanation;
        }
        let other_elements = x
            .inputs
            .iter()
            .zip(&y.inputs)
            .any(|(input, other)| input.key != other.key);
        for (name, (a, b)) in scalar_differences(sides, p, r) {
            // The shape follows from what goes in.
            if x.view && y.view && name == "size" && other_elements {
                continue;
            }
            explanation
                .details
                .push(format!("argument {name}: {a} in {in_a}, {b} in {in_b}"));
            explanation.propose(argument_class(&name));
        }
        // Tensors by their argument, where one side may have none.
        for input in &x.inputs {
            let Some(other) = y.inputs.iter().find(|other| other.name == input.name) else {
                explanation.details.push(format!(
                    "argument {} is a tensor only in {in_a}",
                    input.name
                ));
                explanation.propose(Class::Argument(input.name.to_owned()));
                continue;
            };
            if input.key == other.key {
                if input.tensor.shape != other.tensor.shape {
                    explanation.details.push(format!(
                        "argument {}: the same elements in shape {:?} in {in_a}, {:?} in {in_b}",
                        input.name, input.tensor.shape, other.tensor.shape
                    ));
                    explanation.propose(Class::Argument("shape".to_owned()));
                }
                continue;
            }
            if input.tensor.dtype != other.tensor.dtype {
                explanation.details.push(format!(
                    "argument {}: {} in {in_a}, {} in {in_b}",
                    input.name, input.tensor.dtype, other.tensor.dtype
                ));
                explanation.propose(Class::Dtype);
            }
            let a = ea.expand(input.key, input.tensor, p);
            let b = eb.expand(other.key, other.tensor, r);
            let mut parts = Vec::new();
            differences(&a, &b, sides, &mut parts);
            for part in parts.iter().take(3) {
                self.describe(part, input.name, (p, r), &mut explanation);
            }
        }
        for other in &y.inputs {
            if !x.inputs.iter().any(|input| input.name == other.name) {
                explanation.details.push(format!(
                    "argument {} is a tensor only in {in_b}",
                    other.name
                ));
                explanation.propose(Class::Argument(other.name.to_owned()));
            }
        }
        if explanation.details.is_empty() {
            explanation
                .details
                .push("the inputs and arguments are equal, the results differ".to_owned());
            explanation.details.extend(self.result_difference(p, r));
            for (input, other) in x.inputs.iter().zip(&y.inputs) {
                if input.tensor.strides != other.tensor.strides {
                    explanation.details.push(format!(
                        "argument {} lies otherwise in memory: strides {:?} in {in_a}, {:?} in {in_b}",
                        input.name, input.tensor.strides, other.tensor.strides
                    ));
                }
            }
            explanation.class = if self.environment_differs {
                Class::Environment
            } else {
                Class::Unknown
            };
        } else if matches!(explanation.class, Class::Argument(_)) {
            explanation.details.extend(self.result_difference(p, r));
        }
        self.refine(&mut explanation, x, y);
        explanation
    }

    /// The largest difference of the sampled elements of two first results.
    fn result_difference(&self, p: usize, r: usize) -> Option<String> {
        sample_difference(&self.a.output_sample(p), &self.b.output_sample(r))
    }

    /// What phases and modes say about a difference.
    fn refine(&self, explanation: &mut Explanation, x: &Node<'a>, y: &Node<'a>) {
        let is_optimizer = |node: &Node<'_>| node.operation.phase == Phase::Optimizer;
        let is_mode_step = matches!(&explanation.class, Class::OnlyInA(step) | Class::OnlyInB(step) if step == "dropout")
            || explanation.class == Class::Argument("training".to_owned());
        let is_step = matches!(explanation.class, Class::OnlyInA(_) | Class::OnlyInB(_));
        let step = explanation.step_operation(self);
        if is_step && step.is_some_and(|(_, operation)| is_accumulation(operation.site)) {
            explanation.class = Class::GradientNotZeroed;
            return;
        }
        if explanation.is_there {
            return;
        }
        if let Some((extra, around)) = self.moved(explanation, x, y) {
            explanation.class = Class::Order(extra, around);
            return;
        }
        let has_modules = x.operation.site.module.is_some() && y.operation.site.module.is_some();
        let is_other_path = matches!(
            explanation.class,
            Class::OnlyInA(_) | Class::OnlyInB(_) | Class::Exchanged(..) | Class::Argument(_)
        );
        if (is_mode_step && self.modes_differ(explanation, x, y))
            || (is_other_path && has_modules && x.operation.site.eval != y.operation.site.eval)
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
            let subject = explanation.class.subject().unwrap_or(x.canon).to_owned();
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
        let name = side.node(step).canon;
        let follows = |side: &Side<'a>, node: &Node<'a>| {
            let outputs = node.outputs.iter();
            let mut consumers = outputs.flat_map(|(key, _)| side.all_consumers(*key));
            consumers.any(|consumer| {
                side.node(consumer).canon == name && side.pass(consumer) == node.pass
            })
        };
        let (with, without) = match which {
            Which::A => (follows(self.a, x), follows(self.b, y)),
            Which::B => (follows(self.b, y), follows(self.a, x)),
        };
        // Or it is as often on both sides, elsewhere.
        let count = |side: &Side<'a>| {
            let pass = side.pass(step.min(side.len().saturating_sub(1)));
            (0..side.len())
                .filter(|node| side.pass(*node) == pass && side.node(*node).canon == name)
                .count()
        };
        let computes = side.node(step).states.is_none() && !side.node(step).view;
        let is_forward = side.operation(step).phase == Phase::Forward;
        let as_often = computes && is_forward && count(self.a) == count(self.b);
        ((without && !with) || as_often).then(|| (name.to_owned(), x.canon.to_owned()))
    }

    /// Whether only one of two operations updates a parameter: the other one's result is used for it.
    fn updates_one(&self, x: &Node<'a>, y: &Node<'a>) -> bool {
        let updates = |node: &Node<'a>| {
            let site = node.operation.site;
            site.phase == Phase::Optimizer && site.writes && site.updated.is_some()
        };
        updates(x) != updates(y)
    }

    /// Of two operations of the same values, the one that only comes before the other's twin: `_softmax` before `_log_softmax`.
    fn precedes(&self, p: usize, r: usize) -> Option<(usize, Which)> {
        let is_followed = |side: &Side<'a>, node: usize, canon: &str| {
            let outputs = side.node(node).outputs;
            outputs.iter().any(|(key, _)| {
                side.all_consumers(*key).any(|consumer| {
                    consumer > node
                        && side.pass(consumer) == side.pass(node)
                        && side.node(consumer).canon == canon
                })
            })
        };
        let (x, y) = (self.a.node(p), self.b.node(r));
        if is_followed(self.b, r, x.canon) {
            return Some((r, Which::B));
        }
        is_followed(self.a, p, y.canon).then_some((p, Which::A))
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
        let eval_in = |side: &Side<'a>| {
            (0..side.len())
                .filter(|node| side.operation(*node).eval)
                .count()
        };
        // Only in evaluation mode: a module without operations leaves no line.
        !side.node(step).operation.eval && eval_in(side) == 0 && eval_in(other) > 0
    }

    fn describe(
        &self,
        difference: &Difference<'_>,
        argument: &str,
        at: (usize, usize),
        explanation: &mut Explanation,
    ) {
        let (in_a, in_b) = (self.a.label, self.b.label);
        match difference {
            Difference::Scalar { a, b, name, .. }
                if name == "size" && self.a.node(*a).view && self.b.node(*b).view => {}
            Difference::Scalar { a, b, name, values } => {
                explanation.places = explanation.places.or(Some((*a, *b)));
                let node = &self.a.node(*a);
                explanation.details.push(format!(
                    "argument {name} of {}: {} in {in_a}, {} in {in_b}",
                    node.canon, values.0, values.1
                ));
                explanation.propose(argument_class(name));
            }
            Difference::Result { a, b } => {
                explanation.places = explanation.places.or(Some((*a, *b)));
                explanation.details.push(format!(
                    "{} gives other results of equal inputs and arguments",
                    self.a.node(*a).canon
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
                    "argument {argument}: {} in {in_a}, {} in {in_b}",
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
                    None => self.other_values(a, b, argument, at, explanation),
                }
            }
        }
    }

    /// Names the steps between a value and one that it is computed from, outermost first.
    fn extra_steps(&self, which: Which, path: &[usize], explanation: &mut Explanation) {
        let (side, _) = self.sides(which);
        let is_copy = |index: &usize| matches!(side.node(*index).canon, "clone" | "contiguous");
        let select = |keep: &dyn Fn(&usize) -> bool| {
            path.iter().copied().filter(keep).collect::<Vec<usize>>()
        };
        // What computes; else what moves elements; else any.
        let mut steps = select(&|index| !side.node(*index).view && !is_copy(index));
        if steps.is_empty() {
            steps = select(&|index| !is_copy(index) && side.node(*index).canon != "view");
        }
        if steps.is_empty() {
            steps = path.to_vec();
        }
        if steps
            .iter()
            .all(|step| side.node(*step).canon == "_to_copy")
        {
            explanation.propose(Class::Dtype);
            return;
        }
        if let (Some(twin), Some(step)) = (
            self.same_values_otherwise(which, &steps),
            steps.last().copied(),
        ) {
            let (p, r) = which.in_order(step, twin);
            explanation.places = explanation.places.or(Some((p, r)));
            explanation.is_there = true;
            for (name, (a, b)) in scalar_differences((self.a, self.b), p, r) {
                explanation.details.push(format!(
                    "argument {name} of {}: {a} in {}, {b} in {}",
                    side.canon(step),
                    self.a.label,
                    self.b.label
                ));
                explanation.propose(argument_class(&name));
            }
            explanation.propose(Class::Input(step_name(side, &steps)));
            return;
        }
        let is_dropout = steps.iter().any(|step| {
            let node = &side.node(*step);
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
        explanation
            .steps
            .extend(steps.last().map(|step| (*step, which)));
        explanation.step = explanation
            .step
            .or(steps.last().copied().map(|step| (step, which)));
        explanation.propose(match which {
            Which::A => Class::OnlyInA(name),
            Which::B => Class::OnlyInB(name),
        });
    }

    /// The operation of the other side that takes the same values as a step, in another order or with other arguments.
    fn same_values_otherwise(&self, which: Which, steps: &[usize]) -> Option<usize> {
        let (side, other) = self.sides(which);
        let [step] = steps else { return None };
        let sorted = |side: &Side<'a>, node: usize| {
            let inputs = side.node(node).inputs;
            let mut keys: Vec<Key> = inputs.iter().map(|input| input.key).collect();
            keys.sort_unstable();
            keys
        };
        let (node, keys) = (side.node(*step), sorted(side, *step));
        let mut twins = other.all_consumers(*keys.first()?);
        let twin = twins.find(|twin| {
            let (canon, pass) = (other.canon(*twin), other.pass(*twin));
            canon == node.canon && pass == node.pass && sorted(other, *twin) == keys
        })?;
        let (p, r) = which.in_order(*step, twin);
        let is_other = keys.len() > 1 || !scalar_differences((self.a, self.b), p, r).is_empty();
        is_other.then_some(twin)
    }

    /// The values from outside that a value comes from, and the operations between, in order.
    fn outside(&self, key: Key, before: usize, side: &Side<'a>) -> Option<(Vec<&'a str>, Key)> {
        let (mut key, mut before) = (key, before);
        let mut path = Vec::new();
        loop {
            let Some(index) = side.producer(key, before) else {
                return Some((path, key));
            };
            let node = side.node(index);
            if node.states.is_some() || path.len() > MAX_PATH {
                return None;
            }
            path.push(node.canon);
            // What is neither a parameter nor drawn.
            let mut inputs = node.inputs.iter().filter(|input| {
                let is_parameter = input.tensor.name.is_some();
                !is_parameter && !self.is_drawn(input.key, index, side)
            });
            key = inputs.next()?.key;
            before = index;
        }
    }

    /// Whether two values that both sides have come from data that both have, which is in another order.
    fn is_other_batch(&self, a: (Key, usize), b: (Key, usize)) -> bool {
        let both_have = self.b.has(a.0) && self.a.has(b.0);
        let outside = || {
            let (path_a, a) = self.outside(a.0, a.1, self.a)?;
            let (path_b, b) = self.outside(b.0, b.1, self.b)?;
            Some(path_a == path_b && a != b && self.b.has(a) && self.a.has(b))
        };
        both_have && outside().unwrap_or(false)
    }

    /// The operation that wrote a parameter last, before another one.
    fn last_write(&self, name: &str, before: usize, side: &Side<'a>) -> Option<usize> {
        let writes = |node: &usize| {
            let site = side.operation(*node).site;
            let updated = site.updated.as_ref();
            site.writes && updated.is_some_and(|updated| updated.as_str() == name)
        };
        (0..before).rev().find(writes)
    }

    /// Whether a parameter that differs was written last by another operation on one side.
    fn written_otherwise(
        &self,
        a: &Expression,
        b: &Expression,
        at: (usize, usize),
    ) -> Option<(usize, usize)> {
        let (name_a, name_b) = (a.name.as_ref()?, b.name.as_ref()?);
        if !self.names.is_same(name_a, name_b) {
            return None;
        }
        let p = self.last_write(name_a, at.0, self.a)?;
        let r = self.last_write(name_b, at.1, self.b)?;
        (self.a.canon(p) != self.b.canon(r)).then_some((p, r))
    }

    fn other_values(
        &self,
        a: &Expression,
        b: &Expression,
        argument: &str,
        at: (usize, usize),
        explanation: &mut Explanation,
    ) {
        if let Some((p, r)) = self.written_otherwise(a, b, at) {
            // Where both once wrote it alike, the other write is additional.
            let name = a.name.as_deref().unwrap_or_default();
            let twin = b.name.as_deref().unwrap_or_default();
            let has = |side: &Side<'a>, name: &str, canon: &str| {
                (0..side.len()).any(|node| {
                    let site = side.operation(node).site;
                    let updated = site.updated.as_ref();
                    side.canon(node) == canon
                        && updated.is_some_and(|updated| updated.as_str() == name)
                })
            };
            let (canon_a, canon_b) = (self.a.canon(p), self.b.canon(r));
            if has(self.b, twin, canon_a) {
                explanation.step = Some((r, Which::B));
                explanation.propose(Class::OnlyInB(canon_b.to_owned()));
            } else if has(self.a, name, canon_b) {
                explanation.step = Some((p, Which::A));
                explanation.propose(Class::OnlyInA(canon_a.to_owned()));
            } else {
                explanation.places = explanation.places.or(Some((p, r)));
                explanation.propose(Class::Exchanged(canon_a.to_owned(), canon_b.to_owned()));
            }
            return;
        }
        let unnamed = a.name.is_none() && b.name.is_none();
        if unnamed && self.is_other_batch((a.key, at.0), (b.key, at.1)) {
            explanation.propose(Class::DataOrder);
            return;
        }
        let class = match (a.node, b.node) {
            (Some(p), Some(r)) if self.a.node(p).canon != self.b.node(r).canon => {
                explanation.places = explanation.places.or(Some((p, r)));
                Class::Exchanged(
                    self.a.node(p).canon.to_owned(),
                    self.b.node(r).canon.to_owned(),
                )
            }
            _ if a.dtype != b.dtype => Class::Dtype,
            (None, None) if a.origin.is_none() && b.origin.is_none() => match (&a.name, &b.name) {
                (None, None) if self.b.has(a.key) && self.a.has(b.key) => Class::DataOrder,
                (None, None) => Class::Data,
                (Some(x), Some(y)) if self.names.is_same(x, y) => Class::Weights,
                _ => Class::Input(argument.to_owned()),
            },
            _ => Class::Input(argument.to_owned()),
        };
        explanation.propose(class);
    }
}

/// The longest way from an operation to the data that it comes from.
const MAX_PATH: usize = 64;

/// What differs between two operations.
pub struct Explanation {
    pub class: Class,
    pub details: Vec<String>,
    /// The step that only one side has.
    pub step: Option<(usize, Which)>,
    /// All such steps.
    pub steps: Vec<(usize, Which)>,
    pub moves_stream: bool,
    /// Whether the other side has the step with other arguments.
    pub is_there: bool,
    pub proposed: bool,
    /// The operations that differ, if they are not the pair itself.
    pub places: Option<(usize, usize)>,
    /// The pairs of values that differ.
    pub parts: Vec<(Key, Key)>,
}

impl Default for Explanation {
    fn default() -> Explanation {
        Explanation {
            class: Class::Unknown,
            details: Vec::new(),
            step: None,
            steps: Vec::new(),
            moves_stream: false,
            is_there: false,
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

    pub fn step_operation<'a>(&self, finder: &Pairing<'_, 'a>) -> Option<(Class, Call<'a>)> {
        let (step, which) = self.step?;
        Some((self.class.clone(), finder.sides(which).0.operation(step)))
    }
}

fn argument_class(name: &str) -> Class {
    match name {
        "dtype" => Class::Dtype,
        other => Class::Argument(other.to_owned()),
    }
}

/// Whether an operation adds to a gradient.
pub fn is_accumulation(site: &Site) -> bool {
    site.node
        .as_ref()
        .is_some_and(|node| node.as_str().contains("AccumulateGrad"))
}
