//! `tch-init materialize`: makes the tensors of a plan.

use super::dtype::FloatDtype;
use super::report::{Report, spinner};
use super::state_file;
use anyhow::{Context, Result, bail};
use clap::Args;
use globset::Glob;
use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use tch_init::file::NewFile;
#[cfg(not(feature = "tch"))]
use tch_init::plan::CpuStream;
use tch_init::plan::{InitPlan, Save, Stream};
use tch_init::rng::{Mt19937, Seed};

#[derive(Args)]
pub struct Arguments {
    /// The plan, as `tch-init record` writes it
    plan: PathBuf,
    /// The seed, as torch.manual_seed takes it
    #[arg(
        long,
        allow_negative_numbers = true,
        required_unless_present = "state_in"
    )]
    seed: Option<Seed>,
    /// The safetensors file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Instead of a seed: a file with the generator state to start from, as torch.get_rng_state() returns it: raw bytes, npy,
    /// what torch.save wrote of it, or a checkpoint that has it
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    state_in: Option<PathBuf>,
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

/// libtorch's generator. The number of threads is libtorch's.
#[cfg(feature = "tch")]
fn generator(position: Mt19937, threads: Option<NonZero<u16>>) -> Result<impl Stream> {
    if let Some(threads) = threads {
        tch::set_num_threads(threads.get().into());
    }
    let mut generator = tch_init::Generator::new(tch::Device::Cpu)?;
    generator.set_state(&position.state().to_bytes())?;
    Ok(generator)
}

#[cfg(not(feature = "tch"))]
fn generator(position: Mt19937, threads: Option<NonZero<u16>>) -> Result<impl Stream> {
    let stream = CpuStream::new(position);
    Ok(match threads {
        Some(threads) => stream.threads(threads.into()),
        None => stream,
    })
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let plan = InitPlan::load(&arguments.plan)?;
    let position = match (&arguments.state_in, arguments.seed) {
        (Some(path), _) => state_file::read(path)?,
        (None, Some(seed)) => Mt19937::new(seed),
        (None, None) => bail!("give --seed or --state-in"),
    };
    let mut generator = generator(position, arguments.threads)?;
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
        .dtype(arguments.dtype.map(FloatDtype::dtype))
        .non_persistent(arguments.non_persistent);

    let not_written = |path: &Path| format!("{}: cannot be written", path.display());
    // Fails before any work is done that would be lost.
    let state_out = match &arguments.state_out {
        Some(path) => Some((
            NewFile::create(path).with_context(|| not_written(path))?,
            path,
        )),
        None => None,
    };
    let spinner = spinner("materializing");
    let saved = plan.save(&arguments.output, &mut generator, save, wanted);
    spinner.finish_and_clear();
    let saved = saved?;
    if let Some((mut file, path)) = state_out {
        let state = generator.position().map_err(anyhow::Error::from_boxed)?;
        let state = state.state().to_bytes();
        let written = file.write_all(&state).and_then(|()| file.finish());
        written.with_context(|| not_written(path))?;
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
