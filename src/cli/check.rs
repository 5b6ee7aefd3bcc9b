//! `tch-init check`: draws samples of saved weights again, and compares.

use super::materialize::generator;
use super::report::{Report, one_line, spinner};
use super::state_file;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::PathBuf;
use tch_init::file::TensorFile;
use tch_init::plan::{self, FolderCheck, FolderProblem, InitPlan, Places, Stream};
use tch_init::tensor::TensorView;

#[derive(Args)]
pub struct Arguments {
    /// A folder that `materialize` made, or a file of tensors
    weights: PathBuf,
    /// The plan
    #[arg(long)]
    plan: PathBuf,
    #[command(flatten)]
    start: state_file::Start,
    /// The number of chunks of 1024 elements that are drawn again, at equal distances through all
    #[arg(long, value_name = "N", default_value = "1000")]
    sample: NonZero<u32>,
    /// Of a folder: also read all bytes, and compare with SHA256SUMS
    #[arg(long)]
    sums: bool,
    /// Maximum number of threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<u16>>,
}

/// The elements of a sample.
const SAMPLE: u64 = 1024;

pub fn run(arguments: &Arguments) -> Result<Report> {
    let plan = InitPlan::load(&arguments.plan)?;
    let position = arguments.start.generator()?;
    let generator = generator(position, arguments.threads)?;
    let folder: PathBuf = arguments.weights.components().collect();
    let spinner = spinner("checking");
    let checked = plan.check_folder(&folder, &generator, arguments.sample.get())?;
    let checked = match checked {
        Some(mut checked) if arguments.sums => {
            checked.problems.extend(plan::check_sums(&folder)?);
            Some(checked)
        }
        None if arguments.sums => bail!(
            "--sums: {}: not a folder that `tch-init materialize` made",
            folder.display()
        ),
        checked => checked,
    };
    spinner.finish_and_clear();
    match checked {
        Some(checked) => of_folder(arguments, &checked),
        None => of_tensors(arguments, &plan, &generator),
    }
}

/// What there is to say of a folder that this program made.
fn of_folder(arguments: &Arguments, checked: &FolderCheck) -> Result<Report> {
    let FolderCheck {
        layout,
        files,
        tensors,
        problems,
        ..
    } = checked;
    let weights = arguments.weights.display();
    let count = match checked.samples {
        all if all == checked.chunks => "all".to_owned(),
        count => format!("{count} of {}", checked.chunks),
    };
    let mut text = String::new();
    list(&mut text, problems.iter().map(FolderProblem::to_string))?;
    let is_element = |problem: &&FolderProblem| matches!(problem, FolderProblem::Element { .. });
    let sums = match arguments.sums {
        true => ", SHA256SUMS",
        false => "",
    };
    let layout = layout.name();
    match (problems.len(), problems.iter().filter(is_element).count()) {
        (0, _) => writeln!(
            text,
            "{weights}: {files} files of layout {layout}: sizes, headers{sums} and {count} chunks of {tensors} tensors are equal"
        )?,
        (_, 0) => writeln!(
            text,
            "{weights}: {files} files of layout {layout}: not those that the plan makes"
        )?,
        (_, wrong) => writeln!(
            text,
            "{weights}: {wrong} of {} chunks differ",
            checked.samples
        )?,
    }
    Ok(Report {
        text,
        found: !problems.is_empty(),
    })
}

/// The first problems, one a line.
fn list(text: &mut String, problems: impl ExactSizeIterator<Item = String>) -> Result<()> {
    const SHOWN: usize = 10;
    let rest = problems.len().saturating_sub(SHOWN);
    for problem in problems.take(SHOWN) {
        writeln!(text, "{}", one_line(&problem))?;
    }
    if rest > 0 {
        writeln!(text, "... and {rest} more")?;
    }
    Ok(())
}

/// Compares a file of tensors, or a folder of whole tensors that another program made.
fn of_tensors(arguments: &Arguments, plan: &InitPlan, generator: &impl Stream) -> Result<Report> {
    let index = arguments.weights.join("model.safetensors.index.json");
    let single = arguments.weights.join("model.safetensors");
    let path = [&index, &single].into_iter().find(|path| path.is_file());
    let path = path.unwrap_or(&arguments.weights);
    let file = TensorFile::open(path).with_context(|| path.display().to_string())?;
    let tensors: BTreeMap<&str, TensorView<'_>> = file.iter().collect();
    let mut problems = names(plan, &tensors);
    let equal = problems.is_empty();
    if equal {
        let mut places = plan.places(generator)?;
        problems = samples(&mut places, &tensors, arguments.sample.get())?;
    }
    let (count, weights) = (arguments.sample, arguments.weights.display());
    let mut text = String::new();
    list(&mut text, problems.iter().cloned())?;
    match problems.len() {
        0 => writeln!(
            text,
            "{weights}: {count} samples of {} tensors are equal",
            tensors.len()
        )?,
        _ if !equal => writeln!(text, "{weights}: other tensors than the plan's")?,
        wrong => writeln!(text, "{weights}: {wrong} of {count} samples differ")?,
    }
    Ok(Report {
        text,
        found: !problems.is_empty(),
    })
}

/// What tensors are missing, too many, or of another shape or dtype.
fn names(plan: &InitPlan, tensors: &BTreeMap<&str, TensorView<'_>>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, entry) in plan.names() {
        let Some(tensor) = tensors.get(name) else {
            // Tied weights are there once.
            let is_tied = |other: &&str| plan.view(other) == plan.view(name);
            if entry.persistent && !tensors.keys().any(is_tied) {
                problems.push(format!("{name}: missing"));
            }
            continue;
        };
        let shape: Vec<u64> = tensor.shape().iter().map(|size| *size as u64).collect();
        let is_cast = entry.dtype.is_floating_point() && tensor.dtype().is_floating_point();
        if shape != entry.shape {
            problems.push(format!(
                "{name}: expected shape {:?}, found {shape:?}",
                entry.shape
            ));
        } else if tensor.dtype() != entry.dtype && !is_cast {
            problems.push(format!(
                "{name}: expected {}, found {}",
                entry.dtype,
                tensor.dtype()
            ));
        }
    }
    let unknown = tensors.keys().filter(|name| plan.get(name).is_none());
    problems.extend(unknown.map(|name| format!("{name}: not in the plan")));
    problems
}

/// Which samples differ.
fn samples<S: Stream>(
    places: &mut Places<'_, S>,
    tensors: &BTreeMap<&str, TensorView<'_>>,
    count: u32,
) -> Result<Vec<String>> {
    let numel = |tensor: &TensorView<'_>| tensor.numel() as u64;
    let total: u64 = tensors.values().map(numel).sum();
    if total == 0 {
        bail!("no elements to compare");
    }
    let (mut problems, mut read) = (Vec::new(), Vec::new());
    let mut rest = tensors.iter();
    let mut current = None;
    let mut before = 0;
    for i in 0..u64::from(count) {
        let at = ((2 * u128::from(i) + 1) * u128::from(total) / (2 * u128::from(count))) as u64;
        let (name, tensor) = loop {
            match current {
                Some((name, tensor)) if at < before + numel(tensor) => break (name, tensor),
                Some((_, tensor)) => before += numel(tensor),
                None => {}
            }
            current = rest.next().map(|(name, tensor)| (*name, tensor));
            if current.is_none() {
                return Ok(problems);
            }
        };
        let start = at - before;
        let end = numel(tensor).min(start + SAMPLE);
        let mut made = vec![0; (end - start) as usize * tensor.dtype().size()];
        places.fill(name, start..end, tensor.dtype(), &mut made)?;
        let found = tensor.read(start as usize..end as usize, &mut read);
        let different = made
            .iter()
            .zip(found)
            .position(|(made, found)| made != found);
        if let Some(byte) = different {
            let element = start + (byte / tensor.dtype().size()) as u64;
            problems.push(format!("{name}: element {element} differs"));
        }
    }
    Ok(problems)
}
