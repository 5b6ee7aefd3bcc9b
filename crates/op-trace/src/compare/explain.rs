//! Explains what differs between two operations that ought to be the same.

use super::class::Class;
use super::departure::{call_text, sample_difference, step_name};
use super::expression::{Difference, Expression, differences, scalar_differences};
use super::pairing::{Pairing, Which, is_arithmetic};
use super::side::{Input, Key, Node, Pass, Side, copies, is_quiet};
use crate::calls::{Call, Site};
use crate::{Phase, Value};
use std::collections::HashSet;

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
            explanation.class = which.only(side.node(step).canon.to_owned());
            explanation.details.push(format!(
                "only in {}: {}",
                side.label,
                call_text(&self.expander(which), step)
            ));
            self.refine(&mut explanation, x, y);
            return explanation;
        }
        if is_other && let Some((step, which)) = self.takes_result(p, r) {
            let name = self.sides(which).0.canon(step).to_owned();
            self.only_there(step, which, ("", name), &mut explanation);
            return explanation;
        }
        if is_other && let Some(products) = self.products(p, r) {
            self.describe_products(products, (p, r), &mut explanation);
            self.refine(&mut explanation, x, y);
            return explanation;
        }
        if is_other && let Some((name, p, r)) = self.values_exchanged(p, r) {
            let (own, twin) = (&self.a.node(p), &self.b.node(r));
            let texts = [(&ea, own, p), (&eb, twin, r)].map(|(expander, node, at)| {
                let input = node.inputs.iter().find(|input| input.name == name);
                input.map_or_else(String::new, |input| {
                    expander
                        .expand(input.key, input.tensor, at)
                        .text(expander.side, 3)
                })
            });
            explanation.details.push(format!(
                "argument {name} of {}: {} in {in_a}, {} in {in_b}, where {} takes the other one",
                own.canon, texts[0], texts[1], y.canon
            ));
            explanation.places = Some((p, r));
            explanation.propose(Class::Input(name.to_owned()));
            return explanation;
        }
        if is_other {
            explanation.class = match self.other_order(p, r) {
                Some((first, second)) => Class::Order(first, second),
                None => Class::Exchanged(x.canon.to_owned(), y.canon.to_owned()),
            };
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
        if let Some((step, which)) = self.extra_view(p, r).or_else(|| self.extra_factor(p, r)) {
            let name = self.sides(which).0.canon(step).to_owned();
            self.only_there(step, which, ("", name), &mut explanation);
            return explanation;
        }
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
        if let Some((term, which)) = self.extra_term(p, r) {
            let name = step_name(self.sides(which).0, &[term]);
            self.only_there(term, which, ("the term ", name), &mut explanation);
            return explanation;
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
                let shapes = (&input.tensor.shape[..], &other.tensor.shape[..]);
                if shapes.0 != shapes.1
                    && !self.other_shape(input.key, shapes, x.pass, &mut explanation)
                {
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
                // Values that both have, of other operations, are two values.
                let made = |side: &Side<'a>, key: Key, before: usize| {
                    let maker = side.producer(key, before)?;
                    Some(side.canon(maker)).filter(|canon| *canon != "_to_copy")
                };
                let are_two = self.b.has(input.key)
                    && self.a.has(other.key)
                    && made(self.a, input.key, p)
                        .zip(made(self.b, other.key, r))
                        .is_some_and(|(a, b)| a != b);
                if !are_two {
                    explanation.propose(Class::Dtype);
                }
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
            self.only_argument(p, r, &mut explanation);
            self.other_draw(x, y, &mut explanation);
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

    /// Describes a step that only one side has.
    fn only_there(
        &self,
        step: usize,
        which: Which,
        (kind, name): (&str, String),
        explanation: &mut Explanation,
    ) {
        let (side, _) = self.sides(which);
        let call = call_text(&self.expander(which), step);
        explanation
            .details
            .push(format!("only in {}: {kind}{call}", side.label));
        explanation.step = Some((step, which));
        explanation.steps.push((step, which));
        explanation.propose(which.only(name));
    }

    /// Of two views of one value with other arguments, the one after which the other one follows: a transposition more.
    fn extra_view(&self, p: usize, r: usize) -> Option<(usize, Which)> {
        let (x, y) = (self.a.node(p), self.b.node(r));
        let ([own], [other]) = (&x.inputs[..], &y.inputs[..]) else {
            return None;
        };
        let sides = (self.a, self.b);
        if !x.view || !y.view || own.key != other.key || scalar_differences(sides, p, r).is_empty()
        {
            return None;
        }
        let is_before = |which: Which, node: usize, twin: usize| {
            is_followed(self.sides(which).0, node, |next| {
                let (p, r) = which.in_order(next, twin);
                self.a.canon(p) == self.b.canon(r) && scalar_differences(sides, p, r).is_empty()
            })
        };
        match (is_before(Which::A, p, r), is_before(Which::B, r, p)) {
            (true, false) => Some((p, Which::A)),
            (false, true) => Some((r, Which::B)),
            _ => None,
        }
    }

    /// Of two chains of operations with a number, the first one that only one side has: `2 * (3 * x)` against `2 * x`.
    fn extra_factor(&self, p: usize, r: usize) -> Option<(usize, Which)> {
        let chain = |side: &Side<'a>, node: usize| {
            let mut chain = Vec::new();
            let mut next = Some(node);
            while let Some(node) = next.filter(|_| chain.len() < 8) {
                let this = side.node(node);
                let number = this
                    .scalars
                    .iter()
                    .find_map(|(name, value)| (*name == "other").then(|| value.as_number())?);
                let is_step = matches!(this.canon, "mul" | "div" | "add" | "sub")
                    && this.inputs.len() == 1
                    && side.operation(node).phase == Phase::Forward;
                let (Some(number), true) = (number, is_step) else {
                    break;
                };
                chain.push((node, (this.canon, number.to_bits())));
                let [(key, _)] = &this.outputs[..] else { break };
                let mut taken = side.consumers(*key, node);
                next = (taken.len() == 1).then(|| taken.next()).flatten();
            }
            chain
        };
        let (in_a, in_b) = (chain(self.a, p), chain(self.b, r));
        let (longer, shorter, which) = match in_a.len().cmp(&in_b.len()) {
            std::cmp::Ordering::Greater => (in_a, in_b, Which::A),
            std::cmp::Ordering::Less => (in_b, in_a, Which::B),
            std::cmp::Ordering::Equal => return None,
        };
        // Without the extra steps, the longer chain is the shorter one.
        let mut rest = shorter.iter().peekable();
        let mut extra = None;
        for (node, step) in longer {
            if rest.next_if(|(_, other)| *other == step).is_none() {
                extra.get_or_insert(node);
            }
        }
        let is_rest_of_it = !shorter.is_empty() && rest.next().is_none();
        extra.filter(|_| is_rest_of_it).map(|node| (node, which))
    }

    /// Of two operations of one value, the first one and its twin, if both programs have both operations and each gives the other one's value to it:
    /// the argument that takes it.
    fn values_exchanged(&self, p: usize, r: usize) -> Option<(&'a str, usize, usize)> {
        let (x, y) = (self.a.node(p), self.b.node(r));
        let ([own], [other]) = (&x.inputs[..], &y.inputs[..]) else {
            return None;
        };
        if own.key != other.key {
            return None;
        }
        let same = |side: &'s Side<'a>, canon: &'a str, like: &Node<'a>| {
            let nodes = side.of_pass(like.pass).filter(|node| {
                side.is_bad(*node) && side.canon(*node) == canon && !side.has_bad_input(*node)
            });
            nodes
                .filter_map(|node| match &side.node(node).inputs[..] {
                    [input] if input.key != own.key => Some((node, input.key)),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        // In B, the operation of A takes another value, to which A applies that of B.
        let in_b = same(self.b, x.canon, &y);
        let in_a = same(self.a, y.canon, &x);
        let (twin, _) = in_b
            .into_iter()
            .find(|(_, key)| in_a.iter().any(|(_, other)| other == key))?;
        Some((own.name, p, twin))
    }

    /// An argument that only one of two operations has: they are overloads of one.
    fn only_argument(&self, p: usize, r: usize, explanation: &mut Explanation) {
        let shown = |side: &Side<'a>, node: usize, other: &Side<'a>, twin: usize| {
            let (scalars, others) = (side.node(node).scalars, other.node(twin).scalars);
            let is_only = |name: &str| !others.iter().any(|(other, _)| *other == name);
            let mut only = scalars.into_iter().filter(|(name, value)| {
                let is_default = matches!(value, Value::None | Value::Bool(false));
                is_only(name) && !is_default && !is_quiet(name)
            });
            only.next()
                .map(|(name, value)| (name.to_owned(), value.to_string()))
        };
        let in_a = shown(self.a, p, self.b, r);
        let in_b = shown(self.b, r, self.a, p);
        for (found, label) in [(in_a, self.a.label), (in_b, self.b.label)] {
            if let Some((name, value)) = found {
                explanation
                    .details
                    .push(format!("argument {name}: {value} only in {label}"));
                explanation.propose(argument_class(&name));
            }
        }
    }

    /// Draws at other places of the stream, where the other program draws something else.
    fn other_draw(&self, x: &Node<'a>, y: &Node<'a>, explanation: &mut Explanation) {
        let (Some((in_a, _)), Some((in_b, _))) = (x.states, y.states) else {
            return;
        };
        if in_a == in_b {
            if elements(x) != elements(y) {
                explanation.details.push(self.counts(x, y));
                explanation.propose(Class::Stream);
            }
            return;
        }
        let mut nodes = 0..self.b.len();
        let there = nodes.find(|node| {
            let states = self.b.draw(*node);
            states.is_some_and(|(before, _)| before == in_a)
        });
        let (class, detail) = match there.map(|node| self.b.canon(node)) {
            Some(other) if other != x.canon => (
                Class::Order(x.canon.to_owned(), other.to_owned()),
                format!(
                    "where {} draws with {}, {} draws with {other}",
                    self.a.label, x.canon, self.b.label
                ),
            ),
            _ => (
                Class::Stream,
                "the draws begin at other places of the stream".to_owned(),
            ),
        };
        explanation.details.push(detail);
        explanation.propose(class);
    }

    /// Describes how what two matrix products multiply differs.
    fn describe_products(
        &self,
        products: [(&str, Input<'a>, Input<'a>); 2],
        (p, r): (usize, usize),
        explanation: &mut Explanation,
    ) {
        for (name, a, b) in products {
            let a = self.expander(Which::A).expand(a.key, a.tensor, p);
            let b = self.expander(Which::B).expand(b.key, b.tensor, r);
            let mut parts = Vec::new();
            differences(&a, &b, (self.a, self.b), &mut parts);
            for part in parts.iter().take(3) {
                self.describe(part, name, (p, r), explanation);
            }
        }
    }

    /// What two matrix products multiply, with and without a bias, if that differs.
    fn products(&self, p: usize, r: usize) -> Option<[(&'a str, Input<'a>, Input<'a>); 2]> {
        let factors = |side: &Side<'a>, node: usize| {
            let node = side.node(node);
            let factors = match node.canon {
                "mm" => ["self", "mat2"],
                "addmm" => ["mat1", "mat2"],
                "bmm" => ["self", "mat2"],
                "baddbmm" => ["batch1", "batch2"],
                _ => return None,
            };
            let mut inputs = node
                .inputs
                .into_iter()
                .filter(|input| factors.contains(&input.name));
            Some([inputs.next()?, inputs.next()?])
        };
        let ([a, c], [b, d]) = (factors(self.a, p)?, factors(self.b, r)?);
        (a.key != b.key || c.key != d.key).then_some([(a.name, a, b), (c.name, c, d)])
    }

    /// Of two sums in a backward pass, the term that only one of them has, whatever the order: a way to a value that only one program's
    /// gradient takes.
    fn extra_term(&self, p: usize, r: usize) -> Option<(usize, Which)> {
        let is_sum = |side: &Side<'a>, node: usize| {
            let operation = side.operation(node);
            side.canon(node) == "add"
                && operation.phase == Phase::Backward
                && !is_accumulation(operation.site)
        };
        if !is_sum(self.a, p) || !is_sum(self.b, r) {
            return None;
        }
        // A term may be added first on one side and last on the other.
        let outermost = |side: &Side<'a>, mut sum: usize| {
            while let Some(next) = self
                .next_bad(sum, side)
                .filter(|next| is_sum(side, *next) && side.pass(*next) == side.pass(sum))
            {
                sum = next;
            }
            sum
        };
        let (p, r) = (outermost(self.a, p), outermost(self.b, r));
        // A sum that the other sum has as a whole is not opened.
        let terms = |side: &Side<'a>, node: usize| {
            let mut terms: Vec<(Key, usize)> = Vec::new();
            let mut todo = vec![node];
            while let Some(node) = todo.pop() {
                for input in side.node(node).inputs {
                    match side.producer(input.key, node) {
                        Some(made) if is_sum(side, made) && side.is_bad(made) && todo.len() < 8 => {
                            todo.push(made);
                        }
                        Some(made) => terms.push((input.key, made)),
                        None => return None,
                    }
                }
            }
            Some(terms)
        };
        let (mut a, mut b) = (terms(self.a, p)?, terms(self.b, r)?);
        let of_a: Vec<Key> = a.iter().map(|(key, _)| *key).collect();
        let of_b: Vec<Key> = b.iter().map(|(key, _)| *key).collect();
        a.retain(|(key, _)| !of_b.contains(key));
        b.retain(|(key, _)| !of_a.contains(key));
        match (&a[..], &b[..]) {
            ([(_, term)], []) => Some((*term, Which::A)),
            ([], [(_, term)]) => Some((*term, Which::B)),
            _ => None,
        }
    }

    /// The largest difference of the sampled elements of two first results.
    fn result_difference(&self, p: usize, r: usize) -> Option<String> {
        sample_difference(&self.a.output_sample(p), &self.b.output_sample(r))
    }

    /// What phases and modes say about a difference.
    fn refine(&self, explanation: &mut Explanation, x: &Node<'a>, y: &Node<'a>) {
        let is_optimizer = |node: &Node<'_>| node.operation.phase == Phase::Optimizer;
        let is_mode_step = matches!(&explanation.class, Class::OnlyInA(step) | Class::OnlyInB(step) if step == "dropout");
        let is_step = matches!(explanation.class, Class::OnlyInA(_) | Class::OnlyInB(_));
        let step = explanation.step_operation(self);
        if is_step && step.is_some_and(|(_, operation)| is_accumulation(operation.site)) {
            explanation.class = Class::GradientNotZeroed;
            return;
        }
        if explanation.class == Class::Argument("training".to_owned()) {
            explanation.class = Class::Mode;
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
            Class::OnlyInA(_)
                | Class::OnlyInB(_)
                | Class::Exchanged(..)
                | Class::Argument(_)
                | Class::Input(_)
        );
        if (is_mode_step && self.modes_differ(explanation, x, y))
            || (is_other_path && has_modules && x.operation.site.eval != y.operation.site.eval)
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
            && explanation.places.is_none_or(|(p, r)| {
                [self.a.operation(p), self.b.operation(r)]
                    .iter()
                    .any(|operation| operation.phase == Phase::Optimizer)
            })
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
        let name = side.canon(step);
        // A step by a tensor or another number is not the same.
        let numbers = |side: &Side<'a>, node: usize| {
            let scalars = side.node(node).scalars.into_iter();
            let numbers = scalars.filter_map(|(_, value)| value.as_number());
            numbers.map(f64::to_bits).collect::<Vec<_>>()
        };
        let own = numbers(side, step);
        let is_same = |side: &Side<'a>, node: usize| {
            side.canon(node) == name && (!is_arithmetic(name) || numbers(side, node) == own)
        };
        let follows = |side: &Side<'a>, node: &Node<'a>| {
            let outputs = node.outputs.iter();
            let mut consumers = outputs.flat_map(|(key, _)| side.all_consumers(*key));
            consumers.any(|consumer| is_same(side, consumer) && side.pass(consumer) == node.pass)
        };
        let (with, without) = match which {
            Which::A => (follows(self.a, x), follows(self.b, y)),
            Which::B => (follows(self.b, y), follows(self.a, x)),
        };
        // Or it is as often on both sides, elsewhere.
        let number = side.pass(step).number;
        let count = |side: &Side<'a>| {
            // Before or after an update of gradients.
            let nodes = side.of_number(number);
            let same = nodes.filter(|node| is_same(side, *node));
            same.filter(|node| side.operation(*node).phase == Phase::Forward)
                .count()
        };
        let computes = side.node(step).states.is_none() && !side.node(step).view;
        let is_forward = side.operation(step).phase == Phase::Forward;
        // Sums of tensors are many.
        let is_any_sum = is_arithmetic(name) && side.node(step).inputs.len() > 1;
        let as_often = computes && is_forward && count(self.a) == count(self.b);
        let is_other = match is_any_sum {
            true => !x.view && !is_arithmetic(x.canon),
            false => name != x.canon,
        };
        (is_other && ((without && !with) || as_often))
            .then(|| (name.to_owned(), x.canon.to_owned()))
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
        let (in_a, in_b) = (self.a.canon(p), self.b.canon(r));
        if is_followed(self.b, r, |next| self.b.canon(next) == in_a) {
            return Some((r, Which::B));
        }
        is_followed(self.a, p, |next| self.a.canon(next) == in_b).then_some((p, Which::A))
    }

    /// Of two operations, the one that takes what the other one gives: a step more, such as one after an update.
    fn takes_result(&self, p: usize, r: usize) -> Option<(usize, Which)> {
        let takes = |own: &Node<'a>, other: &Side<'a>, node: usize| {
            let mut inputs = own.inputs.iter().map(|input| input.key);
            inputs.any(|key| {
                !self.keys.weak.contains(&key) && other.outputs(node).any(|made| made == key)
            })
        };
        if takes(&self.a.node(p), self.b, r) {
            return Some((p, Which::A));
        }
        takes(&self.b.node(r), self.a, p).then_some((r, Which::B))
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
            Difference::Result { a, b } if self.begin_elsewhere(*a, *b) => {
                let (class, places, detail) = self.other_draw_class().unwrap_or_else(|| {
                    let detail = "the draws begin at other places of the stream";
                    (Class::Stream, (*a, *b), detail.to_owned())
                });
                explanation.places = explanation.places.or(Some(places));
                explanation.moves_stream = true;
                explanation.details.push(detail);
                explanation.propose(class);
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
                if let (Some(p), Some(r)) = (a.node, b.node)
                    && self.a.canon(p) != self.b.canon(r)
                    && let Some(products) = self.products(p, r)
                {
                    // Whether the product adds the bias depends on how its factors lie in memory.
                    self.describe_products(products, (p, r), explanation);
                    return;
                }
                if let Some((p, r)) = self.drawn_otherwise(a, b) {
                    explanation.parts.push((a.key, b.key));
                    explanation
                        .details
                        .push(self.counts(&self.a.node(p), &self.b.node(r)));
                    explanation.places = explanation.places.or(Some((p, r)));
                    explanation.moves_stream = true;
                    explanation.propose(Class::Stream);
                    return;
                }
                explanation.parts.push((a.key, b.key));
                let texts = (a.text(self.a, 3), b.text(self.b, 3));
                explanation.details.push(format!(
                    "argument {argument}: {} in {in_a}, {} in {in_b}",
                    texts.0, texts.1
                ));
                let steps = match (a.contains(b.key), b.contains(a.key)) {
                    (true, _) => Some((Which::A, self.own_steps(a.path_to(b.key), b, Which::A))),
                    (_, true) => Some((Which::B, self.own_steps(b.path_to(a.key), a, Which::B))),
                    _ => self.opened(a, b),
                };
                let steps = steps.or_else(|| {
                    let steps = self.further(a, b, at)?;
                    explanation.ahead = a.origin.zip(b.origin);
                    Some(steps)
                });
                let steps = steps.or_else(|| {
                    let shared = self.shared_step(a, b, at)?;
                    explanation.is_there = true;
                    Some(shared)
                });
                match steps {
                    Some((which, steps)) if !steps.is_empty() => {
                        self.extra_steps(which, &steps, explanation);
                        let whole = match which {
                            Which::A => a,
                            Which::B => b,
                        };
                        let mut nodes = Vec::new();
                        whole.nodes(&mut nodes);
                        let covered = nodes.into_iter().map(|node| (node, which));
                        explanation.covered.extend(covered);
                    }
                    Some(_) => {}
                    None => self.other_values(a, b, argument, at, explanation),
                }
            }
        }
    }

    /// The draws that two values come from, if they begin at one place of the stream and give different numbers of elements.
    fn drawn_otherwise(&self, a: &Expression, b: &Expression) -> Option<(usize, usize)> {
        let draw = |side: &Side<'a>, value: &Expression| {
            let mut nodes = Vec::new();
            value.nodes(&mut nodes);
            nodes.extend(value.origin);
            nodes.into_iter().find(|node| side.draw(*node).is_some())
        };
        let (p, r) = (draw(self.a, a)?, draw(self.b, b)?);
        let is_other = self.a.canon(p) == self.b.canon(r)
            && self.begin_alike(p, r)
            && !self.draw_as_many(p, r);
        is_other.then_some((p, r))
    }

    /// Whether two operations draw from other places of the stream.
    fn begin_elsewhere(&self, p: usize, r: usize) -> bool {
        self.a.draw(p).is_some() && self.b.draw(r).is_some() && !self.begin_alike(p, r)
    }

    /// Whether two draws give the same numbers of elements.
    pub fn draw_as_many(&self, p: usize, r: usize) -> bool {
        elements(&self.a.node(p)) == elements(&self.b.node(r))
    }

    fn counts(&self, x: &Node<'a>, y: &Node<'a>) -> String {
        let [in_a, in_b] = [x, y].map(|node| elements(node).iter().sum::<i64>());
        format!(
            "{} draws {in_a} elements in {}, {in_b} in {}",
            x.canon, self.a.label, self.b.label
        )
    }

    /// The steps that one side has and the other lacks, from the other's value on. The last step may be on both sides and change nothing on
    /// the other: a number that is too small to change what it is added to.
    fn own_steps(&self, mut path: Vec<usize>, other: &Expression, which: Which) -> Vec<usize> {
        if let (Some(twin), [step, _, ..]) = (other.origin, &path[..]) {
            let (p, r) = which.in_order(*step, twin);
            let (x, y) = (self.a.node(p), self.b.node(r));
            let is_same = x.canon == y.canon
                && x.pass == y.pass
                && is_arithmetic(x.canon)
                && x.inputs.len() == y.inputs.len()
                && !x.scalars.is_empty()
                && scalar_differences((self.a, self.b), p, r).is_empty();
            if is_same {
                path.remove(0);
            }
        }
        path
    }

    /// The steps that one side has before an operation, where the other side's result does not depart, since both have it elsewhere:
    /// `exp(mul(x))` and `exp(x)`.
    fn opened(&self, a: &Expression, b: &Expression) -> Option<(Which, Vec<usize>)> {
        let (which, whole, part, opened) = match (a.node, b.node) {
            (Some(node), None) => (Which::A, a, b, node),
            (None, Some(node)) => (Which::B, b, a, node),
            _ => return None,
        };
        let (side, other) = self.sides(which);
        let origin = part.origin?;
        let (node, twin) = (side.node(opened), other.node(origin));
        if node.canon != twin.canon
            || node.view
            || node.pass != twin.pass
            || node.inputs.len() != twin.inputs.len()
        {
            return None;
        }
        let (p, r) = which.in_order(opened, origin);
        if !scalar_differences((self.a, self.b), p, r).is_empty() {
            return None;
        }
        let inputs = whole.inputs.iter().zip(&twin.inputs);
        let mut differ = inputs.filter(|((_, input), other)| input.key != other.key);
        let ((_, input), other) = differ.next()?;
        let is_one = differ.next().is_none() && input.contains(other.key);
        is_one.then(|| (which, input.path_to(other.key)))
    }

    /// The steps that one side has between two values of a parameter or buffer, each of which both sides have at some time: an iteration
    /// more, after which the other side is a pass later.
    fn further(
        &self,
        a: &Expression,
        b: &Expression,
        at: (usize, usize),
    ) -> Option<(Which, Vec<usize>)> {
        let is_same = self.names.is_same(a.name.as_ref()?, b.name.as_ref()?);
        if !is_same || self.written_otherwise(a, b, at).is_some() {
            return None;
        }
        let path = |side: &Side<'a>, from: Key, to: &Expression, before: usize| {
            let number = side.pass(before).number;
            let mut seen = HashSet::new();
            let mut todo = vec![(to.key, before, Vec::new())];
            while let Some((key, before, path)) = todo.pop() {
                let Some(maker) = side.producer(key, before) else {
                    continue;
                };
                if side.pass(maker).number + 1 < number
                    || !seen.insert(maker)
                    || seen.len() > MAX_PATH
                {
                    continue;
                }
                let path: Vec<usize> = path.iter().copied().chain([maker]).collect();
                for input in side.node(maker).inputs {
                    if input.key == from {
                        return Some(path);
                    }
                    todo.push((input.key, maker, path.clone()));
                }
            }
            None
        };
        let (which, steps) = match (path(self.a, b.key, a, at.0), path(self.b, a.key, b, at.1)) {
            (Some(steps), None) => (Which::A, steps),
            (None, Some(steps)) => (Which::B, steps),
            _ => return None,
        };
        // In evaluation mode, a module does not go on.
        let (side, other) = self.sides(which);
        let pass = side.pass(*steps.first()?);
        (side.evaluates(pass) == other.evaluates(pass)).then_some((which, steps))
    }

    /// The one step between two values that both sides have, of which each side takes another one: an activation before or after which
    /// a value is taken.
    fn shared_step(
        &self,
        a: &Expression,
        b: &Expression,
        at: (usize, usize),
    ) -> Option<(Which, Vec<usize>)> {
        let step = |side: &Side<'a>, own: &Expression, other: &Expression, before: usize| {
            let index = own.origin?;
            let node = side.node(index);
            let is_step = node.pass == side.pass(before)
                && node.operation.phase == Phase::Forward
                && node.states.is_none()
                && !node.view
                && !matches!(node.canon, "clone" | "contiguous" | "_to_copy");
            let [input] = &node.inputs[..] else {
                return None;
            };
            (is_step && input.key == other.key).then(|| vec![index])
        };
        // Where each side also takes the other's value in its place, the two are exchanged.
        let takes = |side: &Side<'a>, key: Key, before: usize| {
            let mut taken = side.all_consumers(key);
            taken.any(|taken| {
                taken != before
                    && side.pass(taken) == side.pass(before)
                    && side.is_bad(taken)
                    && !side.has_bad_input(taken)
                    && side.canon(taken) == side.canon(before)
            })
        };
        if takes(self.a, b.key, at.0) && takes(self.b, a.key, at.1) {
            return None;
        }
        let in_a = step(self.a, a, b, at.0).map(|steps| (Which::A, steps));
        in_a.or_else(|| step(self.b, b, a, at.1).map(|steps| (Which::B, steps)))
    }

    /// Explains what differs between the losses of the pass of two operations, if a difference of values or in the backward pass comes from that:
    /// a term, a factor or a step before the loss that one side lacks.
    pub fn by_loss(&self, p: usize, r: usize, explanation: Explanation) -> Explanation {
        let is_backward = |side: &Side<'a>, node| side.operation(node).phase == Phase::Backward;
        let is_asked = match &explanation.class {
            Class::Input(_) => true,
            Class::OnlyInA(_) | Class::OnlyInB(_) | Class::Exchanged(..) => {
                is_backward(self.a, p) && is_backward(self.b, r)
            }
            _ => false,
        };
        let (Some(in_a), Some(in_b), true) = (self.a.loss_of(p), self.b.loss_of(r), is_asked)
        else {
            return explanation;
        };
        let (x, y) = (self.a.node(in_a), self.b.node(in_b));
        let (Some(a), Some(b)) = (x.inputs.first(), y.inputs.first()) else {
            return explanation;
        };
        let (a, b) = (
            self.expander(Which::A).expand(a.key, a.tensor, in_a),
            self.expander(Which::B).expand(b.key, b.tensor, in_b),
        );
        let mut parts = Vec::new();
        differences(&a, &b, (self.a, self.b), &mut parts);
        let [part] = &parts[..] else {
            return explanation;
        };
        let mut other = Explanation::default();
        self.describe(part, "loss", (in_a, in_b), &mut other);
        if other.class == Class::Argument("training".to_owned()) {
            other.class = Class::Mode;
        }
        match other.class {
            Class::OnlyInA(_) | Class::OnlyInB(_) | Class::Argument(_) | Class::Mode => {
                other.parts.extend(explanation.parts);
                other
            }
            _ => explanation,
        }
    }

    /// Names the steps between a value and one that it is computed from, outermost first.
    fn extra_steps(&self, which: Which, path: &[usize], explanation: &mut Explanation) {
        let (side, other) = self.sides(which);
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
        if let [step] = &steps[..]
            && side.canon(*step) == "expand"
            && let [input] = &side.node(*step).inputs[..]
        {
            // What one side repeats has another shape on the other.
            let own = &input.tensor.shape;
            let mut others = other.forms(input.key, side.pass(*step));
            if let Some(shape) = others.find(|shape| *shape != own) {
                let (a, b) = which.in_order(&own[..], &shape[..]);
                if self.other_shape(input.key, (a, b), side.pass(*step), explanation) {
                    return;
                }
            }
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
        // What the other side has drawn there, too, was not drawn by these steps.
        let is_drawn_there = |key: Key, step: usize| {
            let mut makers = other.makers(key);
            makers.any(|maker| other.pass(maker) == side.pass(step))
        };
        let draws = steps.iter().flat_map(|step| {
            let node = side.node(*step);
            let own = node.states.map(|_| node.canon);
            let inputs = node.inputs.into_iter();
            let taken = inputs
                .filter(|input| !is_drawn_there(input.key, *step))
                .filter_map(|input| self.drawn_by(input.key, *step, side));
            own.into_iter().chain(taken).collect::<Vec<_>>()
        });
        let draws: Vec<&str> = draws.collect();
        let is_mask = |canon: &&str| canon.contains("bernoulli") || canon.contains("dropout");
        let is_dropout = draws.iter().any(is_mask);
        explanation.moves_stream |= !draws.is_empty();
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
        explanation.propose(which.only(name));
    }

    /// Why the same elements have another shape on each side: an argument of what makes them, or a view that only one side has.
    fn other_shape(
        &self,
        key: Key,
        (in_a, in_b): (&[i64], &[i64]),
        pass: Pass,
        explanation: &mut Explanation,
    ) -> bool {
        let makers = |side: &'s Side<'a>| {
            let makers = side.makers(key).filter(|maker| side.pass(*maker) == pass);
            makers.partition::<Vec<usize>, _>(|maker| side.node(*maker).view)
        };
        let ((views_a, made_a), (views_b, made_b)) = (makers(self.a), makers(self.b));
        if let (Some(p), Some(r)) = (made_a.last(), made_b.last())
            && self.a.canon(*p) == self.b.canon(*r)
            && let Some((name, (a, b))) = scalar_differences((self.a, self.b), *p, *r)
                .into_iter()
                .next()
        {
            explanation.details.push(format!(
                "argument {name} of {}: {a} in {}, {b} in {}",
                self.a.canon(*p),
                self.a.label,
                self.b.label
            ));
            explanation.places = explanation.places.or(Some((*p, *r)));
            explanation.propose(argument_class(&name));
            return true;
        }
        let gives = |side: &Side<'a>, view: usize, shape: &[i64]| {
            let node = side.node(view);
            let mut outputs = node.outputs.iter();
            outputs.any(|(made, form)| *made == key && form.shape == shape)
        };
        // One with another size is not only there.
        let only = |side: &Side<'a>,
                    views: &[usize],
                    shape: &[i64],
                    other: &Side<'a>,
                    others: &[usize]| {
            let view = *views.iter().rev().find(|view| gives(side, **view, shape))?;
            let mut others = others.iter();
            let is_there = others.any(|twin| other.canon(*twin) == side.canon(view));
            (!is_there).then_some(view)
        };
        let in_a = only(self.a, &views_a, in_a, self.b, &views_b).map(|view| (view, Which::A));
        let in_b = || only(self.b, &views_b, in_b, self.a, &views_a).map(|view| (view, Which::B));
        let Some((view, which)) = in_a.or_else(in_b) else {
            return false;
        };
        let name = self.sides(which).0.canon(view).to_owned();
        self.only_there(view, which, ("", name), explanation);
        true
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

    /// Whether two operations and those before them are the same in the other order, from one value on: `softmax(topk(x))` and
    /// `topk(softmax(x))`.
    fn other_order(&self, p: usize, r: usize) -> Option<(String, String)> {
        // What is computed before an operation, and from which value.
        let before = |side: &Side<'a>, mut node: usize| {
            loop {
                let key = side.node(node).inputs.first()?.key;
                node = side.producer(key, node)?;
                let made = side.node(node);
                if !made.view && !matches!(made.canon, "clone" | "contiguous") {
                    return Some((made.canon, made.inputs.first()?.key));
                }
            }
        };
        let ((in_a, from_a), (in_b, from_b)) = (before(self.a, p)?, before(self.b, r)?);
        let (last_a, last_b) = (self.a.canon(p), self.b.canon(r));
        let is_exchanged = last_a != last_b && last_a == in_b && last_b == in_a && from_a == from_b;
        is_exchanged.then(|| (last_a.to_owned(), last_b.to_owned()))
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
        let mut nodes = (0..before).rev();
        nodes.find(|node| side.writes_named(*node, |updated| updated.as_str() == name))
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
                    side.canon(node) == canon
                        && side.writes_named(node, |updated| updated.as_str() == name)
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
        // In one pass, both take both values: each in the other's place.
        let takes = |side: &Side<'a>, key: Key, node: usize| {
            let mut taken = side.all_consumers(key);
            taken.any(|taken| side.pass(taken) == side.pass(node))
        };
        if unnamed && takes(self.a, b.key, at.0) && takes(self.b, a.key, at.1) {
            // Of two draws, each program uses the other one here.
            let drawn = self.drawn_by(a.key, at.0, self.a);
            let class = match drawn.zip(self.drawn_by(b.key, at.1, self.b)) {
                Some((first, other)) => Class::Order(first.to_owned(), other.to_owned()),
                None => Class::Input(argument.to_owned()),
            };
            explanation.propose(class);
            return;
        }
        if unnamed && self.is_other_batch((a.key, at.0), (b.key, at.1)) {
            explanation.propose(Class::DataOrder);
            return;
        }
        // Values that both have are made by the same operations on both sides.
        let both_have = self.b.has(a.key) && self.a.has(b.key);
        // What computes them, not how they are viewed.
        let computed = (a.without_views(self.a), b.without_views(self.b));
        let nodes = match (computed.0.node, computed.1.node) {
            // A copy is of what is repeated or moved.
            (Some(p), Some(r)) => (
                computed.0.without_copies(self.a).node.or(Some(p)),
                computed.1.without_copies(self.b).node.or(Some(r)),
            ),
            _ => (a.node, b.node),
        };
        if let (Some(p), Some(r)) = nodes
            && let Some((first, second)) = self.other_order(p, r)
        {
            explanation.places = explanation.places.or(Some((p, r)));
            explanation.propose(Class::Order(first, second));
            return;
        }
        let class = match nodes {
            (Some(p), Some(r)) if !both_have && self.a.node(p).canon != self.b.node(r).canon => {
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

/// Whether such an operation takes a result in the same pass, or a copy of it.
fn is_followed(side: &Side<'_>, node: usize, is_such: impl Fn(usize) -> bool) -> bool {
    let mut todo = vec![(node, 0)];
    while let Some((from, depth)) = todo.pop() {
        for (key, _) in side.node(from).outputs {
            for consumer in side.consumers(key, from) {
                if side.pass(consumer) != side.pass(node) {
                    continue;
                }
                if is_such(consumer) {
                    return true;
                }
                if depth < 3 && copies(side.canon(consumer)) {
                    todo.push((consumer, depth + 1));
                }
            }
        }
    }
    false
}

/// What differs between two operations.
pub struct Explanation {
    pub class: Class,
    pub details: Vec<String>,
    /// The step that only one side has.
    pub step: Option<(usize, Which)>,
    /// All such steps.
    pub steps: Vec<(usize, Which)>,
    /// All operations that only one side has for these steps.
    pub covered: Vec<(usize, Which)>,
    /// What made values of one parameter or buffer of which one side's is ahead.
    pub ahead: Option<(usize, usize)>,
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
            covered: Vec::new(),
            ahead: None,
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

/// The numbers of elements of the results.
fn elements(node: &Node<'_>) -> Vec<i64> {
    let outputs = node.outputs.iter();
    outputs
        .map(|(_, form)| form.shape.iter().product())
        .collect()
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
