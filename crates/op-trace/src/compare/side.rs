//! One of the two traces, indexed by value.

use super::bits::Bits;
use super::verdict::Verdicts;
use crate::calls::{Call, Form, given, taken};
use crate::{Phase, SharedStr, Trace, Value};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A value: a dtype and the hash of the bytes, shared by both sides.
pub type Key = u32;

/// Numbers for what is compared. Those of A are the numbers of its trace; what only B has follows.
pub struct Keys {
    values: Vec<Key>,
    states: Vec<u32>,
    count: usize,
    state_count: usize,
    /// Values that say little, since programs meet them by chance: all elements are one whole number.
    pub weak: Bits,
}

impl Keys {
    pub fn new(a: &Trace, b: &Trace) -> Keys {
        let (a, b) = (&a.calls, &b.calls);
        let mut count = a.values();
        let mut fresh = || {
            count += 1;
            count as Key - 1
        };
        let values: Vec<Key> = (0..b.values())
            .map(|value| b.same_value(value, a).unwrap_or_else(&mut fresh))
            .collect();
        let mut state_count = a.states().len();
        let mut fresh = || {
            state_count += 1;
            state_count as u32 - 1
        };
        let states = b.states().iter();
        let states = states
            .map(|state| a.find_state(state).unwrap_or_else(&mut fresh))
            .collect();
        let mut weak = Bits::new(count);
        for value in (0..a.values()).filter(|value| a.is_weak(*value)) {
            weak.insert(value);
        }
        for (value, key) in values.iter().enumerate() {
            if b.is_weak(value) {
                weak.insert(*key as usize);
            }
        }
        Keys {
            values,
            states,
            count,
            state_count,
            weak,
        }
    }
}

/// Lists of nodes by key: all in one piece of memory.
#[derive(Default)]
struct Lists {
    ends: Vec<u32>,
    nodes: Vec<u32>,
}

impl Lists {
    /// `pairs` gives pairs of a key and a node in the order of nodes, twice the same.
    fn new<I: Iterator<Item = (Key, u32)>>(keys: usize, pairs: impl Fn() -> I) -> Lists {
        let mut ends = vec![0u32; keys];
        let mut last = vec![u32::MAX; keys];
        for (key, node) in pairs() {
            if std::mem::replace(&mut last[key as usize], node) != node {
                ends[key as usize] += 1;
            }
        }
        let mut total = 0;
        for end in &mut ends {
            // The start for now.
            total += std::mem::replace(end, total);
        }
        let mut nodes = vec![0; total as usize];
        last.fill(u32::MAX);
        for (key, node) in pairs() {
            if std::mem::replace(&mut last[key as usize], node) != node {
                let end = &mut ends[key as usize];
                nodes[*end as usize] = node;
                *end += 1;
            }
        }
        Lists { ends, nodes }
    }

    fn of(&self, key: Key) -> &[u32] {
        let start = (key as usize)
            .checked_sub(1)
            .map_or(0, |last| self.ends[last]);
        &self.nodes[start as usize..self.ends[key as usize] as usize]
    }
}

/// A tensor argument.
pub struct Input<'a> {
    pub name: &'a str,
    pub key: Key,
    pub tensor: &'a Form,
}

/// What a computation does in a program: the pass number and the kind of the pass. Both languages have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pass {
    /// How many backward passes have begun.
    pub number: u32,
    kind: Kind,
}

impl Pass {
    /// Whether both are forward, backward, or without gradients.
    pub fn is_of_kind(self, other: Pass) -> bool {
        self.kind == other.kind
    }
}

/// In the order of a pass, which a backward pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Backward,
    Update,
    Forward,
}

/// An operation as it is compared.
pub struct Node<'a> {
    pub operation: Call<'a>,
    pub canon: &'a str,
    pub pass: Pass,
    pub inputs: Vec<Input<'a>>,
    pub scalars: Vec<(&'a str, &'a Value)>,
    pub outputs: Vec<(Key, &'a Form)>,
    /// Before and after a draw.
    pub states: Option<(u32, u32)>,
    /// A result is not found on the other side.
    pub bad: bool,
    /// An input is not found on the other side.
    pub bad_input: bool,
    /// The results share the memory of an argument.
    pub view: bool,
}

impl Node<'_> {
    /// A scalar with the ways of saying the same made one.
    pub fn meaning(&self, name: &str, value: &Value) -> Value {
        let rank = || {
            self.inputs
                .first()
                .map(|input| input.tensor.shape.len() as i64)
        };
        match (name, value) {
            ("stride", Value::List(list)) if list.is_empty() => self
                .scalars
                .iter()
                .find(|(other, _)| *other == "kernel_size")
                .map_or(Value::None, |(_, value)| (*value).clone()),
            ("dtype", Value::None) => {
                // A factory has the default dtype, as its result.
                let input = self.inputs.first().map(|input| input.tensor);
                let tensor = input.or(self.outputs.first().map(|(_, tensor)| *tensor));
                tensor.map_or(Value::None, |tensor| Value::Text(tensor.dtype.to_string()))
            }
            ("dim" | "dim0" | "dim1", Value::Int(dim)) if *dim < 0 => {
                Value::Int(dim + rank().unwrap_or(0))
            }
            ("dim", Value::List(dims)) => Value::List(
                dims.iter()
                    .map(|dim| match dim {
                        Value::Int(dim) if *dim < 0 => Value::Int(dim + rank().unwrap_or(0)),
                        other => other.clone(),
                    })
                    .collect(),
            ),
            ("size", Value::List(_)) => match self.outputs.first() {
                Some((_, tensor)) => {
                    Value::List(tensor.shape.iter().copied().map(Value::Int).collect())
                }
                None => value.clone(),
            },
            _ => value.clone(),
        }
    }
}

/// The arguments that say where or how memory lies.
pub fn is_quiet(name: &str) -> bool {
    matches!(
        name,
        "generator"
            | "memory_format"
            | "layout"
            | "device"
            | "pin_memory"
            | "half_to_float"
            | "non_blocking"
            | "copy"
            | "output_mask"
    )
}

/// Whether an operation gives the elements that it takes, in their order.
pub fn copies(canon: &str) -> bool {
    matches!(canon, "clone" | "contiguous" | "view")
}

/// A trace, indexed by value.
pub struct Side<'a> {
    pub trace: &'a Trace,
    /// What the program is called in sentences.
    pub label: &'static str,
    /// Whether the program has modules: one in Rust does not.
    pub has_modules: bool,
    /// The keys of the trace's values and states, unless they are the same.
    keys: Option<(&'a [Key], &'a [u32])>,
    /// The operations that compute something.
    operations: Vec<u32>,
    passes: Vec<Pass>,
    last_pass: Pass,
    bad: Bits,
    bad_input: Bits,
    producers: Lists,
    consumers: Lists,
    /// The values that a bad node takes.
    bad_taken: Bits,
    /// The values that no operation made, where they are met first: the node and its input.
    pub roots: Vec<(Key, usize, usize)>,
    root_keys: Bits,
    states: Bits,
    /// An operation with its values, wherever it is, by node, as a hash.
    signatures: Vec<u128>,
    /// The nodes in the order of their signatures.
    by_signature: Vec<u32>,
    /// What makes the gradient of a loss, with which a backward pass begins, by the number of the pass.
    pub losses: HashMap<u32, usize>,
    /// Bad nodes by pass.
    pub bad_by_pass: HashMap<Pass, Vec<u32>>,
    /// Runs of operations that update parameters or buffers outside of an optimizer, as first and last node, with their step.
    updates: Vec<(u32, u32, u32)>,
}

/// Operations that compute nothing, and ways of writing the same operation.
pub fn canon(name: &str) -> Option<&str> {
    let name = name.rsplit("::").next().unwrap_or(name);
    let name = match name.strip_suffix('_') {
        Some(base) if !name.starts_with("__") => base,
        _ => name,
    };
    Some(match name {
        "detach" | "alias" | "lift_fresh" | "_local_scalar_dense" => return None,
        "empty" | "empty_like" | "empty_strided" | "new_empty" | "new_empty_strided" | "resize" => {
            return None;
        }
        "_unsafe_view" | "_reshape_alias" | "reshape" | "flatten" => "view",
        "true_divide" => "div",
        "zero" => "fill",
        // The loss of elements in more dimensions.
        "nll_loss2d_forward" => "nll_loss_forward",
        "nll_loss2d_backward" => "nll_loss_backward",
        other => other,
    })
}

impl<'a> Side<'a> {
    pub fn a(trace: &'a Trace, label: &'static str, keys: &'a Keys) -> Side<'a> {
        Side::new(trace, label, None, keys)
    }

    pub fn b(trace: &'a Trace, label: &'static str, keys: &'a Keys) -> Side<'a> {
        Side::new(trace, label, Some((&keys.values, &keys.states)), keys)
    }

    fn new(
        trace: &'a Trace,
        label: &'static str,
        own: Option<(&'a [Key], &'a [u32])>,
        keys: &Keys,
    ) -> Side<'a> {
        let mut side = Side {
            trace,
            label,
            has_modules: trace.language == "python",
            keys: own,
            operations: Vec::new(),
            passes: Vec::new(),
            last_pass: Pass {
                number: 0,
                kind: Kind::Backward,
            },
            bad: Bits::default(),
            bad_input: Bits::default(),
            producers: Lists::default(),
            consumers: Lists::default(),
            bad_taken: Bits::new(keys.count),
            roots: Vec::new(),
            root_keys: Bits::new(keys.count),
            states: Bits::new(keys.state_count),
            signatures: Vec::new(),
            by_signature: Vec::new(),
            losses: HashMap::new(),
            bad_by_pass: HashMap::new(),
            updates: Vec::new(),
        };
        let (mut passes, mut last) = (0, Kind::Forward);
        for index in 0..trace.len() {
            let site = trace.calls.call(index).site;
            let kind = match site.phase {
                Phase::Backward => Kind::Backward,
                Phase::Optimizer => Kind::Update,
                Phase::Forward => match site.grad {
                    crate::Grad::On => Kind::Forward,
                    _ => Kind::Update,
                },
            };
            if kind == Kind::Backward && last != Kind::Backward {
                passes += 1;
                // It is called before the pass.
                let before = side.len().checked_sub(1);
                let loss = before.filter(|node| side.canon(*node) == "ones_like");
                side.losses.extend(loss.map(|node| (passes, node)));
            }
            last = kind;
            if canon(site.name.as_str()).is_none() {
                continue;
            }
            let pass = Pass {
                number: passes,
                kind,
            };
            side.operations.push(index as u32);
            side.passes.push(pass);
            side.last_pass = side.last_pass.max(pass);
            for state in trace
                .calls
                .draw(index)
                .into_iter()
                .flat_map(<[u32; 2]>::from)
            {
                side.states.insert(side.state(state) as usize);
            }
        }
        side.updates = side.runs_of_updates();
        side.index(keys.count);
        side
    }

    /// What follows a backward pass or an optimizer without gradients, until the last write of a parameter or buffer outside of modules:
    /// an update by hand, or of an average. It belongs to the step that it follows.
    fn runs_of_updates(&self) -> Vec<(u32, u32, u32)> {
        let mut runs: Vec<(u32, u32, u32)> = Vec::new();
        // The first node of the run, and its step.
        let mut run: Option<(u32, u32)> = None;
        for node in 0..self.len() {
            let operation = self.operation(node);
            let site = operation.site;
            if site.phase != Phase::Forward {
                run = Some((node as u32 + 1, operation.step));
                continue;
            }
            if site.grad == crate::Grad::On {
                run = None;
                continue;
            }
            let is_stored = |name: &SharedStr| !name.as_str().ends_with(".grad");
            let is_statistic = self.canon(node).contains("batch_norm");
            let writes = site.updated.as_ref().is_some_and(is_stored) && site.module.is_none();
            if let Some((first, step)) = run.filter(|_| writes && !is_statistic) {
                match runs.last_mut().filter(|last| last.0 == first) {
                    Some(last) => last.1 = node as u32,
                    None => runs.push((first, node as u32, step)),
                }
            }
        }
        runs
    }

    /// The step of an update outside of an optimizer.
    pub fn update_by_hand(&self, node: usize) -> Option<u32> {
        let node = node as u32;
        let next = self.updates.partition_point(|(first, ..)| *first <= node);
        let (_, last, step) = self.updates.get(next.checked_sub(1)?)?;
        (node <= *last).then_some(*step)
    }

    fn key(&self, value: u32) -> Key {
        self.keys
            .map_or(value, |(values, _)| values[value as usize])
    }

    fn state(&self, state: u32) -> u32 {
        self.keys
            .map_or(state, |(_, states)| states[state as usize])
    }

    /// The number of nodes: the operations that compute something.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (usize, Node<'a>)> {
        (0..self.len()).map(|index| (index, self.node(index)))
    }

    /// The operation of a node.
    pub fn operation(&self, node: usize) -> Call<'a> {
        self.trace.calls.call(self.operations[node] as usize)
    }

    /// The node of the forward pass whose gradient a node computes.
    pub fn forward_of(&self, node: usize) -> Option<usize> {
        let forward = u32::try_from(self.operation(node).forward?).ok()?;
        self.operations.binary_search(&forward).ok()
    }

    /// Whether a node is in a pass that the other program, which trains, too, did not come to: it ran fewer steps.
    pub fn is_after(&self, node: usize, other: &Side<'_>) -> bool {
        let last = other.last_pass;
        last.number > 0 && self.passes[node] > last
    }

    /// What a node computes.
    pub fn canon(&self, node: usize) -> &'a str {
        canon(self.operation(node).site.name.as_str()).unwrap_or_default()
    }

    /// The operation that begins the backward pass to which a node leads or belongs, if that has a loss.
    pub fn loss_of(&self, node: usize) -> Option<usize> {
        let pass = self.passes[node];
        let number = pass.number + u32::from(pass.kind == Kind::Forward);
        self.losses.get(&number).copied()
    }

    pub fn pass(&self, node: usize) -> Pass {
        self.passes[node]
    }

    /// The nodes of a pass.
    pub fn of_pass(&self, pass: Pass) -> impl Iterator<Item = usize> {
        self.of_number(pass.number)
            .filter(move |node| self.passes[*node] == pass)
    }

    /// Whether a module is in evaluation mode in a pass.
    pub fn evaluates(&self, pass: Pass) -> bool {
        self.of_pass(pass).any(|node| self.operation(node).eval)
    }

    /// The nodes of a training step.
    pub fn of_step(&self, step: u32) -> std::ops::Range<usize> {
        // Steps are counted in the order of nodes.
        let step_of = |at: &u32| self.trace.calls.call(*at as usize).step;
        let first = self.operations.partition_point(|at| step_of(at) < step);
        first..self.operations.partition_point(|at| step_of(at) <= step)
    }

    /// The calls of an operator in a step and phase, in all passes.
    pub fn calls_of_step(&self, like: Call<'a>) -> impl Iterator<Item = usize> {
        self.of_step(like.step).filter(move |node| {
            let site = self.operation(*node).site;
            site.name == like.site.name && site.phase == like.site.phase
        })
    }

    /// Whether a node writes a parameter, buffer or gradient of such a name.
    pub fn writes_named(&self, node: usize, is_such: impl Fn(&SharedStr) -> bool) -> bool {
        let updated = self.operation(node).site.updated.as_ref();
        updated.is_some_and(is_such)
    }

    /// The nodes of passes of all kinds with a number.
    pub fn of_number(&self, number: u32) -> std::ops::Range<usize> {
        // Backward passes are counted in the order of nodes.
        let start = self.passes.partition_point(|p| p.number < number);
        start..self.passes.partition_point(|p| p.number <= number)
    }

    pub fn is_bad(&self, node: usize) -> bool {
        self.bad.has(node)
    }

    pub fn has_bad_input(&self, node: usize) -> bool {
        self.bad_input.has(node)
    }

    /// The number of bad nodes.
    pub fn departed(&self) -> usize {
        self.bad.len()
    }

    pub fn verdicts(&self) -> Verdicts {
        let mut computes = Bits::new(self.trace.len());
        let mut departed = Bits::new(self.trace.len());
        for (node, operation) in self.operations.iter().enumerate() {
            computes.insert(*operation as usize);
            if self.is_bad(node) {
                departed.insert(*operation as usize);
            }
        }
        Verdicts { computes, departed }
    }

    /// The states before and after a draw.
    pub fn draw(&self, node: usize) -> Option<(u32, u32)> {
        let draw = self.trace.calls.draw(self.operations[node] as usize);
        draw.map(|(before, after)| (self.state(before), self.state(after)))
    }

    /// The seed of the generator before a draw.
    pub fn seed(&self, node: usize) -> Option<u64> {
        let calls = &self.trace.calls;
        let (before, _) = calls.draw(self.operations[node] as usize)?;
        Some(calls.states()[before as usize].seed)
    }

    fn inputs(&self, node: usize) -> impl Iterator<Item = Key> {
        let values = self
            .trace
            .calls
            .input_values(self.operations[node] as usize);
        values.map(|value| self.key(value))
    }

    pub fn outputs(&self, node: usize) -> impl Iterator<Item = Key> {
        let values = self
            .trace
            .calls
            .output_values(self.operations[node] as usize);
        values.map(|value| self.key(value))
    }

    pub fn node(&self, index: usize) -> Node<'a> {
        let (calls, at) = (&self.trace.calls, self.operations[index] as usize);
        let operation = calls.call(at);
        Node {
            operation,
            canon: canon(operation.site.name.as_str()).unwrap_or_default(),
            pass: self.passes[index],
            inputs: calls
                .inputs(at)
                .map(|(name, value, tensor)| Input {
                    name,
                    key: self.key(value),
                    tensor,
                })
                .collect(),
            scalars: calls.scalars(at).iter().collect(),
            outputs: calls
                .outputs(at)
                .map(|(value, tensor)| (self.key(value), tensor))
                .collect(),
            states: self.draw(index),
            bad: self.is_bad(index),
            bad_input: self.has_bad_input(index),
            view: calls.is_view(at),
        }
    }

    /// The sampled elements of an input, if the trace has them there and was not changed meanwhile.
    pub fn input_sample(&self, node: usize, input: usize) -> Vec<f64> {
        let operation = self.trace.operation(self.operations[node] as usize);
        operation.map_or_else(
            |_| Vec::new(),
            |operation| {
                let tensor = taken(&operation).nth(input);
                tensor.map_or_else(Vec::new, |(_, tensor)| tensor.sample.clone())
            },
        )
    }

    /// The sampled elements of the first result, likewise.
    pub fn output_sample(&self, node: usize) -> Vec<f64> {
        let operation = self.trace.operation(self.operations[node] as usize);
        operation.map_or_else(
            |_| Vec::new(),
            |operation| {
                let tensor = given(&operation).next();
                tensor.map_or_else(Vec::new, |tensor| tensor.sample.clone())
            },
        )
    }

    fn index(&mut self, keys: usize) {
        let side = &*self;
        let producers = Lists::new(keys, || {
            (0..side.len()).flat_map(|node| side.outputs(node).map(move |key| (key, node as u32)))
        });
        let consumers = Lists::new(keys, || {
            (0..side.len()).flat_map(|node| side.inputs(node).map(move |key| (key, node as u32)))
        });
        self.producers = producers;
        self.consumers = consumers;
        let (mut roots, mut root_keys) = (Vec::new(), Bits::new(keys));
        for node in 0..self.len() {
            let at = self.operations[node] as usize;
            for (position, (_, value, form)) in self.trace.calls.inputs(at).enumerate() {
                let key = self.key(value);
                let made = self.producers.of(key).first();
                if made.is_none_or(|first| *first as usize >= node)
                    && root_keys.insert(key as usize)
                    && (form.name.is_some() || !self.trace.calls.is_inner(value))
                {
                    roots.push((key, node, position));
                }
            }
        }
        (self.roots, self.root_keys) = (roots, root_keys);
        let mut known = HashMap::new();
        self.signatures = (0..self.len())
            .map(|node| self.signature(node, &mut known))
            .collect();
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by_key(|node| (self.signatures[*node as usize], *node));
        self.by_signature = order;
    }

    /// Whether the side has a value.
    pub fn has(&self, key: Key) -> bool {
        !self.producers.of(key).is_empty() || self.root_keys.contains(&key)
    }

    pub fn has_state(&self, state: u32) -> bool {
        self.states.contains(&state)
    }

    /// All nodes that make a value.
    pub fn makers(&self, key: Key) -> impl ExactSizeIterator<Item = usize> {
        self.producers.of(key).iter().map(|index| *index as usize)
    }

    /// The shapes in which nodes of a pass give a value.
    pub fn forms(&self, key: Key, pass: Pass) -> impl Iterator<Item = &'a Vec<i64>> {
        let makers = self
            .makers(key)
            .filter(move |maker| self.pass(*maker) == pass);
        let outputs = makers.flat_map(|maker| self.node(maker).outputs);
        let same = outputs.filter(move |(made, _)| *made == key);
        same.map(|(_, form)| &form.shape)
    }

    /// The last node before `before` that made a value.
    pub fn producer(&self, key: Key, before: usize) -> Option<usize> {
        let made = self.producers.of(key);
        let last = made[..made.partition_point(|index| (*index as usize) < before)].last();
        last.map(|index| *index as usize)
    }

    /// The nodes after `after` that take a value.
    pub fn consumers(&self, key: Key, after: usize) -> impl ExactSizeIterator<Item = usize> {
        let all = self.consumers.of(key);
        let first = all.partition_point(|index| *index as usize <= after);
        all[first..].iter().map(|index| *index as usize)
    }

    /// All nodes that take a value.
    pub fn all_consumers(&self, key: Key) -> impl ExactSizeIterator<Item = usize> {
        self.consumers.of(key).iter().map(|index| *index as usize)
    }

    /// Whether a bad node takes a value.
    pub fn is_taken_by_bad(&self, key: Key) -> bool {
        self.bad_taken.contains(&key)
    }

    fn signature(&self, index: usize, known: &mut HashMap<[u32; 3], [u64; 2]>) -> u128 {
        let at = self.operations[index] as usize;
        let context = self.trace.calls.scalars_in_context(at);
        let scalars = *known
            .entry(context)
            .or_insert_with(|| two_hashes(&scalar_texts(&self.node(index))));
        let canon = canon(self.operation(index).site.name.as_str());
        let mut halves = [0; 2];
        for (which, half) in halves.iter_mut().enumerate() {
            let mut hasher = DefaultHasher::new();
            (which, canon, scalars).hash(&mut hasher);
            for key in self.inputs(index) {
                key.hash(&mut hasher);
            }
            // No key.
            Key::MAX.hash(&mut hasher);
            for key in self.outputs(index) {
                key.hash(&mut hasher);
            }
            *half = hasher.finish();
        }
        u128::from(halves[0]) << 64 | u128::from(halves[1])
    }

    /// The nodes with a signature, in order.
    fn with_signature(&self, signature: u128) -> &[u32] {
        let of = |node: &u32| self.signatures[*node as usize];
        let first = self
            .by_signature
            .partition_point(|node| of(node) < signature);
        let rest = &self.by_signature[first..];
        &rest[..rest.partition_point(|node| of(node) == signature)]
    }

    /// Whether the other side has the same operation with the same values, wherever.
    pub fn has_twin(&self, node: usize, other: &Side<'_>) -> bool {
        !other.with_signature(self.signatures[node]).is_empty()
    }

    /// Marks the nodes whose results the other side lacks.
    pub fn judge(&mut self, other: &Side<'_>, weak: &Bits) {
        self.bad = Bits::new(self.len());
        self.bad_input = Bits::new(self.len());
        for index in 0..self.len() {
            let states = self.draw(index);
            let mut bad_input = states.is_some_and(|(before, _)| !other.has_state(before));
            for key in self.inputs(index) {
                bad_input |= match weak.contains(&key) {
                    // The gradient of a loss has nothing of its value.
                    true => self.producer(key, index).is_some_and(|producer| {
                        self.is_bad(producer) && self.canon(producer) != "ones_like"
                    }),
                    false => !other.has(key),
                };
            }
            let (mut gives, mut has_strong, mut bad) = (false, false, false);
            for key in self.outputs(index) {
                gives = true;
                if !weak.contains(&key) {
                    has_strong = true;
                    bad |= !other.has(key);
                }
            }
            if !has_strong && gives {
                bad = !self.has_twin(index, other);
            }
            bad |= states.is_some_and(|(_, after)| !other.has_state(after));
            if bad_input {
                self.bad_input.insert(index);
            }
            if bad {
                self.bad.insert(index);
                let taken: Vec<Key> = self.inputs(index).collect();
                for key in taken {
                    self.bad_taken.insert(key as usize);
                }
                let pass = self.passes[index];
                self.bad_by_pass.entry(pass).or_default().push(index as u32);
            }
        }
    }

    /// For each node, the last one of the other side that has the values of a node until there. Each is used once.
    pub fn pairs(&self, other: &Side<'_>) -> Pairs {
        const NONE: u32 = u32::MAX;
        let mut pairs = vec![NONE; self.len()];
        // Both are sorted.
        let of = |side: &Side<'_>, node: u32| side.signatures[node as usize];
        let (own, mut theirs) = (
            self.by_signature.iter(),
            other.by_signature.iter().peekable(),
        );
        for node in own {
            let signature = of(self, *node);
            while theirs
                .next_if(|twin| of(other, **twin) < signature)
                .is_some()
            {}
            if let Some(twin) = theirs.next_if(|twin| of(other, **twin) == signature) {
                pairs[*node as usize] = *twin;
            }
        }
        let mut last = NONE;
        for pair in &mut pairs {
            match *pair {
                NONE => *pair = last,
                found => last = found,
            }
        }
        Pairs(pairs)
    }

    /// A bad node and the bad nodes that come from it, in any order.
    pub fn walk(&self, start: usize) -> impl Iterator<Item = usize> {
        let mut seen = Bits::new(self.len());
        seen.insert(start);
        let mut todo = vec![start];
        std::iter::from_fn(move || {
            let index = todo.pop()?;
            for key in self.outputs(index) {
                for consumer in self.consumers(key, index) {
                    if self.is_bad(consumer) && seen.insert(consumer) {
                        todo.push(consumer);
                    }
                }
            }
            Some(index)
        })
    }

    /// Adds the nodes that come from the results of a node that the other side lacks, good or bad.
    pub fn reach(&self, start: usize, other: &Side<'_>, weak: &Bits, reached: &mut Bits) {
        let mut todo = vec![start];
        while let Some(index) = todo.pop() {
            for (key, _) in self.node(index).outputs {
                if index == start && other.has(key) && !weak.contains(&key) {
                    continue;
                }
                for consumer in self.consumers(key, index) {
                    if reached.insert(consumer) {
                        todo.push(consumer);
                    }
                }
            }
        }
    }

    /// Adds the nodes that come from a node, good or bad.
    pub fn follow(&self, start: usize, reached: &mut Bits) {
        self.follow_while(start, |_| true, reached);
    }

    /// Adds the nodes that come from a node by those for which `is_near` is true, as it is up to some node.
    pub fn follow_while(&self, start: usize, is_near: impl Fn(usize) -> bool, reached: &mut Bits) {
        let mut todo = vec![start];
        while let Some(index) = todo.pop() {
            for key in self.outputs(index) {
                let consumers = self.consumers(key, index);
                for consumer in consumers.take_while(|consumer| is_near(*consumer)) {
                    if reached.insert(consumer) {
                        todo.push(consumer);
                    }
                }
            }
        }
    }

    /// The bad nodes that come from a node, itself included.
    pub fn closure(&self, start: usize) -> Bits {
        let mut found = Bits::new(self.len());
        for index in self.walk(start) {
            found.insert(index);
        }
        found
    }
}

/// Where each node would be on the other side.
pub struct Pairs(Vec<u32>);

impl Pairs {
    /// The position of the last node of the other side that is paired until there; -1 if there is none.
    pub fn position(&self, index: usize) -> f64 {
        match self.0[index] {
            u32::MAX => -1.0,
            position => f64::from(position),
        }
    }
}

/// The scalars of an operation, with the ways of saying the same made one.
fn scalar_texts(node: &Node<'_>) -> Vec<String> {
    let mut scalars: Vec<String> = node
        .scalars
        .iter()
        .filter(|(name, value)| **value != Value::None && !is_quiet(name))
        .map(|(name, value)| match node.meaning(name, value) {
            value if value.as_number().is_some() => format!("{name}={:?}", value.as_number()),
            value => format!("{name}={value}"),
        })
        .collect();
    scalars.sort_unstable();
    scalars
}

fn two_hashes(texts: &[String]) -> [u64; 2] {
    [0, 1].map(|which| {
        let mut hasher = DefaultHasher::new();
        (which, texts).hash(&mut hasher);
        hasher.finish()
    })
}
