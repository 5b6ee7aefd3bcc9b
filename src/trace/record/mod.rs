//! [`record`]: the operations of this thread, written to a trace.

mod environment;
mod mode;
mod recorder;
mod site;
mod values;

use op_trace::{Comparison, Trace, TraceError};
use recorder::{Failure, NamedStore, Recorder};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tch::nn::VarStore;
use thiserror::Error;
use values::Values;

/// Records what this thread asks of libtorch, until the [`Recording`] is finished or dropped: the same as
/// [`RecordOptions::new`]`().record(path, [vs])`.
///
/// The program is otherwise unchanged, and so are its bits: recording draws nothing, computes nothing that the program
/// uses, and changes no gradient mode. Every ATen operation is written with its arguments, the hashes of all tensors,
/// the state of the generator, the line of the user's program, and whether it belongs to a forward pass, a
/// backward pass or an optimizer. What no operation made (data, parameters, constants) goes to `PATH.safetensors`.
///
/// A backward pass on the CPU runs in this thread; what other threads do is not recorded.
///
/// # Errors
///
/// [`RecordError`] if the file cannot be written, or this thread is recorded already.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn, nn::Module, nn::OptimizerConfig};
/// use tch_init::trace;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("rust.trace");
/// let vs = nn::VarStore::new(Device::Cpu);
/// let fc = nn::linear(vs.root() / "fc", 3, 2, Default::default());
/// let mut optimizer = nn::Sgd::default().build(&vs, 0.1)?;
///
/// let recording = trace::record(&path, &vs)?;
/// let loss = fc.forward(&Tensor::ones([4, 3], (Kind::Float, Device::Cpu))).mean(Kind::Float);
/// optimizer.backward_step(&loss);
/// recording.finish()?;
///
/// let trace = trace::file::Trace::read(&path)?;
/// assert!(trace.end.is_some_and(|end| end.steps == 1));
/// # Ok(())
/// # }
/// ```
pub fn record(path: impl AsRef<Path>, vs: &VarStore) -> Result<Recording, RecordError> {
    RecordOptions::new().record(path, [vs])
}

/// What is recorded.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::trace::RecordOptions;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("gan.trace");
/// let (generator, discriminator) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
/// let recording = RecordOptions::new()
///     .steps(2)
///     .record_named(&path, [("Generator", &generator), ("Discriminator", &discriminator)])?;
/// let _noise = Tensor::randn([2, 3], (Kind::Float, Device::Cpu));
/// recording.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RecordOptions {
    steps: Option<u32>,
    max_values: u64,
    has_sites: bool,
    has_stats: bool,
    keep: Option<Range<usize>>,
}

impl Default for RecordOptions {
    fn default() -> RecordOptions {
        RecordOptions::new()
    }
}

impl RecordOptions {
    /// All steps, call sites, and up to 256 MiB of values.
    #[must_use]
    pub fn new() -> RecordOptions {
        RecordOptions {
            steps: None,
            max_values: 256 << 20,
            has_sites: true,
            has_stats: false,
            keep: None,
        }
    }

    /// Records so many training steps; what follows runs unrecorded. A step has ended when an optimizer of each
    /// [`VarStore`] with trainable variables has stepped, or, in a program without optimizers, at the forward pass after a
    /// backward pass.
    #[must_use]
    pub fn steps(mut self, steps: u32) -> RecordOptions {
        self.steps = Some(steps);
        self
    }

    /// Limits the file of values, in bytes.
    #[must_use]
    pub fn max_values(mut self, bytes: u64) -> RecordOptions {
        self.max_values = bytes;
        self
    }

    /// Keeps all inputs of the operations with these numbers in the file of values, and no others, so that they can be run again
    /// without what came before: for the second run of a large model, around a place that the first one has named.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("rust.trace");
    /// # let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let recording = tch_init::trace::RecordOptions::new().keep(1..2).record(&path, [&vs])?;
    /// let x = tch::Tensor::arange(4, tch::kind::FLOAT_CPU);
    /// let _y = x.square().exp();
    /// recording.finish()?;
    /// let values = tch_init::file::TensorFile::open(path.with_extension("trace.safetensors"))?;
    /// assert_eq!(values.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn keep(mut self, operations: Range<usize>) -> RecordOptions {
        self.keep = Some(operations);
        self
    }

    /// Sets whether the lines of the program are recorded: a backtrace for each operation, about 10 µs. They need line tables, which
    /// cargo's dev profile has, and Linux.
    #[must_use]
    pub fn sites(mut self, has_sites: bool) -> RecordOptions {
        self.has_sites = has_sites;
        self
    }

    /// Sets whether the mean, standard deviation, zeros and largest magnitude of each floating-point result are recorded, which `trace show`
    /// shows by layer.
    #[must_use]
    pub fn stats(mut self, has_stats: bool) -> RecordOptions {
        self.has_stats = has_stats;
        self
    }

    /// Begins a recording. The variables have their names in the `VarStore`, those of a second one with the prefix `1.`, and so on.
    ///
    /// # Errors
    ///
    /// As [`record`].
    pub fn record<'v>(
        &self,
        path: impl AsRef<Path>,
        stores: impl IntoIterator<Item = &'v VarStore>,
    ) -> Result<Recording, RecordError> {
        let stores: Vec<&VarStore> = stores.into_iter().collect();
        let prefix = |index: usize| match stores.len() {
            1 => String::new(),
            _ => index.to_string(),
        };
        let named: Vec<(String, &VarStore)> = stores
            .iter()
            .enumerate()
            .map(|(index, vs)| (prefix(index), *vs))
            .collect();
        self.record_named(path, named.iter().map(|(name, vs)| (name.as_str(), *vs)))
    }

    /// Begins a recording of `VarStore`s with names, which their variables have as a prefix: `Generator.conv1.weight`.
    ///
    /// # Errors
    ///
    /// As [`record`].
    pub fn record_named<'v>(
        &self,
        path: impl AsRef<Path>,
        stores: impl IntoIterator<Item = (&'v str, &'v VarStore)>,
    ) -> Result<Recording, RecordError> {
        let path = path.as_ref();
        let failed = |problem| RecordError {
            path: path.to_owned(),
            problem,
        };
        if self.steps == Some(0) {
            return Err(failed(RecordProblem::NoSteps));
        }
        let stores = stores.into_iter().map(|(prefix, vs)| {
            let dot = if prefix.is_empty() { "" } else { "." };
            let variables = crate::walk::variables_in_order(vs);
            let named = |(name, tensor)| (format!("{prefix}{dot}{name}"), tensor);
            NamedStore {
                prefix: prefix.to_owned(),
                variables: variables.into_iter().map(named).collect(),
            }
        });
        let stores = stores.collect();
        let mut values = path.as_os_str().to_owned();
        values.push(".safetensors");
        let name = Path::new(&values).file_name().map(OsString::from);
        let name = name.unwrap_or_default().to_string_lossy().into_owned();
        let file = File::create(path).map_err(|error| failed(error.into()))?;
        let values = Values::new(values.into(), self.max_values);
        let recorder = Box::new(Recorder::new(
            file,
            values,
            self.steps,
            self.has_sites,
            self.has_stats,
            self.keep.clone(),
        ));
        let recorder = Box::into_raw(recorder);
        // SAFETY: the recorder lives until `Recording::end`, which ends the mode first, and is used by the mode only until then.
        if let Err(message) = unsafe { mode::begin(recorder) } {
            // SAFETY: the mode did not take it.
            drop(unsafe { Box::from_raw(recorder) });
            return Err(failed(RecordProblem::Libtorch(message)));
        }
        let mut recording = Recording {
            recorder,
            path: path.to_owned(),
            thread: PhantomData,
        };
        // SAFETY: no operation runs, so the mode does not use the recorder.
        let opened = unsafe { &mut *recorder }.open(stores, &name);
        match opened {
            Ok(()) => Ok(recording),
            Err(failure) => {
                // What went wrong first is reported.
                drop(recording.end());
                Err(failed(failure.into()))
            }
        }
    }
}

/// A recording that is under way. It ends when it is finished or dropped.
#[derive(Debug)]
#[must_use = "a recording ends when it is dropped"]
pub struct Recording {
    recorder: *mut Recorder,
    path: PathBuf,
    /// The mode is one of this thread.
    thread: PhantomData<*mut ()>,
}

impl Recording {
    /// Ends the recording and writes the last line of the trace and the file of values.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if something could not be written, now or before: the trace then ends there.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.end()
    }

    /// Ends the recording and compares the trace with another one, of Python or of Rust, for tests: a port does what its original
    /// does.
    ///
    /// # Errors
    ///
    /// [`RecordProblem::Differs`] names the first operation that gives another result of the same inputs; other
    /// errors if the trace cannot be written or one of them cannot be read.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tch::{Device, Kind, Tensor, nn::VarStore};
    /// use tch_init::trace;
    /// # let folder = tempfile::tempdir()?;
    /// # let (original, port) = (folder.path().join("a.trace"), folder.path().join("b.trace"));
    /// let vs = VarStore::new(Device::Cpu);
    /// let x = Tensor::arange(6, (Kind::Float, Device::Cpu));
    /// let run = |eps: f64| x.layer_norm([6], None::<Tensor>, None::<Tensor>, eps, false);
    ///
    /// let recording = trace::record(&original, &vs)?;
    /// run(1e-5);
    /// recording.finish()?;
    ///
    /// let recording = trace::record(&port, &vs)?;
    /// run(1e-12);
    /// let error = recording.assert_equal(&original).unwrap_err();
    /// assert!(error.problem.to_string().contains("argument eps"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn assert_equal(mut self, original: impl AsRef<Path>) -> Result<(), RecordError> {
        self.end()?;
        let failed = |problem| RecordError {
            path: self.path.clone(),
            problem,
        };
        let a = Trace::read(original.as_ref()).map_err(|error| failed(error.into()))?;
        let b = Trace::read(&self.path).map_err(|error| failed(error.into()))?;
        let comparison = Comparison::new(&a, &b);
        match comparison.is_same() {
            true => Ok(()),
            false => Err(failed(RecordProblem::Differs(described(&comparison)))),
        }
    }

    fn end(&mut self) -> Result<(), RecordError> {
        let recorder = std::mem::replace(&mut self.recorder, std::ptr::null_mut());
        if recorder.is_null() {
            return Ok(());
        }
        // The variables are described while the recording still is under way; no operation runs.
        // SAFETY: the pointer is that of `Box::into_raw`, and the mode uses it in operations only.
        let closed = unsafe { &mut *recorder }.close("finished");
        let ended = mode::end();
        // SAFETY: the mode has ended, and the pointer was taken out of `self`.
        drop(unsafe { Box::from_raw(recorder) });
        let failed = |problem| RecordError {
            path: self.path.clone(),
            problem,
        };
        closed.map_err(|failure| failed(failure.into()))?;
        ended.map_err(|message| failed(RecordProblem::Libtorch(message)))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("{error}: {}", error.problem);
        }
    }
}

/// The first difference as text.
fn described(comparison: &Comparison) -> String {
    let Some(departure) = comparison.departures.first() else {
        return "the parameters or buffers at the end differ, though no operation was found that makes them differ"
            .to_owned();
    };
    let mut text = format!(
        "first difference: {}",
        departure.class.text(comparison.labels)
    );
    for (side, place) in [
        (comparison.labels.a, &departure.a),
        (comparison.labels.b, &departure.b),
    ] {
        if let Some(place) = place {
            let at = place.at.as_ref().map(|at| format!(" at {at}"));
            text += &format!(
                "\n  {side}  {}{}  step {}, {}",
                place.call,
                at.unwrap_or_default(),
                place.step,
                place.phase
            );
        }
    }
    for detail in &departure.details {
        text += &format!("\n  {detail}");
    }
    text
}

/// A recording failed.
#[derive(Debug, Error)]
#[error("the trace {}", path.display())]
#[non_exhaustive]
pub struct RecordError {
    /// The trace.
    pub path: PathBuf,
    /// What went wrong.
    #[source]
    pub problem: RecordProblem,
}

/// Why a recording failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordProblem {
    /// The trace or the file of values cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// 0 steps were asked for.
    #[error("a recording has at least one step")]
    NoSteps,
    /// libtorch failed, or this thread is recorded already.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// The recorder has a defect.
    #[error("the recorder panicked; please report this")]
    Panic,
    /// A trace cannot be read.
    #[error("a trace cannot be compared")]
    Trace(#[from] TraceError),
    /// The program does something else than its original: the first difference.
    #[error("{0}")]
    Differs(String),
}

impl From<Failure> for RecordProblem {
    fn from(failure: Failure) -> RecordProblem {
        match failure {
            Failure::Io(error) => RecordProblem::Io(error),
            Failure::Libtorch(message) => RecordProblem::Libtorch(message),
            Failure::Panic => RecordProblem::Panic,
        }
    }
}
