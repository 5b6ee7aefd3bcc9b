//! Names the tensors in the values of a pickle, and lists what is not a tensor.

use super::error::Problem;
use super::key;
use super::mapped_tensors::{Members, TensorEntry};
use super::pickle::{
    Element, Global, Heap, Id, NO_KEY, Numpy, NumpyKind, Object, Pickle, Storage, Tensor, Value,
};
use super::pickled_array::{Content, Decoded};
use crate::{Dtype, LeftOut, LeftOutKind};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// Where a pickle is found.
pub(super) struct Origin<'a> {
    /// The name of a value that is the entire content.
    pub(super) alone: &'a str,
    /// The start of all other names.
    pub(super) prefix: &'a str,
    /// Whether it describes a TorchScript module, whose plain attributes are not members.
    pub(super) is_script: bool,
    /// The bytes of the root of a storage.
    pub(super) storage: &'a dyn Fn(&Storage<'_>) -> Result<Range<usize>, Problem>,
    /// The tensor with a key; `None` if the format has no keys of tensors.
    pub(super) reference: &'a dyn Fn(&str) -> Option<Result<Described, Problem>>,
}

/// A tensor that is described outside of the pickle.
#[derive(Clone)]
pub(super) struct Described {
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) offset: usize,
    pub(super) range: Range<usize>,
}

/// Reads the members of a pickle in its order. Tensors whose names would be the same, such as those
/// under the keys `1` and `'1'`, get the names that Python code has for them: `[1]` and `['1']`.
pub(super) fn read(pickle: &Pickle<'_>, origin: &Origin<'_>) -> Result<Members, Problem> {
    let members = read_except(pickle, origin, &[])?;
    let duplicates = members.duplicates();
    match duplicates.is_empty() || origin.is_script {
        true => Ok(members),
        false => read_except(pickle, origin, &duplicates),
    }
}

/// As [`read`], with the names of Python code for all that have one of these, which are sorted.
fn read_except(
    pickle: &Pickle<'_>,
    origin: &Origin<'_>,
    ambiguous: &[String],
) -> Result<Members, Problem> {
    // The elements of arrays are the greater part of a longer pickle.
    let budget = pickle.length.min(1 << 26);
    let mut walk = Walk {
        heap: &pickle.heap,
        origin,
        ambiguous,
        name: origin.prefix.to_owned(),
        keys: Vec::new(),
        members: Members::default(),
        decoded: Decoded::default(),
        found: 0,
        within_module: 0,
        path: Vec::new(),
        seen: HashSet::new(),
        visits: budget.saturating_mul(16).saturating_add(1 << 16),
        memory: budget.saturating_mul(48).saturating_add(1 << 20),
    };
    walk.value(pickle.root)?;
    walk.members.decoded = walk.decoded.into_bytes();
    Ok(walk.members)
}

/// A walk through nested containers that names the tensors in them.
struct Walk<'a> {
    heap: &'a Heap<'a>,
    origin: &'a Origin<'a>,
    /// Names that several tensors would have.
    ambiguous: &'a [String],
    /// The dotted name of the current value.
    name: String,
    /// What the name consists of.
    keys: Vec<Key>,
    members: Members,
    decoded: Decoded,
    /// The number of tensors so far, those that cannot be read included.
    found: usize,
    /// Not zero within the attributes of a module, of which only tensors are members.
    within_module: usize,
    /// The containers around the current value: one may contain itself.
    path: Vec<Id>,
    /// The instances that were visited.
    seen: HashSet<Id>,
    /// How many more values may be visited. Containers may be shared, so a short pickle can
    /// describe any number of tensors.
    visits: usize,
    /// How many more bytes names and shapes may take.
    memory: usize,
}

/// A part of a name.
#[derive(Clone, Copy)]
enum Key {
    /// A key of a dictionary, at a position in it, or an attribute.
    Value(Id, usize),
    /// A position in a list.
    Index(usize),
    /// The state of an instance that is not a dictionary.
    State,
}

/// The maximum depth of nested containers. A TorchScript module takes two levels.
const MAX_DEPTH: usize = 128;

/// The limit of PyTorch's iterators and of numpy.
pub(super) const MAX_DIMENSIONS: usize = 64;

impl<'a> Walk<'a> {
    fn value(&mut self, id: Id) -> Result<(), Problem> {
        self.visits = self.visits.checked_sub(1).ok_or_else(expands)?;
        let heap = self.heap;
        match heap.get(id) {
            Value::Tensor(tensor) => self.tensor(tensor),
            Value::Unreadable(unreadable) => {
                let mut reason = unreadable.reason.to_owned();
                if let Some(detail) = self.detail(unreadable.detail) {
                    reason += &format!(" ({detail})");
                }
                let problem = Problem::unsupported(reason, unreadable.advice);
                self.leave_out(problem)?;
                self.container(id, |walk| walk.state(unreadable.state))
            }
            Value::Persistent(key) => {
                let key = heap.key(*key).unwrap_or_default();
                let name = self.current_name();
                match (self.origin.reference)(&key) {
                    Some(described) => self.found_tensor(described.and_then(|d| d.entry(name))),
                    None => self.not_a_tensor(describe(heap, heap.get(id))),
                }
            }
            Value::None => Ok(()),
            Value::Tuple(items) | Value::List(items) if items.is_empty() => Ok(()),
            Value::Dict(items) if items.is_empty() => Ok(()),
            Value::Dict(items) => self.container(id, |walk| walk.items(items)),
            Value::Tuple(items) | Value::List(items) => self.container(id, |walk| walk.list(items)),
            Value::Object(object) => self.container(id, |walk| walk.object(object)),
            Value::Numpy(numpy) => self.numpy(numpy),
            value => self.not_a_tensor(describe(heap, value)),
        }
    }

    /// Visits the parts of a value. If there is no tensor in them, the value is left out as a whole.
    fn container(
        &mut self,
        id: Id,
        parts: impl FnOnce(&mut Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if self.path.contains(&id) {
            return Ok(());
        }
        if self.path.len() >= MAX_DEPTH {
            let problem = Problem::unsupported(
                format!("nested deeper than {MAX_DEPTH} levels"),
                "save a dict of tensors",
            );
            return self.leave_out(problem);
        }
        let (found, left_out) = (self.found, self.members.left_out.len());
        self.path.push(id);
        let visited = parts(self);
        self.path.pop();
        visited?;
        let value = self.heap.get(id);
        let is_object = matches!(value, Value::Object(_));
        if self.found == found && (is_object || self.members.left_out.len() > left_out) {
            self.members.left_out.truncate(left_out);
            self.not_a_tensor(describe(self.heap, value))?;
        }
        Ok(())
    }

    fn list(&mut self, items: &[Id]) -> Result<(), Problem> {
        let mut items = items.iter().enumerate();
        items.try_for_each(|(i, item)| self.named(Key::Index(i), &i.to_string(), *item))
    }

    fn items(&mut self, items: &[(Id, Id)]) -> Result<(), Problem> {
        let mut items = items.iter().enumerate();
        items.try_for_each(|(i, (key, value))| self.item(*key, i, *value))
    }

    /// Visits an item with its key, which is at a position among the keys.
    fn item(&mut self, key: Id, position: usize, value: Id) -> Result<(), Problem> {
        let part = Key::Value(key, position);
        match self.heap.get(key) {
            // tch replaces the dots of a name, which an attribute cannot contain.
            Value::Str(key) if self.origin.is_script && key.contains('|') => {
                self.named(part, &key.replace('|', "."), value)
            }
            Value::Str(key) => self.named(part, key, value),
            // A tensor, as in the state of an optimizer: its parameters are numbered in order.
            _ => match key::text(self.heap, key) {
                Some(text) => self.named(part, &text, value),
                None => self.named(part, &position.to_string(), value),
            },
        }
    }

    fn named(&mut self, key: Key, text: &str, value: Id) -> Result<(), Problem> {
        let length = self.name.len();
        if length > 0 {
            self.name.push('.');
        }
        self.name.push_str(text);
        self.keys.push(key);
        let visited = self.value(value);
        self.keys.pop();
        self.name.truncate(length);
        visited
    }

    fn object(&mut self, object: &'a Object) -> Result<(), Problem> {
        let heap = self.heap;
        if let Value::Global(Global::ScriptClass) = heap.get(object.class) {
            return self.state(object.state);
        }
        if let Some(attributes) = self.module(object) {
            return self.attributes_of_module(attributes);
        }
        // Instances refer to each other in every direction.
        let id = self.path.last().copied().unwrap_or(Heap::NONE);
        if !self.seen.insert(id) {
            return Ok(());
        }
        let is_dictionary = matches!(heap.get(object.class), Value::Global(Global::Dictionary));
        match heap.get(object.arguments) {
            Value::Tuple(arguments) if is_dictionary => {
                // A list of pairs, as Python 2 writes it; or a function that makes missing items.
                for argument in arguments {
                    match heap.get(*argument) {
                        Value::List(pairs) => {
                            let mut pairs = pairs.iter().enumerate();
                            pairs.try_for_each(|(i, pair)| self.pair(*pair, i))?;
                        }
                        Value::Dict(items) => self.items(items)?,
                        _ => {}
                    }
                }
            }
            Value::Tuple(arguments) => self.list(arguments)?,
            _ => {}
        }
        let (mut index, mut position) = (0usize, 0usize);
        for (key, value) in &object.items {
            match *key {
                NO_KEY => {
                    self.named(Key::Index(index), &index.to_string(), *value)?;
                    index += 1;
                }
                key => {
                    self.item(key, position, *value)?;
                    position += 1;
                }
            }
        }
        self.state(object.state)
    }

    fn pair(&mut self, pair: Id, position: usize) -> Result<(), Problem> {
        match self.heap.get(pair) {
            Value::Tuple(pair) | Value::List(pair) => match pair[..] {
                [key, value] => self.item(key, position, value),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Visits attributes: a dict, or a pair of a dict and another one for those in slots.
    fn state(&mut self, state: Id) -> Result<(), Problem> {
        match self.heap.get(state) {
            Value::Tuple(parts) => match parts[..] {
                [attributes, slots]
                    if matches!(self.heap.get(slots), Value::Dict(_))
                        && matches!(self.heap.get(attributes), Value::Dict(_) | Value::None) =>
                {
                    self.state(attributes)?;
                    self.state(slots)
                }
                _ => self.named(Key::State, "state", state),
            },
            Value::Dict(items) => self.items(items),
            Value::None => Ok(()),
            _ => self.named(Key::State, "state", state),
        }
    }

    /// The attributes of an instance of `torch.nn.Module`, which has these by
    /// `torch/nn/modules/module.py`.
    fn module(&self, object: &Object) -> Option<&'a [(Id, Id)]> {
        let Value::Dict(attributes) = self.heap.get(object.state) else {
            return None;
        };
        let has = |name| self.attribute(attributes, name).is_some();
        (has("_parameters") && has("_buffers") && has("_modules")).then_some(attributes)
    }

    fn attribute(&self, attributes: &'a [(Id, Id)], name: &str) -> Option<Id> {
        let is_it = |key: Id| matches!(self.heap.get(key), Value::Str(key) if key == name);
        let found = attributes.iter().take(64).find(|(key, _)| is_it(*key));
        found.map(|(_, value)| *value)
    }

    /// Visits a module with the names of its `state_dict`, and then tensors that are attributes.
    fn attributes_of_module(&mut self, attributes: &'a [(Id, Id)]) -> Result<(), Problem> {
        self.within_module += 1;
        for part in ["_parameters", "_buffers", "_modules"] {
            let items = self.attribute(attributes, part).map(|id| self.heap.get(id));
            match items {
                Some(Value::Dict(items)) => self.items(items)?,
                Some(Value::Object(object)) => self.object(object)?,
                _ => {}
            }
        }
        for (position, (key, value)) in attributes.iter().enumerate() {
            if matches!(self.heap.get(*key), Value::Str(key) if !key.starts_with('_')) {
                self.item(*key, position, *value)?;
            }
        }
        self.within_module -= 1;
        Ok(())
    }

    fn current_name(&self) -> String {
        if self.keys.is_empty() && self.name.is_empty() {
            return self.origin.alone.to_owned();
        }
        match self.ambiguous.binary_search(&self.name) {
            Ok(_) => self.name_in_code(),
            Err(_) => self.name.clone(),
        }
    }

    /// The name as Python code that follows the name of the entire content.
    fn name_in_code(&self) -> String {
        let mut text = self.origin.prefix.to_owned();
        for key in &self.keys {
            text.push('[');
            match *key {
                Key::Value(id, position) => match key::code(self.heap, id) {
                    Some(key) => text.push_str(&key),
                    None => text += &format!("key {position}"),
                },
                Key::Index(index) => text += &index.to_string(),
                Key::State => text.push_str("state"),
            }
            text.push(']');
        }
        text
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.memory = self.memory.checked_sub(bytes).ok_or_else(expands)?;
        Ok(())
    }

    fn not_a_tensor(&mut self, what: Cow<'static, str>) -> Result<(), Problem> {
        if self.origin.is_script || self.within_module > 0 {
            return Ok(());
        }
        let member = LeftOut::new(self.current_name(), LeftOutKind::NotATensor, what);
        self.spend(member.name.len() + member.reason.len() + size_of::<LeftOut>())?;
        self.members.left_out.push(member);
        Ok(())
    }

    fn leave_out(&mut self, problem: Problem) -> Result<(), Problem> {
        let member = problem.left_out(self.current_name());
        self.found += 1;
        self.spend(member.name.len() + member.reason.len() + size_of::<LeftOut>())?;
        self.members.left_out.push(member);
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Problem> {
        let entry = self.entry(tensor);
        self.found_tensor(entry)
    }

    /// Reads an array or a scalar as a tensor, unless it is of strings or objects.
    fn numpy(&mut self, numpy: &Numpy) -> Result<(), Problem> {
        let is_scalar = numpy.kind == NumpyKind::Scalar;
        if is_scalar && self.within_module > 0 {
            return Ok(());
        }
        match self.decoded.read(self.heap, numpy) {
            Ok(Content::Tensor { header, range }) => {
                let entry = header.entry(&self.current_name(), 1, range);
                self.found_tensor(Ok(entry))
            }
            Ok(Content::Other(what)) => self.not_a_tensor(Cow::Borrowed(what)),
            Err(problem) if problem.is_unsupported() && is_scalar => {
                self.not_a_tensor(Cow::Borrowed("a numpy scalar"))
            }
            Err(problem) => self.leave_out(problem),
        }
    }

    fn found_tensor(&mut self, entry: Result<TensorEntry, Problem>) -> Result<(), Problem> {
        match entry {
            Ok(entry) => {
                self.found += 1;
                self.spend(entry.name.len() + (entry.shape.len() * 2 + 20) * size_of::<usize>())?;
                self.members.entries.push(entry);
                Ok(())
            }
            Err(problem) => self.leave_out(problem),
        }
    }

    fn entry(&self, tensor: &Tensor) -> Result<TensorEntry, Problem> {
        let Value::Storage(storage) = self.heap.get(tensor.storage) else {
            return Err(Problem::damaged("a tensor without a storage"));
        };
        let dtype = dtype(tensor.element.unwrap_or(storage.element))?;
        let mut range = (self.origin.storage)(storage)?;
        if let Some((offset, numel)) = storage.view {
            let unit = storage.element.size() as u64;
            let part = offset.checked_mul(unit).zip(numel.checked_mul(unit));
            let part = part.and_then(|(offset, length)| {
                let start = range.start.checked_add(usize::try_from(offset).ok()?)?;
                let end = start.checked_add(usize::try_from(length).ok()?)?;
                Some(start..end).filter(|part| part.end <= range.end)
            });
            range = part.ok_or_else(|| {
                Problem::damaged("its part of a storage ends past the end of the storage")
            })?;
        }
        let shape = self.naturals(tensor.size)?;
        // A tensor without elements may start after the end of its storage.
        let offset = match shape.contains(&0) {
            true => 0,
            false => self.natural(tensor.offset)?,
        };
        Ok(TensorEntry {
            name: self.current_name(),
            dtype,
            shape,
            strided: Some((self.naturals(tensor.stride)?, offset)),
            file: 0,
            range,
        })
    }

    fn natural(&self, id: Id) -> Result<usize, Problem> {
        match self.heap.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
        .ok_or_else(|| {
            Problem::damaged("a size, stride or offset that is not a non-negative integer")
        })
    }

    fn naturals(&self, id: Id) -> Result<Vec<usize>, Problem> {
        match self.heap.get(id) {
            Value::Tuple(items) | Value::List(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|item| self.natural(*item)).collect()
            }
            _ => Err(Problem::damaged(format!(
                "a shape or strides that are not a tuple of at most {MAX_DIMENSIONS} integers"
            ))),
        }
    }

    /// What is known of an unreadable tensor besides its kind.
    fn detail(&self, id: Id) -> Option<Cow<'static, str>> {
        let element = match self.heap.get(id) {
            Value::Storage(storage) => storage.element,
            Value::Global(Global::Dtype(element)) => *element,
            Value::Unknown(names) => return Some(Cow::Owned(qualified(names))),
            _ => return None,
        };
        match element {
            Element::Known(dtype) => Some(Cow::Borrowed(dtype.name())),
            Element::Unsupported(dtype) => Some(Cow::Borrowed(dtype.name)),
            Element::Bytes => None,
        }
    }
}

impl Described {
    fn entry(self, name: String) -> Result<TensorEntry, Problem> {
        let offset = match self.shape.contains(&0) {
            true => 0,
            false => self.offset,
        };
        Ok(TensorEntry {
            name,
            dtype: dtype(self.element)?,
            shape: self.shape,
            strided: Some((self.strides, offset)),
            file: 0,
            range: self.range,
        })
    }
}

fn dtype(element: Element) -> Result<Dtype, Problem> {
    match element {
        Element::Known(dtype) => Ok(dtype),
        Element::Unsupported(dtype) => Err(Problem::unsupported(
            dtype.description,
            "save it as uint8 or a wider dtype",
        )),
        Element::Bytes => Err(Problem::damaged("a tensor without a dtype")),
    }
}

/// What a value is that is not a tensor.
fn describe(heap: &Heap<'_>, value: &Value<'_>) -> Cow<'static, str> {
    Cow::Borrowed(match value {
        Value::None => "None",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::BigInt(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Str(_) => "text",
        Value::Bytes(_) | Value::Latin1(_) => "bytes",
        Value::Device(_) => "a device",
        Value::Numpy(_) => "a dtype of numpy",
        Value::Opaque(what) => what,
        Value::Tuple(_) => "a tuple",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dict",
        Value::Global(Global::Dtype(_)) => "a dtype",
        Value::Global(_) => "a class or function of PyTorch",
        Value::Storage(_) => "a storage without a tensor",
        Value::Tensor(_) | Value::Unreadable(_) => "a tensor",
        Value::Persistent(_) => "a reference to a value outside of the pickle",
        Value::Unknown(names) => {
            return Cow::Owned(format!("the Python object {}", qualified(names)));
        }
        Value::Object(object) => match heap.get(object.class) {
            Value::Global(Global::Dictionary) => "a dict",
            Value::Unknown(names) => {
                return Cow::Owned(format!("a Python object ({})", qualified(names)));
            }
            _ => "a Python object",
        },
    })
}

/// The module and the name of a class or function, shortened: it may be repeated.
fn qualified(names: &[Cow<'_, str>; 2]) -> String {
    let [module, name] = names;
    let short = |text: &str| text.chars().take(80).collect::<String>();
    format!("{}.{}", short(module), short(name))
}

fn expands() -> Problem {
    Problem::damaged("it refers to the same tensors too many times")
}
