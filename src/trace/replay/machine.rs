//! Executes a trace.

use super::NotRun;
use super::arguments::Argument;
use super::call::{Call, Restored, execute};
use super::memory::{self, Layout};
use super::slice::{Slice, argument_tensors};
use crate::trace::elements;
use crate::trace::hash::value_hash;
use op_trace::{Operation, TensorValue, Trace, Value, ValueHash};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use tch::Tensor;
use tensor_parity::file::TensorFile;

/// How many states of generators are held, 5 KB each.
const MAX_STATES: usize = 4096;

/// A trace that is executed. Operations are run in order; [`Replay::call`] gives any one of them with its arguments.
pub struct Replay<'t> {
    trace: &'t Trace,
    threads: Option<i32>,
    slice: Arc<Slice>,
    values: Option<Arc<TensorFile>>,
    needed: Vec<usize>,
    /// The position in `needed`.
    next: usize,
    storages: HashMap<u64, Storage>,
    last_use: HashMap<u64, usize>,
    states: HashMap<ValueHash, Vec<u8>>,
    /// Values of results that memory from outside has too.
    twins: HashMap<ValueHash, Vec<u8>>,
    generator: Option<Restored>,
    /// Results that take the place of what operations compute: by operation, in the order of its outputs.
    replaced: HashMap<usize, Vec<Tensor>>,
    /// Whether values may differ from the trace.
    free: bool,
    /// Operations that give other bits here.
    other_bits: Vec<usize>,
}

struct Storage {
    /// Any tensor that has it.
    base: Tensor,
    bytes: usize,
    /// Whether an operation made or wrote it.
    computed: bool,
    /// Hashes of tensors in it, since the last write.
    known: Vec<(Layout, ValueHash)>,
}

impl<'t> Replay<'t> {
    /// Prepares to run operations of a trace, which was read from `path`.
    ///
    /// # Errors
    ///
    /// The trace, or the file of values beside it, cannot be read.
    pub fn new(path: &Path, trace: &'t Trace) -> Result<Replay<'t>, NotRun> {
        let values = match &trace.values {
            Some(name) => {
                let file = path.with_file_name(name);
                match file.exists() {
                    true => Some(Arc::new(
                        TensorFile::open(&file)
                            .map_err(|error| NotRun::Values(error.to_string()))?,
                    )),
                    false => None,
                }
            }
            None => None,
        };
        Ok(Replay {
            trace,
            threads: trace
                .environment
                .get("threads")
                .and_then(|threads| threads.parse().ok()),
            slice: Arc::new(Slice::new(trace)?),
            values,
            needed: Vec::new(),
            next: 0,
            storages: HashMap::new(),
            last_use: HashMap::new(),
            states: HashMap::new(),
            twins: HashMap::new(),
            generator: None,
            replaced: HashMap::new(),
            free: false,
            other_bits: Vec::new(),
        })
    }

    /// A run of the same trace from its beginning.
    fn restart(&mut self, needed: Vec<usize>, targets: &[usize]) {
        self.last_use.clear();
        for index in needed.iter().chain(targets) {
            for storage in self.slice.touched(*index) {
                let last = self.last_use.entry(storage).or_insert(*index);
                *last = (*last).max(*index);
            }
        }
        self.needed = needed;
        self.next = 0;
        self.storages.clear();
        self.other_bits.clear();
        self.replaced.clear();
        self.free = false;
    }

    /// The operation with its arguments, after all that it needs was run.
    ///
    /// # Errors
    ///
    /// Why it cannot be run here.
    pub fn call(&mut self, index: usize) -> Result<Call, NotRun> {
        let needed = match self.has_kept_inputs_of(&self.operation(index)?) {
            true => Vec::new(),
            false => self.slice.needed(&[index]),
        };
        self.restart(needed, &[index]);
        self.run_before(index)?;
        let call = self.prepared(index, false);
        self.generator = None;
        call
    }

    /// Whether the file of values has all that an operation takes.
    fn has_kept_inputs_of(&self, operation: &Operation) -> bool {
        let has = |dtype: &str, hash: ValueHash| {
            let values = self.values.as_ref();
            values.is_some_and(|values| values.get(&format!("{dtype}:{hash}")).is_some())
        };
        let mut tensors = argument_tensors(operation).filter(|tensor| !tensor.uninitialized);
        let state = operation.generator.as_deref().and_then(<[_]>::first);
        tensors.all(|tensor| {
            tensor
                .hash
                .is_some_and(|hash| has(tensor.dtype.as_str(), hash))
        }) && state.is_none_or(|state| has("uint8", state.state))
    }

    /// Starts a run of all operations.
    pub fn start(&mut self) {
        self.restart((0..self.trace.len()).collect(), &[]);
        // Parameters are asked for at the end.
        for (_, tensor) in self.trace.end.iter().flat_map(|end| end.outcome()) {
            if let Some(storage) = tensor.storage {
                self.last_use.remove(&storage);
            }
        }
    }

    /// Starts a run of all operations in which the results of some are replaced. Values may then differ from the trace.
    pub fn start_with(&mut self, replaced: HashMap<usize, Vec<Tensor>>) {
        self.start();
        self.free = true;
        self.replaced = replaced;
    }

    /// Whether the program has all values that an operation of another one takes, and the state that it draws from.
    #[must_use]
    pub fn has_inputs_of(&self, operation: &Operation) -> bool {
        self.slice.has_inputs_of(operation)
    }

    /// The operations of the current run that gave other bits here than in the trace.
    #[must_use]
    pub fn other_bits(&self) -> &[usize] {
        &self.other_bits
    }

    /// Runs the needed operations before one.
    ///
    /// # Errors
    ///
    /// Why one cannot be run here.
    pub fn run_before(&mut self, index: usize) -> Result<(), NotRun> {
        while let Some(next) = self.needed.get(self.next).copied() {
            if next >= index {
                break;
            }
            self.next += 1;
            let operation = self.operation(next)?;
            self.step(&operation)?;
        }
        Ok(())
    }

    pub(super) fn operation(&self, index: usize) -> Result<Operation, NotRun> {
        self.trace
            .operation(index)
            .map_err(|error| NotRun::Trace(error.to_string()))
    }

    /// The operation with copies of its arguments as they are now.
    fn prepared(&mut self, index: usize, alias: bool) -> Result<Call, NotRun> {
        let operation = self.operation(index)?;
        if operation.error.is_some() {
            return Err(NotRun::Failed);
        }
        let arguments = self.arguments(&operation, alias)?;
        let state = match operation.generator.as_deref() {
            Some([before, _]) => Some(self.state(index, before.seed, before.state)?),
            _ => None,
        };
        Ok(Call {
            operation,
            arguments,
            state,
            threads: self.threads,
        })
    }

    /// The tensors that an operation gives in this run: results, then what it writes.
    ///
    /// # Errors
    ///
    /// Why it cannot be run here.
    pub fn outputs(&mut self, index: usize) -> Result<Vec<Tensor>, NotRun> {
        self.run_before(index + 1)?;
        let operation = self.operation(index)?;
        let outputs: Vec<TensorValue> = outputs(&operation).cloned().collect();
        outputs.iter().map(|tensor| self.current(tensor)).collect()
    }

    /// A tensor as it is now.
    ///
    /// # Errors
    ///
    /// Its storage is not there.
    pub fn current(&self, tensor: &TensorValue) -> Result<Tensor, NotRun> {
        let missing = || NotRun::MissingValue(shown(tensor));
        let storage = tensor.storage.ok_or_else(missing)?;
        let storage = self.storages.get(&storage).ok_or_else(missing)?;
        memory::view(&storage.base, &Layout::of(tensor))
    }

    /// Runs the next operation and returns what its tensors are in this run: arguments before it, then results and what it
    /// writes. `None` is a tensor without a value.
    pub(crate) fn step_seen(&mut self, index: usize) -> Result<Vec<Option<Seen>>, NotRun> {
        self.run_before(index)?;
        let operation = self.operation(index)?;
        if operation.error.is_some() {
            self.next += 1;
            return Ok(Vec::new());
        }
        self.arguments(&operation, true)?;
        let mut seen: Vec<Option<Seen>> = argument_tensors(&operation)
            .map(|tensor| self.seen(tensor))
            .collect();
        let touched = std::mem::take(&mut self.last_use);
        let ran = self.run_before(index + 1);
        self.last_use = touched;
        ran?;
        seen.extend(super::slice::output_tensors(&operation).map(|tensor| self.seen(tensor)));
        self.free_after(index);
        Ok(seen)
    }

    /// What a tensor is in this run.
    pub(crate) fn seen(&self, tensor: &TensorValue) -> Option<Seen> {
        tensor.hash?;
        Seen::of(&self.current(tensor).ok()?).ok()
    }

    /// The operation with its arguments in a run of all operations with some results replaced.
    pub(crate) fn call_with(
        &mut self,
        index: usize,
        replaced: HashMap<usize, Vec<Tensor>>,
    ) -> Result<Call, NotRun> {
        self.start_with(replaced);
        self.run_before(index)?;
        let call = self.prepared(index, false);
        self.generator = None;
        call
    }

    /// Forgets storages that no later operation has.
    fn free_after(&mut self, index: usize) {
        let touched: Vec<u64> = self.slice.touched(index).collect();
        for storage in touched {
            if self.last_use.get(&storage) == Some(&index) {
                self.storages.remove(&storage);
            }
        }
    }

    fn step(&mut self, operation: &Operation) -> Result<(), NotRun> {
        if operation.error.is_some() {
            return Ok(());
        }
        let index = operation.index;
        let arguments = self.arguments(operation, true)?;
        if let Some([before, _]) = operation.generator.as_deref() {
            let state = self.state(index, before.seed, before.state)?;
            match &mut self.generator {
                Some(generator) => generator.set(&state)?,
                None => self.generator = Some(Restored::new(&state)?),
            }
        }
        let results = execute(operation, &arguments, self.threads)?;
        if let (Some([_, after]), Some(generator)) =
            (operation.generator.as_deref(), &self.generator)
        {
            let state = generator.get()?;
            if value_hash(&state) == after.state {
                if self.states.len() >= MAX_STATES {
                    self.states.clear();
                }
                self.states.insert(after.state, state);
            }
        }
        self.settle(operation, results)?;
        self.free_after(index);
        Ok(())
    }

    /// Puts results where the trace has them.
    fn settle(&mut self, operation: &Operation, results: Vec<Tensor>) -> Result<(), NotRun> {
        let index = operation.index;
        let recorded: Vec<&TensorValue> = operation
            .results
            .iter()
            .flat_map(Value::tensors)
            .map(|(_, tensor)| tensor)
            .collect();
        if recorded.len() != results.len() {
            return Err(NotRun::Results(index));
        }
        for storage in self.slice.touched(index).collect::<HashSet<_>>() {
            if let Some(storage) = self.storages.get_mut(&storage) {
                storage.known.clear();
            }
        }
        for (_, tensor) in operation.writes() {
            if let Some(storage) = tensor.storage.and_then(|s| self.storages.get_mut(&s)) {
                storage.computed = true;
            }
        }
        for (result, tensor) in results.into_iter().zip(&recorded) {
            if result.size() != tensor.shape || memory::dtype(&result)? != tensor.dtype.as_str() {
                return Err(NotRun::Results(index));
            }
            let Some(number) = tensor.storage else {
                continue;
            };
            let layout = Layout::of(tensor);
            let is_taken = argument_tensors(operation).any(|a| a.storage == Some(number));
            if is_taken {
                continue;
            }
            let found = crate::ffi::storage(&result).map_err(NotRun::libtorch)?;
            let fits = result.stride() == layout.strides && found.offset == layout.offset;
            let bytes = usize::try_from(found.nbytes).unwrap_or(0);
            let storage = match fits || tensor.elements() == 0 {
                true => Storage {
                    base: result.shallow_clone(),
                    bytes,
                    computed: true,
                    known: Vec::new(),
                },
                false => {
                    // Laid out otherwise here.
                    let bytes = layout
                        .bytes()
                        .ok_or_else(|| NotRun::Opaque(layout.dtype.clone()))?;
                    let base = memory::memory(bytes)?;
                    memory::store(&base, &layout, &memory::read(&result)?)?;
                    Storage {
                        base,
                        bytes,
                        computed: true,
                        known: Vec::new(),
                    }
                }
            };
            self.storages.insert(number, storage);
        }
        if let Some(values) = self.replaced.get(&index) {
            let outputs: Vec<&TensorValue> = outputs(operation).collect();
            for (tensor, value) in outputs.into_iter().zip(values) {
                let layout = Layout::of(tensor);
                let value = memory::read(value)?;
                if layout.logical_bytes() != Some(value.len()) {
                    return Err(NotRun::Results(index));
                }
                memory::store(&self.current(tensor)?, &layout, &value)?;
            }
        }
        if self.free {
            return Ok(());
        }
        let mut is_same = true;
        for tensor in outputs(operation) {
            let (Some(hash), Some(number)) = (tensor.hash, tensor.storage) else {
                continue;
            };
            let bytes = memory::read(&self.current(tensor)?)?;
            let found = value_hash(&bytes);
            is_same &= found == hash;
            if found == hash && self.slice.is_twin(hash) {
                self.twins.insert(hash, bytes);
            }
            if let Some(storage) = self.storages.get_mut(&number) {
                storage.known.push((Layout::of(tensor), found));
            }
        }
        if !is_same {
            self.other_bits.push(index);
        }
        Ok(())
    }

    fn arguments(
        &mut self,
        operation: &Operation,
        alias: bool,
    ) -> Result<Vec<(String, Argument)>, NotRun> {
        let mut position = 0;
        let mut arguments = Vec::new();
        for (name, value) in operation.arguments() {
            arguments.push((
                name.to_owned(),
                self.argument(operation.index, name, value, &mut position, alias)?,
            ));
        }
        Ok(arguments)
    }

    fn argument(
        &mut self,
        index: usize,
        name: &str,
        value: &Value,
        position: &mut usize,
        alias: bool,
    ) -> Result<Argument, NotRun> {
        Ok(match value {
            Value::None | Value::Generator(_) => Argument::None,
            Value::Bool(value) => Argument::Bool(*value),
            Value::Int(value) => Argument::Int(*value),
            Value::Float(value) => Argument::Float(*value),
            Value::Text(text) => Argument::text(text.as_str())?,
            Value::List(list) => Argument::List(
                list.iter()
                    .map(|value| self.argument(index, name, value, position, alias))
                    .collect::<Result<_, NotRun>>()?,
            ),
            Value::Tensor(tensor) => {
                let outside = self.slice.is_outside(index, *position);
                *position += 1;
                let found = self.input(tensor, name, outside)?;
                Argument::Tensor(match alias {
                    true => found,
                    false => memory::copied(&found, &Layout::of(tensor))?,
                })
            }
            other => return Err(NotRun::Argument(other.to_string())),
        })
    }

    /// A tensor that an operation takes, in its storage.
    fn input(&mut self, tensor: &TensorValue, name: &str, outside: bool) -> Result<Tensor, NotRun> {
        if let Some(kind) = &tensor.opaque {
            return Err(NotRun::Opaque(kind.to_string()));
        }
        if let Some(device) = &tensor.device {
            return Err(NotRun::Device(device.to_string()));
        }
        let Some(number) = tensor.storage else {
            return Err(NotRun::Opaque(tensor.dtype.to_string()));
        };
        let layout = Layout::of(tensor);
        let bytes = layout
            .bytes()
            .ok_or_else(|| NotRun::Opaque(layout.dtype.clone()))?;
        let is_new = !self.storages.contains_key(&number);
        let held = self
            .storages
            .get(&number)
            .map_or(0, |storage| storage.bytes);
        if is_new || held < bytes {
            self.grow(number, bytes)?;
        }
        let found = self.current(tensor)?;
        let Some(hash) = tensor.hash else {
            return Ok(found);
        };
        let storage = self.storages.get(&number);
        let computed = storage.is_some_and(|storage| storage.computed);
        if self.free && computed && !outside {
            return Ok(found);
        }
        let known = storage
            .and_then(|storage| storage.known.iter().find(|(known, _)| *known == layout))
            .map(|(_, hash)| *hash);
        let is_same = !is_new
            && match known {
                Some(known) => known == hash,
                None => memory::hash(&found)? == hash,
            };
        if !is_same {
            let key = format!("{}:{hash}", tensor.dtype);
            let value = self.values.as_ref().and_then(|values| values.get(&key));
            let value = value.map(|value| value.to_bytes());
            match value.or_else(|| self.twins.get(&hash).cloned()) {
                Some(value) => {
                    let base = self.storages.get(&number).map(|storage| &storage.base);
                    memory::store(base.unwrap_or(&found), &layout, &value)?;
                    if let Some(storage) = self.storages.get_mut(&number) {
                        storage.known.clear();
                    }
                }
                None if computed => {
                    return Err(match self.other_bits.last() {
                        Some(index) => NotRun::OtherBits(*index),
                        None => NotRun::Changed(name.to_owned()),
                    });
                }
                None if tensor.elements() == 0 => {}
                None => return Err(NotRun::MissingValue(shown(tensor))),
            }
        }
        if let Some(storage) = self.storages.get_mut(&number)
            && known.is_none()
        {
            storage.known.push((layout, hash));
        }
        Ok(found)
    }

    /// Makes a storage, or makes it larger.
    fn grow(&mut self, number: u64, bytes: usize) -> Result<(), NotRun> {
        let base = memory::memory(bytes)?;
        let mut grown = Storage {
            base,
            bytes,
            computed: false,
            known: Vec::new(),
        };
        if let Some(old) = self.storages.remove(&number) {
            let layout = Layout {
                dtype: "uint8".to_owned(),
                shape: vec![i64::try_from(old.bytes).unwrap_or(i64::MAX)],
                strides: vec![1],
                offset: 0,
            };
            let source = memory::view(&old.base, &layout)?;
            memory::write(
                &memory::view(&grown.base, &layout)?,
                &memory::read(&source)?,
            )?;
            grown.computed = old.computed;
            grown.known = old.known;
        }
        self.storages.insert(number, grown);
        Ok(())
    }

    /// The bytes of a state of the generator.
    fn state(&mut self, index: usize, seed: u64, hash: ValueHash) -> Result<Vec<u8>, NotRun> {
        if let Some(state) = self.states.get(&hash) {
            return Ok(state.clone());
        }
        let key = format!("uint8:{hash}");
        if let Some(state) = self.values.as_ref().and_then(|values| values.get(&key)) {
            return Ok(state.to_bytes());
        }
        let mut fresh = Restored::current()?;
        fresh.seed(seed)?;
        let state = fresh.get()?;
        match value_hash(&state) == hash {
            true => Ok(state),
            false => Err(NotRun::Generator(index)),
        }
    }
}

/// What a trace says of a value.
#[derive(Debug, Clone)]
pub struct Seen {
    pub(crate) hash: ValueHash,
    /// The member that shows elements, name and JSON.
    pub(crate) elements: Option<(&'static str, String)>,
}

impl Seen {
    fn of(tensor: &Tensor) -> Result<Seen, NotRun> {
        let bytes = memory::read(tensor)?;
        Ok(Seen {
            hash: value_hash(&bytes),
            elements: elements::shown(&memory::dtype(tensor)?, &bytes),
        })
    }
}

/// The results and what is written, of those that have a storage.
fn outputs(operation: &Operation) -> impl Iterator<Item = &TensorValue> {
    super::slice::output_tensors(operation)
        .filter(|tensor| tensor.storage.is_some() && !tensor.uninitialized)
}

fn shown(tensor: &TensorValue) -> String {
    match &tensor.name {
        Some(name) => name.to_string(),
        None => format!("a tensor {}{:?}", tensor.dtype, tensor.shape),
    }
}
