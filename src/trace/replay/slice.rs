//! Which operations a run needs.

use super::NotRun;
use op_trace::{Operation, TensorValue, Trace, Value, ValueHash};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// Longer traces are not run again.
pub const MAX_OPERATIONS: usize = 4_000_000;

/// What a run needs to know of all operations.
#[derive(Default)]
pub struct Slice {
    storages: Vec<Storages>,
    /// Operations with an argument that no operation before made: their values come from the file.
    outside: HashSet<(usize, usize)>,
    /// Operations with an argument in memory from outside that has a value which an earlier operation has made: that operation.
    /// The file lacks such values.
    twins: HashMap<usize, Vec<usize>>,
    /// The hashes of these values.
    twin_hashes: HashSet<ValueHash>,
    /// The values that operations take or make, and the states that draws have before them.
    values: HashSet<(String, ValueHash)>,
    states: HashSet<ValueHash>,
}

#[derive(Default)]
struct Storages {
    taken: Vec<u64>,
    /// Made, viewed or written.
    changed: Vec<u64>,
    draw: Option<(ValueHash, ValueHash)>,
}

/// The tensors of the arguments in order.
pub fn argument_tensors(operation: &Operation) -> impl Iterator<Item = &TensorValue> {
    operation
        .arguments()
        .flat_map(|(_, value)| value.tensors())
        .map(|(_, tensor)| tensor)
}

/// The tensors of the results, then what was written.
pub fn output_tensors(operation: &Operation) -> impl Iterator<Item = &TensorValue> {
    let results = operation.results.iter().flat_map(Value::tensors);
    results
        .map(|(_, tensor)| tensor)
        .chain(operation.writes().map(|(_, tensor)| tensor))
}

impl Slice {
    pub fn new(trace: &Trace) -> Result<Slice, NotRun> {
        if trace.len() > MAX_OPERATIONS {
            return Err(NotRun::TooLong(MAX_OPERATIONS));
        }
        let mut slice = Slice::default();
        // By which operation; `None` from outside.
        let mut made: HashMap<(String, ValueHash), Option<usize>> = HashMap::new();
        let mut seen: HashSet<u64> = HashSet::new();
        for operation in trace.operations() {
            let operation = operation.map_err(|error| NotRun::Trace(error.to_string()))?;
            let mut storages = Storages::default();
            for (position, tensor) in argument_tensors(&operation).enumerate() {
                storages.taken.extend(tensor.storage);
                let Some(hash) = tensor.hash else { continue };
                let is_new = tensor.storage.is_some_and(|storage| seen.insert(storage));
                match made.entry((tensor.dtype.to_string(), hash)) {
                    Entry::Vacant(entry) => {
                        entry.insert(None);
                        slice.outside.insert((operation.index, position));
                    }
                    Entry::Occupied(entry) => {
                        if let Some(maker) = entry.get().filter(|_| is_new) {
                            slice.twins.entry(operation.index).or_default().push(maker);
                            slice.twin_hashes.insert(hash);
                        }
                    }
                }
            }
            for tensor in output_tensors(&operation) {
                seen.extend(tensor.storage);
                if let Some(hash) = tensor.hash {
                    let made = made.entry((tensor.dtype.to_string(), hash));
                    made.or_insert(Some(operation.index));
                }
            }
            let written = operation.writes().filter_map(|(_, tensor)| tensor.storage);
            storages.changed.extend(written);
            let results = operation.results.iter().flat_map(Value::tensors);
            // A view too: it is what brings a value from outside.
            storages
                .changed
                .extend(results.filter_map(|(_, tensor)| tensor.storage));
            let generator = operation.generator.iter().flatten();
            slice.states.extend(generator.map(|state| state.state));
            storages.draw = match operation.generator.as_deref() {
                Some([before, after]) => Some((before.state, after.state)),
                _ => None,
            };
            slice.storages.push(storages);
        }
        slice.values = made.into_keys().collect();
        let names = trace.models.iter().flat_map(|model| &model.names);
        let values =
            names.filter_map(|named| Some((named.tensor.dtype.to_string(), named.tensor.hash?)));
        slice.values.extend(values);
        Ok(slice)
    }

    /// Whether the program has all values that an operation takes, and the state that it draws from.
    pub fn has_inputs_of(&self, operation: &Operation) -> bool {
        let mut tensors = argument_tensors(operation).filter(|tensor| !tensor.uninitialized);
        let states = operation.generator.iter().flatten().take(1);
        tensors.all(|tensor| {
            tensor
                .hash
                .is_some_and(|hash| self.values.contains(&(tensor.dtype.to_string(), hash)))
        }) && states
            .into_iter()
            .all(|state| self.states.contains(&state.state))
    }

    /// Whether memory from outside has this value, which an operation made before.
    pub fn is_twin(&self, hash: ValueHash) -> bool {
        self.twin_hashes.contains(&hash)
    }

    /// Whether an argument comes from outside.
    pub fn is_outside(&self, index: usize, position: usize) -> bool {
        self.outside.contains(&(index, position))
    }

    /// The operations before the targets that make what those take, in order.
    pub fn needed(&self, targets: &[usize]) -> Vec<usize> {
        let Some(last) = targets.iter().max() else {
            return Vec::new();
        };
        let mut wanted: HashSet<u64> = HashSet::new();
        let mut states: HashSet<ValueHash> = HashSet::new();
        let mut makers: HashSet<usize> = HashSet::new();
        let mut needed = Vec::new();
        for index in (0..=*last).rev() {
            let Some(storages) = self.storages.get(index) else {
                continue;
            };
            let is_made = makers.contains(&index)
                || storages
                    .changed
                    .iter()
                    .any(|storage| wanted.contains(storage))
                || storages
                    .draw
                    .is_some_and(|(_, after)| states.contains(&after));
            if is_made {
                needed.push(index);
            }
            if is_made || targets.contains(&index) {
                wanted.extend(&storages.taken);
                makers.extend(self.twins.get(&index).into_iter().flatten());
                states.extend(storages.draw.map(|(before, _)| before));
            }
        }
        needed.reverse();
        needed
    }

    /// All storages that an operation takes or makes.
    pub fn touched(&self, index: usize) -> impl Iterator<Item = u64> {
        let storages = self.storages.get(index);
        storages
            .into_iter()
            .flat_map(|storages| storages.taken.iter().chain(&storages.changed).copied())
    }
}
