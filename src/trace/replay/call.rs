//! One operation with its arguments, ready to be run.

use super::NotRun;
use super::arguments::Argument;
use super::memory::{self, Layout};
use super::slice::output_tensors;
use crate::Generator;
use op_trace::{Grad, Operation, ValueHash};
use std::ffi::CString;
use tch::{Device, Tensor};

/// An operation with its arguments, which are copies: it can be run any number of times, with other arguments.
pub struct Call {
    /// The operation as it was recorded.
    pub operation: Operation,
    pub(super) arguments: Vec<(String, Argument)>,
    /// The state of the generator before a draw.
    pub(super) state: Option<Vec<u8>>,
    /// The number of threads that the program had, which affects the bits.
    pub(super) threads: Option<i32>,
}

/// What an operation computes.
pub struct Computed {
    /// The results, then the arguments that it writes.
    pub tensors: Vec<Tensor>,
    /// Their hashes.
    pub hashes: Vec<(String, ValueHash)>,
}

impl Computed {
    /// Whether all results of a recorded operation are among these.
    #[must_use]
    pub fn has_results_of(&self, operation: &Operation) -> bool {
        let mut wanted = output_tensors(operation)
            .filter_map(|tensor| Some((tensor.dtype.to_string(), tensor.hash?)))
            .peekable();
        wanted.peek().is_some() && wanted.all(|wanted| self.hashes.contains(&wanted))
    }
}

impl Call {
    /// The same call with some arguments, or with the state of the generator, of another one, on as many threads as that.
    ///
    /// A name that neither has is ignored.
    #[must_use]
    pub fn with(&self, names: &[String], other: &Call) -> Call {
        let arguments = self.arguments.iter().map(|(name, argument)| {
            let replaced = names.contains(name);
            let mut theirs = other.arguments.iter();
            let theirs = theirs.find(|(other, _)| replaced && other == name);
            let argument = theirs.map_or(argument, |(_, argument)| argument);
            (name.clone(), argument.shallow())
        });
        let is_generator = names.iter().any(|name| name == GENERATOR);
        Call {
            operation: self.operation.clone(),
            arguments: arguments.collect(),
            state: match is_generator {
                true => other.state.clone(),
                false => self.state.clone(),
            },
            threads: other.threads,
        }
    }

    /// The state of the generator before the operation, if it draws.
    #[must_use]
    pub fn state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// The number of threads that the program had, if its trace says so.
    #[must_use]
    pub fn threads(&self) -> Option<i32> {
        self.threads
    }

    /// Runs the operation on copies of its arguments, on as many threads as the program had.
    ///
    /// # Errors
    ///
    /// libtorch rejects the call.
    pub fn run(&self) -> Result<Computed, NotRun> {
        let arguments: Vec<(String, Argument)> = self
            .arguments
            .iter()
            .map(|(name, argument)| Ok((name.clone(), copied(argument)?)))
            .collect::<Result<_, NotRun>>()?;
        let mut generator = match &self.state {
            Some(state) => Some(Restored::new(state)?),
            None => None,
        };
        let results = execute(&self.operation, &arguments, self.threads);
        if let Some(generator) = &mut generator {
            generator.restore()?;
        }
        let mut tensors = results?;
        for (name, _) in self.operation.writes() {
            tensors.extend(written(&arguments, name));
        }
        let hashes = tensors
            .iter()
            .map(|tensor| Ok((memory::dtype(tensor)?, memory::hash(tensor)?)))
            .collect::<Result<_, NotRun>>()?;
        Ok(Computed { tensors, hashes })
    }

    /// A tensor argument.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        written(&self.arguments, name)
    }

    /// The dtypes, shapes and hashes of the tensors of an argument.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<(String, Vec<i64>, ValueHash)> {
        let mut found = Vec::new();
        let arguments = self.arguments.iter().filter(|(other, _)| other == name);
        for (_, argument) in arguments {
            values(argument, &mut found);
        }
        found
    }

    /// The dtypes and hashes of all tensors that it takes.
    pub(crate) fn all_values(&self) -> Vec<(String, ValueHash)> {
        let mut found = Vec::new();
        for (_, argument) in &self.arguments {
            values(argument, &mut found);
        }
        found
            .into_iter()
            .map(|(dtype, _, hash)| (dtype, hash))
            .collect()
    }
}

/// The name that stands for the state of the generator.
pub const GENERATOR: &str = "the state of the generator";

fn values(argument: &Argument, found: &mut Vec<(String, Vec<i64>, ValueHash)>) {
    match argument {
        Argument::Tensor(tensor) => {
            if let (Ok(dtype), Ok(hash)) = (memory::dtype(tensor), memory::hash(tensor)) {
                found.push((dtype, tensor.size(), hash));
            }
        }
        Argument::List(list) => list.iter().for_each(|item| values(item, found)),
        _ => {}
    }
}

/// The argument of a name, which may end in the index of a list: `tensors[3]`.
pub fn written(arguments: &[(String, Argument)], name: &str) -> Option<Tensor> {
    let (base, index) = match name
        .strip_suffix(']')
        .and_then(|name| name.rsplit_once('['))
    {
        Some((base, index)) => (base, index.parse::<usize>().ok()),
        None => (name, None),
    };
    let (_, argument) = arguments.iter().find(|(other, _)| other == base)?;
    match (argument, index) {
        (Argument::Tensor(tensor), None) => Some(tensor.shallow_clone()),
        (Argument::List(list), Some(index)) => match list.get(index)? {
            Argument::Tensor(tensor) => Some(tensor.shallow_clone()),
            _ => None,
        },
        _ => None,
    }
}

fn copied(argument: &Argument) -> Result<Argument, NotRun> {
    Ok(match argument {
        Argument::Tensor(tensor) => Argument::Tensor(memory::copied(
            tensor,
            &Layout {
                dtype: memory::dtype(tensor)?,
                shape: tensor.size(),
                strides: tensor.stride(),
                offset: 0,
            },
        )?),
        Argument::List(list) => {
            Argument::List(list.iter().map(copied).collect::<Result<_, NotRun>>()?)
        }
        other => other.shallow(),
    })
}

/// Calls the operator on a number of threads; the results that are defined.
pub fn execute(
    operation: &Operation,
    arguments: &[(String, Argument)],
    threads: Option<i32>,
) -> Result<Vec<Tensor>, NotRun> {
    let text = |text: &str| {
        CString::new(text).map_err(|_| NotRun::Libtorch(format!("unknown operator {text:?}")))
    };
    let name = text(operation.name.as_str())?;
    let overload = text(operation.overload.as_ref().map_or("", |name| name.as_str()))?;
    let mut lists = Vec::new();
    let raw: Vec<_> = arguments
        .iter()
        .map(|(_, argument)| argument.raw(&mut lists))
        .collect();
    let _threads = Threads::new(threads);
    // SAFETY: the arguments, and the items of lists, live until the end of this function; all tensors are libtorch's own
    // memory, to which no reference lives.
    let results = unsafe { memory::call(&name, &overload, &raw, operation.grad == Grad::On) }?;
    Ok(results.into_iter().flatten().collect())
}

/// libtorch with another number of threads, until the end.
struct Threads(Option<i32>);

impl Threads {
    fn new(wanted: Option<i32>) -> Threads {
        let current = tch::get_num_threads();
        let wanted = wanted.filter(|wanted| *wanted > 0 && *wanted != current);
        Threads(wanted.map(|wanted| {
            tch::set_num_threads(wanted);
            current
        }))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            tch::set_num_threads(before);
        }
    }
}

/// The default generator with another state; `restore` and the end give it back its own.
pub struct Restored {
    generator: Generator,
    state: Option<Vec<u8>>,
}

impl Restored {
    pub fn new(state: &[u8]) -> Result<Restored, NotRun> {
        let mut restored = Restored::current()?;
        restored.set(state)?;
        Ok(restored)
    }

    pub fn current() -> Result<Restored, NotRun> {
        let generator = Generator::default_generator(Device::Cpu).map_err(failed)?;
        let state = Some(generator.get_state().map_err(failed)?);
        Ok(Restored { generator, state })
    }

    pub fn set(&mut self, state: &[u8]) -> Result<(), NotRun> {
        self.generator.set_state(state).map_err(failed)
    }

    pub fn seed(&mut self, seed: u64) -> Result<(), NotRun> {
        self.generator.manual_seed(seed).map_err(failed)
    }

    pub fn get(&self) -> Result<Vec<u8>, NotRun> {
        self.generator.get_state().map_err(failed)
    }

    fn restore(&mut self) -> Result<(), NotRun> {
        match self.state.take() {
            Some(state) => self.generator.set_state(&state).map_err(failed),
            None => Ok(()),
        }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            log::warn!("the default generator is not restored: {error}");
        }
    }
}

fn failed(error: crate::InitError) -> NotRun {
    NotRun::libtorch(error.to_string())
}
