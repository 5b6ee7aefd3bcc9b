//! The plan itself: what a file says, checked.

use crate::data_file::{CopyError, DataFile};
use crate::error::{PlanError, Shown};
use crate::hexadecimal::hexadecimal;
use crate::json::{self, Raw, RawName, RawOut, RawStep};
use crate::limits;
use crate::parse_step::{NoStep, parse_step};
use crate::step::{Op, Step, StreamChange};
use crate::validate::validate_step;
use crate::view::{View, row_major};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use tensor_parity::Dtype;
use tensor_parity::file::NewFile;
use torch_rng::Semantics;

/// How PyTorch initializes one model: memory, the steps on it in order, and the names of the results.
///
/// `tch-init record` writes plans from Python code, `docs/plan.md` describes the format.
///
/// ```
/// use init_plan::InitPlan;
///
/// // tch-init record 'torch.nn.Linear(2, 3)'
/// let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
///     "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
///     "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
///     "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
///               ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
///     "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
/// let plan = InitPlan::from_json(json)?;
/// assert_eq!(plan.names().next().map(|(name, _)| name), Some("weight"));
/// # Ok::<(), init_plan::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct InitPlan {
    pub(crate) pytorch: String,
    pub(crate) semantics: Semantics,
    pub(crate) model: String,
    /// The file beside the plan, if it has data.
    pub(crate) data: Option<DataFile>,
    /// Bytes of each.
    pub(crate) storages: Vec<u64>,
    pub(crate) views: Vec<View>,
    pub(crate) steps: Vec<Step>,
    pub(crate) names: Vec<Name>,
    pub(crate) sha256: String,
}

/// A parameter or a buffer of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) name: String,
    pub(crate) view: usize,
    pub(crate) entry: Entry,
}

/// The properties of a parameter or buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The dtype.
    pub dtype: Dtype,
    /// The size of each dimension.
    pub shape: Vec<u64>,
    /// Whether it is a parameter; otherwise it is a buffer.
    pub is_parameter: bool,
    /// Whether it is trained. Buffers are not.
    pub requires_grad: bool,
    /// Whether it is in the `state_dict`. Parameters always are.
    pub persistent: bool,
    /// Whether PyTorch leaves some elements uninitialized; they are materialized as zeros.
    pub unset: bool,
}

impl InitPlan {
    /// Reads a plan from a file and checks it, as [`from_json`](Self::from_json) does.
    ///
    /// # Errors
    ///
    /// [`PlanError::InFile`], whose source says what is wrong.
    pub fn load(path: impl AsRef<Path>) -> Result<InitPlan, PlanError> {
        let path = path.as_ref();
        InitPlan::read(path).map_err(|error| PlanError::InFile {
            path: path.to_owned(),
            error: Box::new(error),
        })
    }

    fn read(path: &Path) -> Result<InitPlan, PlanError> {
        let file = File::open(path).map_err(PlanError::Read)?;
        let metadata = file.metadata().map_err(PlanError::Read)?;
        let too_large = |bytes| PlanError::TooLarge {
            bytes,
            limit: limits::FILE,
        };
        if metadata.len() > limits::FILE {
            return Err(too_large(metadata.len()));
        }
        let mut json = Vec::new();
        // The length of a pipe is unknown until it has been read.
        file.take(limits::FILE + 1)
            .read_to_end(&mut json)
            .map_err(PlanError::Read)?;
        if json.len() as u64 > limits::FILE {
            return Err(too_large(json.len() as u64));
        }
        let mut plan = InitPlan::from_json(&json)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        plan.data = plan.data.map(|data| data.in_folder(folder));
        Ok(plan)
    }

    /// Reads a plan from the content of a file and checks it: every view lies in its storage, the
    /// result of every step has the shape of what it writes. Memory of the plan's sizes is not
    /// allocated.
    ///
    /// # Errors
    ///
    /// [`PlanError::Json`], [`PlanError::Version`], [`PlanError::UnknownStep`] or
    /// [`PlanError::Invalid`].
    pub fn from_json(json: &[u8]) -> Result<InitPlan, PlanError> {
        if json.len() as u64 > limits::FILE {
            return Err(PlanError::TooLarge {
                bytes: json.len() as u64,
                limit: limits::FILE,
            });
        }
        let raw = json::parse(json)?;
        if raw.model.len() > limits::MODEL {
            let problem = format!(
                "expected at most {} bytes, found {}",
                limits::MODEL,
                raw.model.len()
            );
            return Err(PlanError::invalid("model", problem));
        }
        let views = views(&raw)?;
        let names = names(raw.parameters.0, raw.buffers.0, &views)?;
        let steps = steps(raw.steps.0, &views, &names)?;
        let data = raw
            .data
            .map(|row| DataFile::new(row.file, row.bytes, row.sha256));
        let data = data.transpose();
        let data = data.map_err(|problem| PlanError::invalid("data", problem))?;
        let reads_data = |step: &Step| matches!(step.op, Op::Data(_));
        match (&data, steps.iter().position(reads_data)) {
            (None, Some(step)) => {
                let place = format_args!("step {step} (\"data\")");
                return Err(PlanError::invalid(
                    place,
                    "expected the key `data`, found none",
                ));
            }
            (Some(_), None) => {
                return Err(PlanError::invalid("data", "expected a step that reads it"));
            }
            _ => {}
        }
        Ok(InitPlan {
            pytorch: raw.pytorch,
            semantics: raw.semantics.0,
            model: raw.model,
            data,
            storages: raw.storages.0,
            views,
            steps,
            names,
            sha256: hexadecimal(&Sha256::digest(json)),
        })
    }

    /// Writes the plan to a file, and its data, if it has any, to the file beside it that
    /// `docs/plan.md` describes. Each is written under a temporary name and then renamed, the data
    /// first, so that a plan never names a file that does not exist.
    ///
    /// # Errors
    ///
    /// [`PlanError::Write`], and [`PlanError::Data`] if the data of this plan cannot be read.
    ///
    /// ```
    /// use init_plan::{InitPlan, PlanBuilder};
    /// use tensor_parity::Dtype;
    ///
    /// let mut plan = PlanBuilder::new();
    /// let table = plan.buffer("table", Dtype::Uint8, &[100_000])?;
    /// plan.constant(table, (0..100_000).map(|i| i as u8).collect::<Vec<u8>>())?;
    /// let plan = plan.finish("a table")?;
    /// let folder = tempfile::tempdir()?;
    /// plan.write(folder.path().join("table.plan.json"))?;
    /// let read = InitPlan::load(folder.path().join("table.plan.json"))?;
    /// assert_eq!(read.data_file(), Some(folder.path().join("table.plan.safetensors")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), PlanError> {
        let path = path.as_ref();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PlanError::Write { path, source }
        };
        let mut plan = NewFile::create(path).map_err(failed(path))?;
        let (data, file) = match &self.data {
            Some(data) => {
                let copied = data.copy_beside(path).map_err(|error| match error {
                    CopyError::Read(source) => PlanError::Data {
                        path: data.path(),
                        source,
                    },
                    CopyError::Write(path, source) => PlanError::Write { path, source },
                });
                let (data, file) = copied?;
                (Some(data), Some(file))
            }
            None => (None, None),
        };
        let named = InitPlan {
            data,
            ..self.clone()
        };
        let written = plan.write_all(named.to_json().as_bytes());
        written.map_err(failed(path))?;
        if let (Some(file), Some(data)) = (file, &named.data) {
            let beside = path.with_file_name(&data.name);
            file.finish().map_err(failed(&beside))?;
        }
        plan.finish().map(drop).map_err(failed(path))
    }

    /// The version of PyTorch under which the plan was made. [`semantics`](Self::semantics) decide the bits.
    pub fn pytorch(&self) -> &str {
        &self.pytorch
    }

    /// The versions of PyTorch whose bits the plan's draws have.
    pub fn semantics(&self) -> Semantics {
        self.semantics
    }

    /// The recorded expression, for human readers.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The SHA-256 of the plan's JSON, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file of the plan's data, beside the plan; `None` if the plan needs none. It is opened, and
    /// compared with the SHA-256 that the plan has of it, when a tensor is made that depends on it.
    pub fn data_file(&self) -> Option<PathBuf> {
        self.data.as_ref().map(DataFile::path)
    }

    /// The parameters, then the buffers, in the order of `named_parameters()` and
    /// `named_buffers()`.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (&str, &Entry)> {
        self.names
            .iter()
            .map(|name| (name.name.as_str(), &name.entry))
    }

    /// The properties of the parameter or buffer of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.find(name).map(|name| &name.entry)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Name> {
        self.names.iter().find(|known| known.name == name)
    }

    /// The view of the parameter or buffer of this name; tied weights have equal views.
    pub fn view(&self, name: &str) -> Option<&View> {
        self.find(name).map(|name| &self.views[name.view])
    }

    /// The views that steps and names refer to by number.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The first parameter or buffer that depends on a step.
    pub(crate) fn needed_by(&self, step: usize) -> Option<String> {
        let mut reached = Reached::new(self.steps[step].targets(&self.views));
        for later in &self.steps[step + 1..] {
            let reads = later.op.reads();
            reached.step(
                reads.iter().map(|view| &self.views[*view]),
                later.targets(&self.views),
            );
        }
        reached.name(&self.names, &self.views)
    }
}

/// The storages that depend on one of them.
struct Reached(BTreeSet<usize>);

impl Reached {
    fn new<'a>(outs: impl Iterator<Item = &'a View>) -> Reached {
        Reached(outs.map(|out| out.storage).collect())
    }

    fn step<'a>(
        &mut self,
        mut reads: impl Iterator<Item = &'a View>,
        outs: impl Iterator<Item = &'a View>,
    ) {
        if reads.any(|view| self.0.contains(&view.storage)) {
            self.0.extend(outs.map(|out| out.storage));
        }
    }

    fn name(&self, names: &[Name], views: &[View]) -> Option<String> {
        let name = names
            .iter()
            .find(|name| self.0.contains(&views[name.view].storage));
        name.map(|name| name.name.clone())
    }
}

fn views(raw: &Raw) -> Result<Vec<View>, PlanError> {
    let storages = &raw.storages.0;
    let mut total = 0u64;
    for (storage, bytes) in storages.iter().enumerate() {
        total = total.saturating_add(*bytes);
        if total > limits::SIZE {
            let problem = format!(
                "expected at most {} bytes up to here, found {total}",
                limits::SIZE
            );
            return Err(PlanError::invalid(
                format_args!("storage {storage}"),
                problem,
            ));
        }
    }
    let repeated = total.max(limits::REPEATED);
    let view = |row: &json::RawView| {
        let storage = usize::try_from(row.storage).ok();
        let (storage, size) = storage
            .and_then(|storage| Some((storage, *storages.get(storage)?)))
            .ok_or_else(|| {
                format!(
                    "expected one of {} storages, found {}",
                    storages.len(),
                    row.storage
                )
            })?;
        let dtype = dtype(&row.dtype)?;
        let stride = match &row.stride {
            Some(stride) => stride.clone(),
            None => row_major(&row.shape),
        };
        let view = View::new(storage, dtype, row.offset, row.shape.clone(), stride, size)?;
        match view.numel() > repeated / dtype.size() as u64 {
            true => Err(format!("{} elements repeat too few bytes", view.numel())),
            false => Ok(view),
        }
    };
    raw.views
        .0
        .iter()
        .enumerate()
        .map(|(i, row)| {
            view(row).map_err(|problem| PlanError::invalid(format_args!("view {i}"), problem))
        })
        .collect()
}

fn dtype(name: &str) -> Result<Dtype, String> {
    let known = Dtype::from_name(name);
    known.ok_or_else(|| format!("unknown dtype {}", Shown(name)))
}

fn names(
    parameters: Vec<RawName>,
    buffers: Vec<RawName>,
    views: &[View],
) -> Result<Vec<Name>, PlanError> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    let rows = parameters.into_iter().map(|row| (true, row));
    for (is_parameter, row) in rows.chain(buffers.into_iter().map(|row| (false, row))) {
        let invalid = |problem: String| {
            let kind = if is_parameter { "parameter" } else { "buffer" };
            PlanError::invalid(format_args!("{kind} {}", Shown(&row.name)), problem)
        };
        if row.name.is_empty() || row.name.len() > limits::NAME {
            return Err(invalid(format!(
                "expected a name of 1 to {} bytes, found {}",
                limits::NAME,
                row.name.len()
            )));
        }
        let view = usize::try_from(row.view)
            .ok()
            .filter(|view| *view < views.len());
        let view = view.ok_or_else(|| {
            invalid(format!(
                "expected one of {} views, found {}",
                views.len(),
                row.view
            ))
        })?;
        if row.options.persistent.is_some() && is_parameter {
            return Err(invalid("the option `persistent` is for buffers".to_owned()));
        }
        if row.options.requires_grad.is_some() && !is_parameter {
            return Err(invalid(
                "the option `requires_grad` is for parameters".to_owned(),
            ));
        }
        if !seen.insert(row.name.clone()) {
            return Err(invalid("duplicate name".to_owned()));
        }
        let entry = Entry {
            dtype: views[view].dtype,
            shape: views[view].shape.clone(),
            is_parameter,
            requires_grad: is_parameter && row.options.requires_grad.unwrap_or(true),
            persistent: row.options.persistent.unwrap_or(true),
            unset: row.options.unset.unwrap_or(false),
        };
        names.push(Name {
            name: row.name,
            view,
            entry,
        });
    }
    Ok(names)
}

fn steps(rows: Vec<RawStep>, views: &[View], names: &[Name]) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().enumerate();
    let mut streams = Streams(BTreeSet::from([0]));
    while let Some((i, row)) = rows.next() {
        let place = |op: &str| format!("step {i} ({})", Shown(op));
        let (op, out) = (row.op.clone(), row.out.clone());
        let step = match parse_step(row, views) {
            Ok(step) => step,
            Err(NoStep::Invalid(problem)) => return Err(PlanError::invalid(place(&op), problem)),
            Err(NoStep::Unknown(op)) => {
                let outs = match out {
                    RawOut::One(out) => vec![out],
                    RawOut::Many(outs) => outs,
                };
                let outs = outs
                    .into_iter()
                    .map(|out| views.get(usize::try_from(out).ok()?));
                let outs: Option<Vec<&View>> = outs.collect();
                let parameter = outs.and_then(|outs| {
                    let mut reached = Reached::new(outs.into_iter());
                    for (_, later) in rows {
                        let later = parse_step(later, views).ok()?;
                        let reads = later.op.reads();
                        reached.step(reads.iter().map(|view| &views[*view]), later.targets(views));
                    }
                    reached.name(names, views)
                });
                let op = op.escape_debug().take(100).collect();
                return Err(PlanError::UnknownStep {
                    step: i,
                    op,
                    parameter,
                });
            }
        };
        let valid = validate_step(&step, views).and_then(|()| match step.op {
            Op::Stream(change) => streams.change(change),
            _ => Ok(()),
        });
        valid.map_err(|problem| PlanError::invalid(place(&op), problem))?;
        steps.push(step);
    }
    Ok(steps)
}

/// The streams that have a position.
struct Streams(BTreeSet<u64>);

impl Streams {
    fn change(&mut self, change: StreamChange) -> Result<(), String> {
        let known = |stream: u64| match self.0.contains(&stream) {
            true => Ok(()),
            false => Err(format!(
                "expected a stream that has a position, found {stream}"
            )),
        };
        let new = match change {
            StreamChange::Seed { stream, .. } => stream,
            StreamChange::Copy { to, from } => {
                known(from)?;
                to
            }
            StreamChange::Use(stream) => {
                known(stream)?;
                stream
            }
        };
        if new >= limits::STREAMS {
            return Err(format!(
                "expected a stream below {}, found {new}",
                limits::STREAMS
            ));
        }
        self.0.insert(new);
        Ok(())
    }
}
