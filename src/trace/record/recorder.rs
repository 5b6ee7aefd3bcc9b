//! Writes a line of a trace for each operation. The format is that of `python/trace.py`: docs/trace.md.

use super::environment::environment;
use super::mode::{self, Call, Described, GradMode, Observer, Value};
use super::site::{Caller, Sites};
use super::values::Values;
use crate::trace::elements::{Layout, number, shown};
use crate::trace::hash::value_hash;
use op_trace::ValueHash;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use tch::Tensor;

/// A `VarStore` whose variables have names in the trace.
pub(super) struct NamedStore {
    pub(super) prefix: String,
    pub(super) variables: Vec<(String, Tensor)>,
}

pub(super) struct Recorder {
    out: BufWriter<File>,
    /// The first failure, which ends the recording.
    failure: Option<Failure>,
    values: Values,
    /// The operations whose inputs are kept, and no others.
    keep: Option<Range<usize>>,
    has_stats: bool,
    sites: Option<Sites>,
    stores: Vec<NamedStore>,
    storages: HashMap<u64, Storage>,
    /// What operations made or the file of values has, by dtype and hash.
    made: HashSet<(usize, ValueHash)>,
    /// The states of generators before and after draws.
    states: HashSet<ValueHash>,
    reordered: Reordered,
    /// The dtypes that were met.
    dtypes: Vec<String>,
    /// The operation at which `sequence` was met first.
    forward_of: HashMap<u64, usize>,
    count: usize,
    steps: Steps,
    is_done: bool,
    current: Current,
}

/// Why a recording ended early.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Libtorch(String),
    Panic,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Libtorch(message)
    }
}

/// What is known of a storage.
#[derive(Default)]
struct Storage {
    /// The variable, or the gradient of one, and the number of its `VarStore`.
    name: Option<String>,
    store: Option<usize>,
    is_variable: bool,
    /// The intervals of bytes that were written since the memory was allocated; `None` if all of it has values.
    written: Option<Vec<(u64, u64)>>,
}

impl Storage {
    fn write(&mut self, mut start: u64, mut end: u64) {
        let Some(intervals) = &mut self.written else {
            return;
        };
        intervals.retain(|(a, b)| {
            let is_apart = *b < start || *a > end;
            if !is_apart {
                (start, end) = (start.min(*a), end.max(*b));
            }
            is_apart
        });
        intervals.push((start, end));
    }

    fn has(&self, start: u64, end: u64) -> bool {
        match &self.written {
            None => true,
            Some(intervals) => intervals.iter().any(|(a, b)| *a <= start && end <= *b),
        }
    }
}

/// The hashes of tensors that have their elements in another order than row-major, such as transposed weights. They follow from the bytes as
/// they are in memory and from the strides, so that equal bytes are put in order once.
#[derive(Default)]
struct Reordered(HashMap<(ValueHash, u64, Vec<i64>, Vec<i64>), ValueHash>);

impl Reordered {
    fn hash(&mut self, described: &Described<'_>) -> Result<ValueHash, Failure> {
        let elements_hash = || Ok(value_hash(described.elements()?));
        let (Ok(memory), Some(bytes)) = (described.memory, described.reordered()?) else {
            return elements_hash();
        };
        let (sizes, strides) = (described.sizes.to_vec(), memory.strides.to_vec());
        let key = (value_hash(bytes), memory.element_size, sizes, strides);
        if let Some(known) = self.0.get(&key) {
            return Ok(*known);
        }
        let hash = elements_hash()?;
        if self.0.len() >= MAX_REORDERED {
            self.0.clear();
        }
        self.0.insert(key, hash);
        Ok(hash)
    }
}

/// Some 10 MB.
const MAX_REORDERED: usize = 1 << 16;

/// The training step, and what ends it. tch's optimizers have one `VarStore` each, so a step has ended when each one
/// that has trainable variables was updated, as in Python when each optimizer has stepped.
struct Steps {
    now: u32,
    limit: Option<u32>,
    /// The step in which each `VarStore` was updated last.
    updated: Vec<Option<u32>>,
    is_trained: Vec<bool>,
    has_optimizer: bool,
    /// Whether operations of an optimizer's step run, and whether that was counted.
    in_optimizer: Option<bool>,
    after_backward: bool,
    /// Whether the program has written to a variable since.
    is_updated: bool,
}

/// The operation that runs.
#[derive(Default)]
struct Current {
    name: String,
    overload: String,
    arguments: String,
    results: String,
    writes: String,
    generator: String,
    grad: Option<GradMode>,
    node: Option<String>,
    /// The parameter whose gradient is accumulated.
    parameter: Option<String>,
    forward: Option<usize>,
    sequence: u64,
    is_backward: bool,
    draws: bool,
    at: Option<String>,
    caller: Caller,
    part: Part,
    depth: usize,
    /// Whether the next value is the first one of its list.
    is_first: bool,
    /// Whether what the argument had before does not matter.
    is_overwritten: bool,
    is_written: bool,
    /// Whether a value without elements went in.
    is_tainted: bool,
    /// The storages of arguments that have values.
    read: Vec<u64>,
    store: Option<usize>,
    /// Whether a variable went in.
    has_variable: bool,
    written: Vec<Written>,
    result: usize,
    result_storage: Option<u64>,
    /// The texts of results by the identity of their tensors.
    shown: Vec<(usize, String)>,
    head: String,
}

impl Current {
    /// Where values go.
    fn target(&mut self) -> &mut String {
        match self.part {
            Part::Arguments => &mut self.arguments,
            Part::Results => &mut self.results,
            Part::Writes => &mut self.writes,
        }
    }
}

/// What a trace says of a tensor.
struct Description {
    text: String,
    /// Whether its elements are hashed.
    has_value: bool,
}

struct Written {
    identity: usize,
    storage: u64,
    extent: (u64, u64),
    is_dense: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Arguments,
    Results,
    Writes,
}

/// Not operations of the program.
const IGNORED: [&str; 4] = [
    "aten::detach",
    "aten::detach_",
    "aten::alias",
    "aten::lift_fresh",
];
/// They write arguments that their schemas call constant.
const SILENT_WRITES: [&str; 4] = [
    "aten::native_batch_norm",
    "aten::cudnn_batch_norm",
    "aten::miopen_batch_norm",
    "aten::batch_norm_update_stats",
];
/// Their results have no values yet.
const UNINITIALIZED: [&str; 4] = [
    "aten::empty",
    "aten::new_empty",
    "aten::resize",
    "aten::_resize",
];
/// What is in their first argument does not matter to them.
const OVERWRITES: [&str; 11] = [
    "aten::fill_",
    "aten::zero_",
    "aten::copy_",
    "aten::bernoulli_",
    "aten::normal_",
    "aten::uniform_",
    "aten::random_",
    "aten::exponential_",
    "aten::cauchy_",
    "aten::geometric_",
    "aten::log_normal_",
];
/// The result whose contents are the operation's own affair: a workspace, or memory that is written in part.
const WORKSPACES: [(&str, usize); 3] = [
    ("aten::mkldnn_rnn_layer", 3),
    ("aten::_cudnn_rnn", 4),
    ("aten::_ctc_loss", 1),
];
/// The argument that takes it.
const WORKSPACE_ARGUMENTS: [(&str, &str); 2] = [
    ("aten::mkldnn_rnn_layer_backward", "workspace"),
    ("aten::_ctc_loss_backward", "log_alpha"),
];

impl Recorder {
    pub(super) fn new(
        file: File,
        values: Values,
        limit: Option<u32>,
        has_sites: bool,
        has_stats: bool,
        keep: Option<Range<usize>>,
    ) -> Recorder {
        Recorder {
            out: BufWriter::new(file),
            failure: None,
            values,
            keep,
            has_stats,
            sites: has_sites.then(Sites::new),
            stores: Vec::new(),
            storages: HashMap::new(),
            made: HashSet::new(),
            states: HashSet::new(),
            reordered: Reordered::default(),
            dtypes: Vec::new(),
            forward_of: HashMap::new(),
            count: 0,
            steps: Steps {
                now: 1,
                limit,
                updated: Vec::new(),
                is_trained: Vec::new(),
                has_optimizer: false,
                in_optimizer: None,
                after_backward: false,
                is_updated: false,
            },
            is_done: false,
            current: Current::default(),
        }
    }

    /// Writes the first lines: what the program runs in, and the variables.
    pub(super) fn open(
        &mut self,
        stores: Vec<NamedStore>,
        values_name: &str,
    ) -> Result<(), Failure> {
        let header = format!(
            "{{\"format\":\"tch-init trace\",\"version\":1,\"language\":\"rust\",\"hash\":\"{}\",\"values\":{},\
             \"environment\":{}}}\n",
            ValueHash::NAME,
            quoted(values_name),
            environment()?,
        );
        self.write(&header)?;
        for (number, store) in stores.into_iter().enumerate() {
            let mut line = format!(
                "{{\"model\":{},\"class\":\"VarStore\",\"names\":[",
                quoted(&store.prefix)
            );
            for (index, (name, tensor)) in store.variables.iter().enumerate() {
                let text = mode::describe(tensor, |described| {
                    let Ok(memory) = described.memory else {
                        return Ok::<_, Failure>(String::from("null"));
                    };
                    let storage = self.storages.entry(memory.storage).or_default();
                    storage.name.get_or_insert_with(|| name.clone());
                    storage.store = Some(number);
                    storage.is_variable = true;
                    let is_root = self.keep.is_none();
                    Ok(self.tensor(&described, false, is_root)?.text)
                })??;
                let separator = if index == 0 { "" } else { "," };
                let is_trained = tensor.requires_grad();
                let kind = if is_trained { "parameter" } else { "buffer" };
                line += &format!(
                    "{separator}{{\"name\":{},\"kind\":\"{kind}\",\"tensor\":{text}",
                    quoted(name)
                );
                line += if is_trained {
                    ",\"requires_grad\":true}"
                } else {
                    "}"
                };
            }
            line += "]}\n";
            let is_trained = store.variables.iter().any(|(_, t)| t.requires_grad());
            self.steps.is_trained.push(is_trained);
            self.steps.updated.push(None);
            self.stores.push(store);
            self.write(&line)?;
        }
        Ok(())
    }

    /// Writes the last line and the file of values.
    pub(super) fn close(&mut self, reason: &str) -> Result<(), Failure> {
        if !self.is_done {
            self.leave_optimizer()?;
        }
        if !self.is_done {
            self.end(reason)?;
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn end(&mut self, reason: &str) -> Result<(), Failure> {
        self.is_done = true;
        let mut finals = String::new();
        for store in std::mem::take(&mut self.stores) {
            for (name, tensor) in &store.variables {
                let description =
                    mode::describe(tensor, |described| self.tensor(&described, false, false))??;
                let text = description.text;
                let separator = if finals.is_empty() { "" } else { "," };
                finals += &format!("{separator}{}:{text}", quoted(name));
            }
        }
        let steps = &self.steps;
        let is_complete = steps.updated.contains(&Some(steps.now))
            || !steps.has_optimizer && steps.after_backward;
        let line = format!(
            "{{\"end\":{},\"operations\":{},\"steps\":{},\"final\":{{{finals}}},\"values\":{{\"kept\":{},\"left_out\":{}}}}}\n",
            quoted(reason),
            self.count,
            steps.now - 1 + u32::from(is_complete),
            self.values.kept(),
            self.values.left_out,
        );
        self.write(&line)?;
        self.values.finish()?;
        Ok(())
    }

    fn write(&mut self, line: &str) -> Result<(), Failure> {
        self.out.write_all(line.as_bytes())?;
        // A program that is killed keeps its trace.
        self.out.flush()?;
        Ok(())
    }

    /// Runs a part of the recorder. A failure ends the recording, not the program.
    fn attempt<R: Default>(&mut self, f: impl FnOnce(&mut Recorder) -> Result<R, Failure>) -> R {
        match f(self) {
            Ok(result) => result,
            Err(failure) => {
                self.is_done = true;
                self.failure.get_or_insert(failure);
                R::default()
            }
        }
    }

    // ------------------------------------------------------------ steps

    /// Notes the operation's caller and phase, before its line is written.
    fn count_step(&mut self) -> Result<&'static str, Failure> {
        let current = &self.current;
        let (is_backward, caller, store) = (current.is_backward, current.caller, current.store);
        let (grad, has_variable) = (current.grad, current.has_variable);
        let is_written = !current.written.is_empty();
        if caller == Caller::OptimizerStep {
            if self.steps.in_optimizer.is_none() {
                self.steps.in_optimizer = Some(false);
            }
            self.steps.has_optimizer = true;
            if let (Some(false), Some(store)) = (self.steps.in_optimizer, store) {
                // An optimizer that steps again begins a step.
                if self.steps.updated[store] == Some(self.steps.now) {
                    self.next_step()?;
                }
                self.steps.in_optimizer = Some(true);
                self.steps.updated[store] = Some(self.steps.now);
            }
            return Ok("optimizer");
        }
        if is_backward {
            // Of a gradient that is differentiated again, more of the same step follows.
            self.steps.after_backward |= grad != Some(GradMode::On);
            return Ok("backward");
        }
        // A program that updates its variables itself makes a step from one backward pass to the next forward pass. What a program
        // does with a loss or gradients before its optimizer steps for the first time is none.
        let is_by_hand = self.steps.after_backward && !self.steps.has_optimizer;
        let is_on = grad == Some(GradMode::On);
        if is_by_hand && is_on && (self.steps.is_updated || has_variable) {
            self.next_step()?;
        } else if is_by_hand && has_variable && is_written {
            self.steps.is_updated = true;
        }
        Ok(match caller {
            Caller::Optimizer => "optimizer",
            _ => "forward",
        })
    }

    /// The step of an optimizer is over.
    fn leave_optimizer(&mut self) -> Result<(), Failure> {
        if self.steps.in_optimizer.take().is_none() {
            return Ok(());
        }
        let steps = &self.steps;
        let is_updated = |(updated, is_trained): (&Option<u32>, &bool)| {
            !is_trained || *updated == Some(steps.now)
        };
        if steps.updated.iter().zip(&steps.is_trained).all(is_updated) {
            self.next_step()?;
        }
        Ok(())
    }

    fn next_step(&mut self) -> Result<(), Failure> {
        self.steps.now += 1;
        self.steps.after_backward = false;
        self.steps.is_updated = false;
        if self.steps.limit.is_some_and(|limit| self.steps.now > limit) {
            self.end("steps")?;
        }
        Ok(())
    }

    /// Names the gradients that a backward pass has left. libtorch moves them there without an operation.
    fn name_gradients(&mut self) -> Result<(), Failure> {
        for (number, store) in self.stores.iter().enumerate() {
            for (name, tensor) in &store.variables {
                if tensor.requires_grad()
                    && let Some(storage) = mode::gradient_storage(tensor)?
                {
                    let storage = self.storages.entry(storage).or_default();
                    storage.store = Some(number);
                    storage.name.get_or_insert_with(|| format!("{name}.grad"));
                }
            }
        }
        Ok(())
    }

    // ------------------------------------------------------------ values

    /// What a trace says of a tensor.
    fn tensor(
        &mut self,
        described: &Described<'_>,
        is_overwritten: bool,
        is_root: bool,
    ) -> Result<Description, Failure> {
        let mut text = format!(
            "{{\"dtype\":\"{}\",\"shape\":{}",
            described.dtype,
            list(described.sizes)
        );
        if let Some(device) = described.device {
            text += &format!(",\"device\":{}", quoted(device));
        }
        let memory = match described.memory {
            Ok(memory) => memory,
            Err(layout) => {
                text += &format!(",\"opaque\":{}}}", quoted(layout));
                return Ok(Description {
                    text,
                    has_value: false,
                });
            }
        };
        if !memory.is_contiguous {
            text += &format!(",\"strides\":{}", list(memory.strides));
        }
        // Writing to a string does not fail.
        write!(text, ",\"storage\":{}", memory.storage).map_err(io::Error::other)?;
        if memory.offset > 0 {
            write!(text, ",\"offset\":{}", memory.offset).map_err(io::Error::other)?;
        }
        let (start, end) = extent(described);
        let storage = self.storages.get(&memory.storage);
        if let Some(name) = storage.and_then(|storage| storage.name.as_deref()) {
            text += &format!(",\"name\":{}", quoted(name));
        }
        if is_overwritten || storage.is_some_and(|storage| !storage.has(start, end)) {
            text += ",\"uninitialized\":true}";
            return Ok(Description {
                text,
                has_value: false,
            });
        }
        let hash = self.reordered.hash(described)?;
        write!(text, ",\"hash\":\"{hash}\"").map_err(io::Error::other)?;
        let key = (self.dtype(described.dtype), hash);
        let is_new = self.made.insert(key);
        if is_root && self.keeps(is_new) {
            let (dtype, shape) = (described.dtype, described.sizes);
            self.values
                .keep(dtype, shape, hash, described.elements()?)?;
        }
        if is_new && let Some((name, json)) = shown(described.dtype, described.elements()?) {
            text += &format!(",\"{name}\":{json}");
        }
        text.push('}');
        Ok(Description {
            text,
            has_value: true,
        })
    }

    /// Whether an input of the operation that begins goes to the file of values. What an operation has made can be made again.
    fn keeps(&self, is_new: bool) -> bool {
        match &self.keep {
            None => is_new,
            Some(operations) => operations.contains(&self.count),
        }
    }

    /// The number of a dtype; there are some twenty.
    fn dtype(&mut self, name: &str) -> usize {
        let known = self.dtypes.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.dtypes.push(name.to_owned());
            self.dtypes.len() - 1
        })
    }

    fn push(&mut self, text: &str) {
        let current = &mut self.current;
        // Names of arguments and of writes have their separators.
        let needs_separator = current.depth > 0 || current.part == Part::Results;
        if needs_separator && !current.is_first {
            current.target().push(',');
        }
        current.is_first = false;
        current.target().push_str(text);
    }

    fn show_tensor(&mut self, described: &Described<'_>) -> Result<(), Failure> {
        let part = self.current.part;
        if part == Part::Arguments {
            let is_overwritten = self.current.is_overwritten;
            let Description { text, has_value } = self.tensor(described, is_overwritten, true)?;
            if let Ok(memory) = described.memory {
                let current = &mut self.current;
                current.is_tainted |= !is_overwritten && !has_value;
                if has_value {
                    current.read.push(memory.storage);
                }
                let storage = self.storages.get(&memory.storage);
                current.store = current.store.or(storage.and_then(|storage| storage.store));
                current.has_variable |= storage.is_some_and(|storage| storage.is_variable);
                if current.is_written {
                    current.written.push(Written {
                        identity: described.identity(),
                        storage: memory.storage,
                        extent: extent(described),
                        is_dense: is_dense(described),
                    });
                }
            }
            self.push(&text);
            return Ok(());
        }
        let identity = described.identity();
        let shown = self
            .current
            .shown
            .iter()
            .find(|(known, _)| *known == identity);
        if let Some((_, text)) = shown {
            let text = text.clone();
            self.push(&text);
            return Ok(());
        }
        if part == Part::Results
            && let Ok(memory) = described.memory
        {
            let current = &self.current;
            let has_no_value = is_uninitialized(&current.name)
                || current.is_tainted
                || WORKSPACES.contains(&(current.name.as_str(), current.result));
            let is_written = current
                .written
                .iter()
                .any(|written| written.identity == identity);
            let is_view = current.read.contains(&memory.storage);
            if has_no_value && !is_written && !is_view {
                let storage = self.storages.entry(memory.storage).or_default();
                storage.written.get_or_insert_default();
            }
            self.current.result_storage = Some(memory.storage);
        }
        let Description { text, has_value } = self.tensor(described, false, false)?;
        let stats = match self.has_stats && part == Part::Results && has_value {
            true => statistics(described.dtype, described.elements()?),
            false => None,
        };
        match stats {
            Some(stats) => self.push(&format!("{},\"stats\":{stats}}}", &text[..text.len() - 1])),
            None => self.push(&text),
        }
        self.current.shown.push((identity, text));
        Ok(())
    }

    /// The line's members before the arguments.
    fn set_head(&mut self, phase: &str) {
        let (count, step) = (self.count, self.steps.now);
        let current = &mut self.current;
        let mut head = format!("{{\"i\":{count},\"op\":{}", quoted(&current.name));
        if !current.overload.is_empty() {
            head += &format!(",\"overload\":{}", quoted(&current.overload));
        }
        head += &format!(",\"step\":{step},\"phase\":\"{phase}\"");
        head += match current.grad {
            Some(GradMode::Off) => ",\"grad\":\"off\"",
            Some(GradMode::Inference) => ",\"grad\":\"inference\"",
            _ => "",
        };
        if let Some(at) = &current.at {
            head += &format!(",\"at\":{}", quoted(at));
        }
        if let Some(node) = &current.node {
            let name = node.rsplit("::").next().unwrap_or(node);
            head += &format!(",\"node\":{}", quoted(name));
        }
        if let Some(parameter) = &current.parameter {
            head += &format!(",\"parameter\":{}", quoted(parameter));
        }
        if let Some(forward) = current.forward {
            head += &format!(",\"forward\":{forward}");
        }
        current.head = head;
        if !current.is_backward {
            let sequence = current.sequence;
            self.forward_of.entry(sequence).or_insert(count);
        }
        self.count += 1;
    }

    fn finish_line(&mut self, error: Option<&str>) -> Result<(), Failure> {
        let current = &self.current;
        let mut line = format!("{},\"args\":{{{}}}", current.head, current.arguments);
        if current.draws {
            line += &format!(",\"generator\":[{}]", current.generator);
        }
        match error {
            Some(message) => line += &format!(",\"error\":{}", quoted(message)),
            None => {
                line += &format!(",\"results\":[{}]", current.results);
                if !current.writes.is_empty() {
                    line += &format!(",\"writes\":{{{}}}", current.writes);
                }
            }
        }
        line += "}\n";
        self.write(&line)
    }
}

impl Observer for Recorder {
    fn begins(&mut self, call: &Call<'_>) -> bool {
        if self.is_done {
            return false;
        }
        self.attempt(|recorder| {
            if IGNORED.contains(&call.name) || call.name.starts_with("profiler::") {
                return Ok(false);
            }
            if !call.is_backward && recorder.current.is_backward {
                recorder.name_gradients()?;
            }
            let site = recorder.sites.as_mut().map(|sites| sites.current().clone());
            let site = site.unwrap_or_default();
            if site.caller != Caller::OptimizerStep {
                recorder.leave_optimizer()?;
                if recorder.is_done {
                    return Ok(false);
                }
            }
            let owner = |described: &Described<'_>| {
                let storage = described.memory.ok()?.storage;
                recorder.storages.get(&storage)?.name.clone()
            };
            let is_accumulation = call.accumulated.is_some();
            let forward = recorder.forward_of.get(&call.node_sequence).copied();
            recorder.current = Current {
                name: call.name.to_owned(),
                overload: call.overload.to_owned(),
                grad: Some(call.grad),
                node: call.node.map(str::to_owned),
                parameter: call.accumulated.as_ref().and_then(owner),
                forward: forward.filter(|_| call.node.is_some() && !is_accumulation),
                sequence: call.sequence,
                is_backward: call.is_backward,
                draws: call.draws,
                at: site.at,
                caller: site.caller,
                is_first: true,
                ..Current::default()
            };
            Ok(true)
        })
    }

    fn argument(&mut self, name: &str, is_keyword_only: bool, is_written: bool) -> bool {
        let current = &mut self.current;
        let is_first = current.arguments.is_empty();
        let is_silent =
            SILENT_WRITES.contains(&current.name.as_str()) && name.starts_with("running_");
        let is_overwriting = is_first && OVERWRITES.contains(&current.name.as_str());
        let is_workspace = WORKSPACE_ARGUMENTS.contains(&(current.name.as_str(), name));
        current.is_overwritten = is_written && (is_keyword_only || is_overwriting) || is_workspace;
        current.is_written = is_written || is_silent;
        let separator = if is_first { "" } else { "," };
        current.arguments += &format!("{separator}{}:", quoted(name));
        current.is_first = true;
        current.is_written
    }

    fn value(&mut self, value: Value<'_>) {
        if self.is_done {
            return;
        }
        match value {
            Value::None => self.push("null"),
            Value::Bool(value) => self.push(if value { "true" } else { "false" }),
            Value::Int(value) => self.push(&value.to_string()),
            Value::Double(value) => self.push(&number(value)),
            Value::Complex(re, im) => {
                self.push(&format!("{{\"complex\":[{},{}]}}", number(re), number(im)));
            }
            Value::Text(text) => self.push(&quoted(text)),
            Value::Generator(device) => {
                self.push(&format!("{{\"generator\":{}}}", quoted(device)));
            }
            Value::Object(name) => self.push(&format!("{{\"object\":{}}}", quoted(name))),
            Value::ListBegin => {
                self.push("[");
                self.current.depth += 1;
                self.current.is_first = true;
            }
            Value::ListEnd => {
                self.current.depth = self.current.depth.saturating_sub(1);
                self.current.is_first = true;
                self.current.target().push(']');
                self.current.is_first = false;
            }
            Value::Tensor(described) => self.attempt(|recorder| recorder.show_tensor(&described)),
        }
        if self.current.part == Part::Results && self.current.depth == 0 {
            self.current.result += 1;
        }
    }

    fn generator(&mut self, state: &[u8]) {
        let seed = state
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let is_before = self.current.generator.is_empty();
        let separator = if is_before { "" } else { "," };
        let hash = value_hash(state);
        // A state that no draw has left.
        let is_new = self.states.insert(hash);
        if is_before && self.keeps(is_new) {
            let shape = [state.len() as i64];
            self.attempt(|recorder| Ok(recorder.values.keep("uint8", &shape, hash, state)?));
        }
        self.current.generator += &format!("{separator}{{\"seed\":{seed},\"state\":\"{hash}\"}}");
    }

    fn calls(&mut self) {
        if self.is_done {
            return;
        }
        self.attempt(|recorder| {
            let phase = recorder.count_step()?;
            if !recorder.is_done {
                recorder.set_head(phase);
            }
            Ok(())
        });
    }

    fn returned(&mut self) {
        let current = &mut self.current;
        current.part = Part::Results;
        current.is_first = true;
        for written in &current.written {
            if let Some(storage) = self.storages.get_mut(&written.storage)
                && !current.is_tainted
                && written.is_dense
            {
                storage.write(written.extent.0, written.extent.1);
            }
        }
    }

    fn written(&mut self, argument: &str, index: Option<usize>) {
        let current = &mut self.current;
        let separator = if current.writes.is_empty() { "" } else { "," };
        let name = match index {
            Some(index) => format!("{argument}[{index}]"),
            None => argument.to_owned(),
        };
        current.writes += &format!("{separator}{}:", quoted(&name));
        current.part = Part::Writes;
        current.is_first = true;
    }

    fn ends(&mut self) {
        if self.is_done {
            return;
        }
        self.attempt(|recorder| {
            recorder.finish_line(None)?;
            let current = &recorder.current;
            if let (Some(parameter), Some(storage)) = (&current.parameter, current.result_storage) {
                let name = format!("{parameter}.grad");
                let storage = recorder.storages.entry(storage).or_default();
                storage.name.get_or_insert(name);
            }
            Ok(())
        });
    }

    fn failed(&mut self, message: &str) {
        if self.is_done {
            return;
        }
        let first: String = message
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(380)
            .collect();
        self.attempt(|recorder| recorder.finish_line(Some(&format!("RuntimeError: {first}"))));
    }

    fn panicked(&mut self) {
        self.is_done = true;
        self.failure.get_or_insert(Failure::Panic);
    }
}

fn is_uninitialized(name: &str) -> bool {
    UNINITIALIZED.iter().any(|start| name.starts_with(start))
}

/// The bytes of its storage that a tensor touches.
fn extent(described: &Described<'_>) -> (u64, u64) {
    let Ok(memory) = described.memory else {
        return (0, 0);
    };
    if described.sizes.contains(&0) {
        return (0, 0);
    }
    let steps = described.sizes.iter().zip(memory.strides);
    let last: u64 = steps
        .map(|(size, stride)| (size - 1).unsigned_abs() * stride.unsigned_abs())
        .sum();
    let start = memory.offset * memory.element_size;
    (start, start + (last + 1) * memory.element_size)
}

/// Whether a tensor touches all bytes of its extent.
fn is_dense(described: &Described<'_>) -> bool {
    let (start, end) = extent(described);
    let elements: u64 = described
        .sizes
        .iter()
        .map(|size| size.unsigned_abs())
        .product();
    described
        .memory
        .is_ok_and(|memory| end - start == elements * memory.element_size)
}

/// What charts of layers show of a floating-point result.
fn statistics(dtype: &str, elements: &[u8]) -> Option<String> {
    let layout = Layout::of(dtype).filter(|layout| layout.is_float())?;
    let n = elements.len() / layout.size();
    if n == 0 {
        return None;
    }
    let values = || (0..n).map(|i| layout.element(elements, i).as_f64());
    let mean = values().sum::<f64>() / n as f64;
    let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
    let zeros = values().filter(|x| *x == 0.0).count();
    // A NaN stays one, as in Python.
    let largest = |a: f64, b: f64| if b.is_nan() || b > a { b } else { a };
    let absmax = values().map(f64::abs).fold(0.0, largest);
    Some(format!(
        "{{\"mean\":{},\"std\":{},\"zeros\":{zeros},\"absmax\":{}}}",
        number(mean),
        number(variance.sqrt()),
        number(absmax)
    ))
}

fn list(integers: &[i64]) -> String {
    let items: Vec<String> = integers.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
