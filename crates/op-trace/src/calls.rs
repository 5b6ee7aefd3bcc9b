//! What a comparison needs of each operation, in about 100 bytes instead of 1000: what many operations have in common is stored once.

use crate::distinct::Distinct;
use crate::operation::schema;
use crate::{GeneratorState, Grad, Operation, Phase, SharedStr, TensorValue, Value, ValueHash};
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// What calls at one line of a program have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    pub name: SharedStr,
    pub overload: Option<SharedStr>,
    pub phase: Phase,
    pub grad: Grad,
    pub module: Option<SharedStr>,
    pub eval: bool,
    pub at: Option<SharedStr>,
    pub node: Option<SharedStr>,
    pub parameter: Option<SharedStr>,
    /// Whether an argument is written.
    pub writes: bool,
    /// The parameter, buffer or gradient that is written first.
    pub updated: Option<SharedStr>,
}

/// A tensor without its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Form {
    pub dtype: SharedStr,
    pub shape: Vec<i64>,
    pub strides: Option<Vec<i64>>,
    pub name: Option<SharedStr>,
}

/// A tensor argument by its name, with an index if it is in a list, and the number of its form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Port {
    name: SharedStr,
    form: u32,
}

/// The arguments that have no tensor. Equal if all bits are.
#[derive(Debug, Clone)]
pub struct Scalars(Vec<(SharedStr, Value)>);

impl Scalars {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl PartialEq for Scalars {
    fn eq(&self, other: &Scalars) -> bool {
        let same = |(a, b): (&(SharedStr, Value), &(SharedStr, Value))| {
            a.0 == b.0 && a.1.is_identical(&b.1)
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

impl Eq for Scalars {}

impl Hash for Scalars {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (name, value) in &self.0 {
            name.hash(state);
            value.hash_bits(state);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    site: u32,
    scalars: u32,
    step: u32,
    /// `NONE` if there is none.
    forward: u32,
    inputs_end: u32,
    outputs_end: u32,
    flags: u8,
}

const NONE: u32 = u32::MAX;
const VIEW: u8 = 1;
const DRAWS: u8 = 2;

/// A tensor argument or a result: the number of its port or form, and that of its value.
#[derive(Debug, Clone, Copy)]
struct Slot {
    what: u32,
    value: u32,
}

/// The operations that wrote a storage since all of it was written.
#[derive(Debug, Clone)]
struct Written {
    /// The elements of the largest tensor that was written.
    most: i64,
    first: u32,
    /// None of most storages, which are written as a whole.
    more: Vec<u32>,
}

impl Written {
    fn calls(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    fn add(&mut self, call: u32, elements: i64) {
        if elements >= self.most {
            (self.most, self.first, self.more) = (elements, call, Vec::new());
            return;
        }
        if self.more.len() < MAX_WRITES {
            self.more.push(call);
        }
    }
}

/// More writes through views are not known to have made a whole.
const MAX_WRITES: usize = 1024;

/// The operations of a trace.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    sites: Distinct<Site>,
    forms: Distinct<Form>,
    ports: Distinct<Port>,
    scalars: Distinct<Scalars>,
    values: Distinct<(u32, ValueHash)>,
    dtypes: Distinct<SharedStr>,
    /// By value: whether it says little, since programs meet it by chance. All elements are one whole number, or there are none.
    weak: Vec<bool>,
    /// The storages that an operation wrote.
    written: HashMap<u64, Written>,
    /// Values that are met first in such a storage: what was written through a view of it, so not data from outside.
    inner: HashSet<u32>,
    /// What the writes through views made, by operation: the whole as it is met afterwards.
    wholes: Vec<(u32, Slot)>,
    /// What the last operation gave, if that is a view.
    last_view: Option<TensorValue>,
    states: Distinct<GeneratorState>,
    draws: Vec<(u32, u32, u32)>,
    entries: Vec<Entry>,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
}

/// An operation of a trace.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub index: usize,
    pub step: u32,
    pub forward: Option<usize>,
    pub site: &'a Site,
}

impl<'a> std::ops::Deref for Call<'a> {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.site
    }
}

/// The tensors that an operation takes, by name, if they have a hash.
pub fn taken(operation: &Operation) -> impl Iterator<Item = (String, &TensorValue)> {
    operation.arguments().flat_map(|(name, value)| {
        let tensors = value.tensors().into_iter();
        tensors
            .filter(|(_, tensor)| tensor.hash.is_some())
            .map(move |(suffix, tensor)| (format!("{name}{suffix}"), tensor))
    })
}

/// The results, and the arguments as they are afterwards.
pub fn given(operation: &Operation) -> impl Iterator<Item = &TensorValue> {
    let results = operation.results.iter().flat_map(Value::tensors);
    results
        .map(|(_, tensor)| tensor)
        .chain(operation.writes().map(|(_, tensor)| tensor))
        .filter(|tensor| tensor.hash.is_some())
}

impl Calls {
    /// More do not fit. A line adds far less than what is left.
    pub const MAX: usize = 3 << 30;

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_full(&self) -> bool {
        let largest = self.inputs.len().max(self.outputs.len());
        largest.max(self.entries.len()) >= Calls::MAX
    }

    /// Adds an operation. Of one that computes nothing, the values are not needed.
    pub fn add(&mut self, operation: &Operation, computes: bool) {
        let first_output = self.outputs.len();
        let mut flags = 0;
        if computes {
            self.add_values(operation);
            let storages: Vec<u64> = taken(operation)
                .filter_map(|(_, tensor)| tensor.storage)
                .collect();
            let shares = |tensor: &TensorValue| {
                let storage = tensor.storage;
                storage.is_some_and(|storage| storages.contains(&storage))
            };
            let gives = self.outputs.len() > first_output;
            if gives && operation.writes().next().is_none() && given(operation).all(shares) {
                flags |= VIEW;
                self.last_view = given(operation).next().cloned();
            }
            if let Some([before, after]) = operation.generator.as_deref() {
                let (before, after) = (self.states.number(*before), self.states.number(*after));
                self.draws.push((self.entries.len() as u32, before, after));
                flags |= DRAWS;
            }
        }
        let scalars = operation
            .arguments()
            .filter(|(_, value)| computes && !value.has_tensors())
            .map(|(name, value)| (name.into(), value.clone()))
            .collect();
        let site = Site::of(operation);
        self.entries.push(Entry {
            site: self.sites.number(site),
            scalars: self.scalars.number(Scalars(scalars)),
            step: operation.step,
            forward: operation.forward.map_or(NONE, |forward| forward as u32),
            inputs_end: self.inputs.len() as u32,
            outputs_end: self.outputs.len() as u32,
            flags,
        });
    }

    fn add_values(&mut self, operation: &Operation) {
        for (name, tensor) in taken(operation) {
            let known = self.values();
            if let Some(value) = self.value(tensor) {
                let form = self.form(tensor);
                let storage = tensor.storage.filter(|_| value as usize >= known);
                if let Some(written) = storage.and_then(|storage| self.written.get(&storage)) {
                    self.inner.insert(value);
                    let slot = Slot { what: form, value };
                    let made = written.calls().map(|call| (call, slot));
                    self.wholes.extend(made);
                }
                let name = name.as_str().into();
                let what = self.ports.number(Port { name, form });
                self.inputs.push(Slot { what, value });
            }
        }
        // A copy into a view takes nothing of it but its place.
        if let Some(view) = self.last_view.take()
            && let Some((name, _)) = operation
                .writes()
                .find(|(_, tensor)| tensor.storage == view.storage && tensor.shape == view.shape)
            && taken(operation).all(|(other, _)| other != name)
            && let Some(value) = self.value(&view)
        {
            let form = self.form(&view);
            let what = self.ports.number(Port {
                name: name.into(),
                form,
            });
            self.inputs.push(Slot { what, value });
        }
        let first = self.outputs.len();
        for tensor in given(operation) {
            if let Some(value) = self.value(tensor)
                && !self.outputs[first..].iter().any(|slot| slot.value == value)
            {
                let what = self.form(tensor);
                self.outputs.push(Slot { what, value });
            }
        }
        let call = self.entries.len() as u32;
        for (_, tensor) in operation.writes() {
            let Some(storage) = tensor.storage else {
                continue;
            };
            let elements = tensor.elements();
            let first = || Written {
                most: elements,
                first: call,
                more: Vec::new(),
            };
            let written = self.written.entry(storage);
            written
                .and_modify(|written| written.add(call, elements))
                .or_insert_with(first);
        }
    }

    fn form(&mut self, tensor: &TensorValue) -> u32 {
        self.forms.number(Form {
            dtype: tensor.dtype.clone(),
            shape: tensor.shape.clone(),
            strides: tensor.strides.clone(),
            name: tensor.name.clone(),
        })
    }

    /// The number of a value, if it has a hash. Remembers whether it is weak.
    pub fn value(&mut self, tensor: &TensorValue) -> Option<u32> {
        let hash = tensor.hash?;
        let dtype = self.dtypes.number(tensor.dtype.clone());
        let value = self.values.number((dtype, hash));
        if self.weak.len() <= value as usize {
            self.weak.push(false);
        }
        let is_whole = tensor
            .all
            .is_some_and(|value| !value.is_finite() || value.fract() == 0.0);
        self.weak[value as usize] |= is_whole || tensor.elements() == 0;
        Some(value)
    }

    /// Whether an operation takes or gives a value.
    pub fn has_value(&self, tensor: &TensorValue) -> bool {
        let dtype = self.dtypes.find(&tensor.dtype);
        let value = dtype.zip(tensor.hash);
        value.is_some_and(|value| self.values.find(&value).is_some())
    }

    /// Gives back memory that was kept for more operations.
    pub fn shrink(&mut self) {
        self.written = HashMap::new();
        self.wholes.sort_by_key(|(call, _)| *call);
        self.values.shrink();
        self.states.shrink();
        self.weak.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.inputs.shrink_to_fit();
        self.outputs.shrink_to_fit();
    }

    /// The number of different values.
    pub fn values(&self) -> usize {
        self.values.items().len()
    }

    /// Whether a value was met first in memory that an operation had written.
    pub fn is_inner(&self, value: u32) -> bool {
        self.inner.contains(&value)
    }

    pub fn is_weak(&self, value: usize) -> bool {
        self.weak[value]
    }

    /// The value of another trace that is the same as a value of this one.
    pub fn same_value(&self, value: usize, other: &Calls) -> Option<u32> {
        let (dtype, hash) = self.values.items()[value];
        let dtype = other.dtypes.find(&self.dtypes[dtype])?;
        other.values.find(&(dtype, hash))
    }

    /// The states of generators.
    pub fn states(&self) -> &[GeneratorState] {
        self.states.items()
    }

    /// The number of a state, if the trace has it.
    pub fn find_state(&self, state: &GeneratorState) -> Option<u32> {
        self.states.find(state)
    }

    pub fn call(&self, index: usize) -> Call<'_> {
        let entry = &self.entries[index];
        Call {
            index,
            step: entry.step,
            forward: (entry.forward != NONE).then_some(entry.forward as usize),
            site: &self.sites[entry.site],
        }
    }

    fn inputs_of(&self, index: usize) -> &[Slot] {
        let first = index
            .checked_sub(1)
            .map_or(0, |last| self.entries[last].inputs_end);
        &self.inputs[first as usize..self.entries[index].inputs_end as usize]
    }

    fn outputs_of(&self, index: usize) -> &[Slot] {
        let first = index
            .checked_sub(1)
            .map_or(0, |last| self.entries[last].outputs_end);
        &self.outputs[first as usize..self.entries[index].outputs_end as usize]
    }

    /// The values that an operation takes.
    pub fn input_values(&self, index: usize) -> impl Iterator<Item = u32> {
        self.inputs_of(index).iter().map(|slot| slot.value)
    }

    /// What an operation made by writing through a view.
    fn wholes_of(&self, index: usize) -> impl Iterator<Item = &Slot> {
        let index = index as u32;
        let first = self.wholes.partition_point(|(call, _)| *call < index);
        let of = self.wholes[first..].iter();
        of.take_while(move |(call, _)| *call == index)
            .map(|(_, slot)| slot)
    }

    /// The values that an operation gives.
    pub fn output_values(&self, index: usize) -> impl Iterator<Item = u32> {
        let given = self.outputs_of(index).iter();
        given.chain(self.wholes_of(index)).map(|slot| slot.value)
    }

    /// The name of an argument, its value, and its form.
    pub fn inputs(&self, index: usize) -> impl Iterator<Item = (&str, u32, &Form)> {
        self.inputs_of(index).iter().map(|slot| {
            let port = &self.ports[slot.what];
            (port.name.as_str(), slot.value, &self.forms[port.form])
        })
    }

    /// The results with their forms, each value once.
    pub fn outputs(&self, index: usize) -> impl Iterator<Item = (u32, &Form)> {
        let given = self.outputs_of(index).iter();
        given
            .chain(self.wholes_of(index))
            .map(|slot| (slot.value, &self.forms[slot.what]))
    }

    /// The arguments that have no tensor.
    pub fn scalars(&self, index: usize) -> &Scalars {
        &self.scalars[self.entries[index].scalars]
    }

    /// Equal numbers have equal scalars, and first inputs and outputs of equal forms.
    pub fn scalars_in_context(&self, index: usize) -> [u32; 3] {
        let form = |slot: Option<&Slot>| slot.map_or(NONE, |slot| slot.what);
        let input = self.inputs_of(index).first();
        [
            self.entries[index].scalars,
            input.map_or(NONE, |slot| self.ports[slot.what].form),
            form(self.outputs_of(index).first()),
        ]
    }

    /// The numbers of the states before and after a draw.
    pub fn draw(&self, index: usize) -> Option<(u32, u32)> {
        if self.entries[index].flags & DRAWS == 0 {
            return None;
        }
        let found = self
            .draws
            .binary_search_by_key(&(index as u32), |(call, ..)| *call);
        found.ok().map(|at| (self.draws[at].1, self.draws[at].2))
    }

    /// Whether the results share the memory of an argument.
    pub fn is_view(&self, index: usize) -> bool {
        self.entries[index].flags & VIEW != 0
    }
}

impl Site {
    fn of(operation: &Operation) -> Site {
        Site {
            name: operation.name.clone(),
            overload: operation.overload.clone(),
            phase: operation.phase,
            grad: operation.grad,
            module: operation.module.clone(),
            eval: operation.eval,
            at: operation.at.clone(),
            node: operation.node.clone(),
            parameter: operation.parameter.clone(),
            writes: operation.writes().next().is_some(),
            updated: operation
                .writes()
                .find_map(|(_, tensor)| tensor.name.clone()),
        }
    }

    /// The schema's name without its namespace, with the overload.
    pub fn schema(&self) -> String {
        schema(&self.name, self.overload.as_ref())
    }
}
