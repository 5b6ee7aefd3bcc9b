//! `tch-init materialize`: makes the tensors of a plan.

use super::dtype::FloatDtype;
use super::report::{Report, spinner};
use super::state_file;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use globset::Glob;
use std::io::{IsTerminal as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch_init::file::NewFile;
#[cfg(not(feature = "tch"))]
use tch_init::plan::CpuStream;
use tch_init::plan::{FolderEvent, InitPlan, Layout, Part, Save, Stream};
use tch_init::rng::Mt19937;

#[derive(Args)]
pub struct Arguments {
    /// The plan, as `tch-init record` writes it
    plan: PathBuf,
    #[command(flatten)]
    start: state_file::Start,
    /// The safetensors file to write; or a folder, if it ends with / or is one: files of which
    /// several processes make a part each
    #[arg(short, long, value_name = "FILE|DIR/")]
    output: PathBuf,
    /// Of a folder: make only the files of this part, I from 0 to N - 1 [default: what torchrun (RANK, WORLD_SIZE), Open MPI
    /// (OMPI_COMM_WORLD_RANK, _SIZE), MPICH (PMI_RANK, PMI_SIZE) or srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS) says, else all]
    #[arg(long, value_name = "I/N")]
    part: Option<Part>,
    /// Of a folder: what its files are
    #[arg(long, value_enum, default_value_t)]
    layout: LayoutName,
    /// Of the layouts rows and dcp: the number of files, each of which has rows of each tensor, as FSDP2 cuts them for as many
    /// processes [default for dcp: whole tensors, by --max-shard-size]
    #[arg(long, value_name = "S")]
    shards: Option<NonZero<u32>>,
    /// Of a folder: the size of the tensors of a file, unless one tensor is larger
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    max_shard_size: u64,
    /// Of the layout hf: write tied weights under each of their names, not only under the first
    #[arg(long)]
    tied: bool,
    /// The file for the generator state that PyTorch's constructor leaves
    #[arg(long, value_name = "FILE")]
    state_out: Option<PathBuf>,
    /// Maximum number of threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<u16>>,
    /// Only tensors with matching names, such as 'encoder.*'; may be repeated
    #[arg(long, value_name = "GLOB")]
    only: Vec<Glob>,
    /// Cast floating-point tensors, as model.to(dtype) does
    #[arg(long, value_enum)]
    dtype: Option<FloatDtype>,
    /// Also make buffers that are not in the state_dict (persistent=False)
    #[arg(long)]
    non_persistent: bool,
}

/// The layouts, by name.
#[derive(Clone, Copy, Default, ValueEnum)]
enum LayoutName {
    /// Whole tensors and their index, as transformers and huggingface_hub have them
    #[default]
    Hf,
    /// --shards files of rows, for HuggingFaceStorageReader of torch.distributed.checkpoint and for transformers
    Rows,
    /// A checkpoint of torch.distributed.checkpoint, such as torchtitan's step-0
    Dcp,
}

impl LayoutName {
    fn layout(self, shards: Option<NonZero<u32>>) -> Result<Layout> {
        match (self, shards) {
            (LayoutName::Hf, None) => Ok(Layout::Hf),
            (LayoutName::Hf, Some(_)) => {
                bail!("--shards: the layout hf has whole tensors; --layout rows or dcp has rows")
            }
            (LayoutName::Rows, Some(shards)) => Ok(Layout::Rows { shards }),
            (LayoutName::Rows, None) => bail!("--layout rows: how many files? say --shards S"),
            (LayoutName::Dcp, shards) => Ok(Layout::Dcp { shards }),
        }
    }
}

/// libtorch's generator. The number of threads is libtorch's.
#[cfg(feature = "tch")]
pub fn generator(position: Mt19937, threads: Option<NonZero<u16>>) -> Result<impl Stream> {
    if let Some(threads) = threads {
        tch::set_num_threads(threads.get().into());
    }
    let mut generator = tch_init::Generator::new(tch::Device::Cpu)?;
    generator.set_state(&position.state().to_bytes())?;
    Ok(generator)
}

#[cfg(not(feature = "tch"))]
pub fn generator(position: Mt19937, threads: Option<NonZero<u16>>) -> Result<impl Stream> {
    let stream = CpuStream::new(position);
    Ok(match threads {
        Some(threads) => stream.threads(threads.into()),
        None => stream,
    })
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let plan = InitPlan::load(&arguments.plan)?;
    let position = arguments.start.generator()?;
    let generator = generator(position, arguments.threads)?;
    let only: Vec<_> = arguments.only.iter().map(Glob::compile_matcher).collect();
    for (glob, matcher) in arguments.only.iter().zip(&only) {
        if !plan.names().any(|(name, _)| matcher.is_match(name)) {
            bail!(
                "--only {glob}: no parameter or buffer of the plan matches; `tch-init plan show` lists them"
            );
        }
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|glob| glob.is_match(name));
    let save = Save::default()
        .layout(arguments.layout.layout(arguments.shards)?)
        .dtype(arguments.dtype.map(FloatDtype::dtype))
        .non_persistent(arguments.non_persistent)
        .max_shard_size(arguments.max_shard_size)
        .tied(arguments.tied);
    match is_folder(&arguments.output) {
        true => write_folder(arguments, &plan, &generator, save, wanted),
        false if arguments.part.is_some() => bail!(
            "--part: {} is one file, which one process makes; a folder ends with /",
            arguments.output.display()
        ),
        false if save.layout != Layout::Hf => bail!(
            "--layout {}: {} is one file; a folder ends with /",
            save.layout.name(),
            arguments.output.display()
        ),
        false => write_file(arguments, &plan, generator, save, wanted),
    }
}

fn is_folder(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    text.ends_with(b"/") || path.is_dir()
}

fn write_file(
    arguments: &Arguments,
    plan: &InitPlan,
    mut generator: impl Stream,
    save: Save,
    wanted: impl Fn(&str) -> bool,
) -> Result<Report> {
    // Fails before any work is done that would be lost.
    let state_out = StateOut::create(arguments)?;
    let spinner = spinner("materializing");
    let saved = plan.save(&arguments.output, &mut generator, save, wanted);
    spinner.finish_and_clear();
    let saved = saved?;
    if let Some(state_out) = state_out {
        state_out.write(&generator.position().map_err(anyhow::Error::from_boxed)?)?;
    }
    Ok(Report {
        text: format!(
            "{}: {} tensors, {} bytes\n",
            arguments.output.display(),
            saved.tensors,
            saved.bytes
        ),
        found: false,
    })
}

fn write_folder(
    arguments: &Arguments,
    plan: &InitPlan,
    generator: &impl Stream,
    save: Save,
    wanted: impl Fn(&str) -> bool,
) -> Result<Report> {
    let (part, by) = match (arguments.part, Part::from_env()) {
        (Some(part), _) => (part, "--part"),
        (None, found) => found?.unwrap_or((Part::WHOLE, "default")),
    };
    // One process writes the state.
    let state_out = match part.index() {
        0 => StateOut::create(arguments)?,
        _ => None,
    };
    let folder: PathBuf = arguments.output.components().collect();
    let spinner = spinner("materializing");
    let (mut files, mut start) = (0, Instant::now());
    let progress = |event: FolderEvent<'_>| match event {
        FolderEvent::Start(shard) => {
            start = Instant::now();
            spinner.set_message(shard.file.clone());
        }
        FolderEvent::Made(shard) => {
            files += 1;
            // A log has one line a file.
            if !std::io::stderr().is_terminal() {
                let gigabytes = shard.bytes as f64 / 1e9;
                let rate = gigabytes / start.elapsed().as_secs_f64();
                eprintln!(
                    "part {part}: {}: {gigabytes:.3} GB, {rate:.2} GB/s",
                    shard.file
                );
            }
        }
        _ => {}
    };
    let assembled = plan.save_part(&folder, generator, save, part, wanted, progress);
    spinner.finish_and_clear();
    let assembled = assembled?;
    if let Some(state_out) = state_out {
        state_out.write(&plan.places(generator)?.end()?)?;
    }
    let state = match assembled.missing {
        0 => "complete".to_owned(),
        missing => format!("{missing} not there yet"),
    };
    Ok(Report {
        text: format!(
            "{}: part {part} ({by}) made {files} of {} files, {} bytes; {state}\n",
            folder.display(),
            assembled.files,
            assembled.bytes,
        ),
        found: false,
    })
}

/// The file for the state of the generator, if one is wanted.
struct StateOut<'a> {
    file: NewFile,
    path: &'a Path,
}

impl<'a> StateOut<'a> {
    fn create(arguments: &'a Arguments) -> Result<Option<StateOut<'a>>> {
        let Some(path) = &arguments.state_out else {
            return Ok(None);
        };
        let file = NewFile::create(path).with_context(|| not_written(path))?;
        Ok(Some(StateOut { file, path }))
    }

    fn write(mut self, generator: &Mt19937) -> Result<()> {
        let state = generator.state().to_bytes();
        let written = self
            .file
            .write_all(&state)
            .and_then(|()| self.file.finish());
        written.map(drop).with_context(|| not_written(self.path))
    }
}

fn not_written(path: &Path) -> String {
    format!("{}: cannot be written", path.display())
}

/// A size in bytes, with a unit as huggingface_hub has them.
fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let upper = text.trim().to_uppercase();
    let found = units
        .iter()
        .find_map(|(unit, bytes)| Some((upper.strip_suffix(unit)?, *bytes)));
    let (number, unit) = found.unwrap_or((&upper, 1));
    let number: Option<u64> = number.trim().parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "expected a size such as 5GB or 500MB".to_owned())
}
