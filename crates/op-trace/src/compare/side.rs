//! One of the two traces, indexed by value.

use crate::{Operation, Phase, SharedStr, TensorValue, Trace, Value, ValueHash};
use std::collections::{HashMap, HashSet};

/// A value: a dtype and the hash of the bytes, shared by both sides.
pub type Key = u32;

/// Numbers for what is compared.
#[derive(Default)]
pub struct Keys {
    values: HashMap<(SharedStr, ValueHash), Key>,
    states: HashMap<(u64, ValueHash), u32>,
    /// Values that say little, since programs meet them by chance: all elements are one whole number.
    pub weak: HashSet<Key>,
}

impl Keys {
    pub fn value(&mut self, tensor: &TensorValue) -> Option<Key> {
        let hash = tensor.hash?;
        let next = self.values.len() as Key;
        let key = *self
            .values
            .entry((tensor.dtype.clone(), hash))
            .or_insert(next);
        let is_whole = tensor
            .all
            .is_some_and(|value| !value.is_finite() || value.fract() == 0.0);
        if is_whole || tensor.elements() == 0 {
            self.weak.insert(key);
        }
        Some(key)
    }

    fn state(&mut self, state: &crate::GeneratorState) -> u32 {
        let next = self.states.len() as u32;
        *self.states.entry((state.seed, state.state)).or_insert(next)
    }
}

/// A tensor argument.
pub struct Input<'a> {
    pub name: String,
    pub key: Key,
    pub tensor: &'a TensorValue,
}

/// What a computation does in a program: the pass number and the kind of the pass. Both languages have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pass {
    number: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Forward,
    Backward,
    Update,
}

/// An operation as it is compared.
pub struct Node<'a> {
    pub operation: &'a Operation,
    pub canon: String,
    pub pass: Pass,
    pub inputs: Vec<Input<'a>>,
    pub scalars: Vec<(&'a str, &'a Value)>,
    pub outputs: Vec<(Key, &'a TensorValue)>,
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
            ("dtype", Value::None) => self.inputs.first().map_or(Value::None, |input| {
                Value::Text(input.tensor.dtype.to_string())
            }),
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

/// A trace, indexed by value.
pub struct Side<'a> {
    pub trace: &'a Trace,
    pub label: &'static str,
    pub nodes: Vec<Node<'a>>,
    /// Indices of nodes by the index of the operation.
    pub of_operation: Vec<Option<usize>>,
    producers: HashMap<Key, Vec<usize>>,
    consumers: HashMap<Key, Vec<usize>>,
    /// The values that no operation made, where they are met first: the node and its input.
    pub roots: Vec<(Key, usize, usize)>,
    root_keys: HashSet<Key>,
    states: HashSet<u32>,
    signatures: HashMap<Signature, Vec<usize>>,
    /// Bad nodes by pass.
    pub bad_by_pass: HashMap<Pass, Vec<usize>>,
}

/// An operation with its values, wherever it is.
#[derive(PartialEq, Eq, Hash, Clone)]
pub struct Signature {
    canon: String,
    inputs: Vec<Key>,
    scalars: String,
    outputs: Vec<Key>,
}

/// Operations that compute nothing, and ways of writing the same operation.
fn canon(name: &str) -> Option<&str> {
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
        other => other,
    })
}

impl<'a> Side<'a> {
    pub fn new(trace: &'a Trace, label: &'static str, keys: &mut Keys) -> Side<'a> {
        let mut side = Side {
            trace,
            label,
            nodes: Vec::new(),
            of_operation: Vec::with_capacity(trace.operations.len()),
            producers: HashMap::new(),
            consumers: HashMap::new(),
            roots: Vec::new(),
            root_keys: HashSet::new(),
            states: HashSet::new(),
            signatures: HashMap::new(),
            bad_by_pass: HashMap::new(),
        };
        for named in trace.models.iter().flat_map(|model| &model.names) {
            // Says which values are weak.
            keys.value(&named.tensor);
        }
        let (mut passes, mut last) = (0, Kind::Forward);
        for operation in &trace.operations {
            let kind = match operation.phase {
                Phase::Backward => Kind::Backward,
                Phase::Optimizer => Kind::Update,
                Phase::Forward => match operation.grad {
                    crate::Grad::On => Kind::Forward,
                    _ => Kind::Update,
                },
            };
            if kind == Kind::Backward && last != Kind::Backward {
                passes += 1;
            }
            last = kind;
            let pass = Pass {
                number: passes,
                kind,
            };
            match side.node(operation, pass, keys) {
                Some(node) => {
                    side.of_operation.push(Some(side.nodes.len()));
                    side.nodes.push(node);
                }
                None => side.of_operation.push(None),
            }
        }
        side.index();
        side
    }

    fn node(&mut self, operation: &'a Operation, pass: Pass, keys: &mut Keys) -> Option<Node<'a>> {
        let canon = canon(&operation.name)?.to_owned();
        let (mut inputs, mut scalars) = (Vec::new(), Vec::new());
        for (name, value) in operation.arguments() {
            let tensors = value.tensors();
            if tensors.is_empty() {
                scalars.push((name, value));
            }
            for (suffix, tensor) in tensors {
                if let Some(key) = keys.value(tensor) {
                    inputs.push(Input {
                        name: format!("{name}{suffix}"),
                        key,
                        tensor,
                    });
                }
            }
        }
        let mut outputs: Vec<(Key, &TensorValue)> = Vec::new();
        let results = operation
            .results
            .iter()
            .flat_map(Value::tensors)
            .map(|(_, tensor)| tensor);
        for tensor in results.chain(operation.writes().map(|(_, tensor)| tensor)) {
            let key = keys.value(tensor);
            if let Some(key) = key.filter(|key| !outputs.iter().any(|(known, _)| known == key)) {
                outputs.push((key, tensor));
            }
        }
        let states = match operation.generator.as_deref() {
            Some([before, after]) => Some((keys.state(before), keys.state(after))),
            _ => None,
        };
        if let Some((before, after)) = states {
            self.states.extend([before, after]);
        }
        let storages: Vec<u64> = inputs
            .iter()
            .filter_map(|input| input.tensor.storage)
            .collect();
        let view = !outputs.is_empty()
            && operation.writes().next().is_none()
            && outputs.iter().all(|(_, tensor)| {
                tensor
                    .storage
                    .is_some_and(|storage| storages.contains(&storage))
            });
        Some(Node {
            operation,
            canon,
            pass,
            inputs,
            scalars,
            outputs,
            states,
            bad: false,
            bad_input: false,
            view,
        })
    }

    fn index(&mut self) {
        for (index, node) in self.nodes.iter().enumerate() {
            for (position, input) in node.inputs.iter().enumerate() {
                if !self.producers.contains_key(&input.key) && self.root_keys.insert(input.key) {
                    self.roots.push((input.key, index, position));
                }
                let consumers = self.consumers.entry(input.key).or_default();
                if consumers.last() != Some(&index) {
                    consumers.push(index);
                }
            }
            for (key, _) in &node.outputs {
                self.producers.entry(*key).or_default().push(index);
            }
        }
        for index in 0..self.nodes.len() {
            let signature = self.signature(index);
            self.signatures.entry(signature).or_default().push(index);
        }
    }

    /// Whether the side has a value.
    pub fn has(&self, key: Key) -> bool {
        self.producers.contains_key(&key) || self.root_keys.contains(&key)
    }

    pub fn has_state(&self, state: u32) -> bool {
        self.states.contains(&state)
    }

    /// The last node before `before` that made a value.
    pub fn producer(&self, key: Key, before: usize) -> Option<usize> {
        let made = self.producers.get(&key)?;
        made[..made.partition_point(|index| *index < before)]
            .last()
            .copied()
    }

    /// The nodes after `after` that take a value.
    pub fn consumers(&self, key: Key, after: usize) -> &[usize] {
        let Some(all) = self.consumers.get(&key) else {
            return &[];
        };
        &all[all.partition_point(|index| *index <= after)..]
    }

    /// All nodes that take a value.
    pub fn all_consumers(&self, key: Key) -> &[usize] {
        self.consumers.get(&key).map_or(&[], Vec::as_slice)
    }

    pub fn signature(&self, index: usize) -> Signature {
        let node = &self.nodes[index];
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
        Signature {
            canon: node.canon.clone(),
            inputs: node.inputs.iter().map(|input| input.key).collect(),
            scalars: scalars.join(" "),
            outputs: node.outputs.iter().map(|(key, _)| *key).collect(),
        }
    }

    /// Marks the nodes whose results the other side lacks.
    pub fn judge(&mut self, other: &Side<'_>, weak: &HashSet<Key>) {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let mut bad_input = node
                .states
                .is_some_and(|(before, _)| !other.has_state(before));
            for input in &node.inputs {
                bad_input |= match weak.contains(&input.key) {
                    true => self
                        .producer(input.key, index)
                        .is_some_and(|producer| self.nodes[producer].bad),
                    false => !other.has(input.key),
                };
            }
            let mut strong = node
                .outputs
                .iter()
                .filter(|(key, _)| !weak.contains(key))
                .peekable();
            let has_strong = strong.peek().is_some();
            let mut bad = strong.any(|(key, _)| !other.has(*key));
            if !has_strong && !node.outputs.is_empty() {
                bad = !other.signatures.contains_key(&self.signature(index));
            }
            bad |= node
                .states
                .is_some_and(|(_, after)| !other.has_state(after));
            let node = &mut self.nodes[index];
            node.bad_input = bad_input;
            node.bad = bad;
            if bad {
                self.bad_by_pass.entry(node.pass).or_default().push(index);
            }
        }
    }

    /// For each node, the node of the other side with the same values, each used once.
    pub fn pairs(&self, other: &Side<'_>) -> Vec<Option<usize>> {
        let mut used: HashMap<Signature, usize> = HashMap::new();
        (0..self.nodes.len())
            .map(|index| {
                let signature = self.signature(index);
                let list = other.signatures.get(&signature)?;
                let next = used.entry(signature).or_insert(0);
                let found = list.get(*next).copied();
                *next += 1;
                found
            })
            .collect()
    }

    /// The bad nodes that come from a node, itself included, in order.
    pub fn closure(&self, start: usize) -> Vec<usize> {
        let mut seen = std::collections::BTreeSet::from([start]);
        let mut todo = vec![start];
        while let Some(index) = todo.pop() {
            for (key, _) in &self.nodes[index].outputs {
                for &consumer in self.consumers(*key, index) {
                    if self.nodes[consumer].bad && seen.insert(consumer) {
                        todo.push(consumer);
                    }
                }
            }
        }
        seen.into_iter().collect()
    }
}
